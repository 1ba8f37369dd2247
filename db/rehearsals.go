package db

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
)

// kindRehearsal is the kind of operation that rehearses an upgrade.
const kindRehearsal = "upgrade.rehearsal"

// Rehearsals is the upgrader.RehearsalStore.
type Rehearsals struct {
	db *DB
	// wake puts a job into the queue, in the transaction of the change; nil
	// until a queue is there.
	wake func(ctx context.Context, tx pgx.Tx, id string) error
}

var _ upgrader.RehearsalStore = (*Rehearsals)(nil)

// NewRehearsals returns the store of rehearsals.
func NewRehearsals(d *DB) *Rehearsals { return &Rehearsals{db: d} }

// rehearsalRequest is what a rehearsal was asked for.
type rehearsalRequest struct {
	ToRelease string `json:"to_release"`
	Sample    int    `json:"sample"`
	Cluster   string `json:"cluster"`
}

const rehearsalColumns = `id, tenant_id, request, coalesce(report, '{}'), state, message, attempts, created_by, created_at, finished_at`

func scanRehearsal(row pgx.CollectableRow) (*upgrader.Rehearsal, error) {
	var r upgrader.Rehearsal
	var request, report []byte
	var finished *time.Time
	if err := row.Scan(&r.ID, &r.TenantID, &request, &report, &r.State, &r.Reason, &r.Attempts, &r.CreatedBy, &r.CreatedAt, &finished); err != nil {
		return nil, err
	}
	r.FinishedAt = timeOrZero(finished)
	var asked rehearsalRequest
	if err := errors.Join(json.Unmarshal(request, &asked), json.Unmarshal(report, &r.Report)); err != nil {
		return nil, fmt.Errorf("rehearsal %s: %w", r.ID, err)
	}
	r.ToRelease, r.Sample, r.Cluster = asked.ToRelease, asked.Sample, asked.Cluster
	return &r, nil
}

func rehearsals(ctx context.Context, q querier, where string, args ...any) ([]*upgrader.Rehearsal, error) {
	rows, err := q.Query(ctx, `select `+rehearsalColumns+` from operations where kind = '`+kindRehearsal+`' and `+where, args...)
	if err != nil {
		return nil, failure(err)
	}
	found, err := pgx.CollectRows(rows, scanRehearsal)
	return found, failure(err)
}

// rehearsalLock is the advisory lock under which a place for a rehearsal is
// given out: "tms" in ASCII, and what it is for.
const rehearsalLock = 0x746d7303

// BeginRehearsal implements upgrader.RehearsalStore.
func (s *Rehearsals) BeginRehearsal(ctx context.Context, r *upgrader.Rehearsal) (*upgrader.Rehearsal, error) {
	request, err := json.Marshal(rehearsalRequest{r.ToRelease, r.Sample, r.Cluster})
	if err != nil {
		return nil, err
	}
	report, err := json.Marshal(r.Report)
	if err != nil {
		return nil, err
	}
	begun := r
	err = s.db.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock($1)`, rehearsalLock); err != nil {
			return err
		}
		running, err := rehearsals(ctx, tx, `state = 'running'`)
		if err != nil {
			return err
		}
		for _, other := range running {
			if other.TenantID == r.TenantID {
				begun = other
				return nil
			}
		}
		var gone bool
		if err := tx.QueryRow(ctx, `select not exists (select from tenants where id = $1 and deleted_at is null)`, r.TenantID).Scan(&gone); err != nil {
			return err
		}
		if gone { // deleted since it was planned
			return missing(pgx.ErrNoRows, "tenant "+r.TenantID)
		}
		if len(running) >= upgrader.MaxRehearsals {
			return upgrader.ErrConflict
		}
		_, err = tx.Exec(ctx, `
			insert into operations (id, kind, tenant_id, version, request, report, state, created_by, created_at, updated_at, next_at)
			values ($1, $2, $3, $4, $5, $6, 'running', $7, $8, $8, now())`,
			r.ID, kindRehearsal, r.TenantID, r.ToRelease, request, report, r.CreatedBy, r.CreatedAt)
		if err != nil {
			return err
		}
		if s.wake != nil {
			if err := s.wake(ctx, tx, r.ID); err != nil {
				return err
			}
		}
		return appendAudit(ctx, tx, tenants.Audit{
			At: time.Now(), Caller: tenants.Caller{KeyID: r.CreatedBy}, Action: "tenant.rehearse", Subject: "tenant/" + r.TenantID,
			Detail: map[string]any{"operation": r.ID, "to_release": r.ToRelease, "sample": r.Sample},
		})
	})
	if err != nil {
		return nil, err
	}
	return begun, nil
}

// notRehearsed refuses a tenant whose upgrade is being rehearsed: there are
// copies of its documents under other names.
func notRehearsed(ctx context.Context, tx pgx.Tx, tenant string) error {
	if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock($1)`, rehearsalLock); err != nil {
		return err
	}
	running, err := rehearsals(ctx, tx, `tenant_id = $1 and state = 'running'`, tenant)
	if err != nil || len(running) == 0 {
		return err
	}
	return &tenants.Error{
		Code: tenants.CodeFailedPrecondition, Reason: tenants.ReasonWrongState, Field: "id",
		Message: fmt.Sprintf("the upgrade of tenant %q is being rehearsed", tenant), Remedy: "wait for its end, or `tms upgrade rehearsals --cancel " + running[0].ID + "`",
		Metadata: map[string]string{"operation": running[0].ID},
	}
}

// Rehearsal implements upgrader.RehearsalStore.
func (s *Rehearsals) Rehearsal(ctx context.Context, id string) (*upgrader.Rehearsal, error) {
	found, err := rehearsals(ctx, s.db.pool, `id = $1`, id)
	if err == nil && len(found) == 0 {
		err = missing(pgx.ErrNoRows, "rehearsal "+id)
	}
	if err != nil {
		return nil, err
	}
	return found[0], nil
}

// Rehearsals implements upgrader.RehearsalStore.
func (s *Rehearsals) Rehearsals(ctx context.Context, tenant, before string, limit int) ([]*upgrader.Rehearsal, error) {
	return rehearsals(ctx, s.db.pool, `
		($1 = '' or tenant_id = $1) and ($2 = '' or (created_at, id) < (select created_at, id from operations where id = $2))
		order by created_at desc, id desc limit $3`, tenant, before, limit)
}

// ClaimRehearsal implements upgrader.RehearsalStore.
func (s *Rehearsals) ClaimRehearsal(ctx context.Context, id, owner string, ttl time.Duration) (*upgrader.Rehearsal, error) {
	begun := false
	err := s.db.inTx(ctx, func(tx pgx.Tx) error {
		begun = false
		why, err := rehearsalHeld(ctx, tx, id)
		if err != nil {
			return err
		}
		if why != "" {
			_, err := tx.Exec(ctx, `
				update operations set message = $2, next_at = now() + $3::interval, updated_at = now()
				where id = $1 and kind = $4 and state = 'running' and next_at <= now() and (lease_until is null or lease_until <= now())`,
				id, clean(why), heldUpPause, kindRehearsal)
			return err
		}
		op, err := claimOperation(ctx, tx, id, owner, ttl)
		begun = op != nil
		return err
	})
	if err != nil || !begun {
		return nil, err
	}
	return s.Rehearsal(ctx, id)
}

// heldUpPause is how often a rehearsal is looked at that may not begin.
const heldUpPause = 2 * time.Second

// ExtendRehearsal implements upgrader.RehearsalStore.
func (s *Rehearsals) ExtendRehearsal(ctx context.Context, id, owner string, ttl time.Duration) error {
	tag, err := s.db.pool.Exec(ctx, `
		update operations set lease_until = now() + $3::interval where id = $1 and lease_owner = $2 and state = 'running'`, id, owner, ttl)
	return keptBy(tag.RowsAffected(), err)
}

func keptBy(rows int64, err error) error {
	if err == nil && rows == 0 {
		return upgrader.ErrLeaseLost
	}
	return failure(err)
}

// SaveRehearsal implements upgrader.RehearsalStore.
func (s *Rehearsals) SaveRehearsal(ctx context.Context, r *upgrader.Rehearsal, owner string) error {
	report, err := json.Marshal(r.Report)
	if err != nil {
		return err
	}
	tag, err := s.db.pool.Exec(ctx, `
		update operations set report = $3, message = $4, updated_at = now() where id = $1 and lease_owner = $2 and state = 'running'`, r.ID, owner, report, clean(r.Reason))
	return keptBy(tag.RowsAffected(), err)
}

// ReleaseRehearsal implements upgrader.RehearsalStore. A claim that was lost
// meanwhile is left to its new owner.
func (s *Rehearsals) ReleaseRehearsal(ctx context.Context, r *upgrader.Rehearsal, owner string, pause time.Duration) error {
	report, err := json.Marshal(r.Report)
	if err != nil {
		return err
	}
	_, err = s.db.pool.Exec(ctx, `
		update operations set state = $3, report = $4, message = $5, finished_at = $6, next_at = now() + $7::interval,
			updated_at = now(), lease_owner = '', lease_until = null
		where id = $1 and lease_owner = $2 and state = 'running'`,
		r.ID, owner, string(r.State), report, clean(r.Reason), timeOrNull(r.FinishedAt), pause)
	return failure(err)
}

// CancelRehearsal implements upgrader.RehearsalStore.
func (s *Rehearsals) CancelRehearsal(ctx context.Context, id, caller, reason string) error {
	return s.db.inTx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			update operations set state = 'failed', message = $2, finished_at = now(), updated_at = now(), lease_owner = '', lease_until = null
			where id = $1 and kind = $3 and state = 'running'`, id, clean(reason), kindRehearsal)
		if err != nil || tag.RowsAffected() == 0 {
			return err // ended meanwhile
		}
		return appendAudit(ctx, tx, tenants.Audit{
			At: time.Now(), Caller: tenants.Caller{KeyID: caller}, Action: "rehearsal.cancel", Subject: "operation/" + id,
		})
	})
}

// LiveAttempts implements upgrader.RehearsalStore.
func (s *Rehearsals) LiveAttempts(ctx context.Context, ids []string) (map[string]int, error) {
	rows, err := s.db.pool.Query(ctx, `
		select id, case when state = 'running' and lease_until > now() then attempts else 0 end
		from operations where kind = $1 and id = any($2)`, kindRehearsal, orEmpty(ids))
	if err != nil {
		return nil, failure(err)
	}
	live := map[string]int{}
	var id string
	var attempt int
	_, err = pgx.ForEachRow(rows, []any{&id, &attempt}, func() error { live[id] = attempt; return nil })
	return live, failure(err)
}

// WaitingRehearsals implements upgrader.RehearsalStore.
func (s *Rehearsals) WaitingRehearsals(ctx context.Context, rollout string) ([]upgrader.WaitingRehearsal, error) {
	rows, err := s.db.pool.Query(ctx, `
		select t.tenant_id, t.from_release, coalesce((
			select o.id from operations o
			where o.kind = $2 and o.tenant_id = t.tenant_id and o.request ->> 'to_release' = r.to_release
			order by o.created_at desc limit 1), '')
		from rollout_tenants t join rollouts r on r.id = t.rollout_id
		where r.id = $1 and t.waiting order by t.tenant_id`, rollout, kindRehearsal)
	if err != nil {
		return nil, failure(err)
	}
	var out []upgrader.WaitingRehearsal
	var ids []string
	var w upgrader.WaitingRehearsal
	var last string
	_, err = pgx.ForEachRow(rows, []any{&w.TenantID, &w.From, &last}, func() error {
		out, ids = append(out, w), append(ids, last)
		return nil
	})
	if err != nil {
		return nil, failure(err)
	}
	found, err := rehearsals(ctx, s.db.pool, `id = any($1)`, orEmpty(ids))
	if err != nil {
		return nil, err
	}
	byID := map[string]*upgrader.Rehearsal{}
	for _, r := range found {
		byID[r.ID] = r
	}
	for i := range out {
		out[i].Last = byID[ids[i]]
	}
	return out, nil
}

// RehearsalClusters implements upgrader.RehearsalStore.
func (s *Rehearsals) RehearsalClusters(ctx context.Context) ([]string, error) {
	rows, err := s.db.pool.Query(ctx, `
		select distinct request ->> 'cluster' from operations where kind = $1 and updated_at > now() - interval '30 days' order by 1`, kindRehearsal)
	if err != nil {
		return nil, failure(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return names, failure(err)
}

type rehearsalTurn struct{}

func (rehearsalTurn) name() string { return "upgrade_rehearsal" }

// sweepEvery is how often it is looked for what dead rehearsals have left, over
// all processes: a listing of indices under one prefix, nearly always empty.
const sweepEvery = 20 * time.Second

// sweepArgs asks for one such look.
type sweepArgs struct {
	Slot int64 `json:"slot"` // unix time in units of sweepEvery
}

// Kind implements river.JobArgs.
func (sweepArgs) Kind() string { return "rehearsal_sweep" }

// InsertOpts implements river.JobArgsWithInsertOpts: one look in each slot,
// whoever asks for it.
func (sweepArgs) InsertOpts() river.InsertOpts {
	opts := oncePerArgs()
	opts.UniqueOpts.ByState = append(opts.UniqueOpts.ByState, rivertype.JobStateCompleted)
	return opts
}

// sweepWorker sweeps.
type sweepWorker struct {
	river.WorkerDefaults[sweepArgs]
	rehearser *upgrader.Rehearser
	log       *slog.Logger
}

// Work implements river.Worker.
func (w *sweepWorker) Work(ctx context.Context, _ *river.Job[sweepArgs]) error {
	if _, err := w.rehearser.Sweep(ctx); err != nil && ctx.Err() == nil {
		w.log.Debug("cannot look for what rehearsals have left", "error", err)
	}
	return nil
}

// RehearsalWork lets a Queue wake and do rehearsals, and sweep up behind those
// that died.
func RehearsalWork(store *Rehearsals, rehearser *upgrader.Rehearser) QueuePart {
	asked := int64(0) // slot of the last look that this process has asked for
	p := turns[rehearsalTurn]{
		due: func(ctx context.Context, q *Queue) ([]string, error) {
			if now := time.Now().Unix() / int64(sweepEvery/time.Second); now != asked {
				if err := store.db.inTx(ctx, func(tx pgx.Tx) error { return q.wake(ctx, tx, sweepArgs{Slot: now}) }); err != nil {
					return nil, err
				}
				asked = now
			}
			return dueOperations(ctx, store.db.pool, kindRehearsal, workers)
		},
		work: rehearser.Work, wake: &store.wake,
		limit: -1, // of a large tenant it takes hours, and its claim is what counts
	}.part()
	turn := p.register
	p.register = func(ws *river.Workers, log *slog.Logger) error {
		return errors.Join(turn(ws, log), addWorker(ws, &sweepWorker{rehearser: rehearser, log: log}))
	}
	return p
}
