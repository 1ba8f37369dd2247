package e2e

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestRehearsalOutlivesItsProcess kills the process that rehearses an upgrade
// while its throw-away indices stand. Another one does it again, and nothing is
// left. The rollout that follows is told about in progress, events and report.
func TestRehearsalOutlivesItsProcess(t *testing.T) {
	t.Parallel()
	b := setup(t).serve(1)
	acme := b.tenant("0.8.1", 2, 800, small...)
	got := b.tms("upgrade", "rehearse", "--tenant", acme.Name(), "--to", "0.8.2", "--no-wait", "-o", "json")
	require.Zero(t, got.code, got.stderr)
	var one struct {
		ID       string  `json:"id"`
		State    string  `json:"state"`
		Verdict  string  `json:"verdict"`
		Attempts int     `json:"attempts"`
		Removed  int     `json:"removed"`
		Estimate float64 `json:"estimate_seconds"`
	}
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &one), got.stdout)
	made := func() string {
		return b.must(http.MethodGet, "/_cat/indices/tms~rehearsal~"+one.ID+"-*?h=index&s=index&expand_wildcards=all", "")
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for made() == "" {
		select {
		case <-b.ctx.Done():
			t.Fatal("the rehearsal makes no index")
		case <-tick.C:
		}
	}
	b.servers[0].Kill()
	require.NotEmpty(t, made(), "killed too late")
	require.NoError(t, b.servers[0].Start(b.ctx))

	require.Zero(t, b.tms("operation", "wait", one.ID).code)
	got = b.tms("upgrade", "rehearsals", one.ID, "-o", "json")
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &one), got.stdout)
	require.Equal(t, "succeeded", one.State, got.stdout)
	require.Equal(t, "equal", one.Verdict, got.stdout)
	require.Equal(t, 2, one.Attempts)
	require.Positive(t, one.Estimate)
	require.Empty(t, made())

	r := b.upgrade("0.8.2", "--tenant", acme.Name())
	acme.judge("0.8.2", r.GetId())
	got = b.tms("upgrade", "events", r.GetId(), "--once")
	require.Zero(t, got.code, got.stderr)
	require.Contains(t, got.stdout, "present  "+r.GetId()+"  complete  0.8.2")
	got = b.tms("upgrade", "progress", r.GetId())
	require.Contains(t, got.stdout, "100 % of the work")
	file := filepath.Join(b.dir, "report.md")
	got = b.tms("upgrade", "report", r.GetId(), "-f", file)
	require.Zero(t, got.code, got.stderr)
	require.FileExists(t, file)
}
