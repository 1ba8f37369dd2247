package certs_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/cmd/tms/internal/certs"
	"github.com/tracardi/tms/cmd/tms/internal/certs/certstest"
)

// patience is how long tests wait for a change to be noticed.
const patience = 10 * time.Second

type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// files are a server's in a directory.
type files struct{ dir string }

func (f files) path(name string) string { return filepath.Join(f.dir, name) }

func (f files) pair() certs.Pair {
	return certs.Pair{Cert: certs.File{Setting: "--tls-cert", Path: f.path("tls.crt")}, Key: certs.File{Setting: "--tls-key", Path: f.path("tls.key")}}
}

func (f files) write(t *testing.T, a *certstest.Authority, life time.Duration) {
	cert, key := a.Sign("server", life)
	certstest.Write(t, f.path("tls.crt"), cert)
	certstest.Write(t, f.path("tls.key"), key)
}

// listen accepts connections and says "ok" to each.
func listen(t *testing.T, c *tls.Config) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", c)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = conn.Write([]byte("ok"))
				_ = conn.Close()
			}()
		}
	}()
	return l.Addr().String()
}

// dial reads what the server says; with TLS 1.3 a refused client certificate
// shows in the first read.
func dial(address string, c *tls.Config) error {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", address, c)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, err = conn.Read(make([]byte, 2))
	return err
}

func trusting(a *certstest.Authority) *tls.Config {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(a.PEM)
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	f, log := files{t.TempDir()}, &logged{}
	old, fresh := certstest.NewAuthority(t, "old"), certstest.NewAuthority(t, "new")
	f.write(t, old, time.Hour*24)
	s, err := certs.NewServer(f.pair(), certs.File{}, slog.New(slog.NewTextHandler(log, nil)))
	require.NoError(t, err)
	address := listen(t, s.Config(tls.NoClientCert, "h2"))
	require.NoError(t, dial(address, trusting(old)))
	require.Error(t, dial(address, trusting(fresh)))
	weak := trusting(old)
	weak.MaxVersion = tls.VersionTLS11
	weak.MinVersion = tls.VersionTLS10
	require.Error(t, dial(address, weak))

	// Half a renewal: the certificate is new, the key is not.
	cert, key := fresh.Sign("server", 30*24*time.Hour)
	certstest.Write(t, f.path("tls.crt"), cert)
	require.Eventually(t, func() bool {
		return assert.NoError(t, dial(address, trusting(old))) && bytes.Contains([]byte(log.String()), []byte("cannot be used"))
	}, patience, 50*time.Millisecond)
	assert.NotContains(t, log.String(), "PRIVATE")

	certstest.Write(t, f.path("tls.key"), key)
	require.Eventually(t, func() bool { return dial(address, trusting(fresh)) == nil }, patience, 50*time.Millisecond)
	require.Error(t, dial(address, trusting(old)))
	assert.Contains(t, log.String(), "new connections use them")
	assert.Equal(t, 1, bytes.Count([]byte(log.String()), []byte("cannot be used")), "reported once")
}

func TestClientAuthority(t *testing.T) {
	t.Parallel()
	f := files{t.TempDir()}
	ours, theirs := certstest.NewAuthority(t, "ours"), certstest.NewAuthority(t, "theirs")
	f.write(t, ours, time.Hour*24*30)
	ca := certs.File{Setting: "--tls-client-ca", Path: f.path("ca.crt")}
	certstest.Write(t, ca.Path, ours.PEM)
	s, err := certs.NewServer(f.pair(), ca, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	address := listen(t, s.Config(tls.RequireAndVerifyClientCert, "h2"))
	as := func(a *certstest.Authority, life time.Duration) *tls.Config {
		cert, key := a.Sign("client", life)
		pair, err := tls.X509KeyPair(cert, key)
		require.NoError(t, err)
		c := trusting(ours)
		// Whatever the server asks for: a wrong one is shown, not kept back.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		return c
	}
	require.NoError(t, dial(address, as(ours, time.Hour)))
	require.Error(t, dial(address, as(ours, -time.Minute)), "expired")
	require.Error(t, dial(address, as(theirs, time.Hour)), "of a strange authority")
	require.Error(t, dial(address, trusting(ours)), "none")

	// The authorities rotate too: who was let in before is not any more.
	certstest.Write(t, ca.Path, theirs.PEM)
	kept := as(ours, time.Hour)
	kept.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	require.Eventually(t, func() bool { return dial(address, as(theirs, time.Hour)) == nil }, patience, 50*time.Millisecond)
	require.Error(t, dial(address, kept))
}

func TestWrongFiles(t *testing.T) {
	t.Parallel()
	a := certstest.NewAuthority(t, "a")
	cert, key := a.Sign("server", time.Hour)
	_, other := a.Sign("server", time.Hour)
	for name, c := range map[string]struct {
		cert, key, ca []byte
		want          []string
	}{
		"no certificate file": {nil, key, nil, []string{"--tls-cert", "tls.crt", "no such file"}},
		"no key file":         {cert, nil, nil, []string{"--tls-key", "tls.key", "no such file"}},
		"swapped":             {key, cert, nil, []string{"--tls-cert", "holds no PEM certificate"}},
		"key is none":         {cert, []byte("x"), nil, []string{"--tls-key", "holds no PEM private key"}},
		"no pair":             {cert, other, nil, []string{"--tls-cert", "--tls-key", "make no pair"}},
		"authority":           {cert, key, []byte("x"), []string{"--tls-client-ca", "ca.crt", "holds no PEM certificate"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := files{t.TempDir()}
			ca := certs.File{Setting: "--tls-client-ca"}
			for file, text := range map[string][]byte{"tls.crt": c.cert, "tls.key": c.key, "ca.crt": c.ca} {
				if text != nil {
					certstest.Write(t, f.path(file), text)
				}
			}
			if c.ca != nil {
				ca.Path = f.path("ca.crt")
			}
			_, err := certs.NewServer(f.pair(), ca, slog.New(slog.DiscardHandler))
			require.Error(t, err)
			for _, part := range c.want {
				require.ErrorContains(t, err, part)
			}
			require.NotContains(t, err.Error(), "PRIVATE KEY-----")
		})
	}
}

func TestClientPairIsWhole(t *testing.T) {
	t.Parallel()
	_, err := certs.Client(certs.File{}, certs.Pair{Cert: certs.File{Setting: "--tls-cert", Path: "x"}, Key: certs.File{Setting: "--tls-key"}})
	require.ErrorContains(t, err, "--tls-cert and --tls-key belong together")
	_, err = certs.Client(certs.File{Setting: "--tls-ca", Path: "/nowhere"}, certs.Pair{})
	require.ErrorContains(t, err, "--tls-ca")
}

func TestExpiryIsWarnedOf(t *testing.T) {
	t.Parallel()
	f, log := files{t.TempDir()}, &logged{}
	f.write(t, certstest.NewAuthority(t, "a"), time.Minute)
	_, err := certs.NewServer(f.pair(), certs.File{}, slog.New(slog.NewTextHandler(log, nil)))
	require.NoError(t, err)
	assert.Contains(t, log.String(), "expires soon")
}
