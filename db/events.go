package db

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tracardi/tms/events"
)

// How many events are kept: whoever was away for longer starts afresh.
const (
	KeepEvents   = 100_000
	KeepEventAge = 7 * 24 * time.Hour
	// pruneSlack is by how much the numbers may be exceeded, so that not every
	// event removes another one.
	pruneSlack = 1000
	// expiryOverlap is how far back expiries are looked for once more: a
	// transaction that sets one may commit after its time has passed. Longer
	// than transactions may last (idleInTransaction, statementTimeout).
	expiryOverlap = 5 * time.Minute
	// expiryInterval is how often they are looked for, over all processes.
	expiryInterval = 900 * time.Millisecond
)

// Events is the events.Log.
type Events struct{ db *DB }

var _ events.Log = (*Events)(nil)

// NewEvents returns the log of events.
func NewEvents(d *DB) *Events { return &Events{d} }

// Advance implements events.Log. Mostly there is nothing to do, and no lock is
// taken.
func (e *Events) Advance(ctx context.Context) (events.Head, error) {
	var h events.Head
	var work bool
	err := e.db.pool.QueryRow(ctx, `
		select head, floor, exists (select from events where number is null) or expiries_until < now() - $1::interval
		from event_log`, expiryInterval).Scan(&h.Newest, &h.Floor, &work)
	if err != nil || !work {
		return h, failure(err)
	}
	err = e.db.inTx(ctx, func(tx pgx.Tx) error {
		var due bool
		// Held to the end: numbers become visible in their order, whoever
		// gives them.
		err := tx.QueryRow(ctx, `select head, floor, expiries_until < now() - $1::interval from event_log for update`, expiryInterval).Scan(&h.Newest, &h.Floor, &due)
		if err != nil {
			return err
		}
		if due {
			if err := expire(ctx, tx); err != nil {
				return err
			}
		}
		if h.Newest, err = number(ctx, tx, h.Newest); err != nil {
			return err
		}
		h.Floor, err = prune(ctx, tx, h, due)
		return err
	})
	return h, err
}

// expire makes events of what the clock did.
func expire(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `
		with due as (
			insert into tenant_expiries (tenant_id, expires_at)
			select id, expires_at from tenants
			where deleted_at is null and expires_at <= now()
				and expires_at > (select expiries_until from event_log) - $1::interval
			on conflict do nothing
			returning tenant_id, expires_at
		)
		insert into events (at, type, subject, data)
		select d.expires_at, $2, t.id, jsonb_build_object('revision', t.revision, 'state', 'expired', 'release', t.release,
			'previous_state', case when t.suspended then 'suspended' else 'active' end)
		from due d join tenants t on t.id = d.tenant_id
		order by d.expires_at, t.id`, expiryOverlap, events.TypeExpired)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `delete from tenant_expiries where expires_at < (select expiries_until from event_log) - 2 * $1::interval`, expiryOverlap); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `update event_log set expiries_until = now()`)
	return err
}

// number gives numbers to what is committed, in the order of writing: events
// of one subject were written one after the other, behind its lock.
func number(ctx context.Context, tx pgx.Tx, head int64) (int64, error) {
	tag, err := tx.Exec(ctx, `
		update events e set number = $1 + p.n
		from (select id, row_number() over (order by id) n from events where number is null) p
		where e.id = p.id`, head)
	if err != nil || tag.RowsAffected() == 0 {
		return head, err
	}
	head += tag.RowsAffected()
	_, err = tx.Exec(ctx, `update event_log set head = $1`, head)
	return head, err
}

// prune removes events that are too many or too old, and returns the floor.
func prune(ctx context.Context, tx pgx.Tx, h events.Head, byAge bool) (int64, error) {
	floor := h.Floor
	if h.Newest-floor > KeepEvents+pruneSlack {
		floor = h.Newest - KeepEvents
	}
	if byAge {
		var old *int64
		// The oldest are looked at first; numbers and times go together, but
		// for the times of expiries that were found late.
		err := tx.QueryRow(ctx, `
			select max(number) from (select number, at from events where number is not null order by number limit $1) first
			where at < now() - $2::interval`, pruneSlack, KeepEventAge).Scan(&old)
		if err != nil {
			return 0, err
		}
		if old != nil {
			floor = max(floor, *old)
		}
	}
	if floor == h.Floor {
		return floor, nil
	}
	if _, err := tx.Exec(ctx, `delete from events where number <= $1`, floor); err != nil {
		return 0, err
	}
	_, err := tx.Exec(ctx, `update event_log set floor = $1`, floor)
	return floor, err
}

// After implements events.Log.
func (e *Events) After(ctx context.Context, after int64, limit int) ([]events.Event, error) {
	rows, err := e.db.pool.Query(ctx, `
		select number, at, type, subject, data from events where number > $1 order by number limit $2`, after, limit)
	if err != nil {
		return nil, failure(err)
	}
	found, err := pgx.CollectRows(rows, scanEvent)
	return found, failure(err)
}

func scanEvent(row pgx.CollectableRow) (events.Event, error) {
	var e events.Event
	var data []byte
	if err := row.Scan(&e.Number, &e.At, &e.Type, &e.Subject, &data); err != nil {
		return e, err
	}
	var known struct{ Revision int64 }
	if err := errors.Join(json.Unmarshal(data, &e.Data), json.Unmarshal(data, &known)); err != nil {
		return e, fmt.Errorf("data of event %d: %w", e.Number, err)
	}
	e.Revision = known.Revision
	return e, nil
}

// bell is a connection of its own that listens for new events.
type bell struct{ conn *pgx.Conn }

// Listen implements events.Log.
func (e *Events) Listen(ctx context.Context) (events.Bell, error) {
	cfg := e.db.pool.Config().ConnConfig
	cfg.OnNotification = func(*pgconn.PgConn, *pgconn.Notification) {} // Wait returns
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, failure(err)
	}
	b := &bell{conn}
	if _, err := conn.Exec(ctx, `listen tms_events`); err != nil {
		b.Close()
		return nil, failure(err)
	}
	return b, nil
}

// Wait implements events.Bell. A connection that died unnoticed costs no
// events, only time: the feed looks every second anyway.
func (b *bell) Wait(ctx context.Context) error {
	err := b.conn.PgConn().WaitForNotification(ctx)
	if err == nil || ctx.Err() != nil && !b.conn.IsClosed() {
		return nil
	}
	return failure(err)
}

// Close implements events.Bell.
func (b *bell) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), notifyTimeout)
	defer cancel()
	_ = b.conn.Close(ctx) // nothing depends on it any more
}
