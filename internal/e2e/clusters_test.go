package e2e

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

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

// TestTwoClusters upgrades tenants of two clusters in one rollout, with one of
// the clusters killed in the middle: it holds up nobody but its own tenants.
func TestTwoClusters(t *testing.T) {
	t.Parallel()
	far := ownEngine(t, nil)
	b := setup(t).serve(1)
	got := b.tms("cluster", "add", "far", "--url", far.URL())
	require.Zero(t, got.code, got.stderr)
	got = b.tms("cluster", "add", "twice", "--url", far.URL())
	require.Equal(t, 1, got.code, got.stdout)
	require.Contains(t, got.stderr, `registered as "far"`)

	here := b.in("default", b.engine, "0.8.1", 300, small...)
	there := b.in("far", far.URL(), "0.8.1", 1500, small...)
	both := []string{"--tenant", here.Name(), "--tenant", there.Name()}

	var capacity []struct {
		Cluster string `json:"cluster"`
		Need    struct {
			Measured int64 `json:"measured"`
		} `json:"need"`
	}
	got = b.tms("capacity", "-o", "json")
	require.Zero(t, got.code, got.stderr)
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &capacity), got.stdout)
	require.Len(t, capacity, 2)
	require.Equal(t, int64(1), capacity[1].Need.Measured, got.stdout)

	// A tenant is not moved, and its cluster not forgotten.
	got = b.tms("tenant", "update", there.Name(), "--cluster", "default")
	require.Equal(t, 3, got.code, got.stderr)
	require.Contains(t, got.stderr, "TMS does not move tenants between clusters")
	got = b.tms("cluster", "remove", "far")
	require.Equal(t, 3, got.code, got.stderr)
	require.Contains(t, got.stderr, "1 tenants live there")

	got = b.tms(append([]string{"upgrade", "plan", "--to", "0.8.2"}, both...)...)
	require.Zero(t, got.code, got.stderr)
	require.Contains(t, got.stdout, "cluster default: 1 tenants move")
	require.Contains(t, got.stdout, "cluster far: 1 tenants move")

	code, r := b.rollout(append([]string{"start", "--to", "0.8.2", "--max-tenants", "1"}, both...)...)
	require.Zero(t, code)
	mine := func(r *tmsv1.Rollout, one *tenant) *tmsv1.RolloutTenant {
		for _, rt := range r.GetTenants() {
			if rt.GetTenantId() == one.Name() {
				return rt
			}
		}
		return nil
	}
	b.until(r.GetId(), func(r *tmsv1.Rollout) bool { return mine(r, there).GetState() != "planned" })
	far.Kill()
	r = b.until(r.GetId(), func(r *tmsv1.Rollout) bool {
		return mine(r, here).GetState() == "switched" && mine(r, there).GetAttempts() > 0
	})
	require.Equal(t, "running", r.GetState(), describe(r))
	require.Equal(t, "far", mine(r, there).GetCluster())

	// What cannot be seen is said, and the rest is seen.
	got = b.tms("upgrade", "plan", "--to", "0.8.2", "--tenant", here.Name(), "--tenant", there.Name())
	require.Equal(t, 3, got.code, got.stdout)
	require.Contains(t, got.stderr, "cluster far, where 1 of the tenants live, cannot be planned")
	got = b.tms("fleet", "drift")
	require.Equal(t, 1, got.code)
	require.Contains(t, got.stdout, "cluster_unavailable")
	got = b.tms("cluster", "verify", "far")
	require.Equal(t, 1, got.code, got.stdout)
	got = b.tms("capacity")
	require.Equal(t, 1, got.code, got.stdout)
	require.Contains(t, got.stdout, "default: ")

	require.NoError(t, far.Start(b.ctx))
	code, r = b.rollout("watch", r.GetId())
	require.Zero(t, code, describe(r))
	here.judge("0.8.2", r.GetId())
	there.judge("0.8.2", r.GetId())

	// The end of a tenant is looked for where it lives.
	require.Zero(t, b.tms("tenant", "delete", there.Name()).code)
	got = b.tms("tenant", "purge", there.Name(), "--without-snapshot", "--wait")
	require.Zero(t, got.code, got.stderr)
	got = b.tms("cluster", "remove", "far")
	require.Zero(t, got.code, got.stderr)
}
