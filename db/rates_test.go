package db_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/tenants"
)

// Rates come from tenants that were really moved and never held.
func TestCopyRate(t *testing.T) {
	t.Parallel()
	d, store := rollouts(t, "aaa", "bbb", "ccc", "held", "empty")
	none, err := store.CopyRate(t.Context(), tenants.DefaultCluster)
	require.NoError(t, err)
	require.Zero(t, none)
	require.NoError(t, store.CreateRollout(t.Context(), newRollout("r1", "aaa", "bbb", "ccc", "empty"), nil, ""))
	require.NoError(t, store.CreateRollout(t.Context(), newRollout("r2", "held"), nil, ""))
	exec := func(sql string, args ...any) {
		t.Helper()
		_, err := d.Pool().Exec(t.Context(), sql, args...)
		require.NoError(t, err)
	}
	ended := func(tenant, state string, docs, seconds int) {
		t.Helper()
		began := time.Now().Add(-time.Hour)
		exec(`update rollout_tenants set state = $2, docs_total = $3, indices = 1, started_at = $4,
			proof = jsonb_build_object('taken_at', $5::timestamptz) where tenant_id = $1`,
			tenant, state, docs, began, began.Add(time.Duration(seconds)*time.Second))
	}
	ended("aaa", "switched", 100, 2)
	ended("bbb", "done", 1000, 4)
	ended("ccc", "rolled_back", 1900, 24)
	ended("held", "switched", 100, 3000)
	ended("empty", "failed", 100, 3000)
	exec(`update rollouts set options = '{"hold_switch": true}' where id = 'r2'`)
	rate, err := store.CopyRate(t.Context(), tenants.DefaultCluster)
	require.NoError(t, err)
	require.Equal(t, 3, rate.Tenants)
	require.Equal(t, 4*time.Second, rate.Typical)
	require.InDelta(t, 100, rate.PerSecond, 0.01)
}
