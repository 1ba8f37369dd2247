package db_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/budget"
)

// budget gives the default cluster one.
func ensured(t *testing.T, store *db.Rollouts, b budget.Budget) {
	t.Helper()
	require.NoError(t, store.EnsureBudget(t.Context(), upgrader.DefaultCluster, b))
}

func beat(t *testing.T, store *db.Rollouts, owner string, tasks budget.Ask) budget.Pulse {
	t.Helper()
	p, err := store.Beat(t.Context(), budget.Beat{Cluster: upgrader.DefaultCluster, Owner: owner, TTL: time.Minute, Tenants: 1, Tasks: tasks, Flows: tasks.Uses, DocumentsRate: 10})
	require.NoError(t, err)
	return p
}

func TestSlotsOfTwoOwners(t *testing.T) {
	t.Parallel()
	d, store := rollouts(t)
	_, err := store.Beat(t.Context(), budget.Beat{Cluster: upgrader.DefaultCluster, Owner: "a", TTL: time.Minute})
	require.ErrorIs(t, err, budget.ErrNone)
	b := budget.Default()
	b.CopyTasks, b.DocumentsPerSecond = 4, 900
	ensured(t, store, b)

	p := beat(t, store, "a", budget.Ask{Wants: 3, Spare: 1})
	require.Equal(t, 4, p.Tasks, "all of it while nobody else wants any")
	require.InDelta(t, 900, p.Allowance.DocumentsPerSecond, 0)
	require.Equal(t, 0, beat(t, store, "b", budget.Ask{Wants: 3}).Tasks, "there is nothing left")
	require.Equal(t, 3, beat(t, store, "a", budget.Ask{Uses: 3, Wants: 3, Spare: 1}).Tasks, "what is only good to have goes to who wants it")
	require.Equal(t, 1, beat(t, store, "b", budget.Ask{Wants: 3}).Tasks)
	require.Equal(t, 2, beat(t, store, "a", budget.Ask{Uses: 2, Wants: 4}).Tasks, "no more than a fair part when others want some")
	p = beat(t, store, "b", budget.Ask{Uses: 1, Wants: 3})
	require.Equal(t, 2, p.Tasks)
	require.Equal(t, 3, p.Flows)

	// Less is allowed from now on: what is in use stays, nothing is added.
	require.NoError(t, store.ChangeBudget(t.Context(), upgrader.DefaultCluster, "me", func(s budget.State) (budget.Change, error) {
		one := 1
		return s.Set.And(budget.Change{CopyTasks: &one}), nil
	}))
	require.Equal(t, 2, beat(t, store, "a", budget.Ask{Uses: 2, Wants: 4}).Tasks)
	require.Equal(t, 0, beat(t, store, "b", budget.Ask{Wants: 3}).Tasks)

	// An owner that dies leaves its slots to the others, in time.
	_, err = d.Pool().Exec(t.Context(), `update budget_shares set until = now() - interval '1 s' where owner = 'a'`)
	require.NoError(t, err)
	require.Equal(t, 1, beat(t, store, "b", budget.Ask{Wants: 3}).Tasks)
	require.Equal(t, 0, beat(t, store, "a", budget.Ask{Wants: 1}).Tasks, "who wakes up late finds them gone")
	require.NoError(t, store.Leave(t.Context(), upgrader.DefaultCluster, "b"))
	require.Equal(t, 1, beat(t, store, "a", budget.Ask{Wants: 1}).Tasks)

	// The environment of a process that starts later does not undo what was set.
	b.CopyTasks, b.StateUpdates = 20, 5
	ensured(t, store, b)
	all, stop, err := store.Budgets(t.Context())
	require.NoError(t, err)
	require.Nil(t, stop)
	require.Len(t, all, 1)
	require.Equal(t, 1, all[0].Allowance.CopyTasks)
	require.Equal(t, 5, all[0].Allowance.StateUpdates)
	require.Equal(t, "me", all[0].ChangedBy)
	require.Len(t, all[0].Shares, 1)
	var audited int
	require.NoError(t, d.Pool().QueryRow(t.Context(), `select count(*) from audit where action = 'budget.set' and subject = 'budget/default'`).Scan(&audited))
	require.Equal(t, 1, audited)
}

// However processes ask at the same time, no more is given than there is.
func TestSlotsUnderContention(t *testing.T) {
	t.Parallel()
	d, store := rollouts(t)
	b := budget.Default()
	b.CopyTasks = 7
	ensured(t, store, b)
	var wg sync.WaitGroup
	for _, owner := range []string{"a", "b", "c", "d"} {
		wg.Go(func() {
			have := 0
			for i := range 25 {
				p, err := store.Beat(t.Context(), budget.Beat{
					Cluster: upgrader.DefaultCluster, Owner: owner, TTL: time.Minute, Tenants: 1, Tasks: budget.Ask{Uses: have, Wants: have + i%3, Spare: 1},
				})
				if err != nil {
					t.Error(err)
					return
				}
				have = min(p.Tasks, i%5) // some end
				var sum int
				if err := d.Pool().QueryRow(t.Context(), `select sum(copy_tasks) from budget_shares`).Scan(&sum); err != nil || sum > 7 {
					t.Errorf("%d slots are given, %v", sum, err)
				}
			}
		})
	}
	wg.Wait()
}

// One process looks at the cluster for all of them, and what it finds holds for
// all.
func TestSampledOnceForAll(t *testing.T) {
	t.Parallel()
	d, store := rollouts(t, "acme")
	b := budget.Default()
	ensured(t, store, b)
	require.NoError(t, store.CreateRollout(t.Context(), newRollout("r1", "acme"), nil, ""))
	require.True(t, beat(t, store, "a", budget.Ask{}).Sample)
	require.False(t, beat(t, store, "b", budget.Ask{}).Sample)
	require.False(t, beat(t, store, "a", budget.Ask{}).Sample)
	_, err := d.Pool().Exec(t.Context(), `update budgets set sampled_at = now() - interval '2 s'`)
	require.NoError(t, err)
	require.True(t, beat(t, store, "b", budget.Ask{}).Sample)
	revision := func() int64 {
		r, err := store.Rollout(t.Context(), "r1")
		require.NoError(t, err)
		return r.Revision
	}
	was := revision()
	require.NoError(t, store.AdaptBudget(t.Context(), upgrader.DefaultCluster, func(b budget.Budget, was budget.Throttle, rate float64) budget.Throttle {
		require.InDelta(t, 20, rate, 0, "of all processes")
		return budget.Adapt(b, was, budget.Vitals{PendingTasks: 1000}, "", rate, time.Now())
	}))
	p := beat(t, store, "a", budget.Ask{Wants: 100})
	require.Equal(t, 16, p.Tasks)
	require.Contains(t, p.Reason, "1000 cluster tasks are pending")
	require.Greater(t, revision(), was, "whoever watches hears of it")
}

// A rehearsal is a tenant in work: it takes a place from the tenants of rollouts,
// and waits for one, with the reason.
func TestRehearsalsTakePlaces(t *testing.T) {
	t.Parallel()
	d, store := rollouts(t, "acme", "beta")
	rehearsals := db.NewRehearsals(d)
	b := budget.Default()
	b.Tenants = 1
	ensured(t, store, b)
	for _, tenant := range []string{"acme", "beta"} {
		_, err := rehearsals.BeginRehearsal(t.Context(), &upgrader.Rehearsal{ID: "of-" + tenant, TenantID: tenant, Cluster: upgrader.DefaultCluster, ToRelease: "0.8.2", CreatedAt: time.Now()})
		require.NoError(t, err)
	}
	claim := func(tenant string) *upgrader.Rehearsal {
		t.Helper()
		r, err := rehearsals.ClaimRehearsal(t.Context(), "of-"+tenant, "w", time.Minute)
		require.NoError(t, err)
		return r
	}
	one := claim("acme")
	require.NotNil(t, one)
	require.Nil(t, claim("beta"))
	other, err := rehearsals.Rehearsal(t.Context(), "of-beta")
	require.NoError(t, err)
	require.Contains(t, other.Reason, "gate budget: as many tenants are in work in the cluster, over all rollouts and rehearsals, as its budget allows (1)")
	all, _, err := store.Budgets(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, all[0].Tenants)

	require.NoError(t, store.CreateRollout(t.Context(), newRollout("r1", "acme"), nil, ""))
	work, err := store.Due(t.Context(), 10)
	require.NoError(t, err)
	require.Empty(t, work)
	_, err = store.Acquire(t.Context(), "r1", "acme", "w", time.Minute)
	require.ErrorIs(t, err, upgrader.ErrConflict)
	v, err := store.View(t.Context(), "r1")
	require.NoError(t, err)
	// newRollout's tenant has been let in and waits for the place.
	require.Equal(t, 2, v.Loads[upgrader.DefaultCluster].InFlightOfAll)

	one.State, one.FinishedAt = upgrader.RehearsalSucceeded, time.Now()
	require.NoError(t, rehearsals.ReleaseRehearsal(t.Context(), one, "w", 0))
	_, err = store.Acquire(t.Context(), "r1", "acme", "w", time.Minute)
	require.NoError(t, err)
	_, err = d.Pool().Exec(t.Context(), `update operations set next_at = now()`)
	require.NoError(t, err)
	require.Nil(t, claim("beta"), "the rollout's tenant has it")
}

// The tenants of all rollouts of a cluster count together; who is behind a
// fence waits for nobody.
func TestTenantsOfAllRollouts(t *testing.T) {
	t.Parallel()
	d, store := rollouts(t, "acme", "beta", "gamma", "delta")
	b := budget.Default()
	b.Tenants = 2
	ensured(t, store, b)
	for i, tenant := range []string{"acme", "beta", "gamma", "delta"} {
		require.NoError(t, store.CreateRollout(t.Context(), newRollout("r"+string(rune('1'+i)), tenant), nil, ""))
	}
	due := func() []string {
		work, err := store.Due(t.Context(), 10)
		require.NoError(t, err)
		var ids []string
		for _, w := range work {
			ids = append(ids, w.TenantID)
		}
		return ids
	}
	require.Len(t, due(), 2)
	first, err := store.Acquire(t.Context(), "r1", "acme", "w", time.Minute)
	require.NoError(t, err)
	_, err = store.Acquire(t.Context(), "r2", "beta", "w", time.Minute)
	require.NoError(t, err)
	_, err = store.Acquire(t.Context(), "r3", "gamma", "w", time.Minute)
	require.ErrorIs(t, err, upgrader.ErrConflict)
	require.Empty(t, due())
	_, err = d.Pool().Exec(t.Context(), `update rollout_tenants set state = 'fenced' where tenant_id = 'gamma'`)
	require.NoError(t, err)
	require.Equal(t, []string{"gamma"}, due())
	_, err = store.Acquire(t.Context(), "r3", "gamma", "w", time.Minute)
	require.NoError(t, err)

	require.NoError(t, store.Release(t.Context(), first, time.Now().Add(time.Hour), -1, false))
	require.Empty(t, due(), "three were in work, two still are")
	_, err = d.Pool().Exec(t.Context(), `update rollout_tenants set lease_until = null where tenant_id = 'beta'; update budgets set hold = true`)
	require.NoError(t, err)
	_, err = store.Acquire(t.Context(), "r4", "delta", "w", time.Minute)
	require.ErrorIs(t, err, upgrader.ErrConflict, "no further tenant begins")
	_, err = d.Pool().Exec(t.Context(), `update rollout_tenants set state = 'copying' where tenant_id = 'beta'`)
	require.NoError(t, err)
	require.Equal(t, []string{"beta"}, due(), "what has begun goes on")
}

func TestKillSwitch(t *testing.T) {
	t.Parallel()
	d, store := rollouts(t, "acme")
	ensured(t, store, budget.Default())
	require.NoError(t, store.CreateRollout(t.Context(), newRollout("r1", "acme"), nil, ""))
	wish := func() upgrader.Wish {
		r, _, err := store.Load(t.Context(), "r1", "acme")
		require.NoError(t, err)
		return r.Wish
	}
	require.Equal(t, upgrader.WishRun, wish())
	on, err := store.StopAll(t.Context(), "me", "the cluster burns")
	require.NoError(t, err)
	require.True(t, on)
	on, err = store.StopAll(t.Context(), "you", "again")
	require.NoError(t, err)
	require.False(t, on, "it is on already")
	require.Equal(t, upgrader.WishStop, wish())
	p := beat(t, store, "a", budget.Ask{})
	require.Equal(t, "the cluster burns", p.Stop.Reason)
	require.Equal(t, "me", p.Stop.StoppedBy)
	_, stop, err := store.Budgets(t.Context())
	require.NoError(t, err)
	require.Equal(t, p.Stop, stop)

	_, err = d.Pool().Exec(t.Context(), `update rollout_tenants set next_at = now() + interval '1 minute'`)
	require.NoError(t, err)
	off, err := store.ResumeAll(t.Context(), "me")
	require.NoError(t, err)
	require.True(t, off)
	off, err = store.ResumeAll(t.Context(), "me")
	require.NoError(t, err)
	require.False(t, off)
	require.Equal(t, upgrader.WishRun, wish())
	require.Nil(t, beat(t, store, "a", budget.Ask{}).Stop)
	work, err := store.Due(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, work, 1, "everybody looks again at once")
	var audited int
	require.NoError(t, d.Pool().QueryRow(t.Context(), `select count(*) from audit where action in ('budget.stop_all', 'budget.resume_all')`).Scan(&audited))
	require.Equal(t, 2, audited)
}
