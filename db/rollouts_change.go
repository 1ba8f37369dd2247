package db

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tracardi/tms/upgrader"
)

// ChangeRollout implements upgrader.Store.
func (r *Rollouts) ChangeRollout(ctx context.Context, id, caller, name string, change func(*upgrader.Rollout) error) error {
	return r.changeRollout(ctx, id, caller, name, change, nil)
}

// changeRollout is ChangeRollout with something more in the same transaction,
// after the change is stored.
func (r *Rollouts) changeRollout(ctx context.Context, id, caller, name string, change func(*upgrader.Rollout) error, also func(pgx.Tx) error) error {
	err := r.db.inTx(ctx, func(tx pgx.Tx) error {
		ro, err := lockRollout(ctx, tx, id)
		if err != nil {
			return err
		}
		before := *ro
		before.Tenants = append([]upgrader.RolloutTenant(nil), ro.Tenants...)
		before.Waves = append([]upgrader.Wave(nil), ro.Waves...)
		if err := change(ro); err != nil {
			return err
		}
		options, err := json.Marshal(ro.Options)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			update rollouts set options = $2, state = $3, wish = $4, reason = $5, finished_at = $6, missing = $7, revision = revision + 1 where id = $1`,
			id, options, ro.State, ro.Wish, clean(ro.Reason), orNull(ro.FinishedAt), orEmpty(ro.Missing))
		if err != nil {
			return err
		}
		for i := range ro.Tenants[len(before.Tenants):] { // excepted ones that were missing
			if err := insertTenant(ctx, tx, &ro.Tenants[len(before.Tenants)+i]); err != nil {
				return err
			}
		}
		if err := putWaves(ctx, tx, id, changedWaves(before.Waves, ro.Waves)); err != nil {
			return err
		}
		work, err := changeTenants(ctx, tx, before.Tenants, ro.Tenants[:len(before.Tenants)])
		if err != nil {
			return err
		}
		if err := r.wakeConductor(ctx, tx, id); err != nil {
			return err
		}
		if also != nil {
			if err := also(tx); err != nil {
				return err
			}
		}
		if err := appendAudit(ctx, tx, rolloutAudit(id, caller, name, changed(&before, ro))); err != nil {
			return err
		}
		return r.queue(ctx, tx, work)
	})
	if violates(err, "rollout_tenants_working_key") {
		return tenantTaken(err)
	}
	return beingRestored(err)
}

func lockRollout(ctx context.Context, tx pgx.Tx, id string) (*upgrader.Rollout, error) {
	rows, err := tx.Query(ctx, `select `+rolloutColumns+` from rollouts where id = $1 for update`, id)
	if err != nil {
		return nil, err
	}
	ro, err := pgx.CollectExactlyOneRow(rows, scanRollout)
	if err != nil {
		return nil, missing(err, "rollout "+id)
	}
	rows, err = tx.Query(ctx, `select `+tenantInRolloutColumns+` from rollout_tenants where rollout_id = $1 order by tenant_id for update`, id)
	if err != nil {
		return nil, err
	}
	if ro.Tenants, err = pgx.CollectRows(rows, scanRolloutTenant); err != nil {
		return nil, err
	}
	return ro, addWaves(ctx, tx, ro)
}

// changeTenants stores what a command changed and counts it.
func changeTenants(ctx context.Context, tx pgx.Tx, before, after []upgrader.RolloutTenant) ([]upgrader.Work, error) {
	var work []upgrader.Work
	batch := &pgx.Batch{}
	for i, t := range after {
		b := before[i]
		changed := t.State != b.State || t.Intent != b.Intent || t.SwitchAllowed != b.SwitchAllowed || !t.NextAt.Equal(b.NextAt) ||
			t.Waiting != b.Waiting || t.Excepted != b.Excepted
		if !changed {
			continue
		}
		batch.Queue(`
			update rollout_tenants set state = $3, intent = $4, switch_allowed = $5, attempts = $6, next_at = now() + $7::interval,
				retriable = $8, finished_at = $9, fence_tries = $10, waiting = $11, excepted = $12, commands = commands + 1
			where rollout_id = $1 and tenant_id = $2`,
			t.RolloutID, t.TenantID, t.State, t.Intent, t.SwitchAllowed, t.Attempts, time.Until(t.NextAt), t.Retriable, orNull(t.FinishedAt), t.FenceTries,
			t.Waiting, clean(t.Excepted))
		if b.Intent != t.Intent && b.Intent != upgrader.IntentNone {
			batch.Queue(endErrand, t.RolloutID, t.TenantID, endedBy(t.Intent))
		}
		if t.Working() && (!t.Waiting || t.Intent != upgrader.IntentNone) {
			work = append(work, upgrader.Work{RolloutID: t.RolloutID, TenantID: t.TenantID, Epoch: t.Epoch})
		}
	}
	if batch.Len() == 0 {
		return nil, nil
	}
	return work, tx.SendBatch(ctx, batch).Close()
}

// endedBy says why an errand was ended.
func endedBy(now upgrader.Intent) string {
	if now == upgrader.IntentNone {
		return "cancelled"
	}
	return string(now) + " was asked for, which comes first"
}

// changed names the tenants that a command concerned, why they were left out,
// and the options that it set, for the audit trail.
func changed(before, after *upgrader.Rollout) map[string]any {
	const most = 100
	var ids []string
	reasons := map[string]string{}
	for i, t := range after.Tenants {
		var b upgrader.RolloutTenant // was not part of it
		if i < len(before.Tenants) {
			b = before.Tenants[i]
		}
		if t.State != b.State || t.Intent != b.Intent || t.SwitchAllowed != b.SwitchAllowed || t.Excepted != b.Excepted {
			ids = append(ids, t.TenantID)
		}
		if t.Excepted != b.Excepted && len(reasons) < most {
			reasons[t.TenantID] = t.Excepted
		}
	}
	detail := map[string]any{}
	if len(ids) > 0 {
		detail["tenants"], detail["count"] = ids[:min(len(ids), most)], len(ids)
	}
	if len(reasons) > 0 {
		detail["excepted"] = reasons
	}
	was, is := before.Options, after.Options
	for name, v := range map[string][2]any{
		"max_tenants": {was.MaxTenants, is.MaxTenants}, "requests_per_second": {was.RequestsPerSecond, is.RequestsPerSecond},
		"fence_timeout": {was.FenceTimeout.String(), is.FenceTimeout.String()}, "hold_switch": {was.HoldSwitch, is.HoldSwitch},
		"allow_quarantine": {was.AllowQuarantine, is.AllowQuarantine},
	} {
		if v[0] != v[1] {
			detail[name] = map[string]any{"from": v[0], "to": v[1]}
		}
	}
	if len(detail) == 0 {
		return nil
	}
	return detail
}
