package db

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/budget"
	"github.com/tracardi/tms/upgrader/strategy"
)

var _ upgrader.WaveStore = (*Rollouts)(nil)

const waveColumns = `w.rollout_id, w.number, w.name, w.state, w.reason, w.rule, w.opened_at, w.ended_at, w.soak_until, w.check_until, w.done_at,
	w.approved_at, w.approved_by, w.checks_waived, w.checks, w.forgiven`

// waveRow is a wave with the rollout that it belongs to.
type waveRow struct {
	rollout string
	wave    upgrader.Wave
}

func scanWave(row pgx.CollectableRow) (waveRow, error) {
	var r waveRow
	var opened, ended, soak, check, done, approved *time.Time
	w := &r.wave
	err := row.Scan(&r.rollout, &w.Number, &w.Name, &w.State, &w.Reason, &w.Rule, &opened, &ended, &soak, &check, &done,
		&approved, &w.ApprovedBy, &w.ChecksWaived, &w.Checks, &w.Forgiven,
		&w.Tally.Tenants, &w.Tally.Waiting, &w.Tally.Ended, &w.Tally.Failed, &w.Tally.Old, &w.Tally.Deleting)
	w.OpenedAt, w.EndedAt, w.SoakUntil, w.CheckUntil = timeOrZero(opened), timeOrZero(ended), timeOrZero(soak), timeOrZero(check)
	w.DoneAt, w.ApprovedAt = timeOrZero(done), timeOrZero(approved)
	return r, err
}

// addWaves reads the waves of rollouts and counts their tenants.
func addWaves(ctx context.Context, q querier, rollouts ...*upgrader.Rollout) error {
	byID := map[string]*upgrader.Rollout{}
	var ids []string
	for _, ro := range rollouts {
		byID[ro.ID] = ro
		ids = append(ids, ro.ID)
	}
	rows, err := q.Query(ctx, `
		select `+waveColumns+`, coalesce(t.tenants, 0), coalesce(t.waiting, 0), coalesce(t.ended, 0), coalesce(t.failed, 0), coalesce(o.old, 0), coalesce(o.deleting, 0)
		from rollout_waves w
		left join (
			select rollout_id, wave, count(*) as tenants, count(*) filter (where waiting) as waiting,
				count(*) filter (where state = any($2) and intent <> 'rollback') as ended,
				count(*) filter (where state in ('failed', 'rolled_back')) as failed
			from rollout_tenants where rollout_id = any($1) and excepted = '' group by rollout_id, wave
		) t on t.rollout_id = w.rollout_id and t.wave = w.number
		left join lateral (
			select count(*) as old, count(*) filter (where intent = 'finalize') as deleting
			from rollout_tenants x
			where w.state = 'finalizing' and x.rollout_id = w.rollout_id and x.wave = w.number and x.excepted = '' and x.state = 'switched'
				and jsonb_array_length(coalesce(x.record -> 'old_indices', '[]')) > 0
		) o on true
		where w.rollout_id = any($1) order by w.rollout_id, w.number`, ids, upgrader.EndedStates())
	if err != nil {
		return failure(err)
	}
	waves, err := pgx.CollectRows(rows, scanWave)
	if err != nil {
		return failure(err)
	}
	for _, w := range waves {
		ro := byID[w.rollout]
		ro.Waves = append(ro.Waves, w.wave)
	}
	return nil
}

// putWaves inserts or updates waves.
func putWaves(ctx context.Context, tx pgx.Tx, rollout string, waves []upgrader.Wave) error {
	batch := &pgx.Batch{}
	for i := range waves {
		w := &waves[i]
		checks := w.Checks
		if checks == nil {
			checks = []upgrader.CheckResult{}
		}
		batch.Queue(`
			insert into rollout_waves (rollout_id, number, name, state, reason, rule, opened_at, ended_at, soak_until, check_until, done_at,
				approved_at, approved_by, checks_waived, checks, forgiven)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
			on conflict (rollout_id, number) do update set state = excluded.state, reason = excluded.reason,
				opened_at = excluded.opened_at, ended_at = excluded.ended_at, soak_until = excluded.soak_until, check_until = excluded.check_until,
				done_at = excluded.done_at, approved_at = excluded.approved_at, approved_by = excluded.approved_by,
				checks_waived = excluded.checks_waived, checks = excluded.checks, forgiven = excluded.forgiven`,
			rollout, w.Number, w.Name, string(w.State), clean(w.Reason), w.Rule, orNull(w.OpenedAt), orNull(w.EndedAt), orNull(w.SoakUntil), orNull(w.CheckUntil), orNull(w.DoneAt),
			orNull(w.ApprovedAt), w.ApprovedBy, w.ChecksWaived, checks, w.Forgiven)
	}
	if batch.Len() == 0 {
		return nil
	}
	return tx.SendBatch(ctx, batch).Close()
}

// changedWaves are those that a command has changed.
func changedWaves(before, after []upgrader.Wave) []upgrader.Wave {
	var out []upgrader.Wave
	for i, w := range after {
		if i >= len(before) || upgrader.WaveChanged(&before[i], &w) {
			out = append(out, w)
		}
	}
	return out
}

func (r *Rollouts) wakeConductor(ctx context.Context, tx pgx.Tx, rollout string) error {
	if r.conduct == nil {
		return nil
	}
	return r.conduct(ctx, tx, rollout)
}

// Conducted implements upgrader.WaveStore.
func (r *Rollouts) Conducted(ctx context.Context) ([]string, error) {
	rows, err := r.db.pool.Query(ctx, `
		select ro.id from rollouts ro
		where ro.state in ('running', 'paused') and exists (select from rollout_waves w where w.rollout_id = ro.id)
		order by ro.id`)
	if err != nil {
		return nil, failure(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return ids, failure(err)
}

// View implements upgrader.WaveStore.
func (r *Rollouts) View(ctx context.Context, rollout string) (*upgrader.View, error) {
	return view(ctx, r.db.pool, rollout, "")
}

// view reads a rollout as a whole; lock is "for update" or nothing.
func view(ctx context.Context, q querier, rollout, lock string) (*upgrader.View, error) {
	rows, err := q.Query(ctx, `select `+rolloutColumns+` from rollouts where id = $1 `+lock, rollout)
	if err != nil {
		return nil, failure(err)
	}
	ro, err := pgx.CollectExactlyOneRow(rows, scanRollout)
	if err != nil {
		return nil, missing(err, "rollout "+rollout)
	}
	v := &upgrader.View{Rollout: ro}
	if err := addWaves(ctx, q, ro); err != nil {
		return nil, err
	}
	for _, add := range []func(context.Context, querier, *upgrader.View) error{addStop, addLoads, addBudgets, addWaiting, addCandidates, addUnfit, addOutsiders} {
		if err := add(ctx, q, v); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// addLoads counts what the rollout has under way in each cluster.
func addLoads(ctx context.Context, q querier, v *upgrader.View) error {
	rows, err := q.Query(ctx, `
		select cluster, count(*), coalesce(sum(need_shards) filter (where state = 'planned'), 0), coalesce(sum(need_bytes) filter (where state in ('planned', 'prepared')), 0)::bigint
		from rollout_tenants
		where rollout_id = $1 and working and not waiting and state not in ('switched', 'done', 'failed', 'cancelled', 'rolled_back')
			and (switch_allowed or state <> 'compared')
		group by cluster`, v.Rollout.ID)
	if err != nil {
		return failure(err)
	}
	v.Loads = map[string]upgrader.ClusterLoad{}
	var cluster string
	var l upgrader.ClusterLoad
	_, err = pgx.ForEachRow(rows, []any{&cluster, &l.InFlight, &l.ReservedShards, &l.ReservedBytes}, func() error {
		v.Loads[cluster] = l
		return nil
	})
	return failure(err)
}

// addBudgets tells what budgets of clusters leave for tenants of any rollout.
func addBudgets(ctx context.Context, q querier, v *upgrader.View) error {
	rows, err := q.Query(ctx, `
		select b.cluster, b.tenants, b.hold, coalesce(b.throttle ->> 'reason', ''), (
			select count(*) from rollout_tenants
			where cluster = b.cluster and working and not waiting and state not in ('switched', 'done', 'failed', 'cancelled', 'rolled_back')
				and (switch_allowed or state <> 'compared')) + `+rehearsingIn+`b.cluster)
		from budgets b`)
	if err != nil {
		return failure(err)
	}
	var cluster string
	var b upgrader.BudgetFacts
	var busy int
	_, err = pgx.ForEachRow(rows, []any{&cluster, &b.Tenants, &b.Hold, &b.Reason, &busy}, func() error {
		l, facts := v.Loads[cluster], b
		l.Budget, l.InFlightOfAll = &facts, busy
		v.Loads[cluster] = l
		return nil
	})
	return failure(err)
}

// addStop reads the kill switch.
func addStop(ctx context.Context, q querier, v *upgrader.View) error {
	rows, err := q.Query(ctx, stopInForce)
	if err != nil {
		return failure(err)
	}
	stops, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*budget.Stop, error) { return scanStop(row) })
	if err == nil && len(stops) > 0 {
		v.Stop, v.Rollout.Wish = stops[0], upgrader.WishStop
	}
	return failure(err)
}

// addWaiting says in which clusters tenants of a wave wait.
func addWaiting(ctx context.Context, q querier, v *upgrader.View) error {
	rows, err := q.Query(ctx, `select distinct wave, cluster from rollout_tenants where rollout_id = $1 and waiting order by wave, cluster`, v.Rollout.ID)
	if err != nil {
		return failure(err)
	}
	v.Waiting = map[int][]string{}
	var wave int
	var cluster string
	_, err = pgx.ForEachRow(rows, []any{&wave, &cluster}, func() error {
		v.Waiting[wave] = append(v.Waiting[wave], cluster)
		return nil
	})
	return failure(err)
}

// registered is the state of tenant t in the registry.
const registered = `case when t.id is null or t.deleted_at is not null then 'deleted' else tenant_state(t, now()) end`

func addCandidates(ctx context.Context, q querier, v *upgrader.View) error {
	rows, err := q.Query(ctx, `
		select rt.tenant_id, rt.cluster, rt.wave, rt.position, rt.reason, rt.need_shards, rt.need_bytes, `+registered+`, coalesce(rt.record ->> 'snapshot', '')
		from (
			select x.*, row_number() over (partition by x.cluster order by x.wave, x.position, x.tenant_id) as nth
			from rollout_tenants x left join rollout_waves w on w.rollout_id = x.rollout_id and w.number = x.wave
			where x.rollout_id = $1 and x.waiting and x.intent = '' and coalesce(w.state, 'open') <> 'pending'
		) rt
		left join tenants t on t.id = rt.tenant_id
		where rt.nth <= $2
		order by rt.wave, rt.position, rt.tenant_id`, v.Rollout.ID, upgrader.MostCandidates)
	if err != nil {
		return failure(err)
	}
	v.Candidates, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (upgrader.Candidate, error) {
		var c upgrader.Candidate
		err := row.Scan(&c.TenantID, &c.Cluster, &c.Wave, &c.Position, &c.Reason, &c.NeedShards, &c.NeedBytes, &c.Registered, &c.Snapshot)
		return c, err
	})
	return failure(err)
}

// addUnfit finds tenants that wait and are deleted or, where the strategy asks
// for it, not active.
func addUnfit(ctx context.Context, q querier, v *upgrader.View) error {
	s := v.Rollout.Options.Strategy
	rows, err := q.Query(ctx, `
		select x.id, x.state from (
			select rt.tenant_id as id, `+registered+` as state
			from rollout_tenants rt left join tenants t on t.id = rt.tenant_id
			where rt.rollout_id = $1 and rt.waiting and rt.working) x
		where x.state = 'deleted' or $2 and x.state <> 'active' order by x.id`, v.Rollout.ID, s != nil && s.Inactive == strategy.InactiveExcept)
	if err != nil {
		return failure(err)
	}
	v.Inactive = map[string]string{}
	var id, state string
	_, err = pgx.ForEachRow(rows, []any{&id, &state}, func() error {
		if state == "deleted" {
			v.Gone = append(v.Gone, id)
		} else {
			v.Inactive[id] = state
		}
		return nil
	})
	return failure(err)
}

// outsiders are tenants that have to be upgraded by a rollout of the whole
// fleet and are not part of it.
const outsiders = `
	from tenants t
	where t.deleted_at is null and (t.release = '' or exists (select from unnest($2::text[]) b where t.release = b or right(b, 2) = '.*' and starts_with(t.release, left(b, -1))))
		and not exists (select from rollout_tenants rt where rt.rollout_id = $1 and rt.tenant_id = t.id)
		and not exists (select from rollouts r where r.id = $1 and r.options ? 'clusters' and not r.options -> 'clusters' ? t.cluster)`

func addOutsiders(ctx context.Context, q querier, v *upgrader.View) error {
	if len(v.Rollout.Behind) == 0 {
		return nil
	}
	missing := make([]string, len(v.Rollout.Missing))
	for i, m := range v.Rollout.Missing {
		missing[i] = m.TenantID
	}
	if len(missing) > 0 {
		rows, err := q.Query(ctx, `select t.id`+outsiders+` and t.id = any($3) order by t.id`, v.Rollout.ID, v.Rollout.Behind, missing)
		if err != nil {
			return failure(err)
		}
		if v.StillMissing, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
			return failure(err)
		}
	}
	rows, err := q.Query(ctx, `
		select t.id, t.release, t.cluster, tenant_state(t, now()), t.adopted_from, t.labels`+outsiders+`
		order by t.id = any($4), t.id limit $3`, v.Rollout.ID, v.Rollout.Behind, upgrader.MostCandidates, missing)
	if err != nil {
		return failure(err)
	}
	v.Outsiders, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (upgrader.FleetTenant, error) {
		var t upgrader.FleetTenant
		err := row.Scan(&t.ID, &t.Release, &t.Cluster, &t.State, &t.AdoptedFrom, &t.Labels)
		return t, err
	})
	return failure(err)
}

// ClaimChecks implements upgrader.WaveStore.
func (r *Rollouts) ClaimChecks(ctx context.Context, rollout string, wave int, ttl time.Duration) (bool, error) {
	tag, err := r.db.pool.Exec(ctx, `
		update rollout_waves set probing_until = now() + $3
		where rollout_id = $1 and number = $2 and state = 'checking' and (probing_until is null or probing_until <= now())`, rollout, wave, ttl)
	return err == nil && tag.RowsAffected() == 1, failure(err)
}

// SaveChecks implements upgrader.WaveStore.
func (r *Rollouts) SaveChecks(ctx context.Context, rollout string, wave int, results []upgrader.CheckResult) error {
	for i := range results {
		results[i].Text = clean(results[i].Text)
	}
	raw, err := json.Marshal(results)
	if err != nil {
		return err
	}
	return r.db.inTx(ctx, func(tx pgx.Tx) error {
		// The rollout's row first, as everywhere, so that nothing deadlocks.
		_, err := tx.Exec(ctx, `update rollouts set revision = revision + 1 where id = $1`, rollout)
		if err == nil {
			_, err = tx.Exec(ctx, `
				update rollout_waves set checks = $3, probing_until = null where rollout_id = $1 and number = $2 and state = 'checking'`, rollout, wave, raw)
		}
		return err
	})
}

// WaveTenants implements upgrader.WaveStore.
func (r *Rollouts) WaveTenants(ctx context.Context, rollout string, wave int) ([]upgrader.FleetTenant, error) {
	rows, err := r.db.pool.Query(ctx, `
		select t.id, t.release, t.cluster, tenant_state(t, now()), t.adopted_from, t.labels
		from rollout_tenants rt join tenants t on t.id = rt.tenant_id
		where rt.rollout_id = $1 and rt.wave = $2 and rt.state in ('switched', 'done') and t.deleted_at is null
		order by t.id`, rollout, wave)
	if err != nil {
		return nil, failure(err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (upgrader.FleetTenant, error) {
		var t upgrader.FleetTenant
		err := row.Scan(&t.ID, &t.Release, &t.Cluster, &t.State, &t.AdoptedFrom, &t.Labels)
		return t, err
	})
	return out, failure(err)
}
