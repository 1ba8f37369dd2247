package db

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tracardi/tms/upgrader"
)

// insertRetention stores how long a new rollout's old versions are kept.
func insertRetention(ctx context.Context, tx pgx.Tx, ro *upgrader.Rollout) error {
	if ro.Retention == nil {
		return nil
	}
	return putRetention(ctx, tx, ro.ID, &upgrader.RetentionChange{Retention: *ro.Retention})
}

func putRetention(ctx context.Context, tx pgx.Tx, rollout string, ch *upgrader.RetentionChange) error {
	body, err := json.Marshal(ch.Retention)
	if err != nil {
		return fmt.Errorf("retention of rollout %s: %w", rollout, err)
	}
	_, err = tx.Exec(ctx, `
		insert into rollout_retentions (rollout_id, state, body, next_at) values ($1, $2, $3, now() + $4)
		on conflict (rollout_id) do update set state = excluded.state, body = excluded.body, next_at = excluded.next_at`,
		rollout, ch.Retention.State, body, ch.Pause)
	return err
}

// addRetentions reads the retentions of rollouts.
func (r *Rollouts) addRetentions(ctx context.Context, byID map[string]*upgrader.Rollout) error {
	ids := make([]string, 0, len(byID))
	for id := range byID {
		ids = append(ids, id)
	}
	rows, err := r.db.pool.Query(ctx, `select rollout_id, body from rollout_retentions where rollout_id = any($1)`, ids)
	if err != nil {
		return failure(err)
	}
	var id string
	var raw []byte
	_, err = pgx.ForEachRow(rows, []any{&id, &raw}, func() error {
		var ret upgrader.Retention
		err := json.Unmarshal(raw, &ret)
		byID[id].Retention = &ret
		return err
	})
	return failure(err)
}

// ChangeRetention implements upgrader.RetentionStore. The rollout's own row is
// locked too: a command has the last word about what it decides by.
func (r *Rollouts) ChangeRetention(ctx context.Context, rollout string, decide func(context.Context, *upgrader.Rollout, *upgrader.Retention) (*upgrader.RetentionChange, error)) error {
	return r.db.inTx(ctx, func(tx pgx.Tx) error {
		was, err := lockRetention(ctx, tx, rollout, ` for update`)
		if err != nil {
			return err
		}
		ro, err := lockRollout(ctx, tx, rollout)
		if err != nil {
			return err
		}
		ch, err := decide(ctx, ro, was)
		if err != nil || ch == nil {
			return err
		}
		return saveRetention(ctx, tx, rollout, was, ch)
	})
}

// LookAtRetention implements upgrader.RetentionStore. The rollout itself is not
// locked, because deciding may change it.
func (r *Rollouts) LookAtRetention(ctx context.Context, rollout string, decide func(context.Context, *upgrader.Rollout, *upgrader.Retention) (*upgrader.RetentionChange, error)) error {
	return r.db.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `set local idle_in_transaction_session_timeout = '180s'`); err != nil {
			return err
		}
		was, err := lockRetention(ctx, tx, rollout, ` for update skip locked`)
		if err != nil || was == nil {
			return err
		}
		ro, err := r.Rollout(ctx, rollout)
		if err != nil {
			return err
		}
		ch, err := decide(ctx, ro, was)
		if err != nil || ch == nil {
			return err
		}
		return saveRetention(ctx, tx, rollout, was, ch)
	})
}

func lockRetention(ctx context.Context, tx pgx.Tx, rollout, lock string) (*upgrader.Retention, error) {
	var raw []byte
	err := tx.QueryRow(ctx, `select body from rollout_retentions where rollout_id = $1`+lock, rollout).Scan(&raw)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // none is a value
	}
	if err != nil {
		return nil, err
	}
	var ret upgrader.Retention
	return &ret, json.Unmarshal(raw, &ret)
}

func saveRetention(ctx context.Context, tx pgx.Tx, rollout string, was *upgrader.Retention, ch *upgrader.RetentionChange) error {
	if err := putRetention(ctx, tx, rollout, ch); err != nil {
		return err
	}
	if was == nil || *was != ch.Retention { // watchers look at the revision
		if _, err := tx.Exec(ctx, `update rollouts set revision = revision + 1 where id = $1`, rollout); err != nil {
			return err
		}
	}
	if ch.Event != "" {
		data, err := json.Marshal(ch.Data)
		if err != nil {
			return fmt.Errorf("event of rollout %s: %w", rollout, err)
		}
		if _, err := tx.Exec(ctx, `insert into events (type, subject, data) values ($1, $2, $3)`, ch.Event, rollout, data); err != nil {
			return err
		}
	}
	if ch.Did == "" {
		return nil
	}
	return appendAudit(ctx, tx, rolloutAudit(rollout, ch.Caller, ch.Did, nil))
}

// dueRetentions are the rollouts whose retention is to be looked at.
func (r *Rollouts) dueRetentions(ctx context.Context, limit int) ([]string, error) {
	rows, err := r.db.pool.Query(ctx, `
		select rollout_id from rollout_retentions
		where state in ('waiting', 'scheduled', 'finalizing') and next_at <= now() order by next_at limit $1`, limit)
	if err != nil {
		return nil, failure(err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return out, failure(err)
}

type retentionTurn struct{}

func (retentionTurn) name() string { return "rollout_retention" }

// RetentionWork lets a Queue delete old versions when their time has come.
func RetentionWork(store *Rollouts, service *upgrader.Service) QueuePart {
	return turns[retentionTurn]{
		due:  func(ctx context.Context, _ *Queue) ([]string, error) { return store.dueRetentions(ctx, workers) },
		work: service.WorkRetention,
	}.part()
}

// SwitchedAgain implements upgrader.RetentionStore.
func (r *Rollouts) SwitchedAgain(ctx context.Context, rollout, tenant string) (later string, err error) {
	err = r.db.pool.QueryRow(ctx, `select coalesce((
		select n.rollout_id from rollout_tenants o
		join rollouts ro on ro.id = o.rollout_id
		join rollout_tenants n on n.tenant_id = o.tenant_id and n.rollout_id <> o.rollout_id
			and n.state = 'switched' and not n.record ? 'minor' and exists (
				select jsonb_array_elements_text(o.record->'old_indices') intersect select jsonb_array_elements_text(n.record->'old_indices'))
		join rollouts rn on rn.id = n.rollout_id and rn.created_at > ro.created_at
		where o.rollout_id = $1 and o.tenant_id = $2 limit 1), '')`, rollout, tenant).Scan(&later)
	return later, failure(err)
}
