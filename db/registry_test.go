package db_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/internal/devstack/devtest"
	"github.com/tracardi/tms/tenants"
)

type registryBundle struct {
	dsn   string
	db    *db.DB
	store *db.Registry
}

func setupRegistry(t *testing.T) *registryBundle {
	t.Helper()
	dsn := devtest.Database(t, db.Migrate)
	d, err := db.Open(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(d.Close)
	sealer, err := tenants.NewSealer("a secret of the test")
	require.NoError(t, err)
	return &registryBundle{dsn: dsn, db: d, store: db.NewRegistry(d, sealer)}
}

func audit(action, subject string) tenants.Audit {
	return tenants.Audit{At: time.Now(), Caller: tenants.Caller{KeyID: "tester", Role: tenants.RoleAdmin, RequestID: "q1"}, Action: action, Subject: subject}
}

func sample(id string) *tenants.Tenant {
	return &tenants.Tenant{
		ID: id, DisplayName: "Acme", Email: "ops@acme.example", InstallToken: "open sesame",
		Labels: map[string]string{"ring": "canary"}, Attributes: json.RawMessage(`{"plan": "gold"}`),
		Release: "0.8.1", Cluster: "default", CreatedAt: time.Now().UTC().Truncate(time.Microsecond),
	}
}

func (b *registryBundle) create(t *testing.T, tenant *tenants.Tenant) *tenants.Tenant {
	t.Helper()
	got, err := b.store.CreateTenant(t.Context(), tenant, tenants.CreateRecord{}, audit("tenant.create", tenant.ID))
	require.NoError(t, err)
	return got
}

func TestTenantRoundTrip(t *testing.T) {
	t.Parallel()
	b := setupRegistry(t)
	want := sample("acme")
	want.ExpiresAt = want.CreatedAt.Add(time.Hour)
	created := b.create(t, want)
	got, err := b.store.Tenant(t.Context(), "acme")
	require.NoError(t, err)
	require.Equal(t, created, got)
	require.Equal(t, want.InstallToken, got.InstallToken)
	require.Equal(t, want.Labels, got.Labels)
	require.JSONEq(t, string(want.Attributes), string(got.Attributes))
	require.True(t, want.CreatedAt.Equal(got.CreatedAt))
	require.True(t, want.ExpiresAt.Equal(got.ExpiresAt))
	require.EqualValues(t, 1, got.Revision)

	plain := sample("plain")
	plain.Labels, plain.Attributes = nil, nil
	require.Empty(t, b.create(t, plain).Attributes)

	_, err = b.store.Tenant(t.Context(), "nobody")
	require.True(t, tenants.HasReason(err, tenants.ReasonTenantNotFound))
	all, err := b.store.AllTenants(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 2)
}

func TestInstallTokenIsEncryptedAtRest(t *testing.T) {
	t.Parallel()
	b := setupRegistry(t)
	b.create(t, sample("acme"))
	conn, err := pgx.Connect(t.Context(), b.dsn)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	var row string
	var sealed []byte
	require.NoError(t, conn.QueryRow(t.Context(), `select (t.*)::text, install_token from tenants t`).Scan(&row, &sealed))
	require.NotContains(t, row, "sesame")
	require.NotContains(t, string(sealed), "sesame")

	other, err := tenants.NewSealer("another secret")
	require.NoError(t, err)
	got, err := db.NewRegistry(b.db, other).Tenant(t.Context(), "acme")
	require.NoError(t, err, "a changed SECRET must not take the registry down")
	require.True(t, got.TokenUnreadable)
	require.Empty(t, got.InstallToken)
}

func TestCreateRefusals(t *testing.T) {
	t.Parallel()
	b := setupRegistry(t)
	first := sample("acme")
	first.Domain = "acme.example.com"
	b.create(t, first)
	adopted := sample("globex")
	adopted.AdoptedFrom = "074.4a7d1"
	b.create(t, adopted)
	stored, err := b.store.Tenant(t.Context(), "globex")
	require.NoError(t, err)
	require.Equal(t, "074.4a7d1", stored.AdoptedFrom)
	for name, c := range map[string]struct {
		tenant *tenants.Tenant
		reason tenants.Reason
	}{
		"installation adopted before": {&tenants.Tenant{ID: "other", Release: "0.7.4", Cluster: "default", AdoptedFrom: "074.4a7d1"}, tenants.ReasonCodeNameTaken},
		"id is another's code name":   {sample("4a7d1"), tenants.ReasonCodeNameTaken},
		"code name is another's id":   {&tenants.Tenant{ID: "other", Release: "0.8.0", Cluster: "default", AdoptedFrom: "080.acme"}, tenants.ReasonCodeNameTaken},
		"id taken":                    {sample("acme"), tenants.ReasonTenantExists},
		"domain taken":                {&tenants.Tenant{ID: "other", Domain: "acme.example.com", Release: "0.8.1", Cluster: "default"}, tenants.ReasonDomainTaken},
	} {
		_, err := b.store.CreateTenant(t.Context(), c.tenant, tenants.CreateRecord{}, audit("tenant.create", c.tenant.ID))
		require.True(t, tenants.HasReason(err, c.reason), "%s: %v", name, err)
	}
	// What the domain would have refused, the schema refuses too, without
	// the driver's words.
	_, err = b.store.CreateTenant(t.Context(), sample("12345"), tenants.CreateRecord{}, audit("tenant.create", "12345"))
	require.EqualError(t, err, "database error 23514 (tenants_id_check)")
}

func TestCreateIsIdempotentByRequestID(t *testing.T) {
	t.Parallel()
	b := setupRegistry(t)
	rec := tenants.CreateRecord{RequestID: "r-1", Fingerprint: []byte("one")}
	results := make(chan error, 4)
	for range cap(results) {
		go func() {
			_, err := b.store.CreateTenant(t.Context(), sample("acme"), rec, audit("tenant.create", "acme"))
			results <- err
		}()
	}
	for range cap(results) {
		require.NoError(t, <-results)
	}
	rec.Fingerprint = []byte("two")
	_, err := b.store.CreateTenant(t.Context(), sample("acme"), rec, audit("tenant.create", "acme"))
	require.True(t, tenants.HasReason(err, tenants.ReasonRequestReused), "%v", err)
	require.Equal(t, 1, b.count(t, `select count(*) from audit`))
}

func (b *registryBundle) count(t *testing.T, sql string) int {
	t.Helper()
	var n int
	require.NoError(t, b.db.Pool().QueryRow(t.Context(), sql).Scan(&n))
	return n
}

func TestChangeTenant(t *testing.T) {
	t.Parallel()
	b := setupRegistry(t)
	b.create(t, sample("acme"))
	rename := func(x *tenants.Tenant) error { x.DisplayName = "New"; return nil }

	dry, err := b.store.ChangeTenant(t.Context(), "acme", true, audit("tenant.update", "acme"), rename)
	require.NoError(t, err)
	require.Equal(t, "New", dry.DisplayName)
	got, err := b.store.Tenant(t.Context(), "acme")
	require.NoError(t, err)
	require.Equal(t, "Acme", got.DisplayName, "a dry change stores nothing")

	got, err = b.store.ChangeTenant(t.Context(), "acme", false, audit("tenant.update", "acme"), rename)
	require.NoError(t, err)
	require.Equal(t, "New", got.DisplayName)
	require.EqualValues(t, 2, got.Revision)
	require.Equal(t, "open sesame", got.InstallToken)

	refusal := &tenants.Error{Code: tenants.CodeInvalid, Message: "no"}
	_, err = b.store.ChangeTenant(t.Context(), "acme", false, audit("tenant.update", "acme"), func(*tenants.Tenant) error { return refusal })
	require.ErrorIs(t, err, refusal)
	_, err = b.store.ChangeTenant(t.Context(), "nobody", false, audit("tenant.update", "nobody"), rename)
	require.True(t, tenants.HasReason(err, tenants.ReasonTenantNotFound))
	require.Equal(t, 2, b.count(t, `select count(*) from audit where key_id = 'tester' and request_id = 'q1'`), "one line per stored change")
}

func TestTenantsFilter(t *testing.T) {
	t.Parallel()
	b := setupRegistry(t)
	now := time.Now()
	for i, id := range []string{"aaa", "bbb", "ccc", "ddd"} {
		x := sample(id)
		x.Labels["n"] = id[:1]
		x.Suspended = i == 1
		if i == 2 {
			x.ExpiresAt = now.Add(-time.Minute)
		}
		if i == 3 {
			x.Release = "0.8.2"
		}
		b.create(t, x)
	}
	gone := sample("eee")
	b.create(t, gone)
	_, err := b.store.ChangeTenant(t.Context(), "eee", false, audit("tenant.delete", "eee"), func(x *tenants.Tenant) error {
		return x.Apply(tenants.EventDelete, now, time.Time{})
	})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		filter tenants.Filter
		ids    string
		total  int
	}{
		"all but deleted": {tenants.Filter{}, "aaa bbb ccc ddd", 4},
		"with deleted":    {tenants.Filter{ShowDeleted: true}, "aaa bbb ccc ddd eee", 5},
		"active":          {tenants.Filter{State: tenants.StateActive}, "aaa ddd", 2},
		"suspended":       {tenants.Filter{State: tenants.StateSuspended}, "bbb", 1},
		"expired":         {tenants.Filter{State: tenants.StateExpired}, "ccc", 1},
		"deleted":         {tenants.Filter{State: tenants.StateDeleted}, "eee", 1},
		"release":         {tenants.Filter{Release: "0.8.2"}, "ddd", 1},
		"labels":          {tenants.Filter{Labels: map[string]string{"n": "b", "ring": "canary"}}, "bbb", 1},
		"page":            {tenants.Filter{AfterID: "aaa", Limit: 2}, "bbb ccc", 4},
	} {
		c.filter.Now, c.filter.Count = now, true
		found, total, err := b.store.Tenants(t.Context(), c.filter)
		require.NoError(t, err, name)
		var ids []string
		for _, x := range found {
			ids = append(ids, x.ID)
			require.True(t, c.filter.State == "" || x.StateAt(now) == c.filter.State, "%s: SQL and Go disagree about %s", name, x.ID)
		}
		require.Equal(t, c.ids, strings.Join(ids, " "), name)
		require.Equal(t, c.total, total, name)
	}
}

func TestSubscriptionReportsChanges(t *testing.T) {
	t.Parallel()
	b := setupRegistry(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	sub, err := b.store.Subscribe(ctx)
	require.NoError(t, err)
	defer sub.Close()

	b.create(t, sample("acme"))
	// With no time to wait, the heartbeat itself must bring what was
	// committed before it.
	c, err := sub.Next(ctx, 0)
	require.NoError(t, err)
	require.Equal(t, tenants.Change{Kind: tenants.ChangeTenant, ID: "acme"}, c)
	c, err = sub.Next(ctx, 0)
	require.NoError(t, err)
	require.Equal(t, tenants.Change{}, c)

	b.create(t, sample("beta"))
	c, err = sub.Next(ctx, 10*time.Second)
	require.NoError(t, err)
	require.Equal(t, "beta", c.ID)
	c, err = sub.Next(ctx, 50*time.Millisecond)
	require.NoError(t, err)
	require.Equal(t, tenants.Change{}, c)

	stop, halt := context.WithCancel(ctx)
	halt()
	_, err = sub.Next(stop, time.Second)
	require.Error(t, err)
}

func TestSchemaVersion(t *testing.T) {
	t.Parallel()
	b := setupRegistry(t)
	require.NoError(t, b.db.CheckVersion(t.Context()))
	require.NoError(t, db.Migrate(t.Context(), b.dsn), "migrating twice changes nothing")

	empty, err := db.Open(t.Context(), devtest.Database(t, nil))
	require.NoError(t, err)
	defer empty.Close()
	require.ErrorContains(t, empty.CheckVersion(t.Context()), "run tms migrate")
}

func TestOpenHidesThePassword(t *testing.T) {
	t.Parallel()
	for _, dsn := range []string{"postgres://u:hunter2@127.0.0.1:1/db", "postgres://u:hunter2@:bad:/db", "hunter2"} {
		_, err := db.Open(t.Context(), dsn)
		require.Error(t, err)
		require.NotContains(t, err.Error(), "hunter2")
	}
}
