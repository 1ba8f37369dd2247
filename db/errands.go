package db

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tracardi/tms/upgrader"
)

const errandColumns = `id, rollout_id, tenant_id, kind, state, args, report, reason, attempts, created_by, created_at, finished_at`

func scanErrand(row pgx.CollectableRow) (upgrader.Errand, error) {
	var e upgrader.Errand
	var args, report []byte
	var finished *time.Time
	err := row.Scan(&e.ID, &e.RolloutID, &e.TenantID, &e.Kind, &e.State, &args, &report, &e.Reason, &e.Attempts, &e.CreatedBy, &e.CreatedAt, &finished)
	if err != nil {
		return e, err
	}
	e.FinishedAt = timeOrZero(finished)
	if err := json.Unmarshal(args, &e.Args); err != nil {
		return e, err
	}
	return e, json.Unmarshal(report, &e.Report)
}

// oneErrand reads exactly one errand.
func oneErrand(ctx context.Context, q querier, what, where string, args ...any) (*upgrader.Errand, error) {
	rows, err := q.Query(ctx, `select `+errandColumns+` from errands where `+where, args...)
	if err != nil {
		return nil, failure(err)
	}
	e, err := pgx.CollectExactlyOneRow(rows, scanErrand)
	if err != nil {
		return nil, missing(err, what)
	}
	return &e, nil
}

// BeginErrands implements upgrader.Store.
func (r *Rollouts) BeginErrands(ctx context.Context, rollout, caller, name string, change func(*upgrader.Rollout) ([]upgrader.Errand, error)) ([]upgrader.Errand, error) {
	var errands []upgrader.Errand
	err := r.changeRollout(ctx, rollout, caller, name, func(ro *upgrader.Rollout) (err error) {
		errands, err = change(ro)
		return err
	}, func(tx pgx.Tx) error {
		for i := range errands {
			e := &errands[i]
			if e.ID == "" {
				running, err := oneErrand(ctx, tx, "running errand of tenant "+e.TenantID, `rollout_id = $1 and tenant_id = $2 and state = 'running'`, e.RolloutID, e.TenantID)
				if err != nil {
					return err
				}
				*e = *running
				continue
			}
			if err := insertErrand(ctx, tx, e); err != nil {
				return err
			}
		}
		return nil
	})
	return errands, err
}

func insertErrand(ctx context.Context, tx pgx.Tx, e *upgrader.Errand) error {
	args, err := json.Marshal(e.Args)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		insert into errands (id, rollout_id, tenant_id, kind, state, args, report, created_by, created_at)
		values ($1, $2, $3, $4, $5, $6, '{}', $7, $8)`,
		e.ID, e.RolloutID, e.TenantID, e.Kind, e.State, args, e.CreatedBy, e.CreatedAt)
	return err
}

// endErrand ends the running errand of a tenant whose intent is another now.
const endErrand = `
	update errands set state = 'cancelled', reason = $3, finished_at = now()
	where rollout_id = $1 and tenant_id = $2 and state = 'running'`

// Errand implements upgrader.Store.
func (r *Rollouts) Errand(ctx context.Context, id string) (*upgrader.Errand, error) {
	return oneErrand(ctx, r.db.pool, "errand "+id, `id = $1`, id)
}

// RunningErrand implements upgrader.Store.
func (r *Rollouts) RunningErrand(ctx context.Context, rollout, tenant string) (*upgrader.Errand, error) {
	return oneErrand(ctx, r.db.pool, "running errand of tenant "+tenant, `rollout_id = $1 and tenant_id = $2 and state = 'running'`, rollout, tenant)
}

// Errands implements upgrader.Store. Ids carry the time, so they sort.
func (r *Rollouts) Errands(ctx context.Context, rollout, tenant string, limit int) ([]upgrader.Errand, error) {
	rows, err := r.db.pool.Query(ctx, `
		select `+errandColumns+` from errands where rollout_id = $1 and tenant_id = $2 order by id desc limit $3`, rollout, tenant, limit)
	if err != nil {
		return nil, failure(err)
	}
	out, err := pgx.CollectRows(rows, scanErrand)
	return out, failure(err)
}

// SaveErrand implements upgrader.Store.
func (r *Rollouts) SaveErrand(ctx context.Context, l *upgrader.Lease, e *upgrader.Errand) error {
	return r.owned(ctx, l, func(tx pgx.Tx) error {
		n, err := saveErrand(ctx, tx, e)
		if err == nil && n == 0 {
			return missing(pgx.ErrNoRows, "running errand "+e.ID)
		}
		return err
	})
}

func saveErrand(ctx context.Context, tx pgx.Tx, e *upgrader.Errand) (int64, error) {
	report, err := json.Marshal(e.Report)
	if err != nil {
		return 0, err
	}
	tag, err := tx.Exec(ctx, `
		update errands set state = $2, report = $3, reason = $4, attempts = $5, finished_at = $6 where id = $1 and state = 'running'`,
		e.ID, e.State, report, clean(e.Reason), e.Attempts, orNull(e.FinishedAt))
	return tag.RowsAffected(), err
}

// FinishErrand implements upgrader.Store.
func (r *Rollouts) FinishErrand(ctx context.Context, l *upgrader.Lease, e *upgrader.Errand, t *upgrader.RolloutTenant) error {
	err := r.saveTenant(ctx, l, t, func(tx pgx.Tx) error {
		n, err := saveErrand(ctx, tx, e)
		if err == nil && n == 0 {
			return errOverruled
		}
		return err
	})
	if errors.Is(err, errOverruled) {
		return nil
	}
	return err
}

// errOverruled keeps the tenant as it is: somebody has ended the errand, and may
// have said what else is to be done.
var errOverruled = errors.New("the errand was ended meanwhile")
