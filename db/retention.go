package db

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/tracardi/tms/backups"
	"github.com/tracardi/tms/tenants"
)

// endedSnapshots are those that have ended and are not deleted.
const endedSnapshots = `kind = 'snapshot' and state in ('success', 'partial', 'failed')`

// Ended implements backups.PolicyStore.
func (b *Backups) Ended(ctx context.Context) ([]*backups.Run, error) {
	return runs(ctx, b.db.pool, endedSnapshots+` order by id`)
}

// Retain implements backups.PolicyStore.
func (b *Backups) Retain(
	ctx context.Context, policy string, stands map[string]bool, decide func(backups.Holdings) []backups.Removal, audit func(backups.Removal) tenants.Audit,
) error {
	return b.db.inTx(ctx, func(tx pgx.Tx) error {
		locked, err := runs(ctx, tx, endedSnapshots+` order by id for update`)
		if err != nil {
			return err
		}
		all, err := holdings(ctx, tx, policy, locked, stands)
		if err != nil {
			return err
		}
		for _, r := range decide(all) {
			_, err := tx.Exec(ctx, `
				update backup_runs set state = 'deleting', working = true, finished_at = null, next_at = now(), revision = revision + 1,
					body = jsonb_set(body - 'reason', '{attempts}', '0')
				where id = $1`, r.ID)
			if err != nil {
				return err
			}
			if b.wake != nil {
				if err := b.wake(ctx, tx, r.ID); err != nil {
					return err
				}
			}
			if err := appendAudit(ctx, tx, audit(r)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Doubts implements backups.Store.
func (b *Backups) Doubts(ctx context.Context) (doubts map[string]string, err error) {
	err = b.db.inTx(ctx, func(tx pgx.Tx) (err error) {
		doubts, err = doubtsOf(ctx, tx)
		return err
	})
	return doubts, err
}

// doubtsOf are snapshots whose last drill failed, with that drill.
func doubtsOf(ctx context.Context, tx pgx.Tx) (map[string]string, error) {
	return pairsOf(ctx, tx, `
		select snapshot, id from (
			select distinct on (snapshot) body->'restore'->>'snapshot' as snapshot, id, state from backup_runs
			where kind = 'restore' and not working and body @> '{"restore": {"drill": true}}'
			order by snapshot, created_at desc, id desc) last
		where state = 'failed'`)
}

// holdings reads what decides, besides the snapshots themselves.
func holdings(ctx context.Context, tx pgx.Tx, policy string, snapshots []*backups.Run, stands map[string]bool) (backups.Holdings, error) {
	all := backups.Holdings{Tenants: map[string]bool{}}
	readers, err := pairsOf(ctx, tx, `select body->'restore'->>'snapshot', id from backup_runs where kind = 'restore' and working and state <> 'deleting'`)
	if err != nil {
		return all, err
	}
	doubts, err := doubtsOf(ctx, tx)
	if err != nil {
		return all, err
	}
	for _, r := range snapshots {
		h := backups.Holding{
			ID: r.ID, State: r.State, Repository: r.Repository, TakenAt: r.CreatedAt, Releases: map[string]string{},
			Mine: r.Policy == policy, Stands: stands[r.ID], Doubted: doubts[r.ID], Reader: readers[r.ID],
		}
		for _, t := range r.Tenants {
			h.Releases[t] = r.Snapshot.Releases[t]
		}
		all.Snapshots = append(all.Snapshots, h)
	}
	registered, err := pairsOf(ctx, tx, `select id, id from tenants where purged_at is null`)
	if err != nil {
		return all, err
	}
	for id := range registered {
		all.Tenants[id] = true
	}
	all.Needs, err = needs(ctx, tx)
	return all, err
}

// needs are the tenants of rollouts that can still be rolled back, retried or
// finalized.
func needs(ctx context.Context, tx pgx.Tx) ([]backups.Need, error) {
	rows, err := tx.Query(ctx, `
		select t.tenant_id, t.from_release, t.rollout_id, coalesce(r.options->>'snapshot_name', '')
		from rollout_tenants t join rollouts r on r.id = t.rollout_id
		where t.state not in ('done', 'cancelled', 'rolled_back') order by t.rollout_id, t.tenant_id`)
	if err != nil {
		return nil, failure(err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (n backups.Need, err error) {
		return n, row.Scan(&n.Tenant, &n.Release, &n.Rollout, &n.Snapshot)
	})
	return out, failure(err)
}

// pairsOf reads two columns of text; of equal first ones the last row counts.
func pairsOf(ctx context.Context, q querier, sql string) (map[string]string, error) {
	rows, err := q.Query(ctx, sql)
	if err != nil {
		return nil, failure(err)
	}
	out := map[string]string{}
	var key, value string
	_, err = pgx.ForEachRow(rows, []any{&key, &value}, func() error {
		out[key] = value
		return nil
	})
	return out, failure(err)
}
