package report

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/upgrader"
)

// golden compares with a file; UPDATE_GOLDEN writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		require.NoError(t, os.MkdirAll("testdata", 0o750))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	at := func(minute int) time.Time { return time.Date(2026, 3, 1, 12, minute, 0, 0, time.UTC) }
	refused := int64(7)
	ro := &upgrader.Rollout{
		ID: "r01", ToRelease: "0.8.2", State: upgrader.RolloutFailed, CreatedBy: "ops|1", CreatedAt: at(0), FinishedAt: at(9),
		Options: upgrader.Options{Tenants: []string{"acme", "globex"}, Methods: map[string]upgrader.Method{"event": upgrader.MethodClone}}.WithDefaults(),
		Waves:   []upgrader.Wave{{Number: 1, Name: "canary", State: upgrader.WaveDone, OpenedAt: at(1), EndedAt: at(3), DoneAt: at(4), ApprovedBy: "ops2"}, {Number: 2, Name: "rest", State: upgrader.WaveStopped, Reason: "1 of 1 tenants failed", OpenedAt: at(4)}},
		Tenants: []upgrader.RolloutTenant{
			{
				TenantID: "acme", Cluster: "default", Wave: 1, FromRelease: "0.8.1", State: upgrader.TenantSwitched, Indices: 104, ByMethod: map[upgrader.Method]int{upgrader.MethodReindex: 40, upgrader.MethodCreate: 64}, Documents: 1200,
				Fence: 170 * time.Millisecond, FenceTries: 1, StartedAt: at(1), FinishedAt: at(3),
				Record: upgrader.TenantRecord{Refused: &refused, Notes: []string{"event: field x is dropped: it moved"}},
				Proof:  &upgrader.Proof{Level: upgrader.VerifyFull, Verdict: "equal", Documents: 1200, Compared: 1200, Delta: 3, TakenAt: at(3), Engine: "elasticsearch 7.17.29", BundleDigests: []string{"0.8.2:abcd"}},
			},
			{TenantID: "globex", Cluster: "eu", FromRelease: "0.8.1", State: upgrader.TenantFailed, Reason: "3 documents are in quarantine,\n0 are allowed | see <b>", Indices: 104, ByMethod: map[upgrader.Method]int{upgrader.MethodMerge: 2}, StartedAt: at(1), FinishedAt: at(9)},
		},
	}
	r := &Report{
		Rollout: ro, At: at(20), TMS: "v1.2.3", Exceptions: exceptions(ro),
		Quarantine: []QuarantineSum{{"globex", upgrader.QuarantineRefused, "0820.globex.tracardi-event-2026-q1", 3, 1}},
		Commands: []CommandGiven{
			{at(0), "ops|1", "rollout.start", json.RawMessage(`{"tenants": 2, "to_release": "0.8.2"}`)},
			{at(2), "ops2", "rollout.pause", nil},
		},
		Errands: []upgrader.Errand{{TenantID: "acme", Kind: upgrader.ErrandRecheck, State: upgrader.ErrandDone, Report: upgrader.ErrandReport{Verdict: upgrader.VerdictHolds}, CreatedBy: "ops2", CreatedAt: at(15), FinishedAt: at(16)}},
	}
	var b strings.Builder
	require.NoError(t, r.Markdown(&b))
	golden(t, "final.md", b.String())

	ro.State, ro.Tenants = upgrader.RolloutRunning, ro.Tenants[1:]
	ro.Tenants[0].State, ro.Tenants[0].Reason = upgrader.TenantCopying, ""
	b.Reset()
	require.NoError(t, (&Report{Rollout: ro, At: at(5), TMS: "v1.2.3", Exceptions: exceptions(ro)}).Markdown(&b))
	golden(t, "draft.md", b.String())
	require.False(t, slices.ContainsFunc(strings.Split(b.String(), "\n"), func(line string) bool { return strings.HasSuffix(line, "<no value>") }))
}
