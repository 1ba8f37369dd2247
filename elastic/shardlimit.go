package elastic

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/tracardi/tms/upgrader/shardlimit"
)

var _ shardlimit.Engine = (*Client)(nil)

const shardLimit = "cluster.max_shards_per_node"

// ShardSettings implements shardlimit.Engine.
func (c *Client) ShardSettings(ctx context.Context) (shardlimit.Settings, error) {
	const op = "read the cluster's shard limit"
	var s shardlimit.Settings
	var levels map[string]struct {
		Cluster struct {
			// A text, unless it is an object of the setting's children: see Shards.
			Max any `json:"max_shards_per_node"`
		} `json:"cluster"`
	}
	err := c.do(ctx, call{op: op, request: func() esapi.Request {
		return esapi.ClusterGetSettingsRequest{IncludeDefaults: ptr(true), FilterPath: []string{"*." + shardLimit}}
	}}, &levels)
	if err != nil {
		return s, err
	}
	for level, at := range map[string]**int{"persistent": &s.Persistent, "transient": &s.Transient} {
		if *at, err = limitOf(levels[level].Cluster.Max); err != nil {
			return s, fmt.Errorf("%s: %w", op, err)
		}
	}
	standard, err := limitOf(levels["defaults"].Cluster.Max) // absent where the setting is set
	if err != nil {
		return s, fmt.Errorf("%s: %w", op, err)
	}
	if standard != nil {
		s.Default = *standard
	}
	if s.Default == 0 && s.Persistent == nil && s.Transient == nil {
		return s, fmt.Errorf("%s: the cluster does not tell %s", op, shardLimit)
	}
	return s, nil
}

// limitOf reads a setting; nil when it is not set.
func limitOf(v any) (*int, error) {
	text, ok := v.(string)
	if !ok {
		return nil, nil //nolint:nilnil // not set is a value
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return nil, fmt.Errorf("%s is %q, want a number", shardLimit, text)
	}
	return &n, nil
}

// SetShardLimit implements shardlimit.Engine.
func (c *Client) SetShardLimit(ctx context.Context, level string, value *int) error {
	const op = "set cluster setting " + shardLimit
	body, err := marshal(op, map[string]any{level: map[string]any{shardLimit: value}})
	if err != nil {
		return err
	}
	return c.change(ctx, op, fixed(request{method: http.MethodPut, path: "/_cluster/settings", body: body}))
}
