package backups

import (
	"context"
	"time"

	"github.com/tracardi/tms/tenants"
)

// PolicyStore keeps policies. Its contract is that of Store; whoever calls
// needs no lease, because every method settles in one transaction what two
// processes might do at the same time.
type PolicyStore interface {
	// CreatePolicy stores a policy; ErrExists when the name is taken,
	// ErrNotFound when the repository is not registered.
	CreatePolicy(ctx context.Context, p *Policy, a tenants.Audit) error
	Policy(ctx context.Context, name string) (*Policy, error)
	// Policies lists them, sorted by name.
	Policies(ctx context.Context) ([]*Policy, error)
	// ChangePolicy locks a policy, lets change alter it and stores it. An
	// error of change is returned and nothing stored. a is nil for what no
	// operator has said.
	ChangePolicy(ctx context.Context, name string, a *tenants.Audit, change func(*Policy) error) (*Policy, error)
	// DeletePolicy forgets a policy; its runs are of no policy any more.
	DeletePolicy(ctx context.Context, name string, a tenants.Audit) error

	// DuePolicies returns policies that have something to do now.
	DuePolicies(ctx context.Context, limit int) ([]string, error)
	// Unsettled returns the ended runs of a policy of which it has not taken
	// note, oldest first.
	Unsettled(ctx context.Context, policy string) ([]*Run, error)
	// Settle is ChangePolicy and the note on the run in one; ErrConflict when
	// the run was settled before.
	Settle(ctx context.Context, policy, run string, change func(*Policy) error) error
	// LeastDrilled is the tenant whose last drill is longest ago, of those that
	// have indices in a snapshot; "" when none has.
	LeastDrilled(ctx context.Context, snapshot string) (string, error)

	// Ended returns the snapshots of all repositories whose runs have ended
	// and were not deleted.
	Ended(ctx context.Context) ([]*Run, error)
	// Retain locks all of these snapshots, hands what decides to decide, and
	// has what it returns deleted, in one transaction: nobody deletes or
	// restores one meanwhile. stands are the ids of those that the engine has,
	// complete. Deletions are left to workers.
	Retain(ctx context.Context, policy string, stands map[string]bool, decide func(Holdings) []Removal, audit func(Removal) tenants.Audit) error
}

// NativePolicies tells what snapshots an engine takes by itself.
type NativePolicies interface {
	// NativePolicies lists them, sorted by name; none where the engine has no
	// such feature.
	NativePolicies(ctx context.Context) ([]NativePolicy, error)
}

// retainEvery is how often snapshots are looked through when no run ends.
const retainEvery = time.Hour

// retainAgain is the pause after a look that failed.
const retainAgain = time.Minute
