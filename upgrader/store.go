package upgrader

import (
	"context"
	"time"

	"github.com/tracardi/tms/upgrader/naming"
)

// Store keeps rollouts, their tenants, moves and quarantine. The adapter lives
// in package db.
//
// Contract: every method is one transaction; ErrNotFound when the row is not
// there. Methods that take a Lease change nothing and return ErrLeaseLost when
// the tenant's epoch is no longer the lease's: a worker that was paused and
// overtaken cannot write. RolloutTenant.NextAt and Release's next are moments
// of the caller's clock and are kept by the store's own: clocks that differ do
// no harm. Safe for concurrent use.
type Store interface {
	// Fleet returns registered tenants that are not deleted, sorted by id:
	// all, or those of ids that exist. The caller notices which are missing.
	Fleet(ctx context.Context, ids []string) ([]FleetTenant, error)

	// OwnTargets returns the names of indices that earlier rollouts of the
	// tenant have made as targets, whether they still exist or not.
	OwnTargets(ctx context.Context, tenant string) (map[string]bool, error)

	// CreateRollout stores a rollout, its tenants and their moves, and wakes
	// the workers. A tenant that is part of another unfinished rollout is a
	// *ServiceError with ReasonRefused.
	CreateRollout(ctx context.Context, r *Rollout, moves map[string][]PlannedMove, requestID string) error
	// Rollout returns a rollout with its tenants.
	Rollout(ctx context.Context, id string) (*Rollout, error)
	// RolloutByRequest is Rollout by the requestID that it was created with.
	RolloutByRequest(ctx context.Context, requestID string) (*Rollout, error)
	// Rollouts returns up to limit rollouts older than before ("": newest),
	// newest first.
	Rollouts(ctx context.Context, f RolloutFilter) ([]*Rollout, error)
	// ChangeRollout locks the rollout and its tenants, lets change alter
	// states, wishes, intents and options, stores, records it in the audit
	// trail under name and caller, and wakes the workers.
	ChangeRollout(ctx context.Context, id, caller, name string, change func(*Rollout) error) error

	// Due returns tenants that have something to do now and no living owner.
	Due(ctx context.Context, limit int) ([]Work, error)
	// Acquire takes the lease of a tenant that is due. ErrConflict: somebody
	// else has it, it is not due, or the rollout's MaxTenants are in flight in
	// the tenant's cluster; one whose writers are refused waits for no place.
	Acquire(ctx context.Context, rollout, tenant, owner string, ttl time.Duration) (*Lease, error)
	// Extend renews a lease.
	Extend(ctx context.Context, l *Lease, ttl time.Duration) error
	// Release gives the lease back; next says when to look again, unless the
	// operator has said something since the tenant was loaded with commands.
	// unanswered says that a change of the engine may yet be carried out: the
	// next lease is a takeover then.
	Release(ctx context.Context, l *Lease, next time.Time, commands int64, unanswered bool) error

	// Load returns the tenant with its rollout (without the other tenants). While
	// all rollouts are stopped the wish is WishStop.
	Load(ctx context.Context, rollout, tenant string) (*Rollout, *RolloutTenant, error)
	// KeepOldTemplates stores the old version's templates of the tenant.
	KeepOldTemplates(ctx context.Context, l *Lease, ts []Template) error
	// OldTemplates returns the templates that were kept.
	OldTemplates(ctx context.Context, rollout, tenant string) ([]Template, error)
	// SaveTenant stores state, reason, counters, record and proof, and
	// brings the rollout's state up to date. It never touches what the
	// operator wants, except that IntentDone clears an equal Intent.
	SaveTenant(ctx context.Context, l *Lease, t *RolloutTenant) error
	// TakeFence is SaveTenant, unless another tenant of the cluster is behind
	// its fence and has a living owner: then nothing is stored and it is ErrConflict. Two
	// fences at once would only make each other longer.
	TakeFence(ctx context.Context, l *Lease, t *RolloutTenant) error
	// Quiet says whether another tenant of the same cluster than this wants no
	// changes of the cluster's state: its record has a QuietAt, and a living owner.
	Quiet(ctx context.Context, tenant string) (bool, error)
	// MarkSwitched is SaveTenant plus the registry's release of the tenant,
	// in one transaction. It serves the switch and the rollback.
	MarkSwitched(ctx context.Context, l *Lease, t *RolloutTenant, release string) error
	// Moves returns those of a tenant, sorted by target.
	Moves(ctx context.Context, rollout, tenant string) ([]Move, error)
	// SaveMoves inserts or updates moves by target.
	SaveMoves(ctx context.Context, l *Lease, moves ...Move) error
	// AddQuarantine inserts or replaces by (rollout, tenant, index, id).
	AddQuarantine(ctx context.Context, l *Lease, docs ...Quarantined) error
	// DropQuarantine forgets documents of an index; ids that are not kept aside
	// do no harm.
	DropQuarantine(ctx context.Context, l *Lease, index string, ids ...string) error
	// Quarantine returns what a filter selects.
	Quarantine(ctx context.Context, f QuarantineFilter) ([]Quarantined, error)

	VerificationStore
	RoomStore
	RetentionStore
	WaveStore
}

// FleetTenant is what the upgrade needs to know of a registered tenant.
type FleetTenant struct {
	ID      string
	Release string
	Cluster string // where it lives
	State   string // "active", "suspended", ...
	Labels  map[string]string
	// ActiveRollout is the id of an unfinished rollout it is part of.
	ActiveRollout string
	AdoptedFrom   string // see Naming
}

// Work names a tenant of a rollout that a worker should look at.
type Work struct {
	RolloutID, TenantID string
	Epoch               int64 // when it was found to be due
}

// Lease is the right to work on one tenant of one rollout.
type Lease struct {
	RolloutID, TenantID string
	Cluster             string // where the tenant lives
	Owner               string
	Epoch               int64 // greater than that of any owner before
	// Takeover says that the owner before has not given its lease back, or not
	// without leaving calls behind that had no answer.
	Takeover bool
	// Until is the local time until which the lease is certainly ours.
	Until time.Time
}

// QuarantineFilter selects quarantined documents, ordered by tenant, index, id.
type QuarantineFilter struct {
	RolloutID string
	TenantID  string // "" for all
	// After are tenant, index and id of the last one seen; empty from the start.
	After [3]string
	Limit int // 0: no limit
	// WithoutSource leaves Source empty.
	WithoutSource bool
	// WithResolved lists documents too that are done.
	WithResolved bool
	IDs          []string // only these; empty for all
}

// Naming of a registered tenant.
func (t FleetTenant) Naming() naming.Tenant {
	return naming.Tenant{ID: t.ID, AdoptedFrom: t.AdoptedFrom}
}
