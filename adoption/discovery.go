package adoption

import (
	"fmt"
	"maps"
	"slices"
)

// Found is a tenant that lives in the cluster.
type Found struct {
	ID      string
	Cluster string // where it was found; Fleet sets it
	// Entry is the tenant in the registry, nil when it is not registered.
	Entry *Entry
	Force Force
	// Versions stand side by side, oldest first.
	Versions []Standing
	Modes    []string // "staging", "production", "static"
	Wrecks   []Index
	Total    Figures // of all versions
}

// Figures add indices up.
type Figures struct {
	Indices int
	Docs    int64 // live documents of the primaries
	Bytes   int64 // of the primaries
	Shards  int   // primaries and replicas
}

func (f *Figures) add(ix Index) {
	f.Indices++
	f.Docs += ix.Docs
	f.Bytes += ix.Bytes
	f.Shards += ix.Shards
}

// Sum adds indices up.
func Sum(all []Index) Figures {
	var f Figures
	for _, ix := range all {
		f.add(ix)
	}
	return f
}

// Standing is one version of a tenant's indices.
type Standing struct {
	Version, Prefix string
	Figures
	Aliased      int // indices that readers see
	WriteBlocked int
	Closed       int
	InForce      bool
}

// Stranger is a name that stands where tenants' names do and can be none.
type Stranger struct {
	Name    string
	Reason  string
	Example string // one of its indices
	Figures
}

// Discovery is what lives in a cluster.
type Discovery struct {
	Tenants   []Found    // sorted by id
	Strangers []Stranger // sorted by name
	Unseen    []string   // clusters that did not answer, and why
}

// discover sorts out what a view holds.
func discover(c Catalogue, v *view) *Discovery {
	d := &Discovery{}
	for _, id := range sortedKeys(v.holdings) {
		h := v.holdings[id]
		if len(h.Indices) == 0 {
			continue // templates alone are no tenant
		}
		if err := h.legal(); err != nil {
			d.Strangers = append(d.Strangers, Stranger{Name: id, Reason: err.Error(), Example: h.Indices[0].Name, Figures: Sum(h.Indices)})
			continue
		}
		d.Tenants = append(d.Tenants, found(c, h, v.entry(id)))
	}
	return d
}

// found describes one holding.
func found(c Catalogue, h *Holding, e *Entry) Found {
	f := Found{ID: h.Tenant, Entry: e, Force: inForce(c, h)}
	for _, r := range c.List() {
		s := Standing{Version: r.Version, Prefix: r.Prefix, InForce: f.Force.Release == r}
		for _, ix := range h.of(r.Prefix) {
			s.count(ix)
		}
		if s.Indices > 0 {
			f.Versions = append(f.Versions, s)
		}
	}
	present := map[string]bool{}
	for _, ix := range h.Indices {
		f.Total.add(ix)
		present[modeName(ix.Mode)] = true
		if ix.Wreck() {
			f.Wrecks = append(f.Wrecks, ix)
		}
	}
	for _, m := range allModes {
		if present[modeName(m)] {
			f.Modes = append(f.Modes, modeName(m))
		}
	}
	return f
}

func (s *Standing) count(ix Index) {
	s.add(ix)
	if ix.Aliased() {
		s.Aliased++
	}
	if ix.WriteBlocked {
		s.WriteBlocked++
	}
	if ix.Closed {
		s.Closed++
	}
}

// Registrable says why the tenant cannot be registered as it stands; nil when
// it can.
func (f Found) Registrable() error {
	switch {
	case f.Entry != nil && f.Entry.gone():
		return fmt.Errorf("the registry holds it as %s (undelete it with `tms tenant undelete %s`, or remove its indices for good with `tms tenant purge %s`)", f.Entry.State, f.ID, f.ID)
	case f.Force.Release == nil:
		return fmt.Errorf("%s (%s)", f.Force.Why, f.Force.Remedy)
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
