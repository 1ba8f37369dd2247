package db_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/tenants"
)

// manyTenants writes tenants of every state, release and label, behind the
// registry's back.
func manyTenants(t *testing.T, b *registryBundle, n int) {
	t.Helper()
	_, err := b.db.Pool().Exec(t.Context(), `insert into clusters (name, urls, secret, created_by, created_at, updated_at) values ('other', '{}', '', '', now(), now())`)
	require.NoError(t, err)
	for _, sql := range []string{
		`insert into tenants (id, install_token, labels, release, cluster, suspended, expires_at, display_name)
			select 't' || md5(g::text), '', case when g % 7 = 0 then '{}' else jsonb_build_object('tier', (array['gold', 'iron'])[g % 2 + 1], 'ring', (g % 5)::text) end,
				(array['0.8.0', '0.8.1', '0.8.2'])[g % 3 + 1], (array['default', 'other'])[g % 4 / 3 + 1], g % 6 = 0,
				case g % 8 when 0 then now() - interval '1 day' when 1 then now() + interval '1 day' end, 'name ' || g % 10
			from generate_series(1, $1) g`,
		`update tenants set deleted_at = now(), purge_at = now() where hashtext(id) % 9 = 0 and $1 > 0`,
		`update tenants set purge_started_at = now() where hashtext(id) % 2 = 0 and deleted_at is not null and $1 > 0`,
		`update tenants set purged_at = now(), display_name = '', labels = '{}' where purge_started_at is not null and $1 > 0`,
		`update tenants set labels = labels || '{"tier": "lead"}' where hashtext(id) % 5 = 0 and deleted_at is null and $1 > 0`,
	} {
		_, err := b.db.Pool().Exec(t.Context(), sql, n)
		require.NoError(t, err)
	}
	_, err = b.db.Pool().Exec(t.Context(), `vacuum analyze tenants, tenant_labels`)
	require.NoError(t, err)
}

// conditions are what pages are asked for by, and the same in the words of the
// plain columns.
var conditions = []struct {
	name   string
	filter tenants.Filter
	plain  string
}{
	{"none", tenants.Filter{}, "deleted_at is null"},
	{"with deleted", tenants.Filter{ShowDeleted: true}, "purged_at is null"},
	{"active", tenants.Filter{State: tenants.StateActive}, "tenant_state(tenants, now()) = 'active'"},
	{"suspended", tenants.Filter{State: tenants.StateSuspended}, "tenant_state(tenants, now()) = 'suspended'"},
	{"expired", tenants.Filter{State: tenants.StateExpired}, "tenant_state(tenants, now()) = 'expired'"},
	{"deleted", tenants.Filter{State: tenants.StateDeleted}, "tenant_state(tenants, now()) = 'deleted'"},
	{"purged", tenants.Filter{State: tenants.StatePurged}, "tenant_state(tenants, now()) = 'purged'"},
	{"release", tenants.Filter{Release: "0.8.1"}, "deleted_at is null and release = '0.8.1'"},
	{"cluster", tenants.Filter{Cluster: "other"}, "deleted_at is null and cluster = 'other'"},
	{"label", tenants.Filter{Labels: map[string]string{"tier": "gold"}}, `deleted_at is null and labels @> '{"tier": "gold"}'`},
	{"changed label", tenants.Filter{Labels: map[string]string{"tier": "lead"}}, `deleted_at is null and labels @> '{"tier": "lead"}'`},
	{"all", tenants.Filter{State: tenants.StateActive, Release: "0.8.1", Labels: map[string]string{"tier": "iron", "ring": "3"}}, `tenant_state(tenants, now()) = 'active' and release = '0.8.1' and labels @> '{"tier": "iron", "ring": "3"}'`},
}

// What the conditions select is what the columns say: the words of the indexes
// and the table of labels tell the same.
func TestConditionsSelectWhatTheColumnsSay(t *testing.T) {
	t.Parallel()
	b := setupRegistry(t)
	manyTenants(t, b, 600)
	for _, c := range conditions {
		rows, err := b.db.Pool().Query(t.Context(), `select id from tenants where `+c.plain+` order by id`)
		require.NoError(t, err, c.name)
		want, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err, c.name)
		require.NotEmpty(t, want, c.name)
		c.filter.Now, c.filter.Limit, c.filter.Count = time.Now(), 7, true
		var got []string
		for {
			page, total, err := b.store.Tenants(t.Context(), c.filter)
			require.NoError(t, err, c.name)
			require.Len(t, want, total, c.name)
			for _, x := range page {
				got = append(got, x.ID)
				c.filter.AfterID = x.ID
			}
			if len(page) < c.filter.Limit {
				break
			}
		}
		require.Equal(t, want, got, c.name)
	}
}

// However many tenants there are, a page reads about as many rows as it shows:
// no query sorts, or passes by, more than a few times that.
func TestPagesReadLittle(t *testing.T) {
	t.Parallel()
	b := setupRegistry(t)
	manyTenants(t, b, 10_000)
	ask := func(name string, f tenants.Filter) {
		t.Helper()
		f.Now, f.Limit = time.Now(), 20
		before := rowsRead(t, b.db, "tenants", "tenant_labels")
		page, _, err := b.store.Tenants(t.Context(), f)
		require.NoError(t, err, name)
		require.Len(t, page, f.Limit, name)
		require.Less(t, rowsRead(t, b.db, "tenants", "tenant_labels")-before, int64(1_000), name)
	}
	for _, c := range conditions {
		ask(c.name, c.filter)
	}
	for _, field := range tenants.OrderFields {
		for _, descending := range []bool{false, true} {
			ask(fmt.Sprint(field, descending), tenants.Filter{Order: tenants.Order{Field: field, Descending: descending}})
		}
	}
}

// Labels follow the tenant whatever happens to it.
func TestLabelsFollow(t *testing.T) {
	t.Parallel()
	b := setupRegistry(t)
	x := sample("acme")
	x.Labels = map[string]string{"tier": "gold", "old": "1"}
	b.create(t, x)
	labels := func() string {
		rows, err := b.db.Pool().Query(t.Context(), `select name || '=' || value from tenant_labels order by 1`)
		require.NoError(t, err)
		all, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		return strings.Join(all, " ")
	}
	require.Equal(t, "old=1 tier=gold", labels())
	_, err := b.store.ChangeTenant(t.Context(), "acme", false, audit("tenant.update", "acme"), func(x *tenants.Tenant) error {
		x.Labels = map[string]string{"tier": "iron", "new": "two words"}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, "new=two words tier=iron", labels())
	_, err = b.store.ChangeTenant(t.Context(), "acme", false, audit("tenant.update", "acme"), func(x *tenants.Tenant) error {
		x.Labels = nil
		return nil
	})
	require.NoError(t, err)
	require.Empty(t, labels())
}
