package backups

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tracardi/tms/upgrader"
)

// keeper extends a lease until stopped, and ends its context when the lease is
// lost.
type keeper struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	done   chan struct{}

	mu    sync.Mutex
	until time.Time
}

func keep(ctx context.Context, store Store, l *Lease, ttl time.Duration) *keeper {
	k := &keeper{done: make(chan struct{}), until: l.Until}
	k.ctx, k.cancel = context.WithCancelCause(ctx)
	go k.loop(store, l, ttl)
	return k
}

func (k *keeper) loop(store Store, l *Lease, ttl time.Duration) {
	defer close(k.done)
	tick := time.NewTicker(ttl / 4)
	defer tick.Stop()
	for {
		select {
		case <-k.ctx.Done():
			return
		case <-tick.C:
		}
		asked := time.Now()
		ctx, cancel := context.WithTimeout(k.ctx, ttl/2)
		err := store.Extend(ctx, l, ttl)
		cancel()
		switch {
		case err == nil:
			k.mu.Lock()
			k.until = asked.Add(ttl)
			k.mu.Unlock()
		case errors.Is(err, ErrLeaseLost) || !k.held():
			k.cancel(ErrLeaseLost)
			return
		}
	}
}

// held says whether the lease is certainly still ours.
func (k *keeper) held() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return time.Now().Before(k.until)
}

func (k *keeper) stop() {
	k.cancel(nil)
	<-k.done
}

// leasedEngine refuses every change when the lease is not certainly held: a
// worker that was stopped and wakes up late must not touch what is somebody
// else's by then.
type leasedEngine struct {
	Engine
	keeper *keeper
}

func (e *leasedEngine) guard(change func() error) error {
	if !e.keeper.held() {
		e.keeper.cancel(ErrLeaseLost)
		return ErrLeaseLost
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
