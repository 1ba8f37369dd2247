package backups

import (
	"context"
	"time"

	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/tenure"
)

// keep extends a lease while its owner works.
func keep(ctx context.Context, store Store, l *Lease, ttl time.Duration) *tenure.Keeper {
	extend := func(ctx context.Context) error { return store.Extend(ctx, l, ttl) }
	return tenure.Keep(ctx, tenure.Terms{Until: l.Until, TTL: ttl, Extend: extend, Lost: ErrLeaseLost})
}

// leasedEngine refuses every change when the lease is not certainly held: a
// worker that was stopped and wakes up late must not touch what is somebody
// else's by then.
type leasedEngine struct {
	Engine
	keeper *tenure.Keeper
}

func (e *leasedEngine) guard(change func() error) error {
	if !e.keeper.Held() {
		return e.keeper.Forfeit()
	}
	return change()
}

func (e *leasedEngine) CreateIndex(ctx context.Context, name string, body upgrader.IndexBody) error {
	return e.guard(func() error { return e.Engine.CreateIndex(ctx, name, body) })
}

func (e *leasedEngine) DeleteIndices(ctx context.Context, names ...string) error {
	return e.guard(func() error { return e.Engine.DeleteIndices(ctx, names...) })
}

func (e *leasedEngine) PutTemplate(ctx context.Context, t upgrader.Template) error {
	return e.guard(func() error { return e.Engine.PutTemplate(ctx, t) })
}

func (e *leasedEngine) DeleteTemplate(ctx context.Context, name string) error {
	return e.guard(func() error { return e.Engine.DeleteTemplate(ctx, name) })
}

func (e *leasedEngine) BlockWrites(ctx context.Context, patterns ...string) (names []string, err error) {
	err = e.guard(func() error { names, err = e.Engine.BlockWrites(ctx, patterns...); return err })
	return names, err
}

func (e *leasedEngine) UnblockWrites(ctx context.Context, names ...string) error {
	return e.guard(func() error { return e.Engine.UnblockWrites(ctx, names...) })
}

func (e *leasedEngine) UpdateAliases(ctx context.Context, actions []upgrader.AliasAction) error {
	return e.guard(func() error { return e.Engine.UpdateAliases(ctx, actions) })
}

func (e *leasedEngine) Bulk(ctx context.Context, ops []upgrader.BulkOp) (res []upgrader.BulkResult, err error) {
	err = e.guard(func() error { res, err = e.Engine.Bulk(ctx, ops); return err })
	return res, err
}

func (e *leasedEngine) StartSnapshot(ctx context.Context, r SnapshotRequest) error {
	return e.guard(func() error { return e.Engine.StartSnapshot(ctx, r) })
}

func (e *leasedEngine) DeleteSnapshot(ctx context.Context, repository, name string) error {
	return e.guard(func() error { return e.Engine.DeleteSnapshot(ctx, repository, name) })
}

func (e *leasedEngine) StartRestore(ctx context.Context, r RestoreRequest) error {
	return e.guard(func() error { return e.Engine.StartRestore(ctx, r) })
}

func (e *leasedEngine) CloseIndices(ctx context.Context, names ...string) error {
	return e.guard(func() error { return e.Engine.CloseIndices(ctx, names...) })
}

func (e *leasedEngine) OpenIndices(ctx context.Context, names ...string) error {
	return e.guard(func() error { return e.Engine.OpenIndices(ctx, names...) })
}
