package db

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/report"
)

var _ report.Records = (*Rollouts)(nil)

// QuarantineSums implements report.Records.
func (r *Rollouts) QuarantineSums(ctx context.Context, rollout string) ([]report.QuarantineSum, error) {
	rows, err := r.db.pool.Query(ctx, `
		select tenant_id, kind, target, count(*), count(*) filter (where resolved_at is not null)
		from quarantine where rollout_id = $1
		group by tenant_id, kind, target order by tenant_id, kind, target`, rollout)
	if err != nil {
		return nil, failure(err)
	}
	sums, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (report.QuarantineSum, error) {
		var s report.QuarantineSum
		err := row.Scan(&s.TenantID, &s.Kind, &s.Target, &s.Documents, &s.Resolved)
		return s, err
	})
	return sums, failure(err)
}

// Commands implements report.Records.
func (r *Rollouts) Commands(ctx context.Context, rollout string) ([]report.CommandGiven, error) {
	rows, err := r.db.pool.Query(ctx, `select at, key_id, action, detail from audit where subject = $1 order by at, id`, "rollout/"+rollout)
	if err != nil {
		return nil, failure(err)
	}
	given, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (report.CommandGiven, error) {
		var c report.CommandGiven
		err := row.Scan(&c.At, &c.KeyID, &c.Action, &c.Detail)
		return c, err
	})
	return given, failure(err)
}

// RolloutErrands implements report.Records.
func (r *Rollouts) RolloutErrands(ctx context.Context, rollout string) ([]upgrader.Errand, error) {
	rows, err := r.db.pool.Query(ctx, `select `+errandColumns+` from errands where rollout_id = $1 order by id`, rollout)
	if err != nil {
		return nil, failure(err)
	}
	out, err := pgx.CollectRows(rows, scanErrand)
	return out, failure(err)
}
