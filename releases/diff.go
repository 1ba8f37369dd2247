package releases

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Consequence says what a difference between two releases means for the
// documents of a resource, from the least to the most.
type Consequence string

// The consequences.
const (
	NoCopy   Consequence = "none"     // nothing has to be done with documents
	Clone    Consequence = "clone"    // a hard-linked copy, to which the engine adds what is new
	Reindex  Consequence = "reindex"  // every document is written anew
	Conflict Consequence = "conflict" // documents would be refused or lose something: a transform has to decide
)

var severity = []Consequence{NoCopy, Clone, Reindex, Conflict}

// Difference is one thing in which two releases differ.
type Difference struct {
	Resource    string      `json:"resource"` // key
	What        string      `json:"what"`     // resource, partitioning, static, setting, mapping, field, type, parameter
	Path        string      `json:"path,omitempty"`
	Before      string      `json:"before,omitempty"`
	After       string      `json:"after,omitempty"`
	Consequence Consequence `json:"consequence"`
	// Handled says that the migration between the two takes care of it.
	Handled bool `json:"handled,omitempty"`
}

// Diff lists all differences from one release to another, by resource. Where
// the second is migrated to from the first, conflicts that its migration takes
// care of are marked as handled: the loader has checked that.
func Diff(a, b *Release) []Difference {
	d := &differ{a: a, b: b, direct: b.Migration != nil && b.Migration.From == a.Version}
	for _, to := range b.Resources {
		d.resource(to)
	}
	for _, from := range a.Resources {
		if _, ok := d.counterpart(from); !ok {
			d.add(Difference{Resource: from.Key, What: "resource", Before: from.Base, Consequence: Conflict, Handled: d.direct && b.Migration.Gone[from.Key] != "" || from.Static})
		}
	}
	slices.SortStableFunc(d.out, func(x, y Difference) int {
		if c := strings.Compare(x.Resource, y.Resource); c != 0 {
			return c
		}
		return strings.Compare(x.Path, y.Path)
	})
	return d.out
}

// DiffLayout is Diff without regard to the migrations: for two accounts of the
// same release.
func DiffLayout(a, b *Release) []Difference {
	x, y := *a, *b
	x.Migration, y.Migration = nil, nil
	return Diff(&x, &y)
}

// Worst is the consequence of all differences of each resource together; with
// a transform every document is written anew.
func Worst(diffs []Difference) map[string]Consequence {
	out := map[string]Consequence{}
	for _, d := range diffs {
		c := d.Consequence
		if c == Conflict && d.Handled {
			c = Reindex
		}
		if slices.Index(severity, c) >= slices.Index(severity, out[d.Resource]) {
			out[d.Resource] = c
		}
	}
	return out
}

type differ struct {
	a, b   *Release
	direct bool
	out    []Difference
}

func (d *differ) add(x Difference) { d.out = append(d.out, x) }

// source is the resource of a that a resource of b follows.
func (d *differ) source(to Resource) (Resource, bool) {
	if d.direct {
		if s, ok := d.b.Migration.Steps[to.Key]; ok {
			return d.a.Resource(s.From)
		}
	}
	if r, ok := d.a.Resource(to.Key); ok {
		return r, true
	}
	i := slices.IndexFunc(d.a.Resources, func(r Resource) bool { return r.Base == to.Base })
	if i < 0 {
		return Resource{}, false
	}
	return d.a.Resources[i], true
}

func (d *differ) counterpart(from Resource) (Resource, bool) {
	for _, to := range d.b.Resources {
		if s, ok := d.source(to); ok && s.Key == from.Key {
			return to, true
		}
	}
	return Resource{}, false
}

func (d *differ) resource(to Resource) {
	from, ok := d.source(to)
	if !ok {
		d.add(Difference{Resource: to.Key, What: "resource", After: to.Base, Consequence: NoCopy})
		return
	}
	if from.Base != to.Base {
		d.add(Difference{Resource: to.Key, What: "resource", Path: "base", Before: from.Base, After: to.Base, Consequence: Clone})
	}
	if from.Static != to.Static {
		d.add(Difference{Resource: to.Key, What: "static", Before: fmt.Sprint(from.Static), After: fmt.Sprint(to.Static), Consequence: Conflict, Handled: to.Static})
	}
	if from.Partitioning != to.Partitioning {
		d.add(Difference{Resource: to.Key, What: "partitioning", Before: orNone(from.Partitioning), After: orNone(to.Partitioning), Consequence: Reindex})
	}
	d.settings(to.Key, from.Settings, to.Settings)
	d.object(to.Key, "", from.Mapping, to.Mapping, to.Mapping["dynamic"] == "strict")
	if d.direct && !d.b.Migration.Steps[to.Key].Transform.Empty() {
		var ops []string
		for _, op := range d.b.Migration.Steps[to.Key].Transform.Ops {
			ops = append(ops, string(op.Kind))
		}
		d.add(Difference{Resource: to.Key, What: "transform", After: strings.Join(ops, ", "), Consequence: Reindex})
	}
}

func orNone(p Partitioning) string {
	if p == Unpartitioned {
		return "none"
	}
	return string(p)
}

// fixedSettings can only be given to a new index; all others can be changed.
var fixedSettings = []string{"number_of_shards", "number_of_routing_shards", "routing_partition_size", "codec", "sort", "analysis", "soft_deletes", "shard", "store", "mode"}

func (d *differ) settings(key string, a, b map[string]any) {
	x, y := map[string]string{}, map[string]string{}
	flattenTo(x, "", a)
	flattenTo(y, "", b)
	paths := maps.Clone(x)
	maps.Copy(paths, y)
	for _, p := range slices.Sorted(maps.Keys(paths)) {
		if x[p] == y[p] {
			continue
		}
		c := Clone
		if slices.ContainsFunc(fixedSettings, func(s string) bool { return within(p, s) }) {
			c = Reindex
		}
		d.add(Difference{Resource: key, What: "setting", Path: p, Before: x[p], After: y[p], Consequence: c})
	}
}

func flattenTo(out map[string]string, path string, v any) {
	if m, ok := v.(map[string]any); ok {
		for k, e := range m {
			flattenTo(out, join(path, k), e)
		}
		return
	}
	if path != "" {
		out[path] = fmt.Sprint(v)
	}
}

// object compares two objects of mappings, field by field.
func (d *differ) object(key, path string, a, b map[string]any, strict bool) {
	if mode := b["dynamic"]; mode != nil {
		strict = mode == "strict"
	}
	pa, _ := a["properties"].(map[string]any)
	pb, _ := b["properties"].(map[string]any)
	names := maps.Clone(pa)
	if names == nil {
		names = map[string]any{}
	}
	maps.Copy(names, pb)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		at := join(path, name)
		x, inA := pa[name].(map[string]any)
		y, inB := pb[name].(map[string]any)
		switch {
		case !inA:
			d.add(Difference{Resource: key, What: "field", Path: at, After: described(y), Consequence: Clone})
		case !inB:
			c := Reindex
			if strict {
				c = Conflict
			}
			d.add(Difference{Resource: key, What: "field", Path: at, Before: described(x), Consequence: c, Handled: d.direct && c == Conflict})
		case described(x) != described(y):
			c := Reindex
			if !classify(y).takes(classify(x)) || !typeHolds(described(y), described(x)) {
				c = Conflict
			}
			d.add(Difference{Resource: key, What: "type", Path: at, Before: described(x), After: described(y), Consequence: c, Handled: d.direct && c == Conflict})
		default:
			d.parameters(key, at, x, y)
			d.object(key, at, x, y, strict)
		}
	}
	if path == "" {
		d.parameters(key, "", a, b)
	}
}

// described is the type of a field, "object" where it has none.
func described(field map[string]any) string {
	if t, ok := field["type"].(string); ok {
		if t == "flat_object" {
			return "flattened"
		}
		return t
	}
	return "object"
}

// loose parameters of a field can be changed while it stands.
var loose = []string{"ignore_above", "dynamic", "fields", "meta", "search_analyzer", "ignore_malformed", "coerce", "copy_to"}

func (d *differ) parameters(key, path string, a, b map[string]any) {
	keys := maps.Clone(a)
	maps.Copy(keys, b)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if k == "properties" || k == "_meta" || k == "type" || fmt.Sprint(a[k]) == fmt.Sprint(b[k]) {
			continue
		}
		c := Reindex
		if slices.Contains(loose, k) {
			c = Clone
		}
		d.add(Difference{Resource: key, What: "parameter", Path: join(path, k), Before: shown(a[k]), After: shown(b[k]), Consequence: c})
	}
}

func shown(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}
