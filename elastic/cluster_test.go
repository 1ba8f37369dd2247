package elastic_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/elastic"
	"github.com/tracardi/tms/internal/devstack"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/shardlimit"
	"github.com/tracardi/tms/upgrader/stream"
)

func testInfo(b *bench) {
	info, err := b.Info(b.ctx)
	require.NoError(b.t, err)
	product, version, _ := strings.Cut(string(b.kind), "-")
	require.Equal(b.t, product, info.Product)
	require.True(b.t, strings.HasPrefix(info.Version, version+"."), info.Version)
	require.NotEmpty(b.t, info.ClusterUUID)
	require.NotEmpty(b.t, info.ClusterName)
	require.Equal(b.t, 1, info.DataNodes)
	require.NoError(b.t, b.Ping(b.ctx))
}

func testShards(b *bench) {
	before, err := b.Shards(b.ctx)
	require.NoError(b.t, err)
	require.Positive(b.t, before.MaxPerNode)
	require.Equal(b.t, 1, before.DataNodes)
	require.NotEmpty(b.t, before.SettingsFrom)
	require.Equal(b.t, before.MaxPerNode, before.Limit())
	b.create("counted", 3, nil)
	// Other tests create and delete beside this one; ours are there in any case.
	after, err := b.Shards(b.ctx)
	require.NoError(b.t, err)
	require.GreaterOrEqual(b.t, after.Open, 3)

	// The same value, written down at each level and taken back: no other test
	// sees a difference.
	for _, level := range []string{shardlimit.LevelPersistent, shardlimit.LevelTransient} {
		require.NoError(b.t, b.SetShardLimit(b.ctx, level, &before.MaxPerNode))
		set, err := b.ShardSettings(b.ctx)
		require.NoError(b.t, err)
		got := map[string]*int{shardlimit.LevelPersistent: set.Persistent, shardlimit.LevelTransient: set.Transient}[level]
		require.NotNil(b.t, got, level)
		require.Equal(b.t, before.MaxPerNode, *got, level)
		require.NoError(b.t, b.SetShardLimit(b.ctx, level, nil))
		set, err = b.ShardSettings(b.ctx)
		require.NoError(b.t, err)
		require.Nil(b.t, map[string]*int{shardlimit.LevelPersistent: set.Persistent, shardlimit.LevelTransient: set.Transient}[level], level)
		require.Equal(b.t, before.MaxPerNode, set.Default)
	}

	h, err := b.Health(b.ctx)
	require.NoError(b.t, err)
	require.Contains(b.t, []string{"green", "yellow", "red"}, h.Status)
	// A setting that no test depends on: the default, written down.
	require.NoError(b.t, b.PutClusterSetting(b.ctx, "cluster.routing.allocation.node_concurrent_recoveries", 4))
	require.NoError(b.t, b.PutClusterSetting(b.ctx, "cluster.routing.allocation.node_concurrent_recoveries", nil))
	err = b.PutClusterSetting(b.ctx, "no.such.setting", 1)
	require.Equal(b.t, http.StatusBadRequest, engineError(b.t, err).Status)
}

// testCapabilities asks the engine itself for what the table claims.
func testCapabilities(b *bench) {
	info, err := b.Info(b.ctx)
	require.NoError(b.t, err)
	table, err := elastic.CapabilityOf(info.Product, info.Version)
	require.NoError(b.t, err)

	index := b.create("a", 1, nil)
	body := fmt.Sprintf(`{"actions":[{"add":{"index":%q,"alias":"%s.x"}},{"remove":{"index":%q,"alias":"%s.y","must_exist":false}}]}`,
		index, b.prefix, index, b.prefix)
	status := b.post("/_aliases", body)
	require.Equal(b.t, table.AliasMustExist, status == http.StatusOK, "must_exist answered with %d", status)

	for _, kind := range []string{"flattened", "flat_object"} {
		status := b.post("/_index_template/_simulate", fmt.Sprintf(
			`{"index_patterns":["%s.sim*"],"template":{"mappings":{"properties":{"f":{"type":%q}}}}}`, b.prefix, kind))
		require.Equal(b.t, info.Flattened == kind, status == http.StatusOK, "%s answered with %d", kind, status)
	}
	want := map[devstack.EngineKind]string{
		devstack.Elasticsearch717: "flattened", devstack.Elasticsearch710: "", devstack.OpenSearch219: "flat_object",
	}
	require.Equal(b.t, want[b.kind], info.Flattened)
}

// post asks the engine past the client and returns the status.
func (b *bench) post(path, body string) int {
	req, err := http.NewRequestWithContext(b.ctx, http.MethodPost, b.url+path, strings.NewReader(body))
	require.NoError(b.t, err)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	require.NoError(b.t, err)
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	require.NoError(b.t, err)
	return res.StatusCode
}

func testNothingFound(b *bench) {
	none := b.prefix + ".none"
	indices, err := b.Indices(b.ctx, none+"*", none)
	require.NoError(b.t, err)
	require.Empty(b.t, indices)
	stats, err := b.Stats(b.ctx, none+"*", none)
	require.NoError(b.t, err)
	require.Empty(b.t, stats)
	aliases, err := b.Aliases(b.ctx, none+"*", none)
	require.NoError(b.t, err)
	require.Empty(b.t, aliases)
	for _, pattern := range []string{none, none + "*"} {
		templates, err := b.Templates(b.ctx, pattern)
		require.NoError(b.t, err)
		require.Empty(b.t, templates)
	}
	blocked, err := b.BlockWrites(b.ctx, none+"*", none)
	require.NoError(b.t, err)
	require.Empty(b.t, blocked)
	require.NoError(b.t, b.Refresh(b.ctx, none+"*"))
	require.NoError(b.t, b.DeleteTemplate(b.ctx, none))
	require.NoError(b.t, b.UnblockWrites(b.ctx, none))

	_, err = b.Count(b.ctx, none)
	require.ErrorIs(b.t, err, upgrader.ErrNotFound)
	_, err = b.Get(b.ctx, none, []string{"1"})
	require.ErrorIs(b.t, err, upgrader.ErrNotFound)
	_, err = b.Page(b.ctx, stream.PageRequest{Index: none, Size: 1, From: -1, To: 1})
	require.ErrorIs(b.t, err, upgrader.ErrNotFound)

	// No pattern must never mean every index.
	indices, err = b.Indices(b.ctx)
	require.NoError(b.t, err)
	require.Empty(b.t, indices)
	for _, wide := range []string{"", "*", "_all", "*a", "-" + b.prefix} {
		_, err = b.BlockWrites(b.ctx, wide)
		require.Error(b.t, err, wide)
		_, err = b.Stats(b.ctx, wide)
		require.Error(b.t, err, wide)
	}
}
