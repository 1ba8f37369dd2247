package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/internal/devstack"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/server"
	"github.com/tracardi/tms/tenants"
)

const (
	// pageSize is small enough for every condition below to fill a page with
	// the fewest tenants: otherwise the small registry would have less to
	// answer.
	pageSize   = 20
	minTenants = 1_000
)

// registry is one of the two that are compared.
type registry struct {
	n       int
	ids     []string
	db      *db.DB
	service *tenants.Service
	conn    *grpc.ClientConn
	client  tmsv1.TenantServiceClient
	middle  string // page token in the middle of the list
	stop    context.CancelFunc
	mirror  chan struct{} // closed when the mirror has ended
	served  chan error    // what ended the server
	made    int           // tenants created by the benchmark

	written, loaded time.Duration
	memory          float64 // bytes that the mirror holds
}

func (r *registry) close() error {
	err := r.conn.Close()
	r.stop()
	err = errors.Join(err, <-r.served)
	<-r.mirror
	r.db.Close()
	return err
}

func (r *registry) id() string { return r.ids[rand.IntN(len(r.ids))] }

// idOf spreads ids, as those of real customers are, over the order of creation.
func idOf(i int) string { return fmt.Sprintf("t%x", sha256.Sum256([]byte(fmt.Sprint(i))))[:14] }

// fill makes a database of n tenants and a service that has loaded it.
func fill(ctx context.Context, postgres *devstack.Postgres, n int) (*registry, error) {
	name := fmt.Sprintf("tenants_%d", n)
	dsn := postgres.Database(name)
	if err := execute(ctx, postgres.DSN(), "create database "+name); err != nil {
		return nil, err
	}
	if err := db.Migrate(ctx, dsn); err != nil {
		return nil, err
	}
	sealer, err := tenants.NewSealer("the secret of the benchmark")
	if err != nil {
		return nil, err
	}
	r := &registry{n: n, mirror: make(chan struct{}), served: make(chan error, 1)}
	began := time.Now()
	if err := r.write(ctx, dsn, sealer); err != nil {
		return nil, err
	}
	r.written = time.Since(began)
	if r.db, err = db.Open(ctx, dsn); err != nil {
		return nil, err
	}
	store := db.NewRegistry(r.db, sealer)
	catalogue, err := releases.Builtin()
	if err != nil {
		return nil, err
	}
	before := heap()
	mirror := tenants.NewMirror(store, nil)
	running, stop := context.WithCancel(ctx)
	r.stop = stop
	began = time.Now()
	go func() { mirror.Run(running); close(r.mirror) }()
	select {
	case <-mirror.Loaded():
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	r.loaded = time.Since(began)
	r.memory = heap() - before
	r.service = tenants.NewService(store, mirror, known{catalogue}, nil, nil)
	if err := r.serve(running, store, mirror, catalogue); err != nil {
		return nil, err
	}
	return r, r.findMiddle(ctx)
}

// serve puts the real server in front, with all that a call passes.
func (r *registry) serve(ctx context.Context, store *db.Registry, mirror *tenants.Mirror, catalogue *releases.Catalogue) error {
	const secret, key = "the secret of the benchmark", "the key of the benchmark"
	s, err := server.New(server.Config{
		Tenants: r.service, Catalogue: catalogue,
		Auth: tenants.NewKeyring(tenants.KeyringConfig{Store: store, Mirror: mirror, Secret: secret, AdminKey: key}),
	})
	if err != nil {
		return err
	}
	var listen net.ListenConfig
	g, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	h, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, g.Close())
	}
	go func() { r.served <- s.Run(ctx, g, h) }()
	r.conn, err = grpc.NewClient(g.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithPerRPCCredentials(bearer(key)))
	r.client = tmsv1.NewTenantServiceClient(r.conn)
	return err
}

// bearer sends a key with every call.
type bearer string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (bearer) RequireTransportSecurity() bool { return false }

// known lets the registry ask the catalogue.
type known struct{ catalogue *releases.Catalogue }

func (k known) KnownRelease(version string) error { _, err := k.catalogue.Get(version); return err }

func execute(ctx context.Context, dsn string, statements ...string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// write copies the tenants in: nine in ten are active, one in ten is gold,
// each has three labels and some attributes.
func (r *registry) write(ctx context.Context, dsn string, sealer *tenants.Sealer) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	columns := []string{"id", "display_name", "email", "domain", "gui_url", "install_token", "labels", "attributes", "release", "cluster", "suspended"}
	_, err = conn.CopyFrom(ctx, pgx.Identifier{"tenants"}, columns, pgx.CopyFromSlice(r.n, func(i int) ([]any, error) {
		id := idOf(i)
		r.ids = append(r.ids, id)
		tier := "iron"
		if i%10 == 0 {
			tier = "gold"
		}
		return []any{
			id, "Customer number " + fmt.Sprint(i), "ops@" + id + ".example", id + ".tracardi.example", "https://gui." + id + ".example/",
			sealer.Seal(id, "an install token of "+id),
			map[string]string{"tier": tier, "region": fmt.Sprint("region-", i%7), "ring": fmt.Sprint(i % 4)},
			fmt.Sprintf(`{"plan": {"seats": %d, "since": "2024-01-01"}, "contract": "C-%08d"}`, i%50, i),
			[]string{"0.8.0", "0.8.1", "0.8.2"}[i%3], "default", i%10 == 7,
		}, nil
	}))
	if err != nil {
		return err
	}
	// What autovacuum does within a minute or two.
	_, err = conn.Exec(ctx, "vacuum analyze")
	return err
}

// heap is what is in use after a collection.
func heap() float64 {
	runtime.GC()
	runtime.GC() // the second one frees what finalizers held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// findMiddle walks half of the list.
func (r *registry) findMiddle(ctx context.Context) error {
	const step = 1_000
	size := min(step, r.n/2)
	for seen := 0; seen < r.n/2; seen += size {
		page, err := r.client.List(ctx, &tmsv1.ListTenantsRequest{PageSize: int32(size), PageToken: r.middle})
		if err != nil {
			return err
		}
		r.middle = page.GetNextPageToken()
	}
	return nil
}
