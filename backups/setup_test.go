package backups_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/backups"
	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/elastic"
	"github.com/tracardi/tms/internal/devstack/devtest"
	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
)

func TestMain(m *testing.M) { os.Exit(devtest.Main(m)) }

// small is one resource of every kind.
var small = []string{"event", "profile", "rule", "bridge"}

var caller = tenants.Caller{KeyID: "test", Role: tenants.RoleAdmin}

// bundle is backups without the transport: stores on an own database, an
// engine, and as many workers as a test wants.
type bundle struct {
	t         *testing.T
	ctx       context.Context
	url       string
	db        *db.DB
	store     *db.Backups
	engine    *elastic.Client
	catalogue *releases.Catalogue
	service   *backups.Service
	log       *slog.Logger
}

func setup(t *testing.T, url string) *bundle {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	t.Cleanup(cancel)
	whole, err := releases.Builtin()
	require.NoError(t, err)
	b := &bundle{t: t, ctx: ctx, url: url, catalogue: whole.Restrict(small...)}
	b.db, err = db.Open(ctx, devtest.Database(t, db.Migrate))
	require.NoError(t, err)
	t.Cleanup(b.db.Close)
	b.store = db.NewBackups(b.db)
	b.engine, err = elastic.New(ctx, elastic.Config{URLs: []string{url}})
	require.NoError(t, err)
	t.Cleanup(b.engine.Close)
	b.service = backups.NewService(b.store, b.engine, b.catalogue, nil)
	b.log = slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo}))
	return b
}

// worker starts the queue of one process.
func (b *bundle) worker(engine backups.Engine) *bundle {
	b.t.Helper()
	return b.workerWith(b.store, engine)
}

// rewrite changes what is recorded of a snapshot.
func (b *bundle) rewrite(snapshot string, all []backups.Manifest) {
	b.t.Helper()
	for _, m := range all {
		raw, err := json.Marshal(m)
		require.NoError(b.t, err)
		tag, err := b.db.Pool().Exec(b.ctx, `update backup_manifests set body = $3 where snapshot = $1 and tenant = $2`, snapshot, m.Tenant, raw)
		require.NoError(b.t, err)
		require.EqualValues(b.t, 1, tag.RowsAffected())
	}
}

func (b *bundle) workerWith(store backups.Store, engine backups.Engine) *bundle {
	b.t.Helper()
	runner := backups.NewRunner(store, engine, b.catalogue, "worker-"+b.t.Name(), b.log)
	rollouts := db.NewRollouts(b.db)
	upgrades := upgrader.NewRunner(rollouts, b.engine, b.catalogue, "upgrades", upgrader.Limits{}, b.log).WithSnapshots(b.service)
	q, err := db.NewQueue(b.db, rollouts, upgrades, b.log, db.BackupWork(b.store, runner))
	require.NoError(b.t, err)
	require.NoError(b.t, q.Start(b.ctx))
	b.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(b.t, q.Stop(ctx))
	})
	return b
}

// repository registers a directory of the engine under a name of this test.
func (b *bundle) repository(kind backups.Kind) *backups.Repository {
	b.t.Helper()
	name := devtest.Prefix(b.t)
	nodes, err := b.engine.Nodes(b.ctx)
	require.NoError(b.t, err)
	r, err := b.service.PutRepository(b.ctx, caller, backups.Repository{Name: name, Kind: kind, Settings: map[string]string{"location": nodes[0].PathRepo[0] + "/" + name}})
	require.NoError(b.t, err)
	b.t.Cleanup(func() { require.NoError(b.t, os.RemoveAll(nodes[0].PathRepo[0]+"/"+name)) })
	return r
}

// tenant installs, fills and registers a tenant.
func (b *bundle) tenant(release string, docs int) *fleet.Tenant {
	b.t.Helper()
	t, err := fleet.New(fleet.Config{URL: b.url, Catalogue: b.catalogue, Release: release, Tenant: devtest.Prefix(b.t), Seed: 1, Months: 1})
	require.NoError(b.t, err)
	require.NoError(b.t, t.Install(b.ctx))
	if docs > 0 {
		require.NoError(b.t, t.Fill(b.ctx, docs))
	}
	_, err = b.db.Pool().Exec(b.ctx, `insert into tenants (id, install_token, release, cluster) values ($1, '', $2, 'default')`, t.Name(), release)
	require.NoError(b.t, err)
	return t
}

// until waits until a run is as wanted.
func (b *bundle) until(kind backups.RunKind, id string, wanted func(*backups.Run) bool) *backups.Run {
	b.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last *backups.Run
	for {
		r, err := b.service.Run(b.ctx, kind, id)
		if err == nil {
			if last = r; wanted(r) {
				return r
			}
		}
		select {
		case <-b.ctx.Done():
			b.t.Fatalf("run %s did not get there: %+v, %v", id, last, err)
		case <-tick.C:
		}
	}
}

func ended(r *backups.Run) bool { return r.State.Ended() }

// snapshot takes one, which must succeed.
func (b *bundle) snapshot(repository string, o backups.SnapshotOrder) *backups.Run {
	b.t.Helper()
	o.Repository = repository
	r, err := b.service.Create(b.ctx, caller, o)
	require.NoError(b.t, err)
	r = b.until(backups.RunSnapshot, r.ID, ended)
	require.Equal(b.t, backups.StateSuccess, r.State, r.Reason)
	return r
}

// restore restores, which must succeed.
func (b *bundle) restore(o backups.RestoreOrder) *backups.Run {
	b.t.Helper()
	r, err := b.service.Restore(b.ctx, caller, o)
	require.NoError(b.t, err)
	r = b.until(backups.RunRestore, r.ID, ended)
	require.Equal(b.t, backups.StateSuccess, r.State, r.Reason)
	return r
}

// judge compares a tenant with what was acknowledged to its writers.
func (b *bundle) judge(t *fleet.Tenant, release string) {
	b.t.Helper()
	report, err := t.Judge(b.ctx, fleet.Expect{Release: release})
	require.NoError(b.t, err)
	require.True(b.t, report.OK(), "%s", report)
}

// must sends a request to the engine that has to succeed.
func (b *bundle) must(method, path, body string) string {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.ctx, method, b.url+path, strings.NewReader(body))
	require.NoError(b.t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(b.t, err)
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	require.NoError(b.t, err)
	require.Less(b.t, resp.StatusCode, 300, "%s %s: %s", method, path, answer)
	return string(answer)
}

// testWriter sends log lines to the test.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	if w.t.Context().Err() == nil { // a log after the test's end would panic
		w.t.Log(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

func only(t ...*fleet.Tenant) backups.Selection {
	var s backups.Selection
	for _, one := range t {
		s.Tenants = append(s.Tenants, one.Name())
	}
	return s
}
