package server_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/tracardi/tms/adoption"
	"github.com/tracardi/tms/backups"
	"github.com/tracardi/tms/cleanup"
	"github.com/tracardi/tms/clusters"
	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/events"
	"github.com/tracardi/tms/hooks"
	"github.com/tracardi/tms/internal/devstack/devtest"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/server"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/budget"
	"github.com/tracardi/tms/upgrader/report"
)

const (
	adminKey    = "admin key of the test"
	instanceKey = "instance-key-of-the-test"
	secret      = "secret of the test"
)

// bundle is a complete server on a database of its own.
type bundle struct {
	testing.TB
	dsn      string
	log      *lockedBuffer
	clock    *clock
	db       *db.DB
	server   *server.Server
	upgrades *scriptedUpgrades
	cluster  *emptyCluster
	purges   *tenants.Purges
	webhooks *events.Webhooks
	hooks    tmsv1.WebhookServiceClient
	conn     *grpc.ClientConn
	url      string
	tenants  tmsv1.TenantServiceClient
	jobs     tmsv1.OperationServiceClient
	audit    tmsv1.AuditServiceClient
	keys     tmsv1.ApiKeyServiceClient
	releases tmsv1.ReleaseServiceClient
	rollouts tmsv1.UpgradeServiceClient
	events   tmsv1.EventServiceClient
	stop     context.CancelFunc // tells the server to close down
}

// clock can be set forward, to see things expire.
type clock struct {
	mu     sync.Mutex
	offset time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

type knownReleases struct{ *releases.Catalogue }

func (k knownReleases) KnownRelease(v string) error { _, err := k.Get(v); return err }

func setup(t testing.TB) *bundle {
	t.Helper()
	return setupOn(t, devtest.Database(t, db.Migrate), 0)
}

// setupOn is a server on a given database, with a limit of calls.
func setupOn(t testing.TB, dsn string, rateLimit float64) *bundle {
	t.Helper()
	return setupWith(t, options{dsn: dsn, rateLimit: rateLimit, secret: secret})
}

// options of a server.
type options struct {
	dsn         string
	rateLimit   float64
	secret, old string
	strangers   float64
	networks    []netip.Prefix // where webhooks may go
	// of watches
	bookmark, stall time.Duration
}

// How long, and how often, tests look for what takes milliseconds.
const (
	patience = 10 * time.Second
	tick     = 5 * time.Millisecond
)

func setupWith(t testing.TB, o options) *bundle {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	b := &bundle{TB: t, dsn: o.dsn, log: &lockedBuffer{}, clock: &clock{}, upgrades: &scriptedUpgrades{}}
	log := slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	d, err := db.Open(ctx, o.dsn)
	require.NoError(t, err)
	b.db = d
	sealer, err := tenants.NewSealer(o.secret, o.old)
	require.NoError(t, err)
	library, err := releases.OpenLibrary(t.Context(), db.NewReleases(d), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	catalogue := library.Catalogue()
	store := db.NewRegistry(d, sealer)
	mirror := tenants.NewMirror(store, log)
	purgeStore := db.NewPurges(store)
	b.cluster = &emptyCluster{}
	b.purges = tenants.NewPurges(tenants.PurgesConfig{
		Store: purgeStore, Mirror: mirror, Clusters: tenants.OneCluster(b.cluster), Prefixes: func() []string { return []string{"08x"} }, Owner: "test", Now: b.clock.now, Logger: log,
	})
	keyring := tenants.NewKeyring(tenants.KeyringConfig{Store: store, Mirror: mirror, Secret: o.secret, OldSecrets: []string{o.old}, InstanceKey: instanceKey, AdminKey: adminKey, Now: b.clock.now, Logger: log})
	named := clusters.NewService(clusters.Config{Store: db.NewClusters(d, sealer), Engines: paperEngines{}, Catalogue: catalogue, Now: b.clock.now})
	registry := tenants.NewService(store, mirror, knownReleases{catalogue}, nil, b.clock.now).WithPlaces(paperPlaces{named}, func() []string { return []string{"08x"} })
	pages, err := tenants.NewPages(o.secret, o.old)
	require.NoError(t, err)
	feed := events.NewFeed(db.NewEvents(d), log)
	b.webhooks = events.NewWebhooks(events.WebhooksConfig{
		Store: db.NewWebhooks(d, sealer), Log: db.NewEvents(d), Sender: hooks.NewSender(o.networks), Pages: pages, Owner: "test", Now: b.clock.now, Logger: log,
	})
	// Rehearsals and the progress of rollouts are asked for on an empty store.
	unused := upgrader.NewService(db.NewRollouts(d), nil, catalogue, b.clock.now).
		WithRehearsals(db.NewRehearsals(d)).WithProgress(db.NewRollouts(d), 0)
	b.server, err = server.New(server.Config{
		Progress: unused, Reports: report.NewReporter(unused, db.NewRollouts(d)), Rehearsals: unused,
		Webhooks: b.webhooks,
		Watches:  events.NewWatches(events.WatchesConfig{Feed: feed, Registry: registry, Pages: pages, Bookmark: o.bookmark}), WatchStall: o.stall,
		Tenants: registry, Keys: tenants.NewKeys(store, mirror, nil, b.clock.now),
		Purges: b.purges, Trail: tenants.NewTrail(store, nil), Fleet: emptyFleet{}, Clusters: named, Backups: scriptedBackups{}, Cleanups: cleanup.NewService(cleanup.Config{Engine: emptyLand{}, Registry: store, Catalogue: catalogue, Store: db.NewCleanups(d), Owner: "test", Now: b.clock.now, Log: log}), RateLimit: o.rateLimit, StrangerLimit: o.strangers, Auth: keyring, Catalogue: catalogue, Library: library, Upgrades: b.upgrades, Budgets: budget.NewService(db.NewRollouts(d)), Verification: scriptedVerification{}, Ready: func(ctx context.Context) ([]string, error) { return nil, d.CheckVersion(ctx) }, DefaultRelease: "0.8.1", Logger: log,
	})
	require.NoError(t, err)
	grpcListener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	httpListener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var running sync.WaitGroup
	running.Go(func() { mirror.Run(ctx) })
	running.Go(func() { keyring.Run(ctx) })
	running.Go(func() { feed.Run(ctx) })
	served := make(chan error, 1)
	go func() { served <- b.server.Run(ctx, grpcListener, httpListener) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-served)
		running.Wait()
		d.Close()
	})
	b.url = "http://" + httpListener.Addr().String()
	b.conn, err = grpc.NewClient(grpcListener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.conn.Close() })
	b.stop, b.events = cancel, tmsv1.NewEventServiceClient(b.conn)
	b.hooks = tmsv1.NewWebhookServiceClient(b.conn)
	b.audit = tmsv1.NewAuditServiceClient(b.conn)
	b.jobs = tmsv1.NewOperationServiceClient(b.conn)
	b.tenants, b.keys = tmsv1.NewTenantServiceClient(b.conn), tmsv1.NewApiKeyServiceClient(b.conn)
	b.releases, b.rollouts = tmsv1.NewReleaseServiceClient(b.conn), tmsv1.NewUpgradeServiceClient(b.conn)
	select {
	case <-mirror.Loaded():
	case <-time.After(20 * time.Second):
		t.Fatal("mirror not loaded")
	}
	return b
}

// as is the context of a call with a credential.
func (b *bundle) as(credential string) context.Context {
	return metadata.AppendToOutgoingContext(b.Context(), "authorization", "Bearer "+credential)
}

func (b *bundle) admin() context.Context { return b.as(adminKey) }

func (b *bundle) create(id string) *tmsv1.Tenant {
	b.Helper()
	t, err := b.tenants.Create(b.admin(), &tmsv1.CreateTenantRequest{Tenant: &tmsv1.Tenant{Id: id, Release: "0.8.1"}})
	require.NoError(b, err)
	return t
}

// key makes a key of the role and returns its id and secret.
func (b *bundle) key(role tenants.Role) (id, secret string) {
	b.Helper()
	k, err := b.keys.Create(b.admin(), &tmsv1.CreateApiKeyRequest{DisplayName: "test " + string(role), Role: string(role)})
	require.NoError(b, err)
	return k.GetApiKey().GetId(), k.GetSecret()
}

type reply struct {
	code   int
	header http.Header
	body   string
}

func (r reply) json(t *testing.T) map[string]any {
	t.Helper()
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(r.body), &v), r.body)
	return v
}

func (b *bundle) http(method, path, credential, body string) reply {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), method, b.url+path, strings.NewReader(body))
	require.NoError(b, err)
	if credential != "" {
		req.Header.Set("Authorization", "Bearer "+credential)
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(b, err)
	defer res.Body.Close()
	if res.StatusCode == http.StatusOK && (strings.HasSuffix(path, "/tenants:watch") || strings.HasSuffix(path, "/rollouts:watch")) { // it has no end
		line, err := bufio.NewReader(res.Body).ReadString('\n')
		require.NoError(b, err)
		return reply{res.StatusCode, res.Header, line}
	}
	raw, err := io.ReadAll(res.Body)
	require.NoError(b, err)
	return reply{res.StatusCode, res.Header, string(raw)}
}

// emptyCluster is a search cluster that holds nothing; what is tested here is
// the way to and from a purge.
type emptyCluster struct{}

func (*emptyCluster) Indices(context.Context, ...string) ([]string, error) { return nil, nil }
func (*emptyCluster) Aliases(context.Context, ...string) (map[string][]string, error) {
	return nil, nil
}
func (*emptyCluster) Templates(context.Context, string) ([]string, error)      { return nil, nil }
func (*emptyCluster) DeleteIndices(context.Context, ...string) error           { return nil }
func (*emptyCluster) RemoveAliases(context.Context, map[string][]string) error { return nil }
func (*emptyCluster) DeleteTemplate(context.Context, string) error             { return nil }

// scriptedBackups has everything of tenant acme.
type scriptedBackups struct{}

func (scriptedBackups) PutRepository(_ context.Context, _ tenants.Caller, r backups.Repository) (*backups.Repository, error) {
	return &r, nil
}

func (scriptedBackups) VerifyRepository(_ context.Context, _ tenants.Caller, name string) (*backups.Repository, error) {
	return &backups.Repository{Name: name}, nil
}

func (scriptedBackups) Repositories(context.Context) ([]backups.Repository, error) {
	return []backups.Repository{{Name: "nas", Kind: backups.KindFS}}, nil
}

func (scriptedBackups) RemoveRepository(context.Context, tenants.Caller, string) error { return nil }

func (scriptedBackups) Import(context.Context, tenants.Caller, string) ([]string, error) {
	return nil, nil
}

func (s scriptedBackups) Create(ctx context.Context, _ tenants.Caller, _ backups.SnapshotOrder) (*backups.Run, error) {
	return s.Run(ctx, backups.RunSnapshot, "tms-1")
}

func (scriptedBackups) Run(_ context.Context, kind backups.RunKind, id string) (*backups.Run, error) {
	r := &backups.Run{ID: id, Kind: kind, State: backups.StateSuccess, Tenants: []string{"acme"}}
	if kind == backups.RunRestore {
		r.Restore = &backups.Restore{Tenant: "acme"}
		return r, nil
	}
	r.Snapshot = &backups.Snapshot{}
	return r, nil
}

func (s scriptedBackups) Runs(ctx context.Context, f backups.Filter) ([]*backups.Run, error) {
	if f.Visible != nil {
		return nil, nil
	}
	r, err := s.Run(ctx, f.Kind, "1")
	return []*backups.Run{r}, err
}

func (scriptedBackups) Manifests(context.Context, string, ...string) ([]backups.Manifest, error) {
	return []backups.Manifest{{Tenant: "acme"}}, nil
}

func (s scriptedBackups) Delete(ctx context.Context, _ tenants.Caller, id string) (*backups.Run, error) {
	return s.Run(ctx, backups.RunSnapshot, id)
}

func (scriptedBackups) Plan(context.Context, backups.RestoreOrder) (*backups.Restore, []backups.Refusal, error) {
	return &backups.Restore{}, []backups.Refusal{{Code: "index_exists", TenantID: "acme", Message: "m", Remedy: "r"}}, nil
}

func (scriptedBackups) Restore(context.Context, tenants.Caller, backups.RestoreOrder) (*backups.Run, error) {
	return nil, &backups.Error{Reason: backups.ReasonRefused, Message: "no", Refusals: []backups.Refusal{{Code: "index_exists", TenantID: "acme", Message: "m", Remedy: "r"}}}
}

func (s scriptedBackups) RemoveRestore(ctx context.Context, _ tenants.Caller, id string) (*backups.Run, error) {
	return s.Run(ctx, backups.RunRestore, id)
}

func (scriptedBackups) Drill(context.Context, tenants.Caller, backups.DrillOrder) (*backups.Run, error) {
	return &backups.Run{Kind: backups.RunRestore, Restore: &backups.Restore{Drill: true}}, nil
}

func (scriptedBackups) CreatePolicy(_ context.Context, _ tenants.Caller, p backups.Policy) (*backups.Policy, error) {
	return &p, nil
}

func (scriptedBackups) Policy(_ context.Context, name string) (*backups.Policy, error) {
	return &backups.Policy{Name: name}, nil
}

func (scriptedBackups) Policies(context.Context) ([]*backups.Policy, error) { return nil, nil }

func (scriptedBackups) NativePolicies(context.Context) ([]backups.NativePolicy, []string, error) {
	return nil, nil, nil
}

func (scriptedBackups) UpdatePolicy(_ context.Context, _ tenants.Caller, p backups.Policy) (*backups.Policy, error) {
	return &p, nil
}

func (scriptedBackups) DeletePolicy(context.Context, tenants.Caller, string) error { return nil }

func (s scriptedBackups) RunPolicy(ctx context.Context, _ tenants.Caller, name, _ string) (*backups.Run, error) {
	return s.Run(ctx, backups.RunSnapshot, name)
}

// emptyFleet is a comparison of nothing with nothing.
type emptyFleet struct{}

func (emptyFleet) Discover(context.Context) (*adoption.Discovery, error) {
	return &adoption.Discovery{}, nil
}

func (emptyFleet) Import(context.Context, tenants.Caller, adoption.ImportRequest) ([]adoption.Imported, error) {
	return nil, nil
}

func (emptyFleet) Adopt(_ context.Context, _ tenants.Caller, r adoption.AdoptRequest) (adoption.Imported, error) {
	return adoption.Imported{ID: r.ID}, nil
}

func (emptyFleet) Show(context.Context, string) (*adoption.Sheet, error) {
	return &adoption.Sheet{}, nil
}

func (emptyFleet) Capture(_ context.Context, r adoption.CaptureRequest) (*adoption.Capture, error) {
	return &adoption.Capture{Draft: &releases.Draft{Version: r.Version, Prefix: r.Prefix}}, nil
}

func (emptyFleet) Drift(context.Context) (*adoption.Report, error) { return &adoption.Report{}, nil }
