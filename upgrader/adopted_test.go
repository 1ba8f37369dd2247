package upgrader_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/devstack/devtest"
	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/upgrader"
)

// installation puts a single-tenant installation into the engine and adopts it.
func (b *bundle) installation(release string) (tenant *fleet.Tenant, codeName string) {
	b.t.Helper()
	id := devtest.Prefix(b.t)
	codeName = "code-" + id
	tenant, err := fleet.New(fleet.Config{URL: b.url, Catalogue: b.catalogue, Release: release, Tenant: id, CodeName: codeName, Seed: 1, Months: 2})
	require.NoError(b.t, err)
	require.NoError(b.t, tenant.Install(b.t.Context()))
	r, err := b.catalogue.Get(release)
	require.NoError(b.t, err)
	_, err = b.pool.Exec(b.t.Context(), `insert into tenants (id, install_token, release, cluster, adopted_from) values ($1, '', $2, 'default', $3)`, id, release, r.Prefix+"."+codeName)
	require.NoError(b.t, err)
	return tenant, codeName
}

// standing are the indices whose names begin with the prefix and a name.
func (b *bundle) standing(prefix, name string) []string {
	b.t.Helper()
	all, err := b.engine.Indices(b.t.Context(), prefix+"."+name+".*", "prod-"+prefix+"."+name+".*")
	require.NoError(b.t, err)
	var out []string
	for _, ix := range all {
		out = append(out, ix.Name)
	}
	return out
}

// A single-tenant installation of 0.7.4, in which there is neither a tenant nor
// production, becomes a tenant: forth under writes, back to the names and
// templates that it had, forth again over three releases, and finalized.
func TestAdoptedInstallation(t *testing.T) {
	long(t)
	t.Parallel()
	b := setup(t)
	tenant, code := b.installation("0.7.4")
	require.NoError(t, tenant.Fill(t.Context(), 600))
	old := b.standing("074", code)
	require.NotEmpty(t, old)
	b.worker(b.engine)
	writer := tenant.StartWriter(t.Context(), fleet.WriterConfig{Rate: 100, Bulk: 10})
	require.NoError(t, writer.Wait(t.Context(), func(s fleet.WriterStats) bool { return s.Acknowledged > 50 }))

	first := b.run("0.8.0", upgrader.Options{}, tenant)

	n := writer.Stats().Acknowledged
	require.NoError(t, writer.Wait(t.Context(), func(s fleet.WriterStats) bool { return s.Acknowledged > n+20 }))
	require.NoError(t, writer.Stop())
	require.Equal(t, "0.8.0", b.registered(tenant.Name()))
	b.judge(tenant, first, "0.8.0")
	require.Equal(t, old, b.standing("074", code))
	require.Empty(t, b.standing("074", tenant.Name()))
	require.NotEmpty(t, b.standing("080", tenant.Name()))
	require.Empty(t, b.standing("080", code))
	seen, err := b.engine.Aliases(t.Context(), code+".*")
	require.NoError(t, err)
	require.Empty(t, seen, "nobody reads the old version under the code name any more")

	_, err = b.service.Rollback(t.Context(), upgrader.Command{RolloutID: first.ID, Caller: "test"})
	require.NoError(t, err)
	back := b.until(first.ID, func(r *upgrader.Rollout) bool { return r.State == upgrader.RolloutRolledBack })
	require.Equal(t, "0.7.4", b.registered(tenant.Name()))
	b.judge(tenant, back, "0.7.4")

	again := b.run("0.8.2", upgrader.Options{}, tenant)
	b.judge(tenant, again, "0.8.2")
	require.Empty(t, b.standing("08x", tenant.Name()))

	_, err = b.service.Finalize(t.Context(), upgrader.Command{RolloutID: again.ID, Caller: "test"})
	require.NoError(t, err)
	b.until(again.ID, func(r *upgrader.Rollout) bool { return r.State == upgrader.RolloutFinalized })
	require.Empty(t, b.standing("074", code))
	left, err := b.engine.Templates(t.Context(), "template."+code+".*")
	require.NoError(t, err)
	require.Empty(t, left)
	b.judge(tenant, again, "0.8.2")
}

// Installations of 0.8.0 and 0.8.1 have production as well: what is in it goes
// forth, and what is written there comes back.
func TestAdoptedLaterInstallations(t *testing.T) {
	long(t)
	t.Parallel()
	for release, prefix := range map[string]string{"0.8.0": "080", "0.8.1": "08x"} {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			tenant, code := b.installation(release)
			require.NoError(t, tenant.Fill(t.Context(), 200))
			old := b.standing(prefix, code)
			b.worker(b.engine)

			r := b.run("0.8.2", upgrader.Options{}, tenant)

			b.judge(tenant, r, "0.8.2")
			require.Equal(t, old, b.standing(prefix, code))
			require.NotEmpty(t, b.standing("0820", tenant.Name()))
			seen, err := b.engine.Aliases(t.Context(), code+".*", "prod-"+code+".*")
			require.NoError(t, err)
			require.Empty(t, seen, "nobody reads the old version under the code name any more")
			writer := tenant.StartWriter(t.Context(), fleet.WriterConfig{Rate: 100, Bulk: 10})
			require.NoError(t, writer.Wait(t.Context(), func(s fleet.WriterStats) bool { return s.Acknowledged > 60 }))
			require.NoError(t, writer.Stop())

			back := b.rolledBack(r.ID)

			require.Equal(t, release, b.registered(tenant.Name()))
			b.judge(tenant, back, release)
		})
	}
}
