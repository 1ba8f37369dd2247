package server

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
)

const (
	defaultRollouts = 20
	rolloutsQuery   = "rollouts" // what page tokens of the list are good for
	// watchInterval is how often Watch looks for a new revision: quick for an
	// eye, and cheap for a table.
	watchInterval = 250 * time.Millisecond
)

type upgradeService struct {
	upgrades Upgrades
	pages    *tenants.Pages
}

func (s *upgradeService) Plan(ctx context.Context, r *tmsv1.PlanRolloutRequest) (*tmsv1.RolloutPlan, error) {
	options, err := optionsFromProto(r.GetOptions())
	if err != nil {
		return nil, err
	}
	p, err := s.upgrades.Plan(ctx, upgrader.Request{ToRelease: r.GetToRelease(), Options: options, Caller: callerOf(ctx).KeyID})
	if err != nil {
		return nil, err
	}
	return planToProto(p), nil
}

func (s *upgradeService) Start(ctx context.Context, r *tmsv1.StartRolloutRequest) (*tmsv1.Rollout, error) {
	options, err := optionsFromProto(r.GetOptions())
	if err != nil {
		return nil, err
	}
	started, err := s.upgrades.Start(ctx, upgrader.Request{
		ToRelease: r.GetToRelease(), Options: options, RequestID: r.GetRequestId(), Caller: callerOf(ctx).KeyID,
	})
	return answerRollout(started, err)
}

func answerRollout(r *upgrader.Rollout, err error) (*tmsv1.Rollout, error) {
	if err != nil {
		return nil, err
	}
	return rolloutToProto(r, time.Now()), nil
}

func (s *upgradeService) Get(ctx context.Context, r *tmsv1.GetRolloutRequest) (*tmsv1.Rollout, error) {
	rollout, err := s.upgrades.Get(ctx, r.GetId())
	if err != nil {
		return nil, err
	}
	out := rolloutToProto(rollout, time.Now())
	if r.GetView() != "full" {
		return out, nil
	}
	for _, t := range out.Tenants {
		moves, err := s.upgrades.Moves(ctx, rollout.ID, t.TenantId)
		if err != nil {
			return nil, err
		}
		t.Moves = movesToProto(moves)
	}
	return out, nil
}

func (s *upgradeService) List(ctx context.Context, r *tmsv1.ListRolloutsRequest) (*tmsv1.ListRolloutsResponse, error) {
	var before string
	query := strings.Join(append([]string{rolloutsQuery}, r.GetClusters()...), " ")
	if err := s.pages.Read(r.GetPageToken(), query, &before); err != nil {
		return nil, err
	}
	limit := pageSize(r.GetPageSize(), defaultRollouts)
	found, err := s.upgrades.List(ctx, upgrader.RolloutFilter{Clusters: r.GetClusters(), Before: before, Limit: limit + 1})
	if err != nil {
		return nil, err
	}
	out := &tmsv1.ListRolloutsResponse{}
	if len(found) > limit {
		found = found[:limit]
		out.NextPageToken = s.pages.Token(query, found[limit-1].ID)
	}
	for _, f := range found {
		out.Rollouts = append(out.Rollouts, rolloutToProto(f, time.Now()))
	}
	return out, nil
}

// Watch sends the rollout at every new revision until it has ended.
func (s *upgradeService) Watch(r *tmsv1.WatchRolloutRequest, stream grpc.ServerStreamingServer[tmsv1.Rollout]) error {
	ctx := stream.Context()
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for sent := int64(-1); ; {
		rollout, err := s.upgrades.Get(ctx, r.GetId())
		if err != nil {
			return err
		}
		if rollout.Revision != sent {
			if err := stream.Send(rolloutToProto(rollout, time.Now())); err != nil {
				return err
			}
			sent = rollout.Revision
		}
		if rollout.State.Ended() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (s *upgradeService) Pause(ctx context.Context, r *tmsv1.PauseRolloutRequest) (*tmsv1.Rollout, error) {
	return answerRollout(s.upgrades.Pause(ctx, command(ctx, r.GetId(), nil)))
}

func (s *upgradeService) Resume(ctx context.Context, r *tmsv1.ResumeRolloutRequest) (*tmsv1.Rollout, error) {
	return answerRollout(s.upgrades.Resume(ctx, command(ctx, r.GetId(), nil)))
}

func (s *upgradeService) Cancel(ctx context.Context, r *tmsv1.CancelRolloutRequest) (*tmsv1.Rollout, error) {
	c := command(ctx, r.GetId(), r.GetTenants())
	c.Undo = r.GetUndo()
	return answerRollout(s.upgrades.Cancel(ctx, c))
}

func (s *upgradeService) Retry(ctx context.Context, r *tmsv1.RetryRolloutRequest) (*tmsv1.Rollout, error) {
	c := command(ctx, r.GetId(), r.GetTenants())
	if r.AllowQuarantine != nil {
		n := int(r.GetAllowQuarantine())
		c.AllowQuarantine = &n
	}
	return answerRollout(s.upgrades.Retry(ctx, c))
}

func (s *upgradeService) Switch(ctx context.Context, r *tmsv1.SwitchRolloutRequest) (*tmsv1.Rollout, error) {
	c := command(ctx, r.GetId(), r.GetTenants())
	c.Wave = int(r.GetWave())
	return answerRollout(s.upgrades.Switch(ctx, c))
}

func (s *upgradeService) Rollback(ctx context.Context, r *tmsv1.RollbackRolloutRequest) (*tmsv1.Rollout, error) {
	c := command(ctx, r.GetId(), r.GetTenants())
	c.Wave = int(r.GetWave())
	return answerRollout(s.upgrades.Rollback(ctx, c))
}

func (s *upgradeService) Finalize(ctx context.Context, r *tmsv1.FinalizeRolloutRequest) (*tmsv1.Rollout, error) {
	c := command(ctx, r.GetId(), r.GetTenants())
	c.WithoutSnapshot, c.Wave = r.GetWithoutSnapshot(), int(r.GetWave())
	return answerRollout(s.upgrades.Finalize(ctx, c))
}

func command(ctx context.Context, rollout string, only []string) upgrader.Command {
	return upgrader.Command{RolloutID: rollout, Tenants: only, Caller: callerOf(ctx).KeyID}
}

func (s *upgradeService) ListQuarantine(ctx context.Context, r *tmsv1.ListQuarantineRequest) (*tmsv1.ListQuarantineResponse, error) {
	limit := pageSize(r.GetPageSize(), defaultPageSize)
	f := upgrader.QuarantineFilter{RolloutID: r.GetId(), TenantID: r.GetTenantId(), Limit: limit + 1, WithoutSource: r.GetWithoutSource()}
	query := "quarantine " + r.GetId() + " " + r.GetTenantId()
	if err := s.pages.Read(r.GetPageToken(), query, &f.After); err != nil {
		return nil, err
	}
	found, err := s.upgrades.Quarantine(ctx, f)
	if err != nil {
		return nil, err
	}
	out := &tmsv1.ListQuarantineResponse{}
	if len(found) > limit {
		found = found[:limit]
		last := found[limit-1]
		out.NextPageToken = s.pages.Token(query, [3]string{last.TenantID, last.Index, last.ID})
	}
	for _, q := range found {
		out.Documents = append(out.Documents, &tmsv1.QuarantinedDocument{
			TenantId: q.TenantID, Index: q.Index, DocumentId: q.ID, Target: q.Target, Kind: string(q.Kind),
			Reason: q.Reason, Source: string(q.Source), CreateTime: stamp(q.At),
		})
	}
	return out, nil
}
