package upgrader_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/elastic"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/budget"
)

// hog is another process that holds all of a budget.
const hog = "hog"

// budgeted gives the default cluster a budget, and a process that keeps to it.
func (b *bundle) budgeted(owner string, change budget.Change) *budget.Steward {
	b.t.Helper()
	steward := budget.NewSteward(b.store, upgrader.VitalsOf(upgrader.Only(b.engine)), change.Over(budget.Default()), owner, b.log)
	require.NoError(b.t, steward.Begin(b.t.Context(), upgrader.DefaultCluster))
	b.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(b.t, steward.Close(ctx))
	})
	return steward
}

func (b *bundle) takeAll(tasks, updates int) {
	b.t.Helper()
	_, err := b.store.Beat(b.t.Context(), budget.Beat{
		Cluster: upgrader.DefaultCluster, Owner: hog, TTL: time.Hour, Tenants: 1,
		Tasks: budget.Ask{Uses: tasks, Wants: tasks}, Updates: budget.Ask{Uses: updates, Wants: updates},
	})
	require.NoError(b.t, err)
}

// eventually waits until a query is true.
func (b *bundle) eventually(query string, args ...any) {
	b.t.Helper()
	require.Eventually(b.t, func() bool { return b.is(query, args...) }, time.Minute, 50*time.Millisecond, query)
}

// is the answer of a query; false as well when there is none.
func (b *bundle) is(query string, args ...any) (yes bool) {
	return b.pool.QueryRow(b.t.Context(), query, args...).Scan(&yes) == nil && yes
}

// A rehearsal waits for places in the cluster's budget, ends when everything is
// stopped, and is played anew afterwards.
func TestRehearsalKeepsToTheBudget(t *testing.T) {
	t.Parallel()
	b := setup(t)
	store, _ := b.rehearsing()
	one, adapt := 1, false
	steward := b.budgeted("rehearser", budget.Change{CopyTasks: &one, Adapt: &adapt})
	runner := upgrader.NewRunner(b.store, b.engine, b.catalogue, "rehearser", upgrader.Limits{StreamDocs: 10}, b.log).WithSteward(steward)
	rehearser := upgrader.NewRehearser(store, runner)
	budgets := budget.NewService(b.store)
	tenant := b.tenant("0.8.1", 1)
	require.NoError(t, tenant.Fill(t.Context(), 300))
	b.takeAll(1, 0)

	r, err := b.service.Rehearse(t.Context(), upgrader.RehearsalRequest{TenantID: tenant.Name(), ToRelease: "0.8.2", Caller: "test"})
	require.NoError(t, err)
	says := func(text string) {
		t.Helper()
		b.eventually(`select strpos(message, $2) > 0 from operations where id = $1`, r.ID, text)
	}
	turn := make(chan error, 1)
	go func() { turn <- rehearser.Work(t.Context(), r.ID) }()
	says("waits for a copy task: the budget of cluster default has none left")
	_, err = budgets.StopAll(t.Context(), "test", "search is slow")
	require.NoError(t, err)
	select {
	case err = <-turn:
		require.NoError(t, err)
	case <-time.After(time.Minute):
		t.Fatal("the kill switch is not obeyed")
	}
	says("all rollouts are stopped since")
	require.Empty(t, b.made(r.ID), "a stopped rehearsal leaves nothing behind")

	due := func() {
		t.Helper()
		_, err := b.pool.Exec(t.Context(), `update operations set next_at = now() where id = $1`, r.ID)
		require.NoError(t, err)
		require.NoError(t, rehearser.Work(t.Context(), r.ID))
	}
	due()
	again, err := b.service.Rehearsal(t.Context(), r.ID)
	require.NoError(t, err)
	require.Equal(t, 1, again.Attempts, "while all is stopped it does not begin")
	require.NoError(t, budgets.ResumeAll(t.Context(), "test"))
	_, err = b.pool.Exec(t.Context(), `update budgets set hold = true, throttle = '{"reason": "the heap is full"}'`)
	require.NoError(t, err)
	due()
	says("gate budget: no further tenant begins in the cluster: the heap is full")
	_, err = b.pool.Exec(t.Context(), `update budgets set hold = false`)
	require.NoError(t, err)
	require.NoError(t, b.store.Leave(t.Context(), upgrader.DefaultCluster, hog))
	due()
	done, err := b.service.Rehearsal(t.Context(), r.ID)
	require.NoError(t, err)
	require.Equal(t, upgrader.RehearsalSucceeded, done.State, done.Reason)
	require.Equal(t, upgrader.VerdictEqual, done.Report.Verdict, "%v", done.Report.Problems)
	require.Equal(t, 1, done.Report.Stopped)
	require.Equal(t, 2, done.Attempts)
	require.Empty(t, b.made(r.ID))
}

// Restoring empty targets waits for its place among the updates of the cluster's
// state, as creating them does.
func TestSeedsKeepToTheBudget(t *testing.T) {
	t.Parallel()
	b := setup(t)
	repository := b.repository()
	b.mould(repository)
	one, adapt := 1, false
	steward := b.budgeted("gardener", budget.Change{StateUpdates: &one, Adapt: &adapt})
	client := b.engine.(*elastic.Client)
	var waited atomic.Bool
	s := &oddSeeder{Seeder: client, look: func() {
		b.takeAll(0, 1)
		b.eventually(`select state_updates = 0 from budget_shares where owner = 'gardener'`)
		go func() {
			for !waited.Load() && t.Context().Err() == nil {
				waited.Store(b.is(`select wants_state_updates > 0 from budget_shares where owner = 'gardener'`))
			}
			_ = b.store.Leave(t.Context(), upgrader.DefaultCluster, hog)
		}()
	}}
	s.plant = func(ctx context.Context, p upgrader.Planting) error {
		require.True(t, waited.Load(), "it has not waited for its place")
		return client.Plant(ctx, p)
	}
	tenant := b.tenant("0.8.1", 1)
	r := b.start("0.8.2", upgrader.Options{Verify: upgrader.VerifyCount}, tenant)
	r = b.work(b.seeded(b.engine, s, repository).WithSteward(steward), r.ID, tenant.Name())
	require.Equal(t, upgrader.RolloutComplete, r.State, describe(r))
	require.True(t, waited.Load())
}
