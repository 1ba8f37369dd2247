package upgrader_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/elastic"
	"github.com/tracardi/tms/internal/devstack/devtest"
	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader"
)

func TestMain(m *testing.M) { os.Exit(devtest.Main(m)) }

// smallRelease are the resources that the tests run with: one of every kind
// (plain, partitioned, merged, put into a partition, with a transform, new,
// static, without a successor). The full layout runs in internal/e2e.
var smallRelease = []string{"event", "profile", "session", "rule", "entity", "event-source", "event-management", "item", "dispatch-log", "bridge", "api-instance"}

// bundle is TMS without its transport: stores on an own database, the shared
// engine, and as many workers as a test wants.
type bundle struct {
	t         *testing.T
	db        *db.DB
	pool      *pgxpool.Pool
	store     *db.Rollouts
	engine    upgrader.Engine
	url       string
	catalogue *releases.Catalogue
	service   *upgrader.Service
	log       *slog.Logger
}

func setup(t *testing.T) *bundle {
	t.Helper()
	return setupOn(t, devtest.Engine(t))
}

// setupOn is setup on another engine.
func setupOn(t *testing.T, url string) *bundle {
	t.Helper()
	ctx := t.Context()
	b := &bundle{t: t, url: url}
	whole, err := releases.Builtin()
	require.NoError(t, err)
	b.catalogue = whole.Restrict(smallRelease...)
	b.db, err = db.Open(ctx, devtest.Database(t, db.Migrate))
	require.NoError(t, err)
	t.Cleanup(b.db.Close)
	b.pool = b.db.Pool()
	b.log = slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo}))
	client, err := elastic.New(ctx, elastic.Config{URLs: []string{b.url}})
	require.NoError(t, err)
	b.engine = client
	b.store = db.NewRollouts(b.db)
	b.service = upgrader.NewService(b.store, b.engine, b.catalogue, nil)
	return b
}

// worker starts the queue of one process.
func (b *bundle) worker(engine upgrader.Engine, parts ...db.QueuePart) *db.Queue {
	b.t.Helper()
	return b.queue(upgrader.NewRunner(b.store, engine, b.catalogue, "worker-"+b.t.Name(), upgrader.Limits{}, b.log), parts...)
}

// queue starts the queue of one process with a given runner.
func (b *bundle) queue(runner *upgrader.Runner, parts ...db.QueuePart) *db.Queue {
	b.t.Helper()
	q, err := db.NewQueue(b.db, b.store, runner, b.log, parts...)
	require.NoError(b.t, err)
	require.NoError(b.t, q.Start(b.t.Context()))
	b.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(b.t, q.Stop(ctx))
	})
	return q
}

// register puts a tenant into the registry.
func (b *bundle) register(id, release string) {
	b.t.Helper()
	_, err := b.pool.Exec(b.t.Context(), `insert into tenants (id, install_token, release, cluster) values ($1, '', $2, 'default')`, id, release)
	require.NoError(b.t, err)
}

func (b *bundle) registered(id string) (release string) {
	b.t.Helper()
	require.NoError(b.t, b.pool.QueryRow(b.t.Context(), `select release from tenants where id = $1`, id).Scan(&release))
	return release
}

// tenant installs a tenant in the engine and registers it.
func (b *bundle) tenant(release string, months int) *fleet.Tenant {
	b.t.Helper()
	t, err := fleet.New(fleet.Config{URL: b.url, Catalogue: b.catalogue, Release: release, Tenant: devtest.Prefix(b.t), Seed: 1, Months: months})
	require.NoError(b.t, err)
	require.NoError(b.t, t.Install(b.t.Context()))
	b.register(t.Name(), release)
	return t
}

// start begins a rollout to a release.
func (b *bundle) start(to string, o upgrader.Options, tenants ...*fleet.Tenant) *upgrader.Rollout {
	b.t.Helper()
	for _, t := range tenants {
		o.Tenants = append(o.Tenants, t.Name())
	}
	r, err := b.service.Start(b.t.Context(), upgrader.Request{ToRelease: to, Options: o, Caller: "test"})
	require.NoError(b.t, err)
	b.conduct(r.ID)
	return r
}

// conduct does what a queue's process does for a rollout as a whole, for tests
// whose workers have no queue.
func (b *bundle) conduct(rollout string) {
	b.t.Helper()
	runner := upgrader.NewRunner(b.store, b.engine, b.catalogue, "conductor", upgrader.Limits{}, b.log)
	if err := runner.Conduct(b.t.Context(), rollout); b.t.Context().Err() == nil {
		require.NoError(b.t, err)
	}
}

// until waits until a rollout is as wanted.
func (b *bundle) until(id string, wanted func(*upgrader.Rollout) bool) *upgrader.Rollout {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 3*time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var last *upgrader.Rollout
	for {
		r, err := b.service.Get(ctx, id)
		if err == nil {
			if last = r; wanted(r) {
				return r
			}
		}
		select {
		case <-ctx.Done():
			b.t.Fatalf("rollout %s did not get there: %v, %v", id, describe(last), err)
		case <-tick.C:
		}
	}
}

// ended waits for the end of a rollout.
func (b *bundle) ended(id string) *upgrader.Rollout {
	b.t.Helper()
	return b.until(id, func(r *upgrader.Rollout) bool { return r.State.Ended() })
}

func describe(r *upgrader.Rollout) string {
	if r == nil {
		return "unknown"
	}
	s := string(r.State)
	for _, t := range r.Tenants {
		s += fmt.Sprintf("; %s %s (%s)", t.TenantID, t.State, t.Reason)
	}
	if r.Retention != nil {
		s += fmt.Sprintf("; retention %+v", *r.Retention)
	}
	if len(r.Claims) > 0 {
		s += fmt.Sprintf("; limits %+v", r.Claims)
	}
	return s
}

// judge checks a tenant from outside.
func (b *bundle) judge(t *fleet.Tenant, r *upgrader.Rollout, release string) {
	b.t.Helper()
	docs, err := b.service.Quarantine(b.t.Context(), upgrader.QuarantineFilter{RolloutID: r.ID, TenantID: t.Name()})
	require.NoError(b.t, err)
	aside := map[fleet.Document]struct{}{}
	for _, d := range docs {
		if d.Kind != upgrader.QuarantineNotCarriedBack {
			aside[fleet.Document{Index: d.Index, ID: d.ID}] = struct{}{}
		}
	}
	report, err := t.Judge(b.t.Context(), fleet.Expect{Release: release, Quarantined: aside, NotCarried: b.notCarried(t)})
	require.NoError(b.t, err)
	require.True(b.t, report.OK(), report.String())
	now, err := b.service.Get(b.t.Context(), r.ID)
	require.NoError(b.t, err)
	for _, x := range now.Tenants {
		old := slices.Sorted(slices.Values(x.Record.OldIndices))
		require.Equal(b.t, slices.Compact(slices.Clone(old)), old, "recorded more than once")
	}
}

// notCarried are the documents that the tenant's rollbacks report as not
// carried back.
func (b *bundle) notCarried(t *fleet.Tenant) map[fleet.Document]struct{} {
	b.t.Helper()
	out := map[fleet.Document]struct{}{}
	all, err := b.service.List(b.t.Context(), upgrader.RolloutFilter{Limit: 100})
	require.NoError(b.t, err)
	for _, r := range all {
		docs, err := b.service.Quarantine(b.t.Context(), upgrader.QuarantineFilter{RolloutID: r.ID, TenantID: t.Name()})
		require.NoError(b.t, err)
		for _, d := range docs {
			if d.Kind == upgrader.QuarantineNotCarriedBack {
				out[fleet.Document{Index: d.Index, ID: d.ID}] = struct{}{}
			}
		}
	}
	return out
}

// long leaves a test out of the short run, which is the one under the race
// detector: others take the same ways. `make test` runs all of them as well,
// without -short.
func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("too long for the race detector")
	}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(string(p))
	return len(p), nil
}
