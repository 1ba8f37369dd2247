package server

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/tracardi/tms/events"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/tenants"
)

// watchStall is how long a follower may leave a message of a watch untaken.
const watchStall = 30 * time.Second

// Watches lets clients follow tenants, *events.Watches.
type Watches interface {
	Watch(ctx context.Context, r events.WatchRequest, send func(events.Notice) error) error
	Rollouts(ctx context.Context, r events.RolloutsRequest, send func(events.Notice) error) error
}

type eventService struct {
	watches Watches
	stall   time.Duration
}

func (s *eventService) WatchTenants(r *tmsv1.WatchTenantsRequest, stream grpc.ServerStreamingServer[tmsv1.WatchTenantsResponse]) error {
	ctx := stream.Context()
	caller := callOf(ctx).principal
	f := tenants.Filter{ShowDeleted: r.GetShowDeleted(), IDs: caller.Tenants}
	if err := f.Parse(r.GetFilter()); err != nil {
		return err
	}
	out := newOutbox(ctx, stream, s.stall)
	err := s.watches.Watch(ctx, events.WatchRequest{KeyID: caller.KeyID, Filter: f, Token: r.GetResumeToken()}, func(n events.Notice) error {
		m, err := noticeToProto(n)
		if err != nil {
			return err
		}
		return out.send(m)
	})
	out.close()
	return err
}

// outbox sends messages of a stream from a goroutine of its own, so that a
// follower who takes none can be cut off: gRPC's Send waits for ever.
type outbox[M any] struct {
	ctx   context.Context
	stall time.Duration
	next  chan *M
	ended chan struct{}
	err   error // of the stream, to be read after ended
}

func newOutbox[M any](ctx context.Context, stream grpc.ServerStreamingServer[M], stall time.Duration) *outbox[M] {
	o := &outbox[M]{ctx: ctx, stall: stall, next: make(chan *M), ended: make(chan struct{})}
	go func() { // ends with the handler: Send returns when its stream is gone
		defer close(o.ended)
		for m := range o.next {
			if o.err = stream.Send(m); o.err != nil {
				return
			}
		}
	}()
	return o
}

func (o *outbox[M]) send(m *M) error {
	timer := time.NewTimer(o.stall)
	defer timer.Stop()
	select {
	case o.next <- m:
		return nil
	case <-o.ended:
		return o.err
	case <-o.ctx.Done():
		return o.ctx.Err()
	case <-timer.C:
		return &tenants.Error{
			Code: tenants.CodeExhausted, Reason: tenants.ReasonWatchTooSlow,
			Message: fmt.Sprintf("the follower took no message for %s", o.stall), Remedy: "go on with the last resume_token, and take messages as they come",
		}
	}
}

// close lets the message that is on its way arrive, unless nobody takes it.
func (o *outbox[M]) close() {
	close(o.next)
	select {
	case <-o.ended:
	case <-o.ctx.Done():
	case <-time.After(100 * time.Millisecond):
	}
}

func noticeToProto(n events.Notice) (*tmsv1.WatchTenantsResponse, error) {
	out := &tmsv1.WatchTenantsResponse{Kind: string(n.Kind), Matches: n.Matches, ResumeToken: n.Token}
	if n.Tenant != nil {
		out.Tenant = tenantToProto(n.Tenant, false)
	}
	if n.Kind != events.KindEvent {
		return out, nil
	}
	var err error
	out.Event, err = eventToProto(n.Event)
	return out, err
}

func eventToProto(e events.Event) (*tmsv1.Event, error) {
	data, err := structpb.NewStruct(e.Facts())
	if err != nil {
		return nil, fmt.Errorf("event %d: %w", e.Number, err)
	}
	return &tmsv1.Event{Number: e.Number, Time: stamp(e.At), Type: e.Type, Subject: e.Subject, Data: data}, nil
}
