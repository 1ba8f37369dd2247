package cli_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/cmd/tms/internal/certs/certstest"
	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/internal/devstack/devtest"
)

// Both listeners with TLS and client certificates, the command line and REST
// against them, and a renewal while they run.
func TestServeTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	ours, strange, next := certstest.NewAuthority(t, "ours"), certstest.NewAuthority(t, "strange"), certstest.NewAuthority(t, "next")
	write := func(a *certstest.Authority, name string) {
		cert, key := a.Sign(name, time.Hour*24*30)
		certstest.Write(t, path(name+".crt"), cert)
		certstest.Write(t, path(name+".key"), key)
	}
	write(ours, "server")
	write(ours, "client")
	write(strange, "stranger")
	certstest.Write(t, path("ca.crt"), ours.PEM)
	certstest.Write(t, path("next.crt"), next.PEM)

	b := serve(t, environment{
		"DATABASE_URL": devtest.Database(t, db.Migrate), "TMS_ELASTIC_URLS": "http://127.0.0.1:1", "SECRET": "a secret for tests, long enough",
		"TMS_ADMIN_KEY": adminKey, "TMS_HTTP_ADDR": "127.0.0.1:0", "TMS_GRPC_ADDR": "127.0.0.1:0", "LOGGING_LEVEL": "error",
		"TMS_TLS_CERT": path("server.crt"), "TMS_TLS_KEY": path("server.key"), "TMS_TLS_CLIENT_CA": path("ca.crt"),
	})
	as := func(name string) environment {
		return b.client.with("TMS_ADDR", "https://"+b.client["TMS_ADDR"], "TMS_TLS_CA", path("ca.crt"),
			"TMS_CLIENT_CERT", path(name+".crt"), "TMS_CLIENT_KEY", path(name+".key"))
	}
	made := run(t, as("client"), "tenant", "create", "acme", "--release", "0.8.1")
	require.Zero(t, made.code, made.err)
	t.Run("refused", func(t *testing.T) { // ends before the renewal below
		for name, env := range map[string]environment{
			"strange certificate":  as("stranger"),
			"no certificate":       b.client.with("TMS_TLS_CA", path("ca.crt")),
			"plain text":           b.client,
			"authority not known":  as("client").with("TMS_TLS_CA", path("next.crt")),
			"the system's roots":   as("client").with("TMS_TLS_CA", ""),
			"plain text for https": b.client.with("TMS_ADDR", "http://"+b.client["TMS_ADDR"]),
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				got := run(t, env, "tenant", "list", "--timeout", "3s")
				assert.Equal(t, 1, got.code, got.out)
				assert.Contains(t, got.err, "cannot reach TMS")
			})
		}
	})

	address := strings.Replace(b.http, "http://", "https://", 1)
	rest := func(trusted *certstest.Authority, name, path string) (int, error) {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(trusted.PEM)
		c := &tls.Config{RootCAs: pool}
		if name != "" {
			pair, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key"))
			require.NoError(t, err)
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}
		client := http.Client{Timeout: startLimit, Transport: &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true}}
		defer client.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address+path, nil)
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+adminKey)
		res, err := client.Do(req)
		if err != nil {
			return 0, err
		}
		return res.StatusCode, res.Body.Close()
	}
	for _, c := range []struct {
		name, path string
		code       int
	}{
		{"client", "/v1/tenants/acme", http.StatusOK}, {"client", "/tenants", http.StatusOK},
		{"", "/v1/tenants/acme", http.StatusForbidden}, {"", "/tenants", http.StatusForbidden}, {"", "/healthz", http.StatusOK},
	} {
		code, err := rest(ours, c.name, c.path)
		require.NoError(t, err)
		assert.Equal(t, c.code, code, "%q %s", c.name, c.path)
	}
	_, err := rest(ours, "stranger", "/healthz")
	require.Error(t, err)

	write(next, "server")
	require.Eventually(t, func() bool {
		code, err := rest(next, "client", "/v1/tenants/acme")
		return err == nil && code == http.StatusOK
	}, startLimit, 100*time.Millisecond)
	renewed := run(t, as("client").with("TMS_TLS_CA", path("next.crt")), "tenant", "get", "acme")
	assert.Zero(t, renewed.code, renewed.err)
}

func TestTLSSettings(t *testing.T) {
	t.Parallel()
	complete := environment{"DATABASE_URL": "postgres://127.0.0.1:1/tms", "TMS_ELASTIC_URLS": "http://127.0.0.1:1", "SECRET": "a secret for tests, long enough", "TMS_API_KEY": "x"}
	pem := filepath.Join(t.TempDir(), "key.pem")
	_, key := certstest.NewAuthority(t, "a").Sign("x", time.Hour)
	certstest.Write(t, pem, key)
	for name, c := range map[string]struct {
		env  environment
		args []string
		want string
	}{
		"certificate alone": {complete.with("TMS_TLS_CERT", "a"), []string{"serve"}, "--tls-key (TMS_TLS_KEY) is not set"},
		"key alone":         {complete.with("TMS_TLS_KEY", "a"), []string{"serve"}, "--tls-cert (TMS_TLS_CERT) is not set"},
		"authority alone":   {complete.with("TMS_TLS_CLIENT_CA", "a"), []string{"serve"}, "--tls-client-ca (TMS_TLS_CLIENT_CA) needs TLS"},
		"no such listener":  {complete, []string{"serve", "--tls-client-listeners", "grpc,web"}, `"web": write grpc, http`},
		"key as a value":    {complete.with("TMS_TLS_KEY_FILE", pem), []string{"serve"}, "did you mean TMS_TLS_KEY instead of TMS_TLS_KEY_FILE"},
		"other scheme":      {complete, []string{"tenant", "list", "--addr", "ftp://tms"}, "--addr (TMS_ADDR)"},
		"http and TLS":      {complete, []string{"tenant", "list", "--addr", "http://tms", "--tls"}, "write https://"},
		"path":              {complete, []string{"tenant", "list", "--addr", "https://tms/v1"}, "only host and port"},
		"no authority file": {complete, []string{"tenant", "list", "--tls-ca", "/nowhere"}, "--tls-ca (TMS_TLS_CA)"},
		"half a pair":       {complete, []string{"tenant", "list", "--client-cert", "/nowhere"}, "belong together"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := run(t, c.env, c.args...)
			assert.Equal(t, 2, got.code, got.err)
			assert.Contains(t, got.err, c.want)
			assert.NotContains(t, got.err, "PRIVATE KEY-----")
		})
	}
}
