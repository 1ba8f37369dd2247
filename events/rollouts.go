package events

import (
	"context"
	"time"

	"github.com/tracardi/tms/tenants"
)

// RolloutsRequest says which rollouts to follow.
type RolloutsRequest struct {
	KeyID string // of the caller
	// Rollout is the only one to follow; "" for all.
	Rollout string
	// Token is where an earlier watch of the same rollouts stood, "" to begin
	// with those that are there.
	Token string
	// Present lists the rollouts to begin with.
	Present func(context.Context) ([]string, error)
	// Tick is called every so often while nothing happens, with the token that
	// goes on from there.
	Tick  func(ctx context.Context, token string) error
	Every time.Duration
}

// Rollouts tells send what happens to rollouts until ctx ends or send fails,
// as Watch does for tenants.
func (w *Watches) Rollouts(ctx context.Context, r RolloutsRequest, send func(Notice) error) error {
	leave, err := w.enter(r.KeyID)
	if err != nil {
		return err
	}
	defer leave()
	f := &follower{
		Watches: w, send: send, resumed: r.Token != "", query: tenants.QueryHash("rollouts", r.Rollout), every: r.Every,
	}
	f.present = func(ctx context.Context) error {
		ids, err := r.Present(ctx)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := send(Notice{Kind: KindPresent, Rollout: id}); err != nil {
				return err
			}
		}
		return nil
	}
	f.tellOne = func(_ context.Context, e Event) error {
		id := e.Rollout()
		if id == "" || r.Rollout != "" && r.Rollout != id {
			return nil
		}
		return send(Notice{Kind: KindEvent, Event: e, Rollout: id, Token: f.token()})
	}
	f.tick = func(ctx context.Context) error { return r.Tick(ctx, f.token()) }
	if err := f.begin(ctx, r.Token); err != nil {
		return err
	}
	return f.follow(ctx)
}
