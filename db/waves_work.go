package db

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tracardi/tms/upgrader"
)

// conductedBy is who decides about waves in the audit trail: no key of
// anybody's.
const conductedBy = "tms"

// Conduct implements upgrader.WaveStore. The lock on the rollout's row makes
// decisions of several processes follow each other.
func (r *Rollouts) Conduct(ctx context.Context, rollout string, decide func(*upgrader.View) *upgrader.Decision) error {
	err := r.db.inTx(ctx, func(tx pgx.Tx) error {
		v, err := view(ctx, tx, rollout, "for update")
		if err != nil {
			return err
		}
		d := decide(v)
		if d == nil {
			return nil
		}
		if err := r.carryOut(ctx, tx, v.Rollout, d); err != nil {
			return err
		}
		return summarize(ctx, tx, v.Rollout)
	})
	if violates(err, "rollout_tenants_working_key") {
		return tenantTaken(err)
	}
	return beingRestored(beingCleaned(err))
}

// carryOut changes rows as decided.
func (r *Rollouts) carryOut(ctx context.Context, tx pgx.Tx, ro *upgrader.Rollout, d *upgrader.Decision) error {
	if err := putWaves(ctx, tx, ro.ID, d.Waves); err != nil {
		return err
	}
	if err := changeWhole(ctx, tx, ro, d); err != nil {
		return err
	}
	for id, why := range d.Except {
		if _, err := tx.Exec(ctx, `
			update rollout_tenants set `+callOff+`, excepted = $3, reason = $3
			where rollout_id = $1 and tenant_id = $2 and waiting and working`, ro.ID, id, clean(why)); err != nil {
			return err
		}
	}
	if err := r.join(ctx, tx, ro, d); err != nil {
		return err
	}
	if err := r.letIn(ctx, tx, ro.ID, d.LetIn); err != nil {
		return err
	}
	if err := giveReasons(ctx, tx, ro.ID, d); err != nil {
		return err
	}
	if len(d.Events) == 0 {
		return nil
	}
	return appendAudit(ctx, tx, rolloutAudit(ro.ID, conductedBy, "waves", map[string]any{"events": d.Events}))
}

// callOff ends tenants that wait. Of one that was begun, failed and was retried,
// a worker undoes what was made.
const callOff = `
	state = case when started_at is null then 'cancelled' else state end,
	waiting = false,
	finished_at = case when started_at is null then now() end,
	intent = case when started_at is null then intent else 'cancel' end,
	next_at = case when started_at is null then next_at else now() end`

// changeWhole changes what concerns the rollout as a whole.
func changeWhole(ctx context.Context, tx pgx.Tx, ro *upgrader.Rollout, d *upgrader.Decision) error {
	if d.Pause != "" {
		ro.Wish = upgrader.WishPause
		if _, err := tx.Exec(ctx, `update rollouts set wish = 'pause', reason = $2 where id = $1`, ro.ID, clean(d.Pause)); err != nil {
			return err
		}
	}
	if d.SetMissing {
		ro.Missing = d.Missing
		if d.Missing == nil {
			d.Missing = []upgrader.MissingTenant{}
		}
		if _, err := tx.Exec(ctx, `update rollouts set missing = $2 where id = $1`, ro.ID, d.Missing); err != nil {
			return err
		}
	}
	if d.StopReason == "" {
		return nil
	}
	if _, err := tx.Exec(ctx, `
		update rollout_tenants set `+callOff+`, reason = $2
		where rollout_id = $1 and waiting and working`, ro.ID, clean(d.StopReason)); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `update rollouts set reason = $2 where id = $1`, ro.ID, clean(d.StopReason))
	return err
}

// join adds tenants to a rollout under way.
func (r *Rollouts) join(ctx context.Context, tx pgx.Tx, ro *upgrader.Rollout, d *upgrader.Decision) error {
	for i := range d.Join {
		t := &d.Join[i]
		if err := insertTenant(ctx, tx, t); err != nil {
			return err
		}
		if err := putMoves(ctx, tx, ro.ID, t.TenantID, d.JoinMoves[t.TenantID]); err != nil {
			return err
		}
	}
	return nil
}

func (r *Rollouts) letIn(ctx context.Context, tx pgx.Tx, rollout string, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, `
		update rollout_tenants set waiting = false, reason = '', next_at = now()
		where rollout_id = $1 and tenant_id = any($2) and waiting returning rollout_id, tenant_id, epoch`, rollout, ids)
	if err != nil {
		return err
	}
	work, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (upgrader.Work, error) {
		var w upgrader.Work
		err := row.Scan(&w.RolloutID, &w.TenantID, &w.Epoch)
		return w, err
	})
	if err != nil {
		return err
	}
	return r.queue(ctx, tx, work)
}

// giveReasons tells tenants why they wait; only what has changed is written.
func giveReasons(ctx context.Context, tx pgx.Tx, rollout string, d *upgrader.Decision) error {
	batch := &pgx.Batch{}
	named := slices.Sorted(maps.Keys(d.Reasons))
	for _, id := range named {
		batch.Queue(`update rollout_tenants set reason = $3 where rollout_id = $1 and tenant_id = $2 and waiting and reason <> $3`, rollout, id, clean(d.Reasons[id]))
	}
	for home, why := range d.WaveReasons {
		batch.Queue(`
			update rollout_tenants set reason = $5 where rollout_id = $1 and wave = $2 and cluster = $3 and waiting and reason <> $5 and tenant_id <> all($4)`,
			rollout, home.Wave, home.Cluster, orEmpty(named), clean(why))
	}
	if batch.Len() == 0 {
		return nil
	}
	return tx.SendBatch(ctx, batch).Close()
}

// uniform corrects the state of a rollout of the whole fleet that seems to
// have ended: tenants that came into being meanwhile join it first, and it is
// not complete without those that cannot.
func uniform(ctx context.Context, tx pgx.Tx, ro *upgrader.Rollout, state upgrader.RolloutState) (upgrader.RolloutState, error) {
	if state != upgrader.RolloutComplete || len(ro.Behind) == 0 || ro.Wish == upgrader.WishCancel {
		return state, nil
	}
	known := make([]string, 0, len(ro.Missing))
	for _, m := range ro.Missing {
		known = append(known, m.TenantID)
	}
	rows, err := tx.Query(ctx, `select t.id = any($3)`+outsiders+` order by 1 limit 1`, ro.ID, ro.Behind, known)
	if err != nil {
		return state, err
	}
	cannot, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[bool])
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return state, nil
	case err != nil:
		return state, err
	case cannot: // all of them
		return upgrader.RolloutFailed, nil
	}
	return upgrader.RolloutRunning, nil
}

// untilFinalized corrects the state of a rollout that seems to have ended and has
// a wave that is to be finalized yet.
func untilFinalized(ctx context.Context, tx pgx.Tx, ro *upgrader.Rollout, state upgrader.RolloutState) (upgrader.RolloutState, error) {
	if !state.Ended() || ro.Wish == upgrader.WishCancel {
		return state, nil
	}
	var owed bool
	err := tx.QueryRow(ctx, `
		select exists (select from rollout_waves
			where rollout_id = $1 and state not in ('done', 'stopped') and (rule -> 'between' ->> 'finalize')::boolean)`, ro.ID).Scan(&owed)
	switch {
	case err != nil || !owed:
		return state, err
	case ro.Wish == upgrader.WishPause:
		return upgrader.RolloutPaused, nil
	}
	return upgrader.RolloutRunning, nil
}

// notUniform says why a rollout has failed that looks complete.
func notUniform(ro *upgrader.Rollout, state upgrader.RolloutState) string {
	if state != upgrader.RolloutFailed {
		return ""
	}
	return ro.NotUniform()
}

// endWaves ends the waves of a rollout that has ended.
func endWaves(ctx context.Context, tx pgx.Tx, ro *upgrader.Rollout, at time.Time) error {
	state := upgrader.WaveDone
	if ro.Wish == upgrader.WishCancel {
		state = upgrader.WaveStopped
	}
	_, err := tx.Exec(ctx, `
		update rollout_waves set state = $2, reason = '', done_at = $3, ended_at = coalesce(ended_at, $3)
		where rollout_id = $1 and state not in ('done', 'stopped')`, ro.ID, string(state), at)
	return err
}
