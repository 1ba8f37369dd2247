package cleanup

import (
	"context"
	"time"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
)

// Index is an index, open or closed, without its mapping.
type Index struct {
	Name    string
	UUID    string
	Aliases []string // sorted
	Shards  int      // primaries and replicas
	Docs    int64    // of the primaries; 0 for closed ones
	Bytes   int64    // of the primaries; 0 for closed ones
	Closed  bool
}

// Vitals are what a cluster-wide deletion must not ignore.
type Vitals struct {
	Nodes int
	Red   bool // some primary is missing
}

// Engine is what a cleanup needs of a search cluster. The contract of
// upgrader.Engine holds. The adapter lives in package elastic.
type Engine interface {
	// Standing lists the indices matching the patterns, open or closed, sorted
	// by name.
	Standing(ctx context.Context, patterns ...string) ([]Index, error)
	Vitals(ctx context.Context) (Vitals, error)
	Templates(ctx context.Context, pattern string) ([]upgrader.Template, error)
	DeleteIndices(ctx context.Context, names ...string) error
	DeleteTemplate(ctx context.Context, name string) error
	UpdateAliases(ctx context.Context, actions []upgrader.AliasAction) error
}

// Registry lists every tenant, deleted and purged ones included.
type Registry interface {
	AllTenants(ctx context.Context) ([]*tenants.Tenant, error)
}

// Catalogue knows the releases, *releases.Catalogue.
type Catalogue interface {
	List() []*releases.Release
	Get(version string) (*releases.Release, error)
	ByPrefix(prefix string) (*releases.Release, error)
}

// Snapshots knows what backups hold, *backups.Service.
type Snapshots interface {
	// Holds names the newest snapshot not older than since that holds all of
	// these indices of a tenant; "" when there is none, and then why.
	Holds(ctx context.Context, tenant string, indices []string, since time.Time) (name, why string, err error)
}

// Claim is something that needs indices of a tenant although no alias shows it.
type Claim struct {
	Tenant string
	// Kind is ClaimWorking, ClaimSwitched, ClaimFailed or ClaimRestore.
	Kind string
	By   string // id of the rollout or restore
	// From and To are the releases of a rollout.
	From, To string
	// Due is when the rollout deletes its old versions by itself; zero when it
	// does not.
	Due time.Time
}

// Kinds of claims.
const (
	ClaimWorking  = "rollout_active" // a rollout works on the tenant
	ClaimSwitched = "way_back"       // a rollout can still be rolled back
	ClaimFailed   = "rollout_failed" // a rollout can be tried again
	ClaimRestore  = "restore_active" // a snapshot is being restored in place
)

// Store keeps cleanups as operations. Every method is one transaction and safe
// for concurrent use.
type Store interface {
	// Claims lists what needs indices now.
	Claims(ctx context.Context) ([]Claim, error)
	// Begin stores the operation with its plan and wakes a worker. One cleanup
	// runs at a time: the running one is returned when it has the same digest,
	// and is tenants.ReasonWrongState otherwise.
	Begin(ctx context.Context, op *tenants.Operation, p *Plan, a tenants.Audit) (*tenants.Operation, error)
	// Plan returns the plan of an operation.
	Plan(ctx context.Context, id string) (*Plan, error)
	// Claim makes owner the only one who works on a running cleanup until the
	// lease ends; nil when it is not due, not running or taken.
	Claim(ctx context.Context, id, owner string, lease time.Duration) (*tenants.Operation, error)
	// Release ends owner's claim and stores state, result, reason and message;
	// a running operation is due again after pause.
	Release(ctx context.Context, op *tenants.Operation, owner string, pause time.Duration, a ...tenants.Audit) error
}
