package e2e

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/devstack"
	"github.com/tracardi/tms/internal/devstack/devtest"
	"github.com/tracardi/tms/internal/fleet"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// in installs, fills and registers a tenant in a named cluster.
func (b *bundle) in(cluster, url, release string, docs int, only ...string) *tenant {
	b.t.Helper()
	made, err := fleet.New(fleet.Config{URL: url, Catalogue: b.catalogue, Release: release, Tenant: devtest.Prefix(b.t), Seed: seed, Months: 2, Only: only})
	require.NoError(b.t, err)
	require.NoError(b.t, made.Install(b.ctx))
	require.NoError(b.t, made.Fill(b.ctx, docs))
	got := b.tms("tenant", "create", made.Name(), "--release", release, "--cluster", cluster)
	require.Zero(b.t, got.code, got.stderr)
	return &tenant{made, b}
}

// twoClusters are an installation with the shared engine and one of its own.
type twoClusters struct {
	*bundle
	far               *devstack.Node
	here, there, late *tenant // late is in the far one and suspended at first
}

// TestTwoClusters upgrades tenants of two clusters in one rollout, with one of
// the clusters killed in the middle: it holds up nobody but its own tenants.
// Snapshots, releases and versions to remove are each found where a tenant
// lives.
func TestTwoClusters(t *testing.T) {
	t.Parallel()
	w := &twoClusters{far: ownEngine(t, nil), bundle: setup(t).serve(1)}
	w.register()
	w.choose()
	strategy := filepath.Join(w.dir, "strategy.yaml")
	require.NoError(t, os.WriteFile(strategy, []byte("inactive: wait\n"), 0o600))
	code, r := w.rollout("start", "--to", "0.8.2", "--max-tenants", "2", "--snapshot", "before", "--strategy", strategy)
	require.Zero(t, code)
	taken := r.GetOptions().GetSnapshotIds()
	require.ElementsMatch(t, []string{"default", "far"}, slices.Collect(maps.Keys(taken)), "a snapshot in each")

	w.until(r.GetId(), func(r *tmsv1.Rollout) bool {
		return !of(r, w.there).GetWaiting() && of(r, w.there).GetState() != "planned"
	})
	w.far.Kill()
	require.Zero(t, w.tms("tenant", "update", w.late.Name(), "--state", "active").code)
	r = w.until(r.GetId(), func(r *tmsv1.Rollout) bool {
		return of(r, w.here).GetState() == "switched" && of(r, w.there).GetAttempts() > 0 && strings.Contains(of(r, w.late).GetReason(), "gate cluster_health: cluster far does not say how it is")
	})
	require.Equal(t, "running", r.GetState(), describe(r))
	require.Equal(t, "far", of(r, w.there).GetCluster())
	w.down()

	require.NoError(t, w.far.Start(w.ctx))
	code, r = w.rollout("watch", r.GetId())
	require.Zero(t, code, describe(r))
	for _, one := range []*tenant{w.here, w.there, w.late} {
		one.judge("0.8.2", r.GetId())
	}
	w.remove(r.GetId(), taken)
}

// of is the tenant's part of a rollout.
func of(r *tmsv1.Rollout, one *tenant) *tmsv1.RolloutTenant {
	for _, rt := range r.GetTenants() {
		if rt.GetTenantId() == one.Name() {
			return rt
		}
	}
	return nil
}

// register names cluster, tenants and repositories.
func (w *twoClusters) register() {
	t := w.t
	got := w.tms("cluster", "add", "far", "--url", w.far.URL())
	require.Zero(t, got.code, got.stderr)
	got = w.tms("cluster", "add", "twice", "--url", w.far.URL())
	require.Equal(t, 1, got.code, got.stdout)
	require.Contains(t, got.stderr, `registered as "far"`)
	w.here = w.in("default", w.engine, "0.8.1", 300, small...)
	w.there = w.in("far", w.far.URL(), "0.8.1", 1500, small...)
	w.late = w.in("far", w.far.URL(), "0.8.1", 60, small...)
	require.Zero(t, w.tms("tenant", "update", w.late.Name(), "--state", "suspended").code)
	away := *w.bundle
	away.engine = w.far.URL()
	for cluster, place := range map[string]string{"default": w.snapshots(), "far": away.snapshots()} {
		name := devtest.Prefix(t)
		t.Cleanup(func() { _ = os.RemoveAll(filepath.Join(place, name)) })
		got = w.tms("backup", "repo", "add", name, "--cluster", cluster, "--setting", "location="+filepath.Join(place, name))
		require.Zero(t, got.code, got.stderr)
	}

	var capacity []struct {
		Cluster string `json:"cluster"`
		Need    struct {
			Measured int64 `json:"measured"`
		} `json:"need"`
	}
	got = w.tms("capacity", "-o", "json")
	require.Zero(t, got.code, got.stderr)
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &capacity), got.stdout)
	require.Len(t, capacity, 2)
	require.Equal(t, int64(2), capacity[1].Need.Measured, got.stdout)

	// A tenant is not moved, and its cluster not forgotten.
	got = w.tms("tenant", "update", w.there.Name(), "--cluster", "default")
	require.Equal(t, 3, got.code, got.stderr)
	require.Contains(t, got.stderr, "TMS does not move tenants between clusters")
	got = w.tms("cluster", "remove", "far")
	require.Equal(t, 3, got.code, got.stderr)
	require.Contains(t, got.stderr, "2 tenants live there")
}

// choose plans and captures in all clusters and in some.
func (w *twoClusters) choose() {
	t := w.t
	got := w.tms("upgrade", "plan", "--to", "0.8.2")
	require.Zero(t, got.code, got.stderr)
	require.Contains(t, got.stdout, "cluster default: 1 tenants move")
	require.Contains(t, got.stdout, "cluster far: 2 tenants move")
	got = w.tms("upgrade", "plan", "--to", "0.8.2", "--cluster", "far", "--tenant", w.here.Name(), "--tenant", w.there.Name())
	require.Zero(t, got.code, got.stderr)
	require.Contains(t, got.stdout, "left out by --cluster: "+w.here.Name())
	got = w.tms("upgrade", "start", "--to", "0.8.2", "--cluster", "near")
	require.Equal(t, 3, got.code, got.stderr)
	require.Contains(t, got.stderr, "there are: default, far")
	got = w.tms("upgrade", "list", "--cluster", "near")
	require.Equal(t, 2, got.code, got.stdout)
	require.Contains(t, got.stderr, "there are: default, far")

	capture := []string{"release", "capture", "0.8.1", "--prefix", "08x", "--tenant", w.there.Name(), "-o", "json", "--cluster"}
	got = w.tms(append(capture, "default")...)
	require.Equal(t, 2, got.code, got.stdout)
	require.Contains(t, got.stderr, "has no index of 08x")
	got = w.tms(append(capture, "far")...)
	require.Contains(t, got.stdout, "0.8.1", got.stderr)
	require.Equal(t, `{"status":"ready"}`, w.readyz())
}

// readyz is what the first process says of itself, which must be ready.
func (w *twoClusters) readyz() string {
	w.t.Helper()
	there := *w.bundle
	there.engine = "http://" + w.servers[0].HTTP()
	return there.must(http.MethodGet, "/readyz", "")
}

// down is what is said while the far cluster is: what cannot be seen is named,
// and the rest is seen.
func (w *twoClusters) down() {
	t := w.t
	got := w.tms("upgrade", "plan", "--to", "0.8.2", "--tenant", w.here.Name(), "--tenant", w.there.Name())
	require.Equal(t, 3, got.code, got.stdout)
	require.Contains(t, got.stdout, w.here.Name())
	require.Contains(t, got.stderr, "cluster far, where 1 of the tenants live, cannot be planned")
	require.Contains(t, got.stderr, "--cluster default")
	got = w.tms("fleet", "drift")
	require.Equal(t, 1, got.code)
	require.Contains(t, got.stdout, "cluster_unavailable")
	got = w.tms("cluster", "verify", "far")
	require.Equal(t, 1, got.code, got.stdout)
	got = w.tms("capacity")
	require.Equal(t, 1, got.code, got.stdout)
	require.Contains(t, got.stdout, "default: ")
	require.Contains(t, w.readyz(), `"missing":["cluster far: `)
	got = w.tms("backup", "policy", "list")
	require.Zero(t, got.code, got.stderr)
	require.Contains(t, got.stderr, "cluster far: ")
}

// remove ends everything in the far cluster and nothing in the other.
func (w *twoClusters) remove(rollout string, taken map[string]string) {
	t := w.t
	old := w.must(http.MethodGet, "/_cat/indices/08x."+w.here.Name()+".*?h=index&s=index", "")
	require.NotEmpty(t, old)
	got := w.tms("upgrade", "finalize", rollout, "--tenant", w.there.Name(), "--wait")
	require.Zero(t, got.code, got.stderr)
	got = w.tms("cleanup", "plan", "--version", "0.8.1", "--cluster", "far", "-o", "json")
	require.Contains(t, got.stdout, w.late.Name())
	require.NotContains(t, got.stdout, w.here.Name())
	require.Equal(t, old, w.must(http.MethodGet, "/_cat/indices/08x."+w.here.Name()+".*?h=index&s=index", ""))
	got = w.tms("upgrade", "list", "--cluster", "far", "-o", "json")
	require.Zero(t, got.code, got.stderr)
	require.Contains(t, got.stdout, rollout)
	w.clean()

	// The end of a tenant is looked for where it lives.
	for _, one := range []*tenant{w.there, w.late} {
		require.Zero(t, w.tms("tenant", "delete", one.Name()).code)
		got = w.tms("tenant", "purge", one.Name(), "--without-snapshot", "--wait")
		require.Zero(t, got.code, got.stderr)
	}
	run := w.tms("backup", "show", taken["far"], "-o", "json")
	require.Zero(t, run.code, run.stderr)
	var shown struct{ Repository string }
	require.NoError(t, json.Unmarshal([]byte(run.stdout), &shown))
	require.Zero(t, w.tms("backup", "repo", "remove", shown.Repository).code)
	got = w.tms("cluster", "remove", "far")
	require.Zero(t, got.code, got.stderr)
}

// clean removes a version that both clusters hold something of from one of them.
func (w *twoClusters) clean() {
	t := w.t
	away := *w.bundle
	away.engine = w.far.URL()
	far, near := "/080."+w.there.Name()+".tracardi-rule", "/080."+w.here.Name()+".tracardi-rule"
	away.must(http.MethodPut, far, `{"settings": {"number_of_replicas": 0}}`)
	w.must(http.MethodPut, near, `{"settings": {"number_of_replicas": 0}}`)
	got := w.tms("cleanup", "plan", "--version", "0.8.0", "--without-snapshot")
	require.Equal(t, 2, got.code, "of which cluster? %s%s", got.stdout, got.stderr)
	require.Contains(t, got.stderr, "cluster")
	ofFar := []string{"--version", "0.8.0", "--cluster", "far", "--without-snapshot", "-o", "json"}
	got = w.tms(append([]string{"cleanup", "plan"}, ofFar...)...)
	require.Zero(t, got.code, got.stderr)
	var plan struct{ Digest string }
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &plan), got.stdout)
	got = w.tms(append([]string{"cleanup", "run", "--wait", "--digest", plan.Digest}, ofFar...)...)
	require.Zero(t, got.code, got.stderr)
	gone, _ := away.ask(http.MethodGet, far, "")
	require.Equal(t, http.StatusNotFound, gone)
	w.must(http.MethodGet, near, "")
}
