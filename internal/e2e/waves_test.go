package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// strategyFile: a canary that is checked and approved, then the rest.
const strategyFile = `
canary:
  tenants: [%s]
  between:
    approval: true
    check_for: 5m
    checks:
      - name: api
        http: {url: "%s/{tenant}"}
      - name: events
        query: {alias: tracardi-event, match: {match_all: {}}, at_least: 1}
      - name: change board
        webhook: {url: "%s/ask"}
failure_budget: {tolerate: 0, then: stop}
order: small_first
`

// A rollout of the whole fleet in waves: the canary goes first, is checked and
// approved, while a process is killed and a tenant comes into being; one tenant
// is excepted. It ends complete, with every tenant on the release or excepted.
func TestWaves(t *testing.T) {
	t.Parallel()
	b := setup(t).seeded()
	b.env = append(b.env, "TMS_WEBHOOK_ALLOW_NETWORKS=127.0.0.0/8")
	b.serve(2)
	var healthy atomic.Bool
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/ask":
			_, _ = fmt.Fprint(w, `{"open": true}`)
		case !healthy.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(receiver.Close)
	canary, second := b.tenant("0.8.1", 1, 60, small...), b.tenant("0.8.1", 1, 60, small...)
	b.register("leftout", "0.8.1")
	file := filepath.Join(b.dir, "strategy.yaml")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, strategyFile, canary.Name(), receiver.URL, receiver.URL), 0o600))

	code, r := b.rollout("start", "--to", "0.8.2", "--verify", "sample", "--strategy", file, "--except", "leftout=has no indices yet")
	require.Zero(t, code)
	waiting := b.until(r.GetId(), func(r *tmsv1.Rollout) bool {
		return r.GetWaves()[0].GetState() == "checking" && len(r.GetWaves()[0].GetChecks()) == 3
	})
	require.Contains(t, waiting.GetWaves()[0].GetChecks()[0].GetText(), "answered 503")
	require.True(t, waiting.GetWaves()[0].GetChecks()[1].GetOk(), waiting.GetWaves()[0].GetChecks()[1].GetText())
	for _, x := range waiting.GetTenants() {
		if x.GetTenantId() == second.Name() {
			require.True(t, x.GetWaiting())
			require.Contains(t, x.GetReason(), "gate canary_done: the canary is")
		}
	}

	// It does not matter who conducts.
	b.servers[1].Kill()
	require.NoError(t, b.servers[1].Start(b.ctx))
	late := b.tenant("0.8.1", 1, 60, small...) // comes into being during the rollout
	healthy.Store(true)
	b.until(r.GetId(), func(r *tmsv1.Rollout) bool { return r.GetWaves()[0].GetState() == "awaiting_approval" })
	got := b.tms("upgrade", "gates", r.GetId(), second.Name(), "-o", "json")
	require.Zero(t, got.code, got.stderr)
	gates := &tmsv1.RolloutGates{}
	require.NoError(t, protojson.Unmarshal([]byte(got.stdout), gates))
	require.False(t, gates.GetReports()[0].GetOpen())
	closed := map[string]string{}
	for _, v := range gates.GetReports()[0].GetGates() {
		if !v.GetOpen() {
			closed[v.GetGate()] = v.GetRemedy()
		}
	}
	require.Contains(t, closed["canary_done"], "tms upgrade approve "+r.GetId()+" --wave 1")

	code, _ = b.rollout("approve", r.GetId(), "--wave", "1")
	require.Zero(t, code)
	end := b.until(r.GetId(), func(r *tmsv1.Rollout) bool { return r.GetState() != "running" })
	require.Equal(t, "complete", end.GetState(), describe(end))
	require.Equal(t, "done", end.GetWaves()[1].GetState())
	for _, x := range end.GetTenants() {
		if x.GetTenantId() == "leftout" {
			require.Equal(t, "has no indices yet", x.GetExcepted())
			continue
		}
		require.Equal(t, "switched", x.GetState(), x.GetTenantId())
	}
	for _, x := range []*tenant{canary, second, late} {
		x.judge("0.8.2", end.GetId())
	}
}
