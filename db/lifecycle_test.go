package db_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/tenants"
)

// The schema's table of transitions is the domain's.
func TestTransitionsOfSchemaAndDomainAreOne(t *testing.T) {
	t.Parallel()
	b := setupRegistry(t)
	rows, err := b.db.Pool().Query(t.Context(), `select from_state, to_state from tenant_transitions`)
	require.NoError(t, err)
	stored, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (pair [2]tenants.State, err error) {
		return pair, row.Scan(&pair[0], &pair[1])
	})
	require.NoError(t, err)
	var want [][2]tenants.State
	for _, from := range tenants.States {
		for _, to := range tenants.Successors(from) {
			want = append(want, [2]tenants.State{from, to})
		}
	}
	require.ElementsMatch(t, want, stored)
}

// Whoever writes to the table, what the domain forbids does not happen.
func TestSchemaRefusesIllegalTransitions(t *testing.T) {
	t.Parallel()
	b := setupRegistry(t)
	ctx := t.Context()
	b.create(t, sample("acme"))
	exec := func(sql string) error { _, err := b.db.Pool().Exec(ctx, sql); return err }
	refused := func(sql string) {
		t.Helper()
		var pg *pgconn.PgError
		require.ErrorAs(t, exec(sql), &pg, sql)
		require.Contains(t, []string{"tenants_transition", "tenants_purge_check", "tenants_tombstone_check"}, pg.ConstraintName, sql)
	}
	const tombstone = `update tenants set purged_at = now(), display_name = '', email = '', domain = '', gui_url = '', labels = '{}', attributes = null, install_token = ''`
	refused(`update tenants set id = 'other'`)
	refused(`update tenants set purged_at = now()`)
	refused(`update tenants set purge_started_at = now()`)
	refused(`delete from tenants`)
	refused(`insert into tenants (id, install_token, release, cluster, deleted_at, purge_at) values ('beta', '', '0.8.1', 'default', now(), now())`)
	require.NoError(t, exec(`update tenants set expires_at = now() - interval '1 minute'`))
	refused(`update tenants set suspended = true`)
	require.NoError(t, exec(`update tenants set suspended = true, expires_at = null`))
	require.NoError(t, exec(`update tenants set deleted_at = now(), purge_at = now() + interval '1 day'`))
	refused(`update tenants set suspended = false`)
	refused(`update tenants set expires_at = now()`)
	require.NoError(t, exec(`update tenants set deleted_at = null, purge_at = null`))
	require.NoError(t, exec(`update tenants set deleted_at = now(), purge_at = now()`))
	refused(`update tenants set deleted_at = null, purge_at = null`) // too late
	require.NoError(t, exec(`update tenants set purge_started_at = now(), purge_at = now() + interval '1 day'`))
	refused(`update tenants set deleted_at = null, purge_at = null, purge_started_at = null`)
	refused(`update tenants set purged_at = now()`) // still holds what is the customer's
	require.NoError(t, exec(tombstone))
	refused(`update tenants set release = '0.8.2'`)
	require.NoError(t, exec(`delete from tenants`))
	require.Error(t, exec(`update audit set key_id = 'somebody else'`))
	require.Error(t, exec(`delete from audit`))
	require.Error(t, exec(`truncate audit`))
}

// land is a search cluster that holds some names of one tenant.
type land struct {
	mu      sync.Mutex
	indices []string
	broken  error
}

func (l *land) Indices(context.Context, ...string) ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.indices, l.broken
}
func (l *land) Aliases(context.Context, ...string) (map[string][]string, error) {
	return map[string][]string{}, nil
}
func (l *land) Templates(context.Context, string) ([]string, error) { return nil, nil }
func (l *land) DeleteIndices(context.Context, ...string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.indices = nil
	return nil
}
func (l *land) RemoveAliases(context.Context, map[string][]string) error { return nil }
func (l *land) DeleteTemplate(context.Context, string) error             { return nil }

func (b *registryBundle) purges(p *process, l *land, owner string) (*tenants.Purges, *db.Purges) {
	store := db.NewPurges(b.store)
	return tenants.NewPurges(tenants.PurgesConfig{
		Store: store, Mirror: p.mirror, Clusters: tenants.OneCluster(l), Prefixes: func() []string { return []string{"08x"} }, Owner: owner,
	}), store
}

func TestPurge(t *testing.T) {
	t.Parallel()
	b := setupRegistry(t)
	ctx := t.Context()
	p, _ := b.start(t, b.store)
	other, _ := b.start(t, b.store)
	l := &land{indices: []string{"08x.acme.tracardi-event-2026-1", "08x.acme.tracardi-flow"}, broken: &tenants.Error{Code: tenants.CodeUnavailable, Reason: tenants.ReasonStoreUnavailable, Message: "no cluster"}}
	purges, store := b.purges(p, l, "one")
	queue, err := db.NewQueue(b.db, db.NewRollouts(b.db), nil, quietLog(), db.PurgeWork(store, purges))
	require.NoError(t, err)
	require.NotNil(t, queue)
	caller := tenants.Caller{KeyID: "tester", Role: tenants.RoleAdmin, Origin: "192.0.2.1"}
	b.create(t, sample("acme"))
	_, only, err := p.keys.Create(ctx, caller, tenants.KeyRequest{Name: "acme only", Role: tenants.RoleInstance, Tenants: []string{"acme"}})
	require.NoError(t, err)
	both, bothSecret, err := p.keys.Create(ctx, caller, tenants.KeyRequest{Name: "both", Role: tenants.RoleInstance, Tenants: []string{"beta", "acme", "acme"}})
	require.NoError(t, err)
	require.Equal(t, []string{"acme", "beta"}, both.Tenants)

	_, err = purges.Begin(ctx, caller, tenants.PurgeRequest{ID: "acme", WithoutSnapshot: true})
	require.True(t, tenants.HasReason(err, tenants.ReasonWrongState), "%v", err)
	_, err = p.service.Delete(ctx, caller, tenants.EventRequest{ID: "acme", Etag: tenants.AnyEtag})
	require.NoError(t, err)
	_, err = purges.Begin(ctx, caller, tenants.PurgeRequest{ID: "acme"})
	require.True(t, tenants.HasReason(err, tenants.ReasonSnapshotRequired), "%v", err)
	_, err = purges.Begin(ctx, caller, tenants.PurgeRequest{ID: "acme", WithoutSnapshot: true, Etag: "stale"})
	require.True(t, tenants.HasReason(err, tenants.ReasonEtagMismatch), "%v", err)
	b.inRollout(t, "acme", true)
	_, err = purges.Begin(ctx, caller, tenants.PurgeRequest{ID: "acme", WithoutSnapshot: true})
	require.True(t, tenants.HasReason(err, tenants.ReasonRolloutRunning), "%v", err)
	b.inRollout(t, "acme", false)
	_, err = purges.Begin(ctx, caller, tenants.PurgeRequest{ID: "acme", WithoutSnapshot: true, ValidateOnly: true})
	require.NoError(t, err)
	op, err := purges.Begin(ctx, caller, tenants.PurgeRequest{ID: "acme", WithoutSnapshot: true})
	require.NoError(t, err)
	again, err := purges.Begin(ctx, caller, tenants.PurgeRequest{ID: "acme", WithoutSnapshot: true})
	require.NoError(t, err)
	require.Equal(t, op.ID, again.ID, "one purge at a time")
	require.Equal(t, 1, b.count(t, `select count(*) from river_job where kind = 'tenant_purge'`))
	_, err = p.service.Undelete(ctx, caller, tenants.EventRequest{ID: "acme"})
	require.True(t, tenants.HasReason(err, tenants.ReasonWrongState), "%v", err)
	_, err = b.db.Pool().Exec(ctx, `insert into rollout_tenants (rollout_id, tenant_id, from_release, state, switch_allowed, next_at, indices, by_method, record) values ('r', 'acme', '0.8.1', 'planned', true, now(), 0, '{}', '{}')`)
	require.ErrorContains(t, err, "is being purged")

	require.Error(t, purges.Work(ctx, op.ID), "the cluster does not answer")
	waiting, err := purges.Operation(ctx, op.ID)
	require.NoError(t, err)
	require.Equal(t, tenants.OperationRunning, waiting.State)
	require.Equal(t, 1, waiting.Attempts)
	require.NoError(t, purges.Work(ctx, op.ID), "not due yet: nothing happens")
	l.broken = nil
	_, err = b.db.Pool().Exec(ctx, `update operations set next_at = now()`)
	require.NoError(t, err)
	require.NoError(t, purges.Work(ctx, op.ID))
	done, err := purges.Operation(ctx, op.ID)
	require.NoError(t, err)
	require.Equal(t, tenants.OperationSucceeded, done.State)
	require.Equal(t, 2, done.Result.Indices)
	require.Equal(t, 1, done.Result.Keys)
	require.Equal(t, 3, done.Result.Quarantined)
	require.False(t, done.Result.ProvenAt.IsZero())
	require.Equal(t, 2, done.Attempts)

	buried, err := b.store.Tenant(ctx, "acme")
	require.NoError(t, err)
	require.Equal(t, tenants.StatePurged, buried.StateAt(time.Now()))
	require.Empty(t, buried.DisplayName+buried.Email+buried.InstallToken)
	within(t, "end of the restricted key", func() bool {
		_, err := other.ring.Authenticate(ctx, only)
		return tenants.HasReason(err, tenants.ReasonKeyUnknown)
	})
	within(t, "the other key goes on without the tenant", func() bool {
		p, err := other.ring.Authenticate(ctx, bothSecret)
		return err == nil && !p.MayTouch("acme") && p.MayTouch("beta")
	})
	_, err = p.service.Create(ctx, caller, tenants.CreateRequest{Tenant: &tenants.Tenant{ID: "acme", Release: "0.8.1"}})
	require.True(t, tenants.HasReason(err, tenants.ReasonIDPurged), "%v", err)
	reborn, err := p.service.Create(ctx, caller, tenants.CreateRequest{Tenant: &tenants.Tenant{ID: "acme", Release: "0.8.1"}, AllowReuse: true})
	require.NoError(t, err)
	require.Greater(t, reborn.Revision, buried.Revision)
	within(t, "second life", func() bool { v, err := other.service.Check(ctx, "acme"); return err == nil && v.Allowed })
	list, next, err := purges.Operations(ctx, tenants.OperationFilter{Limit: 1, Tenants: []string{"acme"}}, "")
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Empty(t, next)
	require.Equal(t, 1, b.count(t, `select count(*) from audit where action = 'tenant.purge' and detail->>'without_snapshot' = 'true' and origin = '192.0.2.1'`))
	require.Zero(t, b.count(t, `select count(*) from audit where detail::text like '%sesame%'`))
}

// inRollout puts a tenant, with three quarantined documents, into a rollout.
func (b *registryBundle) inRollout(t *testing.T, id string, working bool) {
	t.Helper()
	if !working {
		_, err := b.db.Pool().Exec(t.Context(), `update rollout_tenants set state = 'switched' where tenant_id = $1`, id)
		require.NoError(t, err)
		return
	}
	for _, sql := range []string{
		`insert into rollouts (id, to_release, options, state, wish, created_by, created_at) values ('r-' || $1::text, '0.8.2', '{}', 'running', 'run', 't', now())`,
		`insert into rollout_tenants (rollout_id, tenant_id, from_release, state, switch_allowed, next_at, indices, by_method, record) values ('r-' || $1::text, $1, '0.8.1', 'planned', true, now() + interval '1 day', 0, '{}', '{}')`,
		`insert into quarantine (rollout_id, tenant_id, index_name, doc_id, target, kind, reason, source, at) select 'r-' || $1::text, $1, 'i', n, 't', 'refused', 'r', '', now() from generate_series(1, 3) n`,
	} {
		_, err := b.db.Pool().Exec(t.Context(), sql, id)
		require.NoError(t, err)
	}
}

// A worker that died is followed by another one when its claim has ended.
func TestPurgeIsClaimedByOne(t *testing.T) {
	t.Parallel()
	b := setupRegistry(t)
	ctx := t.Context()
	p, _ := b.start(t, b.store)
	purges, store := b.purges(p, &land{}, "two")
	caller := tenants.Caller{KeyID: "tester"}
	b.create(t, sample("acme"))
	_, err := p.service.Delete(ctx, caller, tenants.EventRequest{ID: "acme", Etag: tenants.AnyEtag})
	require.NoError(t, err)
	op, err := purges.Begin(ctx, caller, tenants.PurgeRequest{ID: "acme", WithoutSnapshot: true})
	require.NoError(t, err)
	claimed, err := store.ClaimPurge(ctx, op.ID, "one", time.Hour)
	require.NoError(t, err)
	require.NotNil(t, claimed)
	claimed2, err := store.ClaimPurge(ctx, op.ID, "two", time.Hour)
	require.NoError(t, err)
	require.Nil(t, claimed2)
	_, err = b.db.Pool().Exec(ctx, `update operations set lease_until = now()`)
	require.NoError(t, err)
	require.NoError(t, purges.Work(ctx, op.ID))
	_, err = store.FinishPurge(ctx, claimed, "one", tenants.Audit{At: time.Now()}, func(*tenants.Tenant) error { return errors.New("never") })
	require.Error(t, err, "the dead one comes back too late")
	require.NoError(t, store.ReleasePurge(ctx, claimed, "one", 0))
	done, err := purges.Operation(ctx, op.ID)
	require.NoError(t, err)
	require.Equal(t, tenants.OperationSucceeded, done.State)
}

func TestOrderedPages(t *testing.T) {
	t.Parallel()
	b := setupRegistry(t)
	p, _ := b.start(t, b.store)
	began := time.Now().UTC().Truncate(time.Microsecond)
	for i, id := range []string{"ccc", "aaa", "ddd", "bbb", "eee"} {
		x := sample(id)
		x.CreatedAt, x.DisplayName = began.Add(time.Duration(i/2)*time.Microsecond), []string{"z", "y"}[i%2]
		b.create(t, x)
	}
	for order, want := range map[string]string{
		"": "aaa bbb ccc ddd eee", "id desc": "eee ddd ccc bbb aaa", "create_time": "aaa ccc bbb ddd eee",
		"create_time desc": "eee ddd bbb ccc aaa", "display_name": "aaa bbb ccc ddd eee", "release desc": "eee ddd ccc bbb aaa",
	} {
		o, err := tenants.ParseOrder(order)
		require.NoError(t, err)
		got, token := "", ""
		for {
			page, err := p.service.List(t.Context(), tenants.ListRequest{Filter: tenants.Filter{Order: o, Limit: 2, Count: true}, PageToken: token})
			require.NoError(t, err, order)
			require.Equal(t, 5, page.Total)
			for _, x := range page.Tenants {
				got += x.ID + " "
			}
			if token = page.NextToken; token == "" {
				break
			}
			_, err = p.service.List(t.Context(), tenants.ListRequest{Filter: tenants.Filter{Order: o, Limit: 2, Cluster: "other"}, PageToken: token})
			require.True(t, tenants.HasReason(err, tenants.ReasonInvalidPageToken), "%v", err)
		}
		require.Equal(t, want+" ", got, order)
	}
	some, err := p.service.List(t.Context(), tenants.ListRequest{Filter: tenants.Filter{IDs: []string{"bbb", "zzz"}}})
	require.NoError(t, err)
	require.Len(t, some.Tenants, 1)
}

// A changed SECRET: what was sealed with the former one opens, and is sealed
// anew by the next change.
func TestTokensAreSealedAnew(t *testing.T) {
	t.Parallel()
	b := setupRegistry(t)
	ctx := t.Context()
	b.create(t, sample("acme"))
	both, err := tenants.NewSealer("the next secret", "a secret of the test")
	require.NoError(t, err)
	store := db.NewRegistry(b.db, both)
	got, err := store.Tenant(ctx, "acme")
	require.NoError(t, err)
	require.Equal(t, "open sesame", got.InstallToken)
	require.True(t, got.TokenSealedOld)
	_, err = store.ChangeTenant(ctx, "acme", false, audit("tenant.update", "acme"), func(x *tenants.Tenant) error { x.DisplayName = "New"; return nil })
	require.NoError(t, err)
	alone, err := tenants.NewSealer("the next secret")
	require.NoError(t, err)
	got, err = db.NewRegistry(b.db, alone).Tenant(ctx, "acme")
	require.NoError(t, err)
	require.Equal(t, "open sesame", got.InstallToken)
}

func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }
