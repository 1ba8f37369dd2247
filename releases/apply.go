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
func (t Transform) Apply(doc map[string]any) error {
	if t.Opaque() {
		return ErrOpaque
	}
	for _, op := range t.Ops {
		if op.Kind == OpRoute {
			if op.leaves(doc) {
				return ErrElsewhere
			}
			continue
		}
		if c := op.When; c != nil && !c.holds(doc) {
			continue
		}
		switch op.Kind {
		case OpMove, OpCopy, OpRename:
			shared, from, to := op.route()
			move(doc, shared, from, to, op.onto(), op.Kind == OpCopy)
		case OpSet, OpDefault:
			put(doc, names(op.Field), op.Value, op.Kind == OpDefault)
		case OpRemove:
			remove(doc, names(op.Field), op.Only == OnlyEmpty)
		case OpWrap:
			wrap(doc, names(op.Field), op.Under)
		case OpConvert:
			convert(doc, names(op.Field), op.To, nil, op.onError())
		case OpMap:
			convert(doc, names(op.Field), "map", op.Values, op.onError())
		case OpDate:
			convert(doc, names(op.Field), "date", op.dates(), op.onError())
		case OpUnwrap:
			lift(doc, names(op.Field), op.Under)
		case OpSplit, OpJoin:
			divide(doc, names(op.Field), op.By, op.Kind == OpJoin)
		case OpDropDocument:
			return fmt.Errorf("%w: %s", ErrDropped, op.Reason)
		}
	}
	return nil
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

func (c *Condition) holds(doc map[string]any) bool {
	switch {
	case c.Equals != nil:
		return holds(doc, names(c.Field), "equals", c.Equals)
	case c.Is == IsAbsent:
		return !holds(doc, names(c.Field), IsPresent, nil)
	}
	return holds(doc, names(c.Field), c.Is, nil)
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
