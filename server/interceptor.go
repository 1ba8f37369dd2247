package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/tenants"
)

const (
	requestIDHeader  = "x-request-id"
	apiKeyHeader     = "x-api-key"
	forwardedHeader  = "x-forwarded-for"   // set by the gateway, for itself
	staleHeader      = "tms-stale-seconds" // how old an answer from memory is, when the database does not answer
	retryAfterHeader = "retry-after"
	// callTimeout bounds calls whose clients set no deadline. Planning for a
	// large fleet is what takes longest.
	callTimeout = 2 * time.Minute
	// maxRequestID is how long a client's request id may be.
	maxRequestID = 64
)

// call is what is known about a request.
type call struct {
	given     string // the client's request id, "" without one
	requestID string
	principal tenants.Principal
}

// named gives the call an id, when it has none yet.
func (c *call) named() string {
	if c.requestID == "" {
		c.requestID = requestID(c.given)
	}
	return c.requestID
}

type callKey struct{}

func callOf(ctx context.Context) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	return &call{}
}

// callerOf is who asks, for the audit trail.
func callerOf(ctx context.Context) tenants.Caller {
	c := callOf(ctx)
	return tenants.Caller{KeyID: c.principal.KeyID, Role: c.principal.Role, RequestID: c.requestID, Origin: originOf(ctx)}
}

// gate is the first interceptor of every call: it gives the call its id,
// knows the caller, translates errors and writes the log.
type gate struct {
	auth      Authenticator
	throttle  *throttle
	strangers *throttle
	closing   <-chan struct{} // closed at shutdown
	log       *slog.Logger
}

// quiet methods are called for every request of every Tracardi container and
// answered from memory; only their failures are logged above debug.
var quiet = map[string]bool{tmsv1.TenantService_Check_FullMethodName: true}

// newCall gives a call its id. One of a quiet method has no need of one until
// something goes wrong, unless the client gave it.
func newCall(ctx context.Context, method string) *call {
	c := &call{}
	if given := metadata.ValueFromIncomingContext(ctx, requestIDHeader); len(given) == 1 {
		c.given = given[0]
	}
	if c.given != "" || !quiet[method] {
		c.named()
	}
	return c
}

// originOf is the address a call came from; what the client itself says about
// it counts only when the client is our own gateway.
func originOf(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok || p.Addr == nil {
		return ""
	}
	if p.Addr.Network() != pipeNetwork {
		return hostOf(p.Addr.String())
	}
	if v := metadata.ValueFromIncomingContext(ctx, forwardedHeader); len(v) > 0 {
		hops := strings.Split(v[len(v)-1], ",")
		return strings.TrimSpace(hops[len(hops)-1])
	}
	return ""
}

// pipeNetwork is the network of addresses of bufconn.
const pipeNetwork = "bufconn"

func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

// annotate tells the client how old an answer from memory is, and how long to
// wait after an error. It fails only without a transport.
func (g *gate) annotate(ctx context.Context, err error) {
	if age := g.auth.Staleness(); age > 0 {
		md := metadata.Pairs(staleHeader, staleSeconds(age))
		_ = grpc.SetHeader(ctx, md)
		_ = grpc.SetTrailer(ctx, md)
	}
	if err == nil {
		return
	}
	if md := retryAfter(err); md != nil {
		_ = grpc.SetHeader(ctx, md)
	}
}

func staleSeconds(age time.Duration) string { return strconv.Itoa(int(age/time.Second) + 1) }

// retryAfter is the header of an error that says how long to wait; nil
// without one.
func retryAfter(err error) metadata.MD {
	var e *tenants.Error
	if !errors.As(err, &e) || e.RetryAfter <= 0 {
		return nil
	}
	return metadata.Pairs(retryAfterHeader, retrySeconds(e.RetryAfter))
}

func retrySeconds(d time.Duration) string {
	return strconv.Itoa(int((d + time.Second - 1) / time.Second))
}

func (g *gate) unary(ctx context.Context, req any, i *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	c := newCall(ctx, i.FullMethod)
	ctx = context.WithValue(ctx, callKey{}, c)
	if c.requestID != "" {
		_ = grpc.SetHeader(ctx, metadata.Pairs(requestIDHeader, c.requestID)) // fails only without a transport
	}
	began := time.Now()
	if !quiet[i.FullMethod] {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callTimeout)
		defer cancel()
	}
	if err = g.admit(ctx, c, i.FullMethod); err == nil {
		err = within(c.principal, i.FullMethod, req)
	}
	if err == nil {
		resp, err = handler(ctx, req)
	}
	if err != nil && c.requestID == "" {
		_ = grpc.SetHeader(ctx, metadata.Pairs(requestIDHeader, c.named()))
	}
	g.annotate(ctx, err)
	return resp, g.done(ctx, c, i.FullMethod, began, err)
}

// requestID takes over the client's id when it is harmless in a log.
func requestID(given string) string {
	if len(given) > 0 && len(given) <= maxRequestID && strings.Trim(given, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.") == "" {
		return given
	}
	return rand.Text()
}

func (g *gate) admit(ctx context.Context, c *call, method string) error {
	if isOpen(method) {
		return nil
	}
	p, err := g.auth.Authenticate(ctx, credential(ctx))
	if err != nil {
		return g.strangers.stranger(originOf(ctx), err)
	}
	c.principal = p
	if err := g.throttle.admit(p.KeyID, quiet[method]); err != nil {
		return err
	}
	return authorize(p, method)
}

func credential(ctx context.Context) string {
	if v := metadata.ValueFromIncomingContext(ctx, "authorization"); len(v) > 0 {
		return bearer(v[0])
	}
	if v := metadata.ValueFromIncomingContext(ctx, apiKeyHeader); len(v) > 0 {
		return v[0]
	}
	return ""
}

// bearer takes the credential out of an Authorization header, "" when it has
// another scheme.
func bearer(header string) string {
	scheme, value, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return strings.TrimSpace(value)
}

// validated refuses requests that break the rules of the contract.
func validated(v protovalidate.Validator) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if m, ok := req.(proto.Message); ok {
			if err := valid(v, m); err != nil {
				return nil, err
			}
		}
		return handler(ctx, req)
	}
}

func valid(v protovalidate.Validator, m proto.Message) error {
	if err := refuseNUL(m); err != nil {
		return err
	}
	return v.Validate(m)
}

func validatedStream(v protovalidate.Validator) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		return handler(srv, &validatingStream{ss, v})
	}
}

type validatingStream struct {
	grpc.ServerStream
	validator protovalidate.Validator
}

func (s *validatingStream) RecvMsg(msg any) error {
	if err := s.ServerStream.RecvMsg(msg); err != nil {
		return err
	}
	if m, ok := msg.(proto.Message); ok {
		return valid(s.validator, m)
	}
	return nil
}

// onPanic turns a panic into an error, so that one request cannot take the
// process with it.
func onPanic(p any) error { return &panicked{value: p, stack: debug.Stack()} }

type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// done translates the error and writes the line of the log.
func (g *gate) done(ctx context.Context, c *call, method string, began time.Time, err error) error {
	st := statusOf(err)
	level := levelOf(st.Code(), quiet[method] || isOpen(method))
	if g.log.Enabled(ctx, level) {
		attrs := []slog.Attr{
			slog.String("method", method), slog.String("code", st.Code().String()),
			slog.Duration("took", time.Since(began)), slog.String("request_id", c.named()), slog.String("key", c.principal.KeyID),
		}
		g.log.LogAttrs(ctx, level, "call", append(attrs, cause(err)...)...)
	}
	return st.Err()
}

// cause are the attributes that only the log sees.
func cause(err error) []slog.Attr {
	if err == nil {
		return nil
	}
	attrs := []slog.Attr{slog.String("error", chain(err))}
	var p *panicked
	if errors.As(err, &p) {
		attrs = append(attrs, slog.String("stack", string(p.stack)))
	}
	return attrs
}

// chain joins an error's text with those below it that it does not show.
func chain(err error) string {
	text := err.Error()
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return text
		}
		if err = u.Unwrap(); err == nil {
			return text
		}
		if s := err.Error(); !strings.Contains(text, s) {
			text += ": " + s
		}
	}
}

func levelOf(code codes.Code, quietly bool) slog.Level {
	switch code {
	case codes.Internal, codes.Unknown, codes.DataLoss:
		return slog.LevelError
	case codes.Unavailable, codes.DeadlineExceeded:
		return slog.LevelWarn
	case codes.OK:
		if quietly {
			return slog.LevelDebug
		}
	}
	return slog.LevelInfo
}
