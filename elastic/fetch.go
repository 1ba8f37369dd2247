package elastic

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/tidwall/gjson"

	"github.com/tracardi/tms/upgrader/stream"
)

// Fetch implements upgrader.Engine.
func (c *Client) Fetch(ctx context.Context, shard, most int, indices ...string) ([]stream.Doc, bool, error) {
	op := fmt.Sprintf("read shard %d of %s", shard, described(indices))
	if err := checkNames(op, indices...); err != nil {
		return nil, false, err
	}
	if most < 1 || most >= maxHits {
		return nil, false, fmt.Errorf("%s: %d is not in 1..%d", op, most, maxHits-1)
	}
	if len(indices) == 0 {
		return nil, true, nil
	}
	// One more than wanted tells whether that is all.
	body := fmt.Appendf(nil, `{"size":%d,"sort":["_doc"],"seq_no_primary_term":true,"track_total_hits":false}`, most+1)
	var docs []stream.Doc
	err := c.multiSearch(ctx, op, []search{{indices, body, "_shards:" + strconv.Itoa(shard)}}, func(_ int, answer gjson.Result) (bad error) {
		if n := answer.Get("_shards.total").Int(); n != int64(len(indices)) {
			return fmt.Errorf("%s: %d shards answered for %d indices", op, n, len(indices))
		}
		answer.Get("hits.hits").ForEach(func(_, hit gjson.Result) bool {
			d := stream.Doc{SeqNo: -1, Shard: shard}
			hit.ForEach(func(key, v gjson.Result) bool {
				switch key.Str {
				case "_index":
					d.Index = v.String()
				case "_id":
					d.ID = v.String()
				case "_routing":
					d.Routing = v.String()
				case "_seq_no":
					d.SeqNo = v.Int()
				case "_primary_term":
					d.Term = v.Int()
				case "_source":
					d.Source = json.RawMessage(v.Raw)
				}
				return true
			})
			if d.ID == "" || d.SeqNo < 0 || d.Source == nil {
				bad = fmt.Errorf("%s: hit %q lacks its sequence number or _source; is _source switched off in the mapping?", op, d.ID)
				return false
			}
			docs = append(docs, d)
			return true
		})
		return bad
	})
	if err != nil {
		return nil, false, err
	}
	return docs[:min(len(docs), most)], len(docs) <= most, nil
}
