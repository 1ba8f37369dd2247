package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"google.golang.org/protobuf/types/known/structpb"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/strategy"
)

// strategyFromProto reads a strategy as strictly as from a file.
func strategyFromProto(s *structpb.Struct) (*strategy.File, error) {
	if s == nil {
		return nil, nil
	}
	raw, err := s.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("strategy: %w", err)
	}
	out, err := strategy.Parse(raw)
	var wrong *strategy.Error
	if errors.As(err, &wrong) {
		for i := range wrong.Problems {
			wrong.Problems[i].Line = 0 // of a text that the caller has not seen
		}
		return nil, &upgrader.ServiceError{
			Reason: upgrader.ReasonInvalid, Field: "options.strategy", Message: wrong.Error(), Remedy: "see `tms upgrade schema`",
		}
	}
	return out, err
}

func strategyToProto(s *strategy.File) *structpb.Struct {
	if s == nil {
		return nil
	}
	raw, err := s.JSON()
	var fields map[string]any
	if err != nil || json.Unmarshal(raw, &fields) != nil {
		return nil
	}
	out, err := structpb.NewStruct(fields)
	if err != nil {
		return nil
	}
	return out
}

func wavesToProto(waves []upgrader.Wave) []*tmsv1.Wave {
	out := make([]*tmsv1.Wave, 0, len(waves))
	for i := range waves {
		w := &waves[i]
		p := &tmsv1.Wave{
			Number: int32(w.Number), Name: w.Name, State: string(w.State), Reason: w.Reason,
			Tenants: int32(w.Tally.Tenants), Waiting: int32(w.Tally.Waiting), Ended: int32(w.Tally.Ended), Failed: int32(w.Tally.Failed),
			OpenTime: stamp(w.OpenedAt), EndTime: stamp(w.EndedAt), SoakUntil: stamp(w.SoakUntil), CheckUntil: stamp(w.CheckUntil), DoneTime: stamp(w.DoneAt),
			ApproveTime: stamp(w.ApprovedAt), ApprovedBy: w.ApprovedBy, ChecksWaived: w.ChecksWaived, Forgiven: int32(w.Forgiven),
		}
		for _, c := range w.Checks {
			p.Checks = append(p.Checks, &tmsv1.WaveCheck{Name: c.Name, Ok: c.OK, Text: c.Text, Time: stamp(c.At)})
		}
		out = append(out, p)
	}
	return out
}

func missingToProto(all []upgrader.MissingTenant) []*tmsv1.MissingTenant {
	var out []*tmsv1.MissingTenant
	for _, m := range all {
		out = append(out, &tmsv1.MissingTenant{TenantId: m.TenantID, Release: m.Release, Reason: m.Reason})
	}
	return out
}

func wavePlansToProto(p *upgrader.Plan) []*tmsv1.WavePlan {
	var out []*tmsv1.WavePlan
	for _, f := range p.WaveForecasts {
		w := &tmsv1.WavePlan{
			Number: int32(f.Number), Name: f.Name, Cluster: f.Cluster, Tenants: int32(f.Tenants), Documents: f.Docs, Bytes: f.Bytes,
			Shards: int32(f.Shards), ShardsPeak: int32(f.ShardsPeak), ShardsPeakFinalizing: int32(f.ShardsPeakFinalizing),
			DiskPeak: f.DiskPeak, DiskPeakFinalizing: f.DiskPeakFinalizing, DurationSeconds: round(f.Duration.Seconds()),
		}
		rule := p.Waves[f.Number-1].Rule
		w.Between, w.FailureBudget = rule.Between.String(), rule.FailureBudget.String()
		out = append(out, w)
	}
	return out
}

func (s *upgradeService) Approve(ctx context.Context, r *tmsv1.ApproveRolloutRequest) (*tmsv1.Rollout, error) {
	return answerRollout(s.upgrades.Approve(ctx, upgrader.Approval{
		RolloutID: r.GetId(), Wave: int(r.GetWave()), WaiveChecks: r.GetWaiveChecks(), Caller: callerOf(ctx).KeyID,
	}))
}

func (s *upgradeService) Gates(ctx context.Context, r *tmsv1.RolloutGatesRequest) (*tmsv1.RolloutGates, error) {
	rollout, reports, err := s.upgrades.GateReports(ctx, r.GetId(), r.GetTenantId())
	if err != nil {
		return nil, err
	}
	out := &tmsv1.RolloutGates{Id: rollout.ID}
	for _, g := range reports {
		p := &tmsv1.GateReport{Wave: int32(g.Wave), Cluster: g.Cluster, TenantId: g.TenantID, State: string(g.State), Waiting: g.Waiting, Open: true}
		for _, v := range g.Verdicts {
			p.Open = p.Open && v.Open
			p.Gates = append(p.Gates, &tmsv1.GateVerdict{Gate: v.Gate, Asks: v.Asks, Open: v.Open, Reason: v.Text, Remedy: v.Remedy})
		}
		out.Reports = append(out.Reports, p)
	}
	return out, nil
}
