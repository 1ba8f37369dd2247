package releases

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"sort"

	"go.yaml.in/yaml/v3"
)

// migrationReader reads migration.yaml of one bundle against the releases it
// leads from and to.
type migrationReader struct {
	doc      *document
	from, to *Release
	out      *Migration
	steps    []*pendingStep
	stated   map[string]bool // target keys the file says something about
	used     map[string]bool // source keys that go somewhere
}

// readMigration fills in Migration of the bundle's release. prev is nil when
// the predecessor is missing, which has been reported elsewhere.
func readMigration(b, prev *bundle) {
	if b.release.Previous == "" {
		if b.hasFile(migrationFile) {
			b.problems.add(path.Join(b.dir, migrationFile), 0, "the release names no previous one, so there is nothing to migrate from")
		}
		return
	}
	m := &migrationReader{doc: readDocument(b.fsys, path.Join(b.dir, migrationFile), b.problems), to: b.release,
		stated: map[string]bool{}, used: map[string]bool{},
		out: &Migration{From: b.release.Previous, To: b.release.Version, Steps: map[string]Step{}, Gone: map[string]string{}}}
	if m.doc.root == nil || prev == nil {
		return
	}
	m.from = prev.release
	m.read()
	b.release.Migration = m.out
}

func (m *migrationReader) read() {
	d := m.doc
	f := d.fields(d.root, "migration", "from", "to", "unchanged", "steps", "new", "gone")
	if v := d.text(f["from"], "from"); v != m.out.From {
		d.problem(orRoot(f["from"], d), "migration from %q in a release whose previous is %s: they must agree", v, m.out.From)
	}
	if v := d.text(f["to"], "to"); v != m.out.To {
		d.problem(orRoot(f["to"], d), "migration to %q in release %s: they must agree", v, m.out.To)
	}
	for _, n := range d.items(f["unchanged"], "unchanged") {
		if key := d.text(n, "unchanged"); m.claim(n, key) && m.source(n, key) {
			m.finish(n, key, Step{From: key}, nil)
		}
	}
	for _, e := range d.entries(f["steps"], "steps") {
		m.step(e)
	}
	m.arrivals(m.steps)
	m.checkRoutes(m.steps)
	for _, s := range m.steps {
		m.finish(s.at, s.key, s.step, s.ops)
	}
	for _, n := range d.items(f["new"], "new") {
		key := d.text(n, "new")
		if m.claim(n, key) && m.from.has(key) {
			d.problem(n, "%s is listed as new but exists in release %s: state a step", key, m.from.Version)
		}
	}
	for _, e := range d.entries(f["gone"], "gone") {
		m.gone(e)
	}
	m.complete()
}

// claim marks a target resource as stated and refuses what cannot have a step.
func (m *migrationReader) claim(n *yaml.Node, key string) bool {
	res, ok := m.to.Resource(key)
	switch {
	case !ok:
		m.doc.problem(n, "release %s has no resource %q%s", m.to.Version, key, meant(key, m.to.keys()))
	case res.Static:
		m.doc.problem(n, "%s is static: the new release's installer fills it, nothing is migrated", key)
	case m.stated[key]:
		m.doc.problem(n, "%s is stated twice", key)
	default:
		m.stated[key] = true
		return true
	}
	return false
}

func (m *migrationReader) source(n *yaml.Node, key string) bool {
	res, ok := m.from.Resource(key)
	switch {
	case !ok:
		m.doc.problem(n, "release %s has no resource %q to take documents from%s", m.from.Version, key, meant(key, m.from.keys()))
	case res.Static:
		m.doc.problem(n, "%s is static in release %s: it is not migrated", key, m.from.Version)
	default:
		m.used[key] = true
		return true
	}
	return false
}

func (m *migrationReader) step(e entry) {
	d, what := m.doc, "step "+e.name
	f := d.fields(e.value, what, "from", "transform", "drops", "examples")
	s := Step{From: e.name}
	if f["from"] != nil {
		s.From = d.text(f["from"], what+": from")
	}
	nodes := d.items(f["transform"], what+": transform")
	for i, n := range nodes {
		op, ok := readOp(d, n, what)
		if !ok {
			nodes = slices.Delete(slices.Clone(nodes), i, len(nodes))
			break
		}
		s.Transform.Ops = append(s.Transform.Ops, op)
	}
	for _, n := range d.items(f["drops"], what+": drops") {
		g := d.fields(n, what+": drop", "field", "reason")
		drop := Drop{Field: d.text(g["field"], "field"), Reason: d.text(g["reason"], "reason")}
		if drop.Field == "" || drop.Reason == "" {
			d.problem(n, "%s: a drop needs a field and a reason", what)
		}
		s.Drops = append(s.Drops, drop)
	}
	for _, n := range d.items(f["examples"], what+": examples") {
		if x, ok := m.example(n, what); ok {
			s.Examples = append(s.Examples, x)
		}
	}
	if m.claim(e.key, e.name) && m.source(orNode(f["from"], e.key), s.From) {
		m.steps = append(m.steps, &pendingStep{e.name, e.key, s, nodes})
	}
}

func (m *migrationReader) example(n *yaml.Node, what string) (x Example, ok bool) {
	d := m.doc
	f := d.fields(n, what+": example", "name", "mode", "in", "out", "dropped", "routed")
	x = Example{Name: d.text(f["name"], "name"), Mode: d.text(f["mode"], "mode"), Line: n.Line}
	if x.Name == "" {
		x.Name = fmt.Sprintf("line %d", n.Line)
	}
	dropped := d.boolean(f["dropped"], "dropped")
	x.Routed = d.boolean(f["routed"], "routed")
	in, okIn := exampleDoc(d, f["in"], what)
	out, okOut := exampleDoc(d, f["out"], what)
	switch {
	case !slices.Contains(modes, x.Mode):
		d.problem(f["mode"], "%s: unknown mode %q; known are staging, production", what, x.Mode)
	case f["in"] == nil || (f["out"] == nil) != (dropped != x.Routed):
		d.problem(n, "%s: an example needs in, and one of out, dropped: true and routed: true", what)
	default:
		x.In, x.Out = in, out
		return x, okIn && okOut
	}
	return x, false
}

func exampleDoc(d *document, n *yaml.Node, what string) (map[string]any, bool) {
	if n == nil {
		return nil, true
	}
	doc, ok := d.value(n, what+": example").(map[string]any)
	if !ok {
		d.problem(n, "%s: a document must be an object", what)
	}
	return doc, ok
}

func orNode(n, other *yaml.Node) *yaml.Node {
	if n == nil {
		return other
	}
	return n
}

func (m *migrationReader) finish(at *yaml.Node, key string, s Step, ops []*yaml.Node) {
	m.out.Steps[key] = s
	from, _ := m.from.Resource(s.From)
	to, _ := m.to.Resource(key)
	if from.Mapping == nil || to.Mapping == nil || len(ops) != len(s.Transform.Ops) {
		return // reported where it was read
	}
	m.checkFiling(key, s, to, ops)
	checkStep(m.doc, at, key, from.Mapping, to.Mapping, s, ops)
}

func (m *migrationReader) gone(e entry) {
	reason := m.doc.text(e.value, "gone: "+e.name)
	switch {
	case !m.from.has(e.name):
		m.doc.problem(e.key, "gone: release %s has no resource %q", m.from.Version, e.name)
	case m.used[e.name]:
		m.doc.problem(e.key, "gone: %s is migrated by a step", e.name)
	case reason == "":
		m.doc.problem(e.key, "gone: %s needs a reason", e.name)
	}
	m.out.Gone[e.name] = reason
}

// complete demands a statement for everything: a resource forgotten in the
// file would be a resource lost in the upgrade.
func (m *migrationReader) complete() {
	for _, r := range m.to.Resources {
		if !r.Static && !m.stated[r.Key] {
			remedy := "list it under new"
			if m.from.has(r.Key) {
				remedy = "list it under unchanged or give it a step"
			}
			m.doc.problem(m.doc.root, "nothing is said about resource %s of release %s: %s", r.Key, m.to.Version, remedy)
		}
	}
	for _, r := range m.from.Resources {
		if _, gone := m.out.Gone[r.Key]; !r.Static && !m.used[r.Key] && !gone {
			m.doc.problem(m.doc.root, "resource %s of release %s is neither migrated nor listed under gone", r.Key, m.from.Version)
		}
	}
}

// keys of all resources.
func (r *Release) keys() []string {
	out := make([]string, len(r.Resources))
	for i, res := range r.Resources {
		out[i] = res.Key
	}
	return out
}

func (r *Release) has(key string) bool {
	_, ok := r.Resource(key)
	return ok
}

// Resource returns the resource with that key.
func (r *Release) Resource(key string) (Resource, bool) {
	i := sort.Search(len(r.Resources), func(i int) bool { return r.Resources[i].Key >= key })
	if i < len(r.Resources) && r.Resources[i].Key == key {
		return r.Resources[i], true
	}
	return Resource{}, false
}

// sorted are the keys of the steps.
func (m *Migration) sorted() []string { return slices.Sorted(maps.Keys(m.Steps)) }
