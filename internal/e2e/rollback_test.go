package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/fleet"
)

// TestForthBackForth upgrades one tenant twice, with a rollback between, and
// its twin with the same documents once: both must end the same.
func TestForthBackForth(t *testing.T) {
	t.Parallel()
	b := setup(t).seeded().serve(1)
	often := b.tenant("0.8.1", 2, 500, small...)
	once := b.tenant("0.8.1", 2, 500, small...)

	first := b.upgrade("0.8.2", "--tenant", often.Name())
	often.judge("0.8.2", first.GetId())
	code, back := b.rollout("rollback", first.GetId(), "--wait")
	require.Zero(t, code, describe(back))
	require.Equal(t, "rolled_back", back.GetState())
	require.Equal(t, "0.8.1", back.GetTenants()[0].GetRelease())
	require.Zero(t, back.GetTenants()[0].GetWritesSinceSwitch())
	often.judge("0.8.1", first.GetId())
	often.unfenced("08x")

	both := b.upgrade("0.8.2")
	again, single := often.judge("0.8.2", both.GetId()), once.judge("0.8.2", both.GetId())
	require.Equal(t, single.Documents, again.Documents)
	require.Equal(t, single.Indices, again.Indices)
	require.Empty(t, b.quarantine(both.GetId()), "what the first upgrade left behind is nobody's loss")

	// Back once more, with a writer at work all the time.
	writer := often.StartWriter(b.ctx, fleet.WriterConfig{Rate: 60, Bulk: 5, Seed: seed})
	require.NoError(t, writer.Wait(b.ctx, func(s fleet.WriterStats) bool { return s.Inserted > 20 && s.Updated > 10 && s.Deleted > 3 }))
	code, back = b.rollout("rollback", both.GetId(), "--tenant", often.Name(), "--wait")
	require.Zero(t, code, describe(back))
	require.NoError(t, writer.Wait(b.ctx, func(s fleet.WriterStats) bool { return s.Release == "0.8.1" }))
	require.NoError(t, writer.Stop())
	for _, one := range back.GetTenants() {
		if one.GetTenantId() == often.Name() {
			require.Positive(t, one.GetWayBack().GetCarried())
		} else {
			require.Equal(t, "switched", one.GetState(), "only the named tenant goes back")
		}
	}
	often.judge("0.8.1", both.GetId())
}

// TestChain goes over two releases in one rollout, and no further than needed.
func TestChain(t *testing.T) {
	t.Parallel()
	b := setup(t).seeded().serve(1)
	tenant := b.tenant("0.8.0", 2, 600, small...)

	plan := b.tms("upgrade", "plan", "--to", "0.8.2", "-o", "json")
	require.Zero(t, plan.code, plan.stderr)
	require.Regexp(t, `"path": \[\s*"0\.8\.0",\s*"0\.8\.1",\s*"0\.8\.2"\s*\]`, plan.stdout, "every release on the way is part of it")

	r := b.upgrade("0.8.2")
	require.Equal(t, "0.8.0", r.GetTenants()[0].GetFromRelease())
	tenant.judge("0.8.2", r.GetId())

	began := time.Now()
	nothing := b.upgrade("0.8.2")
	require.Less(t, time.Since(began), 10*time.Second)
	require.Zero(t, nothing.GetTenants()[0].GetIndices())
	require.Equal(t, "nothing to do", nothing.GetTenants()[0].GetVerification().GetVerdict())
	tenant.judge("0.8.2", r.GetId())
}
