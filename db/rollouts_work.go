package db

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/budget"
)

// Due implements upgrader.Store. Of each rollout it returns no more tenants of
// a cluster than may still be taken in flight there: those that have waited
// longest, and of these the largest first, so that none of them is left alone
// at the end; and all whose writers are refused. A cluster that is down so holds
// up nobody of another one.
func (r *Rollouts) Due(ctx context.Context, limit int) ([]upgrader.Work, error) {
	rows, err := r.db.pool.Query(ctx, `
		with work as (select w.*
		from rollouts ro
		cross join (select 'default' collate "C" as name union all select name from clusters) c
		cross join lateral (
			select count(*) as busy from rollout_tenants
			where rollout_id = ro.id and cluster = c.name and working and lease_until > now()
		) b
		cross join lateral (
			(select rollout_id, tenant_id, epoch, cluster, state, intent, next_at, docs_total from rollout_tenants
			where rollout_id = ro.id and cluster = c.name and working and (not waiting or intent <> '') and next_at <= now() and (lease_until is null or lease_until <= now())
			order by next_at, docs_total desc, tenant_id
			limit greatest(0, (ro.options->>'max_tenants')::int - b.busy))
			union
			(select rollout_id, tenant_id, epoch, cluster, state, intent, next_at, docs_total from rollout_tenants
			where rollout_id = ro.id and cluster = c.name and working and state = any($2) and next_at <= now() and (lease_until is null or lease_until <= now()))
		) w
		where exists (select from rollout_tenants where rollout_id = ro.id and working))`+dueWithin, limit, fencedStates)
	if err != nil {
		return nil, failure(err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (upgrader.Work, error) {
		var w upgrader.Work
		err := row.Scan(&w.RolloutID, &w.TenantID, &w.Epoch)
		return w, err
	})
	return out, failure(err)
}

// Acquire implements upgrader.Store. The lock on the rollout's row makes the
// count of tenants in flight exact.
func (r *Rollouts) Acquire(ctx context.Context, rollout, tenant, owner string, ttl time.Duration) (*upgrader.Lease, error) {
	asked := time.Now()
	l := &upgrader.Lease{RolloutID: rollout, TenantID: tenant, Owner: owner, Until: asked.Add(ttl)}
	err := r.db.inTx(ctx, func(tx pgx.Tx) error {
		var most, busy int
		var fenced bool
		err := tx.QueryRow(ctx, `select (options->>'max_tenants')::int from rollouts where id = $1 for update`, rollout).Scan(&most)
		if err != nil {
			return missing(err, "rollout "+rollout)
		}
		err = tx.QueryRow(ctx, `
			select count(*), coalesce((select state = any($3) from rollout_tenants where rollout_id = $1 and tenant_id = $2), false)
			from rollout_tenants where rollout_id = $1 and working and lease_until > now()
				and cluster = (select cluster from rollout_tenants where rollout_id = $1 and tenant_id = $2)`, rollout, tenant, fencedStates).Scan(&busy, &fenced)
		if err != nil {
			return err
		}
		if busy >= most && !fenced { // somebody's writes wait for no place
			return upgrader.ErrConflict
		}
		err = tx.QueryRow(ctx, `
			with due as (
				select rollout_id, tenant_id, lease_until is not null as unclean from rollout_tenants
				where rollout_id = $1 and tenant_id = $2 and working and (not waiting or intent <> '') and next_at <= now()
					and (lease_until is null or lease_until <= now())
				for update
			)
			update rollout_tenants rt
			set epoch = epoch + 1, lease_owner = $3, lease_until = now() + $4
			from due where rt.rollout_id = due.rollout_id and rt.tenant_id = due.tenant_id
			returning rt.epoch, due.unclean, rt.cluster`, rollout, tenant, owner, ttl).Scan(&l.Epoch, &l.Takeover, &l.Cluster)
		if errors.Is(err, pgx.ErrNoRows) {
			return upgrader.ErrConflict
		}
		if err != nil {
			return err
		}
		return admit(ctx, tx, rollout, tenant, l.Cluster)
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// Extend implements upgrader.Store.
func (r *Rollouts) Extend(ctx context.Context, l *upgrader.Lease, ttl time.Duration) error {
	tag, err := r.db.pool.Exec(ctx, `
		update rollout_tenants set lease_until = now() + $4
		where rollout_id = $1 and tenant_id = $2 and epoch = $3`, l.RolloutID, l.TenantID, l.Epoch, ttl)
	if err != nil {
		return failure(err)
	}
	if tag.RowsAffected() == 0 {
		return upgrader.ErrLeaseLost
	}
	return nil
}

// Release implements upgrader.Store.
func (r *Rollouts) Release(ctx context.Context, l *upgrader.Lease, next time.Time, commands int64, unanswered bool) error {
	_, err := r.db.pool.Exec(ctx, `
		update rollout_tenants
		set lease_owner = '', lease_until = case when $6 then now() end, next_at = case when commands = $5 or $5 < 0 then now() + $4::interval else now() end
		where rollout_id = $1 and tenant_id = $2 and epoch = $3`, l.RolloutID, l.TenantID, l.Epoch, time.Until(next), commands, unanswered)
	return failure(err)
}

// Load implements upgrader.Store.
func (r *Rollouts) Load(ctx context.Context, rollout, tenant string) (*upgrader.Rollout, *upgrader.RolloutTenant, error) {
	var ro *upgrader.Rollout
	var t upgrader.RolloutTenant
	var stop *budget.Stop
	batch := &pgx.Batch{}
	batch.Queue(`select `+rolloutColumns+` from rollouts where id = $1`, rollout).Query(func(rows pgx.Rows) (err error) {
		if ro, err = pgx.CollectExactlyOneRow(rows, scanRollout); err != nil {
			return missing(err, "rollout "+rollout)
		}
		return nil
	})
	batch.Queue(`select `+tenantInRolloutColumns+` from rollout_tenants where rollout_id = $1 and tenant_id = $2`, rollout, tenant).Query(func(rows pgx.Rows) (err error) {
		if t, err = pgx.CollectExactlyOneRow(rows, scanRolloutTenant); err != nil {
			return missing(err, "tenant "+tenant+" of rollout "+rollout)
		}
		return nil
	})
	batch.Queue(stopInForce).QueryRow(func(row pgx.Row) (err error) { stop, err = scanStop(row); return err })
	if err := r.db.pool.SendBatch(ctx, batch).Close(); err != nil {
		return nil, nil, failure(err)
	}
	if stop != nil {
		ro.Wish = upgrader.WishStop
	}
	return ro, &t, nil
}

// OldTemplates implements upgrader.Store.
func (r *Rollouts) OldTemplates(ctx context.Context, rollout, tenant string) ([]upgrader.Template, error) {
	var raw []byte
	err := r.db.pool.QueryRow(ctx, `select old_templates from rollout_tenants where rollout_id = $1 and tenant_id = $2`, rollout, tenant).Scan(&raw)
	if err != nil {
		return nil, missing(err, "tenant "+tenant+" of rollout "+rollout)
	}
	var out []upgrader.Template
	return out, json.Unmarshal(raw, &out)
}

// KeepOldTemplates implements upgrader.Store.
func (r *Rollouts) KeepOldTemplates(ctx context.Context, l *upgrader.Lease, ts []upgrader.Template) error {
	raw, err := json.Marshal(ts)
	if err != nil {
		return err
	}
	return r.owned(ctx, l, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `update rollout_tenants set old_templates = $3 where rollout_id = $1 and tenant_id = $2`, l.RolloutID, l.TenantID, raw)
		return err
	})
}

// owned runs f in a transaction if, and only if, the lease still holds; the
// rollout's row is locked first, as everywhere, so that nothing deadlocks.
func (r *Rollouts) owned(ctx context.Context, l *upgrader.Lease, f func(pgx.Tx) error) error {
	return r.db.inTx(ctx, func(tx pgx.Tx) error {
		var epoch int64
		err := tx.QueryRow(ctx, `select epoch from rollout_tenants where rollout_id = $1 and tenant_id = $2 for share`, l.RolloutID, l.TenantID).Scan(&epoch)
		if err != nil {
			return missing(err, "tenant "+l.TenantID+" of rollout "+l.RolloutID)
		}
		if epoch != l.Epoch {
			return upgrader.ErrLeaseLost
		}
		return f(tx)
	})
}

// SaveTenant implements upgrader.Store.
func (r *Rollouts) SaveTenant(ctx context.Context, l *upgrader.Lease, t *upgrader.RolloutTenant) error {
	return r.saveTenant(ctx, l, t, nil)
}

// MarkSwitched implements upgrader.Store.
func (r *Rollouts) MarkSwitched(ctx context.Context, l *upgrader.Lease, t *upgrader.RolloutTenant, release string) error {
	return r.saveTenant(ctx, l, t, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `update tenants set release = $2 where id = $1`, t.TenantID, release)
		if err == nil && tag.RowsAffected() == 0 {
			return missing(pgx.ErrNoRows, "tenant "+t.TenantID)
		}
		if err != nil || t.Excepted == "" {
			return err
		}
		// To leave it out came too late.
		_, err = tx.Exec(ctx, `update rollout_tenants set excepted = '' where rollout_id = $1 and tenant_id = $2`, l.RolloutID, l.TenantID)
		return err
	})
}

// fenceLock is the advisory lock under which a place behind the fence is
// of a cluster is given out: "tms" in ASCII, and what it is for.
const fenceLock = 0x746d7302

// TakeFence implements upgrader.Store.
func (r *Rollouts) TakeFence(ctx context.Context, l *upgrader.Lease, t *upgrader.RolloutTenant) error {
	return r.saveTenant(ctx, l, t, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock($1, hashtext($2))`, fenceLock, l.Cluster); err != nil {
			return err
		}
		busy, err := fencing(ctx, tx, l.TenantID, "true")
		if err == nil && busy {
			return upgrader.ErrConflict
		}
		return err
	})
}

// Quiet implements upgrader.Store.
func (r *Rollouts) Quiet(ctx context.Context, tenant string) (bool, error) {
	busy, err := fencing(ctx, r.db.pool, tenant, "record ? 'quiet_at'")
	return busy, failure(err)
}

// fencing looks for another tenant of the cluster behind a fence, of which a
// condition in SQL holds.
func fencing(ctx context.Context, q interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}, tenant, which string) (busy bool, err error) {
	err = q.QueryRow(ctx, `
		select exists (select from rollout_tenants
			where working and state in ('fenced', 'verified', 'return_fenced', 'return_verified') and lease_until > now() and tenant_id <> $1 and `+which+`
				and cluster = (select cluster from rollout_tenants where tenant_id = $1 and working))`, tenant).Scan(&busy)
	return busy, err
}

func (r *Rollouts) saveTenant(ctx context.Context, l *upgrader.Lease, t *upgrader.RolloutTenant, also func(pgx.Tx) error) error {
	methods, record, proof, err := tenantJSON(t)
	if err != nil {
		return err
	}
	return r.db.inTx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `select `+rolloutColumns+` from rollouts where id = $1 for update`, l.RolloutID)
		if err != nil {
			return err
		}
		ro, err := pgx.CollectExactlyOneRow(rows, scanRollout)
		if err != nil {
			return missing(err, "rollout "+l.RolloutID)
		}
		tag, err := tx.Exec(ctx, `
			update rollout_tenants set state = $4, intent = case when $5 <> '' and intent = $5 then '' else intent end,
				reason = $6, retriable = $7, attempts = $8, next_at = now() + $9::interval, indices = $10, by_method = $11, documents = $12,
				docs_total = $13, quarantined = $14, fence_us = $15, fence_tries = $16, record = $17, proof = $18,
				started_at = $19, finished_at = $20
			where rollout_id = $1 and tenant_id = $2 and epoch = $3`,
			l.RolloutID, l.TenantID, l.Epoch, t.State, string(t.IntentDone), clean(t.Reason), t.Retriable, t.Attempts, time.Until(t.NextAt),
			t.Indices, methods, t.Documents, t.DocsTotal, t.Quarantined, t.Fence.Microseconds(), t.FenceTries, record, proof,
			orNull(t.StartedAt), orNull(t.FinishedAt))
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return upgrader.ErrLeaseLost
		}
		if also != nil {
			if err := also(tx); err != nil {
				return err
			}
		}
		if t.State.Ended() {
			if err := r.wakeConductor(ctx, tx, l.RolloutID); err != nil {
				return err
			}
		}
		return summarize(ctx, tx, ro)
	})
}

// summarize brings a locked rollout's state up to date. It follows from which
// states there are, not from how many tenants are in each, so that this costs
// the same for ten tenants and for ten thousand: from each state the index leads
// to the next one. (Asked for one state after the other, Postgres reads all
// tenants for those that there are none in.)
func summarize(ctx context.Context, tx pgx.Tx, ro *upgrader.Rollout) error {
	rows, err := tx.Query(ctx, `
		with recursive s as (
			(select state, working from rollout_tenants
				where rollout_id = $1 and (excepted = '' or working) order by state, working limit 1)
			union all
			select n.state, n.working from s, lateral (select state, working from rollout_tenants
				where rollout_id = $1 and (excepted = '' or working) and (state, working) > (s.state, s.working) order by state, working limit 1) n
		)
		select state, case when working and state = any($2) then 'rollback' else '' end from s`,
		ro.ID, upgrader.EndedStates())
	if err != nil {
		return err
	}
	// An ended tenant that works has a command: which one makes no difference.
	ts, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (upgrader.RolloutTenant, error) {
		var t upgrader.RolloutTenant
		err := row.Scan(&t.State, &t.Intent)
		return t, err
	})
	if err != nil {
		return err
	}
	state, err := uniform(ctx, tx, ro, upgrader.Summarize(ro.Wish, ts))
	if err != nil {
		return err
	}
	if state, err = untilFinalized(ctx, tx, ro, state); err != nil {
		return err
	}
	if state.Ended() {
		if err := endWaves(ctx, tx, ro, time.Now()); err != nil {
			return err
		}
	}
	_, err = tx.Exec(ctx, `
		update rollouts set state = $2, revision = revision + 1, reason = case when $4 <> '' then $4 else reason end,
			finished_at = case when $3 then coalesce(finished_at, now()) end
		where id = $1`, ro.ID, state, state.Ended(), notUniform(ro, state))
	return err
}

// clean makes text that Postgres stores: valid UTF-8 without zero bytes.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
}

// Moves implements upgrader.Store.
func (r *Rollouts) Moves(ctx context.Context, rollout, tenant string) ([]upgrader.Move, error) {
	rows, err := r.db.pool.Query(ctx, `select body from rollout_moves where rollout_id = $1 and tenant_id = $2 order by target`, rollout, tenant)
	if err != nil {
		return nil, failure(err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (upgrader.Move, error) {
		var m upgrader.Move
		var raw []byte
		if err := row.Scan(&raw); err != nil {
			return m, err
		}
		return m, json.Unmarshal(raw, &m)
	})
	return out, failure(err)
}

// SaveMoves implements upgrader.Store.
func (r *Rollouts) SaveMoves(ctx context.Context, l *upgrader.Lease, moves ...upgrader.Move) error {
	if len(moves) == 0 {
		return nil
	}
	return r.owned(ctx, l, func(tx pgx.Tx) error { return putMoves(ctx, tx, l.RolloutID, l.TenantID, moves) })
}

// putMoves inserts or updates moves in one statement.
func putMoves(ctx context.Context, tx pgx.Tx, rollout, tenant string, moves []upgrader.Move) error {
	if len(moves) == 0 {
		return nil
	}
	targets, states, methods, bodies := make([]string, len(moves)), make([]string, len(moves)), make([]string, len(moves)), make([]string, len(moves))
	for i, m := range moves {
		raw, err := json.Marshal(m)
		if err != nil {
			return err
		}
		targets[i], states[i], methods[i], bodies[i] = m.Target, string(m.State), string(m.Method), string(raw)
	}
	_, err := tx.Exec(ctx, `
		insert into rollout_moves (rollout_id, tenant_id, target, state, method, body)
		select $1, $2, * from unnest($3::text[], $4::text[], $5::text[], $6::jsonb[])
		on conflict (rollout_id, tenant_id, target)
		do update set state = excluded.state, method = excluded.method, body = excluded.body`,
		rollout, tenant, targets, states, methods, bodies)
	return err
}
