package cleanup_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/cleanup"
	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/elastic"
	"github.com/tracardi/tms/internal/devstack/devtest"
	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
)

func TestMain(m *testing.M) { os.Exit(devtest.Main(m)) }

var caller = tenants.Caller{KeyID: "test", Role: tenants.RoleAdmin}

// bundle is cleanups without the transport, on a real engine and an own
// database.
type bundle struct {
	t         *testing.T
	ctx       context.Context
	url       string
	db        *db.DB
	registry  *db.Registry
	store     *db.Cleanups
	engine    *elastic.Client
	catalogue *releases.Catalogue
}

func setup(t *testing.T) *bundle {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	whole, err := releases.Builtin()
	require.NoError(t, err)
	b := &bundle{t: t, ctx: ctx, url: devtest.Engine(t), catalogue: whole.Restrict("event", "rule", "bridge")}
	b.db, err = db.Open(ctx, devtest.Database(t, db.Migrate))
	require.NoError(t, err)
	t.Cleanup(b.db.Close)
	sealer, err := tenants.NewSealer("secret of the test")
	require.NoError(t, err)
	b.registry, b.store = db.NewRegistry(b.db, sealer), db.NewCleanups(b.db)
	b.engine, err = elastic.New(ctx, elastic.Config{URLs: []string{b.url}})
	require.NoError(t, err)
	t.Cleanup(b.engine.Close)
	return b
}

func (b *bundle) service(owner string, store cleanup.Store) *cleanup.Service {
	return cleanup.NewService(cleanup.Config{
		Engine: b.engine, Registry: b.registry, Catalogue: b.catalogue, Store: store, Owner: owner, Turn: 2, Pause: 10 * time.Millisecond,
	})
}

func (b *bundle) exec(sql string, args ...any) {
	b.t.Helper()
	_, err := b.db.Pool().Exec(b.ctx, sql, args...)
	require.NoError(b.t, err)
}

// install makes a tenant of 0.8.1, registered on a release.
func (b *bundle) install(name, release string) {
	b.t.Helper()
	t, err := fleet.New(fleet.Config{URL: b.url, Catalogue: b.catalogue, Release: "0.8.1", Tenant: name, Seed: 1, Months: 1})
	require.NoError(b.t, err)
	require.NoError(b.t, t.Install(b.ctx))
	b.exec(`insert into tenants (id, install_token, release, cluster) values ($1, '', $2, 'default')`, name, release)
}

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

func (b *bundle) standing(pattern string) []cleanup.Index {
	b.t.Helper()
	found, err := b.engine.Standing(b.ctx, pattern, "prod-"+pattern, "static-"+pattern)
	require.NoError(b.t, err)
	return found
}

func refusals(p *cleanup.Plan) (out []string) {
	for _, r := range p.Refusals {
		out = append(out, r.Code)
	}
	return out
}

// dying is the store of a process that is killed: its claims are never given
// back.
type dying struct{ *db.Cleanups }

func (dying) Release(context.Context, *tenants.Operation, string, time.Duration, ...tenants.Audit) error {
	return nil
}

// The whole way of one tenant's old version on a real engine: everything that
// refuses, then the deletion in turns, through the death of a process, and a
// neighbour whose name begins the same.
func TestCleanup(t *testing.T) {
	t.Parallel()
	b := setup(t)
	name := devtest.Prefix(t)
	neighbour := name + "2"
	b.install(name, "0.8.1")
	b.install(neighbour, "0.8.1")
	one := b.service("one", b.store)
	ask := cleanup.Request{Version: "0.8.1", Tenants: []string{name}, WithoutSnapshot: true}
	plan := func(r cleanup.Request) *cleanup.Plan {
		p, err := one.Plan(b.ctx, r)
		require.NoError(t, err)
		return p
	}

	require.Equal(t, []string{"alias_in_use", "version_in_use"}, refusals(plan(ask)))
	_, _, err := one.Run(b.ctx, caller, ask)
	require.ErrorContains(t, err, "release 0.8.1")
	// All tenants of the shared engine are looked at; nothing is written.
	require.Contains(t, refusals(plan(cleanup.Request{Version: "08x", WithoutSnapshot: true})), "version_in_use")

	// The tenant goes on to 0.8.2: its aliases leave the old version.
	b.exec(`update tenants set release = '0.8.2' where id = $1`, name)
	b.must("POST", "/_aliases", fmt.Sprintf(`{"actions": [{"remove": {"index": "08x.%[1]s.*", "alias": "*"}}, {"remove": {"index": "prod-08x.%[1]s.*", "alias": "*"}}]}`, name))
	require.Equal(t, []string{"static_missing"}, refusals(plan(ask)), "its static alias would lead to nothing")
	b.must("PUT", "/static-0820."+name+".tracardi-bridge", "")
	require.Equal(t, []string{"snapshot_missing"}, refusals(plan(cleanup.Request{Version: "0.8.1", Tenants: []string{name}})))

	before := plan(ask)
	require.Empty(t, before.Refusals)
	require.Len(t, before.Tenants, 1)
	old := before.Tenants[0]
	require.Len(t, old.Indices, len(b.standing("08x."+name+".*")))
	require.Greater(t, len(old.Indices), 4)
	require.Equal(t, []cleanup.Correction{{Alias: "static-" + name + ".tracardi-bridge", Index: "static-0820." + name + ".tracardi-bridge"}}, old.Corrections)
	require.NotEmpty(t, old.Templates)

	// What is new since is not deleted under an old digest; closed ones count.
	b.must("PUT", "/08x."+name+".tracardi-late", "")
	b.must("POST", "/08x."+name+".tracardi-late/_close", "")
	ask.Digest = before.Digest
	_, _, err = one.Run(b.ctx, caller, ask)
	require.ErrorContains(t, err, "not as planned any more")
	ask.Digest = plan(ask).Digest

	op, _, err := one.Run(b.ctx, caller, ask)
	require.NoError(t, err)
	again, _, err := one.Run(b.ctx, caller, ask)
	require.NoError(t, err)
	require.Equal(t, op.ID, again.ID, "asked for twice, begun once")

	// A process does one turn and is killed.
	require.NoError(t, b.service("killed", dying{b.store}).Work(b.ctx, op.ID))
	require.Len(t, b.standing("08x."+name+".*"), len(old.Indices)+1-2)
	require.NoError(t, one.Work(b.ctx, op.ID), "taken: nothing is done")
	require.Len(t, b.standing("08x."+name+".*"), len(old.Indices)+1-2)

	// Its lease ends, and another process goes on.
	b.exec(`update operations set lease_until = now() where id = $1`, op.ID)
	b.work(one)
	done := b.await(op.ID)
	require.Equal(t, tenants.OperationSucceeded, done.State, done.Message)
	require.False(t, done.Result.ProvenAt.IsZero())
	require.Positive(t, done.Result.Turns)
	require.Empty(t, b.standing("08x."+name+".*"))
	templates, err := b.engine.Templates(b.ctx, "template.08x."+name+".*")
	require.NoError(t, err)
	require.Empty(t, templates)
	aliases, err := b.engine.Aliases(b.ctx, "static-"+name+".tracardi-bridge")
	require.NoError(t, err)
	require.Equal(t, map[string][]string{"static-" + name + ".tracardi-bridge": {"static-0820." + name + ".tracardi-bridge"}}, aliases)

	require.NotEmpty(t, b.standing("08x."+neighbour+".*"), "the neighbour is left alone")
	require.Equal(t, []string{"alias_in_use", "version_in_use"}, refusals(plan(cleanup.Request{Version: "0.8.1", Tenants: []string{neighbour}})))
	var trail int
	require.NoError(t, b.db.Pool().QueryRow(b.ctx, `select count(*) from audit where action in ('version.cleanup', 'version.cleaned') and subject = 'release/0.8.1'`).Scan(&trail))
	require.Equal(t, 2, trail)
}

// An alias that comes while a cleanup runs keeps what it leads to; and a
// rollout does not start for a tenant that is being cleaned.
func TestReaderComesMeanwhile(t *testing.T) {
	t.Parallel()
	b := setup(t)
	name := devtest.Prefix(t)
	b.exec(`insert into tenants (id, install_token, release, cluster) values ($1, '', '0.8.2', 'default')`, name)
	for _, base := range []string{"a", "b", "c", "d"} {
		b.must("PUT", "/08x."+name+"."+base, "")
	}
	one := b.service("one", b.store)
	op, _, err := one.Run(b.ctx, caller, cleanup.Request{Version: "0.8.1", Tenants: []string{name}, WithoutSnapshot: true})
	require.NoError(t, err)
	rollouts := db.NewRollouts(b.db)
	err = rollouts.CreateRollout(b.ctx, &upgrader.Rollout{
		ID: "r1", ToRelease: "0.8.1", State: upgrader.RolloutRunning, Wish: upgrader.WishRun, CreatedAt: time.Now(),
		Tenants: []upgrader.RolloutTenant{{RolloutID: "r1", TenantID: name, FromRelease: "0.8.2", State: upgrader.TenantPlanned}},
	}, nil, "")
	require.ErrorContains(t, err, "is being removed")

	require.NoError(t, one.Work(b.ctx, op.ID)) // a turn of two
	left := b.standing("08x." + name + ".*")
	require.Len(t, left, 2)
	b.must("PUT", "/"+left[1].Name+"/_alias/"+name+"-report", "")
	b.exec(`update operations set next_at = now() where id = $1`, op.ID)
	require.ErrorContains(t, one.Work(b.ctx, op.ID), "use the version again")
	require.Len(t, b.standing("08x."+name+".*"), 2, "what one reader uses, all keep")
	require.Equal(t, tenants.OperationFailed, b.await(op.ID).State)
}

// work lets a queue do the turns.
func (b *bundle) work(s *cleanup.Service) {
	b.t.Helper()
	log := slog.New(slog.DiscardHandler)
	rollouts := db.NewRollouts(b.db)
	q, err := db.NewQueue(b.db, rollouts, upgrader.NewRunner(rollouts, b.engine, b.catalogue, "test", upgrader.Limits{}, log), log, db.CleanupWork(b.store, s))
	require.NoError(b.t, err)
	require.NoError(b.t, q.Start(b.ctx))
	b.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(b.t, q.Stop(ctx))
	})
}

func (b *bundle) await(id string) *tenants.Operation {
	b.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		op, err := db.NewPurges(b.registry).Operation(b.ctx, id)
		require.NoError(b.t, err)
		if op.State != tenants.OperationRunning {
			return op
		}
		select {
		case <-b.ctx.Done():
			b.t.Fatalf("operation did not end: %+v", op)
		case <-tick.C:
		}
	}
}
