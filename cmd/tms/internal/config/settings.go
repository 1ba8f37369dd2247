package config

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tracardi/tms/upgrader"
)

// Logging says what is logged, always to standard error.
type Logging struct {
	LogLevel  Level  `flag:"log-level" env:"LOGGING_LEVEL" default:"info" help:"debug, info, warning or error"`
	LogFormat Format `flag:"log-format" env:"TMS_LOG_FORMAT" default:"text" help:"text or json"`
}

// Database says where Postgres is.
type Database struct {
	DatabaseURL  string        `env:"DATABASE_URL" secret:"url" help:"Postgres, postgres://user:password@host:5432/database"`
	DatabaseWait time.Duration `flag:"database-wait" env:"TMS_DATABASE_WAIT" default:"30s" help:"how long to wait for Postgres at the start"`
}

// mostWorkers are as many tenants as a rollout may have in flight.
const mostWorkers = upgrader.DefaultTenants

// Check says in one sentence which variable is missing.
func (d Database) Check() error {
	if d.DatabaseURL == "" {
		return errors.New("DATABASE_URL is not set: set it to postgres://user:password@host:5432/database, or start with --dev to try TMS out")
	}
	return nil
}

// Secrets protect what is stored.
type Secrets struct {
	Secret    string `env:"SECRET" secret:"all" help:"long random string: signs tokens and encrypts install tokens"`
	OldSecret string `env:"TMS_SECRET_OLD" secret:"all" help:"the former SECRET, still accepted for tokens and install tokens, while SECRET is being changed"`
}

// Check says in one sentence what is missing or too weak.
func (s Secrets) Check() error {
	switch {
	case s.Secret == "":
		return errors.New("SECRET is not set: set it to a long random string, for instance from `openssl rand -hex 32`, the same for every process")
	case len(s.Secret) < minSecret:
		return fmt.Errorf("SECRET has %d bytes: use at least %d random ones, for instance from `openssl rand -hex 32`", len(s.Secret), minSecret)
	}
	return nil
}

// Registry is what commands need that work on the database alone.
type Registry struct {
	Database
	Secrets
}

// Check says in one sentence each what is missing.
func (r Registry) Check() error { return errors.Join(r.Database.Check(), r.Secrets.Check()) }

// Dev says where the embedded servers live.
type Dev struct {
	DevDir    string `flag:"dev-dir" env:"TMS_DEV_DIR" help:"data of the embedded servers; default is tms/dev in the user's cache"`
	DevEngine string `flag:"dev-engine" env:"TMS_DEV_ENGINE" help:"embedded engine: elasticsearch-7.17, elasticsearch-7.10 or opensearch-2.19"`
}

// Dir is DevDir or its default.
func (d Dev) Dir() (string, error) {
	if d.DevDir != "" {
		return filepath.Abs(d.DevDir)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no directory for the embedded servers: %w: set TMS_DEV_DIR", err)
	}
	return filepath.Join(cache, "tms", "dev"), nil
}

// Serve is what `tms serve` needs.
type Serve struct {
	Logging
	Database
	ElasticURLs   []string `env:"TMS_ELASTIC_URLS" secret:"url" help:"nodes of the search cluster, comma-separated, http://user:password@host:9200"`
	ElasticAPIKey string   `env:"TMS_ELASTIC_API_KEY" secret:"all" help:"encoded API key for the search cluster, instead of user and password"`
	ElasticCACert string   `flag:"elastic-ca-cert" env:"TMS_ELASTIC_CA_CERT" help:"PEM file with the authorities to trust for the search cluster"`
	InstanceKey   string   `env:"API_KEY" secret:"all" help:"API key of the Tracardi containers, role instance"`
	Secrets
	AdminKey string `env:"TMS_ADMIN_KEY" secret:"all" help:"bootstrap API key with role admin"`
	HTTPAddr string `flag:"http-addr" env:"TMS_HTTP_ADDR" default:":8383" help:"listen address of REST and Tracardi's routes; port 0 takes a free one"`
	GRPCAddr string `flag:"grpc-addr" env:"TMS_GRPC_ADDR" default:":8384" help:"listen address of gRPC; port 0 takes a free one"`
	TLS
	Placement       Placement `flag:"placement" env:"TMS_PLACEMENT" default:"capacity" help:"cluster of new tenants for which none is named: capacity (most room) or default"`
	DefaultRelease  string    `flag:"default-release" env:"TMS_DEFAULT_RELEASE" help:"release of tenants that Tracardi itself registers; default is the newest"`
	RateLimit       float64   `flag:"rate-limit" env:"TMS_RATE_LIMIT" default:"2000" help:"calls per second and API key in each process, fifty times as many where memory answers; 0 for no limit"`
	WebhookNetworks []string  `flag:"webhook-allow-networks" env:"TMS_WEBHOOK_ALLOW_NETWORKS" help:"networks that webhooks may go to although they are not public, comma-separated, 10.1.0.0/16; within them also without TLS"`
	StrangerLimit   float64   `flag:"stranger-rate-limit" env:"TMS_STRANGER_RATE_LIMIT" default:"50" help:"calls per second without a valid key that each address may make to each process; 0 for no limit"`
	AutoPurge       bool      `flag:"auto-purge" env:"TMS_AUTO_PURGE" default:"true" help:"purge deleted tenants when their purge time has come, given a verified snapshot"`
	Workers         int       `flag:"workers" env:"TMS_WORKERS" default:"64" help:"tenants that this process upgrades at once, 1 to 64; the limits of rollouts and budgets are over all processes"`
	QuarantineDocs  int       `flag:"quarantine-docs" env:"TMS_QUARANTINE_DOCS" default:"200000" help:"documents that one rollout may keep aside in Postgres; past it a tenant fails"`
	QuarantineBytes int       `flag:"quarantine-bytes" env:"TMS_QUARANTINE_BYTES" default:"16777216" help:"largest document that is kept aside, in bytes"`
	SeedRepository  string    `flag:"seed-repository" env:"TMS_SEED_REPOSITORY" help:"snapshot repository of the engine in which TMS keeps the empty indices of releases, to restore the targets of upgrades from: several times quicker than creating them one by one"`
	Budget
	StallAfter      time.Duration `flag:"stall-after" env:"TMS_STALL_AFTER" default:"2m" help:"how long a copy may copy nothing before its task is cancelled and started again, and a tenant may get nowhere before it is called stalled"`
	ShutdownTimeout time.Duration `flag:"shutdown-timeout" env:"TMS_SHUTDOWN_TIMEOUT" default:"25s" help:"longest time from a signal to the end"`
	AddrFile        string        `flag:"addr-file" env:"TMS_ADDR_FILE" help:"write the addresses, as printed on standard output, to this file too"`
	Migrate         bool          `flag:"migrate" env:"TMS_MIGRATE" default:"false" help:"bring the database schema up to date first"`
	DevMode         bool          `flag:"dev" help:"embedded Postgres and, unless TMS_ELASTIC_URLS is set, embedded engine; keys are generated"`
	Dev
}

// Listeners, as --tls-client-listeners names them.
const (
	ListenerGRPC = "grpc"
	ListenerHTTP = "http"
)

// TLS of the listeners. The files are read again when they change.
type TLS struct {
	Cert            string   `flag:"tls-cert" env:"TMS_TLS_CERT" help:"PEM file with the certificate chain of both listeners; without it they speak plain text"`
	Key             string   `flag:"tls-key" env:"TMS_TLS_KEY" help:"PEM file with the private key of --tls-cert"`
	ClientCA        string   `flag:"tls-client-ca" env:"TMS_TLS_CLIENT_CA" help:"PEM file with the authorities of clients: who connects must show a certificate of theirs (mTLS)"`
	ClientListeners []string `flag:"tls-client-listeners" env:"TMS_TLS_CLIENT_LISTENERS" default:"grpc,http" help:"listeners on which --tls-client-ca is required; Tracardi's containers have no certificates of their own"`
}

// Check says what does not fit together.
func (t TLS) Check() error {
	var wrong []error
	switch {
	case t.Cert != "" && t.Key == "":
		wrong = append(wrong, errors.New("--tls-key (TMS_TLS_KEY) is not set: --tls-cert needs the private key of its certificate"))
	case t.Cert == "" && t.Key != "":
		wrong = append(wrong, errors.New("--tls-cert (TMS_TLS_CERT) is not set: --tls-key needs the certificate that it belongs to"))
	case t.Cert == "" && t.ClientCA != "":
		wrong = append(wrong, errors.New("--tls-client-ca (TMS_TLS_CLIENT_CA) needs TLS: set --tls-cert and --tls-key too"))
	}
	for _, l := range t.ClientListeners {
		if l != ListenerGRPC && l != ListenerHTTP {
			wrong = append(wrong, fmt.Errorf("--tls-client-listeners (TMS_TLS_CLIENT_LISTENERS): %q: write grpc, http or both, with a comma between", l))
		}
	}
	if t.ClientCA != "" && len(t.ClientListeners) == 0 {
		wrong = append(wrong, errors.New("--tls-client-listeners (TMS_TLS_CLIENT_LISTENERS) is empty: without a listener --tls-client-ca has no effect"))
	}
	return errors.Join(wrong...)
}

// minSecret is the number of bytes below which a signing secret can be
// guessed: 16 random bytes are 128 bits.
const minSecret = 16

// minStall is the shortest time after which a copy may count as stalled.
const minStall = 5 * time.Second

// Check says in one sentence each what is missing or too weak.
func (s Serve) Check() error {
	var wrong []error
	if err := s.Database.Check(); err != nil {
		wrong = append(wrong, err)
	}
	if err := s.Secrets.Check(); err != nil {
		wrong = append(wrong, err)
	}
	if s.Workers < 1 || s.Workers > mostWorkers {
		wrong = append(wrong, fmt.Errorf("--workers (TMS_WORKERS) is %d; set it to 1 to %d", s.Workers, mostWorkers))
	}
	if s.StallAfter < minStall {
		wrong = append(wrong, fmt.Errorf("--stall-after (TMS_STALL_AFTER) is %s: merges and garbage collections hold a copy up for seconds; set it to %s or more", s.StallAfter, minStall))
	}
	if len(s.ElasticURLs) == 0 {
		wrong = append(wrong, errors.New("TMS_ELASTIC_URLS is not set: set it to the addresses of the search cluster, for instance http://localhost:9200"))
	}
	if err := s.TLS.Check(); err != nil {
		wrong = append(wrong, err)
	}
	if s.AdminKey != "" && s.AdminKey == s.InstanceKey {
		wrong = append(wrong, errors.New("TMS_ADMIN_KEY and API_KEY are equal: every Tracardi container would be an administrator; set different ones"))
	}
	return errors.Join(wrong...)
}

// Client is what the commands need that talk to a running TMS.
type Client struct {
	Addr      string        `flag:"addr" env:"TMS_ADDR" file:"none" default:"localhost:8384" help:"gRPC address of TMS, host:port, or https://host:port for TLS"`
	APIKey    string        `env:"TMS_API_KEY" secret:"all" help:"API key to call TMS with"`
	TLS       bool          `flag:"tls" env:"TMS_TLS" default:"false" help:"use TLS; an https address and --tls-ca mean it too"`
	CA        string        `flag:"tls-ca" env:"TMS_TLS_CA" help:"PEM file with the authorities to trust for TMS; default is the system's"`
	Cert      string        `flag:"client-cert" env:"TMS_CLIENT_CERT" help:"PEM file with the certificate to show to TMS (mTLS)"`
	Key       string        `flag:"client-key" env:"TMS_CLIENT_KEY" help:"PEM file with the private key of --client-cert"`
	Timeout   time.Duration `flag:"timeout" env:"TMS_TIMEOUT" default:"1m" help:"longest time of one call; plans of large fleets take longest"`
	Reconnect time.Duration `flag:"reconnect" env:"TMS_RECONNECT" default:"5m" help:"how long watching goes on trying to reach TMS again"`
}

// Level is a log level, in Go's words or in Python's (Tracardi's images say
// "WARNING").
type Level struct{ slog.Level }

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *Level) UnmarshalText(text []byte) error {
	switch name := strings.ToLower(string(text)); name {
	case "warning":
		l.Level = slog.LevelWarn
	case "critical", "fatal":
		l.Level = slog.LevelError
	default:
		if l.Level.UnmarshalText(text) != nil {
			return errors.New("write debug, info, warning or error")
		}
	}
	return nil
}

// Placement is where new tenants go when no cluster is named.
type Placement string

// Placements.
const (
	PlaceByCapacity Placement = "capacity" // where most of them fit
	PlaceInDefault  Placement = "default"
)

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Placement) UnmarshalText(text []byte) error {
	if *p = Placement(text); *p != PlaceByCapacity && *p != PlaceInDefault {
		return errors.New("write capacity or default")
	}
	return nil
}

// Format is the form of log lines: text or json.
type Format string

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *Format) UnmarshalText(text []byte) error {
	if *f = Format(strings.ToLower(string(text))); *f != "text" && *f != "json" {
		return errors.New("write text or json")
	}
	return nil
}
