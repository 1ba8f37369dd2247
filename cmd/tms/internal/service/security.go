package service

import (
	"crypto/tls"
	"log/slog"
	"slices"

	"github.com/tracardi/tms/cmd/tms/internal/certs"
	"github.com/tracardi/tms/cmd/tms/internal/config"
	"github.com/tracardi/tms/server"
)

// secure gives the listeners their certificates, where there are any.
func secure(c *server.Config, s config.TLS, log *slog.Logger) error {
	if s.Cert == "" {
		return nil
	}
	identity, err := certs.NewServer(
		certs.Pair{Cert: certs.File{Setting: "--tls-cert (TMS_TLS_CERT)", Path: s.Cert}, Key: certs.File{Setting: "--tls-key (TMS_TLS_KEY)", Path: s.Key}},
		certs.File{Setting: "--tls-client-ca (TMS_TLS_CLIENT_CA)", Path: s.ClientCA}, log)
	if err != nil {
		return err
	}
	required := func(listener string) bool { return s.ClientCA != "" && slices.Contains(s.ClientListeners, listener) }
	grpcAuth, httpAuth := tls.NoClientCert, tls.NoClientCert
	if required(config.ListenerGRPC) {
		grpcAuth = tls.RequireAndVerifyClientCert
	}
	if c.HTTPClientCerts = required(config.ListenerHTTP); c.HTTPClientCerts {
		httpAuth = tls.VerifyClientCertIfGiven // the server lets probes pass, and nothing else
	}
	c.GRPCTLS = identity.Config(grpcAuth, "h2")
	c.HTTPTLS = identity.Config(httpAuth, "h2", "http/1.1")
	return nil
}
