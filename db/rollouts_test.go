package db_test

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/internal/devstack/devtest"
	"github.com/tracardi/tms/upgrader"
)

// rollouts is a store on an own database with registered tenants.
func rollouts(t *testing.T, tenants ...string) (*db.DB, *db.Rollouts) {
	t.Helper()
	d, err := db.Open(t.Context(), devtest.Database(t, db.Migrate))
	require.NoError(t, err)
	t.Cleanup(d.Close)
	for _, id := range tenants {
		_, err := d.Pool().Exec(t.Context(), `insert into tenants (id, install_token, release, cluster) values ($1, '', '0.8.1', 'default')`, id)
		require.NoError(t, err)
	}
	return d, db.NewRollouts(d)
}

func newRollout(id string, tenants ...string) *upgrader.Rollout {
	now := time.Now().Truncate(time.Microsecond)
	r := &upgrader.Rollout{ID: id, ToRelease: "0.8.2", Options: upgrader.Options{MaxTenants: 2}.WithDefaults(), State: upgrader.RolloutRunning, Wish: upgrader.WishRun, CreatedBy: "test", CreatedAt: now}
	for _, tenant := range tenants {
		r.Tenants = append(r.Tenants, upgrader.RolloutTenant{
			RolloutID: id, TenantID: tenant, FromRelease: "0.8.1", State: upgrader.TenantPlanned, SwitchAllowed: true, NextAt: now,
			ByMethod: map[upgrader.Method]int{upgrader.MethodCreate: 1}, Indices: 1, Record: upgrader.TenantRecord{OldIndices: []string{"08x." + tenant + ".x"}},
			OldTemplates: []upgrader.Template{{Name: "t", Raw: json.RawMessage(`{"a": 1.50}`)}},
		})
	}
	return r
}

func TestRolloutRoundTrip(t *testing.T) {
	t.Parallel()
	_, store := rollouts(t, "acme", "beta")
	r := newRollout("r1", "acme", "beta")
	moves := map[string][]upgrader.PlannedMove{"acme": {{Target: "0820.acme.x", Method: upgrader.MethodMerge, Copies: []upgrader.PlannedCopy{{Source: "08x.acme.x", Docs: 7, Writes: 9}}}}}
	require.NoError(t, store.CreateRollout(t.Context(), r, moves, "req-1"))
	got, err := store.Rollout(t.Context(), "r1")
	require.NoError(t, err)
	require.Equal(t, r.Options, got.Options)
	require.Len(t, got.Tenants, 2)
	require.Equal(t, r.Tenants[0].Record, got.Tenants[0].Record)
	require.Equal(t, r.Tenants[0].ByMethod, got.Tenants[0].ByMethod)
	again, err := store.RolloutByRequest(t.Context(), "req-1")
	require.NoError(t, err)
	require.Equal(t, "r1", again.ID)
	back, err := store.Moves(t.Context(), "r1", "acme")
	require.NoError(t, err)
	require.Equal(t, upgrader.BeginMoves(moves["acme"]), back)
	ts, err := store.OldTemplates(t.Context(), "r1", "acme")
	require.NoError(t, err)
	require.JSONEq(t, `{"a":1.5}`, string(ts[0].Raw))
	_, err = store.Rollout(t.Context(), "nope")
	require.ErrorIs(t, err, upgrader.ErrNotFound)
	_, err = store.RolloutByRequest(t.Context(), "nope")
	require.ErrorIs(t, err, upgrader.ErrNotFound)
}

func TestATenantIsInOneWorkingRolloutOnly(t *testing.T) {
	t.Parallel()
	_, store := rollouts(t, "acme", "beta")
	require.NoError(t, store.CreateRollout(t.Context(), newRollout("r1", "acme"), nil, ""))
	err := store.CreateRollout(t.Context(), newRollout("r2", "beta", "acme"), nil, "")
	var se *upgrader.ServiceError
	require.ErrorAs(t, err, &se)
	require.Equal(t, upgrader.ReasonRefused, se.Reason)
	_, err = store.Rollout(t.Context(), "r2")
	require.ErrorIs(t, err, upgrader.ErrNotFound, "a refused rollout leaves nothing behind")
	fleet, err := store.Fleet(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, []upgrader.FleetTenant{{ID: "acme", Release: "0.8.1", Cluster: "default", State: "active", ActiveRollout: "r1"}, {ID: "beta", Release: "0.8.1", Cluster: "default", State: "active"}}, fleet)
}

func TestLeaseIsExclusiveAndFences(t *testing.T) {
	t.Parallel()
	d, store := rollouts(t, "acme")
	require.NoError(t, store.CreateRollout(t.Context(), newRollout("r1", "acme"), nil, ""))
	first, err := store.Acquire(t.Context(), "r1", "acme", "one", time.Minute)
	require.NoError(t, err)
	_, err = store.Acquire(t.Context(), "r1", "acme", "two", time.Minute)
	require.ErrorIs(t, err, upgrader.ErrConflict)
	// The minute passes at once: only the database's clock counts.
	_, err = d.Pool().Exec(t.Context(), `update rollout_tenants set lease_until = now() - interval '1 millisecond'`)
	require.NoError(t, err)
	second, err := store.Acquire(t.Context(), "r1", "acme", "two", time.Minute)
	require.NoError(t, err)
	require.Greater(t, second.Epoch, first.Epoch)

	// Whatever the first one still wants to write is refused.
	_, x, err := store.Load(t.Context(), "r1", "acme")
	require.NoError(t, err)
	x.State = upgrader.TenantFailed
	require.ErrorIs(t, store.SaveTenant(t.Context(), first, x), upgrader.ErrLeaseLost)
	require.ErrorIs(t, store.MarkSwitched(t.Context(), first, x, "0.8.2"), upgrader.ErrLeaseLost)
	require.ErrorIs(t, store.SaveMoves(t.Context(), first, upgrader.Move{Target: "x"}), upgrader.ErrLeaseLost)
	require.ErrorIs(t, store.AddQuarantine(t.Context(), first, upgrader.Quarantined{Index: "i", ID: "1", Kind: upgrader.QuarantineRefused}), upgrader.ErrLeaseLost)
	require.ErrorIs(t, store.DropQuarantine(t.Context(), first, "i", "1"), upgrader.ErrLeaseLost)
	require.ErrorIs(t, store.Extend(t.Context(), first, time.Minute), upgrader.ErrLeaseLost)
	require.NoError(t, store.Release(t.Context(), first, time.Now(), -1, false), "giving back what is lost harms nobody")
	require.NoError(t, store.Extend(t.Context(), second, time.Minute))
	_, x, err = store.Load(t.Context(), "r1", "acme")
	require.NoError(t, err)
	require.Equal(t, upgrader.TenantPlanned, x.State)
	require.Equal(t, "two", x.LeaseOwner)
}

// A fence is for one tenant of a cluster at a time; the others give way only
// once it wants them to.
func TestFenceAndQuiet(t *testing.T) {
	t.Parallel()
	d, store := rollouts(t, "acme", "beta")
	require.NoError(t, store.CreateRollout(t.Context(), newRollout("r1", "acme", "beta"), nil, ""))
	take := func(tenant string) (*upgrader.Lease, *upgrader.RolloutTenant, error) {
		lease, err := store.Acquire(t.Context(), "r1", tenant, "w", time.Minute)
		require.NoError(t, err)
		_, x, err := store.Load(t.Context(), "r1", tenant)
		require.NoError(t, err)
		x.State, x.Record.FencedAt = upgrader.TenantFenced, time.Now()
		return lease, x, store.TakeFence(t.Context(), lease, x)
	}
	quiet := func(tenant string, want bool) {
		t.Helper()
		got, err := store.Quiet(t.Context(), tenant)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	lease, acme, err := take("acme")
	require.NoError(t, err)
	other, beta, err := take("beta")
	require.ErrorIs(t, err, upgrader.ErrConflict)
	quiet("beta", false)
	acme.Record.QuietAt = time.Now()
	require.NoError(t, store.SaveTenant(t.Context(), lease, acme))
	quiet("beta", true)
	quiet("acme", false)
	// Nobody waits for the dead, or for those of another cluster.
	_, err = d.Pool().Exec(t.Context(), `update rollout_tenants set cluster = 'elsewhere' where tenant_id = 'acme'`)
	require.NoError(t, err)
	quiet("beta", false)
	_, err = d.Pool().Exec(t.Context(), `update rollout_tenants set cluster = 'default', lease_until = now() - interval '1 second' where tenant_id = 'acme'`)
	require.NoError(t, err)
	quiet("beta", false)
	require.NoError(t, store.TakeFence(t.Context(), other, beta))
}

func eventually(t *testing.T, try func() (*upgrader.Lease, error)) *upgrader.Lease {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		l, err := try()
		if err == nil {
			return l
		}
		require.ErrorIs(t, err, upgrader.ErrConflict)
		select {
		case <-ctx.Done():
			t.Fatal("the lease never ran out")
		case <-tick.C:
		}
	}
}

func TestNoMoreTenantsInFlightThanAllowed(t *testing.T) {
	t.Parallel()
	ids := []string{"aaa", "bbb", "ccc", "ddd", "eee", "fff"}
	_, store := rollouts(t, ids...)
	require.NoError(t, store.CreateRollout(t.Context(), newRollout("r1", ids...), nil, ""))
	work, err := store.Due(t.Context(), 100)
	require.NoError(t, err)
	require.Len(t, work, 2, "no more wake-ups than places")
	var got atomic.Int64
	var wg sync.WaitGroup
	for _, id := range ids {
		wg.Go(func() {
			if _, err := store.Acquire(context.Background(), "r1", id, "w", time.Minute); err == nil {
				got.Add(1)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 2, got.Load())
	work, err = store.Due(t.Context(), 100)
	require.NoError(t, err)
	require.Empty(t, work)
}

// What the operator says while a worker is busy is neither lost nor delayed.
func TestCommandMeetsBusyWorker(t *testing.T) {
	t.Parallel()
	_, store := rollouts(t, "acme")
	require.NoError(t, store.CreateRollout(t.Context(), newRollout("r1", "acme"), nil, ""))
	l, err := store.Acquire(t.Context(), "r1", "acme", "w", time.Minute)
	require.NoError(t, err)
	_, x, err := store.Load(t.Context(), "r1", "acme")
	require.NoError(t, err)
	require.NoError(t, store.ChangeRollout(t.Context(), "r1", "op", "cancel", func(r *upgrader.Rollout) error {
		r.Tenants[0].Intent = upgrader.IntentCancel
		return nil
	}))
	x.State = upgrader.TenantPrepared
	require.NoError(t, store.SaveTenant(t.Context(), l, x))
	require.NoError(t, store.Release(t.Context(), l, time.Now().Add(time.Hour), x.Commands, false))
	work, err := store.Due(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, work, 1, "due at once, not in an hour")
	_, x, err = store.Load(t.Context(), "r1", "acme")
	require.NoError(t, err)
	require.Equal(t, upgrader.IntentCancel, x.Intent)
	require.Equal(t, upgrader.TenantPrepared, x.State)

	// Carried out, it is cleared; another one would not be.
	l, err = store.Acquire(t.Context(), "r1", "acme", "w", time.Minute)
	require.NoError(t, err)
	x.State, x.IntentDone = upgrader.TenantCancelled, upgrader.IntentCancel
	require.NoError(t, store.SaveTenant(t.Context(), l, x))
	ro, x, err := store.Load(t.Context(), "r1", "acme")
	require.NoError(t, err)
	require.Equal(t, upgrader.IntentNone, x.Intent)
	require.Equal(t, upgrader.RolloutCancelled, ro.State)
	require.False(t, ro.FinishedAt.IsZero())
}

func TestSwitchChangesTheRegistryInTheSameStep(t *testing.T) {
	t.Parallel()
	_, store := rollouts(t, "acme")
	require.NoError(t, store.CreateRollout(t.Context(), newRollout("r1", "acme"), nil, ""))
	l, err := store.Acquire(t.Context(), "r1", "acme", "w", time.Minute)
	require.NoError(t, err)
	_, x, err := store.Load(t.Context(), "r1", "acme")
	require.NoError(t, err)
	x.State = upgrader.TenantSwitched
	x.Proof = &upgrader.Proof{Level: upgrader.VerifyFull, Verdict: "equal", Documents: 7}
	require.NoError(t, store.MarkSwitched(t.Context(), l, x, "0.8.2"))
	fleet, err := store.Fleet(t.Context(), []string{"acme"})
	require.NoError(t, err)
	require.Equal(t, []upgrader.FleetTenant{{ID: "acme", Release: "0.8.2", Cluster: "default", State: "active"}}, fleet)
	ro, err := store.Rollout(t.Context(), "r1")
	require.NoError(t, err)
	require.Equal(t, upgrader.RolloutComplete, ro.State)
	require.EqualValues(t, 7, ro.Tenants[0].Proof.Documents)
}

func TestQuarantineKeepsBytes(t *testing.T) {
	t.Parallel()
	_, store := rollouts(t, "acme")
	require.NoError(t, store.CreateRollout(t.Context(), newRollout("r1", "acme"), nil, ""))
	l, err := store.Acquire(t.Context(), "r1", "acme", "w", time.Minute)
	require.NoError(t, err)
	raw := "{\"n\": 1.50, \"big\": 123456789012345678901234567890, \"s\":\"\\u0000\"}"
	docs := []upgrader.Quarantined{
		{Index: "i", ID: "2", Kind: upgrader.QuarantineDuplicate, Reason: "bad \x00 \xff text", Source: json.RawMessage(raw), At: time.Now()},
		{Index: "i", ID: "1", Kind: upgrader.QuarantineRefused, Source: json.RawMessage(`{}`), At: time.Now()},
		{Index: "h", ID: "9", Kind: upgrader.QuarantineLeftover, Source: json.RawMessage(`{}`), At: time.Now()},
	}
	require.NoError(t, store.AddQuarantine(t.Context(), l, docs...))
	require.NoError(t, store.AddQuarantine(t.Context(), l, docs...), "again is the same")
	got, err := store.Quarantine(t.Context(), upgrader.QuarantineFilter{RolloutID: "r1", Limit: 2})
	require.NoError(t, err)
	require.Len(t, got, 2)
	require.Equal(t, "9", got[0].ID)
	last := got[1]
	got, err = store.Quarantine(t.Context(), upgrader.QuarantineFilter{RolloutID: "r1", After: [3]string{last.TenantID, last.Index, last.ID}})
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Equal(t, raw, string(got[0].Source))
	require.NoError(t, store.DropQuarantine(t.Context(), l, "i", "1", "2"))
	got, err = store.Quarantine(t.Context(), upgrader.QuarantineFilter{RolloutID: "r1"})
	require.NoError(t, err)
	require.Len(t, got, 1)
}

// TestTakeover says which leases follow on one that was not given back in
// order.
func TestTakeover(t *testing.T) {
	t.Parallel()
	_, store := rollouts(t, "acme")
	ctx := t.Context()
	require.NoError(t, store.CreateRollout(ctx, newRollout("r1", "acme"), nil, ""))
	lease := func(ttl time.Duration) *upgrader.Lease {
		t.Helper()
		return eventually(t, func() (*upgrader.Lease, error) { return store.Acquire(ctx, "r1", "acme", "w", ttl) })
	}
	first := lease(time.Minute)
	require.False(t, first.Takeover, "nobody had it before")
	require.NoError(t, store.Release(ctx, first, time.Now(), -1, false))
	second := lease(time.Millisecond)
	require.False(t, second.Takeover, "it was given back")
	third := lease(time.Minute)
	require.True(t, third.Takeover, "it ran out")
	require.NoError(t, store.Release(ctx, third, time.Now(), -1, true))
	fourth := lease(time.Minute)
	require.True(t, fourth.Takeover, "a call had no answer")
	require.NoError(t, store.Release(ctx, fourth, time.Now().Add(time.Hour), -1, false))
	_, err := store.Acquire(ctx, "r1", "acme", "w", time.Minute)
	require.ErrorIs(t, err, upgrader.ErrConflict, "it is not due")
	_, x, err := store.Load(ctx, "r1", "acme")
	require.NoError(t, err)
	require.InDelta(t, time.Hour.Seconds(), time.Until(x.NextAt).Seconds(), 30)
}

// Whose writers are refused waits for no place among the tenants in flight.
func TestFencedTenantsWaitForNoPlace(t *testing.T) {
	t.Parallel()
	ids := []string{"aaa", "bbb", "ccc"}
	d, store := rollouts(t, ids...)
	require.NoError(t, store.CreateRollout(t.Context(), newRollout("r1", ids...), nil, ""))
	_, err := d.Pool().Exec(t.Context(), `update rollouts set options = jsonb_set(options, '{max_tenants}', '1')`)
	require.NoError(t, err)
	_, err = store.Acquire(t.Context(), "r1", "aaa", "w", time.Minute)
	require.NoError(t, err)
	_, err = store.Acquire(t.Context(), "r1", "ccc", "w", time.Minute)
	require.ErrorIs(t, err, upgrader.ErrConflict)
	_, err = d.Pool().Exec(t.Context(), `update rollout_tenants set state = 'verified' where tenant_id = 'ccc'`)
	require.NoError(t, err)
	work, err := store.Due(t.Context(), 10)
	require.NoError(t, err)
	require.Len(t, work, 1)
	require.Equal(t, "ccc", work[0].TenantID)
	_, err = store.Acquire(t.Context(), "r1", "ccc", "w", time.Minute)
	require.NoError(t, err)
}
