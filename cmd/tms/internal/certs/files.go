// Package certs reads the certificates of the listeners and of the client from
// files, and notices when the files change: certificates are renewed every few
// weeks, by programs, and a service must not be restarted for that.
package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

const (
	// recheck is how often the files are looked at, and so how long after a
	// change the first handshake has the new ones.
	recheck = time.Second
	// soon is when the end of a certificate is worth a warning: renewal tools
	// renew at two thirds of its life, and the shortest lives are of days.
	soon = 3 * 24 * time.Hour
	// maxFile bounds a file: a chain, or a bundle of authorities.
	maxFile = 4 << 20
)

// File is a file of PEM blocks and the setting that names it, for errors.
type File struct {
	Setting string // "--tls-cert (TMS_TLS_CERT)"
	Path    string
}

func (f File) read() ([]byte, error) {
	info, err := os.Stat(f.Path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Setting, err)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s: %s has %d bytes, at most %d are read", f.Setting, f.Path, info.Size(), maxFile)
	}
	text, err := os.ReadFile(f.Path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Setting, err)
	}
	return text, nil
}

// Pair is a certificate chain, the server's own certificate first, and its
// private key.
type Pair struct{ Cert, Key File }

// load reads the pair; no error holds anything of the key.
func (p Pair) load() (*tls.Certificate, error) {
	cert, err := p.Cert.read()
	if err != nil {
		return nil, err
	}
	key, err := p.Key.read()
	if err != nil {
		return nil, err
	}
	return p.parse(cert, key)
}

func (p Pair) parse(cert, key []byte) (*tls.Certificate, error) {
	if !bytes.Contains(cert, []byte("-----BEGIN CERTIFICATE-----")) {
		return nil, fmt.Errorf("%s: %s holds no PEM certificate", p.Cert.Setting, p.Cert.Path)
	}
	if !bytes.Contains(key, []byte("PRIVATE KEY-----")) {
		return nil, fmt.Errorf("%s: %s holds no PEM private key", p.Key.Setting, p.Key.Path)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %s and %s make no pair: %w", p.Cert.Setting, p.Key.Setting, p.Cert.Path, p.Key.Path, err)
	}
	return &pair, nil
}

func parsePool(f File, text []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: %s holds no PEM certificate", f.Setting, f.Path)
	}
	return pool, nil
}

// Server is the identity of the listeners, and whom they let in. It is safe
// for concurrent use and has no goroutine: handshakes look after the files.
type Server struct {
	pair     Pair
	clientCA File // without path: nobody needs a certificate
	log      *slog.Logger

	mu      sync.Mutex
	looked  time.Time
	current identity
	refused [3][]byte // what the files held when they were last found wrong
}

// identity is what the files held.
type identity struct {
	text  [3][]byte // certificate, key, authorities
	pair  *tls.Certificate
	pool  *x509.CertPool // nil without authorities
	until time.Time
}

// NewServer reads the files; what is wrong with them is said by setting and
// file. clientCA may be without path.
func NewServer(pair Pair, clientCA File, log *slog.Logger) (*Server, error) {
	s := &Server{pair: pair, clientCA: clientCA, log: log, looked: time.Now()}
	text, err := s.read()
	if err != nil {
		return nil, err
	}
	if s.current, err = s.parse(text); err != nil {
		return nil, err
	}
	s.warn()
	return s, nil
}

func (s *Server) read() (text [3][]byte, err error) {
	for i, f := range []File{s.pair.Cert, s.pair.Key, s.clientCA} {
		if f.Path == "" {
			continue
		}
		if text[i], err = f.read(); err != nil {
			return text, err
		}
	}
	return text, nil
}

func (s *Server) parse(text [3][]byte) (identity, error) {
	pair, err := s.pair.parse(text[0], text[1])
	if err != nil {
		return identity{}, err
	}
	one := identity{text: text, pair: pair, until: pair.Leaf.NotAfter}
	if s.clientCA.Path != "" {
		if one.pool, err = parsePool(s.clientCA, text[2]); err != nil {
			return identity{}, err
		}
	}
	return one, nil
}

func same(a, b [3][]byte) bool {
	return bytes.Equal(a[0], b[0]) && bytes.Equal(a[1], b[1]) && bytes.Equal(a[2], b[2])
}

// now is the identity in force. Files that cannot be used, as in the middle of
// a renewal, change nothing and are reported once.
func (s *Server) now() identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.looked) < recheck {
		return s.current
	}
	s.looked = time.Now()
	text, err := s.read()
	if err == nil && same(text, s.current.text) {
		s.refused = [3][]byte{}
		return s.current
	}
	var next identity
	if err == nil {
		next, err = s.parse(text)
	}
	if err != nil {
		if s.refused[0] == nil || !same(text, s.refused) {
			s.log.Warn("changed certificate files cannot be used; the ones before stay in force", "error", err, "expires", s.current.until)
		}
		s.refused = text
		if s.refused[0] == nil {
			s.refused[0] = []byte{}
		}
		return s.current
	}
	s.current, s.refused = next, [3][]byte{}
	s.log.Info("certificate files changed; new connections use them", "certificate", s.pair.Cert.Path, "expires", next.until)
	s.warn()
	return s.current
}

func (s *Server) warn() {
	if left := time.Until(s.current.until); left < soon {
		s.log.Warn("the certificate expires soon, or has expired", "certificate", s.pair.Cert.Path, "expires", s.current.until)
	}
}

// Config is that of a listener which speaks the given protocols. auth counts
// only where there are authorities of clients.
func (s *Server) Config(auth tls.ClientAuthType, protocols ...string) *tls.Config {
	outer := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: protocols}
	outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		one := s.now()
		inner := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: protocols, Certificates: []tls.Certificate{*one.pair}}
		if one.pool != nil {
			inner.ClientAuth, inner.ClientCAs = auth, one.pool
			// A resumed connection would pass by an authority that is no longer
			// trusted.
			inner.SessionTicketsDisabled = true
		}
		return inner, nil
	}
	return outer
}

// Client is the TLS of a client: it trusts the authorities in ca, or the
// system's without one, and shows the pair where it has one. The pair's files
// are read again for every connection.
func Client(ca File, pair Pair) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca.Path != "" {
		text, err := ca.read()
		if err != nil {
			return nil, err
		}
		if c.RootCAs, err = parsePool(ca, text); err != nil {
			return nil, err
		}
	}
	switch {
	case pair.Cert.Path == "" && pair.Key.Path == "":
		return c, nil
	case pair.Cert.Path == "" || pair.Key.Path == "":
		return nil, errors.New(pair.Cert.Setting + " and " + pair.Key.Setting + " belong together: give both or none")
	}
	if _, err := pair.load(); err != nil {
		return nil, err
	}
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair.load() }
	return c, nil
}
