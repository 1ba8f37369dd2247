package db

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tracardi/tms/backups"
	"github.com/tracardi/tms/tenants"
)

// Backups is the backups.Store.
type Backups struct {
	db *DB
	// wake puts a job into the queue, in the transaction of the change; nil
	// until a queue is there.
	wake func(ctx context.Context, tx pgx.Tx, id string) error
}

var _ backups.Store = (*Backups)(nil)

// NewBackups returns the store of repositories, snapshots and restores.
func NewBackups(d *DB) *Backups { return &Backups{db: d} }

func absent(err error, what string) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("%s: %w", what, backups.ErrNotFound)
	}
	return failure(err)
}

const repositoryColumns = `name, kind, settings, read_only, created_by, created_at, verified_at, problem, nodes, cluster`

func scanRepository(row pgx.CollectableRow) (backups.Repository, error) {
	var r backups.Repository
	var verified *time.Time
	err := row.Scan(&r.Name, &r.Kind, &r.Settings, &r.ReadOnly, &r.CreatedBy, &r.CreatedAt, &verified, &r.Problem, &r.Nodes, &r.Cluster)
	r.VerifiedAt = timeOrZero(verified)
	return r, err
}

// PutRepository implements backups.Store.
func (b *Backups) PutRepository(ctx context.Context, r backups.Repository, a tenants.Audit) error {
	if r.Settings == nil {
		r.Settings = map[string]string{}
	}
	if r.Nodes == nil {
		r.Nodes = []string{}
	}
	return b.db.inTx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			insert into backup_repositories (`+repositoryColumns+`) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, coalesce(nullif($10, ''), 'default'))
			on conflict (name) do update set kind = excluded.kind, settings = excluded.settings, read_only = excluded.read_only,
				verified_at = coalesce(excluded.verified_at, backup_repositories.verified_at), problem = excluded.problem, nodes = excluded.nodes`,
			r.Name, string(r.Kind), r.Settings, r.ReadOnly, r.CreatedBy, r.CreatedAt, timeOrNull(r.VerifiedAt), clean(r.Problem), r.Nodes, r.Cluster)
		if err != nil {
			return err
		}
		return appendAudit(ctx, tx, a)
	})
}

// Repository implements backups.Store.
func (b *Backups) Repository(ctx context.Context, name string) (*backups.Repository, error) {
	rows, err := b.db.pool.Query(ctx, `select `+repositoryColumns+` from backup_repositories where name = $1`, name)
	if err != nil {
		return nil, failure(err)
	}
	r, err := pgx.CollectExactlyOneRow(rows, scanRepository)
	if err != nil {
		return nil, absent(err, "repository "+name)
	}
	return &r, nil
}

// Repositories implements backups.Store.
func (b *Backups) Repositories(ctx context.Context) ([]backups.Repository, error) {
	rows, err := b.db.pool.Query(ctx, `select `+repositoryColumns+` from backup_repositories order by name`)
	if err != nil {
		return nil, failure(err)
	}
	out, err := pgx.CollectRows(rows, scanRepository)
	return out, failure(err)
}

// DeleteRepository implements backups.Store.
func (b *Backups) DeleteRepository(ctx context.Context, name string, a tenants.Audit) error {
	return b.db.inTx(ctx, func(tx pgx.Tx) error {
		var busy bool
		err := tx.QueryRow(ctx, `
			select exists (select from backup_runs where repository = r.name and working)
				or exists (select from backup_policies where repository = r.name)
			from backup_repositories r where name = $1 for update`, name).Scan(&busy)
		if err != nil {
			return absent(err, "repository "+name)
		}
		if busy {
			return backups.ErrConflict
		}
		if _, err := tx.Exec(ctx, `delete from backup_repositories where name = $1`, name); err != nil {
			return err
		}
		return appendAudit(ctx, tx, a)
	})
}

// Select implements backups.Store.
func (b *Backups) Select(ctx context.Context, s backups.Selection) ([]backups.Tenant, error) {
	labels := s.Labels
	if labels == nil {
		labels = map[string]string{}
	}
	rows, err := b.db.pool.Query(ctx, `
		select t.id, t.cluster, t.release, tenant_state(t, now()), t.labels, t.adopted_from,
			coalesce((select rollout_id from rollout_tenants w where w.tenant_id = t.id and w.working), '')
		from tenants t
		where purged_at is null
			and ($1::text[] is null or t.id = any($1))
			and t.labels @> $2
			and ($3 = '' or exists (select from rollout_tenants w where w.rollout_id = $3 and w.tenant_id = t.id))
		order by t.id`, s.Tenants, labels, s.Rollout)
	if err != nil {
		return nil, failure(err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t backups.Tenant, err error) {
		return t, row.Scan(&t.ID, &t.Cluster, &t.Release, &t.State, &t.Labels, &t.AdoptedFrom, &t.Rollout)
	})
	return out, failure(err)
}

// runBody is the part of a run that no query looks into.
type runBody struct {
	Progress  backups.Progress  `json:"progress"`
	Reason    string            `json:"reason,omitempty"`
	Notes     []string          `json:"notes,omitempty"`
	Snapshot  *backups.Snapshot `json:"snapshot,omitempty"`
	Restore   *backups.Restore  `json:"restore,omitempty"`
	StartedAt time.Time         `json:"started_at,omitzero"`
	Attempts  int               `json:"attempts,omitempty"`
}

func bodyOf(r *backups.Run) ([]byte, error) {
	raw, err := json.Marshal(runBody{r.Progress, clean(r.Reason), r.Notes, r.Snapshot, r.Restore, r.StartedAt, r.Attempts})
	if err != nil {
		return nil, fmt.Errorf("body of run %s: %w", r.ID, err)
	}
	return raw, nil
}

const runColumns = `id, kind, state, repository, tenants, body, created_by, created_at, finished_at, revision, next_at, policy`

func scanRun(row pgx.CollectableRow) (*backups.Run, error) {
	var r backups.Run
	var raw []byte
	var finished *time.Time
	err := row.Scan(&r.ID, &r.Kind, &r.State, &r.Repository, &r.Tenants, &raw, &r.CreatedBy, &r.CreatedAt, &finished, &r.Revision, &r.NextAt, &r.Policy)
	if err != nil {
		return nil, err
	}
	var body runBody
	if err := json.Unmarshal(raw, &body); err != nil {
		return nil, fmt.Errorf("body of run %s: %w", r.ID, err)
	}
	r.Progress, r.Reason, r.Notes, r.Snapshot, r.Restore = body.Progress, body.Reason, body.Notes, body.Snapshot, body.Restore
	r.StartedAt, r.Attempts, r.FinishedAt = body.StartedAt, body.Attempts, timeOrZero(finished)
	return &r, nil
}

func runs(ctx context.Context, q querier, where string, args ...any) ([]*backups.Run, error) {
	rows, err := q.Query(ctx, `select `+runColumns+` from backup_runs where `+where, args...)
	if err != nil {
		return nil, failure(err)
	}
	out, err := pgx.CollectRows(rows, scanRun)
	return out, failure(err)
}

// Run implements backups.Store.
func (b *Backups) Run(ctx context.Context, id string) (*backups.Run, error) {
	found, err := runs(ctx, b.db.pool, `id = $1`, id)
	if err == nil && len(found) == 0 {
		err = absent(pgx.ErrNoRows, "run "+id)
	}
	if err != nil {
		return nil, err
	}
	return found[0], nil
}

// Runs implements backups.Store. Ids begin with the kind and then the time, so
// that within a kind they sort by age.
func (b *Backups) Runs(ctx context.Context, f backups.Filter) ([]*backups.Run, error) {
	var states []string
	for _, s := range f.States {
		states = append(states, string(s))
	}
	return runs(ctx, b.db.pool, `
		($1 = '' or kind = $1) and ($2 = '' or repository = $2) and ($3 = '' or tenants @> array[$3::text collate "C"])
			and ($4::text[] is null or tenants <@ $4::text[] collate "C") and ($5::text[] is null or state = any($5))
			and ($8 = '' or policy = $8) and (not $9 or body @> '{"restore": {"drill": true}}')
			and ($6 = '' or (created_at, id) < (select created_at, id from backup_runs where id = $6))
		order by created_at desc, id desc limit $7`,
		string(f.Kind), f.Repository, f.Tenant, f.Visible, states, f.Before, f.Limit, f.Policy, f.Drills)
}

// CreateRun implements backups.Store.
func (b *Backups) CreateRun(ctx context.Context, r *backups.Run, requestID string, a tenants.Audit) (*backups.Run, error) {
	created := r
	err := b.db.inTx(ctx, func(tx pgx.Tx) error {
		if requestID != "" {
			if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock($1, hashtext($2))`, requestLock, requestID); err != nil {
				return err
			}
			found, err := runs(ctx, tx, `request_id = $1`, requestID)
			if err != nil {
				return err
			}
			if len(found) > 0 {
				created = found[0]
				return nil
			}
		}
		if inPlace(r) {
			if err := mayRestore(ctx, tx, r.Restore.Tenant); err != nil {
				return err
			}
		}
		if r.Kind == backups.RunRestore {
			if err := holdSnapshot(ctx, tx, r.Restore.Snapshot); err != nil {
				return err
			}
		}
		if err := insertRun(ctx, tx, r, requestID); err != nil {
			return err
		}
		if b.wake != nil {
			if err := b.wake(ctx, tx, r.ID); err != nil {
				return err
			}
		}
		return appendAudit(ctx, tx, a)
	})
	if violates(err, "backup_runs_restoring_key") {
		return nil, restoreRefused(r.Restore.Tenant, "restore_running", "is being restored already", "wait for its end, see `tms backup restore list`", err)
	}
	if violates(err, "backup_runs_repository_fkey") {
		return nil, absent(pgx.ErrNoRows, "repository "+r.Repository)
	}
	return created, err
}

// requestLock makes equal request ids wait for each other: "tms" in ASCII,
// and what it is for, in the first half of an advisory lock.
const requestLock = 0x746d73

func inPlace(r *backups.Run) bool {
	return r.Kind == backups.RunRestore && r.Restore.Beside == ""
}

// mayRestore locks the tenant's row against rollouts and purges that begin.
func mayRestore(ctx context.Context, tx pgx.Tx, tenant string) error {
	var purging bool
	err := tx.QueryRow(ctx, `select purge_started_at is not null from tenants where id = $1 for update`, tenant).Scan(&purging)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return restoreRefused(tenant, "tenant_unknown", "is not registered", "register it first with `tms tenant create`, or restore --beside", err)
	case err != nil:
		return err
	case purging:
		return restoreRefused(tenant, "tenant_purged", "is being purged, or was", "restore --beside", nil)
	}
	if err := notInRollout(ctx, tx, tenant); err != nil {
		return restoreRefused(tenant, "rollout_running", "is part of an unfinished rollout", "wait for its end, or cancel it for this tenant", err)
	}
	return nil
}

// holdSnapshot keeps retention from a snapshot until the restore that reads it
// stands.
func holdSnapshot(ctx context.Context, tx pgx.Tx, id string) error {
	var state string
	err := tx.QueryRow(ctx, `select state from backup_runs where id = $1 for share`, id).Scan(&state)
	if err != nil {
		return absent(err, "snapshot "+id)
	}
	if state != string(backups.StateSuccess) {
		return &backups.Error{
			Reason: backups.ReasonWrongState, Field: "snapshot", Message: fmt.Sprintf("%q is %s: only a successful snapshot is a backup", id, state),
			Remedy: "choose another one, see `tms backup list`",
		}
	}
	return nil
}

func restoreRefused(tenant, code, message, remedy string, err error) error {
	return &backups.Error{
		Reason: backups.ReasonRefused, Message: "the restore cannot start", Err: err,
		Refusals: []backups.Refusal{{Code: code, TenantID: tenant, Message: message, Remedy: remedy}},
	}
}

func insertRun(ctx context.Context, tx pgx.Tx, r *backups.Run, requestID string) error {
	body, err := bodyOf(r)
	if err != nil {
		return err
	}
	if r.Tenants == nil {
		r.Tenants = []string{}
	}
	_, err = tx.Exec(ctx, `
		insert into backup_runs (id, kind, state, working, repository, tenants, in_place, request_id, body, created_by, created_at, finished_at, next_at, policy)
		values ($1, $2, $3, $4, $5, $6, $7, nullif($8, ''), $9, $10, $11, $12, now(), $13)`,
		r.ID, string(r.Kind), string(r.State), !r.State.Ended(), r.Repository, r.Tenants, inPlace(r), requestID, body, r.CreatedBy, r.CreatedAt, timeOrNull(r.FinishedAt), r.Policy)
	r.Revision = 1
	return err
}

// ImportRun implements backups.Store.
func (b *Backups) ImportRun(ctx context.Context, r *backups.Run, manifests []backups.Manifest) (bool, error) {
	fresh := false
	err := b.db.inTx(ctx, func(tx pgx.Tx) error {
		found, err := runs(ctx, tx, `id = $1`, r.ID)
		if err != nil || len(found) > 0 {
			return err
		}
		fresh = true
		if err := insertRun(ctx, tx, r, ""); err != nil {
			return err
		}
		return putManifests(ctx, tx, r.ID, manifests)
	})
	return fresh && err == nil, err
}

// ChangeRun implements backups.Store.
func (b *Backups) ChangeRun(ctx context.Context, id string, a tenants.Audit, change func(*backups.Run) error) (*backups.Run, error) {
	var r *backups.Run
	err := b.db.inTx(ctx, func(tx pgx.Tx) error {
		found, err := runs(ctx, tx, `id = $1 for update`, id)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return absent(pgx.ErrNoRows, "run "+id)
		}
		r = found[0]
		if err := change(r); err != nil {
			return err
		}
		body, err := bodyOf(r)
		if err != nil {
			return err
		}
		err = tx.QueryRow(ctx, `
			update backup_runs set state = $2, working = $3, body = $4, finished_at = $5, revision = revision + 1, next_at = now()
			where id = $1 returning revision`,
			id, string(r.State), !r.State.Ended(), body, timeOrNull(r.FinishedAt)).Scan(&r.Revision)
		if err != nil {
			return err
		}
		if b.wake != nil && !r.State.Ended() {
			if err := b.wake(ctx, tx, id); err != nil {
				return err
			}
		}
		return appendAudit(ctx, tx, a)
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}
