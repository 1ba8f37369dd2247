package backups

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
)

// Scheduler does what policies ask for when it is due. Any number of processes
// may do it at the same time, and die in the middle: a due time makes one run
// because of the run's request id, and everything else settles in one
// transaction of the store.
type Scheduler struct {
	service *Service
	log     *slog.Logger
}

// NewScheduler wires a Scheduler.
func NewScheduler(s *Service, log *slog.Logger) *Scheduler {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Scheduler{service: s, log: log}
}

// byPolicy is who policies act as in the audit trail.
func byPolicy(name string) tenants.Caller { return tenants.Caller{KeyID: "policy:" + name} }

// Work takes note of what has ended, begins what is due, and removes what is
// too old. A policy that is gone is no error.
func (s *Scheduler) Work(ctx context.Context, name string) error {
	store := s.service.store
	ended, err := store.Unsettled(ctx, name)
	if err != nil {
		return err
	}
	for _, r := range ended {
		if err := s.settle(ctx, name, r); err != nil {
			return err
		}
	}
	p, err := store.Policy(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := s.begin(ctx, p); err != nil {
		return err
	}
	if p.Paused || s.service.now().Before(p.RetainAt) {
		return nil
	}
	return s.retain(ctx, p)
}

// begin takes the snapshot that is due. Runs that were missed are caught up by
// this one: the next is due after now.
func (s *Scheduler) begin(ctx context.Context, p *Policy) error {
	now := s.service.now()
	if p.NextAt.IsZero() || now.Before(p.NextAt) {
		return nil
	}
	working, err := s.service.store.Runs(ctx, Filter{Kind: RunSnapshot, Policy: p.Name, Limit: 1, States: []State{StatePlanned, StatePrepared, StateRunning, StateVerifying}})
	if err != nil || len(working) > 0 && !s.made(working[0], p) {
		return err // due until the one before has ended
	}
	times, err := p.timetable()
	if err != nil {
		return err
	}
	run, err := s.service.createFor(ctx, byPolicy(p.Name), p, p.requestID())
	var known *Error
	if err != nil && !errors.As(err, &known) {
		return err
	}
	_, cerr := s.service.store.ChangePolicy(ctx, p.Name, nil, func(now *Policy) error {
		if !now.NextAt.Equal(p.NextAt) {
			return ErrConflict // another process was faster, or an operator
		}
		now.NextAt = times.next(s.service.now())
		if known != nil {
			now.LastFailure = &Outcome{At: s.service.now().UTC(), Reason: known.Error()}
		}
		return nil
	})
	switch {
	case errors.Is(cerr, ErrConflict), errors.Is(cerr, ErrNotFound):
		return nil
	case cerr != nil:
		return cerr
	case known != nil:
		s.log.Warn("backup policy could not begin", "policy", p.Name, "due", p.NextAt, "error", known)
	default:
		s.log.Info("backup policy began", "policy", p.Name, "due", p.NextAt, "run", run.ID, "late", now.Sub(p.NextAt).Round(time.Second))
	}
	return nil
}

// made says whether a working run is the one of the present due time: a
// process died between it and the policy's next time.
func (s *Scheduler) made(r *Run, p *Policy) bool { return !r.CreatedAt.Before(p.NextAt) }

// settle takes note of a run's end, and drills a good snapshot.
func (s *Scheduler) settle(ctx context.Context, name string, r *Run) error {
	p, err := s.service.store.Policy(ctx, name)
	if err != nil {
		return err
	}
	o := &Outcome{Run: r.ID, At: r.FinishedAt, OK: r.State == StateSuccess, Reason: r.Reason}
	var refusal *Outcome
	if o.OK && r.Kind == RunSnapshot {
		o.Reason = leftOut(p.Selection, r)
	}
	if o.OK && r.Kind == RunSnapshot && p.Drill {
		if refusal, err = s.drill(ctx, name, r); err != nil {
			return err
		}
	}
	err = s.service.store.Settle(ctx, name, r.ID, func(p *Policy) error {
		switch {
		case r.Kind == RunRestore:
			o.Tenant = r.Restore.Tenant
			p.LastDrill = o
		case o.OK:
			p.LastSuccess = o
		case r.State != StateDeleted:
			p.LastFailure = o
		}
		if refusal != nil {
			p.LastDrill = refusal
		}
		p.RetainAt = s.service.now().UTC()
		return nil
	})
	if errors.Is(err, ErrConflict) {
		return nil
	}
	if err == nil {
		s.log.Info("backup policy's run ended", "policy", name, "run", r.ID, "state", r.State, "reason", r.Reason)
	}
	return err
}

// leftOut tells which tenants a policy names and a snapshot has not, because
// they were purged.
func leftOut(sel Selection, r *Run) string {
	if len(sel.Labels) > 0 {
		return "" // they may have lost the label
	}
	gone := slices.DeleteFunc(slices.Clone(sel.Tenants), func(t string) bool { return slices.Contains(r.Tenants, t) })
	if len(gone) == 0 {
		return ""
	}
	return "without " + strings.Join(gone, ", ") + ", no longer registered"
}

// drill begins the drill after a snapshot; what was refused is the outcome.
func (s *Scheduler) drill(ctx context.Context, policy string, snap *Run) (*Outcome, error) {
	tenant, err := s.service.store.LeastDrilled(ctx, snap.ID)
	if err != nil || tenant == "" {
		return nil, err
	}
	_, err = s.service.Drill(ctx, byPolicy(policy), DrillOrder{Tenant: tenant, Snapshot: snap.ID, Policy: policy, RequestID: "drill " + snap.ID})
	var known *Error
	var engine *upgrader.EngineError
	if errors.As(err, &engine) && engine.Retryable() {
		return nil, err
	}
	if errors.As(err, &known) {
		return &Outcome{At: s.service.now().UTC(), Tenant: tenant, Reason: known.Error()}, nil
	}
	return nil, err
}

// retain removes what is too old. The decision is made, and stored, in one
// transaction; deletions that a process did not live to see are done by
// another.
func (s *Scheduler) retain(ctx context.Context, p *Policy) error {
	stands, err := s.service.standing(ctx, p.Repository)
	if err == nil {
		err = s.sweep(ctx, p, stands)
	}
	next := s.service.now().UTC().Add(retainEvery)
	if err != nil {
		next = s.service.now().UTC().Add(retainAgain)
		s.log.Warn("backup policy could not look for old snapshots", "policy", p.Name, "error", err)
	}
	_, cerr := s.service.store.ChangePolicy(ctx, p.Name, nil, func(now *Policy) error {
		if !now.RetainAt.Equal(p.RetainAt) {
			return ErrConflict // a run has ended meanwhile
		}
		now.RetainAt = next
		return nil
	})
	if errors.Is(cerr, ErrConflict) || errors.Is(cerr, ErrNotFound) {
		return nil
	}
	return cerr
}

func (s *Scheduler) sweep(ctx context.Context, p *Policy, stands map[string]bool) error {
	now := s.service.now().UTC().Truncate(time.Microsecond)
	done := &Sweep{At: now}
	decide := func(all Holdings) []Removal {
		remove, held := p.Retention.Decide(now, all)
		done.Removed = len(remove)
		for _, h := range held {
			done.Held = append(done.Held, h.ID+": "+h.Why)
		}
		return remove
	}
	audit := func(r Removal) tenants.Audit {
		return s.service.audit(byPolicy(p.Name), "backup.delete", "backup/"+r.ID, map[string]any{"policy": p.Name, "why": r.Why})
	}
	if err := s.service.store.Retain(ctx, p.Name, stands, decide, audit); err != nil {
		return err
	}
	_, err := s.service.store.ChangePolicy(ctx, p.Name, nil, func(p *Policy) error {
		p.LastSweep = done
		return nil
	})
	return err
}

// standing asks the engines which successful snapshots they have, complete. A
// repository that cannot be read has none; an engine that does not answer is an
// error. That of another cluster than the policy's repository is none: what
// cannot be seen there counts for nothing, and nothing there is deleted.
func (s *Service) standing(ctx context.Context, policys string) (map[string]bool, error) {
	runs, err := s.store.Ended(ctx)
	if err != nil {
		return nil, err
	}
	repositories := map[string]bool{}
	for _, r := range runs {
		repositories[r.Repository] = true
	}
	out := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(repositories)) {
		there, err := s.with(ctx, name)
		var found []EngineSnapshot
		if err == nil {
			found, err = there.engine.ListSnapshots(ctx, name)
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			if s.engines != nil && !s.together(ctx, name, policys) {
				continue
			}
			return nil, fmt.Errorf("repository %s: %w", name, err)
		}
		for _, f := range found {
			if f.State == EngineSuccess && f.Failed == 0 {
				out[f.Name] = true
			}
		}
	}
	return out, nil
}
