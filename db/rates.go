package db

import (
	"context"
	"time"

	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/estimate"
)

var _ upgrader.Rates = (*Rollouts)(nil)

// ratedTenants is how many of the latest upgraded tenants are looked at.
const ratedTenants = 200

// CopyRate implements upgrader.Rates. A tenant that was held before its switch
// tells nothing about the engine. As long as none was upgraded, rehearsals tell.
func (r *Rollouts) CopyRate(ctx context.Context, cluster string) (estimate.Rate, error) {
	rate, err := r.upgradeRate(ctx, cluster)
	if err != nil || rate.Tenants > 0 {
		return rate, err
	}
	samples, err := r.rehearsed(ctx, cluster)
	return estimate.RateOf(samples), err
}

func (r *Rollouts) upgradeRate(ctx context.Context, cluster string) (estimate.Rate, error) {
	var rate estimate.Rate
	var median, perSecond float64
	err := r.db.pool.QueryRow(ctx, `
		with latest as (
			select rt.docs_total, extract(epoch from (rt.proof ->> 'taken_at')::timestamptz - rt.started_at) as seconds
			from rollout_tenants rt join rollouts r on r.id = rt.rollout_id
			where rt.cluster = $2 and rt.state in ('switched', 'done', 'rolled_back') and rt.indices > 0
				and (rt.proof ->> 'taken_at')::timestamptz > rt.started_at
				and not coalesce((r.options ->> 'hold_switch')::boolean, false)
			order by rt.started_at desc limit $1)
		select count(*), coalesce(percentile_cont(0.5) within group (order by seconds), 0), coalesce(sum(docs_total) / nullif(sum(seconds), 0), 0)
		from latest`, ratedTenants, cluster).Scan(&rate.Tenants, &median, &perSecond)
	rate.Typical, rate.PerSecond = time.Duration(median*float64(time.Second)), perSecond
	return rate, failure(err)
}
