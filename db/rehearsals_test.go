package db_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/capacity"
)

// The newest rehearsal to the rollout's release counts, of those that wait.
func TestWaitingRehearsals(t *testing.T) {
	t.Parallel()
	d, rollouts := rollouts(t, "aaa", "bbb", "ccc")
	store := db.NewRehearsals(d)
	ctx := t.Context()
	begin := func(id, tenant, to string, ago time.Duration) {
		t.Helper()
		r, err := store.BeginRehearsal(ctx, &upgrader.Rehearsal{ID: id, TenantID: tenant, Cluster: "default", ToRelease: to, CreatedBy: "test", CreatedAt: time.Now().Add(-ago)})
		require.NoError(t, err)
		require.Equal(t, id, r.ID)
		require.NoError(t, store.CancelRehearsal(ctx, id, "test", "enough"))
	}
	ro := newRollout("r1", "aaa", "bbb", "ccc")
	for i := range ro.Tenants {
		ro.Tenants[i].Waiting = ro.Tenants[i].TenantID != "ccc"
	}
	begin("old", "aaa", ro.ToRelease, time.Hour)
	begin("new", "aaa", ro.ToRelease, time.Minute)
	begin("elsewhere", "aaa", "9.9.9", time.Second)
	require.NoError(t, rollouts.CreateRollout(ctx, ro, nil, ""))
	waiting, err := store.WaitingRehearsals(ctx, "r1")
	require.NoError(t, err)
	require.Len(t, waiting, 2)
	require.Equal(t, "aaa", waiting[0].TenantID)
	require.Equal(t, "new", waiting[0].Last.ID)
	require.Equal(t, upgrader.RehearsalFailed, waiting[0].Last.State)
	require.Nil(t, waiting[1].Last)
}

// roomy is an engine of which a gate asks for nothing but its shards.
type roomy struct{ upgrader.Engine }

func (roomy) Shards(context.Context) (capacity.Shards, error) {
	return capacity.Shards{MaxPerNode: 1000, DataNodes: 1}, nil
}

// A rollout that asks for rehearsals lets in who has one.
func TestGateOfRehearsals(t *testing.T) {
	t.Parallel()
	d, rollouts := rollouts(t, "aaa", "bbb")
	store := db.NewRehearsals(d)
	ctx := t.Context()
	catalogue, err := releases.Builtin()
	require.NoError(t, err)
	digests, err := upgrader.RehearsalDigests(catalogue, "0.8.1", "0.8.2")
	require.NoError(t, err)
	one, err := store.BeginRehearsal(ctx, &upgrader.Rehearsal{ID: "good", TenantID: "aaa", Cluster: "default", ToRelease: "0.8.2", CreatedAt: time.Now()})
	require.NoError(t, err)
	one, err = store.ClaimRehearsal(ctx, one.ID, "me", time.Minute)
	require.NoError(t, err)
	one.State, one.FinishedAt = upgrader.RehearsalSucceeded, time.Now()
	one.Report = upgrader.RehearsalReport{Verdict: upgrader.VerdictEqual, Digests: digests}
	require.NoError(t, store.ReleaseRehearsal(ctx, one, "me", 0))
	ro := newRollout("r1", "aaa", "bbb")
	ro.Options.RequireRehearsal = true
	ro.Waves = []upgrader.Wave{{Number: 1, Name: "all", State: upgrader.WavePending}}
	for i := range ro.Tenants {
		ro.Tenants[i].Waiting, ro.Tenants[i].Wave = true, 1
	}
	require.NoError(t, rollouts.CreateRollout(ctx, ro, nil, ""))
	runner := upgrader.NewRunner(rollouts, roomy{}, catalogue, "test", upgrader.Limits{}, nil).
		WithGates(upgrader.GateSources{Extend: upgrader.RehearsalFacts(store, catalogue)})
	require.NoError(t, runner.Conduct(ctx, "r1"))
	got, err := rollouts.Rollout(ctx, "r1")
	require.NoError(t, err)
	require.False(t, got.Tenants[0].Waiting, got.Tenants[0].Reason)
	require.True(t, got.Tenants[1].Waiting)
	require.Contains(t, got.Tenants[1].Reason, "gate rehearsed: it was not rehearsed yet")
}
