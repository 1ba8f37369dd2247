package db

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"

	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/verify"
)

// LatestRollout implements upgrader.Store. Ids carry the time, so they sort.
func (r *Rollouts) LatestRollout(ctx context.Context, tenant string) (id string, err error) {
	err = r.db.pool.QueryRow(ctx, `
		select rollout_id from rollout_tenants where tenant_id = $1 and indices > 0 order by rollout_id desc limit 1`, tenant).Scan(&id)
	if err != nil {
		return "", missing(err, "rollout of tenant "+tenant)
	}
	return id, nil
}

// SaveMismatches implements upgrader.Store.
func (r *Rollouts) SaveMismatches(ctx context.Context, l *upgrader.Lease, found ...upgrader.Mismatch) error {
	if len(found) == 0 {
		return nil
	}
	return r.owned(ctx, l, func(tx pgx.Tx) error {
		var have int
		err := tx.QueryRow(ctx, `select count(*) from mismatches where rollout_id = $1 and tenant_id = $2`, l.RolloutID, l.TenantID).Scan(&have)
		if err != nil {
			return err
		}
		batch := &pgx.Batch{}
		for _, m := range found[:max(0, min(len(found), upgrader.MaxMismatches-have))] {
			fields := m.Fields
			if fields == nil {
				fields = []string{}
			}
			for i := range fields {
				fields[i] = clean(fields[i])
			}
			batch.Queue(`
				insert into mismatches (rollout_id, tenant_id, target, doc_id, kind, fields, found_at) values ($1, $2, $3, $4, $5, $6, $7)
				on conflict (rollout_id, tenant_id, target, doc_id)
				do update set kind = excluded.kind, fields = excluded.fields, found_at = excluded.found_at`,
				l.RolloutID, l.TenantID, m.Target, m.ID, m.Kind, fields, m.FoundAt)
		}
		return tx.SendBatch(ctx, batch).Close()
	})
}

// DropMismatches implements upgrader.Store.
func (r *Rollouts) DropMismatches(ctx context.Context, l *upgrader.Lease) error {
	return r.owned(ctx, l, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `delete from mismatches where rollout_id = $1 and tenant_id = $2`, l.RolloutID, l.TenantID)
		return err
	})
}

// Mismatches implements upgrader.Store.
func (r *Rollouts) Mismatches(ctx context.Context, f upgrader.MismatchFilter) ([]upgrader.Mismatch, error) {
	rows, err := r.db.pool.Query(ctx, `
		select rollout_id, tenant_id, target, doc_id, kind, fields, found_at from mismatches
		where rollout_id = $1 and ($2 = '' or tenant_id = $2) and (tenant_id, target, doc_id) > ($3, $4, $5)
		order by tenant_id, target, doc_id
		limit nullif($6, 0)`, f.RolloutID, f.TenantID, f.After[0], f.After[1], f.After[2], f.Limit)
	if err != nil {
		return nil, failure(err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (upgrader.Mismatch, error) {
		var m upgrader.Mismatch
		err := row.Scan(&m.RolloutID, &m.TenantID, &m.Target, &m.ID, &m.Kind, &m.Fields, &m.FoundAt)
		return m, err
	})
	return out, failure(err)
}

// Progress implements upgrader.Store.
func (r *Rollouts) Progress(ctx context.Context, rollout, tenant, target string) ([]verify.SideProgress, error) {
	rows, err := r.db.pool.Query(ctx, `
		select target, side, key, start, at, buckets from comparison_progress where rollout_id = $1 and tenant_id = $2 and target = $3`, rollout, tenant, target)
	if err != nil {
		return nil, failure(err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (verify.SideProgress, error) {
		var p verify.SideProgress
		var start, at []byte
		if err := row.Scan(&p.Target, &p.Side, &p.Key, &start, &at, &p.Buckets); err != nil {
			return p, err
		}
		if err := json.Unmarshal(start, &p.Start); err != nil {
			return p, err
		}
		return p, json.Unmarshal(at, &p.At)
	})
	return out, failure(err)
}

// SaveProgress implements upgrader.Store.
func (r *Rollouts) SaveProgress(ctx context.Context, l *upgrader.Lease, p verify.SideProgress) error {
	start, err := json.Marshal(p.Start)
	if err != nil {
		return err
	}
	at, err := json.Marshal(p.At)
	if err != nil {
		return err
	}
	return r.owned(ctx, l, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			insert into comparison_progress (rollout_id, tenant_id, target, side, key, start, at, buckets) values ($1, $2, $3, $4, $5, $6, $7, $8)
			on conflict (rollout_id, tenant_id, target, side)
			do update set key = excluded.key, start = excluded.start, at = excluded.at, buckets = excluded.buckets`,
			l.RolloutID, l.TenantID, p.Target, p.Side, p.Key, start, at, p.Buckets)
		return err
	})
}

// DropProgress implements upgrader.Store.
func (r *Rollouts) DropProgress(ctx context.Context, l *upgrader.Lease, target string) error {
	return r.owned(ctx, l, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `delete from comparison_progress where rollout_id = $1 and tenant_id = $2 and target = $3`, l.RolloutID, l.TenantID, target)
		return err
	})
}
