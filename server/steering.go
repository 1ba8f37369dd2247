package server

import (
	"context"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/upgrader"
)

func (s *upgradeService) Set(ctx context.Context, r *tmsv1.SetRolloutRequest) (*tmsv1.Rollout, error) {
	c := command(ctx, r.GetId(), nil)
	c.Set = upgrader.Settings{MaxTenants: intOf(r.MaxTenants), RequestsPerSecond: r.RequestsPerSecond, HoldSwitch: r.HoldSwitch}
	if r.FenceTimeout != nil {
		d := r.GetFenceTimeout().AsDuration()
		c.Set.FenceTimeout = &d
	}
	return answerRollout(s.upgrades.Set(ctx, c))
}

func (s *upgradeService) Skip(ctx context.Context, r *tmsv1.SkipRolloutRequest) (*tmsv1.Rollout, error) {
	c := command(ctx, r.GetId(), r.GetTenants())
	c.Reason = r.GetReason()
	return answerRollout(s.upgrades.Skip(ctx, c))
}
