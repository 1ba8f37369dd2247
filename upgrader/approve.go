package upgrader

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// WithGates lets the service say what gates judge, and check addresses.
func (s *Service) WithGates(g GateSources) *Service {
	s.gates = g
	return s
}

// Approval lets a rollout go on after a wave.
type Approval struct {
	RolloutID string
	// Wave that is approved; 0 is the one that awaits it.
	Wave int
	// WaiveChecks goes on although checks do not pass.
	WaiveChecks bool
	Caller      string
}

// Approve approves a wave. One may be approved before it is done; approving it
// again changes nothing.
func (s *Service) Approve(ctx context.Context, a Approval) (*Rollout, error) {
	said := "approve"
	if a.WaiveChecks {
		said += ".without_checks"
	}
	now := s.now()
	err := s.store.ChangeRollout(ctx, a.RolloutID, a.Caller, said, func(r *Rollout) error { return applyApproval(r, a, now) })
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	return s.Get(ctx, a.RolloutID)
}

// applyApproval notes an approval, or refuses it with the reason. It is pure.
func applyApproval(r *Rollout, a Approval, now time.Time) error {
	w, err := r.approved(a)
	if err != nil {
		return err
	}
	if w.ApprovedAt.IsZero() {
		w.ApprovedAt, w.ApprovedBy = now, a.Caller
	}
	w.ChecksWaived = w.ChecksWaived || a.WaiveChecks
	return nil
}

// approved is the wave that an approval is about.
func (r *Rollout) approved(a Approval) (*Wave, error) {
	if a.Wave == 0 {
		for i := range r.Waves {
			w := &r.Waves[i]
			if w.State == WaveAwaiting || a.WaiveChecks && w.State == WaveChecking {
				return w, nil
			}
		}
		return nil, wrongState(r, "no wave awaits approval; name one with --wave to approve it beforehand")
	}
	w := r.wave(a.Wave)
	if w == nil {
		return nil, &ServiceError{
			Reason: ReasonNotFound, Field: "wave", Message: fmt.Sprintf("rollout %s has no wave %d, but %d waves", r.ID, a.Wave, len(r.Waves)),
			Remedy: "see `tms upgrade show " + r.ID + "`",
		}
	}
	switch {
	case w.ApprovedAt.IsZero() && w.State.Ended():
		return nil, wrongState(r, fmt.Sprintf("wave %d is %s already", w.Number, w.State))
	case !w.Rule.Between.Approval && !a.WaiveChecks:
		return nil, wrongState(r, fmt.Sprintf("wave %d needs no approval", w.Number))
	}
	return w, nil
}

// GateReport is what the gates say, for a tenant or for those of a wave.
type GateReport struct {
	Wave     int
	Cluster  string
	TenantID string // "" for all of the wave that wait there
	State    TenantState
	// Waiting is false for a tenant that was let in: its gates tell what they
	// would say now.
	Waiting  bool
	Verdicts []Verdict
}

// GateReports answers "may this tenant start now, and if not, why": for one
// tenant, or for the tenants of each wave that wait in each cluster when tenant
// is "".
func (s *Service) GateReports(ctx context.Context, rollout, tenant string) (*Rollout, []GateReport, error) {
	v, err := s.store.View(ctx, rollout)
	if errors.Is(err, ErrNotFound) {
		_, err = s.Get(ctx, rollout)
	}
	if err != nil {
		return nil, nil, err
	}
	f := &Facts{Now: s.now(), Rollout: v.Rollout, Stop: v.Stop}
	if f.Snapshots, err = snapshotFacts(ctx, s.snapshots, v.Rollout.Options); err != nil {
		return nil, nil, err
	}
	if s.gates.Extend != nil {
		extend, err := s.gates.Extend(ctx, v.Rollout)
		if err != nil {
			return nil, nil, err
		}
		if extend != nil { // nil: nothing to add for this rollout
			extend(f)
		}
	}
	if tenant != "" {
		one, err := s.tenantGates(ctx, v, f, tenant)
		return v.Rollout, one, err
	}
	seen := map[string]ClusterFacts{}
	var out []GateReport
	for _, w := range v.Rollout.Waves {
		for _, cluster := range v.Waiting[w.Number] {
			if _, asked := seen[cluster]; !asked {
				seen[cluster] = clusterFacts(ctx, s.engines, cluster)
			}
			f.Tenant, f.Load, f.Cluster = Candidate{Wave: w.Number, Cluster: cluster}, v.Loads[cluster], seen[cluster]
			out = append(out, GateReport{Wave: w.Number, Cluster: cluster, State: TenantPlanned, Waiting: true, Verdicts: judge(f)})
		}
	}
	return v.Rollout, out, nil
}

func (s *Service) tenantGates(ctx context.Context, v *View, f *Facts, tenant string) ([]GateReport, error) {
	_, t, err := s.store.Load(ctx, v.Rollout.ID, tenant)
	if errors.Is(err, ErrNotFound) {
		return nil, noSuchTenant(v.Rollout.ID, tenant)
	}
	if err != nil {
		return nil, err
	}
	fleet, err := s.store.Fleet(ctx, []string{tenant})
	if err != nil {
		return nil, err
	}
	f.Tenant = Candidate{
		TenantID: tenant, Cluster: t.Cluster, Wave: t.Wave, Position: t.Position, NeedShards: t.NeedShards, NeedBytes: t.NeedBytes, Registered: "deleted", Snapshot: t.Record.Snapshot,
	}
	if len(fleet) == 1 {
		f.Tenant.Registered = fleet[0].State
	}
	f.Load, f.Cluster = v.Loads[t.Cluster], clusterFacts(ctx, s.engines, t.Cluster)
	if f.Snapshots, err = snapshotFacts(ctx, s.snapshots, v.Rollout.Options, f.Tenant); err != nil {
		return nil, err
	}
	return []GateReport{{Wave: t.Wave, Cluster: t.Cluster, TenantID: tenant, State: t.State, Waiting: t.Waiting, Verdicts: judge(f)}}, nil
}
