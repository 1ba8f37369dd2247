package devstack

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func startTestEngine(t *testing.T, opts EngineOptions) *Engine {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = serverDir(t)
	}
	if opts.Heap == "" {
		opts.Heap = "512m"
	}
	opts.ShortLived = true
	engine, err := StartEngine(testContext(t), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := engine.Stop(); err != nil {
			t.Error(err)
		}
	})
	return engine
}

func send(t *testing.T, method, url, body string) (int, map[string]any) {
	t.Helper()
	request, err := http.NewRequestWithContext(testContext(t), method, url, bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := healthClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var answer map[string]any
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return response.StatusCode, answer
}

func mustSend(t *testing.T, method, url, body string) map[string]any {
	t.Helper()
	status, answer := send(t, method, url, body)
	if status >= 300 {
		t.Fatalf("%s %s: status %d: %v", method, url, status, answer)
	}
	return answer
}

// TestEngineKinds proves of every kind what the upgrader cannot do without:
// reindex with a Painless script, mustache, snapshots to path.repo.
func TestEngineKinds(t *testing.T) {
	versions := map[EngineKind]string{Elasticsearch717: "7.17.29", Elasticsearch710: "7.10.2", OpenSearch219: "2.19.1"}
	for _, kind := range EngineKinds() {
		t.Run(string(kind), func(t *testing.T) {
			begin := time.Now()
			engine := startTestEngine(t, EngineOptions{Kind: kind, Settings: map[string]string{"cluster.max_shards_per_node": "5000"}})
			t.Logf("start took %v", time.Since(begin))
			root := mustSend(t, http.MethodGet, engine.URL(), "")
			if got := root["version"].(map[string]any)["number"]; got != versions[kind] {
				t.Errorf("version = %v, want %s", got, versions[kind])
			}
			mustSend(t, http.MethodPut, engine.URL()+"/a/_doc/1?refresh=true", `{"n":1}`)
			mustSend(t, http.MethodPost, engine.URL()+"/_reindex?refresh=true",
				`{"source":{"index":"a"},"dest":{"index":"b"},"script":{"lang":"painless","source":"ctx._source.n += 41"}}`)
			document := mustSend(t, http.MethodGet, engine.URL()+"/b/_doc/1", "")
			if got := document["_source"].(map[string]any)["n"]; got != 42.0 {
				t.Errorf("reindexed n = %v, want 42", got)
			}
			mustSend(t, http.MethodPut, engine.URL()+"/_snapshot/r", fmt.Sprintf(`{"type":"fs","settings":{"location":%q}}`, engine.SnapshotDir()+"/r"))
			mustSend(t, http.MethodPut, engine.URL()+"/_snapshot/r/s?wait_for_completion=true", `{}`)
		})
	}
}

func TestEngineKeepsDataOverStopKillAndRestart(t *testing.T) {
	dir := serverDir(t)
	engine := startTestEngine(t, EngineOptions{Dir: dir})
	node := engine.Nodes()[0]
	mustSend(t, http.MethodPut, engine.URL()+"/kept/_doc/1?refresh=true", `{"v":"yes"}`)

	exited, url := node.Exited(), node.URL()
	node.Kill()
	awaitClosed(t, "killed node", exited)
	if node.PID() != 0 {
		t.Error("a killed node still has a process id")
	}
	if err := node.Start(testContext(t)); err != nil {
		t.Fatalf("start after kill: %v", err)
	}
	if node.URL() != url {
		t.Errorf("URL changed from %s to %s", url, node.URL())
	}
	mustSend(t, http.MethodGet, engine.URL()+"/kept/_doc/1", "")

	_, err := StartEngine(testContext(t), EngineOptions{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "in use by process") {
		t.Errorf("second start in one directory: %v, want who uses it", err)
	}
	pauseAndContinue(t, node)
	if err := engine.Stop(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	again := startTestEngine(t, EngineOptions{Dir: dir})
	t.Logf("warm start took %v", time.Since(begin))
	mustSend(t, http.MethodGet, again.URL()+"/kept/_doc/1", "")
}

// pauseAndContinue leaves the node paused, because stopping such a one must
// work too.
func pauseAndContinue(t *testing.T, node *Node) {
	t.Helper()
	if err := node.Pause(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(testContext(t), 300*time.Millisecond)
	defer cancel()
	if err := node.checkHealth(ctx, 1); err == nil {
		t.Error("a paused node answered")
	}
	if err := node.Continue(); err != nil {
		t.Fatal(err)
	}
	if err := node.checkHealth(testContext(t), 1); err != nil {
		t.Errorf("after continue: %v", err)
	}
	if err := node.Pause(); err != nil {
		t.Fatal(err)
	}
}

func TestEngineThreeNodesLoseOne(t *testing.T) {
	engine := startTestEngine(t, EngineOptions{Nodes: 3, Heap: "384m"})
	if len(engine.URLs()) != 3 {
		t.Fatalf("URLs = %v, want 3", engine.URLs())
	}
	mustSend(t, http.MethodPut, engine.URL()+"/r", `{"settings":{"number_of_shards":3,"number_of_replicas":2}}`)
	mustSend(t, http.MethodGet, engine.URL()+"/_cluster/health?wait_for_status=green&timeout=60s", "")
	engine.Nodes()[2].Kill()
	health := mustSend(t, http.MethodGet, engine.URL()+"/_cluster/health?wait_for_nodes=2&timeout=60s", "")
	if health["status"] == "red" || health["number_of_nodes"] != 2.0 {
		t.Errorf("health after losing a node = %v", health)
	}
	if err := engine.Nodes()[2].Start(testContext(t)); err != nil {
		t.Fatal(err)
	}
	mustSend(t, http.MethodGet, engine.URL()+"/_cluster/health?wait_for_nodes=3&wait_for_status=green&timeout=60s", "")
}

func TestEngineFailedStartShowsTheLog(t *testing.T) {
	_, err := StartEngine(testContext(t), EngineOptions{Dir: serverDir(t), Heap: "512m", ShortLived: true, Settings: map[string]string{"no.such.setting": "1"}})
	if err == nil || !strings.Contains(err.Error(), "no.such.setting") {
		t.Errorf("error = %v, want the engine's own words", err)
	}
}

func TestEngineTakenPortIsSaid(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	port := listener.Addr().(*net.TCPAddr).Port
	_, err = StartEngine(testContext(t), EngineOptions{Dir: serverDir(t), Heap: "512m", ShortLived: true, HTTPPort: port})
	if err == nil || !strings.Contains(err.Error(), errPortTaken.Error()) {
		t.Errorf("error = %v, want that the port is taken", err)
	}
}

func TestMissingJavaSaysWhatToInstall(t *testing.T) {
	t.Setenv("PATH", "")
	t.Setenv("JAVA_HOME", "")
	_, err := StartEngine(testContext(t), EngineOptions{Dir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "java not found") || !strings.Contains(err.Error(), "openjdk-17-jdk-headless") {
		t.Errorf("error = %v, want what is missing and how to get it", err)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error is more than one sentence: %v", err)
	}
}

func TestEngineOptionsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		opts EngineOptions
		want string
	}{
		"kind": {EngineOptions{Kind: "solr"}, "choose one of elasticsearch-7.17"},
		"heap": {EngineOptions{Heap: "lots"}, "768m"},
	} {
		if _, err := c.opts.complete(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error = %v, want %q in it", name, err, c.want)
		}
	}
}
