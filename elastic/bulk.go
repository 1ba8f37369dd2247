package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/tidwall/gjson"

	"github.com/tracardi/tms/upgrader"
)

// bulkFields is all that is read of a bulk answer.
const bulkFields = "errors,items.*.status,items.*.result,items.*.error.type,items.*.error.reason,items.*.error.caused_by"

// Bulk implements upgrader.Engine. It is never repeated. An answer for the
// whole request (413: send less at a time; 429: later) is an *EngineError.
// The engine creates an index that is missing: see to it that it is there.
func (c *Client) Bulk(ctx context.Context, ops []upgrader.BulkOp) ([]upgrader.BulkResult, error) {
	if len(ops) == 0 {
		return nil, nil
	}
	op := fmt.Sprintf("write %d documents, the first to %s", len(ops), ops[0].Index)
	body, err := bulkBody(op, ops)
	if err != nil {
		return nil, err
	}
	res, err := c.fetch(ctx, call{op: op, once: true, request: fixed(request{
		method: http.MethodPost, path: "/_bulk", body: body, header: ndjson,
		query: query("filter_path", bulkFields),
	})})
	if err != nil {
		return nil, err
	}
	return decodeBulk(op, res.body, ops)
}

// bulkAction is the line before a document.
type bulkAction struct {
	Index   string `json:"_index"`
	ID      string `json:"_id"`
	Routing string `json:"routing,omitempty"`
	SeqNo   *int64 `json:"if_seq_no,omitempty"`
	Term    *int64 `json:"if_primary_term,omitempty"`
	Alias   bool   `json:"require_alias,omitempty"`
}

func bulkBody(op string, ops []upgrader.BulkOp) ([]byte, error) {
	size := 0
	for i := range ops {
		size += len(ops[i].Source) + len(ops[i].Index) + len(ops[i].ID) + 64
	}
	body := bytes.NewBuffer(make([]byte, 0, size))
	for i := range ops {
		o := &ops[i]
		if err := checkNames(op, o.Index); err != nil {
			return nil, err
		}
		if o.ID == "" || o.Delete == (o.Source != nil) || (o.Create || o.Script != "") && (o.Delete || o.If != nil) || o.Create && o.Script != "" {
			return nil, fmt.Errorf("%s: operation %d on %s needs an id, and either a source or delete; create, a version and a script exclude each other", op, i, o.Index)
		}
		if err := bulkLines(body, op, o); err != nil {
			return nil, err
		}
	}
	return body.Bytes(), nil
}

// bulkLines writes one operation. With a script there are two: an update
// performs it on the document given only where none is stored yet.
func bulkLines(body *bytes.Buffer, op string, o *upgrader.BulkOp) error {
	about := bulkAction{Index: o.Index, ID: o.ID, Routing: o.Routing, Alias: o.RequireAlias}
	if o.If != nil {
		about.SeqNo, about.Term = &o.If.SeqNo, &o.If.Term
	}
	action, err := marshal(op, about)
	if err != nil {
		return err
	}
	write := func(verb string, line []byte) {
		body.WriteString(`{"` + verb + `":`)
		body.Write(line)
		body.WriteString("}\n")
	}
	switch {
	case o.Delete:
		write("delete", action)
	case o.Script == "":
		verb := "index"
		if o.Create {
			verb = "create"
		}
		write(verb, action)
		body.Write(oneLine(o.Source))
		body.WriteByte('\n')
	default:
		script, err := marshal(op, map[string]any{"lang": "painless", "source": o.Script, "params": o.Params})
		if err != nil {
			return err
		}
		write("delete", action)
		write("update", action)
		body.WriteString(`{"scripted_upsert":true,"script":`)
		body.Write(script)
		body.WriteString(`,"upsert":`)
		body.Write(oneLine(o.Source))
		body.WriteString("}\n")
	}
	return nil
}

// oneLine makes a document fit for a format in which lines count. Inside JSON
// strings there are no raw newlines, so those that there are separate tokens,
// which a space does as well; numbers keep their spelling.
func oneLine(source json.RawMessage) []byte {
	if bytes.IndexByte(source, '\n') < 0 {
		return source
	}
	return bytes.ReplaceAll(source, []byte{'\n'}, []byte{' '})
}

func decodeBulk(op string, body []byte, ops []upgrader.BulkOp) ([]upgrader.BulkResult, error) {
	var answers []upgrader.BulkResult
	gjson.ParseBytes(body).Get("items").ForEach(func(_, item gjson.Result) bool {
		item.ForEach(func(verb, answer gjson.Result) bool {
			answers = append(answers, bulkResult(verb.Str, answer))
			return false
		})
		return true
	})
	results := make([]upgrader.BulkResult, 0, len(ops))
	at := 0
	for i := range ops {
		if ops[i].Script != "" {
			if at < len(answers) && !answers[at].OK {
				results, at = append(results, answers[at]), at+2 // the deletion says why
				continue
			}
			at++
		}
		if at < len(answers) {
			results = append(results, answers[at])
		}
		at++
	}
	if at != len(answers) || len(results) != len(ops) {
		return nil, &upgrader.EngineError{
			Op: op, Err: fmt.Errorf("the engine answered for %d of %d operations", len(results), len(ops)),
		}
	}
	return results, nil
}

func bulkResult(verb string, answer gjson.Result) upgrader.BulkResult {
	r := upgrader.BulkResult{Status: int(answer.Get("status").Int())}
	failure := answer.Get("error")
	if !failure.Exists() {
		// A delete of what is not there has status 404 and no error; a
		// missing index has both.
		if verb == "update" && answer.Get("result").Str == "noop" {
			return upgrader.DroppedResult()
		}
		r.OK = r.Status >= 200 && r.Status < 300 || verb == "delete" && r.Status == http.StatusNotFound
		return r
	}
	var x exception
	if err := json.Unmarshal([]byte(failure.Raw), &x); err == nil {
		r.Type, r.Reason = x.words()
	}
	if verb == "delete" && r.Type == "index_not_found_exception" {
		r.OK = true
	}
	return r
}
