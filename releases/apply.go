package releases

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Every function here has a twin of the same name in painlesslib.go. Whoever
// changes one changes the other; TestPainlessEqualsGo holds them together.

// Apply performs the transform on doc in place. Numbers in doc are
// json.Number, as DecodeDoc gives them. The error is ErrDropped, wrapped with
// the reason, ErrElsewhere or ErrOpaque; doc is then to be discarded. The operations must
// be valid (Op.Validate), as those of a loaded release are.
func (t Transform) Apply(doc map[string]any) error { return t.program().run(doc) }

// program is a transform made ready for many documents: paths are taken apart
// once.
type program []func(doc map[string]any) error

func (p program) run(doc map[string]any) error {
	for _, perform := range p {
		if err := perform(doc); err != nil {
			return err
		}
	}
	return nil
}

func (t Transform) program() program {
	if t.Opaque() {
		return program{func(map[string]any) error { return ErrOpaque }}
	}
	out := make(program, len(t.Ops))
	for i, op := range t.Ops {
		out[i] = op.performer()
	}
	return out
}

// performer is what the operation does, its condition included.
func (o Op) performer() func(doc map[string]any) error {
	if o.Kind == OpRoute {
		leaves := o.leaving()
		return func(doc map[string]any) error {
			if leaves(doc) {
				return ErrElsewhere
			}
			return nil
		}
	}
	change := o.change()
	if o.When == nil {
		return change
	}
	holds := o.When.test()
	return func(doc map[string]any) error {
		if !holds(doc) {
			return nil
		}
		return change(doc)
	}
}

// change is what the operation does where its condition holds.
func (o Op) change() func(doc map[string]any) error {
	if o.Kind == OpDropDocument {
		return func(map[string]any) error { return fmt.Errorf("%w: %s", ErrDropped, o.Reason) }
	}
	edit := o.edit()
	return func(doc map[string]any) error {
		edit(doc)
		return nil
	}
}

func (o Op) edit() func(doc map[string]any) {
	path := names(o.Field)
	switch o.Kind {
	case OpMove, OpCopy, OpRename:
		shared, from, to := o.route()
		return func(doc map[string]any) { move(doc, shared, from, to, o.onto(), o.Kind == OpCopy) }
	case OpSet, OpDefault:
		return func(doc map[string]any) { put(doc, path, o.Value, o.Kind == OpDefault) }
	case OpRemove:
		return func(doc map[string]any) { remove(doc, path, o.Only == OnlyEmpty) }
	case OpWrap:
		return func(doc map[string]any) { wrap(doc, path, o.Under) }
	case OpConvert:
		return func(doc map[string]any) { convert(doc, path, o.To, nil, o.onError()) }
	case OpMap:
		return func(doc map[string]any) { convert(doc, path, "map", o.Values, o.onError()) }
	case OpDate:
		formats := o.dates()
		return func(doc map[string]any) { convert(doc, path, "date", formats, o.onError()) }
	case OpUnwrap:
		return func(doc map[string]any) { lift(doc, path, o.Under) }
	case OpSplit, OpJoin:
		return func(doc map[string]any) { divide(doc, path, o.By, o.Kind == OpJoin) }
	}
	return func(map[string]any) {} // no other kind is valid and comes here
}

func names(path string) []string { return strings.Split(path, ".") }

func (o Op) onto() string {
	if o.Onto == "" {
		return OntoKeep
	}
	return o.Onto
}

func (o Op) onError() string {
	if o.OnError == "" {
		return OnErrorKeep
	}
	return o.OnError
}

// route splits a move into the path both sides share and what differs.
func (o Op) route() (shared, from, to []string) {
	if o.Kind == OpRename {
		p := names(o.Field)
		n := len(p) - 1
		return p[:n], p[n:], []string{o.To}
	}
	from, to = names(o.From), names(o.To)
	n := 0
	for n < min(len(from), len(to))-1 && from[n] == to[n] {
		n++
	}
	return from[:n], from[n:], to[n:]
}

func move(n any, shared, from, to []string, onto string, copying bool) {
	switch n := n.(type) {
	case []any:
		for _, e := range n {
			move(e, shared, from, to, onto, copying)
		}
	case map[string]any:
		if len(shared) > 0 {
			move(n[shared[0]], shared[1:], from, to, onto, copying)
			return
		}
		moveWithin(n, from, to, onto, copying)
	}
}

func moveWithin(n map[string]any, from, to []string, onto string, copying bool) {
	source := n
	for _, k := range from[:len(from)-1] {
		next, ok := source[k].(map[string]any)
		if !ok {
			return
		}
		source = next
	}
	key := from[len(from)-1]
	v := source[key]
	if v == nil {
		if !copying {
			delete(source, key)
		}
		return
	}
	var held any = n
	for _, k := range to {
		if held == nil {
			break
		}
		m, ok := held.(map[string]any)
		if !ok {
			return
		}
		held = m[k]
	}
	if held != nil && onto != OntoReplace {
		if onto == OntoDiscard {
			delete(source, key)
		}
		return
	}
	if !copying {
		delete(source, key)
	}
	put(n, to, v, false)
}

// put sets the value at a path, and makes the objects that lead there.
func put(n any, path []string, v any, missing bool) {
	switch n := n.(type) {
	case []any:
		for _, e := range n {
			put(e, path, v, missing)
		}
	case map[string]any:
		k := path[0]
		if len(path) == 1 {
			if !missing || n[k] == nil {
				n[k] = dup(v)
			}
			return
		}
		if n[k] == nil {
			n[k] = map[string]any{}
		}
		put(n[k], path[1:], v, missing)
	}
}

func remove(n any, path []string, empty bool) {
	switch n := n.(type) {
	case []any:
		for _, e := range n {
			remove(e, path, empty)
		}
	case map[string]any:
		k := path[0]
		if len(path) > 1 {
			remove(n[k], path[1:], empty)
		} else if !empty || hollow(n[k]) {
			delete(n, k)
		}
	}
}

// hollow tells whether nothing is lost with a value.
func hollow(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case []any:
		for _, e := range v {
			if !hollow(e) {
				return false
			}
		}
		return true
	case map[string]any:
		for _, e := range v {
			if !hollow(e) {
				return false
			}
		}
		return true
	}
	return false
}

func wrap(n any, path, under []string) {
	switch n := n.(type) {
	case []any:
		for _, e := range n {
			wrap(e, path, under)
		}
	case map[string]any:
		k := path[0]
		if len(path) > 1 {
			wrap(n[k], path[1:], under)
			return
		}
		v := n[k]
		if v == nil || holdsObject(v) {
			return
		}
		o := map[string]any{}
		for _, u := range under {
			o[u] = dup(v)
		}
		n[k] = o
	}
}

func holdsObject(v any) bool {
	switch v := v.(type) {
	case []any:
		return slices.ContainsFunc(v, holdsObject)
	case map[string]any:
		return true
	}
	return false
}

// dup is a deep copy: what stands in two places is never the same object.
func dup(v any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = dup(e)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = dup(e)
		}
		return out
	}
	return v
}

// test is the condition, made ready for many documents.
func (c *Condition) test() func(doc map[string]any) bool {
	path := names(c.Field)
	switch {
	case c.Equals != nil:
		return func(doc map[string]any) bool { return holds(doc, path, "equals", c.Equals) }
	case c.Is == IsAbsent:
		return func(doc map[string]any) bool { return !holds(doc, path, IsPresent, nil) }
	}
	return func(doc map[string]any) bool { return holds(doc, path, c.Is, nil) }
}

func holds(n any, path []string, test string, v any) bool {
	if len(path) == 0 {
		if test == "equals" {
			return same(n, v)
		}
		return n != nil && (test == IsPresent || test == kindOf(n))
	}
	switch n := n.(type) {
	case []any:
		return slices.ContainsFunc(n, func(e any) bool { return holds(e, path, test, v) })
	case map[string]any:
		return holds(n[path[0]], path[1:], test, v)
	}
	return false
}

func kindOf(v any) string {
	switch scalar(v).(type) {
	case string:
		return IsString
	case json.Number:
		return IsNumber
	case bool:
		return IsBoolean
	case []any:
		return IsList
	}
	return IsObject
}

func same(x, v any) bool {
	switch x := scalar(x).(type) {
	case []any:
		return slices.ContainsFunc(x, func(e any) bool { return same(e, v) })
	case json.Number:
		n, ok := v.(json.Number)
		if ok && isInteger(x) && isInteger(n) {
			return integerText(x) == integerText(n)
		}
		return ok && float(x) == float(n)
	case string, bool:
		return x == v
	}
	return false
}
