package adoption

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/naming"
)

// lookers is how many tenants are read at a time. The engine's answer for one
// is some 100 mappings, a megabyte or two: this bounds our memory and the
// master's work.
const lookers = 4

var allModes = []naming.Mode{naming.Staging, naming.Production, naming.Static}

// view is registry and cluster at about one time.
type view struct {
	holdings map[string]*Holding // by tenant name
	entries  map[string]Entry
}

// ids lists every name that the registry or the cluster knows, sorted.
func (v *view) ids() []string {
	var all []string
	for id := range v.holdings {
		all = append(all, id)
	}
	for id := range v.entries {
		if v.holdings[id] == nil {
			all = append(all, id)
		}
	}
	slices.Sort(all)
	return all
}

// holding of a tenant, empty when the cluster has nothing.
func (v *view) holding(id string) *Holding {
	if h := v.holdings[id]; h != nil {
		return h
	}
	return &Holding{Tenant: id}
}

// entry of a tenant, nil when it is not registered.
func (v *view) entry(id string) *Entry {
	if e, ok := v.entries[id]; ok {
		return &e
	}
	return nil
}

// look reads registry and cluster, of one tenant or, without id, of all. The
// registry is read last: a tenant that is registered and then installed while
// we look is never taken for a stranger. Rollouts are read before and after,
// so that one that begins or ends meanwhile excuses what was seen of it.
func (s *Service) look(ctx context.Context, id string) (*view, error) {
	v := &view{holdings: map[string]*Holding{}, entries: map[string]Entry{}}
	moving := map[string]string{}
	if err := s.rolloutsOf(ctx, id, moving); err != nil {
		return nil, err
	}
	before, err := s.registry.AllTenants(ctx)
	if err != nil {
		return nil, fmt.Errorf("list registered tenants: %w", err)
	}
	names := []string{id}
	codeNames := map[string]bool{}
	for _, n := range adoptions(before) {
		codeNames[n.In(prefixOf(n.AdoptedFrom))] = true
		if n.ID == id {
			names = n.Names()
		}
	}
	if id == "" {
		var err error
		if names, err = s.names(ctx, v, codeNames); err != nil {
			return nil, err
		}
	}
	if err := s.readTenants(ctx, v, names); err != nil {
		return nil, err
	}
	if err := s.templates(ctx, v, id, names); err != nil {
		return nil, err
	}
	if err := s.rolloutsOf(ctx, id, moving); err != nil {
		return nil, err
	}
	all, err := s.registry.AllTenants(ctx)
	if err != nil {
		return nil, fmt.Errorf("list registered tenants: %w", err)
	}
	v.unite(adoptions(all))
	now := s.now()
	for _, t := range all {
		if id == "" || t.ID == id {
			v.entries[t.ID] = Entry{ID: t.ID, Release: t.Release, Cluster: t.Cluster, State: t.StateAt(now), Rollout: moving[t.ID]}
		}
	}
	return v, nil
}

func (s *Service) rolloutsOf(ctx context.Context, id string, into map[string]string) error {
	var ids []string
	if id != "" {
		ids = []string{id}
	}
	found, err := s.rollouts.Fleet(ctx, ids)
	if err != nil {
		return fmt.Errorf("list rollouts at work: %w", err)
	}
	for _, t := range found {
		if t.ActiveRollout != "" {
			into[t.ID] = t.ActiveRollout
		}
	}
	return nil
}

// names finds the tenants in the cluster, without reading mappings. Those
// whose names are neither ids nor code names are held as far as the figures tell. A tenant all of
// whose indices are closed is not found: closed indices have no statistics,
// and asking for each of 100,000 registered tenants costs more than it tells.
func (s *Service) names(ctx context.Context, v *view, codeNames map[string]bool) ([]string, error) {
	var patterns []string
	for _, r := range s.catalogue.List() {
		for _, m := range allModes {
			patterns = append(patterns, string(m)+r.Prefix+".*")
		}
	}
	stats, err := s.engine.Stats(ctx, patterns...)
	if err != nil {
		return nil, fmt.Errorf("find indices of tenants: %w", err)
	}
	legal := map[string]bool{}
	for name, st := range stats {
		n, ok := naming.Parse(name)
		if !ok {
			continue
		}
		if codeNames[n.Tenant] || tenants.ValidateID(n.Tenant) == nil {
			legal[n.Tenant] = true
			continue
		}
		r, err := s.catalogue.ByPrefix(n.Prefix)
		if err != nil {
			continue
		}
		h := v.held(n.Tenant)
		h.Indices = append(h.Indices, Index{IndexName: n, Name: name, Version: r.Version, Docs: st.Docs, Bytes: st.Bytes, Shards: st.Primaries * (1 + st.Replicas)})
	}
	for _, h := range v.holdings {
		sortIndices(h.Indices)
	}
	return sortedKeys(legal), nil
}

func (v *view) held(tenant string) *Holding {
	h := v.holdings[tenant]
	if h == nil {
		h = &Holding{Tenant: tenant}
		v.holdings[tenant] = h
	}
	return h
}

// readTenants reads indices and aliases of the tenants.
func (s *Service) readTenants(ctx context.Context, v *view, names []string) error {
	found := make([]*Holding, len(names))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lookers)
	for i, name := range names {
		g.Go(func() (err error) {
			found[i], err = s.readTenant(ctx, name)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, h := range found {
		if len(h.Indices) > 0 || len(h.Aliases) > 0 {
			v.holdings[h.Tenant] = h
		}
	}
	return nil
}

func (s *Service) readTenant(ctx context.Context, name string) (*Holding, error) {
	var patterns, aliases []string
	for _, m := range allModes {
		aliases = append(aliases, string(m)+name+".*")
		for _, r := range s.catalogue.List() {
			patterns = append(patterns, string(m)+r.Prefix+"."+name+".*")
		}
	}
	h := &Holding{Tenant: name}
	there, err := s.engine.Indices(ctx, patterns...)
	if err != nil {
		return nil, fmt.Errorf("tenant %s: %w", name, err)
	}
	stats := map[string]upgrader.IndexStats{}
	if len(there) > 0 {
		if stats, err = s.engine.Stats(ctx, patterns...); err != nil {
			return nil, fmt.Errorf("tenant %s: %w", name, err)
		}
	}
	for _, ix := range there {
		if held, ok := newIndex(s.catalogue, ix, stats); ok {
			h.Indices = append(h.Indices, held)
		}
	}
	if h.Aliases, err = s.engine.Aliases(ctx, aliases...); err != nil {
		return nil, fmt.Errorf("tenant %s: %w", name, err)
	}
	return h, nil
}

// templates adds the templates, of the names or, without id, of all.
func (s *Service) templates(ctx context.Context, v *view, id string, names []string) error {
	for _, pattern := range templatePatterns(id, names) {
		found, err := s.engine.Templates(ctx, pattern)
		if err != nil {
			return fmt.Errorf("read templates %s: %w", pattern, err)
		}
		for _, t := range found {
			held, ok := newTemplate(s.catalogue, t)
			if !ok || id != "" && !slices.Contains(names, held.Tenant) {
				continue
			}
			h := v.held(held.Tenant)
			h.Templates = append(h.Templates, held)
		}
	}
	return nil
}

// templatePatterns match the templates of the names, or of all. Of some
// releases the names carry no version, so all are looked at.
func templatePatterns(id string, names []string) []string {
	var out []string
	for _, m := range allModes {
		if id == "" {
			out = append(out, string(m)+"template.*")
			continue
		}
		for _, name := range names {
			out = append(out, string(m)+"template.*."+name+".*", string(m)+"template."+name+".*")
		}
	}
	return out
}

func sortIndices(all []Index) {
	slices.SortFunc(all, func(a, b Index) int { return strings.Compare(a.Name, b.Name) })
}
