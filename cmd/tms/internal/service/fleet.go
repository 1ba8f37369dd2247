package service

import (
	"context"

	"github.com/tracardi/tms/adoption"
	"github.com/tracardi/tms/clusters"
	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/tenants"
)

// registrar lists from the store, which has everything, and registers through
// the service, which checks it.
type registrar struct {
	*tenants.Service
	store *db.Registry
}

// AllTenants implements adoption.Registry.
func (r registrar) AllTenants(ctx context.Context) ([]*tenants.Tenant, error) {
	return r.store.AllTenants(ctx)
}

// fleetOf compares the registry with the clusters.
func fleetOf(pool engines, named *clusters.Service, service *tenants.Service, store *db.Registry, rollouts *db.Rollouts, catalogue *releases.Catalogue) *adoption.Fleet {
	return adoption.NewFleet(adoption.Config{Registry: registrar{service, store}, Rollouts: rollouts, Catalogue: catalogue}, looked{pool, named})
}

// looked are the clusters as adoption looks at them.
type looked struct {
	engines
	named *clusters.Service
}

// Names implements adoption.Clusters.
func (l looked) Names(ctx context.Context) ([]string, error) { return l.named.Names(ctx) }

// Engine implements adoption.Clusters.
func (l looked) Engine(ctx context.Context, cluster string) (adoption.Engine, error) {
	c, err := l.Client(ctx, cluster)
	if err != nil {
		return nil, err
	}
	return c, nil
}
