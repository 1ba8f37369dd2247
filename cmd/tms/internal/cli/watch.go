package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cenkalti/backoff/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// waitFor shows a rollout until it has ended, or until all the tenants in only
// have reached the goal, prints it and judges it.
func (a *app) waitFor(ctx context.Context, s *session, r *tmsv1.Rollout, only []string, g goal) error {
	shown := a.newProgress()
	if _, err := fmt.Fprintf(a.err, "rollout %s to %s\n", r.GetId(), r.GetToRelease()); err != nil {
		return err
	}
	w := &watcher{session: s, id: r.GetId(), last: r, show: shown, enough: func(r *tmsv1.Rollout) bool {
		return rolloutEnded(r) || len(only) > 0 && g.reached(r, only)
	}}
	err := w.run(ctx)
	shown.close()
	if err != nil {
		return fmt.Errorf("%w\nthe rollout goes on without this command: follow it with `tms upgrade watch %s`", err, r.GetId())
	}
	if err := a.printRollout(s, w.last); err != nil {
		return err
	}
	return g.verdict(w.last, only)
}

// first gets a rollout, as patiently as watching it: the server, or its
// database, may be on its way back.
func (s *session) first(ctx context.Context, id string) (*tmsv1.Rollout, error) {
	return backoff.Retry(ctx, func() (*tmsv1.Rollout, error) {
		r, err := call(ctx, s, s.upgrades.Get, &tmsv1.GetRolloutRequest{Id: id})
		if err != nil && !transient(err) {
			return nil, backoff.Permanent(err)
		}
		return r, err
	}, backoff.WithBackOff(backoff.NewExponentialBackOff()), backoff.WithMaxElapsedTime(s.settings.Reconnect))
}

// watcher follows a rollout over lost connections and restarts of the server.
type watcher struct {
	*session
	id     string
	last   *tmsv1.Rollout // the newest seen
	show   progress
	enough func(*tmsv1.Rollout) bool
}

// run returns when enough has been seen, or with an error: one of the server,
// or that it could not be reached for the reconnect time.
func (w *watcher) run(ctx context.Context) error {
	pause := &backoff.ExponentialBackOff{InitialInterval: 100 * time.Millisecond, RandomizationFactor: 0.3, Multiplier: 1.6, MaxInterval: 2 * time.Second}
	pause.Reset()
	lost := time.Time{}
	w.show.update(w.last)
	for !w.enough(w.last) {
		heard, err := w.follow(ctx)
		if w.enough(w.last) {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !transient(err) {
			return err
		}
		if heard || lost.IsZero() {
			lost = time.Now()
			pause.Reset()
			w.show.note("connection to TMS lost, trying again")
		}
		if time.Since(lost) > w.settings.Reconnect {
			return fmt.Errorf("TMS not reached for %s: %w", w.settings.Reconnect, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause.NextBackOff()):
		}
	}
	return nil
}

// follow reads one stream to its end. Revisions that were seen before are not
// shown again. heard says whether anything came.
func (w *watcher) follow(ctx context.Context) (heard bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := w.upgrades.Watch(ctx, &tmsv1.WatchRolloutRequest{Id: w.id})
	if err != nil {
		return false, err
	}
	type message struct {
		rollout *tmsv1.Rollout
		err     error
	}
	messages := make(chan message)
	go func() { // ends with ctx
		for {
			r, err := stream.Recv()
			select {
			case messages <- message{r, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	tick := time.NewTicker(progressPoll)
	defer tick.Stop()
	for {
		var m message
		select {
		case m = <-messages:
		case <-tick.C:
			w.askProgress(ctx)
			continue
		}
		if errors.Is(m.err, io.EOF) {
			return heard, status.Error(codes.Unavailable, "the stream ended before the rollout")
		}
		if m.err != nil {
			return heard, m.err
		}
		heard = true
		if m.rollout.GetRevision() < w.last.GetRevision() {
			continue // an answer from before the command
		}
		w.last = m.rollout
		w.show.update(m.rollout)
		if w.enough(m.rollout) {
			return heard, nil
		}
	}
}

// progressPoll is how often it is asked how far a rollout is: paces and what is
// left change without any revision, and a standstill is none.
const progressPoll = time.Second

// askProgress shows how far the rollout is. What goes wrong is left to the
// stream: without an answer there is only less to see.
func (w *watcher) askProgress(ctx context.Context) {
	p, err := call(ctx, w.session, w.session.progress.Get, &tmsv1.GetProgressRequest{Id: w.id})
	if err == nil {
		w.show.progress(p)
	}
}

// transient says whether asking again may help: the server restarts, its
// database does, or something between us was lost. What the server refuses on
// purpose is not transient.
func transient(err error) bool {
	st, ok := status.FromError(err)
	if !ok {
		return false
	}
	switch st.Code() {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Aborted:
		return true
	case codes.Internal, codes.Unknown, codes.Canceled:
		return errorInfo(st) == nil // from the connection, not from TMS
	}
	return false
}
