package db

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tracardi/tms/events"
	"github.com/tracardi/tms/tenants"
)

// keptDeliveries are remembered of each webhook.
const keptDeliveries = 1000

// Webhooks is the events.WebhookStore.
type Webhooks struct {
	db     *DB
	sealer *tenants.Sealer
}

var _ events.WebhookStore = (*Webhooks)(nil)

// NewWebhooks returns the store of webhooks; secrets are stored through sealer.
func NewWebhooks(d *DB, sealer *tenants.Sealer) *Webhooks { return &Webhooks{d, sealer} }

const webhookColumns = `id, display_name, url, types, secret, enabled, reason, created_by, created_at, updated_at, revision,
	position, failures, failing_since, last_error, next_at, old_secret, old_secret_until, lost_from, lost_to, lost_at,
	case when enabled then greatest((select head from event_log) - position, 0) else 0 end`

func (s *Webhooks) scan(row pgx.CollectableRow) (*events.Webhook, error) {
	var w events.Webhook
	var sealed, oldSealed []byte
	var failing, oldUntil, lostAt *time.Time
	var lostFrom, lostTo *int64
	err := row.Scan(&w.ID, &w.DisplayName, &w.URL, &w.Types, &sealed, &w.Enabled, &w.Reason, &w.CreatedBy, &w.CreatedAt, &w.UpdatedAt, &w.Revision,
		&w.Position, &w.Failures, &failing, &w.LastError, &w.NextAt, &oldSealed, &oldUntil, &lostFrom, &lostTo, &lostAt, &w.Pending)
	if err != nil {
		return nil, err
	}
	w.FailingSince, w.OldSecretUntil = timeOrZero(failing), timeOrZero(oldUntil)
	if lostFrom != nil && lostTo != nil {
		w.Gap = &events.Gap{From: *lostFrom, To: *lostTo, At: timeOrZero(lostAt)}
	}
	// One that cannot be opened is empty, and every delivery says so.
	if plain, _, err := s.sealer.Open(sealOwner(w.ID), sealed); err == nil {
		w.Secret = plain
	}
	if plain, _, err := s.sealer.Open(sealOwner(w.ID), oldSealed); err == nil {
		w.OldSecret = plain
	}
	return &w, nil
}

func sealOwner(id string) string { return "webhook/" + id }

func (s *Webhooks) query(ctx context.Context, q querier, sql string, args ...any) ([]*events.Webhook, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, s.scan)
}

func (s *Webhooks) one(ctx context.Context, q querier, id, suffix string) (*events.Webhook, error) {
	found, err := s.query(ctx, q, `select `+webhookColumns+` from webhooks where id = $1 `+suffix, id)
	if err == nil && len(found) == 0 {
		err = events.WebhookNotFoundError(id)
	}
	if err != nil {
		return nil, err
	}
	return found[0], nil
}

// CreateWebhook implements events.WebhookStore.
func (s *Webhooks) CreateWebhook(ctx context.Context, w *events.Webhook, a tenants.Audit) (*events.Webhook, error) {
	var made *events.Webhook
	err := s.db.inTx(ctx, func(tx pgx.Tx) error {
		// The lock keeps two from taking the last place.
		var head int64
		if err := tx.QueryRow(ctx, `select head from event_log for update`).Scan(&head); err != nil {
			return err
		}
		var count int
		if err := tx.QueryRow(ctx, `select count(*) from webhooks`).Scan(&count); err != nil {
			return err
		}
		if count >= events.MaxWebhooks {
			return &tenants.Error{
				Code: tenants.CodeFailedPrecondition, Reason: tenants.ReasonWebhookTooMany,
				Message: fmt.Sprintf("there are %d webhooks, at most %d may be", count, events.MaxWebhooks), Remedy: "delete one",
			}
		}
		_, err := tx.Exec(ctx, `
			insert into webhooks (id, display_name, url, types, secret, enabled, created_by, created_at, updated_at, position)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9)`,
			w.ID, w.DisplayName, w.URL, typesOf(w), s.sealer.Seal(sealOwner(w.ID), w.Secret), w.Enabled, w.CreatedBy, w.CreatedAt, head)
		if err != nil {
			return err
		}
		if made, err = s.one(ctx, tx, w.ID, ""); err != nil {
			return err
		}
		return appendAudit(ctx, tx, a)
	})
	return made, err
}

func typesOf(w *events.Webhook) []string {
	if w.Types == nil {
		return []string{}
	}
	return w.Types
}

// Webhook implements events.WebhookStore.
func (s *Webhooks) Webhook(ctx context.Context, id string) (*events.Webhook, error) {
	w, err := s.one(ctx, s.db.pool, id, "")
	return w, failure(err)
}

// Webhooks implements events.WebhookStore.
func (s *Webhooks) Webhooks(ctx context.Context) ([]*events.Webhook, error) {
	all, err := s.query(ctx, s.db.pool, `select `+webhookColumns+` from webhooks order by id`)
	return all, failure(err)
}

// ChangeWebhook implements events.WebhookStore. The secret is sealed anew, so
// that a changed SECRET reaches it.
func (s *Webhooks) ChangeWebhook(ctx context.Context, id string, a tenants.Audit, change func(*events.Webhook) error) (*events.Webhook, error) {
	var stored *events.Webhook
	err := s.db.inTx(ctx, func(tx pgx.Tx) error {
		w, err := s.one(ctx, tx, id, "for update")
		if err != nil {
			return err
		}
		if err := change(w); err != nil {
			return err
		}
		var sealed, oldSealed []byte
		if w.Secret != "" {
			sealed = s.sealer.Seal(sealOwner(w.ID), w.Secret)
		}
		if w.OldSecret != "" {
			oldSealed = s.sealer.Seal(sealOwner(w.ID), w.OldSecret)
		}
		_, err = tx.Exec(ctx, `
			update webhooks set display_name = $2, url = $3, types = $4, secret = coalesce($5, secret), enabled = $6, reason = $7,
				failures = $8, failing_since = $9, last_error = $10, next_at = $11, old_secret = $12, old_secret_until = $13, updated_at = now(), revision = revision + 1
			where id = $1`,
			id, w.DisplayName, w.URL, typesOf(w), sealed, w.Enabled, clean(w.Reason),
			w.Failures, timeOrNull(w.FailingSince), clean(w.LastError), w.NextAt,
			oldSealed, timeOrNull(w.OldSecretUntil))
		if err != nil {
			return err
		}
		if stored, err = s.one(ctx, tx, id, ""); err != nil {
			return err
		}
		return appendAudit(ctx, tx, a)
	})
	return stored, err
}

// DeleteWebhook implements events.WebhookStore.
func (s *Webhooks) DeleteWebhook(ctx context.Context, id string, a tenants.Audit) error {
	return s.db.inTx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `delete from webhooks where id = $1`, id)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return events.WebhookNotFoundError(id)
		}
		return appendAudit(ctx, tx, a)
	})
}

// Deliveries implements events.WebhookStore.
func (s *Webhooks) Deliveries(ctx context.Context, id string, failed bool, before int64, limit int) ([]events.Delivery, error) {
	rows, err := s.db.pool.Query(ctx, `
		select id, webhook_id, message_id, type, subject, at, attempt, status, took_us, error from webhook_deliveries
		where webhook_id = $1 and ($2 = 0 or id < $2) and (not $3 or error <> '')
		order by id desc limit $4`, id, before, failed, limit)
	if err != nil {
		return nil, failure(err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (d events.Delivery, err error) {
		var took int64
		err = row.Scan(&d.ID, &d.WebhookID, &d.MessageID, &d.Type, &d.Subject, &d.At, &d.Attempt, &d.Status, &took, &d.Error)
		d.Took = time.Duration(took) * time.Microsecond
		return d, err
	})
	return found, failure(err)
}

// ClaimWebhook implements events.WebhookStore.
func (s *Webhooks) ClaimWebhook(ctx context.Context, id, owner string, lease time.Duration) (*events.Webhook, error) {
	claimed, err := s.query(ctx, s.db.pool, `
		update webhooks set lease_owner = $2, lease_until = now() + $3::interval
		where id = $1 and enabled and next_at <= now() and (lease_until is null or lease_until <= now())
		returning `+webhookColumns, id, owner, lease)
	if err != nil || len(claimed) == 0 {
		return nil, failure(err)
	}
	return claimed[0], nil
}

// Progress implements events.WebhookStore.
func (s *Webhooks) Progress(ctx context.Context, w *events.Webhook, owner string, d *events.Delivery) (bool, error) {
	var lost bool
	err := s.db.inTx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			update webhooks set position = $3, failures = $4, failing_since = $5, last_error = $6
			where id = $1 and lease_owner = $2 and lease_until > now() and enabled`,
			w.ID, owner, w.Position, w.Failures, timeOrNull(w.FailingSince), clean(w.LastError))
		if err != nil {
			return err
		}
		if lost = tag.RowsAffected() == 0; lost || d == nil {
			return nil
		}
		_, err = tx.Exec(ctx, `
			insert into webhook_deliveries (webhook_id, message_id, type, subject, at, attempt, status, took_us, error)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			w.ID, d.MessageID, d.Type, d.Subject, d.At, d.Attempt, d.Status, d.Took.Microseconds(), clean(d.Error))
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			delete from webhook_deliveries where webhook_id = $1 and id <= (
				select id from webhook_deliveries where webhook_id = $1 order by id desc offset $2 limit 1)`, w.ID, keptDeliveries)
		return err
	})
	return err == nil && !lost, err
}

// WebhookGap implements events.WebhookStore.
func (s *Webhooks) WebhookGap(ctx context.Context, id, owner string, g events.Gap, a tenants.Audit) (bool, error) {
	var lost bool
	err := s.db.inTx(ctx, func(tx pgx.Tx) error {
		var before *int64
		err := tx.QueryRow(ctx, `
			select lost_from from webhooks where id = $1 and lease_owner = $2 and lease_until > now() and enabled for update`, id, owner).Scan(&before)
		if lost = errors.Is(err, pgx.ErrNoRows); lost {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `update webhooks set lost_from = $2, lost_to = $3, lost_at = $4 where id = $1`, id, g.From, g.To, g.At); err != nil {
			return err
		}
		if before != nil && *before == g.From {
			return nil // known; more of it is gone by now
		}
		return appendAudit(ctx, tx, a)
	})
	return err == nil && !lost, err
}

// ReleaseWebhook implements events.WebhookStore.
func (s *Webhooks) ReleaseWebhook(ctx context.Context, id, owner string, pause time.Duration) error {
	_, err := s.db.pool.Exec(ctx, `
		update webhooks set lease_owner = '', lease_until = null, next_at = now() + $3::interval
		where id = $1 and lease_owner = $2`, id, owner, pause)
	return failure(err)
}

// due lists webhooks for which events wait and nobody delivers.
func (s *Webhooks) due(ctx context.Context, limit int) ([]string, error) {
	rows, err := s.db.pool.Query(ctx, `
		select id from webhooks
		where enabled and next_at <= now() and (lease_until is null or lease_until <= now())
			and position < (select head from event_log)
		order by next_at limit $1`, limit)
	if err != nil {
		return nil, failure(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return ids, failure(err)
}
