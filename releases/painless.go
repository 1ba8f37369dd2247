package releases

import (
	"fmt"
	"slices"
	"strings"
)

// Painless renders the transform as a script for _reindex, "" when Empty. All
// literals are in params, so that the engine compiles a script once for all
// tenants. The script throws for no document, whatever its shape; it changes
// ctx._source in place and sets ctx.op to "noop" for a document that is
// dropped, or routed to another resource or partition. It needs nothing that
// Painless of Elasticsearch 7.10 lacks.
func (t Transform) Painless() (source string, params map[string]any) {
	if t.Empty() {
		return "", nil
	}
	s := &script{params: map[string]any{}, names: map[string]string{}, needed: map[string]bool{}}
	for _, op := range t.Ops {
		s.op(op)
	}
	var functions strings.Builder
	for _, f := range library {
		if s.needed[f.name] {
			functions.WriteString(f.source)
		}
	}
	return functions.String() + "Map " + rootName + " = ctx._source;\n" + s.body.String(), s.params
}

// rootName is the document in a script; raw Painless beside it has its own
// names.
const rootName = "tmsDocument"

// script is a Painless script in the making.
type script struct {
	body   strings.Builder
	params map[string]any
	names  map[string]string // literal as JSON -> its parameter
	needed map[string]bool   // library functions
}

// param makes a parameter of a literal and returns the expression for it.
func (s *script) param(v any) string {
	if list, ok := v.([]string); ok {
		out := make([]any, len(list))
		for i, e := range list {
			out[i] = e
		}
		v = out
	}
	literal := string((&writer{exact: true}).value(nil, v))
	name, ok := s.names[literal]
	if !ok {
		name = fmt.Sprintf("p%d", len(s.names))
		s.names[literal] = name
		s.params[name] = v
	}
	return "params." + name
}

// call renders a call of a library function and takes it in, with all it
// calls.
func (s *script) call(name string, args ...string) string {
	s.need(name)
	return name + "(" + strings.Join(args, ", ") + ")"
}

func (s *script) need(name string) {
	if s.needed[name] {
		return
	}
	s.needed[name] = true
	i := slices.IndexFunc(library, func(f function) bool { return f.name == name })
	for _, other := range library[i].calls {
		s.need(other)
	}
}

func (s *script) op(op Op) {
	if op.byDate() {
		s.file(op)
		return
	}
	if op.Kind == OpRoute {
		leaves := s.condition(op.When)
		if op.Arriving {
			leaves = "!(" + leaves + ")"
		}
		s.line("if (%s) { ctx.op = 'noop'; return; }", leaves)
		return
	}
	if op.When != nil {
		fmt.Fprintf(&s.body, "if (%s) ", s.condition(op.When))
	}
	switch op.Kind {
	case OpMove, OpCopy, OpRename:
		shared, from, to := op.route()
		s.line("%s;", s.call("move", rootName, s.param(shared), "0", s.param(from), s.param(to), quoted(op.onto()), fmt.Sprint(op.Kind == OpCopy)))
	case OpSet, OpDefault:
		s.line("%s;", s.call("put", rootName, s.param(names(op.Field)), "0", s.param(op.Value), fmt.Sprint(op.Kind == OpDefault)))
	case OpRemove:
		s.line("%s;", s.call("remove", rootName, s.param(names(op.Field)), "0", fmt.Sprint(op.Only == OnlyEmpty)))
	case OpWrap:
		s.line("%s;", s.call("wrap", rootName, s.param(names(op.Field)), "0", s.param(op.Under)))
	case OpConvert:
		s.convert(op, op.To, "null")
	case OpMap:
		s.convert(op, "map", s.param(op.Values))
	case OpDate:
		s.convert(op, "date", s.param(op.dates()))
	case OpUnwrap:
		s.line("%s;", s.call("lift", rootName, s.param(names(op.Field)), "0", s.param(op.Under)))
	case OpSplit, OpJoin:
		s.line("%s;", s.call("divide", rootName, s.param(names(op.Field)), "0", s.param(op.By), fmt.Sprint(op.Kind == OpJoin)))
	case OpPainless:
		// A block of its own keeps its variables apart; it may have put
		// another document in place.
		s.line("if (%s != null) {\n%s\n}\n%[1]s = ctx._source;", rootName, op.Script)
	case OpDropDocument:
		s.line("{ ctx.op = 'noop'; return; }")
	}
}

func (s *script) convert(op Op, to, with string) {
	s.line("%s;", s.call("convert", rootName, s.param(names(op.Field)), "0", quoted(to), with, quoted(op.onError())))
}

func (s *script) line(format string, args ...any) { fmt.Fprintf(&s.body, format+"\n", args...) }

func (s *script) condition(c *Condition) string {
	path := s.param(names(c.Field))
	switch {
	case c.Equals != nil:
		return s.call("holds", rootName, path, "0", "'equals'", s.param(c.Equals))
	case c.Is == IsAbsent:
		return "!" + s.call("holds", rootName, path, "0", quoted(IsPresent), "null")
	}
	return s.call("holds", rootName, path, "0", quoted(c.Is), "null")
}

// quoted is for words of the closed vocabularies only; they need no escaping.
func quoted(word string) string { return "'" + word + "'" }
