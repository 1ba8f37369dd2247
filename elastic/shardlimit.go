package elastic

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/tracardi/tms/upgrader"
)

var _ upgrader.LimitEngine = (*Client)(nil)

const shardLimit = "cluster.max_shards_per_node"

// ShardSettings implements upgrader.LimitEngine.
func (c *Client) ShardSettings(ctx context.Context) (upgrader.ShardSettings, error) {
	const op = "read the cluster's shard limit"
	var s upgrader.ShardSettings
	var levels map[string]map[string]any
	err := c.do(ctx, call{op: op, request: func() esapi.Request {
		return esapi.ClusterGetSettingsRequest{
			IncludeDefaults: ptr(true), FlatSettings: ptr(true), FilterPath: []string{"*." + shardLimit},
		}
	}}, &levels)
	if err != nil {
		return s, err
	}
	for level, at := range map[string]**int{"persistent": &s.Persistent, "transient": &s.Transient} {
		if text, ok := levels[level][shardLimit].(string); ok {
			n, err := strconv.Atoi(text)
			if err != nil {
				return s, fmt.Errorf("%s: %s is %q, want a number", op, shardLimit, text)
			}
			*at = &n
		}
	}
	if text, ok := levels["defaults"][shardLimit].(string); ok { // absent where the setting is set
		if s.Default, err = strconv.Atoi(text); err != nil {
			return s, fmt.Errorf("%s: the default of %s is %q, want a number", op, shardLimit, text)
		}
	}
	if s.Default == 0 && s.Persistent == nil && s.Transient == nil {
		return s, fmt.Errorf("%s: the cluster does not tell %s", op, shardLimit)
	}
	return s, nil
}

// SetShardLimit implements upgrader.LimitEngine.
func (c *Client) SetShardLimit(ctx context.Context, level string, value *int) error {
	const op = "set cluster setting " + shardLimit
	body, err := marshal(op, map[string]any{level: map[string]any{shardLimit: value}})
	if err != nil {
		return err
	}
	return c.change(ctx, op, fixed(request{method: http.MethodPut, path: "/_cluster/settings", body: body}))
}
