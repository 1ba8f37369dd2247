package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/devstack/devtest"
)

// TestKillNineOfBackups kills processes at random moments while a tenant that
// is written to is saved, and while it is restored over damage.
func TestKillNineOfBackups(t *testing.T) {
	t.Parallel()
	t.Logf("TMS_E2E_SEED=%d", seed)
	b := setup(t).serve(2)
	saved, other := b.tenant("0.8.1", 1, 300, small...), b.tenant("0.8.1", 1, 60, small...)
	name := devtest.Prefix(t)
	location := b.snapshots() + "/" + name
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(location)) })
	// Slow enough to be killed in the middle.
	got := b.tms("backup", "repo", "add", name, "--setting", "location="+location, "--setting", "max_snapshot_bytes_per_sec=500kb", "--setting", "max_restore_bytes_per_sec=200kb")
	require.Zero(t, got.code, got.stderr)
	writer := other.write(10)
	killer := newKiller(b)
	var snapshot string
	killer.during(func() {
		snapshot = b.run("create", "--all", "--digest", "--wait", "--request-id", name)
	})
	killed := killer.count.Load()
	b.must(http.MethodPost, "/08x."+saved.Name()+".*/_delete_by_query?refresh=true&conflicts=proceed", `{"query":{"match_all":{}}}`)
	killer.during(func() {
		b.run("restore", snapshot, "--tenant", saved.Name(), "--replace", "--wait", "--request-id", name+"-back")
	})
	t.Logf("%d processes killed during the snapshot, %d during the restore", killed, killer.count.Load()-killed)
	require.Positive(t, killed)
	require.Greater(t, killer.count.Load(), killed)
	writer.stop()
	t.Log(saved.judge("0.8.1"))
	t.Log(other.judge("0.8.1"))
	got = b.tms("backup", "delete", snapshot, "--wait")
	require.Zero(t, got.code, got.stderr)
}

// run insists on a command that takes or restores a snapshot, and returns its
// id. What it began goes on without it.
func (b *bundle) run(args ...string) string {
	b.t.Helper()
	for {
		got := b.tms(append([]string{"backup"}, append(args, "-o", "json")...)...)
		if got.code == 1 && got.stdout == "" && strings.Contains(got.stderr, "cannot reach TMS") && b.ctx.Err() == nil {
			continue
		}
		require.Zero(b.t, got.code, "%v: %s%s", args, got.stdout, got.stderr)
		var r struct{ ID string }
		require.NoError(b.t, json.Unmarshal([]byte(got.stdout), &r), got.stdout)
		return r.ID
	}
}

// snapshots is the directory below which the engine takes repositories.
func (b *bundle) snapshots() string {
	b.t.Helper()
	var answer struct {
		Nodes map[string]struct {
			Settings struct {
				Path struct{ Repo []string }
			}
		}
	}
	require.NoError(b.t, json.Unmarshal([]byte(b.must(http.MethodGet, "/_nodes/settings", "")), &answer))
	for _, n := range answer.Nodes {
		return n.Settings.Path.Repo[0]
	}
	return ""
}
