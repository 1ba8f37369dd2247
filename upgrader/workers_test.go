package upgrader_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/upgrader"
)

// A process that may work on one tenant at a time brings several through, one
// rollout of which may have more in flight.
func TestOneWorker(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var tenants []*fleet.Tenant
	for range 3 {
		tenant := b.tenant("0.8.1", 1)
		require.NoError(t, tenant.Fill(t.Context(), 50))
		tenants = append(tenants, tenant)
	}
	runner := upgrader.NewRunner(b.store, b.engine, b.catalogue, "worker", upgrader.Limits{Tenants: 1}, b.log)
	require.Equal(t, 1, runner.Tenants())
	b.queue(runner)
	r := b.run("0.8.2", upgrader.Options{MaxTenants: 3}, tenants...)
	for _, tenant := range tenants {
		b.judge(tenant, r, "0.8.2")
	}
}
