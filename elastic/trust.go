package elastic

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
)

// trusted says which certificates the cluster may show; nil is the system's
// choice.
func trusted(cfg Config) (*tls.Config, error) {
	if cfg.Fingerprint != "" {
		want, err := ParseFingerprint(cfg.Fingerprint)
		if err != nil {
			return nil, err
		}
		return pinned(want), nil
	}
	pem, name := cfg.CAPEM, ""
	if pem == "" && cfg.CACert != "" {
		name = " " + cfg.CACert
		text, err := os.ReadFile(cfg.CACert)
		if err != nil {
			return nil, fmt.Errorf("search engine CA certificate: %w", err)
		}
		pem = string(text)
		if pem == "" {
			pem = "\n" // an empty file is a mistake, not the system's choice
		}
	}
	if pem == "" {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(pem)) {
		return nil, fmt.Errorf("search engine CA certificate%s: holds no PEM certificate", name)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

// ParseFingerprint reads a SHA-256 fingerprint in hex, with or without colons.
func ParseFingerprint(text string) ([sha256.Size]byte, error) {
	var out [sha256.Size]byte
	raw, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(text), ":", ""))
	if err != nil || len(raw) != sha256.Size {
		return out, fmt.Errorf("certificate fingerprint: want %d hexadecimal digits (SHA-256), as the engine prints them at its first start", 2*sha256.Size)
	}
	return [sha256.Size]byte(raw), nil
}

// pinned trusts a server that shows the certificate with the fingerprint as
// its own, or one that this certificate has signed. That the server sends an
// authority's certificate along proves nothing by itself: everybody can.
func pinned(want [sha256.Size]byte) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		// Replaced by VerifyConnection, which every handshake goes through,
		// resumed ones too.
		InsecureSkipVerify: true, //nolint:gosec // see above
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return errors.New("the search engine shows no certificate")
			}
			leaf, roots, others := s.PeerCertificates[0], x509.NewCertPool(), x509.NewCertPool()
			if sha256.Sum256(leaf.Raw) == want {
				return nil
			}
			found := false
			for _, c := range s.PeerCertificates[1:] {
				if sha256.Sum256(c.Raw) == want {
					roots.AddCert(c)
					found = true
					continue
				}
				others.AddCert(c)
			}
			if !found {
				return errors.New("the search engine shows no certificate with the fingerprint that was given")
			}
			_, err := leaf.Verify(x509.VerifyOptions{DNSName: s.ServerName, Roots: roots, Intermediates: others})
			return err
		},
	}
}
