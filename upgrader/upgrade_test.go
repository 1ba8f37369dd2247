package upgrader_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/upgrader"
)

// TestUpgradeUnderWrites is the main job on a small release.
func TestUpgradeUnderWrites(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tenant := b.tenant("0.8.1", 3, smallRelease...)
	require.NoError(t, tenant.Fill(t.Context(), 3000))
	b.worker(b.engine)
	watch := tenant.Watch(t.Context())
	writer := tenant.StartWriter(t.Context(), fleet.WriterConfig{Rate: 100, Bulk: 10})
	require.NoError(t, writer.Wait(t.Context(), func(s fleet.WriterStats) bool { return s.Acknowledged > 50 }))

	r := b.ended(b.start("0.8.2", upgrader.Options{}, tenant).ID)

	require.Equal(t, upgrader.RolloutComplete, r.State, describe(r))
	n := writer.Stats().Acknowledged
	require.NoError(t, writer.Wait(t.Context(), func(s fleet.WriterStats) bool { return s.Acknowledged > n+20 }))
	require.NoError(t, writer.Stop())
	res := watch.Stop()
	t.Logf("fence %s, writer %+v, watch %+v", r.Tenants[0].Fence, writer.Stats(), res)
	require.Equal(t, "0.8.2", b.registered(tenant.Name()))
	b.judge(tenant, r, "0.8.2")
}
