package cleanup

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/naming"
)

// Plan is what a cleanup would delete, by exact names.
type Plan struct {
	Cluster string `json:"cluster,omitempty"` // "" in old plans: the default one
	Version string `json:"version"`           // release whose structure goes
	Prefix  string `json:"prefix"`            // of its index names
	// Only are the tenants that were asked for; none means all.
	Only    []string `json:"only,omitempty"`
	Tenants []Part   `json:"tenants"` // sorted by id; those with something to delete
	// LeftAlone are names that hold indices of the version and are not
	// registered: nothing of them is deleted. Sorted.
	LeftAlone []string `json:"left_alone,omitempty"`
	// Nodes that were in the cluster when it was planned.
	Nodes int `json:"nodes"`
	// Digest stands for all exact names; "" when there is nothing to delete.
	Digest   string             `json:"digest"`
	Refusals []upgrader.Refusal `json:"-"`
}

// Part is what goes of one tenant.
type Part struct {
	Tenant    string   `json:"tenant"`
	Release   string   `json:"release"` // it is on
	Indices   []Doomed `json:"indices"` // sorted by name
	Templates []string `json:"templates,omitempty"`
	// Corrections hang static aliases on the indices of the release in use
	// that they do not lead to yet.
	Corrections []Correction `json:"corrections,omitempty"`
	Snapshot    string       `json:"snapshot,omitempty"` // that holds all of the indices
	Docs        int64        `json:"docs"`
	Bytes       int64        `json:"bytes"`  // of the primaries
	Shards      int          `json:"shards"` // of open indices, with replicas
}

// Doomed is an index to delete. The UUID keeps one that was made anew under
// the same name.
type Doomed struct {
	Name string `json:"name"`
	UUID string `json:"uuid"`
}

// Correction hangs an alias on an index.
type Correction struct {
	Alias string `json:"alias"`
	Index string `json:"index"`
}

func (p *Part) names() []string {
	out := make([]string, len(p.Indices))
	for i, d := range p.Indices {
		out[i] = d.Name
	}
	return out
}

// Totals of a plan.
func (p *Plan) Totals() (indices, templates, shards int, bytes int64) {
	for _, t := range p.Tenants {
		indices += len(t.Indices)
		templates += len(t.Templates)
		shards += t.Shards
		bytes += t.Bytes
	}
	return indices, templates, shards, bytes
}

// digestLength in hexadecimal digits: 64 bits, against mistakes and not
// against forgers, who could delete anyway.
const digestLength = 16

// seal computes the digest over every exact name.
func (p *Plan) seal() {
	if len(p.Tenants) == 0 {
		p.Digest = ""
		return
	}
	h := sha256.New()
	line := func(words ...string) { fmt.Fprintf(h, "%q\n", words) } // a hash never fails
	if p.Cluster != tenants.DefaultCluster {
		line("cluster", p.Cluster)
	}
	line("version", p.Prefix)
	for _, t := range p.Tenants {
		line("tenant", t.Tenant)
		for _, ix := range t.Indices {
			line("index", ix.Name, ix.UUID)
		}
		for _, name := range t.Templates {
			line("template", name)
		}
		for _, c := range t.Corrections {
			line("alias", c.Alias, c.Index)
		}
	}
	p.Digest = hex.EncodeToString(h.Sum(nil))[:digestLength]
}

// land is what a cluster holds of one version, by the tenant's name.
type land map[string]*holding

type holding struct {
	indices   []Index
	templates []string
}

func (l land) of(tenant string) *holding {
	h := l[tenant]
	if h == nil {
		h = &holding{}
		l[tenant] = h
	}
	return h
}

// settle puts what was found under the tenants' names. What does not follow
// the layout is nobody's, and stays.
func settle(r *releases.Release, adopted []naming.Tenant, indices []Index, templates []upgrader.Template) land {
	l := land{}
	prefix := r.Prefix
	of := func(name string) *holding {
		for _, n := range adopted {
			if n.In(prefix) == name {
				name = n.ID
			}
		}
		return l.of(name)
	}
	for _, ix := range indices {
		if n, ok := naming.Parse(ix.Name); ok && n.Prefix == prefix {
			h := of(n.Tenant)
			h.indices = append(h.indices, ix)
		}
	}
	for _, t := range templates {
		if !r.PlainTemplates {
			// {mode}template.{prefix}.{tenant}.{base}
			outer, ok := naming.Parse(t.Name)
			if !ok || outer.Prefix != "template" || outer.Tenant != prefix {
				continue
			}
			if n, ok := naming.Parse(string(outer.Mode) + outer.Tenant + "." + outer.Base); ok {
				h := of(n.Tenant)
				h.templates = append(h.templates, t.Name)
			}
			continue
		}
		// Of some releases the name does not say the version: what it is for does.
		for _, p := range t.Patterns {
			n, ok := naming.Parse(strings.TrimSuffix(p, "-*-*"))
			if ok && n.Prefix == prefix && (n.TemplateIn(r) == t.Name || naming.FreezingTemplate(r, n.Tenant) == t.Name) {
				h := of(n.Tenant)
				h.templates = append(h.templates, t.Name)
				break
			}
		}
	}
	order := map[bool]int{true: 1}
	for _, h := range l {
		// What keeps the version closed goes last.
		slices.SortFunc(h.templates, func(a, b string) int {
			return cmp.Or(cmp.Compare(order[naming.Freezes(a)], order[naming.Freezes(b)]), cmp.Compare(a, b))
		})
	}
	return l
}
