package upgrader_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/upgrader"
)

// rolledBack asks for a rollback and waits for its end.
func (b *bundle) rolledBack(id string) *upgrader.Rollout {
	b.t.Helper()
	_, err := b.service.Rollback(b.t.Context(), upgrader.Command{RolloutID: id, Caller: "test"})
	require.NoError(b.t, err)
	r := b.ended(id)
	require.Equal(b.t, upgrader.RolloutRolledBack, r.State, describe(r))
	return r
}

// TestRollbackLosesNothing: forth, back and forth again while a writer
// inserts, updates and deletes all the time, through new resources and
// transforms; every acknowledged write is where it belongs, each time.
func TestRollbackLosesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tenant := b.tenant("0.8.0", 2)
	require.NoError(t, tenant.Fill(t.Context(), 500))
	b.worker(b.engine)
	writer := tenant.StartWriter(t.Context(), fleet.WriterConfig{Rate: 100, Bulk: 5})
	some := func(release string, n int64) {
		t.Helper()
		before := writer.Stats()
		require.NoError(t, writer.Wait(t.Context(), func(s fleet.WriterStats) bool {
			return s.Release == release && s.Inserted > before.Inserted+n && s.Updated > before.Updated+n && s.Deleted > before.Deleted+n/3
		}))
	}
	judged := func(r *upgrader.Rollout, release string) {
		t.Helper()
		require.NoError(t, writer.Pause(t.Context()))
		b.judge(tenant, r, release)
		writer.Resume()
	}
	some("0.8.0", 20)

	first := b.run("0.8.2", upgrader.Options{}, tenant)
	some("0.8.2", 40)
	back := b.rolledBack(first.ID)
	require.Equal(t, "0.8.0", b.registered(tenant.Name()))
	r := back.Tenants[0].Record.Return
	t.Logf("rollback: %+v; %v", r, back.Tenants[0].Record.Notes)
	require.Positive(t, r.Carried)
	require.Positive(t, r.Deleted)
	require.Positive(t, r.Fence)
	require.NotEmpty(t, r.Kept, "items are unknown to 0.8.0")
	some("0.8.0", 20)
	judged(back, "0.8.0")

	again := b.run("0.8.2", upgrader.Options{}, tenant)
	some("0.8.2", 20)
	judged(again, "0.8.2")
	back = b.rolledBack(again.ID)
	some("0.8.0", 20)
	require.NoError(t, writer.Stop())
	b.judge(tenant, back, "0.8.0")
	require.Zero(t, writer.Stats().Invalid, writer.Stats().LastInvalid)
}

// TestRollbackOfNothing changes nothing but the aliases.
func TestRollbackOfNothing(t *testing.T) {
	long(t)
	t.Parallel()
	b := setup(t)
	tenant := b.tenant("0.8.1", 1)
	require.NoError(t, tenant.Fill(t.Context(), 100))
	b.worker(b.engine)
	first := b.run("0.8.2", upgrader.Options{}, tenant)
	before, err := b.engine.Stats(t.Context(), "08x."+tenant.Name()+".*")
	require.NoError(t, err)
	back := b.rolledBack(first.ID)
	after, err := b.engine.Stats(t.Context(), "08x."+tenant.Name()+".*")
	require.NoError(t, err)
	for name := range before {
		require.Equal(t, before[name].MaxSeqNo, after[name].MaxSeqNo, name)
	}
	require.Zero(t, back.Tenants[0].Record.Return.Carried)
	b.judge(tenant, back, "0.8.1")
}

// TestWorkerDiesAnywhereOnTheWayBack lets one worker after the other die in the
// middle of a rollback, before or after a change, with a writer at work.
func TestWorkerDiesAnywhereOnTheWayBack(t *testing.T) {
	long(t)
	t.Parallel()
	b := setup(t)
	tenant := b.tenant("0.8.1", 2)
	require.NoError(t, tenant.Fill(t.Context(), 300))
	limits := upgrader.Limits{LeaseTTL: 400 * time.Millisecond}
	watch := tenant.Watch(t.Context())
	require.NoError(t, watch.Wait(t.Context(), 1))
	r := b.start("0.8.2", upgrader.Options{}, tenant)
	healthy := upgrader.NewRunner(b.store, b.engine, b.catalogue, "healthy", limits, b.log)
	for state := r.State; !state.Ended(); {
		b.due(t.Context(), r.ID, tenant.Name())
		require.NoError(t, healthy.Work(t.Context(), r.ID, tenant.Name()))
		got, err := b.service.Get(t.Context(), r.ID)
		require.NoError(t, err)
		state = got.State
	}
	writer := tenant.StartWriter(t.Context(), fleet.WriterConfig{Rate: 60})
	require.NoError(t, writer.Wait(t.Context(), func(s fleet.WriterStats) bool { return s.Release == "0.8.2" && s.Deleted > 8 }))
	_, err := b.service.Rollback(t.Context(), upgrader.Command{RolloutID: r.ID, Caller: "test"})
	require.NoError(t, err)
	deaths := b.mortals(r.ID, tenant.Name(), limits, upgrader.RolloutRolledBack)
	t.Logf("%d deaths", deaths)
	require.NoError(t, writer.Wait(t.Context(), func(s fleet.WriterStats) bool { return s.Release == "0.8.1" }))
	require.NoError(t, writer.Stop())
	// The writer may have noticed the way back before the watcher looked again.
	require.NoError(t, watch.Wait(t.Context(), 1))
	seen := watch.Stop()
	require.Zero(t, seen.Found, "%v", seen.Discrepancies)
	require.Equal(t, []string{"08x", "0820", "08x"}, seen.Releases)
	got, err := b.service.Get(t.Context(), r.ID)
	require.NoError(t, err)
	b.judge(tenant, got, "0.8.1")
}

// mortals lets workers die at the next of a growing number of changes, before
// or after the engine has made it, until a rollout has ended. It returns how
// many died.
func (b *bundle) mortals(rollout, tenant string, limits upgrader.Limits, want upgrader.RolloutState) (deaths int) {
	b.t.Helper()
	for life := int64(1); ; life++ {
		ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
		e := &dyingEngine{Engine: b.engine, after: life%2 == 0, die: cancel}
		e.left.Store(life * life / 2)
		runner := upgrader.NewRunner(b.store, e, b.catalogue, "mortal", limits, b.log)
		for e.left.Load() > 0 && ctx.Err() == nil {
			// The lease of the one before must run out first.
			b.due(ctx, rollout, tenant)
			if ctx.Err() != nil {
				break
			}
			_ = runner.Work(ctx, rollout, tenant)
			if got, err := b.service.Get(b.t.Context(), rollout); err == nil && got.State.Ended() {
				break
			}
		}
		cancel()
		got, err := b.service.Get(b.t.Context(), rollout)
		require.NoError(b.t, err)
		if got.State.Ended() {
			require.Equal(b.t, want, got.State, describe(got))
			return deaths
		}
		deaths++
		require.Less(b.t, life, int64(60), describe(got))
	}
}
