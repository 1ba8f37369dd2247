// Package adoption compares the registry with what a search cluster really
// holds. Discover finds the tenants that live in a cluster by the names of
// their indices, Import registers those that nobody has registered, Show puts
// both sides of one tenant next to each other, and Drift lists every
// disagreement with a remedy.
//
// It never writes to the cluster. It is a domain: it knows the registry, the
// upgrade's view of a cluster and the release catalogue, and no transport.
package adoption

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tracardi/tms/tenants"
)

// Config is what a Service is made of.
type Config struct {
	Engine    Engine
	Registry  Registry
	Rollouts  Rollouts
	Catalogue Catalogue
	// Cluster is the registry's name of the engine's cluster; "" is
	// tenants.DefaultCluster.
	Cluster string
	Now     func() time.Time // nil is time.Now
}

// Service looks and compares. It keeps nothing between calls and is safe for
// concurrent use. A look at a fleet reads every mapping of every tenant in the
// cluster: some seconds for hundreds of tenants.
type Service struct {
	engine    Engine
	registry  Registry
	rollouts  Rollouts
	catalogue Catalogue
	cluster   string
	now       func() time.Time
}

// NewService wires a Service.
func NewService(c Config) *Service {
	s := &Service{engine: c.Engine, registry: c.Registry, rollouts: c.Rollouts, catalogue: c.Catalogue, cluster: c.Cluster, now: c.Now}
	if s.cluster == "" {
		s.cluster = tenants.DefaultCluster
	}
	if s.now == nil {
		s.now = time.Now
	}
	return s
}

// Discover finds the tenants that live in the cluster.
func (s *Service) Discover(ctx context.Context) (*Discovery, error) {
	v, err := s.look(ctx, "")
	if err != nil {
		return nil, err
	}
	return discover(s.catalogue, v), nil
}

// Drift lists every disagreement between the registry and the cluster.
func (s *Service) Drift(ctx context.Context) (*Report, error) {
	v, err := s.look(ctx, "")
	if err != nil {
		return nil, err
	}
	return drift(s.catalogue, s.cluster, v), nil
}

// ImportRequest says which tenants to register.
type ImportRequest struct {
	Tenants      []string // none means all that are found
	ValidateOnly bool
}

// Imported is what became of one tenant.
type Imported struct {
	ID      string
	Release string // it is, or would be, registered with
	// Already says that it was registered before; nothing was changed.
	Already bool
	// Refused is why it was not registered, with a remedy; "" when it was.
	Refused string
}

// Import registers tenants that live in the cluster with the release that
// their aliases lead to. One that is refused does not keep the others from
// being registered; repeating the call is harmless. An error means that the
// answer is not complete: what was registered before it stays.
func (s *Service) Import(ctx context.Context, c tenants.Caller, r ImportRequest) ([]Imported, error) {
	d, err := s.discoverOnly(ctx, r.Tenants)
	if err != nil {
		return nil, err
	}
	var out []Imported
	for _, id := range slices.Compact(slices.Sorted(slices.Values(r.Tenants))) {
		if !slices.ContainsFunc(d.Tenants, func(f Found) bool { return f.ID == id }) {
			out = append(out, Imported{ID: id, Refused: "the cluster holds no open index of it (see `tms tenant discover`)"})
		}
	}
	for _, f := range d.Tenants {
		one, err := s.register(ctx, c, f, r.ValidateOnly)
		if err != nil {
			return out, fmt.Errorf("register tenant %s: %w", f.ID, err)
		}
		out = append(out, one)
	}
	return out, nil
}

// fewTenants is up to how many tenants are looked at one by one; each costs
// some ten requests, and a look at all of them a mapping read per tenant.
const fewTenants = 10

// discoverOnly looks at the named tenants, or at all.
func (s *Service) discoverOnly(ctx context.Context, ids []string) (*Discovery, error) {
	for _, id := range ids {
		if err := tenants.ValidateID(id); err != nil {
			return nil, err
		}
	}
	if len(ids) == 0 || len(ids) > fewTenants {
		d, err := s.Discover(ctx)
		if err == nil && len(ids) > 0 {
			d.Tenants = slices.DeleteFunc(d.Tenants, func(f Found) bool { return !slices.Contains(ids, f.ID) })
		}
		return d, err
	}
	all := &Discovery{}
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		v, err := s.look(ctx, id)
		if err != nil {
			return nil, err
		}
		all.Tenants = append(all.Tenants, discover(s.catalogue, v).Tenants...)
	}
	return all, nil
}

func (s *Service) register(ctx context.Context, c tenants.Caller, f Found, dry bool) (Imported, error) {
	one := Imported{ID: f.ID}
	if f.Entry != nil && !f.Entry.gone() {
		one.Already, one.Release = true, f.Entry.Release
		return one, nil
	}
	if err := f.Registrable(); err != nil {
		one.Refused = err.Error()
		return one, nil
	}
	one.Release = f.Force.Release.Version
	_, err := s.registry.Create(ctx, c, tenants.CreateRequest{Tenant: &tenants.Tenant{ID: f.ID, Release: one.Release, Cluster: s.cluster}, ValidateOnly: dry})
	var refused *tenants.Error
	switch {
	case tenants.HasReason(err, tenants.ReasonTenantExists):
		one.Already = true // by somebody else, meanwhile
	case errors.As(err, &refused) && refused.Code != tenants.CodeUnavailable:
		one.Refused = refused.Error()
	case err != nil:
		return one, err
	}
	return one, nil
}

// Sheet is registry and cluster side by side, of one tenant.
type Sheet struct {
	ID       string
	Entry    *Entry // nil when it is not registered
	Found    *Found // nil when the cluster holds nothing
	Findings []Finding
	Rows     []Row
}

// Row is one resource in one mode.
type Row struct {
	Resource string
	Mode     string // "staging", "production" or "static"
	Alias    string
	// Indices are all of the resource, of the release that Show looks at.
	Indices []Index
	// Leads are the indices under the alias, of whatever version.
	Leads []string
	// Template is "" for resources that have none, "present", "missing" or
	// "without alias".
	Template string
}

// Show puts registry and cluster side by side. The resources are those of the
// release in force, or of the registered one when there is none in force. A
// tenant that neither knows is tenants.ReasonTenantNotFound.
func (s *Service) Show(ctx context.Context, id string) (*Sheet, error) {
	if err := tenants.ValidateID(id); err != nil {
		return nil, err
	}
	v, err := s.look(ctx, id)
	if err != nil {
		return nil, err
	}
	h, e := v.holding(id), v.entry(id)
	if e == nil && len(h.Indices) == 0 && len(h.Templates) == 0 {
		return nil, tenants.NotFoundError(id)
	}
	return sheet(s.catalogue, s.cluster, h, e), nil
}
