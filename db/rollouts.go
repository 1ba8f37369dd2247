package db

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
)

// Rollouts is the upgrader.Store.
type Rollouts struct {
	db *DB
	// wake queues work in the transaction that makes it due; nil when this
	// process has no queue.
	wake func(ctx context.Context, tx pgx.Tx, work []upgrader.Work) error
	// conduct queues a look at a rollout as a whole; nil as wake.
	conduct func(ctx context.Context, tx pgx.Tx, rollout string) error
}

var _ upgrader.Store = (*Rollouts)(nil)

// NewRollouts returns the store of rollouts.
func NewRollouts(d *DB) *Rollouts { return &Rollouts{db: d} }

// Fleet implements upgrader.Store.
func (r *Rollouts) Fleet(ctx context.Context, ids []string) ([]upgrader.FleetTenant, error) {
	rows, err := r.db.pool.Query(ctx, `
		select t.id, t.release, t.cluster, tenant_state(t, now()), coalesce(rt.rollout_id, ''), t.adopted_from, t.labels
		from tenants t
		left join rollout_tenants rt on rt.tenant_id = t.id and rt.working
		where t.deleted_at is null and (cardinality($1::text[]) = 0 or t.id = any($1))
		order by t.id`, orEmpty(ids))
	if err != nil {
		return nil, failure(err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (upgrader.FleetTenant, error) {
		var t upgrader.FleetTenant
		err := row.Scan(&t.ID, &t.Release, &t.Cluster, &t.State, &t.ActiveRollout, &t.AdoptedFrom, &t.Labels)
		if len(t.Labels) == 0 {
			t.Labels = nil
		}
		return t, err
	})
	return out, failure(err)
}

func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// worthAnalyzing is the number of tenants from which reading them all shows.
const worthAnalyzing = 500

// CreateRollout implements upgrader.Store.
func (r *Rollouts) CreateRollout(ctx context.Context, ro *upgrader.Rollout, moves map[string][]upgrader.PlannedMove, requestID string) error {
	err := r.db.inTx(ctx, func(tx pgx.Tx) error {
		options, err := json.Marshal(ro.Options)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			insert into rollouts (id, to_release, options, state, wish, reason, request_id, created_by, created_at, finished_at, behind)
			values ($1, $2, $3, $4, $5, $6, nullif($7, ''), $8, $9, $10, $11)`,
			ro.ID, ro.ToRelease, options, ro.State, ro.Wish, ro.Reason, requestID, ro.CreatedBy, ro.CreatedAt, orNull(ro.FinishedAt), orEmpty(ro.Behind))
		if err != nil {
			return err
		}
		if err := putWaves(ctx, tx, ro.ID, ro.Waves); err != nil {
			return err
		}
		var work []upgrader.Work
		for i := range ro.Tenants {
			t := &ro.Tenants[i]
			if err := insertTenant(ctx, tx, t); err != nil {
				return err
			}
			if err := putMoves(ctx, tx, ro.ID, t.TenantID, upgrader.BeginMoves(moves[t.TenantID])); err != nil {
				return err
			}
			if t.Working() && !t.Waiting {
				work = append(work, upgrader.Work{RolloutID: ro.ID, TenantID: t.TenantID})
			}
		}
		if len(ro.Tenants) >= worthAnalyzing {
			// Until Postgres knows how many there are it reads them all at every
			// turn, and by itself it counts a minute later.
			if _, err := tx.Exec(ctx, `analyze rollout_tenants`); err != nil {
				return err
			}
		}
		if err := errors.Join(insertClaims(ctx, tx, ro), insertRetention(ctx, tx, ro), r.wakeConductor(ctx, tx, ro.ID)); err != nil {
			return err
		}
		if err := appendAudit(ctx, tx, rolloutAudit(ro.ID, ro.CreatedBy, "start", map[string]any{"to_release": ro.ToRelease, "tenants": len(ro.Tenants)})); err != nil {
			return err
		}
		return r.queue(ctx, tx, work)
	})
	if violates(err, "rollout_tenants_working_key") {
		return tenantTaken(err)
	}
	return beingRestored(beingCleaned(err))
}

// beingCleaned names what the guard of cleanups has refused.
func beingCleaned(err error) error {
	if !violates(err, "rollout_tenants_cleaned") {
		return err
	}
	return &upgrader.ServiceError{
		Reason: upgrader.ReasonRefused, Message: "a version of a tenant is being removed",
		Remedy: "see `tms operation list`; wait for its end", Err: err,
	}
}

// beingRestored names what the guard of restores has refused.
func beingRestored(err error) error {
	if !violates(err, "rollout_tenants_restoring") {
		return err
	}
	return &upgrader.ServiceError{
		Reason: upgrader.ReasonRefused, Message: "a tenant is being restored from a snapshot",
		Remedy: "see `tms backup restore list`; wait for its end", Err: err,
	}
}

func tenantTaken(err error) error {
	return &upgrader.ServiceError{
		Reason: upgrader.ReasonRefused, Message: "a tenant is part of another rollout that has not ended",
		Remedy: "see `tms upgrade list`; wait for it, or cancel it", Err: err,
	}
}

func rolloutAudit(id, caller, action string, detail map[string]any) tenants.Audit {
	return tenants.Audit{At: time.Now(), Caller: tenants.Caller{KeyID: caller}, Action: "rollout." + action, Subject: "rollout/" + id, Detail: detail}
}

func (r *Rollouts) queue(ctx context.Context, tx pgx.Tx, work []upgrader.Work) error {
	if r.wake == nil || len(work) == 0 {
		return nil
	}
	return r.wake(ctx, tx, work)
}

func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func insertTenant(ctx context.Context, tx pgx.Tx, t *upgrader.RolloutTenant) error {
	methods, record, proof, err := tenantJSON(t)
	if err != nil {
		return err
	}
	templates, err := json.Marshal(t.OldTemplates)
	if err != nil {
		return err
	}
	if t.OldTemplates == nil {
		templates = []byte("[]")
	}
	_, err = tx.Exec(ctx, `
		insert into rollout_tenants (rollout_id, tenant_id, from_release, state, switch_allowed, reason, next_at,
			indices, by_method, docs_total, record, proof, old_templates, started_at, finished_at, cluster,
			wave, position, waiting, excepted, need_shards, need_bytes)
		values ($1, $2, $3, $4, $5, $6, now() + $7::interval, $8, $9, $10, $11, $12, $13, $14, $15,
			coalesce((select cluster from tenants where id = $2), 'default'), $16, $17, $18, $19, $20, $21)`,
		t.RolloutID, t.TenantID, t.FromRelease, t.State, t.SwitchAllowed, t.Reason, time.Until(t.NextAt),
		t.Indices, methods, t.DocsTotal, record, proof, templates, orNull(t.StartedAt), orNull(t.FinishedAt),
		t.Wave, t.Position, t.Waiting, t.Excepted, t.NeedShards, t.NeedBytes)
	return err
}

func tenantJSON(t *upgrader.RolloutTenant) (methods, record, proof []byte, err error) {
	if methods, err = json.Marshal(t.ByMethod); err != nil {
		return nil, nil, nil, err
	}
	if record, err = json.Marshal(t.Record); err != nil {
		return nil, nil, nil, err
	}
	if t.Proof != nil {
		proof, err = json.Marshal(t.Proof)
	}
	return methods, record, proof, err
}

const rolloutColumns = `id, to_release, options, state, wish, reason, created_by, created_at, finished_at, revision, behind, missing`

func scanRollout(row pgx.CollectableRow) (*upgrader.Rollout, error) {
	var ro upgrader.Rollout
	var options []byte
	var finished *time.Time
	err := row.Scan(&ro.ID, &ro.ToRelease, &options, &ro.State, &ro.Wish, &ro.Reason, &ro.CreatedBy, &ro.CreatedAt, &finished, &ro.Revision, &ro.Behind, &ro.Missing)
	if err != nil {
		return nil, err
	}
	ro.FinishedAt = timeOrZero(finished)
	return &ro, json.Unmarshal(options, &ro.Options)
}

const tenantInRolloutColumns = `rollout_id, tenant_id, from_release, state, intent, switch_allowed, commands, reason, retriable,
	attempts, extract(epoch from next_at - now())::float8, epoch, lease_owner, lease_until, indices, by_method, documents, docs_total, quarantined,
	fence_us, fence_tries, record, proof, started_at, finished_at, cluster, wave, position, waiting, excepted, need_shards, need_bytes`

func scanRolloutTenant(row pgx.CollectableRow) (upgrader.RolloutTenant, error) {
	var t upgrader.RolloutTenant
	var methods, record, proof []byte
	var fence int64
	var due float64 // seconds from now, by the database's clock
	var lease, started, finished *time.Time
	err := row.Scan(&t.RolloutID, &t.TenantID, &t.FromRelease, &t.State, &t.Intent, &t.SwitchAllowed, &t.Commands, &t.Reason, &t.Retriable,
		&t.Attempts, &due, &t.Epoch, &t.LeaseOwner, &lease, &t.Indices, &methods, &t.Documents, &t.DocsTotal, &t.Quarantined,
		&fence, &t.FenceTries, &record, &proof, &started, &finished, &t.Cluster, &t.Wave, &t.Position, &t.Waiting, &t.Excepted, &t.NeedShards, &t.NeedBytes)
	if err != nil {
		return t, err
	}
	t.Fence = time.Duration(fence) * time.Microsecond
	t.NextAt = time.Now().Add(time.Duration(due * float64(time.Second)))
	t.LeaseUntil, t.StartedAt, t.FinishedAt = timeOrZero(lease), timeOrZero(started), timeOrZero(finished)
	if err := json.Unmarshal(methods, &t.ByMethod); err != nil {
		return t, err
	}
	if err := json.Unmarshal(record, &t.Record); err != nil {
		return t, err
	}
	if len(proof) > 0 {
		err = json.Unmarshal(proof, &t.Proof)
	}
	return t, err
}

// Rollout implements upgrader.Store.
func (r *Rollouts) Rollout(ctx context.Context, id string) (*upgrader.Rollout, error) {
	return r.one(ctx, `id = $1`, id)
}

// RolloutByRequest implements upgrader.Store.
func (r *Rollouts) RolloutByRequest(ctx context.Context, requestID string) (*upgrader.Rollout, error) {
	return r.one(ctx, `request_id = $1`, requestID)
}

func (r *Rollouts) one(ctx context.Context, where, arg string) (*upgrader.Rollout, error) {
	rows, err := r.db.pool.Query(ctx, `select `+rolloutColumns+` from rollouts where `+where, arg)
	if err != nil {
		return nil, failure(err)
	}
	ro, err := pgx.CollectExactlyOneRow(rows, scanRollout)
	if err != nil {
		return nil, missing(err, "rollout "+arg)
	}
	return ro, r.addTenants(ctx, ro)
}

// missing turns "no rows" into ErrNotFound.
func missing(err error, what string) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("%s: %w", what, upgrader.ErrNotFound)
	}
	return failure(err)
}

func (r *Rollouts) addTenants(ctx context.Context, rollouts ...*upgrader.Rollout) error {
	byID := map[string]*upgrader.Rollout{}
	var ids []string
	for _, ro := range rollouts {
		byID[ro.ID] = ro
		ids = append(ids, ro.ID)
	}
	rows, err := r.db.pool.Query(ctx, `select `+tenantInRolloutColumns+` from rollout_tenants where rollout_id = any($1) order by rollout_id, tenant_id`, ids)
	if err != nil {
		return failure(err)
	}
	ts, err := pgx.CollectRows(rows, scanRolloutTenant)
	if err != nil {
		return failure(err)
	}
	for _, t := range ts {
		ro := byID[t.RolloutID]
		ro.Tenants = append(ro.Tenants, t)
	}
	return errors.Join(r.addClaims(ctx, byID), r.addRetentions(ctx, byID), addWaves(ctx, r.db.pool, rollouts...))
}

// Rollouts implements upgrader.Store. Ids carry the time, so they sort.
func (r *Rollouts) Rollouts(ctx context.Context, f upgrader.RolloutFilter) ([]*upgrader.Rollout, error) {
	rows, err := r.db.pool.Query(ctx, `
		select `+rolloutColumns+` from rollouts
		where ($1 = '' or id < $1)
			and (cardinality($3::text[]) = 0 or exists (select from rollout_tenants t where t.rollout_id = rollouts.id and t.cluster = any($3)))
		order by id desc limit $2`, f.Before, f.Limit, orEmpty(f.Clusters))
	if err != nil {
		return nil, failure(err)
	}
	out, err := pgx.CollectRows(rows, scanRollout)
	if err != nil {
		return nil, failure(err)
	}
	return out, r.addTenants(ctx, out...)
}

// OwnTargets implements upgrader.Store.
func (r *Rollouts) OwnTargets(ctx context.Context, tenant string) (map[string]bool, error) {
	rows, err := r.db.pool.Query(ctx, `select distinct target from rollout_moves where tenant_id = $1 and state <> 'planned'`, tenant)
	if err != nil {
		return nil, failure(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, failure(err)
	}
	out := make(map[string]bool, len(names))
	for _, n := range names {
		out[n] = true
	}
	return out, nil
}
