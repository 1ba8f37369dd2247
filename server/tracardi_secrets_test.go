package server_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/server"
	"github.com/tracardi/tms/tenants"
)

// The contract puts API keys into paths. Whatever is done with such a path, by
// whatever method, well or badly formed, its key is in no line of the log.
func TestKeysInPathsReachNoLog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, good := b.key(tenants.RoleInstance)
	const bad = "a-key-that-nobody-has"
	for _, key := range []string{good, bad, instanceKey} {
		for _, path := range []string{
			"/api-key/%s", "/api-key/%s/", "//api-key/%s", "/api-key/../api-key/%s", "/api-key/%s?x=1", "/api-key/x?key=%s;y", "/api-key/%s%%2Fx",
			"/tenant/%s", "/tenants/%s", "/%s", "/v1/tenants/%s:check", "/v1/api-key/%s", "/v1/%s", "/v1/tenants?%s=1",
		} {
			for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"} {
				b.http(method, fmt.Sprintf(path, url.PathEscape(key)), "", "")
			}
		}
		for _, line := range []string{"GET /api-key/%s%%zz HTTP/1.1", "GET /api-key/%s HTTP/9.9", "GET /api-key/%s", "G@T /api-key/%s HTTP/1.1", "GET /api-key/%s HTTP/1.1\r\nHost: a\r\nHost: b"} {
			b.raw(fmt.Sprintf(line, key))
		}
	}
	logged := b.log.String()
	require.Contains(t, logged, "GET /api-key/{key}", "the routes are logged")
	for _, key := range []string{good, bad, instanceKey} {
		require.NotContains(t, logged, key)
	}
	require.Contains(t, good, id, "the visible id is part of the key, and may be logged")
}

// raw sends a request that no client library would send, and waits for the end
// of the answer.
func (b *bundle) raw(head string) {
	b.Helper()
	conn, err := net.DialTimeout("tcp", strings.TrimPrefix(b.url, "http://"), 10*time.Second)
	require.NoError(b, err)
	defer conn.Close()
	require.NoError(b, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(conn, head+"\r\nConnection: close\r\n\r\n")
	require.NoError(b, err)
	_, _ = io.Copy(io.Discard, bufio.NewReader(conn)) // a reset is an answer too
}

// failing is an authenticator whose every way to fail is chosen by the key.
type failing struct{ server.Authenticator }

func (f failing) Token(ctx context.Context, key string) (string, time.Time, error) {
	_, err := f.Authenticate(ctx, key)
	return "", time.Time{}, err
}

func (failing) Authenticate(_ context.Context, key string) (tenants.Principal, error) {
	switch {
	case strings.HasPrefix(key, "panic"):
		panic("authenticator broken")
	case strings.HasPrefix(key, "unavailable"):
		return tenants.Principal{}, &tenants.Error{Code: tenants.CodeUnavailable, Reason: tenants.ReasonStoreUnavailable, Message: "the database does not answer", Err: errors.New("dial tcp: refused")}
	}
	return tenants.Principal{}, errors.New("a failure without a name")
}

// Failures are logged with their cause, panics with their stack, and still
// without the key that led to them.
func TestFailuresLogNoKey(t *testing.T) {
	t.Parallel()
	log := &lockedBuffer{}
	catalogue, err := releases.Builtin()
	require.NoError(t, err)
	s, err := server.New(server.Config{Auth: failing{}, Catalogue: catalogue, Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	require.NoError(t, err)
	serveInBackground(t, s)
	for kind, code := range map[string]int{"panic": http.StatusInternalServerError, "unavailable": http.StatusServiceUnavailable, "nameless": http.StatusInternalServerError} {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api-key/"+kind+"-s3cr3t", nil))
		require.Equal(t, code, w.Code, w.Body)
		require.NotContains(t, w.Body.String(), "s3cr3t")
	}
	require.NotContains(t, log.String(), "s3cr3t")
	require.Contains(t, log.String(), "authenticator broken")
	require.Contains(t, log.String(), "dial tcp: refused")
}

// serveInBackground runs s until the test ends: what New opened, only Run closes.
func serveInBackground(t *testing.T, s *server.Server) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var listeners [2]net.Listener
	for i := range listeners {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		listeners[i] = l
	}
	served := make(chan error, 1)
	go func() { served <- s.Run(ctx, listeners[0], listeners[1]) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-served)
	})
}
