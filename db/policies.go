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

// policyBody is the part of a policy that no query looks into.
type policyBody struct {
	Schedule    string            `json:"schedule"`
	Zone        string            `json:"time_zone"`
	Selection   backups.Selection `json:"selection"`
	Digest      bool              `json:"digest,omitempty"`
	Drill       bool              `json:"drill,omitempty"`
	Retention   backups.Retention `json:"retention"`
	Paused      bool              `json:"paused,omitempty"`
	Edition     int64             `json:"edition"`
	LastSuccess *backups.Outcome  `json:"last_success,omitempty"`
	LastFailure *backups.Outcome  `json:"last_failure,omitempty"`
	LastDrill   *backups.Outcome  `json:"last_drill,omitempty"`
	LastSweep   *backups.Sweep    `json:"last_sweep,omitempty"`
}

func policyJSON(p *backups.Policy) ([]byte, error) {
	for _, o := range []*backups.Outcome{p.LastSuccess, p.LastFailure, p.LastDrill} {
		if o != nil {
			o.Reason = clean(o.Reason)
		}
	}
	raw, err := json.Marshal(policyBody{
		p.Schedule, p.Zone, p.Selection, p.Digest, p.Drill, p.Retention, p.Paused, p.Edition, p.LastSuccess, p.LastFailure, p.LastDrill, p.LastSweep,
	})
	if err != nil {
		return nil, fmt.Errorf("body of policy %s: %w", p.Name, err)
	}
	return raw, nil
}

func scanPolicy(row pgx.CollectableRow) (*backups.Policy, error) {
	var p backups.Policy
	var raw []byte
	var next *time.Time
	if err := row.Scan(&p.Name, &p.Repository, &raw, &next, &p.RetainAt, &p.CreatedBy, &p.CreatedAt, &p.Revision); err != nil {
		return nil, err
	}
	var b policyBody
	if err := json.Unmarshal(raw, &b); err != nil {
		return nil, fmt.Errorf("body of policy %s: %w", p.Name, err)
	}
	p.Schedule, p.Zone, p.Selection, p.Digest, p.Drill, p.Retention, p.Paused = b.Schedule, b.Zone, b.Selection, b.Digest, b.Drill, b.Retention, b.Paused
	p.Edition, p.LastSuccess, p.LastFailure, p.LastDrill, p.LastSweep = b.Edition, b.LastSuccess, b.LastFailure, b.LastDrill, b.LastSweep
	p.NextAt = timeOrZero(next)
	return &p, nil
}

func policies(ctx context.Context, q querier, where string, args ...any) ([]*backups.Policy, error) {
	rows, err := q.Query(ctx, `
		select name, repository, body, next_at, retain_at, created_by, created_at, revision from backup_policies where `+where, args...)
	if err != nil {
		return nil, failure(err)
	}
	out, err := pgx.CollectRows(rows, scanPolicy)
	return out, failure(err)
}

// CreatePolicy implements backups.PolicyStore.
func (b *Backups) CreatePolicy(ctx context.Context, p *backups.Policy, a tenants.Audit) error {
	body, err := policyJSON(p)
	if err != nil {
		return err
	}
	err = b.db.inTx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			insert into backup_policies (name, repository, body, next_at, retain_at, created_by, created_at) values ($1, $2, $3, $4, $5, $6, $7)`,
			p.Name, p.Repository, body, timeOrNull(p.NextAt), p.RetainAt, p.CreatedBy, p.CreatedAt)
		if err != nil {
			return err
		}
		return appendAudit(ctx, tx, a)
	})
	switch {
	case violates(err, "backup_policies_pkey"):
		return backups.ErrExists
	case violates(err, "backup_policies_repository_fkey"):
		return absent(pgx.ErrNoRows, "repository "+p.Repository)
	}
	return err
}

// Policy implements backups.PolicyStore.
func (b *Backups) Policy(ctx context.Context, name string) (*backups.Policy, error) {
	return onePolicy(ctx, b.db.pool, name, "")
}

func onePolicy(ctx context.Context, q querier, name, lock string) (*backups.Policy, error) {
	found, err := policies(ctx, q, `name = $1`+lock, name)
	if err == nil && len(found) == 0 {
		err = absent(pgx.ErrNoRows, "policy "+name)
	}
	if err != nil {
		return nil, err
	}
	return found[0], nil
}

// Policies implements backups.PolicyStore.
func (b *Backups) Policies(ctx context.Context) ([]*backups.Policy, error) {
	return policies(ctx, b.db.pool, `true order by name`)
}

// ChangePolicy implements backups.PolicyStore.
func (b *Backups) ChangePolicy(ctx context.Context, name string, a *tenants.Audit, change func(*backups.Policy) error) (*backups.Policy, error) {
	var p *backups.Policy
	err := b.db.inTx(ctx, func(tx pgx.Tx) (err error) {
		if p, err = changePolicy(ctx, tx, name, change); err != nil || a == nil {
			return err
		}
		return appendAudit(ctx, tx, *a)
	})
	if violates(err, "backup_policies_repository_fkey") {
		err = absent(pgx.ErrNoRows, "repository")
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

func changePolicy(ctx context.Context, tx pgx.Tx, name string, change func(*backups.Policy) error) (*backups.Policy, error) {
	p, err := onePolicy(ctx, tx, name, ` for update`)
	if err != nil {
		return nil, err
	}
	if err := change(p); err != nil {
		return nil, err
	}
	body, err := policyJSON(p)
	if err != nil {
		return nil, err
	}
	// A time read back is compared with this one: Postgres knows microseconds.
	p.NextAt, p.RetainAt = p.NextAt.Truncate(time.Microsecond), p.RetainAt.Truncate(time.Microsecond)
	err = tx.QueryRow(ctx, `
		update backup_policies set repository = $2, body = $3, next_at = $4, retain_at = $5, revision = revision + 1
		where name = $1 returning revision`,
		name, p.Repository, body, timeOrNull(p.NextAt), p.RetainAt).Scan(&p.Revision)
	return p, err
}

// DeletePolicy implements backups.PolicyStore.
func (b *Backups) DeletePolicy(ctx context.Context, name string, a tenants.Audit) error {
	return b.db.inTx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `delete from backup_policies where name = $1`, name)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return absent(pgx.ErrNoRows, "policy "+name)
		}
		if _, err := tx.Exec(ctx, `update backup_runs set policy = '' where policy = $1`, name); err != nil {
			return err
		}
		return appendAudit(ctx, tx, a)
	})
}

// DuePolicies implements backups.PolicyStore.
func (b *Backups) DuePolicies(ctx context.Context, limit int) ([]string, error) {
	rows, err := b.db.pool.Query(ctx, `
		select name from backup_policies p
		where next_at <= now()
			or next_at is not null and retain_at <= now()
			or exists (select from backup_runs r where r.policy = p.name and r.policy <> '' and r.settled_at is null and not r.working)
		order by name limit $1`, limit)
	if err != nil {
		return nil, failure(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return names, failure(err)
}

// Unsettled implements backups.PolicyStore.
func (b *Backups) Unsettled(ctx context.Context, policy string) ([]*backups.Run, error) {
	return runs(ctx, b.db.pool, `policy = $1 and policy <> '' and settled_at is null and not working order by finished_at, id`, policy)
}

// Settle implements backups.PolicyStore. The policy's row comes first, as in
// every transaction that locks both.
func (b *Backups) Settle(ctx context.Context, policy, run string, change func(*backups.Policy) error) error {
	return b.db.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := changePolicy(ctx, tx, policy, change); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `update backup_runs set settled_at = now() where id = $1 and policy = $2 and settled_at is null`, run, policy)
		if err == nil && tag.RowsAffected() == 0 {
			err = backups.ErrConflict
		}
		return err
	})
}

// LeastDrilled implements backups.PolicyStore.
func (b *Backups) LeastDrilled(ctx context.Context, snapshot string) (string, error) {
	var tenant string
	err := b.db.pool.QueryRow(ctx, `
		select m.tenant from backup_manifests m
		where m.snapshot = $1 and jsonb_array_length(m.body->'indices') > 0
		order by (select max(created_at) from backup_runs where kind = 'restore' and tenants @> array[m.tenant] and body @> '{"restore": {"drill": true}}') nulls first, m.tenant
		limit 1`, snapshot).Scan(&tenant)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return tenant, failure(err)
}

type policyTurn struct{}

func (policyTurn) name() string { return "backup_policy" }

// policyLimit bounds a turn: lists of snapshots are what takes long.
const policyLimit = 5 * time.Minute

// PolicyWork lets a Queue wake and do policies.
func PolicyWork(store *Backups, scheduler *backups.Scheduler) QueuePart {
	return turns[policyTurn]{
		due: func(ctx context.Context, _ *Queue) ([]string, error) { return store.DuePolicies(ctx, workers) },
		work: func(ctx context.Context, name string) error {
			if err := scheduler.Work(ctx, name); !errors.Is(err, backups.ErrNotFound) {
				return err
			}
			return nil // deleted meanwhile
		},
		limit: policyLimit,
	}.part()
}
