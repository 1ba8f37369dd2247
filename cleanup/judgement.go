package cleanup

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader/naming"
)

// view is registry and cluster at about one time.
type view struct {
	catalogue Catalogue
	release   *releases.Release // whose structure goes
	land      land
	// statics are the names of all static indices of other versions, with the
	// aliases that they have.
	statics map[string][]string
	entries map[string]*tenants.Tenant
	claims  []Claim
}

// judge makes the plan. It has no I/O and no clock. Every refusal is listed;
// a tenant without indices and templates of the version does not matter,
// unless it is registered on it.
func (v *view) judge(cluster string, only []string) *Plan {
	p := &Plan{Cluster: cluster, Version: v.release.Version, Prefix: v.release.Prefix, Only: only}
	for _, id := range only {
		if v.entries[id] == nil {
			p.refuse("tenant_unknown", id, "see `tms tenant list`", "it is not registered in cluster %s", cluster)
		}
	}
	for _, id := range v.concerned(only) {
		v.judgeTenant(p, id)
	}
	p.seal()
	return p
}

// concerned lists the names to look at, sorted: all that hold something of the
// version or are registered.
func (v *view) concerned(only []string) []string {
	ids := map[string]bool{}
	for id := range v.land {
		ids[id] = true
	}
	for id := range v.entries {
		ids[id] = true
	}
	if len(only) > 0 {
		maps.DeleteFunc(ids, func(id string, _ bool) bool { return !slices.Contains(only, id) })
	}
	return slices.Sorted(maps.Keys(ids))
}

func (v *view) judgeTenant(p *Plan, id string) {
	h, t := v.land[id], v.entries[id]
	if h == nil {
		h = &holding{}
	}
	used := v.inUse(p, id, h)
	if t == nil {
		p.LeftAlone = append(p.LeftAlone, id)
		return
	}
	on, err := v.catalogue.Get(t.Release)
	switch {
	case err == nil && on.Prefix == v.release.Prefix:
		if !purged(t) {
			p.refuse("version_in_use", id, "upgrade it first, or name other tenants with --tenant", "it is on release %s", t.Release)
		}
		return
	case len(h.indices) == 0 && len(h.templates) == 0:
		return
	case err != nil:
		p.refuse("release_unknown", id, "correct it with `tms tenant update "+id+" --release VERSION`", "the registry says release %q, which is not in the catalogue: what it uses cannot be told", t.Release)
		return
	case used || v.claimed(p, id):
		return
	}
	part := Part{Tenant: id, Release: t.Release, Templates: h.templates}
	for _, ix := range h.indices {
		part.Indices = append(part.Indices, Doomed{ix.Name, ix.UUID})
		part.Docs += ix.Docs
		part.Bytes += ix.Bytes
		if !ix.Closed {
			part.Shards += ix.Shards
		}
	}
	if v.correct(p, &part, on, h) {
		p.Tenants = append(p.Tenants, part)
	}
}

func purged(t *tenants.Tenant) bool { return !t.PurgedAt.IsZero() }

// inUse refuses what readers see. Static aliases lead to all versions by
// design: they do not count.
func (v *view) inUse(p *Plan, id string, h *holding) bool {
	var seen []string
	for _, ix := range h.indices {
		n, _ := naming.Parse(ix.Name)
		for _, alias := range ix.Aliases {
			if n.Mode != naming.Static || alias != n.Alias() {
				seen = append(seen, alias+" -> "+ix.Name)
			}
		}
	}
	if len(seen) == 0 {
		return false
	}
	p.refuse("alias_in_use", id, "see `tms tenant show "+id+"`", "%d aliases lead to the version, such as %s", len(seen), seen[0])
	return true
}

// claimed refuses what a rollout or a restore still needs.
func (v *view) claimed(p *Plan, id string) bool {
	found := false
	for _, c := range v.claims {
		if c.Tenant != id {
			continue
		}
		switch c.Kind {
		case ClaimWorking:
			p.refuse(c.Kind, id, "wait for its end, or `tms upgrade cancel "+c.By+"`", "rollout %s works on it", c.By)
		case ClaimRestore:
			p.refuse(c.Kind, id, "wait for its end", "it is being restored by %s", c.By)
		case ClaimSwitched:
			if !v.same(c.From) {
				continue
			}
			until := ""
			if !c.Due.IsZero() {
				until = fmt.Sprintf("; it is deleted at %s, hold with `tms upgrade keep %s`", c.Due.UTC().Format(time.RFC3339), c.By)
			}
			p.refuse(c.Kind, id, "`tms upgrade finalize "+c.By+" --tenant "+id+"` deletes the old version and ends the way back", "rollout %s can still be rolled back to it%s", c.By, until)
		case ClaimFailed:
			if !v.same(c.From) && !v.same(c.To) {
				continue
			}
			p.refuse(c.Kind, id, "`tms upgrade cancel "+c.By+" --tenant "+id+"` removes what it has made", "it failed in rollout %s, which can be tried again", c.By)
		}
		found = true
	}
	return found
}

// same says whether a release has the structure that goes.
func (v *view) same(version string) bool {
	r, err := v.catalogue.Get(version)
	return err == nil && r.Prefix == v.release.Prefix
}

// correct makes sure that static aliases lead to the release in use when the
// old indices are gone.
func (v *view) correct(p *Plan, part *Part, on *releases.Release, h *holding) bool {
	fine := true
	for _, ix := range h.indices {
		n, _ := naming.Parse(ix.Name)
		if n.Mode != naming.Static || !slices.Contains(ix.Aliases, n.Alias()) || !hasStatic(on, n.Base) {
			continue
		}
		own := naming.IndexName{Mode: naming.Static, Prefix: on.Prefix, Tenant: v.naming(part.Tenant).In(on.Prefix), Base: n.Base}.String()
		aliases, stands := v.statics[own]
		switch {
		case !stands:
			fine = false
			p.refuse("static_missing", part.Tenant, "let the installer of "+on.Version+" make it, see `tms tenant show "+part.Tenant+"`", "index %s does not stand: alias %s would lead to nothing", own, n.Alias())
		case !slices.Contains(aliases, n.Alias()):
			part.Corrections = append(part.Corrections, Correction{Alias: n.Alias(), Index: own})
		}
	}
	return fine
}

// naming says under which names a tenant's indices stand.
func (v *view) naming(id string) naming.Tenant {
	n := naming.Tenant{ID: id}
	if t := v.entries[id]; t != nil {
		n.AdoptedFrom = t.AdoptedFrom
	}
	return n
}

func hasStatic(r *releases.Release, base string) bool {
	return slices.ContainsFunc(r.Resources, func(res releases.Resource) bool { return res.Static && res.Base == base })
}

// patterns of all indices of a version; of one tenant, or, with "", of all.
// Each ends in a dot and a star after the tenant, so that "acme" never matches
// "acme2".
func patterns(prefix, tenant string, modes ...naming.Mode) []string {
	var out []string
	for _, m := range modes {
		out = append(out, strings.Join([]string{string(m) + prefix, tenant, "*"}, "."))
		if tenant == "" {
			out[len(out)-1] = string(m) + prefix + ".*"
		}
	}
	return out
}

var allModes = []naming.Mode{naming.Staging, naming.Production, naming.Static}

// summary is a plan in a few words, for logs and the audit trail.
func (p *Plan) summary() string {
	indices, templates, _, _ := p.Totals()
	return fmt.Sprintf("%d indices and %d templates of %d tenants", indices, templates, len(p.Tenants))
}
