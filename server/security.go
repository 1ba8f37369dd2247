package server

import (
	"crypto/tls"
	"net"
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// transportOf is the security of connections to gRPC: TLS where it is
// configured, and none for the gateway, whose calls do not leave the process.
func transportOf(c *tls.Config) credentials.TransportCredentials {
	if c == nil {
		return insecure.NewCredentials()
	}
	return &pipeAside{credentials.NewTLS(c), insecure.NewCredentials()}
}

// pipeAside is TLS for all connections but those of the pipe in memory.
type pipeAside struct {
	credentials.TransportCredentials
	pipe credentials.TransportCredentials
}

// ServerHandshake implements credentials.TransportCredentials.
func (p *pipeAside) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if conn.LocalAddr().Network() == pipeNetwork {
		return p.pipe.ServerHandshake(conn)
	}
	return p.TransportCredentials.ServerHandshake(conn)
}

// Clone implements credentials.TransportCredentials.
func (p *pipeAside) Clone() credentials.TransportCredentials {
	return &pipeAside{p.TransportCredentials.Clone(), p.pipe.Clone()}
}

// probes need no client certificate: orchestrators have none to show.
var probes = map[string]bool{"/healthz": true, "/readyz": true}

// certified refuses requests of clients that showed no certificate. One that
// is not of the authorities has been refused by the handshake.
func certified(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !probes[r.URL.Path] && (r.TLS == nil || len(r.TLS.VerifiedChains) == 0) {
			const message = "a client certificate is required (TMS_TLS_CLIENT_CA is set)"
			if strings.HasPrefix(r.URL.Path, "/v1/") {
				writeStatus(w, http.StatusForbidden, detailed(codes.PermissionDenied, message, info(reasonNoCertificate, nil)))
			} else {
				writeDetail(w, http.StatusForbidden, message)
			}
			return
		}
		next.ServeHTTP(w, r)
	})
}
