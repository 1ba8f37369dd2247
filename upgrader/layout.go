package upgrader

import (
	"fmt"
	"slices"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader/naming"
)

// lineage says from which source resource the documents of a target resource
// come and through which transform, over all releases of a path at once: the
// transforms of a chain are concatenated, so that no intermediate index is
// ever built (see docs/adr).
type lineage struct {
	source    string // resource key in the first release
	transform releases.Transform
	drops     []releases.Drop
	hops      []hop // the same, release by release: the way back
}

// hop is the way of a resource's documents from one release to the next.
type hop struct {
	mapping   map[string]any // of the release before
	transform releases.Transform
}

// layout is a pair of releases and everything that follows from it.
type layout struct {
	from, to *releases.Release
	path     []*releases.Release // without from
	lineages map[string]lineage  // by target resource key
	gone     map[string]string   // source resource key -> reason
	// routedGone are resources on the way that documents are routed to and that
	// a later release does not have any more, with the reason.
	routedGone map[string]string
	// doubled are source resources whose documents go into several resources at
	// once, each of them into all: the way back is not clear.
	doubled map[string]bool
	// shadow stands in front of the names of all target indices; "" but in a
	// rehearsal.
	shadow string
}

// newLayout prepares the way from one release to a later one.
func newLayout(c *releases.Catalogue, from, to string) (*layout, error) {
	f, err := c.Get(from)
	if err != nil {
		return nil, err
	}
	path, err := c.Path(from, to)
	if err != nil {
		return nil, err
	}
	l := &layout{from: f, to: f, path: path, lineages: map[string]lineage{}, gone: map[string]string{}, routedGone: map[string]string{}, doubled: map[string]bool{}}
	for _, r := range f.Resources {
		l.lineages[r.Key] = lineage{source: r.Key}
	}
	for _, r := range path {
		l.hop(r)
	}
	return l, nil
}

// hop extends the lineages by one release.
func (l *layout) hop(r *releases.Release) {
	next := map[string]lineage{}
	for key, step := range r.Migration.Steps {
		before, ok := l.lineages[step.From]
		if !ok {
			continue // a resource that came into being on the way and was never in the source
		}
		for other, o := range r.Migration.Steps {
			if other != key && o.From == step.From && !step.Transform.Routed() {
				l.doubled[before.source] = true
			}
		}
		next[key] = lineage{
			source:    before.source,
			transform: before.transform.Then(step.Transform),
			drops:     append(slices.Clone(before.drops), step.Drops...),
			hops:      append(slices.Clone(before.hops), hop{mapping: l.resource(step.From).Mapping, transform: step.Transform}),
		}
	}
	for key, why := range r.Migration.Gone {
		if before, ok := l.lineages[key]; ok {
			if before.transform.Routed() {
				l.routedGone[key] = fmt.Sprintf("%s (since %s)", why, r.Version)
				continue
			}
			l.gone[before.source] = fmt.Sprintf("%s (since %s)", why, r.Version)
		}
	}
	l.to, l.lineages = r, next
}

// versions of the way, both ends included.
func (l *layout) versions() []string {
	out := []string{l.from.Version}
	for _, r := range l.path {
		out = append(out, r.Version)
	}
	return out
}

// digests of the bundles on the way, for the proof.
func (l *layout) digests() []string {
	var out []string
	for _, r := range l.path {
		out = append(out, r.Version+":"+r.Digest)
	}
	return out
}

// sourceOf finds the source resource that an index of the old version belongs
// to.
func (l *layout) sourceOf(n naming.IndexName) (releases.Resource, bool) {
	return resourceByBase(l.from, n)
}

// resourceByBase finds the resource of a release to which an index belongs.
func resourceByBase(r *releases.Release, n naming.IndexName) (releases.Resource, bool) {
	for _, res := range r.Resources {
		if res.Base == n.Base && res.Static == (n.Mode == naming.Static) {
			return res, true
		}
	}
	return releases.Resource{}, false
}

// fed says whether documents of the old release go into a target resource.
func (l *layout) fed(key string) bool {
	_, ok := l.lineages[key]
	return ok
}

// targetsOf lists the target resources that are filled from a source resource.
func (l *layout) targetsOf(source string) []releases.Resource {
	var out []releases.Resource
	for _, r := range l.to.Resources {
		if lin, ok := l.lineages[r.Key]; ok && lin.source == source && !r.Static {
			out = append(out, r)
		}
	}
	return out
}

// environments are the modes as releases speak of them.
var environments = map[naming.Mode]string{naming.Staging: releases.InStaging, naming.Production: releases.InProduction}

// transformOf is what becomes of the documents of a move.
func (l *layout) transformOf(m *Move) releases.Transform {
	return l.lineages[m.Resource].transform.In(environments[m.Mode])
}

// opaque lists the target resources whose documents only the engine can make:
// what came of them cannot be compared, only that they are there.
func (l *layout) opaque() []string {
	var out []string
	for key, lin := range l.lineages {
		if lin.transform.Opaque() {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}

// resource returns a target resource by key.
func (l *layout) resource(key string) releases.Resource {
	r, _ := l.to.Resource(key)
	return r
}

// name is the name of a target index.
func (l *layout) name(tenant string, m naming.Mode, r releases.Resource, partition string) naming.IndexName {
	return naming.IndexName{Shadow: l.shadow, Mode: m, Prefix: l.to.Prefix, Tenant: tenant, Base: r.Base, Partition: partition}
}

// targets match the indices that a tenant's documents go into.
func (l *layout) targets(tenant string, with ...naming.Mode) []string {
	if l.shadow != "" {
		return []string{l.shadow + "*"}
	}
	return naming.Tenant{ID: tenant}.Patterns(l.to.Prefix, with...)
}

// templates of the new version for one tenant, final, with their aliases.
func (l *layout) templates(tenant string, replicas func(resource string, m naming.Mode) int) []Template {
	var out []Template
	for _, r := range l.to.Resources {
		if r.Partitioning == releases.Unpartitioned {
			continue
		}
		for _, m := range naming.ModesOf(r) {
			n := l.name(tenant, m, r, "")
			t := Template{
				Name:     n.TemplateIn(l.to),
				Patterns: []string{n.TemplatePattern()},
				Body:     IndexBody{Settings: finalSettings(r, replicas(r.Key, m)), Mappings: r.Mapping},
			}
			t.Body.Aliases = map[string]struct{}{n.Alias(): {}}
			out = append(out, t)
		}
	}
	return out
}

// finalSettings are the index settings of a resource as the release wants them.
func finalSettings(r releases.Resource, replicas int) map[string]any {
	out := map[string]any{}
	for k, v := range r.Settings {
		out[k] = v
	}
	out["number_of_replicas"] = replicas
	return out
}

// relaxedRefresh turns the engine's own refreshing off.
const relaxedRefresh = "-1"

// relaxedSettings are those of a target while many documents are copied into
// it: nobody reads it, and a lost copy is made again.
func relaxedSettings(r releases.Resource) map[string]any {
	out := finalSettings(r, 0)
	out["refresh_interval"] = relaxedRefresh
	return out
}

// restoredSettings put back what relaxedSettings changed.
func restoredSettings(r releases.Resource, replicas int) map[string]any {
	out := map[string]any{"number_of_replicas": replicas, "refresh_interval": nil}
	if v, ok := r.Settings["refresh_interval"]; ok {
		out["refresh_interval"] = v
	}
	return out
}
