package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/devstack/devtest"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// maxShards is cluster.max_shards_per_node as set persistently; "" when it is
// not.
func (b *bundle) maxShards() string {
	b.t.Helper()
	var answer struct {
		Persistent map[string]string `json:"persistent"`
	}
	require.NoError(b.t, json.Unmarshal([]byte(b.must(http.MethodGet, "/_cluster/settings?flat_settings", "")), &answer))
	return answer.Persistent["cluster.max_shards_per_node"]
}

func limitIs(state string) func(*tmsv1.Rollout) bool {
	return func(r *tmsv1.Rollout) bool {
		return len(r.GetShardLimits()) == 1 && r.GetShardLimits()[0].GetState() == state
	}
}

// TestRaisedShardLimit has a cluster with room for one version only. The upgrade
// is refused until TMS may raise the limit; then all processes killed while the shard limit is
// raised; it is put back all the same, when the old versions are gone.
func TestRaisedShardLimit(t *testing.T) {
	t.Parallel()
	node := ownEngine(t, nil)
	b := prepare(t, node.URL(), devtest.Database(t, nil)).serve(2)
	tenant := b.tenant("0.8.1", 1, 200, small...)
	var health struct {
		Active     int `json:"active_shards"`
		Unassigned int `json:"unassigned_shards"`
	}
	require.NoError(t, json.Unmarshal([]byte(b.must(http.MethodGet, "/_cluster/health", "")), &health))
	// The new version has all of the release's resources, some 100 shards: it
	// fits when the old one is gone, not beside it.
	former := fmt.Sprint(health.Active + health.Unassigned + 95)
	b.must(http.MethodPut, "/_cluster/settings", `{"persistent": {"cluster.max_shards_per_node": `+former+`}}`)

	for _, command := range [][]string{{"plan"}, {"start", "--wait"}, {"start", "--dry-run"}} {
		refused := b.tms(append(append([]string{"upgrade"}, command...), "--to", "0.8.2")...)
		require.Equal(t, 3, refused.code, "%v: %s%s", command, refused.stdout, refused.stderr)
		require.Contains(t, refused.stderr, "cluster.max_shards_per_node "+former+" on 1 data nodes")
		require.Contains(t, refused.stderr, "set cluster.max_shards_per_node to ")
		require.Contains(t, refused.stderr, "--raise-shard-limit")
	}
	status, _ := b.ask(http.MethodGet, "/0820."+tenant.Name()+".tracardi-rule", "")
	require.Equal(t, http.StatusNotFound, status, "a refusal leaves nothing behind")
	require.JSONEq(t, "[]", b.tms("upgrade", "list", "-o", "json").stdout)
	planned := b.tms("upgrade", "plan", "--to", "0.8.2", "--raise-shard-limit")
	require.Zero(t, planned.code, planned.stderr)
	require.Contains(t, planned.stdout, "TMS raises it from "+former)

	code, r := b.rollout("start", "--to", "0.8.2", "--raise-shard-limit", "--finalize-after", "7d", "--hold-switch")
	require.Zero(t, code)
	r = b.until(r.GetId(), limitIs("raised"))
	raised := fmt.Sprint(r.GetShardLimits()[0].GetRaisedTo())
	for _, s := range b.servers {
		s.Kill()
	}
	require.Equal(t, raised, b.maxShards())
	require.NoError(t, b.servers[0].Start(b.ctx))
	b.until(r.GetId(), reached("compared"))
	require.Equal(t, raised, b.maxShards())
	require.Zero(t, b.tms("upgrade", "switch", r.GetId(), "--wait").code)
	b.until(r.GetId(), func(r *tmsv1.Rollout) bool { return r.GetRetention().GetState() == "scheduled" })
	// Why the limit stays is said at the keeper's next look.
	r = b.until(r.GetId(), func(r *tmsv1.Rollout) bool {
		return len(r.GetShardLimits()) == 1 && strings.Contains(r.GetShardLimits()[0].GetText(), "instead of "+former)
	})
	require.Equal(t, raised, b.maxShards(), "both versions stand")
	shown := b.tms("upgrade", "show", r.GetId()).stdout
	require.Contains(t, shown, "the old version of 1 tenants is deleted at")
	require.Contains(t, shown, "instead of "+former)

	require.Contains(t, b.tms("upgrade", "keep", r.GetId()).stdout, "old versions are kept")
	later := b.tms("upgrade", "finalize", r.GetId(), "--after", "14d", "-o", "json")
	require.Zero(t, later.code, later.stderr)
	require.Contains(t, later.stdout, `"finalize_after": "1209600s"`)
	got := b.tms("upgrade", "finalize", r.GetId(), "--without-snapshot", "--wait")
	require.Zero(t, got.code, got.stderr)
	r = b.until(r.GetId(), limitIs("restored"))
	require.Equal(t, former, b.maxShards())
	trail := b.tms("audit", "list", "--subject", "cluster/default").stdout
	require.Contains(t, trail, "shard_limit.raise")
	require.Contains(t, trail, "shard_limit.restore")
	tenant.judge("0.8.2", r.GetId())
}
