package db

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tracardi/tms/tenants"
)

// subscription is a connection of its own that listens for changes of the
// registry.
type subscription struct {
	conn   *pgx.Conn
	queue  []tenants.Change
	beaten bool // a heartbeat was answered and not reported yet
}

// Subscribe implements tenants.Store.
func (r *Registry) Subscribe(ctx context.Context) (tenants.Subscription, error) {
	s := &subscription{}
	cfg := r.db.pool.Config().ConnConfig
	cfg.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) {
		kind, id, ok := strings.Cut(n.Payload, " ")
		if ok {
			s.queue = append(s.queue, tenants.Change{Kind: tenants.ChangeKind(kind), ID: id})
		}
	}
	ctx, cancel := context.WithTimeout(ctx, notifyTimeout+connectTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, failure(err)
	}
	s.conn = conn
	if _, err := conn.Exec(ctx, `listen tms_registry`); err != nil {
		s.Close()
		return nil, failure(err)
	}
	return s, nil
}

// Next implements tenants.Subscription.
func (s *subscription) Next(ctx context.Context, heartbeat time.Duration) (tenants.Change, error) {
	for {
		if len(s.queue) > 0 {
			c := s.queue[0]
			s.queue = s.queue[1:]
			return c, nil
		}
		if s.beaten {
			s.beaten = false
			return tenants.Change{}, nil
		}
		if err := s.wait(ctx, heartbeat); err != nil {
			return tenants.Change{}, err
		}
	}
}

// wait returns when a notification came or, after the heartbeat interval,
// the server has answered: then all notifications before are queued.
func (s *subscription) wait(ctx context.Context, heartbeat time.Duration) error {
	if heartbeat > 0 {
		quiet, cancel := context.WithTimeout(ctx, heartbeat)
		err := s.conn.PgConn().WaitForNotification(quiet)
		timedOut := quiet.Err() != nil
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !timedOut || s.conn.IsClosed():
			return failure(errors.Join(err, ctx.Err()))
		}
	}
	beat, cancel := context.WithTimeout(ctx, notifyTimeout)
	defer cancel()
	if err := s.conn.PgConn().Exec(beat, "select 1").Close(); err != nil {
		return failure(err)
	}
	s.beaten = true
	return nil
}

// Close implements tenants.Subscription.
func (s *subscription) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), notifyTimeout)
	defer cancel()
	_ = s.conn.Close(ctx) // nothing depends on it any more
}
