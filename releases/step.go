package releases

import (
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// stepCheck follows the fields of a strict mapping through a transform, as far
// as that can be decided without documents, to find the slips that would cost
// documents: a source field that the target refuses and nobody takes care of,
// a misspelt path, a value put where the target has no place, a removal that
// nobody has stated.
type stepCheck struct {
	doc      *document
	key      string
	from, to map[string]any
	taken    map[string]bool // source fields that were moved, wrapped or removed
	written  []writtenField
	changed  map[string]bool // fields whose values another operation makes anew
	held     map[string]held // what operations have put somewhere
	moves    []movedField
	opaque   bool // raw Painless: nobody can tell
}

// movedField is what an operation has moved.
type movedField struct {
	from, to string
	line     int
}

// writtenField is a field that the transform has made.
type writtenField struct {
	path string
	as   verdict
	at   *yaml.Node
}

func checkStep(d *document, at *yaml.Node, key string, from, to map[string]any, s Step, ops []*yaml.Node) {
	c := &stepCheck{doc: d, key: key, from: from, to: to, taken: map[string]bool{}, changed: map[string]bool{}, held: map[string]held{}}
	for i, op := range s.Transform.Ops {
		c.op(op, ops[i], s.Drops)
	}
	if c.opaque {
		return
	}
	for _, w := range c.written {
		if v := lookup(to, w.path); v == refused {
			d.problem(w.at, "step %s: %s is not in the mapping of the target, which is strict: add it there, or put the value elsewhere%s", key, w.path, meant(w.path, fieldsOf(to, "")))
		} else if !v.takes(w.as) {
			d.problem(w.at, "step %s: %s would hold %s, which is %s in the mapping of the target", key, w.path, w.as, v)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(c.held)) {
		c.holds(path, c.held[path])
	}
	for _, f := range fieldsOf(from, "") {
		if c.handled(f) {
			continue
		}
		if source, target := lookup(from, f), lookup(to, f); !target.takes(source) {
			d.problem(at, "step %s: %s is %s in the source and %s in the target: move, wrap or remove it", key, f, source, target)
		} else if a, b := typeAt(from, f), typeAt(to, f); !c.changed[f] && !typeHolds(b, a) {
			d.problem(at, "step %s: %s is of type %s in the source and %s in the target, which cannot hold it: convert, map, move or remove it", key, f, a, b)
		}
	}
	c.drops(at, s)
}

func (c *stepCheck) op(op Op, at *yaml.Node, drops []Drop) {
	if op.When != nil {
		c.read(op.When.Field, at)
	}
	if op.byDate() {
		c.filedBy(op.By, at)
	}
	if op.Kind == OpRoute {
		return
	}
	switch op.Kind {
	case OpMove, OpRename, OpCopy:
		from, to := op.From, op.To
		if op.Kind == OpRename {
			from, to = op.Field, join(parentOf(op.Field), op.To)
		}
		as, held := c.read(from, at), c.heldAt(from, at)
		if op.Kind != OpCopy {
			c.circle(op, from, to, at)
			c.take(from)
			if op.Onto == OntoDiscard {
				c.stated(from, at, drops)
			}
		}
		c.write(to, as, at)
		c.held[to] = held
	case OpSet, OpDefault:
		c.write(op.Field, valueVerdict(op.Value), at)
		c.held[op.Field] = held{at: at, values: []any{op.Value}}
	case OpConvert, OpMap, OpDate, OpSplit, OpJoin:
		c.read(op.Field, at)
		c.changed[op.Field] = true
		c.reshaped(op, at)
	case OpPainless:
		c.opaque = true
	case OpUnwrap:
		c.read(op.Field, at)
		for _, other := range op.Under[1:] {
			c.stated(join(op.Field, other), at, drops)
		}
		c.take(op.Field)
		c.write(op.Field, leaf, at)
	case OpWrap:
		as := c.read(op.Field, at)
		c.take(op.Field)
		if as == object { // what is not wrapped stays as it is
			as = free
		}
		for _, name := range op.Under {
			c.write(join(op.Field, name), as, at)
		}
	case OpRemove:
		c.read(op.Field, at)
		if op.Only != OnlyEmpty {
			c.stated(op.Field, at, drops)
			c.take(op.Field)
		}
	}
}

func valueVerdict(v any) verdict {
	switch v.(type) {
	case nil, []any:
		return free
	case map[string]any:
		return object
	}
	return leaf
}

// read demands that a field can exist at this point and says what it holds.
func (c *stepCheck) read(path string, at *yaml.Node) verdict {
	for _, w := range slices.Backward(c.written) {
		if w.path == path {
			return w.as
		}
		if within(path, w.path) || within(w.path, path) {
			return free
		}
	}
	v := lookup(c.from, path)
	if v == refused {
		c.doc.problem(at, "step %s: the source has no field %s%s", c.key, path, meant(path, fieldsOf(c.from, "")))
		return free
	}
	return v
}

func (c *stepCheck) write(path string, as verdict, at *yaml.Node) {
	c.written = append(c.written, writtenField{path, as, at})
}

func (c *stepCheck) take(path string) {
	c.taken[path] = true
	c.written = slices.DeleteFunc(c.written, func(w writtenField) bool { return within(w.path, path) })
	maps.DeleteFunc(c.held, func(p string, _ held) bool { return within(p, path) })
}

// handled tells whether the transform takes care of a source field.
func (c *stepCheck) handled(field string) bool {
	for p := field; p != ""; p = parentOf(p) {
		if c.taken[p] {
			return true
		}
	}
	return false
}

func (c *stepCheck) stated(path string, at *yaml.Node, drops []Drop) {
	own := slices.ContainsFunc(c.written, func(w writtenField) bool { return within(path, w.path) })
	if !own && !slices.ContainsFunc(drops, func(d Drop) bool { return within(path, d.Field) || within(d.Field, path) }) {
		c.doc.problem(at, "step %s: %s is lost: state it under drops with the reason", c.key, path)
	}
}

func (c *stepCheck) drops(at *yaml.Node, s Step) {
	for _, d := range s.Drops {
		switch {
		case d.Field == "" || strings.TrimSpace(d.Reason) == "":
		case lookup(c.from, d.Field) == refused:
			c.doc.problem(at, "step %s: drops %s, which the source does not have", c.key, d.Field)
		case !c.handled(d.Field) && !slices.ContainsFunc(fieldsOf(c.from, ""), func(f string) bool { return within(f, d.Field) && c.handled(f) }):
			c.doc.problem(at, "step %s: drops %s, but no operation removes it", c.key, d.Field)
		}
	}
}
