package adoption

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/naming"
	"github.com/tracardi/tms/upgrader/schema"
)

// Holding is what a cluster holds under the name of one tenant.
type Holding struct {
	Tenant    string  // as in the index names; need not be a legal id
	Indices   []Index // sorted by name
	Aliases   map[string][]string
	Templates []Template // sorted by name
	// adoptedFrom is the tenant's of the registry, see naming.Tenant.
	adoptedFrom string
}

// Index is one index with what matters of it: its mapping is compared and
// then forgotten, because a fleet has tens of thousands of them.
type Index struct {
	naming.IndexName
	Name    string
	Version string // release of the prefix
	Aliases []string
	Docs    int64 // live documents of the primaries, as far as refreshed
	Bytes   int64 // of the primaries
	Shards  int   // primaries and replicas
	// WriteBlocked is the write block of a fence.
	WriteBlocked bool
	// Closed indices, and those without a primary, have no figures.
	Closed bool
	// Fault is why the index is none of its release, "" when it is.
	Fault string
}

// Aliased says whether readers see the index.
func (i Index) Aliased() bool { return slices.Contains(i.Aliases, i.Alias()) }

// Wreck says whether the index is of no use: not as its release wants it, and
// unseen by readers.
func (i Index) Wreck() bool { return i.Fault != "" && !i.Aliased() }

// Template is one index template of a tenant.
type Template struct {
	naming.IndexName // Mode, Prefix, Tenant and Base
	Name             string
	// Aliased says that new partitions come under the alias.
	Aliased bool
}

// newIndex reduces an index to an Index; stats are absent for closed ones.
func newIndex(c Catalogue, ix upgrader.Index, stats map[string]upgrader.IndexStats) (Index, bool) {
	n, ok := naming.Parse(ix.Name)
	if !ok {
		return Index{}, false
	}
	r, err := c.ByPrefix(n.Prefix)
	if err != nil {
		return Index{}, false
	}
	st, open := stats[ix.Name]
	out := Index{
		IndexName: n, Name: ix.Name, Version: r.Version, Aliases: ix.Aliases, Docs: st.Docs, Bytes: st.Bytes,
		Shards: st.Primaries * (1 + st.Replicas), WriteBlocked: ix.WriteBlocked, Closed: !open,
	}
	out.Fault = fault(r, n, ix.Mapping)
	return out, true
}

// fault compares an index with what its release wants under that name.
func fault(r *releases.Release, n naming.IndexName, mapping map[string]any) string {
	res, ok := resourceOf(r, n)
	if !ok {
		return fmt.Sprintf("belongs to no resource of release %s", r.Version)
	}
	err := schema.CompareMapping(res.Mapping, mapping)
	if err == nil {
		return ""
	}
	// The engine makes an index for a write that finds none; then nothing of
	// the release is in it, not even the rule for unknown fields.
	if _, wanted := res.Mapping["dynamic"]; wanted && mapping["dynamic"] == nil {
		return "made by a write, without template: " + err.Error()
	}
	return err.Error()
}

// resourceOf finds the resource that an index of the release belongs to.
func resourceOf(r *releases.Release, n naming.IndexName) (releases.Resource, bool) {
	for _, res := range r.Resources {
		if res.Base == n.Base && res.Static == (n.Mode == naming.Static) {
			return res, true
		}
	}
	return releases.Resource{}, false
}

// modeName is a mode for people; in names it is a prefix.
func modeName(m naming.Mode) string {
	switch m {
	case naming.Production:
		return "production"
	case naming.Static:
		return "static"
	default:
		return "staging"
	}
}

// newTemplate takes {mode}template.{prefix}.{tenant}.{base} apart or, of the
// releases that name them so, {mode}template.{code name}.{base}.
func newTemplate(c Catalogue, t upgrader.Template) (Template, bool) {
	outer, ok := naming.Parse(t.Name)
	if !ok || outer.Prefix != "template" {
		return Template{}, false
	}
	n, ok := naming.Parse(string(outer.Mode) + outer.Tenant + "." + outer.Base)
	if _, err := c.ByPrefix(n.Prefix); !ok || err != nil {
		// The version is in its pattern only.
		if n, ok = patternOf(c, t); !ok {
			return Template{}, false
		}
	}
	_, aliased := t.Body.Aliases[n.Alias()]
	return Template{IndexName: n, Name: t.Name, Aliased: aliased}, true
}

// patternOf reads a template without version by what it applies to.
func patternOf(c Catalogue, t upgrader.Template) (naming.IndexName, bool) {
	for _, p := range t.Patterns {
		n, ok := naming.Parse(strings.TrimSuffix(p, "-*-*"))
		if !ok {
			continue
		}
		if r, err := c.ByPrefix(n.Prefix); err == nil && n.TemplateIn(r) == t.Name {
			return n, true
		}
	}
	return naming.IndexName{}, false
}

// legal says whether the name can be a tenant's id.
func (h *Holding) legal() error { return tenants.ValidateID(h.Tenant) }

// of lists the indices with the prefix.
func (h *Holding) of(prefix string) []Index {
	var out []Index
	for _, ix := range h.Indices {
		if ix.Prefix == prefix {
			out = append(out, ix)
		}
	}
	return out
}

// index finds an index by name.
func (h *Holding) index(name string) (Index, bool) {
	i := slices.IndexFunc(h.Indices, func(ix Index) bool { return ix.Name == name })
	if i < 0 {
		return Index{}, false
	}
	return h.Indices[i], true
}
