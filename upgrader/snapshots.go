package upgrader

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Snapshots is what rollouts need from backups, *backups.Service.
type Snapshots interface {
	// BeginBefore asks for a snapshot of tenants before a rollout in each of
	// their clusters, and returns its name by cluster; with the same rollout
	// they are the same snapshots. A cluster of which none of the repositories
	// is must have only one.
	BeginBefore(ctx context.Context, caller, rollout string, repositories, tenants []string) (map[string]string, error)
	// RefuseBefore lists what BeginBefore would not begin for, and what its
	// snapshots would fail of; it asks the engines, and writes nothing.
	RefuseBefore(ctx context.Context, repositories, tenants []string) ([]Refusal, error)
	// BeginJoining asks for a snapshot of a tenant that joins a rollout under
	// way, and returns its name; again with the same rollout and tenant it is
	// the same snapshot. Of the repositories that of the tenant's cluster counts.
	BeginJoining(ctx context.Context, caller, rollout string, repositories []string, tenant string) (string, error)
	// SnapshotState tells how far a snapshot is.
	SnapshotState(ctx context.Context, name string) (SnapshotState, error)
	// Holds names the newest successful snapshot of a tenant, not older than
	// since, that holds all of these indices; "" when there is none, and then
	// why.
	Holds(ctx context.Context, tenant string, indices []string, since time.Time) (name, why string, err error)
}

// SnapshotState is how far a snapshot is.
type SnapshotState struct {
	Done bool // it counts as a backup
	Over bool // it does not, and never will
	Text string
}

// SnapshotBefore is the value of Options.Snapshot that takes a snapshot of the
// tenants before anything of them is touched.
const SnapshotBefore = "before"

// GateSnapshotFresh names the gate that holds a tenant until its snapshot
// counts as a backup.
const GateSnapshotFresh = "snapshot_fresh"

// snapshotAge is how much older than its rollout a snapshot may be that makes
// finalizing safe: the nightly one of the day.
const snapshotAge = 24 * time.Hour

// WithSnapshots has the service take snapshots before rollouts and ask for
// them before finalizing. Without, finalizing is not held up.
func (s *Service) WithSnapshots(b Snapshots) *Service {
	s.snapshots = b
	return s
}

// WithSnapshots lets the runner wait for snapshots.
func (r *Runner) WithSnapshots(b Snapshots) *Runner {
	r.snapshots = b
	return r
}

// beginSnapshot takes the snapshot that the options ask for.
func (s *Service) beginSnapshot(ctx context.Context, r *Rollout, plan *Plan) error {
	if r.Options.Snapshot != SnapshotBefore {
		return nil
	}
	if s.snapshots == nil {
		return &ServiceError{Reason: ReasonInvalid, Field: "options.snapshot", Message: "this TMS takes no snapshots", Remedy: "leave it out"}
	}
	ids := plan.moving()
	if len(ids) == 0 {
		return nil
	}
	taken, err := s.snapshots.BeginBefore(ctx, r.CreatedBy, r.ID, r.Options.SnapshotRepositories, ids)
	if len(taken) > 1 {
		r.Options.Snapshots = taken
		return err
	}
	for _, name := range taken {
		r.Options.SnapshotName = name
	}
	return err
}

// moving are the tenants that have something to do.
func (p *Plan) moving() (ids []string) {
	for _, t := range p.Tenants {
		if len(t.Path) > 1 {
			ids = append(ids, t.TenantID)
		}
	}
	return ids
}

// refuseSnapshots refuses a plan whose snapshots cannot be taken, so that it is
// not found out at the start.
func (s *Service) refuseSnapshots(ctx context.Context, plan *Plan) error {
	ids := plan.moving()
	if s.snapshots == nil || plan.Options.Snapshot != SnapshotBefore || len(ids) == 0 {
		return nil
	}
	refusals, err := s.snapshots.RefuseBefore(ctx, plan.Options.SnapshotRepositories, ids)
	plan.Refusals = append(plan.Refusals, refusals...)
	return err
}

// SnapshotIn names the snapshot that was taken of the tenants of a cluster
// before the rollout; "" when there is none.
func (o Options) SnapshotIn(cluster string) string {
	if o.SnapshotName != "" {
		return o.SnapshotName
	}
	return o.Snapshots[cluster]
}

// snapshotFacts are how far the snapshots are that tenants of a rollout wait
// for, by name.
func snapshotFacts(ctx context.Context, s Snapshots, o Options, candidates ...Candidate) (map[string]SnapshotState, error) {
	if s == nil {
		return nil, nil
	}
	names := slices.Collect(maps.Values(o.Snapshots))
	if o.SnapshotName != "" {
		names = append(names, o.SnapshotName)
	}
	for _, c := range candidates {
		if c.Snapshot != "" {
			names = append(names, c.Snapshot)
		}
	}
	out := map[string]SnapshotState{}
	for _, name := range names {
		state, err := s.SnapshotState(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("snapshot %s: %w", name, err)
		}
		out[name] = state
	}
	return out, nil
}

// snapshotFresh is the gate of that name: nothing of a tenant is touched
// before its snapshot counts as a backup.
func (s *session) snapshotFresh(ctx context.Context) (Outcome, error) {
	name := cmp.Or(s.t.Record.Snapshot, s.rollout.Options.SnapshotIn(s.lease.Cluster))
	if name == "" {
		return OutcomeDone, nil
	}
	if s.r.snapshots == nil {
		return OutcomeRetry, fmt.Errorf("gate %s: this process cannot ask for snapshot %s", GateSnapshotFresh, name)
	}
	state, err := s.r.snapshots.SnapshotState(ctx, name)
	switch {
	case err != nil:
		return OutcomeRetry, fmt.Errorf("gate %s: %w", GateSnapshotFresh, err)
	case state.Over:
		return OutcomeFail, failf("gate %s: snapshot %s is no backup: %s; %s", GateSnapshotFresh, name, state.Text, s.anotherSnapshot())
	case !state.Done:
		s.t.Reason = fmt.Sprintf("gate %s: snapshot %s is %s", GateSnapshotFresh, name, state.Text)
		return OutcomeWait, nil
	}
	s.t.Reason = ""
	return OutcomeDone, nil
}

// anotherSnapshot is what to do when the tenant's snapshot never becomes a backup.
func (s *session) anotherSnapshot() string {
	if s.t.Record.Snapshot == "" {
		return "cancel the rollout and start another one"
	}
	return fmt.Sprintf("`tms upgrade cancel %s --tenant %s`, and start another rollout for it", s.rollout.ID, s.t.TenantID)
}

// requireSnapshots refuses to finalize tenants of which no snapshot holds the
// old version, unless that is waived: deleting it could never be taken back.
func (s *Service) requireSnapshots(ctx context.Context, c Command) error {
	if s.snapshots == nil || c.WithoutSnapshot {
		return nil
	}
	r, err := s.Get(ctx, c.RolloutID)
	if err != nil {
		return err
	}
	refusals, err := missingSnapshots(ctx, s.snapshots, r, c)
	if err != nil {
		return err
	}
	if len(refusals) > 0 {
		return &ServiceError{Reason: ReasonRefused, Message: "the old version cannot be deleted", Refusals: refusals}
	}
	return nil
}

// concerns says whether the command is for a tenant.
func (c Command) concerns(tenant string) bool {
	for _, id := range c.Tenants {
		if id == tenant {
			return true
		}
	}
	return len(c.Tenants) == 0
}
