package events

import (
	"context"
	"errors"
	"time"

	"github.com/tracardi/tms/tenants"
)

// follower goes along the events for one client, from a token or from now on.
type follower struct {
	*Watches
	query   string // what the client's tokens are good for
	send    func(Notice) error
	at      int64 // number of the last event that was dealt with
	resumed bool  // the client knows what was present
	// present tells all there is; tellOne passes an event on, or not.
	present func(context.Context) error
	tellOne func(context.Context, Event) error
	// tick, unless nil, is called every so often while nothing happens.
	tick  func(context.Context) error
	every time.Duration
}

func (w *follower) token() string { return w.c.Pages.Token(w.query, w.at) }

// begin takes up the position of the token, or tells all there is.
func (w *follower) begin(ctx context.Context, token string) error {
	head, err := w.c.Feed.Catch(ctx)
	if err != nil {
		return err
	}
	w.at = head.Newest
	if !w.resumed {
		if err := w.present(ctx); err != nil {
			return err
		}
		return w.send(Notice{Kind: KindSynced, Token: w.token()})
	}
	if err := w.c.Pages.Read(token, w.query, &w.at); err != nil {
		return wrongToken(err)
	}
	switch {
	case w.at < head.Floor:
		return tooOld("what happened since is kept no longer")
	case w.at > head.Newest:
		return tooOld("its events are not there, the database was restored")
	}
	return nil
}

func wrongToken(err error) error {
	var e *tenants.Error
	if !errors.As(err, &e) {
		return err
	}
	return &tenants.Error{
		Code: e.Code, Reason: e.Reason, Field: "resume_token", Message: "does not belong to this watch",
		Remedy: "use a token unaltered and with the same filter and key, or none to start afresh", Err: err,
		Violations: []tenants.Violation{{Field: "resume_token", Message: "does not belong to this watch"}},
	}
}

func tooOld(why string) error {
	return &tenants.Error{
		Code: tenants.CodeFailedPrecondition, Reason: tenants.ReasonWatchTooOld, Field: "resume_token",
		Message: "cannot be continued from: " + why, Remedy: "watch without resume_token: all there is comes first, then what happens",
	}
}

func (w *follower) follow(ctx context.Context) error {
	bookmark := time.NewTicker(w.c.Bookmark)
	defer bookmark.Stop()
	var ticks <-chan time.Time
	if w.tick != nil {
		ticker := time.NewTicker(w.every)
		defer ticker.Stop()
		ticks = ticker.C
	}
	for {
		head, changed, err := w.c.Feed.Head(ctx)
		if err != nil {
			return err
		}
		if w.at < head.Floor {
			return tooOld("this watch fell behind what is kept")
		}
		if w.at > head.Newest {
			return tooOld("the events were numbered anew, the database was restored")
		}
		if w.at < head.Newest {
			if err := w.tell(ctx, head); err != nil {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-ticks:
			if err := w.tick(ctx); err != nil {
				return err
			}
		case <-bookmark.C:
			if err := w.send(Notice{Kind: KindBookmark, Token: w.token()}); err != nil {
				return err
			}
		}
	}
}

// tell passes on the next events.
func (w *follower) tell(ctx context.Context, head Head) error {
	some, err := w.c.Feed.After(ctx, w.at)
	if err != nil {
		return err
	}
	if len(some) == 0 {
		w.at = head.Newest
	}
	for _, e := range some {
		if err := ctx.Err(); err != nil {
			return err
		}
		if e.Number > head.Newest {
			return nil // is told when this process has heard of it
		}
		w.at = e.Number
		if err := w.tellOne(ctx, e); err != nil {
			return err
		}
	}
	return nil
}
