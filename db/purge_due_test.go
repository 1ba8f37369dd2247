package db_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
)

// shelf is where snapshots are looked for.
type shelf struct{ snapshot string }

func (s *shelf) Verified(context.Context, string, time.Time) (string, error) { return s.snapshot, nil }

// Purge times are kept by however many processes run, each purge once.
func TestPurgeBeginsWhenItsTimeHasCome(t *testing.T) {
	t.Parallel()
	b := setupRegistry(t)
	ctx := t.Context()
	for _, id := range []string{"acme", "beta", "later"} {
		b.create(t, sample(id))
	}
	exec := func(sql string) {
		t.Helper()
		_, err := b.db.Pool().Exec(ctx, sql)
		require.NoError(t, err)
	}
	exec(`update tenants set deleted_at = now() - interval '30 days', purge_at = now() where id in ('acme', 'beta')`)
	exec(`update tenants set deleted_at = now(), purge_at = now() + interval '30 days' where id = 'later'`)
	b.inRollout(t, "beta", true)
	saved := &shelf{}
	start := func(owner string, automatic bool) *tenants.Purges {
		p, _ := b.start(t, b.store)
		store, rollouts := db.NewPurges(b.store), db.NewRollouts(b.db)
		purges := tenants.NewPurges(tenants.PurgesConfig{
			Store: store, Mirror: p.mirror, Clusters: tenants.OneCluster(&land{}), Prefixes: func() []string { return []string{"08x"} }, Owner: owner,
			Snapshots: saved, Automatic: automatic,
		})
		queue, err := db.NewQueue(b.db, rollouts, upgrader.NewRunner(rollouts, nil, nil, owner, upgrader.Limits{}, quietLog()), quietLog(), db.PurgeWork(store, purges))
		require.NoError(t, err)
		require.NoError(t, queue.Start(ctx))
		t.Cleanup(func() { require.NoError(t, queue.Stop(context.Background())) })
		return purges
	}
	one := start("one", true)
	start("two", true)
	start("off", false)
	refusals := func(id string) int {
		return b.count(t, `select count(*) from audit where action = 'tenant.purge_refused' and subject = '`+id+`' and key_id = 'tms'`)
	}
	// The saved snapshot is missing for acme; beta is in a rollout anyway.
	inTurn(t, "refusals", func() bool { return refusals("acme") == 1 && refusals("beta") == 1 })
	acme, err := b.store.Tenant(ctx, "acme")
	require.NoError(t, err)
	require.Contains(t, acme.PurgeRefusal, "SNAPSHOT_REQUIRED")
	require.Equal(t, tenants.StateDeleted, acme.StateAt(time.Now()))
	require.WithinDuration(t, time.Now().Add(tenants.PurgeRetry), acme.PurgeRetryAt, time.Minute)
	require.Zero(t, b.count(t, `select count(*) from operations`))

	exec(`update tenants set purge_retry_at = now() where id = 'acme'`) // the next day
	inTurn(t, "second refusal", func() bool { return refusals("acme") == 2 })
	exec(`update rollout_tenants set state = 'cancelled'`)
	saved.snapshot = "nightly"
	exec(`update tenants set purge_retry_at = now() where id in ('acme', 'beta')`)
	purged := func(id string) bool {
		x, err := b.store.Tenant(ctx, id)
		require.NoError(t, err)
		return x.StateAt(time.Now()) == tenants.StatePurged && x.PurgeRefusal == ""
	}
	inTurn(t, "purges", func() bool { return purged("acme") && purged("beta") })
	ops, _, err := one.Operations(ctx, tenants.OperationFilter{Limit: 10}, "")
	require.NoError(t, err)
	require.Len(t, ops, 2)
	require.Equal(t, []string{"tms", "nightly"}, []string{ops[0].CreatedBy, ops[0].Snapshot})
	// One that failed for good is begun again, a day after its beginning.
	exec(`insert into operations (id, kind, tenant_id, state, created_by, created_at, updated_at, finished_at, next_at)
		values ('f', 'tenant.purge', 'later', 'failed', 'somebody', now(), now(), now(), now())`)
	exec(`update tenants set purge_at = now(), purge_started_at = now(), purge_retry_at = now() where id = 'later'`)
	inTurn(t, "another purge", func() bool { return purged("later") })
	// River looks at scheduled ones every five seconds only: see dueNow.
	require.Zero(t, b.count(t, `select count(*) from river_job where state = 'scheduled'`), "wake-ups that wait")
	require.Equal(t, 4, b.count(t, `select count(*) from operations`))
}

// inTurn waits for what several looks of the queue, one after the other,
// bring about.
func inTurn(t *testing.T, what string, ok func() bool) {
	t.Helper()
	began := time.Now()
	require.Eventually(t, ok, time.Minute, 20*time.Millisecond, what)
	t.Logf("%s after %s", what, time.Since(began).Round(time.Millisecond))
}
