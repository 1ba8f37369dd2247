package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/tracardi/tms/proto/openapi"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// buildHTTP puts the REST gateway, Tracardi's own routes and the probes
// behind one handler. The gateway calls gRPC through a pipe in memory, so
// every REST call passes the same interceptors.
func (s *Server) buildHTTP() error {
	conn, err := grpc.NewClient("passthrough:///gateway",
		grpc.WithTransportCredentials(insecure.NewCredentials()), // does not leave the process
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return s.pipe.DialContext(ctx) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)), // what our own server sends
	)
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	s.conn = conn
	gateway := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, &runtime.HTTPBodyMarshaler{Marshaler: &runtime.JSONPb{
			MarshalOptions:   protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true},
			UnmarshalOptions: protojson.UnmarshalOptions{}, // an unknown field is a mistake, say so
		}}),
		runtime.WithIncomingHeaderMatcher(incomingHeader),
		runtime.WithOutgoingHeaderMatcher(func(key string) (string, bool) {
			name, ok := outgoingHeaders[key]
			return name, ok
		}),
		runtime.WithErrorHandler(func(ctx context.Context, mux *runtime.ServeMux, m runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
			runtime.DefaultHTTPErrorHandler(ctx, mux, m, w, r, explained(status.Convert(err)).Err())
		}),
		runtime.WithRoutingErrorHandler(routingError),
	)
	for _, register := range []func(context.Context, *runtime.ServeMux, *grpc.ClientConn) error{
		tmsv1.RegisterTenantServiceHandler, tmsv1.RegisterApiKeyServiceHandler,
		tmsv1.RegisterReleaseServiceHandler, tmsv1.RegisterUpgradeServiceHandler, tmsv1.RegisterVerificationServiceHandler, tmsv1.RegisterOperationServiceHandler,
		tmsv1.RegisterAuditServiceHandler, tmsv1.RegisterFleetServiceHandler,
		tmsv1.RegisterEventServiceHandler,
		tmsv1.RegisterBackupServiceHandler,
		tmsv1.RegisterWebhookServiceHandler,
		tmsv1.RegisterCleanupServiceHandler,
		tmsv1.RegisterClusterServiceHandler,
		tmsv1.RegisterBudgetServiceHandler,
		tmsv1.RegisterProgressServiceHandler,
		tmsv1.RegisterRehearsalServiceHandler,
	} {
		// The context is for a goroutine that closes conn; we do that ourselves.
		if err := register(context.Background(), gateway, conn); err != nil {
			return fmt.Errorf("gateway: %w", err)
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/v1/", gateway)
	mux.HandleFunc("GET /v1/openapi.json", serveOpenAPI)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "alive"})
	})
	mux.HandleFunc("GET /readyz", s.serveReady)
	(&tracardi{tenants: s.cfg.Tenants, cleanups: s.cfg.Cleanups, auth: s.cfg.Auth, throttle: s.limits, strangers: s.strangers, release: s.defaultRelease(), log: s.cfg.Logger}).register(mux)
	guardedMux := hardened(mux)
	if s.cfg.HTTPClientCerts {
		guardedMux = certified(guardedMux)
	}
	s.handler = s.guarded(guardedMux)
	return nil
}

// outgoingHeaders are what of gRPC's headers REST clients see.
var outgoingHeaders = map[string]string{
	requestIDHeader: "X-Request-Id", staleHeader: "Tms-Stale-Seconds", retryAfterHeader: "Retry-After",
}

// routingError answers paths and methods that the contract does not have.
func routingError(ctx context.Context, mux *runtime.ServeMux, m runtime.Marshaler, w http.ResponseWriter, r *http.Request, code int) {
	st := detailed(codes.NotFound, "no such path under /v1", info(reasonUnknownCall, nil))
	switch code {
	case http.StatusMethodNotAllowed:
		st = detailed(codes.Unimplemented, "the path knows other methods", info(reasonUnknownCall, nil))
	case http.StatusBadRequest:
		st = detailed(codes.InvalidArgument, "the path cannot be read", info(reasonMalformed, nil))
	}
	runtime.DefaultHTTPErrorHandler(ctx, mux, m, w, r, &runtime.HTTPStatusError{HTTPStatus: code, Err: st.Err()})
}

// incomingHeader passes what the interceptors read, and nothing that could be
// taken for it.
func incomingHeader(key string) (string, bool) {
	switch k := strings.ToLower(key); k {
	case apiKeyHeader, requestIDHeader:
		return k, true
	case "authorization":
		return "", false // the gateway passes it by itself
	}
	return "", false
}

func (s *Server) defaultRelease() string {
	if s.cfg.DefaultRelease != "" || s.cfg.Catalogue == nil {
		return s.cfg.DefaultRelease
	}
	all := s.cfg.Catalogue.List()
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1].Version
}

func serveOpenAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(openapi.JSON) // the client went away
}

func (s *Server) serveReady(w http.ResponseWriter, r *http.Request) {
	missing, err := s.ready(r.Context())
	if err != nil {
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "not ready", "reason": err.Error()})
		return
	}
	answer := map[string]any{"status": "ready"}
	if len(missing) > 0 {
		answer["missing"] = missing
	}
	writeJSON(w, http.StatusOK, answer)
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)              // programs read it, not browsers
	if err := encoder.Encode(v); err != nil { // only plain values of ours come here
		code = http.StatusInternalServerError
		b.Reset()
		b.WriteString(`{"detail":"internal error"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(bytes.TrimSuffix(b.Bytes(), []byte("\n"))) // the client went away
}

// guarded survives panics and logs calls that do not pass the
// gateway (those have a line of gRPC's). It logs the route and never the
// path: Tracardi's holds an API key.
func (s *Server) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		out := &statusWriter{ResponseWriter: w, code: http.StatusOK}
		defer func() {
			if p := recover(); p != nil {
				if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					panic(p)
				}
				e := &panicked{value: p, stack: debug.Stack()}
				s.cfg.Logger.ErrorContext(r.Context(), "panic in handler", "route", r.Pattern, "error", e.Error(), "stack", string(e.stack))
				if !out.wrote {
					writeJSON(out, http.StatusInternalServerError, map[string]string{"detail": "internal error"})
				}
			}
			if r.Pattern == "/v1/" {
				return
			}
			s.cfg.Logger.LogAttrs(r.Context(), httpLevel(out.code), "request",
				slog.String("method", r.Method), slog.String("route", r.Pattern), slog.Int("code", out.code), slog.Duration("took", time.Since(began)))
		}()
		next.ServeHTTP(out, r)
	})
}

// httpLevel keeps what every container asks all the time out of the log.
func httpLevel(code int) slog.Level {
	switch {
	case code >= 500:
		return slog.LevelWarn
	case code >= 400:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

type statusWriter struct {
	http.ResponseWriter
	code  int
	wrote bool
}

func (w *statusWriter) WriteHeader(code int) {
	if !w.wrote {
		w.code, w.wrote = code, true
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	w.wrote = true
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController flush streams.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush is what the gateway looks for before it streams.
func (w *statusWriter) Flush() {
	if f, ok := w.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}
