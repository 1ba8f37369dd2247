package server_test

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/capacity"
)

// scriptedUpgrades answers without an engine: what is tested here is the
// translation to and from the contract.
type scriptedUpgrades struct {
	mu       sync.Mutex
	rollout  *upgrader.Rollout
	commands []string
	err      error
	asked    upgrader.Request
	command  upgrader.Command
	docs     []upgrader.Quarantined
}

func (s *scriptedUpgrades) set(f func(*scriptedUpgrades)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

func (s *scriptedUpgrades) Plan(_ context.Context, r upgrader.Request) (*upgrader.Plan, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = r
	return &upgrader.Plan{
		ToRelease: r.ToRelease, Options: r.Options,
		Tenants: []upgrader.TenantPlan{{TenantID: "acme", FromRelease: "0.8.1", Path: []string{"0.8.1", "0.8.2"}, Moves: []upgrader.PlannedMove{{
			Target: "0820.acme.tracardi-event-2026-q1", Method: upgrader.MethodMerge, Why: "2 months into their quarter",
			Copies: []upgrader.PlannedCopy{{Source: "a", Docs: 3}, {Source: "b", Docs: 4}},
		}}, Shards: 104, Notes: []string{"drops profile.x"}}},
		Refusals: []upgrader.Refusal{{Code: "shard_limit", Message: "too many", Remedy: "raise it"}},
		Shards:   capacity.ShardForecast{Now: 88, New: 104, Peak: 192, Limit: 1000, MaxPerNode: 1000, DataNodes: 1},
	}, s.err
}

func (s *scriptedUpgrades) Start(_ context.Context, r upgrader.Request) (*upgrader.Rollout, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = r
	return s.rollout, s.err
}

func (s *scriptedUpgrades) Get(context.Context, string) (*upgrader.Rollout, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rollout, s.err
}

func (s *scriptedUpgrades) List(_ context.Context, f upgrader.RolloutFilter) ([]*upgrader.Rollout, error) {
	all := []*upgrader.Rollout{{ID: "r3"}, {ID: "r2"}, {ID: "r1"}}
	for f.Before != "" && len(all) > 0 && all[0].ID >= f.Before {
		all = all[1:]
	}
	return all[:min(f.Limit, len(all))], nil
}

func (s *scriptedUpgrades) Moves(context.Context, string, string) ([]upgrader.Move, error) {
	return []upgrader.Move{{Target: "t", Method: upgrader.MethodCreate, State: upgrader.MoveCreated}}, nil
}

func (s *scriptedUpgrades) Quarantine(_ context.Context, f upgrader.QuarantineFilter) ([]upgrader.Quarantined, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []upgrader.Quarantined
	for _, d := range s.docs {
		if d.TenantID+"\x00"+d.Index+"\x00"+d.ID > strings.Join(f.After[:], "\x00") && len(out) < f.Limit {
			out = append(out, d)
		}
	}
	return out, s.err
}

func (s *scriptedUpgrades) do(name string, c upgrader.Command) (*upgrader.Rollout, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commands, s.command = append(s.commands, name), c
	return s.rollout, s.err
}

func (s *scriptedUpgrades) Pause(_ context.Context, c upgrader.Command) (*upgrader.Rollout, error) {
	return s.do("pause", c)
}

func (s *scriptedUpgrades) Resume(_ context.Context, c upgrader.Command) (*upgrader.Rollout, error) {
	return s.do("resume", c)
}

func (s *scriptedUpgrades) Cancel(_ context.Context, c upgrader.Command) (*upgrader.Rollout, error) {
	return s.do("cancel", c)
}

func (s *scriptedUpgrades) Retry(_ context.Context, c upgrader.Command) (*upgrader.Rollout, error) {
	return s.do("retry", c)
}

func (s *scriptedUpgrades) Switch(_ context.Context, c upgrader.Command) (*upgrader.Rollout, error) {
	return s.do("switch", c)
}

func (s *scriptedUpgrades) Rollback(_ context.Context, c upgrader.Command) (*upgrader.Rollout, error) {
	return s.do("rollback", c)
}

func (s *scriptedUpgrades) Set(_ context.Context, c upgrader.Command) (*upgrader.Rollout, error) {
	return s.do("set", c)
}

func (s *scriptedUpgrades) Skip(_ context.Context, c upgrader.Command) (*upgrader.Rollout, error) {
	return s.do("skip", c)
}

func (s *scriptedUpgrades) Retain(_ context.Context, rollout string, _ time.Duration, caller string) (*upgrader.Rollout, error) {
	return s.do("retain", upgrader.Command{RolloutID: rollout, Caller: caller})
}

func (s *scriptedUpgrades) Approve(_ context.Context, a upgrader.Approval) (*upgrader.Rollout, error) {
	return s.do("approve", upgrader.Command{RolloutID: a.RolloutID, Caller: a.Caller})
}

func (s *scriptedUpgrades) GateReports(ctx context.Context, rollout, tenant string) (*upgrader.Rollout, []upgrader.GateReport, error) {
	r, err := s.Get(ctx, rollout)
	return r, []upgrader.GateReport{{Wave: 1, TenantID: tenant, Verdicts: []upgrader.Verdict{{Gate: upgrader.GateWaveOpen, Open: true}}}}, err
}

func (s *scriptedUpgrades) Finalize(_ context.Context, c upgrader.Command) (*upgrader.Rollout, error) {
	return s.do("finalize", c)
}
