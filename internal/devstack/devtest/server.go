package devtest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tracardi/tms/internal/devstack"
)

const (
	// DatabaseURLEnv and ElasticURLEnv name the shared servers.
	DatabaseURLEnv = "TMS_TEST_DATABASE_URL"
	ElasticURLEnv  = "TMS_TEST_ELASTIC_URL"

	// startLimit includes resolving the engine's jars on a new machine.
	startLimit = 16 * time.Minute
)

// EngineSettings are what test engines run with: many tests share one node,
// and the default of 1000 shards would be used up by a dozen tenants.
func EngineSettings() map[string]string {
	return map[string]string{"cluster.max_shards_per_node": "10000"}
}

// ElasticURLEnvOf is the variable that names a running engine of a kind that
// is not the default one.
func ElasticURLEnvOf(kind devstack.EngineKind) string {
	return ElasticURLEnv + "_" + strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(string(kind)))
}

// servers are those of this process, each started at most once.
var servers struct {
	mu       sync.Mutex
	dir      string
	release  func()
	postgres *startedPostgres
	engines  map[devstack.EngineKind]*startedEngine
}

type startedPostgres struct {
	server *devstack.Postgres // nil when it came from the environment
	dsn    string
	err    error
}

type startedEngine struct {
	engine *devstack.Engine // nil when it came from the environment
	url    string
	err    error
	ready  chan struct{}
}

// EngineKind is the kind of the engine that [Engine] returns.
func EngineKind() devstack.EngineKind {
	kind, err := devstack.EngineKindFromEnv()
	if err != nil {
		panic(err) // a typing error in TMS_DEV_ENGINE: no test can run
	}
	return kind
}

// Engine returns the base URL of the shared engine, without a trailing slash.
func Engine(t testing.TB) string {
	t.Helper()
	return EngineOf(t, EngineKind())
}

// EngineOf returns the base URL of the shared engine of a kind, starting it
// when no other test of this process has.
func EngineOf(t testing.TB, kind devstack.EngineKind) string {
	t.Helper()
	started := engineEntry(kind)
	<-started.ready
	if started.err != nil {
		t.Fatalf("start %s for the tests: %v", kind, started.err)
	}
	return started.url
}

func engineEntry(kind devstack.EngineKind) *startedEngine {
	servers.mu.Lock()
	defer servers.mu.Unlock()
	if started, ok := servers.engines[kind]; ok {
		return started
	}
	if servers.engines == nil {
		servers.engines = map[devstack.EngineKind]*startedEngine{}
	}
	started := &startedEngine{ready: make(chan struct{})}
	servers.engines[kind] = started
	url := os.Getenv(ElasticURLEnvOf(kind))
	if url == "" && kind == EngineKind() {
		url = os.Getenv(ElasticURLEnv)
	}
	if url != "" {
		started.url = strings.TrimRight(url, "/")
		close(started.ready)
		return started
	}
	dir, err := processDir()
	if err != nil {
		started.err = err
		close(started.ready)
		return started
	}
	go started.start(kind, filepath.Join(dir, string(kind)))
	return started
}

func (s *startedEngine) start(kind devstack.EngineKind, dir string) {
	defer close(s.ready)
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	s.engine, s.err = devstack.StartEngine(ctx, devstack.EngineOptions{
		Kind: kind, Dir: dir, ShortLived: true, Settings: EngineSettings(),
	})
	if s.err == nil {
		s.url = s.engine.URL()
	}
}

// Postgres returns the URL of the shared server's maintenance database, as
// superuser. Tests that store something want [Database] instead.
func Postgres(t testing.TB) string {
	t.Helper()
	servers.mu.Lock()
	defer servers.mu.Unlock()
	if servers.postgres == nil {
		servers.postgres = startPostgres()
	}
	if servers.postgres.err != nil {
		t.Fatalf("start PostgreSQL for the tests: %v", servers.postgres.err)
	}
	return servers.postgres.dsn
}

func startPostgres() *startedPostgres {
	if dsn := os.Getenv(DatabaseURLEnv); dsn != "" {
		return &startedPostgres{dsn: dsn}
	}
	dir, err := processDir()
	if err != nil {
		return &startedPostgres{err: err}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	server, err := devstack.StartPostgres(ctx, devstack.PostgresOptions{Dir: filepath.Join(dir, "postgres"), Unsafe: true})
	if err != nil {
		return &startedPostgres{err: err}
	}
	return &startedPostgres{server: server, dsn: server.DSN()}
}

// processDir is this process's directory for servers. The caller holds
// servers.mu.
func processDir() (string, error) {
	if servers.dir != "" {
		return servers.dir, nil
	}
	dir, release, err := devstack.MemoryDir("test")
	if err != nil {
		return "", err
	}
	servers.dir, servers.release = dir, release
	return dir, nil
}

// Main runs the tests of a package, then stops the servers that they started
// and removes their data. It is optional (without it the servers end with the
// process and the data are removed by the next test run):
//
//	func TestMain(m *testing.M) { os.Exit(devtest.Main(m)) }
func Main(m *testing.M) int {
	code := m.Run()
	if err := stopServers(); err != nil {
		_, _ = os.Stderr.WriteString("stop test servers: " + err.Error() + "\n")
		return max(code, 1)
	}
	return code
}

func stopServers() error {
	servers.mu.Lock()
	defer servers.mu.Unlock()
	var failures []error
	for _, started := range servers.engines {
		<-started.ready
		if started.engine != nil {
			// Nobody needs the data: a crash is quicker than a flush.
			for _, node := range started.engine.Nodes() {
				node.Kill()
			}
			failures = append(failures, started.engine.Stop())
		}
	}
	if servers.postgres != nil && servers.postgres.server != nil {
		failures = append(failures, servers.postgres.server.Stop())
	}
	if servers.release != nil {
		servers.release()
	}
	return errors.Join(failures...)
}

// LeakOptions makes goleak ignore what belongs to the shared servers.
func LeakOptions() []goleak.Option {
	return []goleak.Option{
		goleak.IgnoreAnyFunction("github.com/tracardi/tms/internal/devstack.(*process).run"),
	}
}
