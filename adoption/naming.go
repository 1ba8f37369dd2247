package adoption

import (
	"slices"
	"strings"

	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader/naming"
)

func namesOf(id, adoptedFrom string) naming.Tenant {
	return naming.Tenant{ID: id, AdoptedFrom: adoptedFrom}
}

// prefixOf is the prefix of the release in which a tenant was adopted.
func prefixOf(adoptedFrom string) string {
	prefix, _, _ := strings.Cut(adoptedFrom, ".")
	return prefix
}

// naming says under which names the tenant's indices stand.
func (h *Holding) naming() naming.Tenant { return namesOf(h.Tenant, h.adoptedFrom) }

// adoptions are the tenants that were installations.
func adoptions(all []*tenants.Tenant) []naming.Tenant {
	var out []naming.Tenant
	for _, t := range all {
		if t.AdoptedFrom != "" && t.PurgedAt.IsZero() {
			out = append(out, namesOf(t.ID, t.AdoptedFrom))
		}
	}
	return out
}

// unite puts what stands under the code names of adopted installations to the
// tenants that they have become.
func (v *view) unite(adopted []naming.Tenant) {
	for _, n := range adopted {
		prefix := prefixOf(n.AdoptedFrom)
		code := v.holdings[n.In(prefix)]
		if code == nil || code.Tenant == n.ID {
			continue
		}
		h := v.held(n.ID)
		h.adoptedFrom = n.AdoptedFrom
		own := func(x naming.IndexName) bool { return x.Prefix == prefix }
		for _, ix := range code.Indices {
			if own(ix.IndexName) {
				h.Indices = append(h.Indices, ix)
			}
		}
		for _, t := range code.Templates {
			if own(t.IndexName) {
				h.Templates = append(h.Templates, t)
			}
		}
		code.Indices = slices.DeleteFunc(code.Indices, func(ix Index) bool { return own(ix.IndexName) })
		code.Templates = slices.DeleteFunc(code.Templates, func(t Template) bool { return own(t.IndexName) })
		h.takeAliases(code)
		sortIndices(h.Indices)
		if len(code.Indices) == 0 && len(code.Templates) == 0 {
			delete(v.holdings, code.Tenant)
		}
	}
}

// takeAliases takes the aliases of a code name that lead to what was taken.
func (h *Holding) takeAliases(code *Holding) {
	for alias, on := range code.Aliases {
		for _, name := range on {
			if _, ours := h.index(name); ours {
				if h.Aliases == nil {
					h.Aliases = map[string][]string{}
				}
				h.Aliases[alias] = append(h.Aliases[alias], name)
			}
		}
	}
	for alias := range h.Aliases {
		code.Aliases[alias] = slices.DeleteFunc(code.Aliases[alias], func(name string) bool { _, ours := h.index(name); return ours })
		if len(code.Aliases[alias]) == 0 {
			delete(code.Aliases, alias)
		}
	}
}
