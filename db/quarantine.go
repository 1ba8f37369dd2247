package db

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/tracardi/tms/upgrader"
)

// AddQuarantine implements upgrader.Store.
func (r *Rollouts) AddQuarantine(ctx context.Context, l *upgrader.Lease, docs ...upgrader.Quarantined) error {
	if len(docs) == 0 {
		return nil
	}
	return r.owned(ctx, l, func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		for _, d := range docs {
			batch.Queue(`
				insert into quarantine (rollout_id, tenant_id, index_name, doc_id, target, kind, reason, source, at)
				values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
				on conflict (rollout_id, tenant_id, index_name, doc_id)
				do update set target = excluded.target, kind = excluded.kind, reason = excluded.reason, source = excluded.source, at = excluded.at,
					resolved_at = null, outcome = ''`,
				l.RolloutID, l.TenantID, d.Index, d.ID, d.Target, d.Kind, clean(d.Reason), []byte(d.Source), d.At)
		}
		return tx.SendBatch(ctx, batch).Close()
	})
}

// DropQuarantine implements upgrader.Store.
func (r *Rollouts) DropQuarantine(ctx context.Context, l *upgrader.Lease, index string, ids ...string) error {
	if len(ids) == 0 {
		return nil
	}
	return r.owned(ctx, l, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			delete from quarantine where rollout_id = $1 and tenant_id = $2 and index_name = $3 and doc_id = any($4)`,
			l.RolloutID, l.TenantID, index, ids)
		return err
	})
}

// Quarantine implements upgrader.Store.
func (r *Rollouts) Quarantine(ctx context.Context, f upgrader.QuarantineFilter) ([]upgrader.Quarantined, error) {
	rows, err := r.db.pool.Query(ctx, `
		select rollout_id, tenant_id, index_name, doc_id, target, kind, reason, case when $6 then ''::bytea else source end, at,
			resolved_at is not null, outcome
		from quarantine
		where rollout_id = $1 and ($2 = '' or tenant_id = $2) and (tenant_id, index_name, doc_id) > ($3, $4, $5)
			and ($8 or resolved_at is null) and (cardinality($9::text[]) = 0 or doc_id = any($9))
		order by tenant_id, index_name, doc_id
		limit nullif($7, 0)`,
		f.RolloutID, f.TenantID, f.After[0], f.After[1], f.After[2], f.WithoutSource, f.Limit, f.WithResolved, orEmpty(f.IDs))
	if err != nil {
		return nil, failure(err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (upgrader.Quarantined, error) {
		var q upgrader.Quarantined
		var source []byte
		err := row.Scan(&q.RolloutID, &q.TenantID, &q.Index, &q.ID, &q.Target, &q.Kind, &q.Reason, &source, &q.At, &q.Resolved, &q.Outcome)
		q.Source = source
		return q, err
	})
	return out, failure(err)
}

// Resolve implements upgrader.Store.
func (r *Rollouts) Resolve(ctx context.Context, l *upgrader.Lease, index, outcome string, ids ...string) error {
	return r.owned(ctx, l, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			update quarantine set resolved_at = now(), outcome = $4, source = ''
			where rollout_id = $1 and tenant_id = $2 and index_name = $3 and doc_id = any($5)`,
			l.RolloutID, l.TenantID, index, outcome, ids)
		return err
	})
}

// DiscardQuarantine implements upgrader.Store.
func (r *Rollouts) DiscardQuarantine(ctx context.Context, d upgrader.Discard, busy func(*upgrader.Rollout) error) (int, error) {
	kinds := make([]string, len(d.Kinds))
	for i, k := range d.Kinds {
		kinds[i] = string(k)
	}
	n := 0
	err := r.db.inTx(ctx, func(tx pgx.Tx) error {
		ro, err := lockRollout(ctx, tx, d.RolloutID)
		if err != nil {
			return err
		}
		if err := busy(ro); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `
			update quarantine set resolved_at = now(), outcome = 'discarded', source = ''
			where rollout_id = $1 and ($2 = '' or tenant_id = $2) and resolved_at is null
				and (cardinality($3::text[]) = 0 or doc_id = any($3)) and (cardinality($4::text[]) = 0 or kind = any($4))`,
			d.RolloutID, d.TenantID, orEmpty(d.IDs), kinds)
		if err != nil {
			return err
		}
		n = int(tag.RowsAffected())
		return appendAudit(ctx, tx, rolloutAudit(d.RolloutID, d.Caller, "quarantine.drop", map[string]any{
			"tenant": d.TenantID, "kinds": kinds, "named": len(d.IDs), "documents": n,
		}))
	})
	return n, err
}

// QuarantineSize implements upgrader.Store.
func (r *Rollouts) QuarantineSize(ctx context.Context, rollout string) (n int, err error) {
	err = r.db.pool.QueryRow(ctx, `select count(*) from quarantine where rollout_id = $1 and resolved_at is null`, rollout).Scan(&n)
	return n, failure(err)
}
