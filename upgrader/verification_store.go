package upgrader

import (
	"context"

	"github.com/tracardi/tms/upgrader/verify"
)

// VerificationStore keeps what verification finds and what operators ask for
// afterwards. The contract of Store holds for it.
type VerificationStore interface {
	// LatestRollout returns the id of the newest rollout that the tenant is
	// part of and that moved its data, or ErrNotFound.
	LatestRollout(ctx context.Context, tenant string) (string, error)

	// SaveMismatches inserts or replaces by (rollout, tenant, target, id); past
	// MaxMismatches of a tenant the rest is left out.
	SaveMismatches(ctx context.Context, l *Lease, found ...Mismatch) error
	// DropMismatches forgets all of the lease's tenant.
	DropMismatches(ctx context.Context, l *Lease) error
	// Mismatches returns what a filter selects, without values.
	Mismatches(ctx context.Context, f MismatchFilter) ([]Mismatch, error)

	// Progress of comparing one target, at most one per side.
	Progress(ctx context.Context, rollout, tenant, target string) ([]verify.SideProgress, error)
	// SaveProgress replaces that of the same target and side.
	SaveProgress(ctx context.Context, l *Lease, p verify.SideProgress) error
	// DropProgress forgets both sides of a target.
	DropProgress(ctx context.Context, l *Lease, target string) error

	// BeginErrands is ChangeRollout for a change that asks for errands: those
	// with an id are stored, and those without are answered with the one that
	// runs.
	BeginErrands(ctx context.Context, rollout, caller, name string, change func(*Rollout) ([]Errand, error)) ([]Errand, error)
	// Errand returns one errand, ended or not.
	Errand(ctx context.Context, id string) (*Errand, error)
	// Errands returns the newest errands of a tenant of a rollout first.
	Errands(ctx context.Context, rollout, tenant string, limit int) ([]Errand, error)
	// RunningErrand returns the errand that the tenant's intent stands for.
	RunningErrand(ctx context.Context, rollout, tenant string) (*Errand, error)
	// SaveErrand stores report, reason and attempts of an errand that runs;
	// ErrNotFound when it does not run any more.
	SaveErrand(ctx context.Context, l *Lease, e *Errand) error
	// FinishErrand is SaveErrand with state and end, and SaveTenant, in one
	// transaction. An errand that was cancelled meanwhile stays so.
	FinishErrand(ctx context.Context, l *Lease, e *Errand, t *RolloutTenant) error

	// Resolve marks quarantined documents of an index as done, with the
	// outcome, and forgets what they held.
	Resolve(ctx context.Context, l *Lease, index, outcome string, ids ...string) error
	// DiscardQuarantine does the same for documents that an operator drops, in
	// one transaction with the audit trail; it returns how many. busy says of
	// which tenants nothing may be dropped now, as an error.
	DiscardQuarantine(ctx context.Context, d Discard, busy func(*Rollout) error) (int, error)
	// QuarantineSize counts the documents that a rollout keeps aside.
	QuarantineSize(ctx context.Context, rollout string) (int, error)
}

// Discard chooses quarantined documents to drop: those that all of its fields
// are true of.
type Discard struct {
	RolloutID string
	TenantID  string
	IDs       []string         // empty for all
	Kinds     []QuarantineKind // empty for all
	Caller    string
}
