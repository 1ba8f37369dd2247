package e2e

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/devstack"
	"github.com/tracardi/tms/internal/devstack/devtest"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// order of a tenant's states on the way forth.
var order = []string{"planned", "prepared", "copying", "copied", "compared", "fenced", "verified", "switched"}

// reached says that every tenant has come at least to a state.
func reached(state string) func(*tmsv1.Rollout) bool {
	return func(r *tmsv1.Rollout) bool {
		for _, t := range r.GetTenants() {
			if slices.Index(order, t.GetState()) < slices.Index(order, state) {
				return false
			}
		}
		return true
	}
}

// ownEngine starts an engine that a test may stop and kill.
func ownEngine(t *testing.T, settings map[string]string) *devstack.Node {
	t.Helper()
	dir, release, err := devstack.MemoryDir("e2e")
	require.NoError(t, err)
	t.Cleanup(release)
	e, err := devstack.StartEngine(context.WithoutCancel(t.Context()), devstack.EngineOptions{Dir: filepath.Join(dir, "engine"), ShortLived: true, Settings: settings, Heap: "768m"})
	require.NoError(t, err)
	node := e.Nodes()[0]
	t.Cleanup(func() {
		node.Kill() // nobody needs the data
		require.NoError(t, e.Stop())
	})
	return node
}

// TestEngineOutages has the engine away when TMS starts, and killed in the
// middle of a rollout.
func TestEngineOutages(t *testing.T) {
	t.Parallel()
	node := ownEngine(t, nil)
	b := prepare(t, node.URL(), devtest.Database(t, nil))
	require.NoError(t, node.Stop())
	b.serve(1)
	b.register("nobody", "0.8.1") // the registry works without an engine
	got := b.tms("upgrade", "start", "--to", "0.8.2")
	require.Equal(t, 1, got.code, "%s%s", got.stdout, got.stderr)
	require.Contains(t, got.stderr, "search engine not reachable")
	require.Zero(t, b.tms("tenant", "delete", "nobody").code)
	require.NoError(t, node.Start(b.ctx))

	w := b.tenant("0.8.1", 2, 1500, small...).write(20)
	code, r := b.rollout("start", "--to", "0.8.2")
	require.Zero(t, code)
	b.until(r.GetId(), reached("prepared"))
	node.Kill()
	b.until(r.GetId(), func(r *tmsv1.Rollout) bool { return r.GetTenants()[0].GetAttempts() > 0 })
	require.NoError(t, node.Start(b.ctx))

	code, r = b.rollout("watch", r.GetId())
	require.Zero(t, code, describe(r))
	w.writesOn("0.8.2")
	w.stop()
	w.judge("0.8.2", r.GetId())
}

// TestPostgresRestart takes the database away in the middle of a rollout.
func TestPostgresRestart(t *testing.T) {
	t.Parallel()
	dir, release, err := devstack.MemoryDir("e2e")
	require.NoError(t, err)
	t.Cleanup(release)
	pg, err := devstack.StartPostgres(t.Context(), devstack.PostgresOptions{Dir: filepath.Join(dir, "postgres"), Unsafe: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pg.Stop()) })

	b := prepare(t, devtest.Engine(t), pg.DSN()).serve(2)
	w := b.tenant("0.8.1", 2, 1500, small...).write(20)
	code, r := b.rollout("start", "--to", "0.8.2")
	require.Zero(t, code)
	b.until(r.GetId(), reached("prepared"))
	require.NoError(t, pg.Restart(b.ctx))
	b.until(r.GetId(), reached("copying"))
	pg.Kill()
	require.NoError(t, pg.Start(b.ctx))

	code, r = b.rollout("watch", r.GetId())
	require.Zero(t, code, describe(r))
	w.writesOn("0.8.2")
	w.stop()
	w.judge("0.8.2", r.GetId())
}
