package elastic

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/tidwall/gjson"

	"github.com/tracardi/tms/upgrader"
)

// SeqNoCounts implements upgrader.Engine. The caller chooses a width that
// gives fewer stretches than search.max_buckets (65,535 by default).
func (c *Client) SeqNoCounts(ctx context.Context, index string, shard int, to, width int64) (map[int64]int64, error) {
	op := fmt.Sprintf("count documents of %s, shard %d, per %d sequence numbers", index, shard, width)
	if err := checkNames(op, index); err != nil {
		return nil, err
	}
	body := fmt.Appendf(nil, `{"size":0,"track_total_hits":false,"query":{"range":{"_seq_no":{"lte":%d}}},"aggs":{"n":{"histogram":{"field":"_seq_no","interval":%d,"min_doc_count":1}}}}`, to, width)
	res, err := c.fetch(ctx, call{op: op, request: fixed(request{
		method: http.MethodPost, path: "/" + index + "/_search", body: body,
		query: query("preference", "_shards:"+strconv.Itoa(shard),
			"allow_partial_search_results", "false", "request_cache", "false"),
	})})
	if err != nil {
		return nil, err
	}
	root := gjson.ParseBytes(res.body)
	if root.Get("timed_out").Bool() || root.Get("_shards.failed").Int() != 0 || root.Get("_shards.total").Int() != 1 {
		return nil, &upgrader.EngineError{
			Op: op, Status: http.StatusServiceUnavailable, Type: "shards_failed", Reason: "the answer is not complete",
		}
	}
	out := map[int64]int64{}
	root.Get("aggregations.n.buckets").ForEach(func(_, b gjson.Result) bool {
		out[int64(b.Get("key").Float())] = b.Get("doc_count").Int()
		return true
	})
	return out, nil
}
