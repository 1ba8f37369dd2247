package cleanup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
)

const (
	// standardTurn stays below cluster.indices.tombstones.size (500 in all
	// engines): a node that was away learns from tombstones what was deleted
	// meanwhile, and brings back what they have forgotten.
	standardTurn = 400
	// standardPause gives a node that restarts, and whatever else waits for
	// the master, time between turns.
	standardPause = time.Minute
	// batch of indices in one cluster-state update: the master is busy with
	// each for some tens of milliseconds.
	batch = 50
	// turnLease is longer than a turn and longer than the pause, so that after
	// the death of a worker no more than a turn is deleted within a pause.
	turnLease = 2 * time.Minute
	// maxFailures bounds the attempts that get nowhere; with their pauses they
	// last some ten hours.
	maxFailures     = 30
	maxFailurePause = 30 * time.Minute
	storeTimeout    = 5 * time.Second
)

// changedError is an obstacle that time does not heal.
type changedError struct{ message string }

func (e *changedError) Error() string { return e.message }

// Work does one turn of an operation; any process may call it at any time.
// What went wrong stands in the operation; the error is for the log.
func (s *Service) Work(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, turnLease*3/4)
	defer cancel()
	op, err := s.c.Store.Claim(ctx, id, s.c.Owner, turnLease)
	if err != nil || op == nil {
		return err
	}
	left, err := s.turn(ctx, op)
	now := s.c.Now().UTC().Truncate(time.Microsecond)
	var trail []tenants.Audit
	pause := s.c.Pause
	var changed *changedError
	switch {
	case errors.As(err, &changed):
		op.State, op.FinishedAt, op.Reason, op.Message = tenants.OperationFailed, now, tenants.Reason(ReasonChanged), err.Error()
	case err != nil:
		op.Reason, op.Message = tenants.ReasonPurgeIncomplete, err.Error()
		failures := op.Attempts - op.Result.Turns
		if pause = failurePause(failures); failures >= maxFailures {
			op.State, op.FinishedAt = tenants.OperationFailed, now
		}
	case left > 0:
		op.Result.Turns++
		op.Reason, op.Message = "", fmt.Sprintf("%d indices are left, the next turn begins %s later", left, s.c.Pause)
	default:
		op.State, op.FinishedAt, op.Result.ProvenAt, op.Reason, op.Message = tenants.OperationSucceeded, now, now, "", ""
	}
	if op.State != tenants.OperationRunning {
		trail = append(trail, tenants.Audit{At: now, Caller: tenants.Caller{KeyID: op.CreatedBy}, Action: "version.cleaned", Subject: "release/" + op.Version, Detail: map[string]any{
			"operation": op.ID, "state": op.State, "result": op.Result, "message": op.Message,
		}})
		s.c.Log.InfoContext(ctx, "cleanup ended", "operation", op.ID, "version", op.Version, "state", op.State, "indices", op.Result.Indices, "templates", op.Result.Templates)
	}
	// The claim is given back also when this process is told to stop.
	free, done := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer done()
	return errors.Join(err, s.c.Store.Release(free, op, s.c.Owner, pause, trail...))
}

// failurePause grows from two seconds to half an hour.
func failurePause(failures int) time.Duration {
	return min(time.Second<<min(max(failures, 1), 11), maxFailurePause)
}

// turn deletes up to a turn's number of indices and returns how many are left.
// A tenant whose indices have come into use since the plan keeps them; the
// others are cleaned first, then the operation fails with its name.
func (s *Service) turn(ctx context.Context, op *tenants.Operation) (left int, err error) {
	p, err := s.c.Store.Plan(ctx, op.ID)
	if err != nil {
		return 0, err
	}
	release, err := s.release(p.Prefix)
	if err != nil {
		return 0, err
	}
	if s, err = s.in(ctx, p.Cluster); err != nil {
		return 0, err
	}
	if err := s.healthy(ctx, p); err != nil {
		return 0, err
	}
	now, err := s.plan(ctx, release, p.Only)
	if err != nil {
		return 0, err
	}
	budget := s.c.Turn
	var kept []string
	for _, planned := range p.Tenants {
		i := slices.IndexFunc(now.Tenants, func(t Part) bool { return t.Tenant == planned.Tenant })
		if i < 0 {
			if r := slices.IndexFunc(now.Refusals, func(r upgrader.Refusal) bool { return r.TenantID == planned.Tenant }); r >= 0 {
				kept = append(kept, "tenant "+planned.Tenant+": "+now.Refusals[r].Message)
			}
			continue // gone already
		}
		present := remaining(planned, now.Tenants[i])
		if budget == 0 {
			left += len(present.Indices) + len(present.Templates)
			continue
		}
		part := present
		part.Indices = present.Indices[:min(budget, len(present.Indices))]
		if err := s.clear(ctx, p, part, op); err != nil {
			return 0, err
		}
		budget -= len(part.Indices)
		left += len(present.Indices) - len(part.Indices)
	}
	if left == 0 && len(kept) > 0 {
		return 0, &changedError{fmt.Sprintf("%d tenants use the version again and keep it: %s", len(kept), strings.Join(kept, "; "))}
	}
	return left, nil
}

// healthy refuses to go on while a node is away that was there when it was
// planned, or while primaries are missing.
func (s *Service) healthy(ctx context.Context, p *Plan) error {
	v, err := s.c.Engine.Vitals(ctx)
	switch {
	case err != nil:
		return err
	case v.Red:
		return errors.New("the cluster is red: nothing is deleted until every primary is there again")
	case v.Nodes < p.Nodes:
		return fmt.Errorf("%d of %d nodes are there: nothing is deleted until all are back", v.Nodes, p.Nodes)
	}
	return nil
}

// remaining is what of a part is still there and the same.
func remaining(planned, now Part) Part {
	out := Part{Tenant: planned.Tenant, Corrections: now.Corrections}
	for _, ix := range planned.Indices {
		if slices.Contains(now.Indices, ix) {
			out.Indices = append(out.Indices, ix)
		}
	}
	for _, t := range planned.Templates {
		if slices.Contains(now.Templates, t) {
			out.Templates = append(out.Templates, t)
		}
	}
	return out
}

// clear corrects static aliases, then deletes templates, then indices: a write
// that arrives late would make a new index from a template. Before each batch
// the engine is asked once more whether a reader has come.
func (s *Service) clear(ctx context.Context, p *Plan, part Part, op *tenants.Operation) error {
	var actions []upgrader.AliasAction
	for _, c := range part.Corrections {
		actions = append(actions, upgrader.AliasAction{Index: c.Index, Alias: c.Alias})
	}
	if err := s.c.Engine.UpdateAliases(ctx, actions); err != nil {
		return err
	}
	op.Result.Aliases += len(actions)
	for _, name := range part.Templates {
		if err := s.c.Engine.DeleteTemplate(ctx, name); err != nil {
			return err
		}
		op.Result.Templates++
	}
	for some := range slices.Chunk(part.Indices, batch) {
		names, err := s.unread(ctx, p, part.Tenant, some)
		if err != nil || len(names) == 0 {
			return err
		}
		if err := s.c.Engine.DeleteIndices(ctx, names...); err != nil {
			return err
		}
		op.Result.Indices += len(names)
	}
	return nil
}

// unread lists those that still are what was planned and that no reader sees.
func (s *Service) unread(ctx context.Context, p *Plan, tenant string, some []Doomed) ([]string, error) {
	there, err := s.c.Engine.Standing(ctx, patterns(p.Prefix, tenant, allModes...)...)
	if err != nil {
		return nil, err
	}
	if (&view{}).inUse(&Plan{}, tenant, &holding{indices: there}) {
		return nil, fmt.Errorf("tenant %s: an alias came to lead to the version meanwhile", tenant)
	}
	var names []string
	for _, ix := range there {
		if slices.Contains(some, Doomed{ix.Name, ix.UUID}) {
			names = append(names, ix.Name)
		}
	}
	return names, nil
}
