package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/tracardi/tms/cmd/tms/internal/certs"
	"github.com/tracardi/tms/cmd/tms/internal/config"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// session is a connection to TMS for one command.
type session struct {
	tenants    tmsv1.TenantServiceClient
	keys       tmsv1.ApiKeyServiceClient
	releases   tmsv1.ReleaseServiceClient
	upgrades   tmsv1.UpgradeServiceClient
	operations tmsv1.OperationServiceClient
	fleet      tmsv1.FleetServiceClient
	backups    tmsv1.BackupServiceClient
	audit      tmsv1.AuditServiceClient
	proofs     tmsv1.VerificationServiceClient
	events     tmsv1.EventServiceClient
	webhooks   tmsv1.WebhookServiceClient
	cleanups   tmsv1.CleanupServiceClient
	progress   tmsv1.ProgressServiceClient
	rehearsals tmsv1.RehearsalServiceClient
	clusters   tmsv1.ClusterServiceClient
	budgets    tmsv1.BudgetServiceClient

	conn     *grpc.ClientConn
	settings config.Client
	json     bool // print JSON
}

// clientFlags adds the settings of the client, and -o, to a group of commands.
func clientFlags(cmd *cobra.Command) {
	config.Bind(cmd.PersistentFlags(), &config.Client{})
	outputFlag(cmd)
}

// remote makes a command of a function that needs a session.
func (a *app) remote(f func(ctx context.Context, cmd *cobra.Command, args []string, s *session) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		asJSON, err := wantsJSON(cmd)
		if err != nil {
			return err
		}
		var settings config.Client
		if err := config.Load(&settings, cmd.Flags(), a.env); err != nil {
			return usage(cmd, err)
		}
		if settings.APIKey == "" {
			return usage(cmd, errors.New("TMS_API_KEY is not set: set it, or TMS_API_KEY_FILE, to an API key of this TMS"))
		}
		s, err := dial(settings)
		if err != nil {
			return usage(cmd, err)
		}
		s.json = asJSON
		defer func() { _ = s.conn.Close() }()
		return f(cmd.Context(), cmd, args, s)
	}
}

// retryPolicy repeats calls that did not arrive, or were answered by a process
// that is going down. It names only what may be repeated: reads, commands of
// the upgrade (idempotent, a start by its request id) and the creation of
// tenants (idempotent by request id).
const retryPolicy = `{"methodConfig": [{
	"name": [
		{"service": "tms.v1.UpgradeService"}, {"service": "tms.v1.VerificationService"}, {"service": "tms.v1.ReleaseService"},
		{"service": "tms.v1.TenantService", "method": "Create"},
		{"service": "tms.v1.TenantService", "method": "Get"},
		{"service": "tms.v1.TenantService", "method": "List"},
		{"service": "tms.v1.OperationService"}, {"service": "tms.v1.FleetService"},
		{"service": "tms.v1.BackupService"}, {"service": "tms.v1.AuditService"}, {"service": "tms.v1.CleanupService"}, {"service": "tms.v1.ProgressService"}, {"service": "tms.v1.RehearsalService"}, {"service": "tms.v1.BudgetService"},
		{"service": "tms.v1.ApiKeyService", "method": "List"}
	],
	"retryPolicy": {
		"maxAttempts": 4, "initialBackoff": "0.2s", "maxBackoff": "2s", "backoffMultiplier": 2,
		"retryableStatusCodes": ["UNAVAILABLE"]
	}
}]}`

// maxAnswer is for plans with moves: 500 tenants of 80 indices each are some
// 15 MB, and gRPC's default is 4.
const maxAnswer = 128 << 20

func dial(settings config.Client) (*session, error) {
	address, transport, err := transportOf(settings)
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient(address,
		grpc.WithTransportCredentials(transport),
		grpc.WithPerRPCCredentials(bearer{key: settings.APIKey}),
		grpc.WithDefaultServiceConfig(retryPolicy),
		// A server that restarts is back within seconds; gRPC's own longest
		// pause is two minutes.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
		grpc.WithUserAgent("tms-cli"),
	)
	if err != nil {
		return nil, fmt.Errorf("--addr (TMS_ADDR): %w", err)
	}
	return &session{
		tenants: tmsv1.NewTenantServiceClient(conn), keys: tmsv1.NewApiKeyServiceClient(conn),
		releases: tmsv1.NewReleaseServiceClient(conn), upgrades: tmsv1.NewUpgradeServiceClient(conn),
		operations: tmsv1.NewOperationServiceClient(conn), fleet: tmsv1.NewFleetServiceClient(conn),
		audit: tmsv1.NewAuditServiceClient(conn), proofs: tmsv1.NewVerificationServiceClient(conn),
		events: tmsv1.NewEventServiceClient(conn), webhooks: tmsv1.NewWebhookServiceClient(conn),
		backups:  tmsv1.NewBackupServiceClient(conn),
		cleanups: tmsv1.NewCleanupServiceClient(conn), progress: tmsv1.NewProgressServiceClient(conn), rehearsals: tmsv1.NewRehearsalServiceClient(conn), clusters: tmsv1.NewClusterServiceClient(conn),
		budgets: tmsv1.NewBudgetServiceClient(conn),
		conn:    conn, settings: settings,
	}, nil
}

// standardPort is where TMS listens for gRPC unless told otherwise.
const standardPort = "8384"

// transportOf is where TMS is, and how it is spoken to.
func transportOf(s config.Client) (string, credentials.TransportCredentials, error) {
	scheme, address, found := strings.Cut(s.Addr, "://")
	if !found {
		scheme, address = "", s.Addr
	}
	files := s.CA != "" || s.Cert != "" || s.Key != ""
	secure := s.TLS || files
	switch scheme {
	case "":
	case "https":
		secure = true
	case "http":
		if secure {
			return "", nil, fmt.Errorf("--addr (TMS_ADDR): %q is plain text, and TLS is asked for: write https://", s.Addr)
		}
	default:
		return "", nil, fmt.Errorf("--addr (TMS_ADDR): %q: write host:port, or https://host:port for TLS", s.Addr)
	}
	if scheme != "" {
		address = strings.TrimSuffix(address, "/")
		if strings.ContainsAny(address, "/@?#") {
			return "", nil, errors.New("--addr (TMS_ADDR): only host and port may follow the scheme")
		}
		if _, _, err := net.SplitHostPort(address); err != nil {
			address = net.JoinHostPort(strings.Trim(address, "[]"), standardPort)
		}
	}
	if !secure {
		return address, insecure.NewCredentials(), nil
	}
	c, err := certs.Client(certs.File{Setting: "--tls-ca (TMS_TLS_CA)", Path: s.CA}, certs.Pair{
		Cert: certs.File{Setting: "--client-cert (TMS_CLIENT_CERT)", Path: s.Cert},
		Key:  certs.File{Setting: "--client-key (TMS_CLIENT_KEY)", Path: s.Key},
	})
	if err != nil {
		return "", nil, err
	}
	return address, credentials.NewTLS(c), nil
}

// timed is the context of a single call.
func (s *session) timed(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.settings.Timeout)
}

// call makes a single call within the time-out.
func call[Q, R any](ctx context.Context, s *session, f func(context.Context, Q, ...grpc.CallOption) (R, error), request Q) (R, error) {
	ctx, cancel := s.timed(ctx)
	defer cancel()
	return f(ctx, request)
}

// bearer sends the key with every call.
type bearer struct{ key string }

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + b.key}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials. Without
// TLS is how TMS is reached inside a cluster.
func (b bearer) RequireTransportSecurity() bool { return false }
