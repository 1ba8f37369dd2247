package upgrader_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/elastic"
	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/upgrader"
)

// lostEngine has no answer for the next bulk once it is to lose one, and none for
// who bears the guards while it is away.
type lostEngine struct {
	upgrader.Engine
	away, lose atomic.Bool
	lost       atomic.Int64
	block      func() // before the old version is closed
	die        func() // when it loses a bulk; nil for nothing
	once       sync.Once
}

func (e *lostEngine) Bulk(ctx context.Context, ops []upgrader.BulkOp) ([]upgrader.BulkResult, error) {
	if !e.lose.CompareAndSwap(true, false) {
		return e.Engine.Bulk(ctx, ops)
	}
	e.lost.Add(1)
	if e.die != nil {
		e.die()
	}
	<-ctx.Done()
	return nil, &upgrader.EngineError{Op: "bulk", Err: ctx.Err()}
}

func (e *lostEngine) Aliases(ctx context.Context, patterns ...string) (map[string][]string, error) {
	if e.away.Load() {
		return nil, errOnItsWay
	}
	return e.Engine.Aliases(ctx, patterns...)
}

func (e *lostEngine) BlockWrites(ctx context.Context, patterns ...string) ([]string, error) {
	if e.block != nil {
		e.once.Do(e.block)
	}
	return e.Engine.BlockWrites(ctx, patterns...)
}

// unclean takes the tenant, and tells whether whoever takes it has others to
// keep out first.
func (b *bundle) unclean(rollout, tenant string) bool {
	b.t.Helper()
	b.due(b.t.Context(), rollout, tenant)
	l, err := b.store.Acquire(b.t.Context(), rollout, tenant, "probe", time.Second)
	require.NoError(b.t, err)
	require.NoError(b.t, b.store.Release(b.t.Context(), l, time.Now(), -1, l.Takeover))
	return l.Takeover
}

// An owner whose bulk had no answer is kept out by whoever is the first to get
// so far: not forgotten by one that did not.
func TestTakeoverIsNotForgotten(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.catalogue = b.catalogue.Restrict("rule", "event")
	b.service = upgrader.NewService(b.store, b.engine, b.catalogue, nil)
	tenant := b.tenant("0.8.1", 1)
	require.NoError(t, tenant.Fill(t.Context(), 50))
	r := b.start("0.8.2", upgrader.Options{}, tenant)
	e := &lostEngine{Engine: b.engine}
	runner := upgrader.NewRunner(b.store, e, b.catalogue, "worker", upgrader.Limits{}, b.log)

	e.lose.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	e.die = cancel // the process ends
	b.due(t.Context(), r.ID, tenant.Name())
	_ = runner.Work(ctx, r.ID, tenant.Name())
	require.Positive(t, e.lost.Load())
	require.True(t, b.unclean(r.ID, tenant.Name()))

	e.away.Store(true)
	b.due(t.Context(), r.ID, tenant.Name())
	require.ErrorIs(t, runner.Work(t.Context(), r.ID, tenant.Name()), errOnItsWay)
	require.True(t, b.unclean(r.ID, tenant.Name()), "the engine was away when they were to be kept out")

	e.away.Store(false)
	r = b.work(runner, r.ID, tenant.Name())
	require.Equal(t, upgrader.RolloutComplete, r.State, describe(r))
	b.judge(tenant, r, "0.8.2")
}

// A fence is over before its last bulk is: the turn ends, and the next one keeps
// the bulk out before it goes on.
func TestFenceEndsBeforeItsBulk(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.catalogue = b.catalogue.Restrict("rule", "event")
	b.service = upgrader.NewService(b.store, b.engine, b.catalogue, nil)
	tenant := b.tenant("0.8.1", 1)
	require.NoError(t, tenant.Fill(t.Context(), 50))
	r := b.start("0.8.2", upgrader.Options{FenceTimeout: 500 * time.Millisecond}, tenant)
	e := &lostEngine{Engine: b.engine}
	month := b.monthOf(tenant, "08x")
	e.block = func() {
		require.Equal(t, 201, b.write(month, "last"))
		e.lose.Store(true)
	}
	runner := upgrader.NewRunner(b.store, e, b.catalogue, "worker", upgrader.Limits{}, b.log)
	for e.lost.Load() == 0 {
		b.due(t.Context(), r.ID, tenant.Name())
		require.NoError(t, runner.Work(t.Context(), r.ID, tenant.Name()))
	}
	got, err := b.service.Get(t.Context(), r.ID)
	require.NoError(t, err)
	require.Equal(t, upgrader.TenantCopied, got.Tenants[0].State, describe(got))
	require.Contains(t, got.Tenants[0].Reason, "fence lifted")
	require.True(t, b.unclean(r.ID, tenant.Name()))

	r = b.work(runner, r.ID, tenant.Name())
	require.Equal(t, upgrader.RolloutComplete, r.State, describe(r))
	require.Equal(t, []string{"last"}, b.has(b.monthOf(tenant, "0820"), "last"))
}

// monthOf is an index of a version of the tenant that holds events.
func (b *bundle) monthOf(t *fleet.Tenant, prefix string) string {
	b.t.Helper()
	there, err := b.engine.Indices(b.t.Context(), prefix+"."+t.Name()+".tracardi-event-2*")
	require.NoError(b.t, err)
	require.NotEmpty(b.t, there)
	return there[0].Name
}

// The start of a copy task has no answer, another task is started, and the first
// one only when users' writes are being caught up with: it may write nothing.
func TestLateCopyTask(t *testing.T) {
	long(t)
	t.Parallel()
	b := setup(t)
	tenant := b.tenant("0.8.1", 1)
	require.NoError(t, tenant.Fill(t.Context(), 150))
	r := b.start("0.8.2", upgrader.Options{HoldSwitch: true}, tenant)
	limits := upgrader.Limits{LeaseTTL: 500 * time.Millisecond, StreamDocs: 20}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	e := &tardyEngine{Engine: b.engine, kind: "reindex", die: cancel}
	for e.late == nil && ctx.Err() == nil {
		b.due(ctx, r.ID, tenant.Name())
		_ = upgrader.NewRunner(b.store, e, b.catalogue, "late", limits, b.log).Work(ctx, r.ID, tenant.Name())
	}
	require.NotNil(t, e.late, "it made no such call")

	next := upgrader.NewRunner(b.store, b.engine, b.catalogue, "next", limits, b.log)
	for {
		got, err := b.service.Get(t.Context(), r.ID)
		require.NoError(t, err)
		if got.Tenants[0].State == upgrader.TenantCompared {
			break
		}
		require.False(t, got.State.Ended(), describe(got))
		b.due(t.Context(), r.ID, tenant.Name())
		require.NoError(t, next.Work(t.Context(), r.ID, tenant.Name()))
	}
	require.Error(t, e.late(t.Context()), "the engine has carried it out")
	_, err := b.service.Switch(t.Context(), upgrader.Command{RolloutID: r.ID})
	require.NoError(t, err)
	r = b.work(next, r.ID, tenant.Name())
	require.Equal(t, upgrader.RolloutComplete, r.State, describe(r))
	b.judge(tenant, r, "0.8.2")
}

// deathWhileCreating stops the worker when some of the targets are made.
type deathWhileCreating struct {
	upgrader.Engine
	left atomic.Int64
	die  context.CancelFunc
}

func (e *deathWhileCreating) CreateIndex(ctx context.Context, name string, body upgrader.IndexBody) error {
	err := e.Engine.CreateIndex(ctx, name, body)
	if e.left.Add(-1) == 0 {
		e.die()
	}
	return err
}

// A worker dies while it makes the targets, one by one or out of a snapshot, and
// the operator cancels: nothing of them is left.
func TestCancelAfterDeathWhileCreating(t *testing.T) {
	t.Parallel()
	b := setup(t)
	repository := b.repository()
	client := b.engine.(*elastic.Client)
	b.mould(repository)
	heir := b.seeded(b.engine, client, repository)
	for _, restored := range []bool{false, true} {
		tenant := b.tenant("0.8.1", 1)
		require.NoError(t, tenant.Fill(t.Context(), 50))
		r := b.start("0.8.2", upgrader.Options{}, tenant)
		ctx, die := context.WithCancel(t.Context())
		e := &deathWhileCreating{Engine: b.engine, die: die}
		e.left.Store(4)
		mortal := upgrader.NewRunner(b.store, e, b.catalogue, "mortal", upgrader.Limits{LeaseTTL: time.Second}, b.log)
		if restored {
			mortal = b.seeded(b.engine, &oddSeeder{Seeder: client, plant: func(ctx context.Context, p upgrader.Planting) error {
				defer die()
				return client.Plant(ctx, p)
			}}, repository)
		}
		b.due(t.Context(), r.ID, tenant.Name())
		_ = mortal.Work(ctx, r.ID, tenant.Name())
		require.Error(t, ctx.Err(), "it lives")
		patterns := []string{"0820." + tenant.Name() + ".*", "prod-0820." + tenant.Name() + ".*", "static-0820." + tenant.Name() + ".*"}
		there, err := b.engine.Indices(t.Context(), patterns...)
		require.NoError(t, err)
		require.NotEmpty(t, there)

		_, err = b.service.Cancel(t.Context(), upgrader.Command{RolloutID: r.ID})
		require.NoError(t, err)
		r = b.work(heir, r.ID, tenant.Name())
		require.Equal(t, upgrader.TenantCancelled, r.Tenants[0].State, describe(r))
		there, err = b.engine.Indices(t.Context(), patterns...)
		require.NoError(t, err)
		require.Empty(t, there)
		b.judge(tenant, r, "0.8.1")
	}
}

// What only the new release knows is kept when the index that a rollback has left
// cannot be taken over.
func TestWhatARollbackLeftIsNotLost(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tenant := b.tenant("0.8.0", 1)
	require.NoError(t, tenant.Fill(t.Context(), 50))
	b.worker(b.engine)
	first := b.run("0.8.2", upgrader.Options{}, tenant)
	there, err := b.engine.Indices(t.Context(), "0820."+tenant.Name()+".tracardi-item*")
	require.NoError(t, err)
	require.NotEmpty(t, there)
	item := there[0].Name
	require.Equal(t, 201, b.write(item, "one"))
	back := b.rolledBack(first.ID)
	require.Contains(t, back.Tenants[0].Record.Return.Kept, item)
	more := map[string]any{"properties": map[string]any{"later": map[string]any{"type": "keyword"}}}
	require.NoError(t, b.engine.PutMapping(t.Context(), more, item))

	again := b.start("0.8.2", upgrader.Options{HoldSwitch: true}, tenant)
	again = b.until(again.ID, func(r *upgrader.Rollout) bool {
		return r.State.Ended() || r.Tenants[0].State == upgrader.TenantCompared
	})
	docs, err := b.service.Quarantine(t.Context(), upgrader.QuarantineFilter{RolloutID: again.ID, TenantID: tenant.Name()})
	require.NoError(t, err)
	require.Len(t, docs, 1, describe(again))
	require.Equal(t, upgrader.QuarantineLeftover, docs[0].Kind)
	require.Equal(t, "one", docs[0].ID)
	require.JSONEq(t, `{"id":"one","type":"new-month"}`, string(docs[0].Source))
}

// A closed index in the way tells nothing of what it holds: it is not replaced.
func TestClosedInTheWay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tenant := b.tenant("0.8.1", 1)
	require.NoError(t, tenant.Fill(t.Context(), 50))
	r := b.start("0.8.2", upgrader.Options{}, tenant)
	rule := "0820." + tenant.Name() + ".tracardi-rule"
	require.NoError(t, b.engine.CreateIndex(t.Context(), rule, upgrader.IndexBody{}))
	require.Equal(t, 201, b.write(rule, "one"))
	require.NoError(t, b.engine.(*elastic.Client).CloseIndices(t.Context(), rule))
	runner := upgrader.NewRunner(b.store, b.engine, b.catalogue, "worker", upgrader.Limits{}, b.log)
	r = b.work(runner, r.ID, tenant.Name())
	require.Equal(t, upgrader.TenantFailed, r.Tenants[0].State)
	require.Contains(t, r.Tenants[0].Reason, "is closed")
	require.NotNil(t, b.one(rule))
	_, err := b.service.Start(t.Context(), upgrader.Request{ToRelease: "0.8.2", Options: upgrader.Options{Tenants: []string{tenant.Name()}}})
	require.ErrorContains(t, err, "stands in the way and is closed")

	require.NoError(t, b.engine.(*elastic.Client).OpenIndices(t.Context(), rule))
	_, err = b.service.Retry(t.Context(), upgrader.Command{RolloutID: r.ID})
	require.NoError(t, err)
	r = b.work(runner, r.ID, tenant.Name())
	require.Equal(t, upgrader.RolloutComplete, r.State, describe(r))
	docs, err := b.service.Quarantine(t.Context(), upgrader.QuarantineFilter{RolloutID: r.ID, TenantID: tenant.Name()})
	require.NoError(t, err)
	require.Len(t, docs, 1)
	require.Equal(t, "one", docs[0].ID)
}

// brokenTask has copy tasks end with an error that passes.
type brokenTask struct {
	upgrader.Engine
	left atomic.Int64
}

func (e *brokenTask) ReindexTask(ctx context.Context, id string) (upgrader.ReindexTask, error) {
	task, err := e.Engine.ReindexTask(ctx, id)
	if err == nil && task.Completed && e.left.Add(-1) >= 0 {
		task.Err = "search_phase_execution_exception: all shards failed"
	}
	return task, err
}

// A copy task that has ended with an error is started again, not asked again.
func TestCopyTaskThatBreaks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.catalogue = b.catalogue.Restrict("rule", "event")
	b.service = upgrader.NewService(b.store, b.engine, b.catalogue, nil)
	tenant := b.tenant("0.8.1", 1)
	require.NoError(t, tenant.Fill(t.Context(), 100))
	r := b.start("0.8.2", upgrader.Options{}, tenant)
	e := &brokenTask{Engine: b.engine}
	e.left.Store(2)
	runner := upgrader.NewRunner(b.store, e, b.catalogue, "worker", upgrader.Limits{StreamDocs: 10}, b.log)
	r = b.work(runner, r.ID, tenant.Name())
	require.Equal(t, upgrader.RolloutComplete, r.State, describe(r))
	require.Negative(t, e.left.Load())
	b.judge(tenant, r, "0.8.2")
}

// noTemplates is an engine that takes no template.
type noTemplates struct{ upgrader.Engine }

func (e *noTemplates) PutTemplate(context.Context, upgrader.Template) error {
	return &upgrader.EngineError{Op: "put a template", Status: 400, Type: "illegal_argument_exception", Reason: "no"}
}

// A tenant that failed, was retried and waits is undone when it is cancelled.
func TestCancelOfWhatWaitsAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tenant := b.tenant("0.8.1", 1)
	require.NoError(t, tenant.Fill(t.Context(), 50))
	r := b.start("0.8.2", upgrader.Options{}, tenant)
	runner := upgrader.NewRunner(b.store, &noTemplates{b.engine}, b.catalogue, "worker", upgrader.Limits{}, b.log)
	r = b.work(runner, r.ID, tenant.Name())
	require.Equal(t, upgrader.TenantFailed, r.Tenants[0].State, describe(r))
	for _, say := range []func(context.Context, upgrader.Command) (*upgrader.Rollout, error){b.service.Retry, b.service.Pause, b.service.Cancel} {
		_, err := say(t.Context(), upgrader.Command{RolloutID: r.ID})
		require.NoError(t, err)
	}
	r = b.work(runner, r.ID, tenant.Name())
	require.Equal(t, upgrader.TenantCancelled, r.Tenants[0].State, describe(r))
	left, err := b.engine.Indices(t.Context(), "0820."+tenant.Name()+".*", "prod-0820."+tenant.Name()+".*")
	require.NoError(t, err)
	require.Empty(t, left)
	guards, err := b.engine.Aliases(t.Context(), "tms."+r.ID+".*")
	require.NoError(t, err)
	require.Empty(t, guards)
	var waiting bool
	require.NoError(t, b.pool.QueryRow(t.Context(), `select waiting or working from rollout_tenants where rollout_id = $1`, r.ID).Scan(&waiting))
	require.False(t, waiting)
}
