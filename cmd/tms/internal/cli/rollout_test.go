package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// printed is what a function prints, without the blanks at the ends of lines.
func printed(t *testing.T, f func(*app) error) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, f(&app{out: &b, err: &b}))
	lines := strings.Split(b.String(), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return strings.Join(lines, "\n")
}

// Where there are waves the table says in which one a tenant is, and what all of
// a wave wait for is told once.
func TestTenantTable(t *testing.T) {
	t.Parallel()
	why := "gate canary_done: the canary is awaiting approval (`tms upgrade approve r1 --wave 1`)"
	r := &tmsv1.Rollout{
		Id: "r1", State: "running",
		Waves: []*tmsv1.Wave{{Number: 1, Name: "canary", State: "awaiting_approval"}, {Number: 2, Name: "rest", State: "pending", Reason: why}},
		Tenants: []*tmsv1.RolloutTenant{
			{TenantId: "acme", Cluster: "default", Wave: 1, State: "switched", Seconds: 5.7},
			{TenantId: "globex", Cluster: "eu", Wave: 2, State: "planned", Waiting: true, Reason: why, Verification: &tmsv1.Verification{Level: "full"}},
			{TenantId: "hooli", Cluster: "eu", Wave: 2, State: "planned", Waiting: true, Reason: "gate tenant_active: the tenant is suspended"},
			{TenantId: "left", Cluster: "default", State: "cancelled", Excepted: "moves away"},
		},
	}
	header, rows := tenantTable(r)
	require.Equal(t, []string{"tenant", "cluster", "wave"}, header[:3])
	for i, want := range []struct{ cluster, wave, took, reason string }{
		{"default", "1", "5.7s", ""}, {"eu", "2", "", "see wave 2"},
		{"eu", "2", "", "gate tenant_active: the tenant is suspended"}, {"default", "", "", "excepted: moves away"},
	} {
		row := rows[i]
		require.Len(t, row, len(header))
		require.Equal(t, want.cluster, row[1])
		require.Equal(t, want.wave, row[2])
		require.Equal(t, want.took, row[len(row)-2])
		require.Equal(t, want.reason, row[len(row)-1])
		require.Empty(t, row[len(row)-3]+row[len(row)-4], "nothing is verified yet")
	}
	r.Waves = r.GetWaves()[:1]
	header, rows = tenantTable(r)
	require.NotContains(t, header, "wave")
	require.Len(t, rows[1], len(header))
	require.Equal(t, why, rows[1][len(header)-1])
}

// Of a wave the gates that are closed are told, of a tenant all.
func TestGatesPrinted(t *testing.T) {
	t.Parallel()
	gates := []*tmsv1.GateVerdict{{Gate: "kill_switch", Open: true}, {Gate: "canary_done", Reason: "the canary is open", Remedy: "wait"}}
	open := []*tmsv1.GateVerdict{{Gate: "kill_switch", Open: true}}
	print := func(reports ...*tmsv1.GateReport) string {
		return printed(t, func(a *app) error { return a.printGates(&tmsv1.RolloutGates{Reports: reports}) })
	}
	require.Equal(t, `WAVE  CLUSTER  TENANT         GATE         IS      WHY
2     eu       all that wait  canary_done  closed  the canary is open (wait)
3     default  all that wait  all          open
gates that are open are left out; name a tenant to see all of its own
`, print(&tmsv1.GateReport{Wave: 2, Cluster: "eu", Gates: gates}, &tmsv1.GateReport{Wave: 3, Cluster: "default", Open: true, Gates: append(open, open...)}))
	require.Equal(t, `WAVE  CLUSTER  TENANT  GATE         IS      WHY
2     eu       acme    kill_switch  open
2     eu       acme    canary_done  closed  the canary is open (wait)
`, print(&tmsv1.GateReport{Wave: 2, Cluster: "eu", TenantId: "acme", Gates: gates}))
	require.Equal(t, "no tenant waits for gates\n", print())
}

// A plan tells what was left out on purpose, and no numbers that nobody asked
// for.
func TestPlanPrinted(t *testing.T) {
	t.Parallel()
	text := printed(t, func(a *app) error {
		return a.printPlan(&tmsv1.RolloutPlan{
			Options: &tmsv1.RolloutOptions{Except: map[string]string{"acme": "moves away"}}, Shards: &tmsv1.ShardForecast{},
			Clusters: []*tmsv1.ClusterPlan{{Remarks: []string{"cluster default has no repository seeds"}}}, Elsewhere: []string{"uno"},
		}, false)
	})
	require.Equal(t, `
notes:
  - cluster default has no repository seeds

left out by --cluster: uno

excepted:
  - acme: moves away
`, text)
	require.Equal(t, "154", orFinalizing("154", "154"))
	require.Equal(t, "154 (102)", orFinalizing("154", "102"))
}
