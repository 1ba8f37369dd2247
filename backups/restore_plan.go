package backups

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/capacity"
	"github.com/tracardi/tms/upgrader/naming"
)

// RestorePlan is what a restore does, found before it begins; it is the answer
// of a dry run.
type RestorePlan struct {
	// Indices to restore, sorted, by their name in the snapshot.
	Indices []PlannedIndex `json:"indices"`
	// Aside are indices of the tenant that the snapshot does not have: they
	// lose their aliases and refuse writes, but stay. Partitions of the
	// snapshot's own release that came later and are under an alias are not among
	// them: they stay as they are, in use.
	Aside []string `json:"aside,omitempty"`
	// Templates to put, and those to remove because the snapshot's tenant did
	// not have them.
	Templates        []string `json:"templates,omitempty"`
	TemplatesRemoved []string `json:"templates_removed,omitempty"`
	// Aliases is alias -> indices afterwards.
	Aliases     map[string][]string `json:"aliases,omitempty"`
	FromRelease string              `json:"from_release,omitempty"` // as registered
	ToRelease   string              `json:"to_release"`
	Shards      int                 `json:"shards"`
	Docs        int64               `json:"docs"`
	Bytes       int64               `json:"bytes"`
}

// PlannedIndex is one index of a RestorePlan.
type PlannedIndex struct {
	Name string `json:"name"`
	As   string `json:"as"` // where it goes
	// Replaces is set when an index of this name stands: it is overwritten.
	Replaces     bool  `json:"replaces,omitempty"`
	ReplacedDocs int64 `json:"replaced_docs,omitempty"`
	// WasBlocked: what is overwritten refused writes already.
	WasBlocked bool  `json:"was_blocked,omitempty"`
	Docs       int64 `json:"docs"`
	Bytes      int64 `json:"bytes"`
	Shards     int   `json:"shards"`
}

// standing is what the cluster holds of a tenant now.
type standing struct {
	indices   []upgrader.Index
	stats     map[string]upgrader.IndexStats
	moving    map[string]bool // written to while it was looked at
	aliases   map[string][]string
	templates []upgrader.Template
}

func (s standing) find(name string) *upgrader.Index {
	i := slices.IndexFunc(s.indices, func(ix upgrader.Index) bool { return ix.Name == name })
	if i < 0 {
		return nil
	}
	return &s.indices[i]
}

// planRestore decides what a restore does. It has no I/O.
func planRestore(r Restore, m *Manifest, now standing) RestorePlan {
	p := RestorePlan{ToRelease: m.Release}
	chosen := map[string]bool{}
	for _, rec := range m.Indices {
		if !r.wants(rec.Name, rec.Resource) {
			continue
		}
		chosen[rec.Name] = true
		one := PlannedIndex{Name: rec.Name, As: rec.Name, Docs: rec.After.Docs, Bytes: rec.Bytes, Shards: rec.Shards}
		if r.Beside != "" {
			one.As = besideName(r.Beside, rec.Name)
		}
		if old := now.find(one.As); old != nil {
			one.Replaces, one.ReplacedDocs, one.WasBlocked = true, now.stats[one.As].Docs, old.WriteBlocked
		}
		p.Indices = append(p.Indices, one)
		p.Shards += rec.Shards
		p.Docs += one.Docs
		p.Bytes += one.Bytes
	}
	if r.Beside != "" {
		return p
	}
	p.Aliases = map[string][]string{}
	for alias, on := range m.Aliases {
		kept := slices.DeleteFunc(slices.Clone(on), func(ix string) bool { return !chosen[ix] })
		if len(kept) > 0 {
			p.Aliases[alias] = kept
		}
	}
	for _, t := range m.Templates {
		if r.wants(t.Name, "") {
			p.Templates = append(p.Templates, t.Name)
		}
	}
	for _, ix := range now.indices {
		if !chosen[ix.Name] && m.index(ix.Name) == nil && r.wants(ix.Name, "") && !(m.later(ix.Name) && now.shown(ix.Name)) {
			p.Aside = append(p.Aside, ix.Name)
		}
	}
	p = p.stay(m, now.aliases)
	for _, t := range now.templates {
		if r.wants(t.Name, "") && !slices.Contains(p.Templates, t.Name) {
			p.TemplatesRemoved = append(p.TemplatesRemoved, t.Name)
		}
	}
	return p
}

// shown says whether an index is under an alias.
func (s standing) shown(index string) bool {
	for _, on := range s.aliases {
		if slices.Contains(on, index) {
			return true
		}
	}
	return false
}

// later says that an index is a partition of the release that the snapshot's
// readers are on, and came after it: this month's, which containers write to.
func (m *Manifest) later(index string) bool {
	n, ok := naming.Parse(index)
	if !ok || n.Partition == "" || m.index(index) != nil {
		return false
	}
	for _, on := range m.Aliases {
		for _, read := range on {
			if r, ok := naming.Parse(read); ok && r.Mode != naming.Static && r.Prefix == n.Prefix {
				return true
			}
		}
	}
	return false
}

// stay leaves later partitions under the aliases that they have.
func (p RestorePlan) stay(m *Manifest, now map[string][]string) RestorePlan {
	aliases := maps.Clone(p.Aliases)
	for alias, on := range now {
		for _, ix := range on {
			if m.later(ix) && !slices.Contains(aliases[alias], ix) {
				aliases[alias] = append(slices.Clone(aliases[alias]), ix)
				slices.Sort(aliases[alias])
			}
		}
	}
	p.Aliases = aliases
	return p
}

// besideName is the name that the engine makes of an index with a prefix.
func besideName(prefix, name string) string { return prefix + "." + name }

// wants says whether an index, alias or template belongs to the resources
// asked for: by the key in its release, or by the base of its name. Nothing
// asked for is everything.
func (r Restore) wants(name, resource string) bool {
	if len(r.Resources) == 0 {
		return true
	}
	base := baseOf(name)
	for _, w := range r.Resources {
		if w == resource || w == base || "tracardi-"+w == base {
			return true
		}
	}
	return false
}

// baseOf is the base in the name of an index or template, "" when it follows
// no layout.
func baseOf(name string) string {
	for _, mode := range []string{"prod-template.", "static-template.", "template."} {
		if rest, ok := strings.CutPrefix(name, mode); ok {
			name = rest
			break
		}
	}
	n, ok := naming.Parse(name)
	if !ok {
		return ""
	}
	return n.Base
}

// refusals lists what stands in the way of a plan.
func (p RestorePlan) refusals(r Restore, t *Tenant, budget capacity.Shards) []Refusal {
	var all []Refusal
	add := func(code, remedy, format string, args ...any) {
		all = append(all, Refusal{Code: code, TenantID: r.Tenant, Message: fmt.Sprintf(format, args...), Remedy: remedy})
	}
	if len(p.Indices) == 0 {
		add("nothing_to_restore", "see `tms backup show "+r.Snapshot+"` for what is in it", "the snapshot holds none of %s", strings.Join(r.Resources, ", "))
	}
	fresh := 0
	var existing []string
	for _, ix := range p.Indices {
		if ix.Replaces {
			existing = append(existing, ix.As)
		} else {
			fresh += ix.Shards
		}
	}
	switch {
	case r.Beside != "" && len(existing) > 0:
		add("index_exists", "choose another prefix, or remove what is there with `tms backup restore remove`", "%d indices exist under the prefix %s, such as %s", len(existing), r.Beside, existing[0])
	case len(existing) > 0 && !r.Replace:
		add("index_exists", "say --replace to overwrite them, or --beside PREFIX for a look", "%d indices exist and would be overwritten, such as %s", len(existing), existing[0])
	}
	if r.rehearses(p) { // beside everything else
		fresh += p.Shards
	}
	if limit := budget.Limit(); limit > 0 && budget.Open+fresh > limit {
		add("shard_limit", fmt.Sprintf("raise cluster.max_shards_per_node to %d, or restore only some --resource", (budget.Open+fresh+budget.DataNodes-1)/max(budget.DataNodes, 1)), "%d shards are open, %d more are needed, %d are allowed", budget.Open, fresh, limit)
	}
	if r.Beside != "" {
		return all
	}
	switch {
	case t == nil:
		add("tenant_unknown", "register it first with `tms tenant create`, or restore --beside", "is not registered, or was purged")
	case t.Rollout != "":
		add("rollout_running", "wait for its end, or cancel it for this tenant", "is part of the unfinished rollout %s", t.Rollout)
	case len(r.Resources) > 0 && t.Release != p.ToRelease:
		add("release_differs", "restore all of the tenant, or --beside", "is on release %s, the snapshot is of %s: single resources of another release do not fit together", t.Release, p.ToRelease)
	}
	return all
}

// rehearses says whether the restore is first made beside: nothing is
// overwritten by a snapshot that has not been read to its end.
func (r Restore) rehearses(p RestorePlan) bool {
	return r.Beside == "" && !r.NoRehearsal && len(p.replaced()) > 0
}

// replaced lists the names of indices that are overwritten.
func (p RestorePlan) replaced() (names []string) {
	for _, ix := range p.Indices {
		if ix.Replaces {
			names = append(names, ix.As)
		}
	}
	return names
}

// aliasActions lead from the aliases that stand to those of the plan.
func (p RestorePlan) aliasActions(r Restore, now map[string][]string) []upgrader.AliasAction {
	var actions []upgrader.AliasAction
	for _, alias := range slices.Sorted(maps.Keys(now)) {
		if !r.wantsAlias(alias) {
			continue
		}
		for _, ix := range now[alias] {
			if !slices.Contains(p.Aliases[alias], ix) {
				actions = append(actions, upgrader.AliasAction{Remove: true, Index: ix, Alias: alias})
			}
		}
	}
	for _, alias := range slices.Sorted(maps.Keys(p.Aliases)) {
		for _, ix := range p.Aliases[alias] {
			if !slices.Contains(now[alias], ix) {
				actions = append(actions, upgrader.AliasAction{Index: ix, Alias: alias})
			}
		}
	}
	return actions
}

// wantsAlias is wants for names without a version: {mode}{tenant}.{base}.
func (r Restore) wantsAlias(alias string) bool {
	_, base, _ := strings.Cut(alias, ".")
	return len(r.Resources) == 0 || r.wants("x.x."+base, "")
}
