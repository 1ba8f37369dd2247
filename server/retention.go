package server

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/shardlimit"
)

func (s *upgradeService) Retain(ctx context.Context, r *tmsv1.RetainRolloutRequest) (*tmsv1.Rollout, error) {
	return answerRollout(s.upgrades.Retain(ctx, r.GetId(), r.GetFinalizeAfter().AsDuration(), callerOf(ctx).KeyID))
}

func shardLimitsToProto(claims []shardlimit.Claim) []*tmsv1.RaisedShardLimit {
	out := make([]*tmsv1.RaisedShardLimit, 0, len(claims))
	for _, c := range claims {
		out = append(out, &tmsv1.RaisedShardLimit{
			Cluster: c.Cluster, State: string(c.State), Level: c.Level, Before: int32(c.Before), RaisedTo: int32(c.RaisedTo), Text: c.Text,
		})
	}
	return out
}

func retentionToProto(r *upgrader.Rollout) *tmsv1.Retention {
	ret := r.Retention
	if ret == nil {
		return nil
	}
	old, _ := r.OldVersions()
	return &tmsv1.Retention{
		State: string(ret.State), FinalizeAfter: span(ret.After), DueTime: stamp(ret.DueAt), Tenants: int32(len(old)),
		Reason: ret.Reason, RetryTime: stamp(ret.RetryAt), Text: ret.Text(r),
	}
}

// span leaves out a time of zero.
func span(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}
