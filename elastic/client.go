package elastic

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"

	"github.com/tracardi/tms/upgrader"
)

// DefaultTimeout bounds a call whose context has no deadline of its own.
const DefaultTimeout = 30 * time.Second

// connsPerHost is the number of idle connections kept to each node. Indices
// are created and copied with some dozens of calls in flight; a smaller pool
// would open and close connections all the time.
const connsPerHost = 64

// Config tells where the cluster is and how to log in.
type Config struct {
	// URLs of one or more nodes of the same cluster. They may carry
	// credentials (https://user:password@host:9200); these are taken out, so
	// that they show neither in errors nor in logs.
	URLs     []string
	Username string // wins over credentials in URLs
	Password string
	// APIKey is the encoded key (base64 of id:key); wins over Username.
	APIKey string
	// CACert is the path of a PEM file with the authorities to trust instead
	// of the system's.
	CACert string
	// CAPEM are the same authorities, not in a file; wins over CACert.
	CAPEM string
	// Fingerprint is the SHA-256, in hex, of the server's certificate or of the
	// authority that signed it; it is trusted then instead of any other
	// authority.
	Fingerprint string
	// Timeout of a call whose context has no deadline; 0 is DefaultTimeout.
	Timeout time.Duration
	// OpaqueID is sent as X-Opaque-Id when the context names none.
	OpaqueID string
	// Compress sends and accepts gzip. Worth it over a network, a waste of
	// CPU on the same machine.
	Compress bool
	// Logger gets repeated calls (level debug); nil is silent.
	Logger *slog.Logger
}

// Client talks to one cluster. It is safe for concurrent use and holds no
// goroutines; Close gives its idle connections back.
type Client struct {
	transport *elastictransport.Client
	http      *http.Transport
	timeout   time.Duration
	opaqueID  string
	log       *slog.Logger

	// detected is what the first successful GET / told; nil until then.
	detected atomic.Pointer[identity]
	marks    watermarkCache
}

var _ upgrader.Engine = (*Client)(nil)

// New checks the configuration and makes no call: a cluster that is down, or
// of an unsupported version, is reported by the first method used.
func New(_ context.Context, cfg Config) (*Client, error) {
	urls, user, err := parseURLs(cfg.URLs)
	if err != nil {
		return nil, err
	}
	if cfg.Username == "" && user != nil {
		cfg.Username = user.Username()
		cfg.Password, _ = user.Password()
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Timeout < 0 {
		return nil, fmt.Errorf("search engine timeout %v: must be positive", cfg.Timeout)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	rt, err := newRoundTripper(cfg)
	if err != nil {
		return nil, err
	}
	tp, err := elastictransport.New(elastictransport.Config{
		UserAgent: "tms",
		URLs:      urls,
		Username:  cfg.Username,
		Password:  cfg.Password,
		APIKey:    cfg.APIKey,
		Transport: rt,
		// The transport's own retry repeats any method, so a copy task could
		// start twice; ours (call.go) repeats idempotent calls only.
		DisableRetry:        true,
		CompressRequestBody: cfg.Compress,
		PoolCompressor:      cfg.Compress,
	})
	if err != nil {
		return nil, fmt.Errorf("search engine transport: %w", err)
	}
	return &Client{
		transport: tp,
		http:      rt,
		timeout:   cfg.Timeout,
		opaqueID:  cfg.OpaqueID,
		log:       cfg.Logger,
	}, nil
}

// Close closes idle connections. Calls in flight are not disturbed.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func newRoundTripper(cfg Config) (*http.Transport, error) {
	rt := http.DefaultTransport.(*http.Transport).Clone()
	rt.MaxIdleConns = 0
	rt.MaxIdleConnsPerHost = connsPerHost
	rt.DisableCompression = !cfg.Compress
	trust, err := trusted(cfg)
	if trust != nil {
		rt.TLSClientConfig = trust
	}
	return rt, err
}

// parseURLs returns the URLs without credentials, and the credentials.
// No error quotes a URL: it may hold a password.
func parseURLs(raw []string) ([]*url.URL, *url.Userinfo, error) {
	var user *url.Userinfo
	urls := make([]*url.URL, 0, len(raw))
	for i, s := range raw {
		u, err := url.Parse(strings.TrimSpace(s))
		if err != nil {
			return nil, nil, fmt.Errorf("search engine URL number %d is not a URL (check special characters of the password: they must be percent-encoded)", i+1)
		}
		if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			return nil, nil, fmt.Errorf("search engine URL number %d: want http://host:port or https://host:port", i+1)
		}
		if u.RawQuery != "" || u.Fragment != "" {
			return nil, nil, fmt.Errorf("search engine URL number %d: must end after the path", i+1)
		}
		if u.User != nil {
			if user != nil && user.String() != u.User.String() {
				return nil, nil, errors.New("search engine URLs hold different credentials; nodes of one cluster share them")
			}
			user, u.User = u.User, nil
		}
		urls = append(urls, u)
	}
	if len(urls) == 0 {
		return nil, nil, errors.New("no search engine URL given; set TMS_ELASTIC_URLS, for instance http://localhost:9200")
	}
	return urls, user, nil
}

type opaqueKey struct{}

// WithOpaqueID returns a context whose calls carry id as X-Opaque-Id, which
// the engine shows in its task list and slow logs.
func WithOpaqueID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, opaqueKey{}, id)
}

// Perform implements esapi.Transport: it adds what every request carries.
func (c *Client) Perform(req *http.Request) (*http.Response, error) {
	id, _ := req.Context().Value(opaqueKey{}).(string)
	if id == "" {
		id = c.opaqueID
	}
	if id != "" {
		req.Header.Set("X-Opaque-Id", id)
	}
	req.Header.Set("Accept", "application/json")
	return c.transport.Perform(req)
}
