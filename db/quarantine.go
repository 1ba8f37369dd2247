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
				do update set target = excluded.target, kind = excluded.kind, reason = excluded.reason, source = excluded.source, at = excluded.at`,
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
		select rollout_id, tenant_id, index_name, doc_id, target, kind, reason, case when $6 then ''::bytea else source end, at
		from quarantine
		where rollout_id = $1 and ($2 = '' or tenant_id = $2) and (tenant_id, index_name, doc_id) > ($3, $4, $5)
		order by tenant_id, index_name, doc_id
		limit nullif($7, 0)`,
		f.RolloutID, f.TenantID, f.After[0], f.After[1], f.After[2], f.WithoutSource, f.Limit)
	if err != nil {
		return nil, failure(err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (upgrader.Quarantined, error) {
		var q upgrader.Quarantined
		var source []byte
		err := row.Scan(&q.RolloutID, &q.TenantID, &q.Index, &q.ID, &q.Target, &q.Kind, &q.Reason, &source, &q.At)
		q.Source = source
		return q, err
	})
	return out, failure(err)
}
