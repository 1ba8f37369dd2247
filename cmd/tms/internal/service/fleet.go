package service

import (
	"context"

	"github.com/tracardi/tms/adoption"
	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/elastic"
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

// fleetOf compares the registry with the cluster.
func fleetOf(engine *elastic.Client, service *tenants.Service, store *db.Registry, rollouts *db.Rollouts, catalogue *releases.Catalogue) *adoption.Service {
	return adoption.NewService(adoption.Config{
		Engine: engine, Registry: registrar{service, store}, Rollouts: rollouts, Catalogue: catalogue,
	})
}
