package e2e

import (
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAwkwardDocuments has documents that the next release cannot hold: the
// tenant stays where it is until the operator allows for them.
func TestAwkwardDocuments(t *testing.T) {
	t.Parallel()
	b := setup(t).seeded().serve(1)
	only := append([]string{"flow"}, small...)
	odd := b.tenant("0.8.1", 3, 500, only...)
	sound := b.tenant("0.8.1", 1, 100, "rule", "profile")
	awkward, err := odd.Awkward(b.ctx, true)
	require.NoError(t, err)
	require.Positive(t, awkward.Quarantine)

	code, r := b.rollout("start", "--to", "0.8.2", "--wait")
	require.Equal(t, 1, code, describe(r))
	require.Equal(t, "failed", r.GetState())
	for _, one := range r.GetTenants() {
		if one.GetTenantId() == sound.Name() {
			require.Equal(t, "switched", one.GetState(), "one tenant's documents are no other tenant's trouble")
			continue
		}
		require.Equal(t, "failed", one.GetState())
		require.Equal(t, "0.8.1", one.GetRelease())
		require.EqualValues(t, awkward.Quarantine, one.GetQuarantined())
		require.Contains(t, one.GetReason(), "quarantine")
	}
	odd.unfenced("08x")
	odd.judge("0.8.1")
	sound.judge("0.8.2", r.GetId())

	counted := 0
	for _, d := range b.quarantine(r.GetId()) {
		require.Equal(t, odd.Name(), d.TenantID)
		require.NotEmpty(t, d.Reason)
		require.NotEmpty(t, d.Source)
		if d.Kind == "refused" || d.Kind == "duplicate" {
			counted++
		}
	}
	require.Equal(t, awkward.Quarantine, counted)

	code, r = b.rollout("retry", r.GetId(), "--allow-quarantine", strconv.Itoa(awkward.Quarantine), "--wait")
	require.Zero(t, code, describe(r))
	report := odd.judge("0.8.2", r.GetId())
	require.Equal(t, awkward.Quarantine, report.Quarantined)
	require.Equal(t, 500+awkward.Written-awkward.Quarantine, report.Documents)
}

// TestWreck has an index that a container of the next version left behind,
// started too early: made by its first write, with whatever mapping that gave.
func TestWreck(t *testing.T) {
	t.Parallel()
	b := setup(t).serve(1)
	tenant := b.tenant("0.8.1", 1, 200, small...)
	wreck := "0820." + tenant.Name() + ".tracardi-source"
	b.must(http.MethodPut, "/"+wreck+"/_doc/early?refresh=true", `{"name":"made too early","timestamp":"2026-01-01T00:00:00","type":["rest"]}`)
	b.must(http.MethodPut, "/prod-"+wreck, `{"settings":{"number_of_replicas":0}}`) // an interrupted run's, empty

	r := b.upgrade("0.8.2")
	tenant.judge("0.8.2", r.GetId())
	list := b.quarantine(r.GetId())
	require.Len(t, list, 1)
	require.Equal(t, "leftover", list[0].Kind)
	require.Equal(t, wreck, list[0].Index)
	require.Equal(t, "early", list[0].ID)
	require.JSONEq(t, `{"name":"made too early","timestamp":"2026-01-01T00:00:00","type":["rest"]}`, string(list[0].Source))
	require.Zero(t, r.GetTenants()[0].GetQuarantined(), "what nobody reads does not count")
}

// TestInterruptedRun cancels a rollout that has made its targets and starts
// another one.
func TestInterruptedRun(t *testing.T) {
	t.Parallel()
	b := setup(t).seeded().serve(1)
	tenant := b.tenant("0.8.1", 2, 300, small...)
	code, r := b.rollout("start", "--to", "0.8.2", "--hold-switch")
	require.Zero(t, code)
	b.until(r.GetId(), reached("compared"))
	tenant.judge("0.8.1") // copied and compared, and nobody sees it
	code, r = b.rollout("cancel", r.GetId(), "--wait")
	require.Zero(t, code, describe(r))
	require.Equal(t, "cancelled", r.GetState())
	status, _ := b.ask(http.MethodGet, "/0820."+tenant.Name()+".tracardi-rule", "")
	require.Equal(t, http.StatusNotFound, status)
	tenant.judge("0.8.1")
	tenant.unfenced("08x")

	next := b.upgrade("0.8.2")
	tenant.judge("0.8.2", next.GetId())
}
