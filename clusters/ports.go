package clusters

import (
	"context"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/capacity"
)

// Engine is what is asked of a cluster: a part of upgrader.Engine, under its
// contract. Nothing here writes.
type Engine interface {
	Info(ctx context.Context) (upgrader.EngineInfo, error)
	Shards(ctx context.Context) (capacity.Shards, error)
	Stats(ctx context.Context, patterns ...string) (map[string]upgrader.IndexStats, error)
	upgrader.Disks
}

// Engines reaches clusters.
type Engines interface {
	// Reach finds the engine of a registered cluster, Default included. It
	// makes no call to it.
	Reach(ctx context.Context, name string) (Engine, error)
	// Try reaches a cluster that may not be registered; end gives its
	// connections back.
	Try(ctx context.Context, c *Cluster) (e Engine, end func(), err error)
}

// Resident is a registered tenant that is not deleted.
type Resident struct {
	ID, Release string
	AdoptedFrom string // tenants.Tenant.AdoptedFrom
}

// Store keeps clusters. Contract as of tenants.Store: every method is one
// transaction, and a change and its audit record are stored together.
type Store interface {
	// CreateCluster stores a cluster; ExistsError, TwiceError, or refused when
	// there are MaxClusters.
	CreateCluster(ctx context.Context, c *Cluster, a tenants.Audit) (*Cluster, error)
	// Cluster returns one; NotFoundError.
	Cluster(ctx context.Context, name string) (*Cluster, error)
	// Clusters returns all, sorted by name.
	Clusters(ctx context.Context) ([]*Cluster, error)
	// ChangeCluster locks the cluster, lets change alter it, and stores it.
	ChangeCluster(ctx context.Context, name string, a tenants.Audit, change func(*Cluster) error) (*Cluster, error)
	// SaveVerdict stores identity, VerifiedAt and Problem; no audit record, and
	// no new revision: nothing that was given has changed.
	SaveVerdict(ctx context.Context, c *Cluster) error
	// DeleteCluster forgets one; ReasonInUse when something lives there.
	DeleteCluster(ctx context.Context, name string, a tenants.Audit) error
	// Population counts registered tenants by cluster, purged ones left out.
	Population(ctx context.Context) (map[string]int, error)
	// Residents lists tenants of a cluster that are not deleted.
	Residents(ctx context.Context, name string) ([]Resident, error)
}

// Catalogue knows the releases, *releases.Catalogue.
type Catalogue interface {
	List() []*releases.Release
	Get(version string) (*releases.Release, error)
}
