package releases_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/tracardi/tms/internal/devstack/devtest"
	"github.com/tracardi/tms/releases"
)

func newPrefix(t testing.TB) string { return devtest.Prefix(t) }

// rapidChecks replaces rapid's default of 100, unless the command line says
// otherwise: every check is a conversation with the engine.
const rapidChecks = "25"

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		_ = f.Value.Set(rapidChecks)
	}
	os.Exit(devtest.Main(m))
}

// engine talks plain HTTP to the search engine under test: the domain must not
// know the adapter, and the test wants the bytes as they are.
type engine struct {
	url  string
	http http.Client
}

func newEngine(t testing.TB) *engine {
	return &engine{url: devtest.Engine(t), http: http.Client{Timeout: time.Minute}}
}

// failer is what both testing.TB and rapid.T offer.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// call sends JSON and returns status and body.
func (e *engine) call(t failer, method, path string, body []byte) (int, []byte) {
	t.Helper()
	req, err := http.NewRequest(method, e.url+path, bytes.NewReader(body))
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := e.http.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return res.StatusCode, raw
}

func (e *engine) must(t failer, method, path string, body any) []byte {
	t.Helper()
	raw, ok := body.([]byte)
	if !ok && body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
	}
	status, answer := e.call(t, method, path, raw)
	if status >= 300 {
		t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	return answer
}

// allowCompilations lifts the limit on scripts (150 in 5 minutes on 7.17): TMS
// needs a dozen, this test one per transform it draws.
func allowCompilations(t failer, e *engine) {
	t.Helper()
	e.must(t, "PUT", "/_cluster/settings", map[string]any{"transient": map[string]any{"script.max_compilations_rate": "10000/1m"}})
}

func (e *engine) create(t failer, index string, mapping, settings map[string]any) {
	t.Helper()
	all := map[string]any{"number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "-1"}
	for k, v := range settings {
		if k != "number_of_shards" && k != "refresh_interval" {
			all[k] = v
		}
	}
	e.must(t, "PUT", "/"+index+"?wait_for_active_shards=0", map[string]any{"settings": map[string]any{"index": all}, "mappings": mapping})
}

// index stores documents under the ids and returns, per document, the engine's
// refusal or "".
func (e *engine) index(t failer, index string, ids []string, docs [][]byte) []string {
	t.Helper()
	var body bytes.Buffer
	for i, d := range docs {
		fmt.Fprintf(&body, "{\"index\":{\"_id\":\"%s\"}}\n%s\n", ids[i], d)
	}
	var answer struct {
		Items []struct {
			Index struct {
				Status int
				Error  struct {
					Type, Reason string
					CausedBy     struct{ Reason string } `json:"caused_by"`
				}
			}
		}
	}
	if err := json.Unmarshal(e.must(t, "POST", "/"+index+"/_bulk?refresh=true", body.Bytes()), &answer); err != nil {
		t.Fatalf("bulk: %v", err)
	}
	out := make([]string, len(docs))
	for i, item := range answer.Items {
		if item.Index.Status >= 300 {
			out[i] = item.Index.Error.Type + ": " + item.Index.Error.Reason + ": " + item.Index.Error.CausedBy.Reason
		}
	}
	return out
}

// number makes n ids.
func number(prefix string, n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = prefix + strconv.Itoa(i)
	}
	return ids
}

func byID(ids []string) map[string]any {
	return map[string]any{"ids": map[string]any{"values": ids}}
}

// documents returns the sources of those of the documents that are there, byte
// for byte.
func (e *engine) documents(t failer, index string, ids []string) map[string]json.RawMessage {
	t.Helper()
	var answer struct {
		Hits struct {
			Hits []struct {
				ID     string          `json:"_id"`
				Source json.RawMessage `json:"_source"`
			}
		}
	}
	if err := json.Unmarshal(e.must(t, "POST", "/"+index+"/_search", map[string]any{"size": len(ids), "query": byID(ids)}), &answer); err != nil {
		t.Fatalf("search: %v", err)
	}
	out := map[string]json.RawMessage{}
	for _, h := range answer.Hits.Hits {
		out[h.ID] = h.Source
	}
	return out
}

type reindexed struct {
	Total, Created, Noops int
	Failures              []json.RawMessage
}

func (e *engine) reindex(t failer, from, to string, ids []string, transform releases.Transform) reindexed {
	t.Helper()
	script, params := transform.Painless()
	body := map[string]any{"source": map[string]any{"index": from, "query": byID(ids)}, "dest": map[string]any{"index": to}}
	if script != "" {
		body["script"] = map[string]any{"lang": "painless", "source": script, "params": params}
	}
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatalf("reindex: %v", err)
	}
	status, answer := e.call(t, "POST", "/_reindex?refresh=true", raw)
	var out reindexed
	if err := json.Unmarshal(answer, &out); err != nil || (status >= 300 && len(out.Failures) == 0) {
		t.Fatalf("reindex: %d %s\n%s", status, answer, script)
	}
	return out
}
