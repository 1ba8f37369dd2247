package server

import (
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/tracardi/tms/tenants"
)

// recheck is how often the caller of a running stream is looked at again. With
// the second after which memory is no longer believed, a revoked key's streams
// end as soon as its calls do.
const recheck = 200 * time.Millisecond

// stream is the first interceptor of streams. They last, so what was true at
// their beginning is looked at again: a stream ends with its key, with its
// token, and when the process closes down.
func (g *gate) stream(srv any, ss grpc.ServerStream, i *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	c := newCall(ss.Context(), i.FullMethod)
	ctx, end := context.WithCancelCause(context.WithValue(ss.Context(), callKey{}, c))
	defer end(nil)
	_ = ss.SetHeader(metadata.Pairs(requestIDHeader, c.requestID))
	began := time.Now()
	err := g.admit(ctx, c, i.FullMethod)
	if err == nil {
		if !isOpen(i.FullMethod) {
			go g.attend(ctx, end, c.principal, i.FullMethod)
		}
		err = handler(srv, &streamWithContext{ss, ctx})
	}
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	ss.SetTrailer(retryAfter(err))
	return g.done(ctx, c, i.FullMethod, began, err)
}

// attend ends a stream whose caller may no longer call. It ends with the
// stream.
func (g *gate) attend(ctx context.Context, end context.CancelCauseFunc, first tenants.Principal, method string) {
	tick := time.NewTicker(recheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.closing:
			end(closingDown())
			return
		case <-tick.C:
		}
		p, err := g.auth.Authenticate(ctx, credential(ctx))
		if err == nil {
			err = authorize(p, method)
		}
		if err == nil && !slices.Equal(p.Tenants, first.Tenants) {
			err = tenants.RestrictedError(p, "what this stream was opened for")
		}
		if err != nil {
			end(err)
			return
		}
	}
}

func closingDown() error {
	return &tenants.Error{Code: tenants.CodeUnavailable, Reason: tenants.ReasonClosing, Message: "this process is shutting down", Remedy: "call again", RetryAfter: time.Second}
}

type streamWithContext struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *streamWithContext) Context() context.Context { return s.ctx }
