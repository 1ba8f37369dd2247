package db_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/upgrader"
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
