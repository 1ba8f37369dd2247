package db_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/capacity"
)

// A worker's turn on one tenant reads as little in a rollout of thousands as in
// a small one, whether Postgres has statistics of the table or not yet.
func TestTurnsReadLittle(t *testing.T) {
	t.Parallel()
	var names []string
	for i := range 3_000 {
		names = append(names, fmt.Sprintf("tenant%05d", i))
	}
	d, store := rollouts(t)
	_, err := d.Pool().Exec(t.Context(), `insert into tenants (id, install_token, release, cluster) select id, '', '0.8.1', 'default' from unnest($1::text[]) id`, names)
	require.NoError(t, err)
	require.NoError(t, store.CreateRollout(t.Context(), newRollout("r1", names...), nil, ""))
	for _, statistics := range []string{`select 1`, `analyze rollout_tenants`} {
		_, err := d.Pool().Exec(t.Context(), statistics)
		require.NoError(t, err)
		for range 5 {
			before := rowsRead(t, d, "rollout_tenants")
			due, err := store.Due(t.Context(), 4)
			require.NoError(t, err)
			require.NotEmpty(t, due)
			l, err := store.Acquire(t.Context(), due[0].RolloutID, due[0].TenantID, "test", time.Minute)
			require.NoError(t, err)
			_, tenant, err := store.Load(t.Context(), l.RolloutID, l.TenantID)
			require.NoError(t, err)
			require.NoError(t, store.TakeRoom(t.Context(), l, capacity.Need{Shards: 3}, func(capacity.Need) bool { return true }))
			require.NoError(t, store.SaveTenant(t.Context(), l, tenant))
			require.NoError(t, store.SaveMoves(t.Context(), l, upgrader.Move{Target: "x"}))
			require.NoError(t, store.Release(t.Context(), l, time.Now().Add(time.Hour), -1, false))
			require.Less(t, rowsRead(t, d, "rollout_tenants")-before, int64(300), statistics)
		}
	}
}
