package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/internal/demo/child"
	"github.com/tracardi/tms/internal/devstack"
	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/robustness/skew"
)

// The two releases between which the fleet goes forth and back.
const (
	oldRelease = "0.8.1"
	newRelease = "0.8.2"
)

// oneOfEachKind is one resource of every kind: plain, partitioned, merged,
// split into partitions, transformed, static.
var oneOfEachKind = []string{"event", "profile", "session", "rule", "entity", "event-source", "bridge"}

// site is an installation of TMS with everything that it runs on. Faults and
// model meet it; the model does not go through the proxies.
type site struct {
	opts      options
	journal   *journal
	dir       string
	engine    *devstack.Engine
	postgres  *devstack.Postgres
	pool      *pgxpool.Pool // direct
	catalogue *releases.Catalogue
	keys      child.Keys
	processes []*process
	tenants   []*tenant
	http      *http.Client

	hit       sync.Map // name of a thing -> *sync.Mutex, held while it is hit
	kills     atomic.Int64
	takeovers takeovers
	round     atomic.Int64 // number of the round under way
	closers   []func() error
}

// tenant is one tenant with its writer and its reader.
type tenant struct {
	*fleet.Tenant
	writer  *fleet.Writer
	watcher *fleet.Watcher
}

// raise brings everything up. The caller closes the site, also after an error.
func raise(ctx context.Context, opts options, j *journal) (*site, error) {
	s := &site{opts: opts, journal: j, keys: child.NewKeys(), http: &http.Client{Timeout: 20 * time.Second}}
	var err error
	if s.catalogue, err = releases.Builtin(); err != nil {
		return s, err
	}
	var release func()
	if s.dir, release, err = devstack.MemoryDir("robustness"); err != nil {
		return s, err
	}
	s.closers = append(s.closers, func() error { release(); return nil })
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.build(gctx) })
	g.Go(func() error { return s.startServers(ctx) }) // they outlive the group
	if err := g.Wait(); err != nil {
		return s, err
	}
	if err := s.startProcesses(ctx); err != nil {
		return s, err
	}
	return s, s.settle(ctx)
}

// build makes the program under test.
func (s *site) build(ctx context.Context) error {
	if s.opts.binary != "" {
		return nil
	}
	s.opts.binary = filepath.Join(s.dir, "tms")
	if slices.Contains(s.opts.faults, "clock") {
		return skew.Build(ctx, "cmd/tms", s.opts.binary, filepath.Join(s.dir, "clock"))
	}
	out, err := exec.CommandContext(ctx, "go", "build", "-o", s.opts.binary, "github.com/tracardi/tms/cmd/tms").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build tms: %w\n%s", err, out)
	}
	return nil
}

func (s *site) startServers(ctx context.Context) error {
	heap := map[int]string{1: "768m", 3: "512m"}[s.opts.nodes]
	engine, err := devstack.StartEngine(ctx, devstack.EngineOptions{
		Dir: filepath.Join(s.dir, "engine"), Nodes: s.opts.nodes, Heap: heap, ShortLived: true,
		Settings: map[string]string{"cluster.max_shards_per_node": "3000"},
	})
	if err != nil {
		return err
	}
	s.engine = engine
	s.closers = append(s.closers, func() error {
		for _, n := range engine.Nodes() {
			_ = n.Continue()
			n.Kill() // nobody needs the data
		}
		return engine.Stop()
	})
	if s.postgres, err = devstack.StartPostgres(ctx, devstack.PostgresOptions{Dir: filepath.Join(s.dir, "postgres"), TCP: true, Unsafe: true}); err != nil {
		return err
	}
	s.closers = append(s.closers, s.postgres.Stop)
	if s.pool, err = pgxpool.New(ctx, s.postgres.DSN()); err != nil {
		return err
	}
	s.closers = append(s.closers, func() error { s.pool.Close(); return nil })
	return nil
}

func (s *site) startProcesses(ctx context.Context) error {
	for i := range s.opts.processes {
		l, err := newLink(s.engine.URLs(), s.postgres.DSN())
		if err != nil {
			return err
		}
		clock := filepath.Join(s.dir, fmt.Sprintf("clock-%d", i))
		server := child.Serve(child.Config{
			Env:    []string{skew.EnvFile + "=" + clock},
			Binary: s.opts.binary, DatabaseURL: l.databaseURL(s.postgres.DSN()), ElasticURLs: l.engineURLs(), Keys: s.keys,
			LogPath: filepath.Join(s.dir, fmt.Sprintf("serve-%d.log", i)),
		})
		p := &process{number: i, link: l, server: server, clock: clock}
		s.processes = append(s.processes, p)
		s.closers = append(s.closers, l.close, func() error { p.kill(); return nil })
		if err := p.start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// settle installs, fills and registers the tenants, and sets writers and
// readers to work.
func (s *site) settle(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	for i := range s.opts.tenants {
		name := fmt.Sprintf("tenant%c", 'a'+i)
		only := oneOfEachKind
		if s.opts.full {
			only = nil
		}
		ft, err := fleet.New(fleet.Config{
			URL: s.engine.URL(), Catalogue: s.catalogue, Release: oldRelease, Tenant: name, Seed: s.opts.seed + uint64(i),
			Months: s.opts.months, Only: only, WatchInterval: time.Duration(s.opts.tenants) * 30 * time.Millisecond,
		})
		if err != nil {
			return err
		}
		t := &tenant{Tenant: ft}
		s.tenants = append(s.tenants, t)
		g.Go(func() error {
			if err := ft.Install(gctx); err != nil {
				return err
			}
			if err := ft.Fill(gctx, s.opts.docs); err != nil {
				return err
			}
			_, err := s.ask(gctx, 0, http.MethodPost, "/v1/tenants", map[string]any{"id": name, "release": oldRelease})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, t := range s.tenants {
		t.writer = t.StartWriter(ctx, fleet.WriterConfig{Rate: s.opts.rate, Bulk: 5, Seed: s.opts.seed + uint64(i)})
		t.watcher = t.Watch(ctx)
	}
	return nil
}

// close ends everything, in reverse. With a place to keep it, logs and record
// survive there.
func (s *site) close(keep string) error {
	var failures []error
	for _, t := range s.tenants {
		if t.writer != nil {
			_ = t.writer.Stop() // judged already
		}
		if t.watcher != nil {
			_ = t.watcher.Stop()
		}
	}
	if keep != "" {
		failures = append(failures, s.preserve(keep))
	}
	for i := len(s.closers) - 1; i >= 0; i-- {
		failures = append(failures, s.closers[i]())
	}
	return errors.Join(failures...)
}

// preserve copies the logs and writes the record.
func (s *site) preserve(dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	logs, err := filepath.Glob(filepath.Join(s.dir, "*.log"))
	if err != nil {
		return err
	}
	more, err := filepath.Glob(filepath.Join(s.dir, "*", "*", "*.log"))
	if err != nil {
		return err
	}
	for _, path := range append(logs, more...) {
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name := strings.ReplaceAll(strings.TrimPrefix(path, s.dir+"/"), "/", "-")
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o600); err != nil {
			return err
		}
	}
	f, err := os.Create(filepath.Join(dir, "journal.ndjson"))
	if err != nil {
		return err
	}
	return errors.Join(s.journal.write(f), f.Close())
}
