package db

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tracardi/tms/tenants"
)

// Purges is the tenants.PurgeStore.
type Purges struct {
	registry *Registry
	// wake puts a job into the queue, in the transaction of the change; nil
	// until a queue is there.
	wake func(ctx context.Context, tx pgx.Tx, id string) error
}

var _ tenants.PurgeStore = (*Purges)(nil)

// NewPurges returns the store of purges of the registry's tenants.
func NewPurges(r *Registry) *Purges { return &Purges{registry: r} }

const operationColumns = `id, kind, tenant_id, version, state, without_snapshot, snapshot, result, reason, message,
	created_by, created_at, updated_at, finished_at, attempts`

func scanOperation(row pgx.CollectableRow) (*tenants.Operation, error) {
	var o tenants.Operation
	var result []byte
	var finished *time.Time
	err := row.Scan(&o.ID, &o.Kind, &o.TenantID, &o.Version, &o.State, &o.WithoutSnapshot, &o.Snapshot, &result, &o.Reason, &o.Message,
		&o.CreatedBy, &o.CreatedAt, &o.UpdatedAt, &finished, &o.Attempts)
	if err != nil {
		return nil, err
	}
	o.FinishedAt = timeOrZero(finished)
	if err := json.Unmarshal(result, &o.Result); err != nil {
		return nil, fmt.Errorf("result of operation %s: %w", o.ID, err)
	}
	return &o, nil
}

func operations(ctx context.Context, q querier, where string, args ...any) ([]*tenants.Operation, error) {
	rows, err := q.Query(ctx, `select `+operationColumns+` from operations where `+where, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanOperation)
}

// Operation implements tenants.PurgeStore.
func (p *Purges) Operation(ctx context.Context, id string) (*tenants.Operation, error) {
	found, err := operations(ctx, p.registry.db.pool, `id = $1`, id)
	if err != nil {
		return nil, failure(err)
	}
	if len(found) == 0 {
		return nil, tenants.OperationNotFoundError(id)
	}
	return found[0], nil
}

// Operations implements tenants.PurgeStore.
func (p *Purges) Operations(ctx context.Context, f tenants.OperationFilter) ([]*tenants.Operation, error) {
	found, err := operations(ctx, p.registry.db.pool, `
		($1 = '' or state = $1) and ($2::text[] is null or tenant_id = any($2))
			and ($3::timestamptz is null or (created_at, id) < ($3, $4))
		order by created_at desc, id desc limit $5`,
		string(f.State), f.Tenants, timeOrNull(f.Before), f.BeforeID, f.Limit)
	return found, failure(err)
}

// BeginPurge implements tenants.PurgeStore.
func (p *Purges) BeginPurge(ctx context.Context, op *tenants.Operation, dry bool, a tenants.Audit, change func(*tenants.Tenant) error) (*tenants.Operation, error) {
	r := p.registry
	begun := op
	err := r.db.inTx(ctx, func(tx pgx.Tx) error {
		t, err := r.tenant(ctx, tx, op.TenantID, "for update")
		if err != nil {
			return err
		}
		running, err := operations(ctx, tx, `kind = $1 and tenant_id = $2 and state = 'running'`, op.Kind, op.TenantID)
		if err != nil {
			return err
		}
		if len(running) > 0 {
			begun = running[0]
			return nil
		}
		was := t.Clone()
		if err := change(t); err != nil {
			return err
		}
		if err := notInRollout(ctx, tx, t.ID); err != nil {
			return err
		}
		if err := notRehearsed(ctx, tx, t.ID); err != nil {
			return err
		}
		if err := notRestoring(ctx, tx, t.ID); err != nil || dry {
			return err
		}
		if err := r.updateTenant(ctx, tx, was, t); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			insert into operations (id, kind, tenant_id, state, without_snapshot, snapshot, created_by, created_at, updated_at, next_at)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $8, now())`,
			op.ID, op.Kind, op.TenantID, string(op.State), op.WithoutSnapshot, op.Snapshot, op.CreatedBy, op.CreatedAt)
		if err != nil {
			return err
		}
		if p.wake != nil {
			if err := p.wake(ctx, tx, op.ID); err != nil {
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

// PostponePurge implements tenants.PurgeStore.
func (p *Purges) PostponePurge(ctx context.Context, id string, a tenants.Audit, change func(*tenants.Tenant) error) (*tenants.Tenant, error) {
	return p.registry.ChangeTenant(ctx, id, false, a, change)
}

// dueTenants lists deleted tenants whose purge time has come and which nobody
// purges.
func (p *Purges) dueTenants(ctx context.Context, limit int) ([]string, error) {
	rows, err := p.registry.db.pool.Query(ctx, `
		select id from tenants t
		where purge_at <= now() and purged_at is null and (purge_retry_at is null or purge_retry_at <= now())
			and not exists (select from operations where kind = $1 and tenant_id = t.id and state = 'running')
		order by purge_at limit $2`, tenants.KindPurge, limit)
	if err != nil {
		return nil, failure(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return ids, failure(err)
}

// notInRollout refuses a tenant that a rollout is working on.
func notInRollout(ctx context.Context, tx pgx.Tx, tenant string) error {
	var rollout string
	err := tx.QueryRow(ctx, `select rollout_id from rollout_tenants where tenant_id = $1 and working`, tenant).Scan(&rollout)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return &tenants.Error{
		Code: tenants.CodeFailedPrecondition, Reason: tenants.ReasonRolloutRunning, Field: "id",
		Message: fmt.Sprintf("tenant %q is part of the running rollout %s", tenant, rollout), Remedy: "cancel it for this tenant, or wait for its end",
		Metadata: map[string]string{"rollout": rollout},
	}
}

// notRestoring refuses a tenant that is being restored in place. Who begins a
// restore holds the tenant's row, as the caller does.
func notRestoring(ctx context.Context, tx pgx.Tx, tenant string) error {
	var restore string
	err := tx.QueryRow(ctx, `select id from backup_runs where in_place and working and tenants[1] = $1`, tenant).Scan(&restore)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return &tenants.Error{
		Code: tenants.CodeFailedPrecondition, Reason: tenants.ReasonWrongState, Field: "id",
		Message: fmt.Sprintf("tenant %q is being restored by %s", tenant, restore), Remedy: "wait for its end",
		Metadata: map[string]string{"restore": restore},
	}
}

// dueOperations lists operations of a kind that wait for a worker.
func dueOperations(ctx context.Context, q querier, kind string, limit int) ([]string, error) {
	rows, err := q.Query(ctx, `
		select id from operations
		where kind = $1 and state = 'running' and next_at <= now() and (lease_until is null or lease_until <= now())
		order by next_at limit $2`, kind, limit)
	if err != nil {
		return nil, failure(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return ids, failure(err)
}

// ClaimPurge implements tenants.PurgeStore.
func (p *Purges) ClaimPurge(ctx context.Context, id, owner string, lease time.Duration) (*tenants.Operation, error) {
	return claimOperation(ctx, p.registry.db.pool, id, owner, lease)
}

func claimOperation(ctx context.Context, q querier, id, owner string, lease time.Duration) (*tenants.Operation, error) {
	rows, err := q.Query(ctx, `
		update operations set lease_owner = $2, lease_until = now() + $3::interval, attempts = attempts + 1, updated_at = now()
		where id = $1 and state = 'running' and next_at <= now() and (lease_until is null or lease_until <= now())
		returning `+operationColumns, id, owner, lease)
	if err != nil {
		return nil, failure(err)
	}
	claimed, err := pgx.CollectRows(rows, scanOperation)
	if err != nil || len(claimed) == 0 {
		return nil, failure(err)
	}
	return claimed[0], nil
}

// ReleasePurge implements tenants.PurgeStore. A claim that was lost meanwhile
// is left to its new owner.
func (p *Purges) ReleasePurge(ctx context.Context, op *tenants.Operation, owner string, pause time.Duration) error {
	return failure(releaseOperation(ctx, p.registry.db.pool, op, owner, pause))
}

// executor is a pool or a transaction.
type executor interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

func releaseOperation(ctx context.Context, e executor, op *tenants.Operation, owner string, pause time.Duration) error {
	result, err := json.Marshal(op.Result)
	if err != nil {
		return fmt.Errorf("result of operation %s: %w", op.ID, err)
	}
	_, err = e.Exec(ctx, `
		update operations set state = $3, result = $4, reason = $5, message = $6, finished_at = $7,
			next_at = now() + $8::interval, updated_at = now(), lease_owner = '', lease_until = null
		where id = $1 and lease_owner = $2 and state = 'running'`,
		op.ID, owner, string(op.State), result, string(op.Reason), clean(op.Message), timeOrNull(op.FinishedAt), pause)
	return err
}

// Tenant implements tenants.PurgeStore.
func (p *Purges) Tenant(ctx context.Context, id string) (*tenants.Tenant, error) {
	return p.registry.Tenant(ctx, id)
}

// ErasePurged implements tenants.PurgeStore.
func (p *Purges) ErasePurged(ctx context.Context, tenant string) (documents, keys int, err error) {
	err = p.registry.db.inTx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `delete from quarantine where tenant_id = $1`, tenant)
		if err != nil {
			return err
		}
		documents = int(tag.RowsAffected())
		for _, table := range []string{"mismatches", "errands", "comparison_progress"} { // they name documents
			if _, err := tx.Exec(ctx, `delete from `+table+` where tenant_id = $1`, tenant); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, `update operations set report = null where tenant_id = $1 and report is not null`, tenant); err != nil {
			return err // it names documents too
		}
		if _, err := tx.Exec(ctx, `
			update api_keys set successor_id = null
			where successor_id in (select id from api_keys where tenants = array[$1::text collate "C"])`, tenant); err != nil {
			return err
		}
		if tag, err = tx.Exec(ctx, `delete from api_keys where tenants = array[$1::text collate "C"]`, tenant); err != nil {
			return err
		}
		keys = int(tag.RowsAffected())
		_, err = tx.Exec(ctx, `update api_keys set tenants = array_remove(tenants, $1::text collate "C") where $1 = any(tenants)`, tenant)
		return err
	})
	return documents, keys, err
}

// FinishPurge implements tenants.PurgeStore.
func (p *Purges) FinishPurge(ctx context.Context, op *tenants.Operation, owner string, a tenants.Audit, change func(*tenants.Tenant) error) (*tenants.Tenant, error) {
	result, err := json.Marshal(op.Result)
	if err != nil {
		return nil, fmt.Errorf("result of operation %s: %w", op.ID, err)
	}
	r := p.registry
	var buried *tenants.Tenant
	err = r.db.inTx(ctx, func(tx pgx.Tx) error {
		t, err := r.tenant(ctx, tx, op.TenantID, "for update")
		if err != nil {
			return err
		}
		if err := nothingRemains(ctx, tx, t.ID); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `
			update operations set state = $3, result = $4, reason = '', message = '', finished_at = $5, updated_at = $5,
				lease_owner = '', lease_until = null
			where id = $1 and lease_owner = $2 and state = 'running'`,
			op.ID, owner, string(op.State), result, op.FinishedAt)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return &tenants.Error{Code: tenants.CodeConflict, Reason: tenants.ReasonPurgeIncomplete, Message: "another worker took over", Remedy: "it goes on there"}
		}
		was := t.Clone()
		if err := change(t); err != nil {
			return err
		}
		// A repetition of the call that created the tenant must not find it.
		if _, err := tx.Exec(ctx, `delete from tenant_requests where tenant_id = $1`, t.ID); err != nil {
			return err
		}
		if err := r.updateTenant(ctx, tx, was, t); err != nil {
			return err
		}
		if buried, err = r.tenant(ctx, tx, t.ID, ""); err != nil {
			return err
		}
		return appendAudit(ctx, tx, a)
	})
	return buried, err
}

// nothingRemains proves that the database holds nothing that was the tenant's.
func nothingRemains(ctx context.Context, tx pgx.Tx, tenant string) error {
	if err := notInRollout(ctx, tx, tenant); err != nil {
		return err
	}
	var documents, keys int
	err := tx.QueryRow(ctx, `
		select (select count(*) from quarantine where tenant_id = $1) + (select count(*) from mismatches where tenant_id = $1),
			(select count(*) from api_keys where $1 = any(tenants))`, tenant).Scan(&documents, &keys)
	if err != nil || documents == 0 && keys == 0 {
		return err
	}
	return &tenants.Error{
		Code: tenants.CodeFailedPrecondition, Reason: tenants.ReasonPurgeIncomplete,
		Message: fmt.Sprintf("tenant %q still has %d quarantined documents and %d keys", tenant, documents, keys), Remedy: "it is tried again",
	}
}
