package upgrader_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/upgrader"
)

// TestUpgradeUnderWrites is the main job on a small release.
func TestUpgradeUnderWrites(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tenant := b.tenant("0.8.1", 3)
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

// run upgrades tenants to a release and expects it to be complete.
func (b *bundle) run(to string, o upgrader.Options, tenants ...*fleet.Tenant) *upgrader.Rollout {
	b.t.Helper()
	r := b.ended(b.start(to, o, tenants...).ID)
	if r.State != upgrader.RolloutComplete {
		docs, err := b.service.Quarantine(b.t.Context(), upgrader.QuarantineFilter{RolloutID: r.ID})
		b.t.Logf("quarantine: %+v, %v", docs, err)
	}
	require.Equal(b.t, upgrader.RolloutComplete, r.State, describe(r))
	return r
}

// Forth, back and forth again gives what one upgrade gives, with writes in
// between; finalize then leaves nothing of the old version.
func TestForthBackForth(t *testing.T) {
	long(t)
	t.Parallel()
	b := setup(t)
	tenant := b.tenant("0.8.1", 2)
	require.NoError(t, tenant.Fill(t.Context(), 400))
	b.worker(b.engine)

	first := b.run("0.8.2", upgrader.Options{}, tenant)
	b.judge(tenant, first, "0.8.2")

	_, err := b.service.Rollback(t.Context(), upgrader.Command{RolloutID: first.ID, Caller: "test"})
	require.NoError(t, err)
	back := b.until(first.ID, func(r *upgrader.Rollout) bool { return r.State == upgrader.RolloutRolledBack })
	require.Equal(t, upgrader.TenantRolledBack, back.Tenants[0].State)
	require.Equal(t, "0.8.1", b.registered(tenant.Name()))
	b.judge(tenant, back, "0.8.1")

	// The old version takes writes again.
	writer := tenant.StartWriter(t.Context(), fleet.WriterConfig{Rate: 200, Bulk: 5})
	require.NoError(t, writer.Wait(t.Context(), func(s fleet.WriterStats) bool { return s.Acknowledged > 60 }))
	require.NoError(t, writer.Stop())
	require.Zero(t, writer.Stats().Refused)

	again := b.run("0.8.2", upgrader.Options{}, tenant)
	b.judge(tenant, again, "0.8.2")

	// A month that an old container met since the switch, and one that somebody
	// has made by hand and filled.
	month, filled := "08x."+tenant.Name()+".tracardi-event-2031-1", "08x."+tenant.Name()+".tracardi-event-2031-2"
	require.NoError(t, b.engine.CreateIndex(t.Context(), month, upgrader.IndexBody{}))
	require.NoError(t, b.engine.CreateIndex(t.Context(), filled, upgrader.IndexBody{Settings: map[string]any{"blocks": map[string]any{"write": false}}}))
	wrote, err := b.engine.Bulk(t.Context(), []upgrader.BulkOp{{Index: filled, ID: "1", Source: []byte(`{"id": "1"}`)}})
	require.NoError(t, err)
	require.True(t, wrote[0].OK, "%+v", wrote)

	_, err = b.service.Finalize(t.Context(), upgrader.Command{RolloutID: again.ID, Caller: "test"})
	require.NoError(t, err)
	again = b.until(again.ID, func(r *upgrader.Rollout) bool { return r.State == upgrader.RolloutFinalized })
	left, err := b.engine.Indices(t.Context(), "08x."+tenant.Name()+".*", "prod-08x."+tenant.Name()+".*")
	require.NoError(t, err)
	require.Len(t, left, 1, "what holds documents of somebody stays")
	require.Equal(t, filled, left[0].Name)
	require.False(t, left[0].WriteBlocked)
	require.Contains(t, strings.Join(again.Tenants[0].Record.Notes, "; "), filled)
	require.NoError(t, b.engine.DeleteIndices(t.Context(), filled))
	b.judge(tenant, again, "0.8.2")
	_, err = b.service.Rollback(t.Context(), upgrader.Command{RolloutID: again.ID})
	require.ErrorContains(t, err, "not finalized")
}

// The whole way in one rollout: no version is skipped, no intermediate index
// is built.
func TestChain(t *testing.T) {
	long(t)
	t.Parallel()
	b := setup(t)
	tenant := b.tenant("0.8.0", 2)
	require.NoError(t, tenant.Fill(t.Context(), 400))
	b.worker(b.engine)
	plan, err := b.service.Plan(t.Context(), upgrader.Request{ToRelease: "0.8.2", Options: upgrader.Options{Tenants: []string{tenant.Name()}}})
	require.NoError(t, err)
	require.Equal(t, []string{"0.8.0", "0.8.1", "0.8.2"}, plan.Tenants[0].Path)

	r := b.run("0.8.2", upgrader.Options{}, tenant)
	b.judge(tenant, r, "0.8.2")
	between, err := b.engine.Indices(t.Context(), "08x."+tenant.Name()+".*")
	require.NoError(t, err)
	require.Empty(t, between)

	same := b.run("0.8.2", upgrader.Options{}, tenant)
	require.Equal(t, upgrader.TenantSwitched, same.Tenants[0].State)
	require.Zero(t, same.Tenants[0].Indices)

	_, err = b.service.Start(t.Context(), upgrader.Request{ToRelease: "0.8.1", Options: upgrader.Options{Tenants: []string{tenant.Name()}}})
	var se *upgrader.ServiceError
	require.ErrorAs(t, err, &se)
	require.Equal(t, "no_path", se.Refusals[0].Code)
}

// Documents that the target refuses are kept aside and stop only their tenant.
func TestAwkwardDocuments(t *testing.T) {
	long(t)
	t.Parallel()
	b := setup(t)
	tenant := b.tenant("0.8.1", 3)
	require.NoError(t, tenant.Fill(t.Context(), 300))
	odd, err := tenant.Awkward(t.Context(), true)
	require.NoError(t, err)
	b.worker(b.engine)

	r := b.ended(b.start("0.8.2", upgrader.Options{}, tenant).ID)
	require.Equal(t, upgrader.RolloutFailed, r.State)
	x := r.Tenants[0]
	require.Contains(t, x.Reason, "quarantine")
	require.True(t, x.Retriable)
	require.NotZero(t, x.Quarantined)
	docs, err := b.service.Quarantine(t.Context(), upgrader.QuarantineFilter{RolloutID: r.ID})
	require.NoError(t, err)
	for _, d := range docs {
		require.NotEmpty(t, d.Reason)
		require.NotEmpty(t, d.Source, "%s %s is not kept whole", d.Index, d.ID)
	}
	require.Len(t, docs, odd.Quarantine, "%v", docs)
	// Nothing is switched, nothing is fenced.
	writer := tenant.StartWriter(t.Context(), fleet.WriterConfig{Rate: 200})
	require.NoError(t, writer.Wait(t.Context(), func(s fleet.WriterStats) bool { return s.Acknowledged > 20 }))
	require.NoError(t, writer.Stop())
	require.Zero(t, writer.Stats().Refused)

	allowed := len(docs)
	_, err = b.service.Retry(t.Context(), upgrader.Command{RolloutID: r.ID, AllowQuarantine: &allowed})
	require.NoError(t, err)
	r = b.ended(r.ID)
	require.Equal(t, upgrader.RolloutComplete, r.State, describe(r))
	b.judge(tenant, r, "0.8.2")
}

// A held tenant waits, catching up, without a single refused write, until the
// operator lets it pass.
func TestHoldPauseResumeSwitch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tenant := b.tenant("0.8.1", 1)
	require.NoError(t, tenant.Fill(t.Context(), 200))
	b.worker(b.engine)
	writer := tenant.StartWriter(t.Context(), fleet.WriterConfig{Rate: 50})
	r := b.start("0.8.2", upgrader.Options{HoldSwitch: true}, tenant)
	b.until(r.ID, func(r *upgrader.Rollout) bool {
		return r.Tenants[0].State == upgrader.TenantCompared && r.Tenants[0].Reason != ""
	})
	require.Zero(t, writer.Stats().Refused)
	_, err := b.service.Pause(t.Context(), upgrader.Command{RolloutID: r.ID})
	require.NoError(t, err)
	_, err = b.service.Switch(t.Context(), upgrader.Command{RolloutID: r.ID})
	require.NoError(t, err)
	require.Equal(t, upgrader.RolloutPaused, b.until(r.ID, func(*upgrader.Rollout) bool { return true }).State)
	_, err = b.service.Resume(t.Context(), upgrader.Command{RolloutID: r.ID})
	require.NoError(t, err)
	r = b.ended(r.ID)
	require.Equal(t, upgrader.RolloutComplete, r.State, describe(r))
	require.NoError(t, writer.Stop())
	b.judge(tenant, r, "0.8.2")
}

// Cancelling undoes what was made and leaves the tenant as it was.
func TestCancel(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tenant := b.tenant("0.8.1", 1)
	require.NoError(t, tenant.Fill(t.Context(), 200))
	b.worker(b.engine)
	r := b.start("0.8.2", upgrader.Options{HoldSwitch: true}, tenant)
	b.until(r.ID, func(r *upgrader.Rollout) bool { return r.Tenants[0].State == upgrader.TenantCompared })
	_, err := b.service.Cancel(t.Context(), upgrader.Command{RolloutID: r.ID})
	require.NoError(t, err)
	r = b.until(r.ID, func(r *upgrader.Rollout) bool { return r.State == upgrader.RolloutCancelled })
	require.Equal(t, upgrader.TenantCancelled, r.Tenants[0].State)
	left, err := b.engine.Indices(t.Context(), "0820."+tenant.Name()+".*", "prod-0820."+tenant.Name()+".*", "static-0820."+tenant.Name()+".*")
	require.NoError(t, err)
	require.Empty(t, left)
	b.judge(tenant, r, "0.8.1")
	require.Equal(t, upgrader.RolloutComplete, b.ended(b.start("0.8.2", upgrader.Options{}, tenant).ID).State)
}
