package elastic_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/elastic"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/capacity"
	"github.com/tracardi/tms/upgrader/stream"
)

// fake answers what no real engine answers on demand. Requests are recorded
// as "METHOD path"; GET / is answered by itself.
type fake struct {
	*httptest.Server
	mu       sync.Mutex
	requests []string
	headers  []http.Header
}

const secret = "s3cr3t-pass"

func newFake(t *testing.T, cfg elastic.Config, handler http.HandlerFunc) (*fake, *elastic.Client) {
	t.Helper()
	f := &fake{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			fmt.Fprint(w, `{"cluster_name":"c","cluster_uuid":"u","version":{"number":"7.17.29"},"tagline":"You Know, for Search"}`)
			return
		}
		f.mu.Lock()
		f.requests = append(f.requests, r.Method+" "+r.URL.Path)
		f.headers = append(f.headers, r.Header.Clone())
		f.mu.Unlock()
		handler(w, r)
	}))
	t.Cleanup(f.Close)
	cfg.URLs = []string{strings.Replace(f.URL, "http://", "http://elastic:"+secret+"@", 1)}
	c, err := elastic.New(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return f, c
}

func (f *fake) seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.requests...)
}

func TestIdempotentCallsAreRepeated(t *testing.T) {
	t.Parallel()
	for _, status := range []int{429, 502, 503, 504} {
		var n int
		f, c := newFake(t, elastic.Config{}, func(w http.ResponseWriter, _ *http.Request) {
			if n++; n < 3 {
				w.WriteHeader(status)
				return
			}
			fmt.Fprint(w, `{"_shards":{"total":1,"successful":1,"failed":0}}`)
		})
		require.NoError(t, c.Refresh(t.Context(), "a"))
		require.Len(t, f.seen(), 3, "status %d", status)
	}
}

func TestRepetitionEnds(t *testing.T) {
	t.Parallel()
	f, c := newFake(t, elastic.Config{}, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTooManyRequests)
		fmt.Fprint(w, `{"error":{"type":"circuit_breaking_exception","reason":"[parent] Data too large"},"status":429}`)
	})
	start := time.Now()
	err := c.Refresh(t.Context(), "a")
	e := engineError(t, err)
	require.Equal(t, upgrader.EngineError{
		Op: "refresh a", Status: 429, Type: "circuit_breaking_exception", Reason: "[parent] Data too large",
	}, *e)
	require.True(t, e.Retryable())
	require.LessOrEqual(t, len(f.seen()), 5)
	require.Less(t, time.Since(start), 10*time.Second)
}

// What is not idempotent, and what is refused for good, is sent once.
func TestSentOnce(t *testing.T) {
	t.Parallel()
	calls := map[string]func(context.Context, *elastic.Client) error{
		"start reindex": func(ctx context.Context, c *elastic.Client) error {
			_, err := c.StartReindex(ctx, upgrader.Reindex{Source: "a", Target: "b"})
			return err
		},
		"create index": func(ctx context.Context, c *elastic.Client) error {
			return c.CreateIndex(ctx, "a", upgrader.IndexBody{})
		},
		"bulk": func(ctx context.Context, c *elastic.Client) error {
			_, err := c.Bulk(ctx, []upgrader.BulkOp{{Index: "a", ID: "1", Delete: true}})
			return err
		},
	}
	for name, call := range calls {
		for _, status := range []int{413, 429, 503} {
			f, c := newFake(t, elastic.Config{}, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(status)
				fmt.Fprint(w, "<html>proxy</html>")
			})
			require.Equal(t, status, engineError(t, call(t.Context(), c)).Status, name)
			require.Len(t, f.seen(), 1, "%s after %d", name, status)
		}
		f, c := newFake(t, elastic.Config{}, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		require.Equal(t, 0, engineError(t, call(t.Context(), c)).Status, name)
		require.Len(t, f.seen(), 1, name)
	}
	f, c := newFake(t, elastic.Config{}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	require.Equal(t, 403, engineError(t, c.Refresh(t.Context(), "a")).Status)
	require.Len(t, f.seen(), 1)
}

func TestHalfAnswerIsNoAnswer(t *testing.T) {
	t.Parallel()
	_, c := newFake(t, elastic.Config{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, `{"errors":false,"items":[`)
	})
	_, err := c.Bulk(t.Context(), []upgrader.BulkOp{{Index: "a", ID: "1", Delete: true}})
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Equal(t, 0, engineError(t, err).Status)
}

// Answers that look like success and are none.
func TestHalfSuccess(t *testing.T) {
	t.Parallel()
	block := func(ctx context.Context, c *elastic.Client) error { _, err := c.BlockWrites(ctx, "a.*"); return err }
	for _, tc := range []struct {
		name, answer, want string
		call               func(context.Context, *elastic.Client) error
	}{
		{"fewer bulk items", `{"errors":false,"items":[]}`, "0 of 1 operations", func(ctx context.Context, c *elastic.Client) error {
			_, err := c.Bulk(ctx, []upgrader.BulkOp{{Index: "a", ID: "1", Delete: true}})
			return err
		}},
		{"block with a failed shard", `{"acknowledged":true,"shards_acknowledged":false,"indices":[{"name":"a.1","blocked":true},{"name":"a.2","failed_shards":[{"id":0,"failures":[]}]}]}`,
			"not blocked: a.2 (1 shards failed)", block},
		{"block with an exception", `{"acknowledged":true,"shards_acknowledged":true,"indices":[{"name":"a.2","exception":{"type":"x","reason":"gone"}}]}`,
			"not blocked: a.2 (gone)", block},
		{"block out of time", `{"acknowledged":true,"shards_acknowledged":false,"indices":[{"name":"a.1","blocked":true}]}`,
			"did not finish in time", block},
		{"aliases not acknowledged", `{"acknowledged":false}`, "did not finish", func(ctx context.Context, c *elastic.Client) error {
			return c.UpdateAliases(ctx, []upgrader.AliasAction{{Index: "a", Alias: "b"}})
		}},
		{"refresh of some shards", `{"_shards":{"total":3,"successful":2,"failed":1,"failures":[{"shard":0,"reason":{"type":"x","reason":"disk"}}]}}`,
			"1 of 3 shards failed, the first with: disk", func(ctx context.Context, c *elastic.Client) error { return c.Refresh(ctx, "a") }},
		{"a node left out of the task list", `{"node_failures":[{"type":"failed_node_exception","reason":"Failed node [n]"}],"tasks":{}}`,
			"Failed node", func(ctx context.Context, c *elastic.Client) error { _, err := c.ReindexTasks(ctx, "x"); return err }},
		{"count of some shards", `{"responses":[{"status":200,"_shards":{"total":2,"failed":1},"hits":{"total":{"value":1,"relation":"eq"}}}]}`,
			"not all shards", func(ctx context.Context, c *elastic.Client) error { _, err := c.Count(ctx, "a"); return err }},
		{"page that timed out", `{"timed_out":true,"_shards":{"total":1,"failed":0},"hits":{"hits":[]}}`,
			"not complete", func(ctx context.Context, c *elastic.Client) error {
				_, err := c.Page(ctx, stream.PageRequest{Index: "a", Size: 1})
				return err
			}},
	} {
		_, c := newFake(t, elastic.Config{}, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, tc.answer) })
		require.ErrorContains(t, tc.call(t.Context(), c), tc.want, tc.name)
	}
}

// A failed slice shows as an exception among the statuses of the others.
func TestSlicesWithExceptions(t *testing.T) {
	t.Parallel()
	_, c := newFake(t, elastic.Config{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("parent_task_id") {
			fmt.Fprint(w, `{"tasks":[{"node":"n","id":3,"status":{"slice_id":2,"total":5,"created":2}},{"node":"n","id":2,"status":{"slice_id":1,"total":9,"created":9}}]}`)
			return
		}
		fmt.Fprint(w, `{"completed":false,"task":{"node":"n","id":1,"status":{"total":0,"slices":[
			{"type":"script_exception","reason":"runtime error","caused_by":{"type":"x","reason":"null pointer"}},
			{"slice_id":1,"total":10,"created":9,"noops":1},null]},"headers":{"X-Opaque-Id":"o"}}}`)
	})
	got, err := c.ReindexTask(t.Context(), "n:1")
	require.NoError(t, err)
	require.Equal(t, upgrader.ReindexTask{
		ID: "n:1", OpaqueID: "o", Total: 15, Created: 11, Noops: 1, Err: "script_exception: runtime error: null pointer",
	}, got)
}

func TestDeadlines(t *testing.T) {
	t.Parallel()
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	_, c := newFake(t, elastic.Config{Timeout: 50 * time.Millisecond}, hang)
	err := c.Refresh(t.Context(), "a")
	require.ErrorIs(t, err, context.DeadlineExceeded, "the default")
	require.ErrorContains(t, err, "no complete answer within")

	_, c = newFake(t, elastic.Config{}, hang)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, c.Refresh(ctx, "a"), context.DeadlineExceeded, "the context's")

	ctx, cancel = context.WithCancel(t.Context())
	_, c = newFake(t, elastic.Config{}, func(w http.ResponseWriter, _ *http.Request) {
		cancel()
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	require.ErrorIs(t, c.Refresh(ctx, "a"), context.Canceled, "repetition ends with the context")
}

// TestShardLimitChanged has the answer of a 7.17 whose limit was raised; the
// shared engines of the other tests must keep theirs.
func TestShardLimitChanged(t *testing.T) {
	t.Parallel()
	_, c := newFake(t, elastic.Config{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/_cluster/health" {
			fmt.Fprint(w, `{"status":"green","number_of_data_nodes":2,"active_shards":7}`)
			return
		}
		fmt.Fprint(w, `{"persistent":{"cluster":{"max_shards_per_node":"1600"}},
			"defaults":{"cluster":{"max_shards_per_node":{"frozen":"3000"}}}}`)
	})
	b, err := c.Shards(t.Context())
	require.NoError(t, err)
	require.Equal(t, capacity.Shards{Open: 7, DataNodes: 2, MaxPerNode: 1600, SettingsFrom: "persistent"}, b)
}

func TestOpaqueID(t *testing.T) {
	t.Parallel()
	f, c := newFake(t, elastic.Config{OpaqueID: "tms"}, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"task":"n:1","_shards":{}}`)
	})
	require.NoError(t, c.Refresh(t.Context(), "a"))
	require.NoError(t, c.Refresh(elastic.WithOpaqueID(t.Context(), "call"), "a"))
	_, err := c.StartReindex(elastic.WithOpaqueID(t.Context(), "call"), upgrader.Reindex{Source: "a", Target: "b", OpaqueID: "move"})
	require.NoError(t, err)
	for i, want := range []string{"tms", "call", "move"} {
		require.Equal(t, want, f.headers[i].Get("X-Opaque-Id"))
		require.NotContains(t, f.headers[i].Get("Accept"), "compatible-with")
	}
}

// Credentials travel in the header and appear nowhere else.
func TestCredentialsStayHidden(t *testing.T) {
	t.Parallel()
	var logged strings.Builder
	log := slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var header string
	f, c := newFake(t, elastic.Config{Logger: log}, func(w http.ResponseWriter, r *http.Request) {
		header = r.Header.Get("Authorization")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	err := c.Refresh(t.Context(), "a")
	require.True(t, strings.HasPrefix(header, "Basic "))
	require.NotContains(t, err.Error(), secret)
	f.Close()
	_, err = c.Info(t.Context())
	require.Equal(t, 0, engineError(t, err).Status)
	down := c.Refresh(t.Context(), "a")
	require.NotContains(t, err.Error()+down.Error()+logged.String(), secret)
	require.NotEmpty(t, logged.String())

	for _, bad := range []string{"http://u:" + secret + "@", "ftp://u:" + secret + "@h", "http://u:" + secret + "%zz@h:1", "http://u:" + secret + "@h:port", "http://u:" + secret + "@h/?q=1"} {
		_, err := elastic.New(t.Context(), elastic.Config{URLs: []string{bad}})
		require.Error(t, err, bad)
		require.NotContains(t, err.Error(), secret)
	}
	_, err = elastic.New(t.Context(), elastic.Config{URLs: []string{"http://u:a@h:1", "http://u:b@h:2"}})
	require.ErrorContains(t, err, "different credentials")
	_, err = elastic.New(t.Context(), elastic.Config{})
	require.ErrorContains(t, err, "TMS_ELASTIC_URLS")
	_, err = elastic.New(t.Context(), elastic.Config{URLs: []string{"http://h"}, CACert: "no-such-file"})
	require.ErrorContains(t, err, "no-such-file")
}

// A client made while the engine is down works once it is up.
func TestEngineDownAtStart(t *testing.T) {
	t.Parallel()
	up := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		select {
		case <-up:
			fmt.Fprint(w, `{"version":{"number":"8.19.0"},"_shards":{}}`)
		default:
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(srv.Close)
	c, err := elastic.New(t.Context(), elastic.Config{URLs: []string{srv.URL}})
	require.NoError(t, err)
	require.Equal(t, 500, engineError(t, c.Refresh(t.Context(), "a")).Status)
	close(up)
	require.NoError(t, c.Refresh(t.Context(), "a"))
}

func TestUnsupportedVersions(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]string{
		`{"version":{"number":"6.8.23"}}`:                                                "elasticsearch 6.8.23 is not supported; supported are",
		`{"version":{"number":"10.0.0"}}`:                                                "elasticsearch 10.0.0 is not supported",
		`{"version":{"number":"4.0.0","distribution":"opensearch"}}`:                     "opensearch 4.0.0 is not supported",
		`{"version":{"number":"7.10.2"},"tagline":"The OpenSearch Project: https://x/"}`: "override_main_response_version",
		`{"version":{"number":"x"}}`:                                                     "not major.minor.patch",
		`{}`:                                                                             "not major.minor.patch",
		`<html>`:                                                                         "not the JSON expected",
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, answer) }))
		c, err := elastic.New(t.Context(), elastic.Config{URLs: []string{srv.URL}})
		require.NoError(t, err)
		_, err = c.Info(t.Context())
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, c.DeleteIndices(t.Context(), "a"), want, "no call goes to an unknown engine")
		srv.Close()
	}
}

func TestCompress(t *testing.T) {
	t.Parallel()
	f, c := newFake(t, elastic.Config{Compress: true}, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"items":[{"index":{"status":201}}]}`)
	})
	_, err := c.Bulk(t.Context(), []upgrader.BulkOp{{Index: "a", ID: "1", Source: json.RawMessage(`{}`)}})
	require.NoError(t, err)
	require.Equal(t, "gzip", f.headers[0].Get("Content-Encoding"))
	require.Equal(t, "gzip", f.headers[0].Get("Accept-Encoding"))
}
