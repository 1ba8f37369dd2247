package db

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tracardi/tms/cleanup"
	"github.com/tracardi/tms/tenants"
)

// Cleanups is the cleanup.Store.
type Cleanups struct {
	db *DB
	// wake puts a job into the queue, in the transaction of the change; nil
	// until a queue is there.
	wake func(ctx context.Context, tx pgx.Tx, id string) error
}

var _ cleanup.Store = (*Cleanups)(nil)

// NewCleanups returns the store of cleanups.
func NewCleanups(d *DB) *Cleanups { return &Cleanups{db: d} }

// Claims implements cleanup.Store.
func (c *Cleanups) Claims(ctx context.Context) ([]cleanup.Claim, error) {
	rows, err := c.db.pool.Query(ctx, `
		select rt.tenant_id, case when rt.working then $1 when rt.state = 'switched' then $2 else $3 end, rt.rollout_id, rt.from_release, r.to_release,
				case when ret.state = 'scheduled' then (ret.body ->> 'due_at')::timestamptz end
			from rollout_tenants rt join rollouts r on r.id = rt.rollout_id
				left join rollout_retentions ret on ret.rollout_id = rt.rollout_id
			where rt.working or rt.state = 'switched' and not rt.record ? 'minor' or rt.state = 'failed' and not exists (
				select from rollout_tenants later join rollouts lr on lr.id = later.rollout_id
				where later.tenant_id = rt.tenant_id and lr.created_at > r.created_at)
		union all
		select tenants[1], $4, id, '', '', null from backup_runs where in_place and working`,
		cleanup.ClaimWorking, cleanup.ClaimSwitched, cleanup.ClaimFailed, cleanup.ClaimRestore)
	if err != nil {
		return nil, failure(err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (cleanup.Claim, error) {
		var k cleanup.Claim
		var due *time.Time
		err := row.Scan(&k.Tenant, &k.Kind, &k.By, &k.From, &k.To, &due)
		k.Due = timeOrZero(due)
		return k, err
	})
	return found, failure(err)
}

// Begin implements cleanup.Store.
func (c *Cleanups) Begin(ctx context.Context, op *tenants.Operation, p *cleanup.Plan, a tenants.Audit) (*tenants.Operation, error) {
	plan, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("plan of operation %s: %w", op.ID, err)
	}
	begun := op
	err = c.db.inTx(ctx, func(tx pgx.Tx) error {
		// A rollout that starts meanwhile takes the lock in shared mode.
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtext('tms.cleanup'))`); err != nil {
			return err
		}
		running, err := operations(ctx, tx, `kind = $1 and state = 'running'`, cleanup.Kind)
		if err != nil {
			return err
		}
		if len(running) > 0 {
			begun = running[0]
			return c.sameDigest(ctx, tx, begun, p.Digest)
		}
		if err := notClaimed(ctx, tx, p); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			insert into operations (id, kind, tenant_id, version, plan, state, without_snapshot, created_by, created_at, updated_at, next_at)
			values ($1, $2, '', $3, $4, $5, $6, $7, $8, $8, now())`,
			op.ID, op.Kind, op.Version, plan, string(op.State), op.WithoutSnapshot, op.CreatedBy, op.CreatedAt)
		if err != nil {
			return err
		}
		if c.wake != nil {
			if err := c.wake(ctx, tx, op.ID); err != nil {
				return err
			}
		}
		return appendAudit(ctx, tx, a)
	})
	if err != nil {
		return nil, err
	}
	return begun, nil
}

func (c *Cleanups) sameDigest(ctx context.Context, tx pgx.Tx, running *tenants.Operation, digest string) error {
	var theirs string
	if err := tx.QueryRow(ctx, `select plan ->> 'digest' from operations where id = $1`, running.ID).Scan(&theirs); err != nil || theirs == digest {
		return err
	}
	return &tenants.Error{
		Code: tenants.CodeFailedPrecondition, Reason: tenants.ReasonWrongState, Field: "version",
		Message: fmt.Sprintf("operation %s removes version %s already", running.ID, running.Version), Remedy: "wait for it: `tms operation wait " + running.ID + "`",
		Metadata: map[string]string{"operation": running.ID},
	}
}

// notClaimed refuses what a rollout or a restore has begun to need since the
// plan was made.
func notClaimed(ctx context.Context, tx pgx.Tx, p *cleanup.Plan) error {
	for _, part := range p.Tenants {
		if err := notInRollout(ctx, tx, part.Tenant); err != nil {
			return err
		}
		if err := notRestoring(ctx, tx, part.Tenant); err != nil {
			return err
		}
	}
	return nil
}

// Plan implements cleanup.Store.
func (c *Cleanups) Plan(ctx context.Context, id string) (*cleanup.Plan, error) {
	var raw []byte
	err := c.db.pool.QueryRow(ctx, `select plan from operations where id = $1 and kind = $2`, id, cleanup.Kind).Scan(&raw)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, tenants.OperationNotFoundError(id)
	}
	if err != nil {
		return nil, failure(err)
	}
	var p cleanup.Plan
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, fmt.Errorf("plan of operation %s: %w", id, err)
	}
	return &p, nil
}

// Claim implements cleanup.Store.
func (c *Cleanups) Claim(ctx context.Context, id, owner string, lease time.Duration) (*tenants.Operation, error) {
	return claimOperation(ctx, c.db.pool, id, owner, lease)
}

// Release implements cleanup.Store. A claim that was lost meanwhile is left to
// its new owner.
func (c *Cleanups) Release(ctx context.Context, op *tenants.Operation, owner string, pause time.Duration, trail ...tenants.Audit) error {
	return c.db.inTx(ctx, func(tx pgx.Tx) error {
		if err := releaseOperation(ctx, tx, op, owner, pause); err != nil {
			return err
		}
		for _, a := range trail {
			if err := appendAudit(ctx, tx, a); err != nil {
				return err
			}
		}
		return nil
	})
}

type cleanupTurn struct{}

func (cleanupTurn) name() string { return "version_cleanup" }

// CleanupWork lets a Queue wake and do cleanups.
func CleanupWork(store *Cleanups, service *cleanup.Service) QueuePart {
	return turns[cleanupTurn]{
		due: func(ctx context.Context, _ *Queue) ([]string, error) {
			return dueOperations(ctx, store.db.pool, cleanup.Kind, workers)
		},
		work: service.Work, wake: &store.wake,
		limit: -1, // a turn has a limit of its own
	}.part()
}
