package db

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/tracardi/tms/upgrader"
)

// fencedStates are those in which somebody's writes are refused, or may be: a
// tenant in one of them waits for no budget.
var fencedStates = []upgrader.TenantState{upgrader.TenantFenced, upgrader.TenantVerified, upgrader.TenantReturnFenced, upgrader.TenantReturnVerified}

// rehearsingIn counts the rehearsals that are played in the cluster of which the
// expression follows: each is a tenant in work.
const rehearsingIn = `(select count(*) from operations
	where kind = '` + kindRehearsal + `' and state = 'running' and lease_until > now() and request ->> 'cluster' = `

// admit says whether the budget of a cluster lets the tenant be worked on;
// ErrConflict: not now. The lock on the budget's row makes the count over all
// rollouts exact.
func admit(ctx context.Context, tx pgx.Tx, rollout, tenant, cluster string) error {
	var most, busy int
	var hold, fenced, planned bool
	limited := false
	batch := &pgx.Batch{}
	batch.Queue(`select tenants, hold from budgets where cluster = $1 for update`, cluster).QueryRow(func(row pgx.Row) error {
		err := row.Scan(&most, &hold)
		limited = err == nil
		return noRows(err)
	})
	batch.Queue(`
		select state = any($3), state = 'planned' and intent = '',
			(select count(*) from rollout_tenants where working and lease_until > now() and cluster = $4 and not (rollout_id = $1 and tenant_id = $2))
				+ `+rehearsingIn+`$4)
		from rollout_tenants where rollout_id = $1 and tenant_id = $2`, rollout, tenant, fencedStates, cluster).
		QueryRow(func(row pgx.Row) error { return noRows(row.Scan(&fenced, &planned, &busy)) })
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return err
	}
	if limited && !fenced && (busy >= most || hold && planned) {
		return upgrader.ErrConflict
	}
	return nil
}

// dueWithin narrows what is due (work) to what the budgets of the clusters have
// room for, so that nobody is woken in vain.
const dueWithin = `, room as (
		select b.cluster, b.hold, b.tenants - (select count(*) from rollout_tenants where working and lease_until > now() and cluster = b.cluster)
			- ` + rehearsingIn + `b.cluster) as free
		from budgets b
	)
	select rollout_id, tenant_id, epoch from (
		select w.*, r.free, w.state = any($2) as fenced, coalesce(r.hold, false) and w.state = 'planned' and w.intent = '' as held,
			row_number() over (partition by w.cluster order by w.next_at, w.docs_total desc, w.tenant_id) as place
		from work w left join room r on r.cluster = w.cluster
	) x
	where fenced or not held and (free is null or place <= free)
	order by next_at, docs_total desc, tenant_id
	limit $1`

// rehearsalHeld says why no rehearsal may begin in a cluster now, "" when it
// may. The lock on the budget's row makes the count exact.
func rehearsalHeld(ctx context.Context, tx pgx.Tx, id string) (why string, err error) {
	stop, err := scanStop(tx.QueryRow(ctx, stopInForce))
	switch {
	case err != nil:
		return "", err
	case stop != nil:
		return stop.Sentence(), nil
	}
	var cluster string
	var b upgrader.BudgetFacts
	err = tx.QueryRow(ctx, `
		select b.cluster, b.tenants, b.hold, coalesce(b.throttle ->> 'reason', '') from budgets b join operations o on o.request ->> 'cluster' = b.cluster
		where o.id = $1 for update of b`, id).Scan(&cluster, &b.Tenants, &b.Hold, &b.Reason)
	if err != nil {
		return "", noRows(err) // without a budget nothing is limited
	}
	var busy int
	err = tx.QueryRow(ctx, `
		select (select count(*) from rollout_tenants where working and lease_until > now() and cluster = $1) + `+rehearsingIn+`$1)`, cluster).Scan(&busy)
	return b.Held(busy), err
}
