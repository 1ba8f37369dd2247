package adoption

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tracardi/tms/tenants"
)

// Clusters names the clusters in which tenants live.
type Clusters interface {
	// Names lists them, tenants.DefaultCluster first.
	Names(ctx context.Context) ([]string, error)
	// Engine finds the engine of one, without a call to it.
	Engine(ctx context.Context, cluster string) (Engine, error)
}

// Fleet is a Service for all clusters: it looks at one after the other and
// puts the answers together. One that does not answer is said, and keeps
// nothing of the others from being seen; when it is the only one, that is the
// answer. It keeps nothing between calls and is safe for concurrent use.
type Fleet struct {
	c        Config
	clusters Clusters
}

// NewFleet wires a Fleet; Engine and Cluster of the configuration are not used.
func NewFleet(c Config, clusters Clusters) *Fleet { return &Fleet{c, clusters} }

// at is the service of one cluster.
func (f *Fleet) at(ctx context.Context, cluster string) (*Service, error) {
	engine, err := f.clusters.Engine(ctx, cluster)
	if err != nil {
		return nil, err
	}
	c := f.c
	c.Engine, c.Cluster = engine, cluster
	return NewService(c), nil
}

// silent is a cluster that does not answer.
type silent struct {
	cluster string
	err     error
}

// each calls look for every cluster in turn. The clusters that did not answer
// are returned, unless there is one only: then its error is.
func (f *Fleet) each(ctx context.Context, look func(name string, s *Service) error) (names []string, mute []silent, err error) {
	if names, err = f.clusters.Names(ctx); err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		s, err := f.at(ctx, name)
		if err == nil {
			err = look(name, s)
		}
		var known *tenants.Error
		switch {
		case err == nil:
		case len(names) == 1 || ctx.Err() != nil || errors.As(err, &known):
			return nil, nil, err
		default:
			mute = append(mute, silent{name, err})
		}
	}
	return names, mute, nil
}

// Discover finds the tenants that live in any cluster.
func (f *Fleet) Discover(ctx context.Context) (*Discovery, error) {
	return f.discover(ctx, nil)
}

func (f *Fleet) discover(ctx context.Context, only []string) (*Discovery, error) {
	all := &Discovery{}
	_, mute, err := f.each(ctx, func(name string, s *Service) error {
		d, err := s.discoverOnly(ctx, only)
		if err != nil {
			return err
		}
		for _, t := range d.Tenants {
			t.Cluster = name
			all.Tenants = append(all.Tenants, t)
		}
		all.Strangers = append(all.Strangers, d.Strangers...)
		return nil
	})
	for _, m := range mute {
		all.Unseen = append(all.Unseen, fmt.Sprintf("cluster %s: %s", m.cluster, m.err))
	}
	slices.SortStableFunc(all.Tenants, func(a, b Found) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortStableFunc(all.Strangers, func(a, b Stranger) int { return cmp.Compare(a.Name, b.Name) })
	return all, err
}

// Drift lists every disagreement between the registry and the clusters.
func (f *Fleet) Drift(ctx context.Context) (*Report, error) {
	all := &Report{}
	names, mute, err := f.each(ctx, func(_ string, s *Service) error {
		r, err := s.Drift(ctx)
		if err != nil {
			return err
		}
		all.Findings = append(all.Findings, r.Findings...)
		all.Moving = append(all.Moving, r.Moving...)
		all.Compared += r.Compared
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, m := range mute {
		all.Findings = append(all.Findings, Finding{
			Code: CodeClusterUnavailable, Registry: "cluster " + m.cluster, Cluster: "does not answer: " + m.err.Error(),
			Remedy: "its tenants were not compared; see `tms cluster verify " + m.cluster + "`",
		})
	}
	if err := f.nowhere(ctx, names, all); err != nil {
		return nil, err
	}
	slices.SortStableFunc(all.Findings, func(a, b Finding) int { return cmp.Compare(a.Tenant, b.Tenant) })
	slices.SortStableFunc(all.Moving, func(a, b Moving) int { return cmp.Compare(a.Tenant, b.Tenant) })
	return all, nil
}

// nowhere finds tenants that are registered in clusters that nobody knows.
func (f *Fleet) nowhere(ctx context.Context, names []string, r *Report) error {
	all, err := f.c.Registry.AllTenants(ctx)
	if err != nil {
		return fmt.Errorf("list registered tenants: %w", err)
	}
	for _, t := range all {
		if t.PurgedAt.IsZero() && !slices.Contains(names, t.Cluster) {
			r.Compared++
			r.Findings = append(r.Findings, Finding{
				Code: CodeClusterUnknown, Tenant: t.ID, Registry: "in cluster " + t.Cluster, Cluster: "no cluster of that name is registered",
				Remedy: fmt.Sprintf("add it with `tms cluster add %s`, or say where the tenant lives with `tms tenant update %s --cluster default`", t.Cluster, t.ID),
			})
		}
	}
	return nil
}

// Import registers tenants that live in any cluster, as Service.Import does.
// One that stands in several is refused: nobody but the operator can say which
// is the real one.
func (f *Fleet) Import(ctx context.Context, c tenants.Caller, r ImportRequest) ([]Imported, error) {
	d, err := f.discover(ctx, r.Tenants)
	if err != nil {
		return nil, err
	}
	homes := map[string][]Found{}
	for _, t := range d.Tenants {
		homes[t.ID] = append(homes[t.ID], t)
	}
	ids := slices.Compact(slices.Sorted(slices.Values(r.Tenants)))
	if len(ids) == 0 {
		ids = sortedKeys(homes)
	}
	var out []Imported
	for _, id := range ids {
		one, err := f.register(ctx, c, id, homes[id], r.ValidateOnly)
		if err != nil {
			return out, fmt.Errorf("register tenant %s: %w", id, err)
		}
		if len(homes[id]) == 0 && len(d.Unseen) > 0 {
			one.Refused += "; not every cluster was seen: " + strings.Join(d.Unseen, "; ")
		}
		out = append(out, one)
	}
	return out, nil
}

func (f *Fleet) register(ctx context.Context, c tenants.Caller, id string, found []Found, dry bool) (Imported, error) {
	switch {
	case len(found) == 0:
		return Imported{ID: id, Refused: "no cluster holds an open index of it (see `tms tenant discover`)"}, nil
	case found[0].Entry != nil && !found[0].Entry.gone():
		return Imported{ID: id, Already: true, Release: found[0].Entry.Release}, nil
	case len(found) > 1:
		var names []string
		for _, t := range found {
			names = append(names, t.Cluster)
		}
		return Imported{ID: id, Refused: "it stands in clusters " + strings.Join(names, " and ") + ": register it with `tms tenant create " + id + " --cluster NAME`"}, nil
	}
	s, err := f.at(ctx, found[0].Cluster)
	if err != nil {
		return Imported{ID: id}, err
	}
	return s.register(ctx, c, found[0], dry)
}

// home is the cluster of a registered tenant, "" for none.
func (f *Fleet) home(ctx context.Context, id string) (string, error) {
	all, err := f.c.Registry.AllTenants(ctx)
	if err != nil {
		return "", fmt.Errorf("list registered tenants: %w", err)
	}
	if i := slices.IndexFunc(all, func(t *tenants.Tenant) bool { return t.ID == id }); i >= 0 {
		return all[i].Cluster, nil
	}
	return "", nil
}

// Show puts registry and cluster side by side: the cluster that the registry
// names, or, of a tenant that is not registered, the first that holds it.
func (f *Fleet) Show(ctx context.Context, id string) (*Sheet, error) {
	if err := tenants.ValidateID(id); err != nil {
		return nil, err
	}
	home, err := f.home(ctx, id)
	if err != nil {
		return nil, err
	}
	if home != "" {
		s, err := f.at(ctx, home)
		if err != nil {
			return nil, err
		}
		return s.Show(ctx, id)
	}
	var sheet *Sheet
	_, mute, err := f.each(ctx, func(_ string, s *Service) error {
		if sheet != nil {
			return nil
		}
		found, err := s.Show(ctx, id)
		if tenants.HasReason(err, tenants.ReasonTenantNotFound) {
			return nil
		}
		sheet = found
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case sheet != nil:
		return sheet, nil
	case len(mute) > 0:
		return nil, fmt.Errorf("cluster %s: %w", mute[0].cluster, mute[0].err)
	}
	return nil, tenants.NotFoundError(id)
}

// Adopt registers an installation as a tenant of the cluster that holds it, as
// Service.Adopt does.
func (f *Fleet) Adopt(ctx context.Context, c tenants.Caller, r AdoptRequest) (Imported, error) {
	var holders []*Service
	var names []string
	var first *Service
	_, mute, err := f.each(ctx, func(name string, s *Service) error {
		if first == nil {
			first = s
		}
		if err := s.adoptable(r); err != nil {
			return err
		}
		v, err := s.look(ctx, r.CodeName)
		if err == nil && len(v.holding(r.CodeName).Indices) > 0 {
			holders, names = append(holders, s), append(names, name)
		}
		return err
	})
	switch {
	case err != nil:
		return Imported{ID: r.ID}, err
	case len(mute) > 0 && len(holders) == 0:
		return Imported{ID: r.ID}, fmt.Errorf("cluster %s: %w", mute[0].cluster, mute[0].err)
	case len(holders) > 1:
		return Imported{ID: r.ID, Refused: "an installation of that code name stands in clusters " + strings.Join(names, " and ") + ": delete what is not in use first"}, nil
	case len(holders) == 1:
		return holders[0].Adopt(ctx, c, r)
	}
	return first.Adopt(ctx, c, r) // says that nothing is there
}
