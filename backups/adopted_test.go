package backups_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/backups"
	"github.com/tracardi/tms/internal/devstack/devtest"
	"github.com/tracardi/tms/internal/fleet"
)

// A tenant that was a single-tenant installation has its indices under a code
// name until its first upgrade: these are what is saved and brought back.
func TestAdoptedTenant(t *testing.T) {
	t.Parallel()
	b := setup(t, devtest.Engine(t))
	b.worker(b.engine)
	repo := b.repository(backups.KindFS)
	id := devtest.Prefix(t)
	code := "code-" + id
	tenant, err := fleet.New(fleet.Config{URL: b.url, Catalogue: b.catalogue, Release: "0.8.1", Tenant: id, CodeName: code, Seed: 1, Months: 1})
	require.NoError(t, err)
	require.NoError(t, tenant.Install(b.ctx))
	require.NoError(t, tenant.Fill(b.ctx, 120))
	_, err = b.db.Pool().Exec(b.ctx, `insert into tenants (id, install_token, release, cluster, adopted_from) values ($1, '', '0.8.1', 'default', $2)`, id, "08x."+code)
	require.NoError(t, err)

	snap := b.snapshot(repo.Name, backups.SnapshotOrder{Selection: only(tenant), Digest: true})

	require.Positive(t, snap.Snapshot.Docs)
	b.verified(tenant, snap.ID)
	b.must("POST", "/08x."+code+".*/_delete_by_query?refresh=true&conflicts=proceed", `{"query":{"match_all":{}}}`)
	b.verified(tenant, "")
	b.restore(backups.RestoreOrder{Snapshot: snap.ID, Tenant: id, Replace: true})
	b.judge(tenant, "0.8.1")
	require.NoError(t, tenant.Remove(b.ctx))
	b.restore(backups.RestoreOrder{Snapshot: snap.ID, Tenant: id})
	b.judge(tenant, "0.8.1")
	require.Contains(t, b.must("GET", "/_cat/indices?h=index", ""), "08x."+code+".")
	require.NotContains(t, b.must("GET", "/_cat/indices?h=index", ""), "08x."+id+".")
}
