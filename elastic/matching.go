package elastic

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/tidwall/gjson"

	"github.com/tracardi/tms/upgrader"
)

var (
	_ upgrader.Health  = (*Client)(nil)
	_ upgrader.Matcher = (*Client)(nil)
)

// ClusterHealth implements upgrader.Health.
func (c *Client) ClusterHealth(ctx context.Context) (string, error) {
	h, err := c.Health(ctx)
	return h.Status, err
}

// CountMatching implements upgrader.Matcher. A shard that does not answer, or a
// missing index, is an error.
func (c *Client) CountMatching(ctx context.Context, index string, query json.RawMessage) (int64, error) {
	op := "count matching documents of " + index
	if err := checkNames(op, index); err != nil {
		return 0, err
	}
	body := map[string]any{"size": 0, "track_total_hits": true}
	if len(query) > 0 {
		body["query"] = query
	}
	raw, err := marshal(op, body)
	if err != nil {
		return 0, err
	}
	var n int64
	err = c.multiSearch(ctx, op, []search{{indices: []string{index}, body: raw}}, func(_ int, res gjson.Result) error {
		total := res.Get("hits.total.value")
		if !total.Exists() || res.Get("hits.total.relation").Str != "eq" {
			return fmt.Errorf("%s: no exact total", op)
		}
		n = total.Int()
		return nil
	})
	return n, err
}
