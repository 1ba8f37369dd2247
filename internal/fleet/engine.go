package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// callTimeout bounds every single request; the slowest one here is a bulk of a
// thousand documents on a busy two-core machine, some seconds.
const callTimeout = 60 * time.Second

func newHTTPClient(parallel int) *http.Client {
	tr := http.DefaultTransport.(*http.Transport).Clone()
	tr.MaxIdleConnsPerHost = parallel + 4
	return &http.Client{Transport: tr, Timeout: callTimeout}
}

// engine speaks to the search engine in plain HTTP and JSON.
type engine struct {
	base   string
	client *http.Client
}

// refusal is an answer of the engine with a status of 400 or more.
type refusal struct {
	op     string
	status int
	kind   string // exception type
	reason string
}

func (r *refusal) Error() string {
	return fmt.Sprintf("%s: %d %s: %s", r.op, r.status, r.kind, r.reason)
}

func isMissing(err error) bool {
	var r *refusal
	return errors.As(err, &r) && r.status == http.StatusNotFound
}

// call sends one request; in is nil, []byte (ndjson) or a value to encode. The
// answer is decoded into out with json.Number for numbers. The status is 0 when
// there was no complete answer: whether the engine acted is then unknown.
func (e *engine) call(ctx context.Context, method, path string, in, out any) (int, error) {
	op := method + " " + path
	if len(op) > 120 {
		op = op[:120] + "…"
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var body io.Reader
	kind := "application/json"
	switch v := in.(type) {
	case nil:
	case []byte:
		body, kind = bytes.NewReader(v), "application/x-ndjson"
	default:
		raw, err := json.Marshal(v)
		if err != nil {
			return 0, fmt.Errorf("%s: encode body: %w", op, err)
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(e.base, "/")+path, body)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", op, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := e.client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", op, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, fmt.Errorf("%s: read answer: %w", op, err)
	}
	if resp.StatusCode >= 400 {
		return resp.StatusCode, refused(op, resp.StatusCode, raw)
	}
	if out != nil {
		if err := decode(raw, out); err != nil {
			return 0, fmt.Errorf("%s: decode answer: %w", op, err)
		}
	}
	return resp.StatusCode, nil
}

func refused(op string, status int, raw []byte) error {
	r := &refusal{op: op, status: status}
	var body struct {
		Error json.RawMessage `json:"error"`
	}
	var cause errorCause
	if json.Unmarshal(raw, &body) == nil && json.Unmarshal(body.Error, &cause) == nil {
		r.kind, r.reason = cause.Type, cause.String()
	} else {
		r.reason = string(raw[:min(len(raw), 200)])
	}
	return r
}

// errorCause is how the engine explains a refusal.
type errorCause struct {
	Type     string      `json:"type"`
	Reason   string      `json:"reason"`
	CausedBy *errorCause `json:"caused_by"`
}

func (c errorCause) String() string {
	if c.CausedBy != nil && c.CausedBy.Reason != "" {
		return c.Reason + ": " + c.CausedBy.String()
	}
	return c.Reason
}

func decode(raw []byte, out any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return d.Decode(out)
}

// write is one operation of a bulk request: index, or delete when Source is nil.
type write struct {
	index, id string
	source    json.RawMessage
}

// verdict is the engine's answer to one write.
type verdict struct {
	status int
	result string // "created", "updated", "deleted", "not_found"
	kind   string // exception type
	reason string
}

func (v verdict) acknowledged() bool { return v.status >= 200 && v.status < 300 }

// single performs one write with a request of its own, as Tracardi does for
// profiles. An error means that nothing is known about the outcome.
func (e *engine) single(ctx context.Context, w write) (verdict, error) {
	var out struct {
		Result string `json:"result"`
	}
	method, body := http.MethodPut, any(w.source)
	if w.source == nil {
		method, body = http.MethodDelete, nil
	}
	path := "/" + url.PathEscape(w.index) + "/_doc/" + url.PathEscape(w.id)
	status, err := e.call(ctx, method, path, body, &out)
	var r *refusal
	switch {
	case err == nil:
		return verdict{status: status, result: out.Result}, nil
	case errors.As(err, &r) && r.status == http.StatusNotFound && w.source == nil && r.kind == "":
		return verdict{status: r.status, result: "not_found"}, nil
	case errors.As(err, &r) && r.status < 500:
		return verdict{status: r.status, kind: r.kind, reason: r.reason}, nil
	default:
		return verdict{}, err
	}
}

// bulk performs writes in one request and answers for each of them in order.
// An error means that nothing is known about any of them.
func (e *engine) bulk(ctx context.Context, writes []write) ([]verdict, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, w := range writes {
		action := "index"
		if w.source == nil {
			action = "delete"
		}
		if err := enc.Encode(map[string]any{action: map[string]string{"_index": w.index, "_id": w.id}}); err != nil {
			return nil, err
		}
		if w.source != nil {
			b.Write(w.source)
			b.WriteByte('\n')
		}
	}
	var out struct {
		Items []map[string]struct {
			Status int         `json:"status"`
			Result string      `json:"result"`
			Error  *errorCause `json:"error"`
		} `json:"items"`
	}
	if _, err := e.call(ctx, http.MethodPost, "/_bulk", b.Bytes(), &out); err != nil {
		return nil, err
	}
	if len(out.Items) != len(writes) {
		return nil, fmt.Errorf("POST /_bulk: %d answers for %d operations", len(out.Items), len(writes))
	}
	verdicts := make([]verdict, len(writes))
	for i, item := range out.Items {
		for _, a := range item {
			verdicts[i] = verdict{status: a.Status, result: a.Result}
			if a.Error != nil {
				verdicts[i].kind, verdicts[i].reason = a.Error.Type, a.Error.String()
			}
		}
	}
	return verdicts, nil
}

// hit is a document as a search returns it.
type hit struct {
	Index  string          `json:"_index"`
	ID     string          `json:"_id"`
	Source json.RawMessage `json:"_source"`
}

// find looks documents up by id under an alias or index, as far as refreshed.
func (e *engine) find(ctx context.Context, target string, ids ...string) ([]hit, error) {
	var out searchAnswer
	query := map[string]any{"size": 1000, "query": map[string]any{"ids": map[string]any{"values": ids}}}
	_, err := e.call(ctx, http.MethodPost, "/"+target+"/_search", query, &out)
	return out.Hits.Hits, err
}

type searchAnswer struct {
	ScrollID string `json:"_scroll_id"`
	Hits     struct {
		Hits []hit `json:"hits"`
	} `json:"hits"`
}

// scan reads every document of target once, in no order.
func (e *engine) scan(ctx context.Context, target string, each func(hit)) error {
	const page = 2000
	var out searchAnswer
	query := map[string]any{"size": page, "sort": []string{"_doc"}}
	_, err := e.call(ctx, http.MethodPost, "/"+target+"/_search?scroll=1m", query, &out)
	if err != nil {
		return err
	}
	scroll := out.ScrollID
	defer func() { // best effort: the context of a minute ends it anyhow
		_, _ = e.call(context.WithoutCancel(ctx), http.MethodDelete, "/_search/scroll", map[string]any{"scroll_id": []string{scroll}}, nil)
	}()
	for len(out.Hits.Hits) > 0 {
		for _, h := range out.Hits.Hits {
			each(h)
		}
		if len(out.Hits.Hits) < page {
			return nil
		}
		out = searchAnswer{}
		next := map[string]any{"scroll": "1m", "scroll_id": scroll}
		if _, err := e.call(ctx, http.MethodPost, "/_search/scroll", next, &out); err != nil {
			return err
		}
		scroll = out.ScrollID
	}
	return nil
}

// aliases returns alias -> indices, as one look at the cluster state. Patterns
// that match nothing are no error.
func (e *engine) aliases(ctx context.Context, patterns ...string) (map[string][]string, error) {
	var out map[string]struct {
		Aliases map[string]json.RawMessage `json:"aliases"`
	}
	_, err := e.call(ctx, http.MethodGet, "/_alias/"+strings.Join(patterns, ","), nil, &out)
	if err != nil && !isMissing(err) {
		return nil, err
	}
	found := map[string][]string{}
	for index, a := range out {
		for alias := range a.Aliases {
			found[alias] = append(found[alias], index)
		}
	}
	for _, indices := range found {
		slices.Sort(indices)
	}
	return found, nil
}

func (e *engine) indexNames(ctx context.Context, patterns ...string) ([]string, error) {
	var out map[string]json.RawMessage
	path := "/" + strings.Join(patterns, ",") + "/_settings/index.uuid?expand_wildcards=all"
	if _, err := e.call(ctx, http.MethodGet, path, nil, &out); err != nil && !isMissing(err) {
		return nil, err
	}
	names := make([]string, 0, len(out))
	for name := range out {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

func (e *engine) deleteIndices(ctx context.Context, names []string) error {
	_, err := e.call(ctx, http.MethodDelete, "/"+strings.Join(names, ",")+"?ignore_unavailable=true", nil, nil)
	return err
}

func (e *engine) refresh(ctx context.Context, patterns ...string) error {
	_, err := e.call(ctx, http.MethodPost, "/"+strings.Join(patterns, ",")+"/_refresh", nil, nil)
	return err
}

// flattenedType tells which mapping type plays "flattened" on this engine.
func (e *engine) flattenedType(ctx context.Context) (string, error) {
	var out struct {
		Version struct {
			Number       string `json:"number"`
			Distribution string `json:"distribution"`
			BuildFlavor  string `json:"build_flavor"`
		} `json:"version"`
	}
	if _, err := e.call(ctx, http.MethodGet, "/", nil, &out); err != nil {
		return "", err
	}
	v := out.Version
	switch {
	case v.Distribution == "opensearch" && !strings.HasPrefix(v.Number, "1."):
		return "flat_object", nil
	case v.Distribution == "opensearch", v.BuildFlavor == "oss":
		return "", fmt.Errorf("engine %s %s has no type for flattened objects: use Elasticsearch or OpenSearch 2.7 and later", v.Distribution, v.Number)
	default:
		return "flattened", nil
	}
}
