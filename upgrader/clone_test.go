package upgrader_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader"
)

// cloneable narrows the layout to resources of which most can be cloned.
func (b *bundle) cloneable() *bundle {
	b.t.Helper()
	whole, err := releases.Builtin()
	require.NoError(b.t, err)
	b.catalogue = whole.Restrict("log", "item", "event-source", "profile", "bridge")
	b.service = upgrader.NewService(b.store, b.engine, b.catalogue, nil)
	return b
}

func (b *bundle) methods(r *upgrader.Rollout) map[upgrader.Method]int {
	b.t.Helper()
	out := map[upgrader.Method]int{}
	moves, err := b.service.Moves(b.t.Context(), r.ID, r.Tenants[0].TenantID)
	require.NoError(b.t, err)
	for _, m := range moves {
		out[m.Method]++
	}
	return out
}

// TestCloneUnderWrites clones whatever can be cloned while writers go on: what
// is written to is copied, what is written afterwards is caught up with.
func TestCloneUnderWrites(t *testing.T) {
	t.Parallel()
	b := setup(t).cloneable()
	tenant := b.tenant("0.8.1", 3)
	require.NoError(t, tenant.Fill(t.Context(), 1500))
	b.worker(b.engine)
	writer := tenant.StartWriter(t.Context(), fleet.WriterConfig{Rate: 5})
	r := b.run("0.8.2", upgrader.Options{Methods: map[string]upgrader.Method{upgrader.AllResources: upgrader.MethodClone}}, tenant)
	require.NoError(t, writer.Stop())
	n := b.methods(r)
	t.Logf("methods %v, counted %v, fence %s, writer %+v", n, r.Tenants[0].ByMethod, r.Tenants[0].Fence, writer.Stats())
	require.Positive(t, n[upgrader.MethodClone])
	require.Equal(t, n[upgrader.MethodClone], r.Tenants[0].ByMethod[upgrader.MethodClone])
	b.judge(tenant, r, "0.8.2")
}

// deadlyEngine kills its worker in the middle of the first clone: the source
// refuses writes, and nobody is left to lift that.
type deadlyEngine struct {
	upgrader.Engine
	after bool // the engine has made the clone
	dead  atomic.Bool
	die   context.CancelFunc
}

var errMidClone = errors.New("the worker is dead")

func (e *deadlyEngine) Clone(ctx context.Context, source, target string, settings map[string]any) error {
	var err error
	if e.after {
		err = e.Engine.Clone(ctx, source, target, settings)
	}
	e.dead.Store(true)
	e.die()
	return errors.Join(err, errMidClone)
}

func (e *deadlyEngine) UnblockWrites(ctx context.Context, names ...string) error {
	if e.dead.Load() {
		return errMidClone
	}
	return e.Engine.UnblockWrites(ctx, names...)
}

// TestWorkerDiesWhileCloning: whoever comes next opens the source, even when
// the rollout is paused by then, and takes the clone over if there is one.
func TestWorkerDiesWhileCloning(t *testing.T) {
	long(t)
	t.Parallel()
	for name, after := range map[string]bool{"before the engine has made it": false, "after": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t).cloneable()
			tenant := b.tenant("0.8.1", 1)
			require.NoError(t, tenant.Fill(t.Context(), 300))
			r := b.start("0.8.2", upgrader.Options{Methods: map[string]upgrader.Method{"log": upgrader.MethodClone}}, tenant)
			limits := upgrader.Limits{LeaseTTL: time.Second}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			e := &deadlyEngine{Engine: b.engine, after: after, die: cancel}
			_ = upgrader.NewRunner(b.store, e, b.catalogue, "mortal", limits, b.log).Work(ctx, r.ID, tenant.Name())
			require.True(t, e.dead.Load(), "nothing was cloned")
			require.NotEmpty(t, b.blocked(tenant))

			_, err := b.service.Pause(t.Context(), upgrader.Command{RolloutID: r.ID})
			require.NoError(t, err)
			heir := upgrader.NewRunner(b.store, b.engine, b.catalogue, "heir", limits, b.log)
			b.due(t.Context(), r.ID, tenant.Name())
			require.NoError(t, heir.Work(t.Context(), r.ID, tenant.Name()))
			require.Empty(t, b.blocked(tenant), "a paused rollout refuses writes")

			_, err = b.service.Resume(t.Context(), upgrader.Command{RolloutID: r.ID})
			require.NoError(t, err)
			b.worker(b.engine)
			r = b.ended(r.ID)
			require.Equal(t, upgrader.RolloutComplete, r.State, describe(r))
			require.Positive(t, b.methods(r)[upgrader.MethodClone])
			b.judge(tenant, r, "0.8.2")
		})
	}
}

// stuckEngine does not open the source of its first clone again, and says so.
type stuckEngine struct {
	upgrader.Engine
	cloned, stuck atomic.Bool
	closed        []string // what could not be opened; read it when stuck
}

func (e *stuckEngine) Clone(ctx context.Context, source, target string, settings map[string]any) error {
	e.cloned.Store(true)
	return e.Engine.Clone(ctx, source, target, settings)
}

func (e *stuckEngine) UnblockWrites(ctx context.Context, names ...string) error {
	if e.cloned.Load() && e.stuck.CompareAndSwap(false, true) {
		e.closed = names
		return context.DeadlineExceeded
	}
	return e.Engine.UnblockWrites(ctx, names...)
}

// TestCloneIsNotOpened: a source that could not be opened is no reason to copy
// it instead, with its writers refused for all that time.
func TestCloneIsNotOpened(t *testing.T) {
	t.Parallel()
	b := setup(t).cloneable()
	tenant := b.tenant("0.8.1", 1)
	require.NoError(t, tenant.Fill(t.Context(), 300))
	r := b.start("0.8.2", upgrader.Options{Methods: map[string]upgrader.Method{"log": upgrader.MethodClone}}, tenant)
	e := &stuckEngine{Engine: b.engine}
	runner := upgrader.NewRunner(b.store, e, b.catalogue, "stuck", upgrader.Limits{}, b.log)
	want := 0
	for _, n := range r.Tenants[0].ByMethod {
		want += n
	}
	r = b.work(runner, r.ID, tenant.Name())
	require.True(t, e.stuck.Load())
	require.Equal(t, upgrader.RolloutComplete, r.State, describe(r))
	moves, err := b.service.Moves(t.Context(), r.ID, tenant.Name())
	require.NoError(t, err)
	i := slices.IndexFunc(moves, func(m upgrader.Move) bool { return len(m.Copies) == 1 && m.Copies[0].Source == e.closed[0] })
	require.GreaterOrEqual(t, i, 0, e.closed)
	require.Equal(t, upgrader.MethodClone, moves[i].Method) // others may be copied instead where a clone takes too long
	require.Equal(t, want, r.Tenants[0].Indices)
	require.Empty(t, r.Tenants[0].Record.Cloning)
	b.judge(tenant, r, "0.8.2")
}

// blocked names the tenant's old indices that refuse writes.
func (b *bundle) blocked(tenant *fleet.Tenant) (names []string) {
	b.t.Helper()
	old, err := b.engine.Indices(b.t.Context(), "08x."+tenant.Name()+".*", "prod-08x."+tenant.Name()+".*")
	require.NoError(b.t, err)
	for _, ix := range old {
		if ix.WriteBlocked {
			names = append(names, ix.Name)
		}
	}
	return names
}
