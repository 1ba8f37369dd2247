package releases

import (
	"bytes"
	"encoding/json"
	"slices"
)

// Inverse undoes one operation in a document, in place. It is a proposal:
// whether the operation leads from its result to where it began is for the
// caller to see (Transform.Back does).
type Inverse func(doc map[string]any)

// Inverse returns what undoes the operation in a document of the given source
// mapping; false when there is nothing: a value that was set, a default that
// may have been there before, a removed field and a dropped document tell
// nothing of what they replaced; a date may have stood in many formats, and
// what raw Painless does nobody knows.
func (o Op) Inverse(mapping map[string]any) (Inverse, bool) {
	switch o.Kind {
	case OpMove, OpRename:
		shared, from, to := o.route()
		return func(doc map[string]any) {
			move(doc, shared, to, from, OntoKeep, false)
			prune(doc, append(slices.Clone(shared), to[:len(to)-1]...))
		}, true
	case OpCopy:
		shared, from, to := o.route()
		return func(doc map[string]any) {
			forget(doc, shared, from, to)
			prune(doc, append(slices.Clone(shared), to[:len(to)-1]...))
		}, true
	case OpWrap:
		return func(doc map[string]any) { unwrap(doc, names(o.Field), o.Under, false) }, true
	case OpConvert:
		if to := convertedFrom(mapping, o.Field); to != "" {
			return func(doc map[string]any) { convert(doc, names(o.Field), to, nil, OnErrorKeep) }, true
		}
	case OpUnwrap:
		return func(doc map[string]any) { wrap(doc, names(o.Field), o.Under[:1]) }, true
	case OpSplit, OpJoin:
		return func(doc map[string]any) { divide(doc, names(o.Field), o.By, o.Kind == OpSplit) }, true
	case OpMap:
		if values, ok := o.reversed(); ok {
			return func(doc map[string]any) { convert(doc, names(o.Field), "map", values, OnErrorKeep) }, true
		}
	}
	return nil, false
}

// reversed leads the values of a map back; false when two lead to the same, or
// one to what is no text.
func (o Op) reversed() (map[string]any, bool) {
	out := map[string]any{}
	for old, v := range o.Values {
		text, ok := toText(v).(string)
		if _, twice := out[text]; !ok || twice {
			return nil, false
		}
		out[text] = old
	}
	return out, true
}

// reshapes says whether an operation makes another form of a value: one in the
// new form has come from the old one rather than been there before.
func (o Op) reshapes() bool {
	return slices.Contains([]OpKind{OpConvert, OpMap, OpDate, OpSplit, OpJoin, OpUnwrap}, o.Kind)
}

// source is the field that an operation takes its value from.
func (o Op) source() string {
	if o.Kind == OpMove || o.Kind == OpCopy {
		return o.From
	}
	return o.Field
}

// made is the field that an operation leaves its value in.
func (o Op) made() string {
	switch o.Kind {
	case OpMove, OpCopy:
		return o.To
	case OpRename:
		return join(parentOf(o.Field), o.To)
	}
	return o.Field
}

// Back leads a document that the transform may have made, or that was written
// in the target's shape, back into the source's shape. It changes neither doc
// nor old. old is the document as the source holds it, nil when it does not:
// what the transform had dropped or overwritten is taken from there, and where
// several documents lead to the same one, the one that is like it is chosen.
// mapping is the source's: what it cannot hold stays behind.
//
// lost names, at most a handful, the fields in which the result, led forth
// again, would differ from doc: none means that nothing is lost but nulls and
// empty objects and lists.
func (t Transform) Back(doc, old, mapping map[string]any) (back map[string]any, lost []string) {
	back = dup(doc).(map[string]any)
	before := t.stages(old)
	for i := len(t.Ops) - 1; i >= 0; i-- {
		back = t.Ops[i].back(back, before[i], mapping)
	}
	fit(back, mapping, "", t)
	forth := dup(back).(map[string]any)
	if err := t.Apply(forth); err != nil {
		return back, []string{"the document as a whole: " + err.Error()}
	}
	lacking("", doc, forth, &lost)
	slices.Sort(lost)
	return back, lost
}

// stages are a document as it is before every operation; nil where there is
// none.
func (t Transform) stages(old map[string]any) []map[string]any {
	out := make([]map[string]any, len(t.Ops))
	if old == nil {
		return out
	}
	doc := dup(old).(map[string]any)
	for i, op := range t.Ops {
		out[i] = dup(doc).(map[string]any)
		if (Transform{Ops: []Op{op}}).Apply(doc) != nil {
			return make([]map[string]any, len(t.Ops)) // it never came this way
		}
	}
	return out
}

// back undoes one operation where it is proven that the operation leads to doc
// again; otherwise it returns doc.
func (o Op) back(doc, before, mapping map[string]any) map[string]any {
	if before == nil && !touches(doc, o.source()) && !touches(doc, o.made()) && o.Kind != OpDropDocument {
		return doc
	}
	undone, restored := o.undone(doc, mapping), o.restored(doc, before)
	var candidates []map[string]any
	switch {
	case before != nil && present(before, o.source()):
		candidates = []map[string]any{restored, undone, doc}
	case !o.reshapes() && (before != nil || lookup(mapping, o.made()).takesValue(doc, o.made())):
		candidates = []map[string]any{doc, undone}
	default:
		candidates = []map[string]any{undone, doc}
	}
	want := Canonical(nil, normal(doc))
	for _, c := range candidates {
		if c == nil {
			continue
		}
		forth := dup(c).(map[string]any)
		if (Transform{Ops: []Op{o}}).Apply(forth) == nil && bytes.Equal(Canonical(nil, normal(forth)), want) {
			return c
		}
	}
	return doc
}

func (o Op) undone(doc, mapping map[string]any) map[string]any {
	undo, ok := o.Inverse(mapping)
	if !ok {
		return nil
	}
	c := dup(doc).(map[string]any)
	undo(c)
	return c
}

// restored is doc with the value that the operation has dropped or overwritten,
// from the document as it was before.
func (o Op) restored(doc, before map[string]any) map[string]any {
	if before == nil || o.Kind == OpWrap || o.Kind == OpCopy || o.Kind == OpConvert || o.Kind == OpDropDocument {
		return nil
	}
	if (o.Kind == OpMove || o.Kind == OpRename) && o.Onto != OntoDiscard {
		return nil
	}
	v, ok := valueAt(before, o.source())
	if !ok {
		return nil
	}
	c := dup(doc).(map[string]any)
	put(c, names(o.source()), v, o.Kind != OpSet && !o.reshapes())
	return c
}

// takesValue says whether the value of doc under path can stay there.
func (v verdict) takesValue(doc map[string]any, path string) bool {
	x, ok := valueAt(doc, path)
	if !ok || v == refused {
		return v != refused
	}
	_, isObject := x.(map[string]any)
	return v == free || isObject == (v != leaf)
}

// valueAt returns the value under a path that leads through objects only.
func valueAt(doc map[string]any, path string) (any, bool) {
	var v any = doc
	for _, k := range names(path) {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = m[k]; !ok {
			return nil, false
		}
	}
	return v, true
}

func present(doc map[string]any, path string) bool {
	return holds(doc, names(path), IsPresent, nil)
}

// touches says whether a path leads anywhere at all, null or not.
func touches(n any, path string) bool {
	return reaches(n, names(path))
}

func reaches(n any, path []string) bool {
	if len(path) == 0 {
		return true
	}
	switch n := n.(type) {
	case []any:
		return slices.ContainsFunc(n, func(e any) bool { return reaches(e, path) })
	case map[string]any:
		v, ok := n[path[0]]
		return ok && reaches(v, path[1:])
	}
	return false
}

// forget removes what a copy has made, where it still equals its source.
func forget(n any, shared, from, to []string) {
	switch n := n.(type) {
	case []any:
		for _, e := range n {
			forget(e, shared, from, to)
		}
	case map[string]any:
		if len(shared) > 0 {
			forget(n[shared[0]], shared[1:], from, to)
			return
		}
		a, b := descend(n, from), descend(n, to)
		if a != nil && bytes.Equal(Canonical(nil, a), Canonical(nil, b)) {
			remove(n, to, false)
		}
	}
}

func descend(n map[string]any, path []string) any {
	var v any = n
	for _, k := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[k]
	}
	return v
}

// prune removes the objects along a path that have become empty.
func prune(n any, path []string) {
	if len(path) == 0 {
		return
	}
	switch n := n.(type) {
	case []any:
		for _, e := range n {
			prune(e, path)
		}
	case map[string]any:
		prune(n[path[0]], path[1:])
		if m, ok := n[path[0]].(map[string]any); ok && len(m) == 0 {
			delete(n, path[0])
		}
	}
}

// unwrap takes a value out of the object that wrap has made. Unless bySurrender
// it leaves alone what wrap cannot have made; with it, the first of the names
// that holds a value wins, and the rest is given up.
func unwrap(n any, path, under []string, bySurrender bool) {
	switch n := n.(type) {
	case []any:
		for _, e := range n {
			unwrap(e, path, under, bySurrender)
		}
	case map[string]any:
		k := path[0]
		if len(path) > 1 {
			unwrap(n[k], path[1:], under, bySurrender)
			return
		}
		o, ok := n[k].(map[string]any)
		if !ok {
			return
		}
		v := o[under[0]]
		made := v != nil && len(o) == len(under)
		for _, u := range under {
			made = made && bytes.Equal(Canonical(nil, o[u]), Canonical(nil, v))
		}
		switch {
		case made:
			n[k] = v
		case bySurrender && v != nil && !holdsObject(v):
			n[k] = v
		case bySurrender:
			delete(n, k)
		}
	}
}

// convertedFrom names the conversion that leads back to what a field of the
// source held, "" when the mapping does not say.
func convertedFrom(mapping map[string]any, path string) string {
	switch typeAt(mapping, path) {
	case "keyword", "text", "wildcard", "constant_keyword":
		return "string"
	case "long", "integer", "short", "byte", "unsigned_long":
		return "integer"
	case "double", "float", "half_float", "scaled_float":
		return "float"
	case "boolean":
		return "boolean"
	}
	return ""
}

// fit removes from a document what a mapping refuses for certain: fields that
// a strict object does not know, and objects where single values belong. Of an
// object that wrap may have made, its first value stays.
func fit(doc map[string]any, mapping map[string]any, parent string, t Transform) {
	for name, v := range doc {
		path := join(parent, name)
		switch verdict := lookup(mapping, path); verdict {
		case refused:
			delete(doc, name)
		case leaf:
			if !holdsObject(v) {
				continue
			}
			if under := t.wraps(path); under != nil {
				unwrap(doc, []string{name}, under, true)
			} else {
				delete(doc, name)
			}
		case object:
			fitInside(v, mapping, path, t)
		}
	}
}

func fitInside(v any, mapping map[string]any, path string, t Transform) {
	switch v := v.(type) {
	case map[string]any:
		fit(v, mapping, path, t)
	case []any:
		for _, e := range v {
			fitInside(e, mapping, path, t)
		}
	}
}

// wraps returns the names under which the transform puts the value of a field.
func (t Transform) wraps(path string) []string {
	for _, o := range t.Ops {
		if o.Kind == OpWrap && o.Field == path {
			return o.Under
		}
	}
	return nil
}

// Lacking names the fields in which have differs from want, both decoded, at
// most a handful, sorted. Nulls and empty objects and lists are no difference.
func Lacking(want, have map[string]any) []string {
	var out []string
	lacking("", want, have, &out)
	slices.Sort(out)
	return out
}

// mostLacking bounds how many differing fields are named.
const mostLacking = 8

func lacking(path string, want, have any, out *[]string) {
	if len(*out) >= mostLacking || hollow(want) && hollow(have) {
		return
	}
	w, okw := want.(map[string]any)
	h, okh := have.(map[string]any)
	if okw && okh {
		for k, v := range w {
			lacking(join(path, k), v, h[k], out)
		}
		for k, v := range h {
			if _, ok := w[k]; !ok {
				lacking(join(path, k), nil, v, out)
			}
		}
		return
	}
	if !bytes.Equal(Canonical(nil, normal(want)), Canonical(nil, normal(have))) {
		if path == "" {
			path = "the document"
		}
		*out = append(*out, path)
	}
}

// normal is a value as it is compared: without members in which nothing is
// lost. A move, for one, leaves the object that it has emptied behind.
func normal(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			if !hollow(e) {
				out[k] = normal(e)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = normal(e)
		}
		return out
	case json.Number, string, bool, nil:
		return v
	}
	return v
}
