package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/devstack/devtest"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// offline runs a command that works on a database alone.
func (b *bundle) offline(database string, args ...string) result {
	b.t.Helper()
	return b.tmsWith([]string{"DATABASE_URL=" + database, "SECRET=" + b.keys.Secret}, args...)
}

// TestPostgresIsLost follows docs/disaster-recovery.md: Postgres is thrown
// away with a tenant held before its switch, and everything goes on from a
// copy and from what the repository tells.
func TestPostgresIsLost(t *testing.T) {
	t.Parallel()
	b := setup(t).seeded().serve(1)
	acme, globex := b.tenant("0.8.1", 1, 40, small...), b.tenant("0.8.1", 1, 20, small...)
	repo := b.nas()
	first := b.run("create", "--tenant", acme.Name(), "--wait")
	b.ok("backup", "policy", "create", "nightly", "--schedule", "30 2 * * *", "--all", "--drill")
	b.ok("key", "create", "--name", "portal", "--role", "viewer")
	done := b.upgrade("0.8.2", "--tenant", acme.Name())
	code, held := b.rollout("start", "--to", "0.8.2", "--tenant", globex.Name(), "--switch", "hold")
	require.Zero(t, code)
	b.until(held.GetId(), func(r *tmsv1.Rollout) bool { return r.GetTenants()[0].GetState() == "compared" })
	file := filepath.Join(b.dir, "registry.tms")
	b.okOffline(b.database, "registry", "export", file)
	require.NotZero(t, b.offline(b.database, "registry", "export", file).code, "a copy is not overwritten")
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	second := b.run("create", "--tenant", globex.Name(), "--wait") // the copy does not know it

	// Postgres is gone, with everything in it.
	b.servers[0].Kill()
	fresh := devtest.Database(t, nil)
	got := b.offline(fresh, "registry", "import", file)
	require.Equal(t, 3, got.code, "not migrated: %s", got.stderr)
	require.Contains(t, got.stderr, "tms migrate")
	b.okOffline(fresh, "migrate")
	b.okOffline(fresh, "registry", "check", file)
	b.okOffline(fresh, "registry", "import", file)
	b.servers, b.database = nil, fresh
	b.serve(1)

	// Tenants answer, releases are known, snapshots too.
	require.Contains(t, b.ok("tenant", "show", acme.Name(), "-o", "json"), `"0.8.2"`)
	require.Contains(t, b.ok("tenant", "show", globex.Name(), "-o", "json"), `"0.8.1"`)
	require.Contains(t, b.ok("key", "list"), "portal")
	list := b.ok("backup", "list")
	require.Contains(t, list, first)
	require.NotContains(t, list, second)
	require.Contains(t, b.ok("backup", "repo", "import", repo), second)
	require.Contains(t, b.ok("backup", "policy", "show", "nightly"), "next run")
	b.ok("backup", "drill", "--tenant", globex.Name())
	b.ok("backup", "drill", "--tenant", acme.Name(), "--snapshot", first)
	require.Contains(t, b.ok("backup", "drill", "list"), "success")

	// The upgrade can still be rolled back.
	code, r := b.rollout("rollback", done.GetId(), "--wait")
	require.Zero(t, code, describe(r))
	t.Log(acme.judge("0.8.1", done.GetId()))

	// The other one has waited, and goes on when it is told to.
	require.Equal(t, "paused", b.until(held.GetId(), func(*tmsv1.Rollout) bool { return true }).GetState())
	b.ok("upgrade", "resume", held.GetId())
	b.ok("upgrade", "switch", held.GetId(), "--wait")
	t.Log(globex.judge("0.8.2", held.GetId()))
}

// ok insists on a command and returns what it printed.
func (b *bundle) ok(args ...string) string {
	b.t.Helper()
	got := b.tms(args...)
	require.Zero(b.t, got.code, "tms %s: %s%s", strings.Join(args, " "), got.stdout, got.stderr)
	return got.stdout
}

func (b *bundle) okOffline(database string, args ...string) {
	b.t.Helper()
	got := b.offline(database, args...)
	require.Zero(b.t, got.code, "tms %s: %s%s", strings.Join(args, " "), got.stdout, got.stderr)
}

// nas registers a repository of this test.
func (b *bundle) nas(settings ...string) string {
	b.t.Helper()
	name := devtest.Prefix(b.t)
	location := b.snapshots() + "/" + name
	b.t.Cleanup(func() { require.NoError(b.t, os.RemoveAll(location)) })
	args := []string{"backup", "repo", "add", name, "--setting", "location=" + location}
	for _, s := range settings {
		args = append(args, "--setting", s)
	}
	b.ok(args...)
	return name
}

// policyState is a policy as `tms backup policy show -o json` tells it.
type policyState struct {
	NextTime    time.Time            `json:"next_time"`
	LastSuccess struct{ Run string } `json:"last_success"`
	LastSweep   struct {
		Time time.Time
	} `json:"last_sweep"`
}

func (b *bundle) policy(name string) (p policyState) {
	b.t.Helper()
	got := b.tms("backup", "policy", "show", name, "-o", "json")
	if got.code == 0 {
		require.NoError(b.t, json.Unmarshal([]byte(got.stdout), &p), got.stdout)
	}
	return p
}

// TestKillNineOfPolicies kills processes while a policy's run that was missed
// is caught up, and while retention removes what is too old.
func TestKillNineOfPolicies(t *testing.T) {
	t.Parallel()
	t.Logf("TMS_E2E_SEED=%d", seed)
	b := setup(t).serve(2)
	b.tenant("0.8.1", 1, 200, small...)
	repo := b.nas("max_snapshot_bytes_per_sec=2mb")
	b.ok("backup", "policy", "create", "nightly", "--schedule", "30 2 * * *", "--all")
	var third struct{ ID string }
	for range 3 {
		require.NoError(t, json.Unmarshal([]byte(b.ok("backup", "policy", "run", "nightly", "--wait", "-o", "json")), &third))
	}
	last := third.ID
	// The policy hears of the end of a run a moment later.
	require.Eventually(t, func() bool { return b.policy("nightly").LastSuccess.Run == last }, testLimit, 50*time.Millisecond)
	conn, err := pgx.Connect(b.ctx, b.database)
	require.NoError(t, err)
	defer func() { _ = conn.Close(b.ctx) }()
	killer := newKiller(b)
	killer.during(func() {
		b.untilAnswered("backup", "policy", "update", "nightly", "--max", "1")
		_, err := conn.Exec(b.ctx, `update backup_policies set next_at = now() - interval '3 days' where name = 'nightly'`)
		require.NoError(t, err)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			p := b.policy("nightly")
			if p.LastSuccess.Run != "" && p.LastSuccess.Run != last && p.NextTime.After(time.Now()) && len(b.standing(repo)) == 1 {
				last = p.LastSuccess.Run
				return
			}
			select {
			case <-b.ctx.Done():
				t.Fatalf("the policy did not get there: %+v, %v", p, b.standing(repo))
			case <-tick.C:
			}
		}
	})
	t.Logf("%d processes killed", killer.count.Load())
	require.Positive(t, killer.count.Load())
	var made int
	require.NoError(t, conn.QueryRow(b.ctx, `select count(*) from backup_runs where policy = 'nightly' and kind = 'snapshot'`).Scan(&made))
	require.Equal(t, 4, made, "three by hand, and one for three days")
	require.Equal(t, []string{last}, b.standing(repo))
}

// untilAnswered repeats a command until a process answers it.
func (b *bundle) untilAnswered(args ...string) {
	b.t.Helper()
	for got := b.tms(args...); got.code != 0; got = b.tms(args...) {
		require.NoError(b.t, b.ctx.Err(), got.stderr)
		require.Contains(b.t, got.stderr, "cannot reach TMS")
	}
}

// standing asks the engine for the snapshots of a repository.
func (b *bundle) standing(repo string) (names []string) {
	b.t.Helper()
	var answer struct {
		Snapshots []struct{ Snapshot string }
	}
	require.NoError(b.t, json.Unmarshal([]byte(b.must(http.MethodGet, "/_snapshot/"+repo+"/_all", "")), &answer))
	for _, s := range answer.Snapshots {
		names = append(names, s.Snapshot)
	}
	return names
}
