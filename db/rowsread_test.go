package db_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/db"
)

// rowsRead is how many rows and index entries of tables the database has read
// so far, for everybody: the database is this test's.
func rowsRead(t *testing.T, d *db.DB, tables ...string) (n int64) {
	t.Helper()
	conn, err := d.Pool().Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	// Every connection keeps its counts for a while before others see them.
	for _, c := range d.Pool().AcquireAllIdle(t.Context()) {
		_, err := c.Exec(t.Context(), `select pg_stat_force_next_flush()`)
		require.NoError(t, err)
		c.Release()
	}
	_, err = conn.Exec(t.Context(), `select pg_stat_force_next_flush()`)
	require.NoError(t, err)
	require.NoError(t, conn.QueryRow(t.Context(), `
		select coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)
			+ (select coalesce(sum(idx_tup_read), 0) from pg_stat_user_indexes where relname = any($1))
		from pg_stat_user_tables where relname = any($1)`, tables).Scan(&n))
	return n
}
