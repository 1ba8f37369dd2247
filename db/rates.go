package db

import (
	"context"

	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/estimate"
)

var _ upgrader.Rates = (*Rollouts)(nil)

// ratedTenants is how many of the latest upgraded tenants are looked at.
const ratedTenants = 200

// CopyRate implements upgrader.Rates. A tenant that was held before its switch
// tells nothing about the engine. As long as none was upgraded, rehearsals tell.
func (r *Rollouts) CopyRate(ctx context.Context, cluster string) (estimate.Rate, error) {
	samples, err := r.upgraded(ctx, cluster, "")
	if err != nil || len(samples) > 0 {
		return estimate.RateOf(samples), err
	}
	samples, err = r.rehearsed(ctx, cluster)
	rate := estimate.RateOf(samples)
	rate.Rehearsed = rate.Tenants > 0
	return rate, err
}
