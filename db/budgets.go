package db

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader/budget"
)

var _ budget.Store = (*Rollouts)(nil)

// EnsureBudget implements budget.Store.
func (r *Rollouts) EnsureBudget(ctx context.Context, cluster string, defaults budget.Budget) error {
	return r.db.inTx(ctx, func(tx pgx.Tx) error {
		raw, err := json.Marshal(defaults)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			insert into budgets (cluster, defaults, tenants, copy_tasks, state_updates, documents_per_second) values ($1, $2, 1, 1, 1, 0)
			on conflict (cluster) do update set defaults = excluded.defaults`, cluster, raw)
		if err != nil {
			return err
		}
		s, err := lockBudget(ctx, tx, cluster)
		if err != nil {
			return err
		}
		return putBudget(ctx, tx, s)
	})
}

const budgetColumns = `cluster, defaults, settings, throttle, tenants, hold, copy_tasks, state_updates, documents_per_second, changed_at, changed_by`

func scanBudget(row pgx.CollectableRow) (budget.State, error) {
	var s budget.State
	var defaults, set, throttle []byte
	a := &s.Allowance
	err := row.Scan(&s.Cluster, &defaults, &set, &throttle, &a.Tenants, &a.Hold, &a.CopyTasks, &a.StateUpdates, &a.DocumentsPerSecond, &s.ChangedAt, &s.ChangedBy)
	if err != nil {
		return s, err
	}
	return s, errors.Join(json.Unmarshal(defaults, &s.Defaults), json.Unmarshal(set, &s.Set), json.Unmarshal(throttle, &s.Throttle))
}

func lockBudget(ctx context.Context, tx pgx.Tx, cluster string) (budget.State, error) {
	rows, err := tx.Query(ctx, `select `+budgetColumns+` from budgets where cluster = $1 for update`, cluster)
	if err != nil {
		return budget.State{}, err
	}
	s, err := pgx.CollectExactlyOneRow(rows, scanBudget)
	return s, noBudget(err, cluster)
}

// noBudget turns "no rows" into budget.ErrNone.
func noBudget(err error, cluster string) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("cluster %s: %w", cluster, budget.ErrNone)
	}
	return failure(err)
}

// putBudget stores a budget, and what is in force of it under its throttle.
func putBudget(ctx context.Context, tx pgx.Tx, s budget.State) error {
	set, err := json.Marshal(s.Set)
	if err != nil {
		return err
	}
	throttle, err := json.Marshal(s.Throttle)
	if err != nil {
		return err
	}
	a := s.Budget().Under(s.Throttle)
	_, err = tx.Exec(ctx, `
		update budgets set settings = $2, throttle = $3, tenants = $4, hold = $5, copy_tasks = $6, state_updates = $7, documents_per_second = $8,
			changed_at = $9, changed_by = $10
		where cluster = $1`, s.Cluster, set, throttle, a.Tenants, a.Hold, a.CopyTasks, a.StateUpdates, a.DocumentsPerSecond, s.ChangedAt, s.ChangedBy)
	return err
}

// loose has a transaction not wait for the disk: what it writes is stated anew
// every second anyway.
const loose = `select set_config('synchronous_commit', 'off', true)`

// giveShares gives a process what it may have: what it wants, up to a fair part
// when others want more than there is, and never more than nobody else holds,
// but no less than it uses. What it only would like to have beside it gets when
// nobody wants it.
const giveShares = `
	with others as (
		select count(*) as n, coalesce(sum(copy_tasks), 0) as tasks, coalesce(sum(wants_copy_tasks), 0) as wants_tasks,
			coalesce(sum(state_updates), 0) as updates, coalesce(sum(wants_state_updates), 0) as wants_updates
		from budget_shares where cluster = $1 and owner <> $2 and until > now()
	), given as (
		select
			greatest($5::int, least(
				$6::int + case when o.wants_tasks + $6 + $7 <= b.copy_tasks then $7::int else 0 end,
				greatest(ceil(b.copy_tasks::float8 / (o.n + 1)), b.copy_tasks - o.wants_tasks), b.copy_tasks - o.tasks))::int as tasks,
			greatest($8::int, least(
				$9::int + case when o.wants_updates + $9 + $10 <= b.state_updates then $10::int else 0 end,
				greatest(ceil(b.state_updates::float8 / (o.n + 1)), b.state_updates - o.wants_updates), b.state_updates - o.updates))::int as updates
		from budgets b, others o where b.cluster = $1
	)
	insert into budget_shares (cluster, owner, tenants, copy_tasks, state_updates, wants_copy_tasks, wants_state_updates, flows, documents_rate, until)
	select $1, $2, $4, tasks, updates, $6, $9, $11, $12, now() + $3::interval from given
	on conflict (cluster, owner) do update set tenants = excluded.tenants, copy_tasks = excluded.copy_tasks, state_updates = excluded.state_updates,
		wants_copy_tasks = excluded.wants_copy_tasks, wants_state_updates = excluded.wants_state_updates,
		flows = excluded.flows, documents_rate = excluded.documents_rate, until = excluded.until
	returning copy_tasks, state_updates`

// Beat implements budget.Store, in one round trip: the statements of a
// batch are one transaction, the lock of the first holds for all of them.
func (r *Rollouts) Beat(ctx context.Context, b budget.Beat) (budget.Pulse, error) {
	var p budget.Pulse
	found := false
	batch := &pgx.Batch{}
	batch.Queue(loose)
	batch.Queue(`select tenants, hold, copy_tasks, state_updates, documents_per_second, coalesce(throttle->>'reason', '') from budgets where cluster = $1 for update`, b.Cluster).
		QueryRow(func(row pgx.Row) error {
			a := &p.Allowance
			err := row.Scan(&a.Tenants, &a.Hold, &a.CopyTasks, &a.StateUpdates, &a.DocumentsPerSecond, &p.Reason)
			found = err == nil
			return noRows(err)
		})
	batch.Queue(giveShares, b.Cluster, b.Owner, b.TTL, b.Tenants,
		b.Tasks.Uses, b.Tasks.Wants, b.Tasks.Spare, b.Updates.Uses, b.Updates.Wants, b.Updates.Spare, b.Flows, b.DocumentsRate).
		QueryRow(func(row pgx.Row) error { return noRows(row.Scan(&p.Tasks, &p.Updates)) })
	batch.Queue(`select coalesce(sum(flows), 0) from budget_shares where cluster = $1 and until > now()`, b.Cluster).
		QueryRow(func(row pgx.Row) error { return row.Scan(&p.Flows) })
	batch.Queue(`update budgets set sampled_at = now() where cluster = $1 and sampled_at <= now() - $2::interval returning true`, b.Cluster, budget.SampleInterval).
		QueryRow(func(row pgx.Row) error { return noRows(row.Scan(&p.Sample)) })
	batch.Queue(stopInForce).QueryRow(func(row pgx.Row) (err error) { p.Stop, err = scanStop(row); return err })
	if err := r.db.pool.SendBatch(ctx, batch).Close(); err != nil {
		return p, failure(err)
	}
	if !found {
		return p, noBudget(pgx.ErrNoRows, b.Cluster)
	}
	return p, nil
}

func noRows(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	return err
}

// Leave implements budget.Store.
func (r *Rollouts) Leave(ctx context.Context, cluster, owner string) error {
	// Shares of processes that died long ago go as well.
	_, err := r.db.pool.Exec(ctx, `delete from budget_shares where cluster = $1 and (owner = $2 or until < now() - interval '1 hour')`, cluster, owner)
	return failure(err)
}

// AdaptBudget implements budget.Store. A new sentence is news of every
// rollout that is under way.
func (r *Rollouts) AdaptBudget(ctx context.Context, cluster string, next func(budget.Budget, budget.Throttle, float64) budget.Throttle) error {
	return r.db.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, loose); err != nil {
			return err
		}
		s, err := lockBudget(ctx, tx, cluster)
		if err != nil {
			return err
		}
		var rate float64
		err = tx.QueryRow(ctx, `select coalesce(sum(documents_rate), 0) from budget_shares where cluster = $1 and until > now()`, cluster).Scan(&rate)
		if err != nil {
			return err
		}
		slowed := s.Throttle.Slowed()
		s.Throttle = next(s.Budget(), s.Throttle, rate)
		if err := putBudget(ctx, tx, s); err != nil || slowed == s.Throttle.Slowed() {
			return err
		}
		return touchRunning(ctx, tx)
	})
}

// touchRunning tells those who watch rollouts under way to look again.
func touchRunning(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `
		update rollouts set revision = revision + 1
		where id in (select id from rollouts where state in ('running', 'paused') order by id for update skip locked)`)
	return err
}

// Budgets implements budget.Store.
func (r *Rollouts) Budgets(ctx context.Context) ([]budget.State, *budget.Stop, error) {
	var all []budget.State
	var stop *budget.Stop
	at := map[string]int{}
	batch := &pgx.Batch{}
	batch.Queue(`select ` + budgetColumns + ` from budgets order by cluster`).Query(func(rows pgx.Rows) (err error) {
		all, err = pgx.CollectRows(rows, scanBudget)
		for i, s := range all {
			at[s.Cluster] = i
		}
		return err
	})
	batch.Queue(`
		select cluster, owner, tenants, copy_tasks, state_updates, wants_copy_tasks, wants_state_updates, flows, documents_rate
		from budget_shares where until > now() order by cluster, owner`).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var cluster string
			var h budget.Share
			if err := rows.Scan(&cluster, &h.Owner, &h.Tenants, &h.CopyTasks, &h.StateUpdates, &h.WantsTasks, &h.WantsUpdates, &h.Flows, &h.DocumentsRate); err != nil {
				return err
			}
			if i, ok := at[cluster]; ok {
				all[i].Shares = append(all[i].Shares, h)
			}
		}
		return rows.Err()
	})
	batch.Queue(`
		select cluster, (select count(*) from rollout_tenants where working and lease_until > now() and cluster = b.cluster) + ` + rehearsingIn + `b.cluster)
		from budgets b`).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var cluster string
			var n int
			if err := rows.Scan(&cluster, &n); err != nil {
				return err
			}
			if i, ok := at[cluster]; ok {
				all[i].Tenants = n
			}
		}
		return rows.Err()
	})
	batch.Queue(stopInForce).QueryRow(func(row pgx.Row) (err error) { stop, err = scanStop(row); return err })
	err := r.db.pool.SendBatch(ctx, batch).Close()
	return all, stop, failure(err)
}

// ChangeBudget implements budget.Store.
func (r *Rollouts) ChangeBudget(ctx context.Context, cluster, caller string, change func(budget.State) (budget.Change, error)) error {
	return r.db.inTx(ctx, func(tx pgx.Tx) error {
		s, err := lockBudget(ctx, tx, cluster)
		if err != nil {
			return err
		}
		was := s.Set
		if s.Set, err = change(s); err != nil {
			return err
		}
		s.ChangedAt, s.ChangedBy = time.Now(), caller
		if err := putBudget(ctx, tx, s); err != nil {
			return err
		}
		return appendAudit(ctx, tx, budgetAudit(caller, "set", "budget/"+cluster, map[string]any{"from": was, "to": s.Set}))
	})
}

func budgetAudit(caller, action, subject string, detail map[string]any) tenants.Audit {
	return tenants.Audit{At: time.Now(), Caller: tenants.Caller{KeyID: caller}, Action: "budget." + action, Subject: subject, Detail: detail}
}
