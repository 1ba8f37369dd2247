package upgrader_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/upgrader"
)

// A rollout that its tenant was led back from otherwise, by a restore, has lost
// its claim on the old version when a later one has upgraded the tenant again.
func TestFinalizeOfWhatWasUpgradedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.catalogue = b.catalogue.Restrict("rule", "event")
	b.service = upgrader.NewService(b.store, b.engine, b.catalogue, nil)
	tenant := b.tenant("0.8.1", 1)
	require.NoError(t, tenant.Fill(t.Context(), 50))
	b.worker(b.engine)
	first := b.run("0.8.2", upgrader.Options{}, tenant)
	b.rolledBack(first.ID)
	for _, sql := range []string{ // as a restore leaves it
		`update rollout_tenants set state = 'switched' where rollout_id = $1`,
		`update rollouts set state = 'complete' where id = $1`,
	} {
		_, err := b.pool.Exec(t.Context(), sql, first.ID)
		require.NoError(t, err)
	}
	again := b.run("0.8.2", upgrader.Options{}, tenant)
	_, err := b.service.Finalize(t.Context(), upgrader.Command{RolloutID: first.ID})
	require.NoError(t, err)
	r := b.until(first.ID, func(r *upgrader.Rollout) bool { return r.Tenants[0].Reason != "" })
	require.Contains(t, r.Tenants[0].Reason, again.ID)
	require.NotNil(t, b.one("08x."+tenant.Name()+".tracardi-rule"))
	back := b.rolledBack(again.ID)
	report, err := tenant.Judge(t.Context(), fleet.Expect{Release: "0.8.1"})
	require.NoError(t, err)
	require.True(t, report.OK(), report.String())
	require.Equal(t, upgrader.RolloutRolledBack, back.State)
}
