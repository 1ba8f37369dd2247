package db

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/estimate"
)

var _ upgrader.Paces = (*Rollouts)(nil)

// Samples implements upgrader.Paces: as many tenants, and of the same kind, as
// CopyRate looks at.
func (r *Rollouts) Samples(ctx context.Context, cluster, rollout string) ([]estimate.Sample, error) {
	found, err := r.upgraded(ctx, cluster, rollout)
	if err != nil || len(found) > 0 {
		return found, err
	}
	return r.rehearsed(ctx, cluster)
}

// upgraded are the samples that tenants make; own ones are of the rollout.
func (r *Rollouts) upgraded(ctx context.Context, cluster, rollout string) ([]estimate.Sample, error) {
	rows, err := r.db.pool.Query(ctx, `
		select rt.docs_total, extract(epoch from (rt.proof ->> 'taken_at')::timestamptz - rt.started_at)::float8, rt.rollout_id = $3
		from rollout_tenants rt join rollouts r on r.id = rt.rollout_id
		where rt.cluster = $2 and rt.state in ('switched', 'done', 'rolled_back') and rt.indices > 0
			and (rt.proof ->> 'taken_at')::timestamptz > rt.started_at
			and not coalesce((r.options ->> 'hold_switch')::boolean, false)
		order by rt.started_at desc limit $1`, ratedTenants, cluster, rollout)
	return samplesOf(rows, err)
}

// rehearsed are the samples that rehearsals make.
func (r *Rollouts) rehearsed(ctx context.Context, cluster string) ([]estimate.Sample, error) {
	rows, err := r.db.pool.Query(ctx, `
		select (report ->> 'total')::bigint, (report ->> 'estimate')::float8, false
		from operations where kind = $2 and state = 'succeeded' and request ->> 'cluster' = $3 and (report ->> 'estimate')::float8 > 0
		order by created_at desc limit $1`, ratedTenants, kindRehearsal, cluster)
	return samplesOf(rows, err)
}

func samplesOf(rows pgx.Rows, err error) ([]estimate.Sample, error) {
	if err != nil {
		return nil, failure(err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (estimate.Sample, error) {
		var s estimate.Sample
		var seconds float64
		err := row.Scan(&s.Docs, &seconds, &s.Own)
		s.Took = time.Duration(seconds * float64(time.Second))
		return s, err
	})
	return found, failure(err)
}

// Idle implements upgrader.Paces, by the database's clock. A comparison moves
// no document and is progress all the same.
func (r *Rollouts) Idle(ctx context.Context, rollout string) (map[string]time.Duration, error) {
	rows, err := r.db.pool.Query(ctx, `
		select t.tenant_id, extract(epoch from now() - greatest(t.progressed_at, t.started_at,
			(select max(p.saved_at) from comparison_progress p where p.rollout_id = t.rollout_id and p.tenant_id = t.tenant_id)))::float8
		from rollout_tenants t where t.rollout_id = $1 and t.working`, rollout)
	if err != nil {
		return nil, failure(err)
	}
	out := map[string]time.Duration{}
	var tenant string
	var seconds float64
	_, err = pgx.ForEachRow(rows, []any{&tenant, &seconds}, func() error {
		out[tenant] = time.Duration(max(0, seconds) * float64(time.Second))
		return nil
	})
	return out, failure(err)
}

// RunningMoves implements upgrader.Paces.
func (r *Rollouts) RunningMoves(ctx context.Context, rollout string) (map[string][]upgrader.Move, error) {
	rows, err := r.db.pool.Query(ctx, `
		select m.tenant_id, m.body from rollout_moves m join rollout_tenants t using (rollout_id, tenant_id)
		where m.rollout_id = $1 and t.state = 'copying'
			and jsonb_path_exists(m.body, '$.Copies[*] ? (@.state == "running" || @.state == "streaming")')
		order by m.tenant_id, m.target`, rollout)
	if err != nil {
		return nil, failure(err)
	}
	out := map[string][]upgrader.Move{}
	var tenant string
	var raw []byte
	_, err = pgx.ForEachRow(rows, []any{&tenant, &raw}, func() error {
		var m upgrader.Move
		if err := json.Unmarshal(raw, &m); err != nil {
			return err
		}
		out[tenant] = append(out[tenant], m)
		return nil
	})
	return out, failure(err)
}

// Unended implements upgrader.Paces.
func (r *Rollouts) Unended(ctx context.Context) ([]string, error) {
	rows, err := r.db.pool.Query(ctx, `select id from rollouts where finished_at is null order by id`)
	if err != nil {
		return nil, failure(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return ids, failure(err)
}
