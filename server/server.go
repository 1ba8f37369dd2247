package server

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"buf.build/go/protovalidate"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
)

// Limits of the listeners.
const (
	maxMessage    = 4 << 20  // bytes of one gRPC message, gRPC's own default
	maxBody       = 1 << 20  // bytes of one HTTP body; tenants are small
	maxHeaders    = 64 << 10 // bytes of the headers of one request, HTTP and gRPC
	gatewayBuffer = 256 << 10
	// maxStreams of one connection at a time; the gateway's calls share one.
	maxStreams = 1000
	// Slow clients: headers and body must arrive within these times, and an
	// answer that is no stream must have been taken within writeTimeout.
	readHeaderTimeout = 10 * time.Second
	readBodyTimeout   = 15 * time.Second
	writeTimeout      = callTimeout + 30*time.Second
	idleTimeout       = 2 * time.Minute
	// ShutdownTimeout bounds the end: calls in flight may finish within it.
	ShutdownTimeout = 10 * time.Second
	readyInterval   = time.Second
	readyTimeout    = 2 * time.Second
)

// Tenants is the registry, *tenants.Service.
type Tenants interface {
	Create(context.Context, tenants.Caller, tenants.CreateRequest) (*tenants.Tenant, error)
	Get(ctx context.Context, id string) (*tenants.Tenant, error)
	List(context.Context, tenants.ListRequest) (tenants.ListResult, error)
	Update(context.Context, tenants.Caller, tenants.UpdateRequest) (*tenants.Tenant, error)
	BatchGet(ctx context.Context, ids []string) ([]*tenants.Tenant, error)
	Delete(context.Context, tenants.Caller, tenants.EventRequest) (*tenants.Tenant, error)
	Undelete(context.Context, tenants.Caller, tenants.EventRequest) (*tenants.Tenant, error)
	Check(ctx context.Context, id string) (tenants.Verdict, error)
	CheckHost(ctx context.Context, host string) (tenants.Verdict, error)
}

// Purges ends tenants, *tenants.Purges.
type Purges interface {
	Begin(context.Context, tenants.Caller, tenants.PurgeRequest) (*tenants.Operation, error)
	Operation(ctx context.Context, id string) (*tenants.Operation, error)
	Operations(ctx context.Context, f tenants.OperationFilter, pageToken string) ([]*tenants.Operation, string, error)
}

// Trail reads the audit trail, *tenants.Trail.
type Trail interface {
	Records(ctx context.Context, f tenants.AuditFilter, pageToken string) ([]tenants.AuditRecord, string, error)
}

// Keys manages API keys, *tenants.Keys.
type Keys interface {
	Create(context.Context, tenants.Caller, tenants.KeyRequest) (*tenants.APIKey, string, error)
	List(ctx context.Context, limit int, pageToken string) ([]*tenants.APIKey, string, error)
	Rotate(ctx context.Context, c tenants.Caller, id string, overlap time.Duration) (*tenants.APIKey, string, error)
	Revoke(ctx context.Context, c tenants.Caller, id string) (*tenants.APIKey, error)
}

// Authenticator recognises callers, *tenants.Keyring.
type Authenticator interface {
	Authenticate(ctx context.Context, credential string) (tenants.Principal, error)
	Token(ctx context.Context, key string) (string, time.Time, error)
	// Staleness is how old answers from memory are, 0 for fresh.
	Staleness() time.Duration
}

// Catalogue knows the releases, *releases.Catalogue.
type Catalogue interface {
	List() []*releases.Release
	Get(version string) (*releases.Release, error)
}

// Library keeps releases that operators bring, *releases.Library.
type Library interface {
	Save(ctx context.Context, bundle []byte, origin, by string) (*releases.Release, error)
	Remove(ctx context.Context, version, by string) error
	Export(ctx context.Context, version string) (*releases.Release, []byte, error)
}

// Upgrades runs rollouts, *upgrader.Service.
type Upgrades interface {
	Plan(context.Context, upgrader.Request) (*upgrader.Plan, error)
	Start(context.Context, upgrader.Request) (*upgrader.Rollout, error)
	Get(ctx context.Context, id string) (*upgrader.Rollout, error)
	List(ctx context.Context, f upgrader.RolloutFilter) ([]*upgrader.Rollout, error)
	Moves(ctx context.Context, rollout, tenant string) ([]upgrader.Move, error)
	Quarantine(context.Context, upgrader.QuarantineFilter) ([]upgrader.Quarantined, error)
	Pause(context.Context, upgrader.Command) (*upgrader.Rollout, error)
	Resume(context.Context, upgrader.Command) (*upgrader.Rollout, error)
	Cancel(context.Context, upgrader.Command) (*upgrader.Rollout, error)
	Retry(context.Context, upgrader.Command) (*upgrader.Rollout, error)
	Switch(context.Context, upgrader.Command) (*upgrader.Rollout, error)
	Rollback(context.Context, upgrader.Command) (*upgrader.Rollout, error)
	Finalize(context.Context, upgrader.Command) (*upgrader.Rollout, error)
	Set(context.Context, upgrader.Command) (*upgrader.Rollout, error)
	Skip(context.Context, upgrader.Command) (*upgrader.Rollout, error)
	Approve(context.Context, upgrader.Approval) (*upgrader.Rollout, error)
	GateReports(ctx context.Context, rollout, tenant string) (*upgrader.Rollout, []upgrader.GateReport, error)
	Retain(ctx context.Context, rollout string, after time.Duration, caller string) (*upgrader.Rollout, error)
}

// Config is what a Server is made of. The fields from Pages on may be left
// empty.
type Config struct {
	Tenants   Tenants
	Purges    Purges
	Trail     Trail
	Keys      Keys
	Auth      Authenticator
	Catalogue Catalogue
	Library   Library
	Upgrades  Upgrades
	Fleet     Fleet
	Backups   Backups
	Cleanups  Cleanups
	Clusters  Clusters
	Budgets   Budgets
	// Progress and Rehearsals are the same service as Upgrades.
	Progress   Progress
	Reports    Reports
	Rehearsals Rehearsals
	// Verification is what Upgrades has proven.
	Verification Verification
	Watches      Watches
	Webhooks     Webhooks
	// Pages signs page tokens; nil makes tokens that only this process accepts.
	Pages *tenants.Pages
	// StrangerLimit is how many calls a second without a valid key each address
	// may make to this process before it is told to slow down; 0 for no limit.
	StrangerLimit float64
	// WatchStall is how long a follower may take no message; 0 is watchStall.
	WatchStall time.Duration
	// RateLimit is how many calls a second each API key may make to this
	// process, fifty times as many where memory answers; 0 for no limit.
	RateLimit float64
	// Ready says why the process cannot serve now, nil when it can; missing is
	// what it can do without, such as one of several clusters.
	Ready func(context.Context) (missing []string, err error)
	// DefaultRelease is the release of tenants that are provisioned through
	// Tracardi's own route, which does not name one; "" is the newest.
	DefaultRelease string
	// GRPCTLS and HTTPTLS make the listeners speak TLS; nil is plain text.
	GRPCTLS, HTTPTLS *tls.Config
	// HTTPClientCerts refuses HTTP without a verified client certificate,
	// except to probes: HTTPTLS asks for one and verifies it.
	HTTPClientCerts bool
	Logger          *slog.Logger // nil discards
}

// Server serves the contract over gRPC and HTTP.
type Server struct {
	cfg       Config
	limits    *throttle
	strangers *throttle // of callers without a valid key
	grpc      *grpc.Server
	health    *health.Server
	pipe      *bufconn.Listener // between the gateway and gRPC
	conn      *grpc.ClientConn
	handler   http.Handler
	closing   chan struct{} // ends streams at shutdown
}

// New builds a Server; it serves nothing before Run.
func New(c Config) (*Server, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Pages == nil {
		pages, err := tenants.NewPages(rand.Text())
		if err != nil {
			return nil, err
		}
		c.Pages = pages
	}
	if c.WatchStall <= 0 {
		c.WatchStall = watchStall
	}
	s := &Server{cfg: c, limits: newThrottle(c.RateLimit), strangers: newThrottle(c.StrangerLimit), health: health.NewServer(), pipe: bufconn.Listen(gatewayBuffer), closing: make(chan struct{})}
	if err := s.buildGRPC(); err != nil {
		return nil, err
	}
	if err := s.buildHTTP(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) buildGRPC() error {
	messages := []proto.Message{ // compiled now rather than in the first call
		&tmsv1.CheckTenantRequest{}, &tmsv1.CreateTenantRequest{}, &tmsv1.UpdateTenantRequest{}, &tmsv1.StartRolloutRequest{},
	}
	validator, err := protovalidate.New(protovalidate.WithMessages(messages...))
	if err != nil {
		return fmt.Errorf("validation rules of the contract: %w", err)
	}
	s.grpc = s.emptyGRPC(validator)
	tmsv1.RegisterTenantServiceServer(s.grpc, &tenantService{s.cfg.Tenants, s.cfg.Purges})
	tmsv1.RegisterEventServiceServer(s.grpc, &eventService{s.cfg.Watches, s.cfg.WatchStall})
	tmsv1.RegisterWebhookServiceServer(s.grpc, &webhookService{s.cfg.Webhooks})
	tmsv1.RegisterOperationServiceServer(s.grpc, &operationService{s.cfg.Purges})
	tmsv1.RegisterAuditServiceServer(s.grpc, &auditService{s.cfg.Trail})
	tmsv1.RegisterApiKeyServiceServer(s.grpc, &keyService{s.cfg.Keys})
	tmsv1.RegisterReleaseServiceServer(s.grpc, &releaseService{s.cfg.Catalogue, s.cfg.Library, s.cfg.Fleet})
	tmsv1.RegisterBackupServiceServer(s.grpc, &backupService{s.cfg.Backups, s.cfg.Pages})
	tmsv1.RegisterFleetServiceServer(s.grpc, &fleetService{s.cfg.Fleet})
	tmsv1.RegisterUpgradeServiceServer(s.grpc, &upgradeService{s.cfg.Upgrades, s.cfg.Pages})
	tmsv1.RegisterVerificationServiceServer(s.grpc, &verificationService{s.cfg.Verification, s.cfg.Pages})
	tmsv1.RegisterProgressServiceServer(s.grpc, &progressService{s.cfg.Progress, s.cfg.Reports, s.cfg.Watches, s.cfg.WatchStall})
	tmsv1.RegisterRehearsalServiceServer(s.grpc, &rehearsalService{s.cfg.Rehearsals, s.cfg.Pages})
	tmsv1.RegisterCleanupServiceServer(s.grpc, &cleanupService{s.cfg.Cleanups})
	tmsv1.RegisterClusterServiceServer(s.grpc, &clusterService{s.cfg.Clusters})
	tmsv1.RegisterBudgetServiceServer(s.grpc, &budgetService{s.cfg.Budgets})
	grpc_health_v1.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)
	return nil
}

// emptyGRPC is a server with everything but services.
func (s *Server) emptyGRPC(validator protovalidate.Validator) *grpc.Server {
	g := &gate{auth: s.cfg.Auth, throttle: s.limits, strangers: s.strangers, closing: s.closing, log: s.cfg.Logger}
	return grpc.NewServer(
		grpc.Creds(transportOf(s.cfg.GRPCTLS)),
		grpc.ChainUnaryInterceptor(g.unary, recovery.UnaryServerInterceptor(recovery.WithRecoveryHandler(onPanic)), validated(validator)),
		grpc.ChainStreamInterceptor(g.stream, recovery.StreamServerInterceptor(recovery.WithRecoveryHandler(onPanic)), validatedStream(validator)),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.UnknownServiceHandler(unknownCall),
		grpc.ConnectionTimeout(readHeaderTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	)
}

// unknownCall answers what is not part of the contract. The caller has been
// recognised; nothing is said to others.
func unknownCall(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	return detailed(codes.Unimplemented, fmt.Sprintf("call %.100q is not known", method), info(reasonUnknownCall, nil)).Err()
}

// Handler is the HTTP side; it answers /v1 only while Run runs.
func (s *Server) Handler() http.Handler { return s.handler }

// Run serves until ctx ends, then lets calls in flight finish within
// ShutdownTimeout. It closes both listeners. It runs once.
func (s *Server) Run(ctx context.Context, grpcListener, httpListener net.Listener) error {
	web := &http.Server{
		Handler: s.handler, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaders,
		ErrorLog: slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelWarn), TLSConfig: s.cfg.HTTPTLS,
	}
	group, running := errgroup.WithContext(ctx)
	for _, l := range []net.Listener{s.pipe, grpcListener} {
		group.Go(func() error {
			// Told to stop before it began is no failure.
			if err := s.grpc.Serve(l); !errors.Is(err, grpc.ErrServerStopped) {
				return err
			}
			return nil
		})
	}
	group.Go(func() error {
		serve := web.Serve
		if web.TLSConfig != nil {
			serve = func(l net.Listener) error { return web.ServeTLS(l, "", "") }
		}
		if err := serve(httpListener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error { s.watchReadiness(running); return nil })
	group.Go(func() error {
		<-running.Done()
		return s.shutdown(context.WithoutCancel(ctx), web)
	})
	return group.Wait()
}

func (s *Server) shutdown(ctx context.Context, web *http.Server) error {
	ctx, cancel := context.WithTimeout(ctx, ShutdownTimeout)
	defer cancel()
	s.health.Shutdown()
	close(s.closing)
	// HTTP first: its calls pass through gRPC.
	err := web.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, web.Close())
	}
	err = errors.Join(err, s.conn.Close())
	stopped := make(chan struct{})
	go func() { s.grpc.GracefulStop(); close(stopped) }()
	select {
	case <-stopped:
	case <-ctx.Done():
		s.grpc.Stop() // makes GracefulStop return
		<-stopped
	}
	if err != nil {
		return fmt.Errorf("shut down: %w", err)
	}
	return nil
}

// watchReadiness keeps the gRPC health service up to date.
func (s *Server) watchReadiness(ctx context.Context) {
	tick := time.NewTicker(readyInterval)
	defer tick.Stop()
	for {
		state := grpc_health_v1.HealthCheckResponse_SERVING
		if _, err := s.ready(ctx); err != nil {
			state = grpc_health_v1.HealthCheckResponse_NOT_SERVING
		}
		s.health.SetServingStatus("", state)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *Server) ready(ctx context.Context) (missing []string, err error) {
	if s.cfg.Ready == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	return s.cfg.Ready(ctx)
}
