package server_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/internal/devstack/devtest"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/server"
	"github.com/tracardi/tms/tenants"
)

// BenchmarkCheck compares what Tracardi containers ask all the time with the
// least that gRPC and net/http can do: run it with -bench and divide.
func BenchmarkCheck(b *testing.B) {
	s, grpcAddr, httpAddr := serveForBenchmark(b)
	bare := grpc.NewServer()
	tmsv1.RegisterTenantServiceServer(bare, emptyTenants{})
	twin, err := server.EmptyTwin(s, emptyTenants{})
	require.NoError(b, err)
	for name, empty := range map[string]*grpc.Server{"grpc/bare": bare, "grpc/empty": twin} {
		address := listen(b, empty)
		b.Run(name, func(b *testing.B) { benchmarkGRPC(b, address) })
	}
	b.Run("grpc/check", func(b *testing.B) { benchmarkGRPC(b, grpcAddr) })
	b.Run("http/bare", func(b *testing.B) { benchmarkHTTP(b, bareServer(b)) })
	b.Run("http/tenant", func(b *testing.B) { benchmarkHTTP(b, "http://"+httpAddr) })
}

func serveForBenchmark(b *testing.B) (s *server.Server, grpcAddr, httpAddr string) {
	ctx, cancel := context.WithCancel(context.Background())
	d, err := db.Open(ctx, devtest.Database(b, db.Migrate))
	require.NoError(b, err)
	sealer, err := tenants.NewSealer(secret)
	require.NoError(b, err)
	catalogue, err := releases.Builtin()
	require.NoError(b, err)
	store := db.NewRegistry(d, sealer)
	mirror := tenants.NewMirror(store, nil)
	registry := tenants.NewService(store, mirror, knownReleases{catalogue}, nil, nil)
	s, err = server.New(server.Config{
		Tenants: registry, Keys: tenants.NewKeys(store, mirror, nil, nil), Catalogue: catalogue, Upgrades: &scriptedUpgrades{},
		Auth:   tenants.NewKeyring(tenants.KeyringConfig{Store: store, Mirror: mirror, Secret: secret, InstanceKey: instanceKey}),
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	require.NoError(b, err)
	_, err = registry.Create(ctx, tenants.Caller{KeyID: "bench"}, tenants.CreateRequest{Tenant: &tenants.Tenant{ID: "acme", Release: "0.8.1"}})
	require.NoError(b, err)
	g, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	h, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	mirrored := make(chan struct{})
	go func() { mirror.Run(ctx); close(mirrored) }()
	served := make(chan error, 1)
	go func() { served <- s.Run(ctx, g, h) }()
	b.Cleanup(func() { cancel(); require.NoError(b, <-served); <-mirrored; d.Close() })
	<-mirror.Loaded()
	return s, g.Addr().String(), h.Addr().String()
}

type emptyTenants struct {
	tmsv1.UnimplementedTenantServiceServer
}

func (emptyTenants) Check(context.Context, *tmsv1.CheckTenantRequest) (*tmsv1.CheckTenantResponse, error) {
	return &tmsv1.CheckTenantResponse{}, nil
}

func listen(b *testing.B, s *grpc.Server) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	go func() { _ = s.Serve(l) }()
	b.Cleanup(s.Stop)
	return l.Addr().String()
}

func benchmarkGRPC(b *testing.B, addr string) {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(b, err)
	defer conn.Close()
	client := tmsv1.NewTenantServiceClient(conn)
	ctx := metadata.AppendToOutgoingContext(b.Context(), "authorization", "Bearer "+instanceKey)
	_, err = client.Check(ctx, &tmsv1.CheckTenantRequest{Id: "acme"})
	require.NoError(b, err)
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := client.Check(ctx, &tmsv1.CheckTenantRequest{Id: "acme"}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func bareServer(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{"id": "acme", "install_token": "x"})
	})}
	go func() { _ = s.Serve(l) }()
	b.Cleanup(func() { _ = s.Close() })
	return "http://" + l.Addr().String()
}

func benchmarkHTTP(b *testing.B, url string) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer client.CloseIdleConnections()
	b.SetParallelism(8)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url+"/tenant/acme", nil)
			if err != nil {
				b.Error(err)
				return
			}
			r.Header.Set("Authorization", "Bearer "+instanceKey)
			res, err := client.Do(r)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			if res.StatusCode != http.StatusOK {
				b.Errorf("answered %d", res.StatusCode)
				return
			}
		}
	})
}
