package upgrader

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader/naming"
	"github.com/tracardi/tms/upgrader/schema"
)

// A minor upgrade goes to a release whose index names carry the same prefix:
// the tenant's indices stay, no document moves. It is a rollout like any other,
// but for what its steps do: they see to it that the schema is what the release
// wants, adding what a mapping can be given in place, and then the registry
// says the release.

// Kind says what an upgrade does to a tenant.
type Kind string

// Kinds of upgrades. A rollout whose tenants differ is mixed.
const (
	KindNone  Kind = "none"  // it is on the release already
	KindMinor Kind = "minor" // the schema is checked; no data moves
	KindMajor Kind = "major" // documents move into a new version's indices
	KindMixed Kind = "mixed"
)

// Minor is what a minor upgrade has done to a tenant.
type Minor struct {
	// Indices and Templates were compared with the release.
	Indices   int `json:"indices,omitempty"`
	Templates int `json:"templates,omitempty"`
	// Fields that were added, as "resource: field"; at most mostFields.
	Fields []string `json:"fields,omitempty"`
	// Changed and Made are templates that were put, by name.
	Changed []string `json:"changed,omitempty"`
	Made    []string `json:"made,omitempty"`
}

// mostFields bounds what a record names; the rest is counted in a note.
const mostFields = 100

// Kind says what the rollout does to the tenant.
func (t RolloutTenant) Kind() Kind {
	switch {
	case t.Record.Minor != nil:
		return KindMinor
	case t.Indices > 0:
		return KindMajor
	}
	return KindNone
}

// Kind is that of the tenants that the rollout does something to.
func (r *Rollout) Kind() Kind {
	kind := KindNone
	for i := range r.Tenants {
		switch k := r.Tenants[i].Kind(); {
		case k == KindNone || k == kind:
		case kind == KindNone:
			kind = k
		default:
			return KindMixed
		}
	}
	return kind
}

// Kind says what the plan does to the tenant.
func (t TenantPlan) Kind() Kind {
	switch {
	case t.Record.Minor != nil:
		return KindMinor
	case len(t.Path) < 2:
		return KindNone
	}
	return KindMajor
}

// wayBetween says what kind of upgrade leads from one release to another.
func wayBetween(c *releases.Catalogue, from, to string) (Kind, error) {
	path, err := c.Path(from, to)
	if err != nil {
		return "", err
	}
	f, err := c.Get(from)
	if err != nil {
		return "", err
	}
	switch {
	case from == to:
		return KindNone, nil
	case len(path) == 0 && releases.CompareVersions(from, to) > 0:
		return "", &releases.DowngradeError{From: from, To: to}
	case len(path) == 0 || path[len(path)-1].Prefix == f.Prefix:
		return KindMinor, nil
	}
	return KindMajor, nil
}

// minorPlan compares what a tenant has with what the release wants.
func (p *planner) minorPlan(t FleetTenant, l *layout, v TenantView) {
	tp := TenantPlan{TenantID: t.ID, FromRelease: t.Release, Path: []string{t.Release, p.plan.ToRelease}}
	if middle := l.versions(); len(middle) > 2 {
		tp.Path = slices.Insert(tp.Path, 1, middle[1:len(middle)-1]...)
	}
	found := l.inspect(t.Naming(), v.Old, v.Templates)
	tp.Record.Minor = &Minor{Indices: found.indices, Templates: found.templates}
	tp.Notes = append(tp.Notes, "minor upgrade: no data moves")
	tp.Notes = append(tp.Notes, found.notes()...)
	if found.indices == 0 {
		p.refuse(t.ID, "tenant_without_indices", fmt.Sprintf("the cluster holds no index of release %s for it", t.Release),
			"correct the release with `tms tenant update "+t.ID+" --release VERSION`, or install the tenant first")
	}
	for _, c := range found.conflicts {
		p.refuse(t.ID, "schema_conflict", c, "a minor upgrade only adds fields and templates: correct the index by hand, or ask whoever made "+p.plan.ToRelease+" for a release with a prefix of its own")
	}
	p.plan.Tenants = append(p.plan.Tenants, tp)
}

// inspection is what was found of a tenant's schema.
type inspection struct {
	indices, templates int
	// put are indices that lack something, by resource key.
	put    map[string][]string
	fields []string // "resource: field", sorted, each once
	// changed and made are the templates to put.
	changed, made []Template
	conflicts     []string
	proofs        []IndexProof
}

// right says that there is nothing to do.
func (f *inspection) right() bool {
	return len(f.put) == 0 && len(f.changed) == 0 && len(f.made) == 0 && len(f.conflicts) == 0
}

func (f *inspection) notes() []string {
	var out []string
	if n := len(f.fields); n > 0 {
		indices := 0
		for _, names := range f.put {
			indices += len(names)
		}
		out = append(out, fmt.Sprintf("%d indices get fields: %s", indices, someOf(f.fields)))
	}
	if n := len(f.changed) + len(f.made); n > 0 {
		out = append(out, fmt.Sprintf("%d templates are put", n))
	}
	return out
}

// inspect compares indices and templates of a tenant with the release to reach.
func (l *layout) inspect(who naming.Tenant, indices []Index, templates []Template) *inspection {
	f := &inspection{put: map[string][]string{}}
	there := map[string]bool{} // mode and resource key
	for _, ix := range indices {
		n, ok := naming.Parse(ix.Name)
		if !ok || !who.Owns(n) || n.Mode == naming.Static {
			continue
		}
		res, ok := resourceByBase(l.to, n)
		if !ok {
			continue // nothing that the release knows
		}
		there[string(n.Mode)+res.Key] = true
		f.index(res, ix)
	}
	for _, res := range l.to.Resources {
		for _, m := range naming.ModesOf(res) {
			if !res.Static && res.Partitioning == releases.Unpartitioned && !there[string(m)+res.Key] {
				f.conflicts = append(f.conflicts, fmt.Sprintf("index %s of resource %s does not exist", l.name(who.In(l.to.Prefix), m, res, ""), res.Key))
			}
		}
	}
	f.compareTemplates(l, who, indices, templates)
	slices.Sort(f.fields)
	f.fields = slices.Compact(f.fields)
	return f
}

func (f *inspection) index(res releases.Resource, ix Index) {
	f.indices++
	d := schema.GapOf(res.Mapping, ix.Mapping)
	for _, c := range d.Conflicts {
		f.conflicts = append(f.conflicts, fmt.Sprintf("index %s of resource %s: %s", ix.Name, res.Key, c))
	}
	if len(d.Missing) > 0 {
		f.put[res.Key] = append(f.put[res.Key], ix.Name)
	}
	for _, field := range d.Missing {
		f.fields = append(f.fields, res.Key+": "+field)
	}
	f.proofs = append(f.proofs, IndexProof{Target: ix.Name, MappingHash: schema.Hash(res.Mapping)})
}

// compareTemplates looks for templates that partitions to come need.
func (f *inspection) compareTemplates(l *layout, who naming.Tenant, indices []Index, have []Template) {
	for _, want := range l.templates(who.In(l.to.Prefix), replicasIn(indices)) {
		f.templates++
		i := slices.IndexFunc(have, func(t Template) bool { return t.Name == want.Name })
		if i < 0 {
			f.made = append(f.made, want)
			continue
		}
		t := have[i]
		lacks := schema.CompareMapping(want.Body.Mappings, t.Body.Mappings) != nil
		for alias := range want.Body.Aliases {
			if _, ok := t.Body.Aliases[alias]; !ok {
				lacks = true
			}
		}
		if lacks { // what an operator has set there stays
			put := Template{Name: t.Name, Patterns: t.Patterns, Priority: t.Priority, Body: IndexBody{
				Settings: t.Body.Settings, Mappings: want.Body.Mappings, Aliases: want.Body.Aliases,
			}}
			for alias := range t.Body.Aliases {
				put.Body.Aliases = withAlias(put.Body.Aliases, alias)
			}
			f.changed = append(f.changed, put)
		}
	}
}

// replicasIn is the number of replicas that a mode's indices have.
func replicasIn(indices []Index) func(resource string, m naming.Mode) int {
	most := map[naming.Mode]int{}
	for _, ix := range indices {
		n, ok := naming.Parse(ix.Name)
		if !ok {
			continue
		}
		if r, err := strconv.Atoi(fmt.Sprint(ix.Settings["number_of_replicas"])); err == nil {
			most[n.Mode] = max(most[n.Mode], r)
		}
	}
	return func(_ string, m naming.Mode) int { return most[m] }
}

// minor says that the tenant's upgrade is a minor one.
func (s *session) minor() bool { return s.t.Record.Minor != nil }

// inspectNow reads the tenant's schema and compares it.
func (s *session) inspectNow(ctx context.Context) (*inspection, error) {
	indices, err := s.engine.Indices(ctx, s.oldPatterns()...)
	if err != nil {
		return nil, err
	}
	templates, err := tenantTemplates(ctx, s.engine, s.l.to, s.naming())
	if err != nil {
		return nil, err
	}
	return s.l.inspect(s.naming(), indices, templates), nil
}

// conflict fails with what a minor upgrade cannot mend.
func (f *inspection) conflict() error {
	if len(f.conflicts) == 0 {
		return nil
	}
	return failf("schema_conflict: %s; correct it by hand, then retry", someOf(f.conflicts))
}

// prepareMinor adds what the schema lacks. It may be repeated at any point.
func (s *session) prepareMinor(ctx context.Context) (Outcome, error) {
	f, err := s.inspectNow(ctx)
	if err == nil {
		err = f.conflict()
	}
	if err != nil {
		return OutcomeRetry, err
	}
	if err := s.keepOldTemplates(ctx); err != nil {
		return OutcomeRetry, err
	}
	s.noteMinor(f)
	if err := s.r.store.SaveTenant(ctx, s.lease, s.t); err != nil {
		return OutcomeRetry, err
	}
	for _, key := range sortedKeys(f.put) {
		if err := s.engine.PutMapping(ctx, s.l.resource(key).Mapping, f.put[key]...); err != nil {
			return OutcomeRetry, fmt.Errorf("resource %s: %w", key, err)
		}
	}
	return OutcomeDone, s.eachTemplate(ctx, append(f.changed, f.made...), s.engine.PutTemplate)
}

// noteMinor records what is about to be added, beside what an attempt before
// has added.
func (s *session) noteMinor(f *inspection) {
	m := s.t.Record.Minor
	m.Indices, m.Templates = f.indices, f.templates
	add := func(to *[]string, more ...string) {
		for _, one := range more {
			if !slices.Contains(*to, one) && len(*to) < mostFields {
				*to = append(*to, one)
			}
		}
	}
	add(&m.Fields, f.fields...)
	for _, t := range f.changed {
		add(&m.Changed, t.Name)
	}
	for _, t := range f.made {
		add(&m.Made, t.Name)
	}
}

// proveMinor looks once more, right before the registry says the release.
func (s *session) proveMinor(ctx context.Context) (Outcome, error) {
	f, err := s.inspectNow(ctx)
	switch {
	case err != nil:
		return OutcomeRetry, err
	case f.conflict() != nil:
		return OutcomeFail, f.conflict()
	case !f.right():
		return OutcomeNewWork, nil // an index has come since: from the beginning
	}
	p := &Proof{Level: s.rollout.Options.Verify, Verdict: "schema equal", TakenAt: s.r.now(), BundleDigests: []string{s.l.to.Version + ":" + s.l.to.Digest}, Indices: f.proofs}
	info, err := s.engine.Info(ctx)
	if err != nil {
		return OutcomeRetry, err
	}
	p.Engine, p.ClusterUUID, p.ClusterName, p.TMS = info.Product+" "+info.Version, info.ClusterUUID, info.ClusterName, Build()
	s.t.Proof = p
	return OutcomeDone, nil
}

// returnMinor puts back the templates that were changed. Fields that were added
// stay, because a mapping forgets none and the release before does not mind
// them; so do templates that were missing.
func (s *session) returnMinor(ctx context.Context) (Outcome, error) {
	m := s.t.Record.Minor
	var back []Template
	for _, t := range s.oldTemplates {
		if slices.Contains(m.Changed, t.Name) {
			t.Body = IndexBody{}
			back = append(back, t)
		}
	}
	if err := s.eachTemplate(ctx, back, s.engine.PutTemplate); err != nil {
		return OutcomeRetry, err
	}
	if len(m.Fields) > 0 {
		s.t.Record.Notes = append(s.t.Record.Notes, "rolled back: fields that were added stay in the mappings, where the release before does not use them: "+someOf(m.Fields))
	}
	return OutcomeDone, nil
}
