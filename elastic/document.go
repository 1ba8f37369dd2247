package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/stream"
)

// maxHits is index.max_result_window's default: the most hits a search
// returns.
const maxHits = 10000

// Sizes of the parts in which long lists are asked for: large enough that the
// round trip does not count, small enough for the engine's queues (a search
// queue holds 1000) and memory.
const (
	getBatch   = 1000
	findBatch  = 1000
	countBatch = 200
)

// document reads one hit. Source is a part of body, byte for byte as the
// engine stored it; strings are copies, so that they do not hold on to it.
// gjson rather than encoding/json: it does not decode _source, which is nearly
// all there is.
func document(body []byte, hit gjson.Result, index string) stream.Doc {
	d := stream.Doc{Index: index, SeqNo: -1}
	hit.ForEach(func(key, v gjson.Result) bool {
		switch key.Str {
		case "_index":
			if v.Str != index {
				d.Index = strings.Clone(v.Str)
			}
		case "_id":
			d.ID = strings.Clone(v.Str)
		case "_routing":
			d.Routing = strings.Clone(v.Str)
		case "_seq_no":
			d.SeqNo = v.Int()
		case "_primary_term":
			d.Term = v.Int()
		case "_source":
			d.Source = json.RawMessage(body[v.Index : v.Index+len(v.Raw) : v.Index+len(v.Raw)])
		}
		return true
	})
	return d
}

// Get implements upgrader.Engine. It looks on the shard that an id belongs to,
// so it does not find documents that were written with a routing of their own
// (Tracardi writes none); Page and FindIDs do.
func (c *Client) Get(ctx context.Context, index string, ids []string) (map[string]stream.Doc, error) {
	op := fmt.Sprintf("get %d documents of %s", len(ids), index)
	if err := checkNames(op, index); err != nil {
		return nil, err
	}
	out := make(map[string]stream.Doc, len(ids))
	for len(ids) > 0 {
		part := ids[:min(getBatch, len(ids))]
		ids = ids[len(part):]
		body, err := marshal(op, map[string][]string{"ids": part})
		if err != nil {
			return nil, err
		}
		res, err := c.fetch(ctx, call{op: op, request: fixed(request{
			method: http.MethodPost, path: "/" + index + "/_mget", body: body, query: query("realtime", "true"),
		})})
		if err != nil {
			return nil, err
		}
		if err := decodeGot(op, res.body, index, len(part), out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func decodeGot(op string, body []byte, index string, want int, out map[string]stream.Doc) error {
	got := 0
	var bad error
	gjson.ParseBytes(body).Get("docs").ForEach(func(_, item gjson.Result) bool {
		got++
		if e := item.Get("error"); e.Exists() {
			bad = itemFailure(op, e.Raw, 0)
			return false
		}
		if item.Get("found").Bool() {
			d := document(body, item, index)
			out[d.ID] = d
		}
		return true
	})
	if bad == nil && got != want {
		bad = fmt.Errorf("%s: the engine answered for %d of %d ids", op, got, want)
	}
	return bad
}

// itemFailure is the error of one part of a joint request.
func itemFailure(op, raw string, status int) error {
	e := &upgrader.EngineError{Op: op, Status: status}
	var x exception
	if err := json.Unmarshal([]byte(raw), &x); err == nil {
		e.Type, e.Reason = x.words()
	}
	if e.Status == 0 {
		e.Status = http.StatusInternalServerError
		if e.Type == "index_not_found_exception" {
			e.Status = http.StatusNotFound
		}
	}
	return e
}

// Count implements upgrader.Engine: live documents as far as refreshed. A
// shard that does not answer, or a missing index, is an error.
func (c *Client) Count(ctx context.Context, names ...string) (map[string]int64, error) {
	op := "count documents of " + described(names)
	if err := checkNames(op, names...); err != nil {
		return nil, err
	}
	out := make(map[string]int64, len(names))
	for len(names) > 0 {
		part := names[:min(countBatch, len(names))]
		names = names[len(part):]
		searches := make([]search, len(part))
		for i, n := range part {
			searches[i] = search{indices: []string{n}, body: []byte(`{"size":0,"track_total_hits":true}`)}
		}
		err := c.multiSearch(ctx, op, searches, func(i int, res gjson.Result) error {
			total := res.Get("hits.total.value")
			if !total.Exists() || res.Get("hits.total.relation").Str != "eq" {
				return fmt.Errorf("%s: no exact total for %s", op, part[i])
			}
			out[part[i]] = total.Int()
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// FindIDs implements upgrader.Engine. Indices in which nothing was found have
// no entry.
func (c *Client) FindIDs(ctx context.Context, indices, ids []string) (map[string][]string, error) {
	op := fmt.Sprintf("look for %d ids in %s", len(ids), described(indices))
	if err := checkNames(op, indices...); err != nil {
		return nil, err
	}
	out := make(map[string][]string)
	if len(indices) == 0 {
		return out, nil
	}
	for len(ids) > 0 {
		part := ids[:min(findBatch, len(ids))]
		ids = ids[len(part):]
		if err := c.findPart(ctx, op, indices, part, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// findPart asks for one part of the ids, and again for halves of it when they
// are in so many indices that one answer does not hold them.
func (c *Client) findPart(ctx context.Context, op string, indices, ids []string, out map[string][]string) error {
	body, err := marshal(op, map[string]any{
		"size": maxHits, "_source": false, "track_total_hits": true, "sort": []string{"_doc"},
		"query": map[string]any{"ids": map[string]any{"values": ids}},
	})
	if err != nil {
		return err
	}
	var tooMany bool
	one := []search{{indices: indices, body: body}}
	err = c.multiSearch(ctx, op, one, func(_ int, res gjson.Result) error {
		hits := res.Get("hits.hits").Array()
		if total := res.Get("hits.total.value").Int(); total != int64(len(hits)) {
			tooMany = true
			return nil
		}
		for _, h := range hits {
			index := strings.Clone(h.Get("_index").Str)
			out[index] = append(out[index], strings.Clone(h.Get("_id").Str))
		}
		return nil
	})
	switch {
	case err != nil || !tooMany:
		return err
	case len(ids) == 1:
		return fmt.Errorf("%s: id %q is there more than %d times", op, ids[0], maxHits)
	}
	half := len(ids) / 2
	return errors.Join(c.findPart(ctx, op, indices, ids[:half], out), c.findPart(ctx, op, indices, ids[half:], out))
}

// search is one part of a multi-search. The names stand in the body, where
// the limit of the request line does not count.
type search struct {
	indices    []string
	body       []byte
	preference string // "" for none
}

// multiSearch sends all searches in one request and calls each with every
// complete answer, in order. It fails as a whole when one of them fails or is
// not complete.
func (c *Client) multiSearch(ctx context.Context, op string, searches []search, each func(int, gjson.Result) error) error {
	var body bytes.Buffer
	for _, s := range searches {
		header := map[string]any{"index": s.indices, "allow_partial_search_results": false}
		if s.preference != "" {
			header["preference"] = s.preference
		}
		head, err := marshal(op, header)
		if err != nil {
			return err
		}
		body.Write(head)
		body.WriteByte('\n')
		body.Write(s.body)
		body.WriteByte('\n')
	}
	res, err := c.fetch(ctx, call{op: op, request: fixed(request{
		method: http.MethodPost, path: "/_msearch", body: body.Bytes(), header: ndjson,
	})})
	if err != nil {
		return err
	}
	answers := gjson.ParseBytes(res.body).Get("responses").Array()
	if len(answers) != len(searches) {
		return fmt.Errorf("%s: the engine answered %d of %d searches", op, len(answers), len(searches))
	}
	for i, a := range answers {
		if e := a.Get("error"); e.Exists() {
			return itemFailure(op+" ("+described(searches[i].indices)+")", e.Raw, int(a.Get("status").Int()))
		}
		if a.Get("timed_out").Bool() || a.Get("_shards.failed").Int() != 0 || !a.Get("hits").Exists() {
			return &upgrader.EngineError{
				Op: op, Status: http.StatusServiceUnavailable, Type: "shards_failed",
				Reason: "not all shards of " + described(searches[i].indices) + " answered",
			}
		}
		if err := each(i, a); err != nil {
			return err
		}
	}
	return nil
}
