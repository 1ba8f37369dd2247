package adoption

import (
	"fmt"
	"strings"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader/naming"
)

// Code names a kind of disagreement; docs/adoption.md explains each.
type Code string

// Codes.
const (
	CodeReleaseDiffers       Code = "release_differs"
	CodeReleaseUnknown       Code = "release_unknown"
	CodeTwoVersions          Code = "aliases_on_two_versions"
	CodeAliasMissing         Code = "alias_missing"
	CodeAliasOther           Code = "alias_other_release"
	CodeAliasForeign         Code = "alias_foreign"
	CodeAliasOnWreck         Code = "alias_on_wreck"
	CodeIndexHidden          Code = "index_hidden"
	CodeIndexWreck           Code = "index_wreck"
	CodeTenantUnknown        Code = "tenant_unknown"
	CodeTenantWithoutIndices Code = "tenant_without_indices"
	CodeTenantDeleted        Code = "tenant_deleted"
	CodeClusterDiffers       Code = "cluster_differs"
	CodeClusterUnknown       Code = "cluster_unknown"
	CodeClusterUnavailable   Code = "cluster_unavailable"
	CodeNameInvalid          Code = "name_invalid"
	CodeTemplateMissing      Code = "template_missing"
	CodeTemplateNoAlias      Code = "template_without_alias"
	CodeTemplateOrphaned     Code = "template_orphaned"
	CodeWriteBlocked         Code = "write_block_left"
)

// Finding is one disagreement between the registry and the cluster.
type Finding struct {
	Code     Code
	Tenant   string // "" for a cluster as a whole
	Registry string // what the registry says
	Cluster  string // what the cluster holds
	Remedy   string
	// Names are the indices, aliases or templates it is about, sorted.
	Names []string
}

// Moving is a tenant that is not judged because a rollout works on it.
type Moving struct{ Tenant, Rollout string }

// Report is all drift of a cluster.
type Report struct {
	Findings []Finding // sorted by tenant, then by kind
	Moving   []Moving  // sorted by tenant
	Compared int       // tenants that were judged
}

// drift compares a view with itself; cluster is the name of the one looked at.
func drift(c Catalogue, cluster string, v *view) *Report {
	r := &Report{}
	for _, id := range v.ids() {
		e := v.entry(id)
		if e != nil && e.Cluster != cluster && len(v.holding(id).Indices) == 0 {
			continue // of another cluster, and nothing of it is here
		}
		if e != nil && e.Rollout != "" && e.Cluster == cluster {
			r.Moving = append(r.Moving, Moving{id, e.Rollout})
			continue
		}
		if e == nil || e.Cluster == cluster {
			r.Compared++
		}
		r.Findings = append(r.Findings, judge(c, cluster, e, v.holding(id))...)
	}
	return r
}

// verdict collects the findings about one tenant.
type verdict struct {
	catalogue Catalogue
	entry     Entry // zero when it is not registered
	held      *Holding
	force     Force
	says      string // the registry, in a few words
	findings  []Finding
}

func (v *verdict) add(code Code, cluster, remedy string, names ...string) {
	v.findings = append(v.findings, Finding{Code: code, Tenant: v.held.Tenant, Registry: v.says, Cluster: cluster, Remedy: remedy, Names: names})
}

// judge lists where registry and cluster disagree about one tenant that no
// rollout works on.
func judge(c Catalogue, cluster string, e *Entry, h *Holding) []Finding {
	v := &verdict{catalogue: c, held: h, force: inForce(c, h), says: "not registered"}
	if err := h.legal(); err != nil && e == nil {
		v.add(CodeNameInvalid, plural(len(h.Indices), "index", "indices")+" under a name that is no tenant id: "+err.Error(),
			"delete them when they are not needed; a tenant of that name cannot be served", h.indexNames()...)
		return v.findings
	}
	if e == nil {
		v.stranger()
		return v.findings
	}
	v.entry, v.says = *e, fmt.Sprintf("%s, release %s", e.State, e.Release)
	switch {
	case e.Cluster != cluster:
		if len(h.Indices) > 0 {
			v.says = "in cluster " + e.Cluster
			v.add(CodeClusterDiffers, v.sum()+" in cluster "+cluster, fmt.Sprintf("when it lives here and cluster %s holds nothing of it, say so with `tms tenant update %s --cluster %s`; otherwise delete what is here", e.Cluster, e.ID, cluster), h.indexNames()...)
		}
	case e.gone():
		v.deleted()
	case len(h.Indices) == 0:
		v.add(CodeTenantWithoutIndices, "no open index", fmt.Sprintf("install the tenant, or delete it with `tms tenant delete %s`", e.ID))
		v.orphans()
	default:
		v.living()
	}
	return v.findings
}

// stranger judges what belongs to nobody.
func (v *verdict) stranger() {
	if len(v.held.Indices) > 0 {
		v.add(CodeTenantUnknown, v.sum(), fmt.Sprintf("register it with `tms tenant discover %s --import`, or delete its indices", v.held.Tenant), v.held.indexNames()...)
	}
	v.orphans()
}

func (v *verdict) deleted() {
	if len(v.held.Indices) > 0 {
		remedy := fmt.Sprintf("`tms tenant purge %s` removes them, `tms tenant undelete %s` takes the deletion back", v.entry.ID, v.entry.ID)
		if v.entry.State == "purged" {
			remedy = "a container that still runs has made them: stop it, then delete them"
		}
		v.add(CodeTenantDeleted, v.sum(), remedy, v.held.indexNames()...)
	}
	v.orphans()
}

// living judges a registered tenant with indices.
func (v *verdict) living() {
	registered, err := v.catalogue.Get(v.entry.Release)
	if err != nil {
		v.add(CodeReleaseUnknown, err.Error(), fmt.Sprintf("correct it with `tms tenant update %s --release VERSION`", v.entry.ID))
	}
	v.releases(registered)
	v.foreign()
	v.indices()
	// Against which release aliases and templates are judged: where the two
	// sides differ, one finding says so, and not one for every alias.
	judged := v.force.Release
	if len(v.force.Versions) == 0 {
		judged = registered
	}
	if judged != nil {
		v.aliases(judged)
		v.templates(judged)
	}
	v.orphans()
}

// releases judges the release in force.
func (v *verdict) releases(registered *releases.Release) {
	f := v.force
	switch {
	case len(f.Versions) > 1 && f.Release == nil:
		v.add(CodeTwoVersions, f.Why, f.Remedy, v.aliasedTo(f.Versions...)...)
	case f.Release != nil && registered != nil && f.Release.Prefix != registered.Prefix: // minor releases share theirs
		v.add(CodeReleaseDiffers, "the aliases lead to release "+f.Release.Version, fmt.Sprintf("`tms tenant update %s --release %s` when the cluster is right", v.entry.ID, f.Release.Version))
	}
	if f.Release == nil {
		return
	}
	for _, version := range f.Versions {
		if version != f.Release.Version {
			names := v.aliasedTo(version)
			v.add(CodeAliasOther, fmt.Sprintf("%s of release %s under an alias, while %s is in force", plural(len(names), "index", "indices"), version, f.Release.Version),
				"left by an installer that was started too early, or by a migration by other means: remove the aliases, and the indices when they are not needed", names...)
		}
	}
}

// aliasedTo lists the non-static indices of the versions under their alias.
func (v *verdict) aliasedTo(versions ...string) []string {
	var out []string
	for _, ix := range v.held.Indices {
		for _, version := range versions {
			if ix.Version == version && ix.Aliased() && ix.Mode != naming.Static {
				out = append(out, ix.Name)
			}
		}
	}
	return out
}

// foreign finds aliases of the tenant on indices that are not the tenant's.
func (v *verdict) foreign() {
	for _, alias := range sortedKeys(v.held.Aliases) {
		for _, name := range v.held.Aliases[alias] {
			if ix, ok := v.held.index(name); !ok || ix.Alias() != alias {
				v.add(CodeAliasForeign, fmt.Sprintf("alias %s leads to %s, which is no index for it", alias, name),
					"remove the alias from that index", alias, name)
			}
		}
	}
}

// indices finds wrecks, indices out of sight and those that refuse writes.
func (v *verdict) indices() {
	var blocked []string
	for _, ix := range v.held.Indices {
		current := v.force.Release != nil && ix.Version == v.force.Release.Version
		switch {
		case !current && ix.WriteBlocked && ix.Docs == 0 && len(ix.Aliases) == 0:
			// A write that its version refused has made it; it goes with that.
		case ix.Wreck():
			v.add(CodeIndexWreck, fmt.Sprintf("%s (%d documents), seen by nobody: %s", ix.Name, ix.Docs, ix.Fault),
				"look at its documents, then delete it; the next upgrade replaces what stands in its way", ix.Name)
		case ix.Fault != "":
			v.add(CodeAliasOnWreck, fmt.Sprintf("%s (%d documents) is under %s: %s", ix.Name, ix.Docs, ix.Alias(), ix.Fault),
				"copy its documents into an index with the mapping of the release, move the alias, delete it", ix.Name)
		case current && !ix.Aliased():
			v.add(CodeIndexHidden, fmt.Sprintf("%s (%d documents) is not under %s", ix.Name, ix.Docs, ix.Alias()),
				"hang the alias on it, or delete it when it is not needed", ix.Name)
		}
		if current && ix.WriteBlocked {
			blocked = append(blocked, ix.Name)
		}
	}
	if len(blocked) > 0 {
		v.add(CodeWriteBlocked, fmt.Sprintf("%s of release %s, which is in force, refuse writes and no rollout works on them", plural(len(blocked), "index", "indices"), v.force.Release.Version),
			"set index.blocks.write to null on them", blocked...)
	}
}

// aliases finds resources of the release that readers cannot reach.
func (v *verdict) aliases(r *releases.Release) {
	for _, res := range r.Resources {
		for _, m := range naming.ModesOf(res) {
			n := naming.IndexName{Mode: m, Prefix: r.Prefix, Tenant: v.held.naming().In(r.Prefix), Base: res.Base}
			if !v.reaches(n) {
				v.add(CodeAliasMissing, fmt.Sprintf("alias %s (%s, %s) leads to no index of release %s", n.Alias(), res.Key, modeName(m), r.Version),
					"hang it on the tenant's index, or let Tracardi install what is missing", n.Alias())
			}
		}
	}
}

// reaches says whether the alias leads to an index of the release.
func (v *verdict) reaches(n naming.IndexName) bool {
	for _, name := range v.held.Aliases[n.Alias()] {
		if ix, ok := v.held.index(name); ok && ix.Prefix == n.Prefix && ix.Alias() == n.Alias() {
			return true
		}
	}
	return false
}

// templates finds partitioned resources whose next partition would come into
// being as a wreck, or out of sight.
func (v *verdict) templates(r *releases.Release) {
	for _, res := range r.Resources {
		if res.Partitioning == releases.Unpartitioned {
			continue
		}
		for _, m := range naming.ModesOf(res) {
			n := naming.IndexName{Mode: m, Prefix: r.Prefix, Tenant: v.held.naming().In(r.Prefix), Base: res.Base}
			t, ok := v.held.template(n.TemplateIn(r))
			switch {
			case !ok:
				v.add(CodeTemplateMissing, fmt.Sprintf("no template %s (%s, %s)", n.TemplateIn(r), res.Key, modeName(m)),
					"put it before the next partition begins, which would be made with a wrong mapping and without alias", n.TemplateIn(r))
			case !t.Aliased:
				v.add(CodeTemplateNoAlias, fmt.Sprintf("template %s does not hang alias %s on new partitions", t.Name, n.Alias()),
					"put the alias into the template before the next partition begins", t.Name)
			}
		}
	}
}

// orphans finds templates of versions without indices.
func (v *verdict) orphans() {
	orphaned := map[string][]string{}
	for _, t := range v.held.Templates {
		if len(v.held.of(t.Prefix)) == 0 {
			orphaned[t.Prefix] = append(orphaned[t.Prefix], t.Name)
		}
	}
	for _, prefix := range sortedKeys(orphaned) {
		names := orphaned[prefix]
		v.add(CodeTemplateOrphaned, fmt.Sprintf("%s of prefix %s, of which no index is there", plural(len(names), "template", "templates"), prefix),
			"delete them: a container of that version would make indices again", names...)
	}
}

// sum is what is held, in a few words.
func (v *verdict) sum() string {
	var f Figures
	var versions []string
	for _, r := range v.catalogue.List() {
		if of := v.held.of(r.Prefix); len(of) > 0 {
			versions = append(versions, r.Version)
			for _, ix := range of {
				f.add(ix)
			}
		}
	}
	return fmt.Sprintf("%s of %s, %d documents", plural(f.Indices, "index", "indices"), strings.Join(versions, " and "), f.Docs)
}

func (h *Holding) template(name string) (Template, bool) {
	for _, t := range h.Templates {
		if t.Name == name {
			return t, true
		}
	}
	return Template{}, false
}

func (h *Holding) indexNames() []string {
	var out []string
	for _, ix := range h.Indices {
		out = append(out, ix.Name)
	}
	return out
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
