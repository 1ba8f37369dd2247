package upgrader

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"

	"github.com/tracardi/tms/upgrader/tenure"
)

// keep extends a tenant's lease while its owner works.
func (r *Runner) keep(ctx context.Context, l *Lease) *tenure.Keeper {
	extend := func(ctx context.Context) error { return r.store.Extend(ctx, l, r.limits.LeaseTTL) }
	return tenure.Keep(ctx, tenure.Terms{Until: l.Until, TTL: r.limits.LeaseTTL, Extend: extend, Lost: ErrLeaseLost})
}

// leasedEngine is the engine as one owner of a tenant may use it: it refuses
// every change when the lease is not certainly held, and has the engine refuse
// those that arrive although it is not (see guard.go). A worker that was
// stopped and wakes up after its lease ran out must not touch what is somebody
// else's by then.
type leasedEngine struct {
	Engine
	keeper *tenure.Keeper
	guard
	spending
	// unanswered says that some change had no answer: it may yet be carried
	// out, so that whoever comes next has to fence it off.
	unanswered atomic.Bool
	// alone says that former owners are fenced off, and that it is recorded. For
	// the goroutine that has the turn.
	alone bool
}

func newLeasedEngine(e Engine, k *tenure.Keeper, l *Lease) *leasedEngine {
	return &leasedEngine{Engine: e, keeper: k, guard: guard{prefix: guardPrefix + l.RolloutID + "." + l.TenantID + "."}}
}

// change carries out a change, unless the lease is not certainly held.
func (e *leasedEngine) change(ctx context.Context, do func() error) error {
	if !e.keeper.Held() {
		return e.keeper.Forfeit()
	}
	err := do()
	var answer *EngineError
	if err != nil && (ctx.Err() != nil || errors.As(err, &answer) && answer.Unanswered()) {
		e.unanswered.Store(true)
	}
	return err
}

// update is change for what makes the master work: it waits for its turn in
// the cluster's budget, unless somebody's writes are refused meanwhile.
func (e *leasedEngine) update(ctx context.Context, do func() error) error {
	back, err := e.turn(ctx)
	if err != nil {
		return err
	}
	defer back()
	return e.change(ctx, do)
}

// CreateIndex marks the index with the owner's guard, for what is written to it.
func (e *leasedEngine) CreateIndex(ctx context.Context, name string, body IndexBody) error {
	body.Aliases = withAlias(body.Aliases, e.alias(name))
	return e.update(ctx, func() error {
		err := e.Engine.CreateIndex(ctx, name, body)
		if err == nil {
			for alias := range body.Aliases {
				e.hold(alias)
			}
		}
		return err
	})
}

func (e *leasedEngine) Clone(ctx context.Context, source, target string, settings map[string]any) error {
	return e.change(ctx, func() error { return e.Engine.Clone(ctx, source, target, settings) })
}

func (e *leasedEngine) PutMapping(ctx context.Context, mapping map[string]any, names ...string) error {
	return e.update(ctx, func() error { return e.Engine.PutMapping(ctx, mapping, names...) })
}

// DeleteIndices deletes under the tenant's key where there is one: a deletion
// that arrives when somebody else has made the index anew must not hit that.
func (e *leasedEngine) DeleteIndices(ctx context.Context, names ...string) error {
	if e.home == "" || slices.Contains(names, e.home) {
		return e.update(ctx, func() error { return e.Engine.DeleteIndices(ctx, names...) })
	}
	if err := e.ensure(ctx, e.key(), e.home); err != nil {
		return err
	}
	there, err := e.Engine.Indices(ctx, names...)
	if err != nil || len(there) == 0 {
		return err
	}
	actions := e.underKey()
	for _, ix := range there {
		actions = append(actions, AliasAction{Index: ix.Name, Drop: true})
	}
	return e.update(ctx, func() error { return e.Engine.UpdateAliases(ctx, actions) })
}

func (e *leasedEngine) PutSettings(ctx context.Context, settings map[string]any, names ...string) error {
	return e.update(ctx, func() error { return e.Engine.PutSettings(ctx, settings, names...) })
}

func (e *leasedEngine) PutTemplate(ctx context.Context, t Template) error {
	return e.update(ctx, func() error { return e.Engine.PutTemplate(ctx, t) })
}

func (e *leasedEngine) DeleteTemplate(ctx context.Context, name string) error {
	return e.update(ctx, func() error { return e.Engine.DeleteTemplate(ctx, name) })
}

func (e *leasedEngine) BlockWrites(ctx context.Context, patterns ...string) (names []string, err error) {
	err = e.change(ctx, func() error { names, err = e.Engine.BlockWrites(ctx, patterns...); return err })
	return names, err
}

func (e *leasedEngine) UnblockWrites(ctx context.Context, names ...string) error {
	return e.change(ctx, func() error { return e.Engine.UnblockWrites(ctx, names...) })
}

func (e *leasedEngine) UpdateAliases(ctx context.Context, actions []AliasAction) error {
	defer e.account.CountUpdate()() // guards need it while others wait for them
	return e.change(ctx, func() error { return e.Engine.UpdateAliases(ctx, actions) })
}

// StartReindex has the task write through an alias that goes with the switch:
// a task that starts late, or runs on, can then write nothing any more.
func (e *leasedEngine) StartReindex(ctx context.Context, r Reindex) (id string, err error) {
	alias := e.copyAlias(r.Target)
	if err := e.ensure(ctx, alias, r.Target); err != nil {
		return "", err
	}
	r.Target, r.RequireAlias = alias, true
	err = e.change(ctx, func() error { id, err = e.Engine.StartReindex(ctx, r); return err })
	return id, err
}

// Bulk writes to targets through the owner's guard, so that a bulk which
// arrives after somebody else has taken over, or after the switch, is refused.
func (e *leasedEngine) Bulk(ctx context.Context, ops []BulkOp) (results []BulkResult, err error) {
	guarded := slices.Clone(ops)
	for i := range guarded {
		op := &guarded[i]
		if !e.isTarget(op.Index) {
			continue
		}
		alias := e.alias(op.Index)
		if err := e.ensure(ctx, alias, op.Index); err != nil {
			return nil, err
		}
		op.Index, op.RequireAlias = alias, true
	}
	err = e.change(ctx, func() error { results, err = e.Engine.Bulk(ctx, guarded); return err })
	return results, err
}
