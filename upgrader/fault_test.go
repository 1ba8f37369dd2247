package upgrader_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/stream"
)

// dyingEngine stops the worker's context at the n-th change it is asked for,
// before or after the engine has done it: the worker dies at any instruction.
type dyingEngine struct {
	upgrader.Engine
	left  atomic.Int64
	after bool
	die   context.CancelFunc
}

var errDead = errors.New("the worker is dead")

func (e *dyingEngine) step(do func() error) error {
	n := e.left.Add(-1)
	switch {
	case n < 0:
		return errDead
	case n > 0:
		return do()
	}
	var err error
	if e.after {
		err = do()
	}
	e.die()
	return errors.Join(err, errDead)
}

func (e *dyingEngine) CreateIndex(ctx context.Context, name string, body upgrader.IndexBody) error {
	return e.step(func() error { return e.Engine.CreateIndex(ctx, name, body) })
}

func (e *dyingEngine) Clone(ctx context.Context, source, target string, settings map[string]any) error {
	return e.step(func() error { return e.Engine.Clone(ctx, source, target, settings) })
}

func (e *dyingEngine) Bulk(ctx context.Context, ops []upgrader.BulkOp) (out []upgrader.BulkResult, err error) {
	err = e.step(func() error { out, err = e.Engine.Bulk(ctx, ops); return err })
	return out, err
}

func (e *dyingEngine) StartReindex(ctx context.Context, r upgrader.Reindex) (id string, err error) {
	err = e.step(func() error { id, err = e.Engine.StartReindex(ctx, r); return err })
	return id, err
}

func (e *dyingEngine) BlockWrites(ctx context.Context, p ...string) (names []string, err error) {
	err = e.step(func() error { names, err = e.Engine.BlockWrites(ctx, p...); return err })
	return names, err
}

func (e *dyingEngine) UnblockWrites(ctx context.Context, names ...string) error {
	return e.step(func() error { return e.Engine.UnblockWrites(ctx, names...) })
}

func (e *dyingEngine) UpdateAliases(ctx context.Context, a []upgrader.AliasAction) error {
	return e.step(func() error { return e.Engine.UpdateAliases(ctx, a) })
}

func (e *dyingEngine) PutTemplate(ctx context.Context, t upgrader.Template) error {
	return e.step(func() error { return e.Engine.PutTemplate(ctx, t) })
}

func (e *dyingEngine) PutSettings(ctx context.Context, s map[string]any, names ...string) error {
	return e.step(func() error { return e.Engine.PutSettings(ctx, s, names...) })
}

// TestWorkerDiesAnywhere lets one worker after the other die at the next of a
// growing number of changes, before or after the engine has made it, until
// one lives long enough. No operator helps.
func TestWorkerDiesAnywhere(t *testing.T) {
	long(t)
	t.Parallel()
	b := setup(t)
	tenant := b.tenant("0.8.1", 2)
	require.NoError(t, tenant.Fill(t.Context(), 600))
	writer := tenant.StartWriter(t.Context(), fleet.WriterConfig{Rate: 40})
	r := b.start("0.8.2", upgrader.Options{}, tenant)
	limits := upgrader.Limits{LeaseTTL: 400 * time.Millisecond, StreamDocs: 50}
	deaths := b.mortals(r.ID, tenant.Name(), limits, upgrader.RolloutComplete)
	t.Logf("%d deaths", deaths)
	require.NoError(t, writer.Stop())
	b.judge(tenant, r, "0.8.2")
	tasks, err := b.engine.ReindexTasks(t.Context(), "tms:"+r.ID)
	require.NoError(t, err)
	require.Empty(t, tasks)
}

// due waits until a tenant may be taken.
func (b *bundle) due(ctx context.Context, rollout, tenant string) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		b.conduct(rollout)
		work, err := b.store.Due(ctx, 1000)
		if err == nil {
			for _, w := range work {
				if w.RolloutID == rollout && w.TenantID == tenant {
					return
				}
			}
		}
		if r, err := b.service.Get(ctx, rollout); err == nil && r.State.Ended() {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// sleepyEngine lets a worker sleep through the end of its lease in front of
// the alias switch, as SIGSTOP does.
type sleepyEngine struct {
	upgrader.Engine
	once   sync.Once
	asleep chan struct{} // closed when it sleeps
	wake   chan struct{}
	late   atomic.Int64 // changes asked for after waking up
	awake  atomic.Bool
}

func (e *sleepyEngine) BlockWrites(ctx context.Context, p ...string) ([]string, error) {
	if e.awake.Load() {
		e.late.Add(1)
	}
	names, err := e.Engine.BlockWrites(ctx, p...)
	e.once.Do(func() { close(e.asleep); <-e.wake; e.awake.Store(true) })
	return names, err
}

func (e *sleepyEngine) UpdateAliases(ctx context.Context, a []upgrader.AliasAction) error {
	if e.awake.Load() {
		e.late.Add(1)
	}
	return e.Engine.UpdateAliases(ctx, a)
}

// frozenStore stops a worker's heartbeat while its engine sleeps.
type frozenStore struct {
	upgrader.Store
	asleep, wake chan struct{}
}

func (s *frozenStore) Extend(ctx context.Context, l *upgrader.Lease, ttl time.Duration) error {
	select {
	case <-s.asleep:
		<-s.wake
	default:
	}
	return s.Store.Extend(ctx, l, ttl)
}

// TestSleeperIsOvertaken: a worker that was stopped behind the fence is
// overtaken, and changes nothing any more when it wakes up.
func TestSleeperIsOvertaken(t *testing.T) {
	long(t)
	t.Parallel()
	b := setup(t)
	tenant := b.tenant("0.8.1", 1)
	require.NoError(t, tenant.Fill(t.Context(), 200))
	r := b.start("0.8.2", upgrader.Options{}, tenant)
	limits := upgrader.Limits{LeaseTTL: 500 * time.Millisecond}
	e := &sleepyEngine{Engine: b.engine, asleep: make(chan struct{}), wake: make(chan struct{})}
	sleeper := upgrader.NewRunner(&frozenStore{b.store, e.asleep, e.wake}, e, b.catalogue, "sleeper", limits, b.log)
	done := make(chan error, 1)
	go func() { done <- sleeper.Work(t.Context(), r.ID, tenant.Name()) }()
	<-e.asleep
	other := upgrader.NewRunner(b.store, b.engine, b.catalogue, "other", limits, b.log)
	var got *upgrader.Rollout
	for got == nil || !got.State.Ended() {
		// A busy engine may make it take more than one turn.
		b.due(t.Context(), r.ID, tenant.Name())
		require.NoError(t, other.Work(t.Context(), r.ID, tenant.Name()))
		var err error
		got, err = b.service.Get(t.Context(), r.ID)
		require.NoError(t, err)
	}
	require.Equal(t, upgrader.RolloutComplete, got.State, describe(got))
	close(e.wake)
	require.NoError(t, <-done)
	require.Zero(t, e.late.Load(), "the sleeper changed something after it was overtaken")
	b.judge(tenant, got, "0.8.2")
}

// TestWrecks: what an early start of the new release left behind is replaced,
// and its documents are kept.
func TestWrecks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tenant := b.tenant("0.8.1", 1)
	require.NoError(t, tenant.Fill(t.Context(), 200))
	wreck := "0820." + tenant.Name() + ".tracardi-source"
	res, err := b.engine.Bulk(t.Context(), []upgrader.BulkOp{{Index: wreck, ID: "@@heartbeats-1", Source: json.RawMessage(`{"id":"@@heartbeats-1","type":["x"],"surprise":1}`)}})
	require.NoError(t, err)
	require.True(t, res[0].OK)
	b.worker(b.engine)
	r := b.run("0.8.2", upgrader.Options{}, tenant)
	docs, err := b.service.Quarantine(t.Context(), upgrader.QuarantineFilter{RolloutID: r.ID})
	require.NoError(t, err)
	require.Len(t, docs, 1)
	require.Equal(t, upgrader.QuarantineLeftover, docs[0].Kind)
	require.Equal(t, wreck, docs[0].Index)
	require.JSONEq(t, `{"id":"@@heartbeats-1","type":["x"],"surprise":1}`, string(docs[0].Source))
	b.judge(tenant, r, "0.8.2")
}

// missesOne reads the ids of an index without one of them, as happens to a
// document that is updated meanwhile and moves behind what is read.
type missesOne struct {
	upgrader.Engine
	index, id string
	missed    atomic.Bool
}

func (e *missesOne) Page(ctx context.Context, p stream.PageRequest) ([]stream.Doc, error) {
	docs, err := e.Engine.Page(ctx, p)
	if p.Index != e.index || !p.IDsOnly {
		return docs, err
	}
	return slices.DeleteFunc(docs, func(d stream.Doc) bool {
		miss := d.ID == e.id
		if miss {
			e.missed.Store(true)
		}
		return miss
	}), err
}

// TestEarlyStart: what a container of the new release writes to the targets
// before the switch does not vanish, and nothing else is taken for it.
func TestEarlyStart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tenant := b.tenant("0.8.1", 1)
	require.NoError(t, tenant.Fill(t.Context(), 200))
	source, target := "08x."+tenant.Name()+".tracardi-source", "0820."+tenant.Name()+".tracardi-source"
	require.NoError(t, b.engine.Refresh(t.Context(), source))
	some, err := b.engine.Page(t.Context(), stream.PageRequest{Index: source, From: -1, To: 1000, Size: 1})
	require.NoError(t, err)
	require.Len(t, some, 1)
	steady := some[0].ID
	engine := &missesOne{Engine: b.engine, index: source, id: steady}
	b.worker(engine)
	r := b.start("0.8.2", upgrader.Options{HoldSwitch: true}, tenant)
	b.until(r.ID, func(r *upgrader.Rollout) bool { return r.Tenants[0].State == upgrader.TenantCompared })
	res, err := b.engine.Bulk(t.Context(), []upgrader.BulkOp{{Index: target, ID: "early", Source: json.RawMessage(`{"id":"early","type":["x"]}`)}})
	require.NoError(t, err)
	require.True(t, res[0].OK, "%+v", res[0])
	_, err = b.service.Switch(t.Context(), upgrader.Command{RolloutID: r.ID})
	require.NoError(t, err)
	r = b.ended(r.ID)
	require.Equal(t, upgrader.RolloutComplete, r.State, describe(r))
	require.True(t, engine.missed.Load(), "nobody has read the ids of %s", source)
	require.Equal(t, []string{steady}, b.has(target, steady))
	docs, err := b.service.Quarantine(t.Context(), upgrader.QuarantineFilter{RolloutID: r.ID})
	require.NoError(t, err)
	require.Len(t, docs, 1)
	require.Equal(t, upgrader.QuarantineLeftover, docs[0].Kind)
	require.Equal(t, "early", docs[0].ID)
	require.JSONEq(t, `{"id":"early","type":["x"]}`, string(docs[0].Source))
	b.judge(tenant, r, "0.8.2")
}

// TestNewPartitionDuringRollout: a month begins while the tenant is held; its
// partition moves like the others.
func TestNewPartitionDuringRollout(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tenant := b.tenant("0.8.1", 1)
	require.NoError(t, tenant.Fill(t.Context(), 100))
	b.worker(b.engine)
	r := b.start("0.8.2", upgrader.Options{HoldSwitch: true}, tenant)
	b.until(r.ID, func(r *upgrader.Rollout) bool { return r.Tenants[0].State == upgrader.TenantCompared })
	next := "08x." + tenant.Name() + ".tracardi-event-2031-1"
	res, err := b.engine.Bulk(t.Context(), []upgrader.BulkOp{{Index: next, ID: "e1", Source: json.RawMessage(`{"id":"e1","type":"new-month"}`)}})
	require.NoError(t, err)
	require.True(t, res[0].OK, "%+v", res[0])
	_, err = b.service.Switch(t.Context(), upgrader.Command{RolloutID: r.ID})
	require.NoError(t, err)
	r = b.ended(r.ID)
	require.Equal(t, upgrader.RolloutComplete, r.State, describe(r))
	docs, err := b.engine.Get(t.Context(), "0820."+tenant.Name()+".tracardi-event-2031-1", []string{"e1"})
	require.NoError(t, err)
	require.Contains(t, docs, "e1")
	aliases, err := b.engine.Aliases(t.Context(), tenant.Name()+".tracardi-event")
	require.NoError(t, err)
	require.Contains(t, aliases[tenant.Name()+".tracardi-event"], "0820."+tenant.Name()+".tracardi-event-2031-1")
	require.NotContains(t, aliases[tenant.Name()+".tracardi-event"], next)
	// After the switch an old container is refused even where it would begin
	// another partition.
	late := "08x." + tenant.Name() + ".tracardi-event-2031-2"
	res, err = b.engine.Bulk(t.Context(), []upgrader.BulkOp{{Index: late, ID: "e2", Source: json.RawMessage(`{"id":"e2"}`)}})
	require.NoError(t, err)
	require.False(t, res[0].OK)
	require.Equal(t, 403, res[0].Status)
}
