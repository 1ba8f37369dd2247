package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/tracardi/tms/internal/demo/child"
	"github.com/tracardi/tms/internal/devstack/devtest"
	"github.com/tracardi/tms/internal/fleet"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/releases"
)

// testLimit bounds one test. It is generous because all share two cores.
const testLimit = 8 * time.Minute

// small is one resource of every kind: plain, partitioned, merged, split into
// partitions, transformed, static.
var small = []string{"event", "profile", "session", "rule", "entity", "event-source", "bridge"}

// bundle is an installation of TMS with its servers and what they run on.
type bundle struct {
	t         *testing.T
	ctx       context.Context
	engine    string // URL
	database  string // URL
	catalogue *releases.Catalogue
	servers   []*child.Server
	keys      child.Keys
	env       []string // further NAME=value of the servers
	dir       string
}

// setup prepares an installation on the shared servers, with an own database.
// Nothing runs before serve.
func setup(t *testing.T) *bundle {
	t.Helper()
	return prepare(t, devtest.Engine(t), devtest.Database(t, nil))
}

// prepare is setup on given servers.
func prepare(t *testing.T, engine, database string) *bundle {
	t.Helper()
	catalogue, err := releases.Builtin()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	t.Cleanup(cancel)
	return &bundle{t: t, ctx: ctx, engine: engine, database: database, catalogue: catalogue, keys: child.NewKeys(), dir: t.TempDir()}
}

// serve starts n processes.
func (b *bundle) serve(n int) *bundle {
	b.t.Helper()
	for range n {
		log := filepath.Join(b.dir, fmt.Sprintf("serve-%d.log", len(b.servers)))
		s := child.Serve(child.Config{Binary: binary, DatabaseURL: b.database, ElasticURLs: []string{b.engine}, Keys: b.keys, Env: b.env, LogPath: log})
		require.NoError(b.t, s.Start(b.ctx))
		b.servers = append(b.servers, s)
		b.t.Cleanup(func() {
			s.Kill()
			if b.t.Failed() {
				b.t.Logf("%s:\n%s", filepath.Base(log), s.LogTail(40))
			}
		})
	}
	return b
}

// result is the outcome of one command.
type result struct {
	code           int
	stdout, stderr string
}

// tms runs a command against the first process.
func (b *bundle) tms(args ...string) result {
	b.t.Helper()
	return b.tmsWith(b.servers[0].ClientEnv(), args...)
}

func (b *bundle) tmsWith(env []string, args ...string) result {
	b.t.Helper()
	var out, errs bytes.Buffer
	code, err := child.Command{Binary: binary, Args: args, Env: env, Stdout: &out, Stderr: &errs}.Run(b.ctx)
	require.NoError(b.t, err, "tms %s\n%s", strings.Join(args, " "), errs.String())
	return result{code, out.String(), errs.String()}
}

// tenant is one tenant of a test and what its judge must know.
type tenant struct {
	*fleet.Tenant
	b *bundle
}

// tenant installs, fills and registers a tenant.
func (b *bundle) tenant(release string, months, docs int, only ...string) *tenant {
	b.t.Helper()
	t := b.household(devtest.Prefix(b.t), release, seed, months, only...)
	require.NoError(b.t, t.Install(b.ctx))
	require.NoError(b.t, t.Fill(b.ctx, docs))
	b.register(t.Name(), release)
	return t
}

// household is a tenant that is not in the engine yet.
func (b *bundle) household(name, release string, seed uint64, months int, only ...string) *tenant {
	b.t.Helper()
	t, err := fleet.New(fleet.Config{
		URL: b.engine, Catalogue: b.catalogue, Release: release, Tenant: name,
		Seed: seed, Months: months, Only: only, WatchInterval: 200 * time.Millisecond,
	})
	require.NoError(b.t, err)
	return &tenant{t, b}
}

func (b *bundle) register(name, release string) {
	b.t.Helper()
	got := b.tms("tenant", "create", name, "--release", release)
	require.Zero(b.t, got.code, got.stderr)
}

// rollout runs a command that prints a rollout, and returns its exit code too.
func (b *bundle) rollout(args ...string) (int, *tmsv1.Rollout) {
	b.t.Helper()
	got := b.tms(append([]string{"upgrade"}, append(args, "-o", "json")...)...)
	r := &tmsv1.Rollout{}
	require.NoError(b.t, protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal([]byte(got.stdout), r), "tms upgrade %s: exit code %d\n%s\n%s", strings.Join(args, " "), got.code, got.stdout, got.stderr)
	return got.code, r
}

// upgrade runs `tms upgrade start --wait`, which must succeed.
func (b *bundle) upgrade(to string, args ...string) *tmsv1.Rollout {
	b.t.Helper()
	code, r := b.rollout(append([]string{"start", "--to", to, "--wait"}, args...)...)
	require.Zero(b.t, code, describe(r))
	require.Equal(b.t, "complete", r.GetState(), describe(r))
	return r
}

// until asks for a rollout until it is as wanted.
func (b *bundle) until(id string, wanted func(*tmsv1.Rollout) bool) *tmsv1.Rollout {
	b.t.Helper()
	conn, err := b.servers[0].Dial()
	require.NoError(b.t, err)
	defer func() { _ = conn.Close() }()
	client := tmsv1.NewUpgradeServiceClient(conn)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last *tmsv1.Rollout
	for {
		r, err := client.Get(b.ctx, &tmsv1.GetRolloutRequest{Id: id})
		if err == nil {
			if last = r; wanted(r) {
				return r
			}
		}
		select {
		case <-b.ctx.Done():
			b.t.Fatalf("rollout %s did not get there: %s, %v", id, describe(last), err)
		case <-tick.C:
		}
	}
}

func describe(r *tmsv1.Rollout) string {
	text := "rollout " + r.GetId() + " " + r.GetState() + " " + r.GetReason()
	for _, t := range r.GetTenants() {
		text += fmt.Sprintf("; %s %s on %s (%s)", t.GetTenantId(), t.GetState(), t.GetRelease(), t.GetReason())
	}
	return text
}

// quarantined is a document as `tms upgrade quarantine -o json` shows it.
type quarantined struct {
	TenantID string          `json:"tenant_id"`
	Index    string          `json:"index"`
	ID       string          `json:"id"`
	Kind     string          `json:"kind"`
	Reason   string          `json:"reason"`
	Source   json.RawMessage `json:"source"`
}

func (b *bundle) quarantine(rollout string) []quarantined {
	b.t.Helper()
	got := b.tms("upgrade", "quarantine", rollout, "-o", "json")
	require.Zero(b.t, got.code, got.stderr)
	var list []quarantined
	require.NoError(b.t, json.Unmarshal([]byte(got.stdout), &list), got.stdout)
	return list
}

// judge compares the tenant with what was acknowledged to its writers; aside
// are the rollouts whose quarantine counts.
func (t *tenant) judge(release string, aside ...string) *fleet.Report {
	t.b.t.Helper()
	expect := fleet.Expect{Release: release, Quarantined: map[fleet.Document]struct{}{}, NotCarried: map[fleet.Document]struct{}{}}
	for _, rollout := range aside {
		for _, d := range t.b.quarantine(rollout) {
			switch {
			case d.TenantID != t.Name():
			case d.Kind == "not_carried_back":
				expect.NotCarried[fleet.Document{Index: d.Index, ID: d.ID}] = struct{}{}
			default:
				expect.Quarantined[fleet.Document{Index: d.Index, ID: d.ID}] = struct{}{}
			}
		}
	}
	report, err := t.Judge(t.b.ctx, expect)
	require.NoError(t.b.t, err)
	require.True(t.b.t, report.OK(), "%s", report)
	return report
}

// watched is a tenant with a writer and an alias watcher at work.
type watched struct {
	*tenant
	writer  *fleet.Writer
	watcher *fleet.Watcher
}

func (t *tenant) write(rate float64) *watched {
	return &watched{t, t.StartWriter(t.b.ctx, fleet.WriterConfig{Rate: rate, Bulk: 5, Seed: seed}), t.Watch(t.b.ctx)}
}

// writesOn waits until the writer has followed its aliases to a release and
// written to it.
func (w *watched) writesOn(release string) {
	w.b.t.Helper()
	var from int64
	require.NoError(w.b.t, w.writer.Wait(w.b.ctx, func(s fleet.WriterStats) bool {
		from = s.Acknowledged
		return s.Release == release
	}))
	require.NoError(w.b.t, w.writer.Wait(w.b.ctx, func(s fleet.WriterStats) bool { return s.Acknowledged > from+10 }))
}

// stop ends writer and watcher, who must have found nothing.
func (w *watched) stop() {
	w.b.t.Helper()
	require.NoError(w.b.t, w.writer.Stop())
	stats, seen := w.writer.Stats(), w.watcher.Stop()
	w.b.t.Logf("%s: %d writes acknowledged, %d refused, %d uncertain, longest gap %s; %d looks, aliases on %v",
		w.Name(), stats.Acknowledged, stats.Refused, stats.Uncertain, stats.LongestGap, seen.Samples, seen.Releases)
	require.Zero(w.b.t, stats.Invalid, stats.LastInvalid)
	require.Empty(w.b.t, seen.Discrepancies)
}

// ask sends one request to the engine.
func (b *bundle) ask(method, path, body string) (int, string) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.ctx, method, b.engine+path, strings.NewReader(body))
	require.NoError(b.t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(b.t, err)
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	require.NoError(b.t, err)
	return resp.StatusCode, string(answer)
}

// must sends a request that has to succeed.
func (b *bundle) must(method, path, body string) string {
	b.t.Helper()
	code, answer := b.ask(method, path, body)
	require.Less(b.t, code, 300, "%s %s: %s", method, path, answer)
	return answer
}

// unfenced checks that no index of the tenant's version refuses writes.
func (t *tenant) unfenced(prefix string) {
	t.b.t.Helper()
	answer := t.b.must(http.MethodGet, "/*"+prefix+"."+t.Name()+".*/_settings/index.blocks.*?flat_settings", "")
	require.NotContains(t.b.t, answer, `"index.blocks.write":"true"`)
}
