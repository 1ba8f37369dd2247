package adoption

import (
	"context"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
)

// Engine is what is read of a cluster: a part of upgrader.Engine, under its
// contract. Nothing here writes.
type Engine interface {
	Indices(ctx context.Context, patterns ...string) ([]upgrader.Index, error)
	Stats(ctx context.Context, patterns ...string) (map[string]upgrader.IndexStats, error)
	Aliases(ctx context.Context, patterns ...string) (map[string][]string, error)
	Templates(ctx context.Context, pattern string) ([]upgrader.Template, error)
}

// Registry lists and registers tenants. Create has the contract of
// *tenants.Service.
type Registry interface {
	// AllTenants returns every tenant, deleted and purged ones included.
	AllTenants(ctx context.Context) ([]*tenants.Tenant, error)
	Create(ctx context.Context, c tenants.Caller, r tenants.CreateRequest) (*tenants.Tenant, error)
}

// Rollouts tells which tenants are on their way to another release.
type Rollouts interface {
	// Fleet returns tenants with the rollout that works on them; no ids means
	// all of them.
	Fleet(ctx context.Context, ids []string) ([]upgrader.FleetTenant, error)
}

// Catalogue knows the releases, *releases.Catalogue.
type Catalogue interface {
	List() []*releases.Release
	Get(version string) (*releases.Release, error)
	ByPrefix(prefix string) (*releases.Release, error)
}

// Entry is what the registry says of a tenant.
type Entry struct {
	ID      string
	Release string // as registered: 0.8.1.2 is the structure 0.8.1
	Cluster string
	State   tenants.State
	Rollout string // that works on the tenant now, "" for none
}

// gone says whether the registry has given the tenant up.
func (e Entry) gone() bool {
	return e.State == tenants.StateDeleted || e.State == tenants.StatePurged
}
