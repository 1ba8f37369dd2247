package cli

import (
	"bytes"
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tracardi/tms/cmd/tms/internal/config"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// watchServer answers Watch by a script: one function per stream. A real
// server does not lose connections on demand.
type watchServer struct {
	tmsv1.UnimplementedUpgradeServiceServer
	script []func(grpc.ServerStreamingServer[tmsv1.Rollout]) error
	calls  atomic.Int32
}

func (s *watchServer) Watch(_ *tmsv1.WatchRolloutRequest, stream grpc.ServerStreamingServer[tmsv1.Rollout]) error {
	n := int(s.calls.Add(1)) - 1
	return s.script[min(n, len(s.script)-1)](stream)
}

func startWatchServer(t *testing.T, addr string, s *watchServer) (*grpc.Server, string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	g := grpc.NewServer()
	tmsv1.RegisterUpgradeServiceServer(g, s)
	served := make(chan error, 1)
	go func() { served <- g.Serve(l) }()
	t.Cleanup(func() { g.Stop(); <-served })
	return g, l.Addr().String()
}

func connect(t *testing.T, addr string, reconnect time.Duration) *session {
	t.Helper()
	s, err := dial(config.Client{Addr: addr, APIKey: "k", Timeout: time.Minute, Reconnect: reconnect})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.conn.Close() })
	return s
}

// revisions is a progress that remembers.
type revisions struct {
	seen  []int64
	notes []string
	on    func(revision int64)
}

func (r *revisions) update(o *tmsv1.Rollout) {
	r.seen = append(r.seen, o.GetRevision())
	if r.on != nil {
		r.on(o.GetRevision())
	}
}
func (r *revisions) progress(*tmsv1.RolloutProgress) {}
func (r *revisions) note(text string)                { r.notes = append(r.notes, text) }
func (r *revisions) close()                          {}

func at(revision int64, state string, tenants ...string) *tmsv1.Rollout {
	r := rolloutOf(state, tenants...)
	r.Revision = revision
	return r
}

func send(messages ...*tmsv1.Rollout) func(grpc.ServerStreamingServer[tmsv1.Rollout]) error {
	return sendThen(nil, messages...)
}

func sendThen(end error, messages ...*tmsv1.Rollout) func(grpc.ServerStreamingServer[tmsv1.Rollout]) error {
	return func(stream grpc.ServerStreamingServer[tmsv1.Rollout]) error {
		for _, m := range messages {
			if err := stream.Send(m); err != nil {
				return err
			}
		}
		return end
	}
}

func watchAll(t *testing.T, s *session, shown *revisions) (*watcher, error) {
	t.Helper()
	w := &watcher{session: s, id: "r1", last: at(1, "running", "planned"), show: shown, enough: rolloutEnded}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return w, w.run(ctx)
}

func TestWatchOutlivesBrokenStreams(t *testing.T) {
	t.Parallel()
	_, addr := startWatchServer(t, "127.0.0.1:0", &watchServer{script: []func(grpc.ServerStreamingServer[tmsv1.Rollout]) error{
		sendThen(status.Error(codes.Unavailable, "going down"), at(2, "running", "copying")),
		send(at(3, "running", "copying")), // ends without an error, before the rollout
		sendThen(status.Error(codes.Internal, "stream terminated by RST_STREAM")),
		// Another process may answer from before what was seen.
		send(at(2, "running", "copying"), at(4, "complete", "switched")),
	}})
	shown := &revisions{}
	w, err := watchAll(t, connect(t, addr, time.Minute), shown)
	require.NoError(t, err)
	assert.Equal(t, []int64{1, 2, 3, 4}, shown.seen)
	assert.Equal(t, "complete", w.last.GetState())
	assert.NotEmpty(t, shown.notes)
}

func TestWatchOutlivesARestart(t *testing.T) {
	t.Parallel()
	first, addr := startWatchServer(t, "127.0.0.1:0", &watchServer{script: []func(grpc.ServerStreamingServer[tmsv1.Rollout]) error{
		func(stream grpc.ServerStreamingServer[tmsv1.Rollout]) error {
			err := stream.Send(at(2, "running", "copying"))
			<-stream.Context().Done()
			return err
		},
	}})
	shown := &revisions{}
	shown.on = func(revision int64) {
		if revision == 2 {
			first.Stop() // to the client the same as kill -9
			startWatchServer(t, addr, &watchServer{script: []func(grpc.ServerStreamingServer[tmsv1.Rollout]) error{send(at(5, "complete", "switched"))}})
		}
	}
	w, err := watchAll(t, connect(t, addr, time.Minute), shown)
	require.NoError(t, err)
	assert.Equal(t, int64(5), w.last.GetRevision())
	assert.NotEmpty(t, shown.notes)
}

func TestWatchGivesUp(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	shown := &revisions{}
	_, err = watchAll(t, connect(t, addr, 300*time.Millisecond), shown)
	require.ErrorContains(t, err, "TMS not reached for 300ms")
	assert.Len(t, shown.notes, 1)
}

func TestWatchDoesNotRepeatARefusal(t *testing.T) {
	t.Parallel()
	refusal, err := status.New(codes.NotFound, "no such rollout").WithDetails(&errdetails.ErrorInfo{Reason: "ROLLOUT_NOT_FOUND"})
	require.NoError(t, err)
	server := &watchServer{script: []func(grpc.ServerStreamingServer[tmsv1.Rollout]) error{sendThen(refusal.Err())}}
	_, addr := startWatchServer(t, "127.0.0.1:0", server)
	_, err = watchAll(t, connect(t, addr, time.Minute), &revisions{})
	require.ErrorContains(t, err, "no such rollout")
	assert.Equal(t, int32(1), server.calls.Load())
}

// With named tenants waiting ends with them, though the rollout goes on.
func TestWaitForNamedTenants(t *testing.T) {
	t.Parallel()
	_, addr := startWatchServer(t, "127.0.0.1:0", &watchServer{script: []func(grpc.ServerStreamingServer[tmsv1.Rollout]) error{
		func(stream grpc.ServerStreamingServer[tmsv1.Rollout]) error {
			if err := stream.Send(at(2, "running", "switched", "compared")); err != nil {
				return err
			}
			<-stream.Context().Done()
			return nil
		},
	}})
	var out, errs bytes.Buffer
	a := &app{out: &out, err: &errs}
	s := connect(t, addr, time.Minute)
	err := a.waitFor(t.Context(), s, at(1, "running", "verified", "compared"), []string{"t0"}, goalSwitched)
	require.NoError(t, err)
	assert.Contains(t, errs.String(), "t0 switched")
	assert.Contains(t, out.String(), "1 compared, 1 switched")
}

func TestTransient(t *testing.T) {
	t.Parallel()
	inside, err := status.New(codes.Internal, "internal error").WithDetails(&errdetails.ErrorInfo{Reason: "INTERNAL"})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"restart":            {status.Error(codes.Unavailable, "x"), true},
		"broken connection":  {status.Error(codes.Internal, "RST_STREAM"), true},
		"fault of TMS":       {inside.Err(), false},
		"wrong key":          {status.Error(codes.Unauthenticated, "x"), false},
		"ours":               {context.Canceled, false},
		"role":               {status.Error(codes.PermissionDenied, "x"), false},
		"somebody was first": {status.Error(codes.Aborted, "x"), true},
	} {
		assert.Equal(t, c.want, transient(c.err), name)
	}
}
