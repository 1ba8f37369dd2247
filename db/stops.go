package db

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/budget"
)

// stopInForce reads the kill switch.
const stopInForce = `select reason, stopped_by, stopped_at from stops where resumed_at is null`

// scanStop returns nil when the kill switch is off.
func scanStop(row pgx.Row) (*budget.Stop, error) {
	var s budget.Stop
	err := row.Scan(&s.Reason, &s.StoppedBy, &s.StoppedAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &s, nil
}

// StopAll implements budget.Store.
func (r *Rollouts) StopAll(ctx context.Context, caller, reason string) (bool, error) {
	on := false
	err := r.db.inTx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `insert into stops (reason, stopped_by) values ($1, $2) on conflict do nothing`, clean(reason), caller)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		on = true
		if err := touchRunning(ctx, tx); err != nil {
			return err
		}
		return appendAudit(ctx, tx, budgetAudit(caller, "stop_all", "rollouts", map[string]any{"reason": reason}))
	})
	return on, err
}

// ResumeAll implements budget.Store.
func (r *Rollouts) ResumeAll(ctx context.Context, caller string) (bool, error) {
	off := false
	err := r.db.inTx(ctx, func(tx pgx.Tx) error {
		var reason string
		err := tx.QueryRow(ctx, `update stops set resumed_at = now(), resumed_by = $1 where resumed_at is null returning reason`, caller).Scan(&reason)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		off = true
		if err := touchRunning(ctx, tx); err != nil {
			return err
		}
		if err := appendAudit(ctx, tx, budgetAudit(caller, "resume_all", "rollouts", map[string]any{"reason": reason})); err != nil {
			return err
		}
		return r.wakeStopped(ctx, tx)
	})
	return off, err
}

// wakeStopped makes every tenant due that the stop has sent to sleep. A worker
// that has just read the stop sees by the count of commands that it missed
// something.
func (r *Rollouts) wakeStopped(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `
		update rollout_tenants set next_at = least(next_at, now()), commands = commands + 1
		where working and next_at < now() + interval '2 minutes'
		returning rollout_id, tenant_id, epoch`)
	if err != nil {
		return err
	}
	work, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (w upgrader.Work, err error) {
		return w, row.Scan(&w.RolloutID, &w.TenantID, &w.Epoch)
	})
	if err != nil {
		return err
	}
	return r.queue(ctx, tx, work[:min(len(work), workers)])
}
