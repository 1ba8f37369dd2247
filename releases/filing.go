package releases

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// Span is the period of a partition: from its first millisecond since 1970, in
// UTC, up to but not including that of the next one.
type Span struct{ From, Until int64 }

// Filing says which of several partitions of a resource takes a document that
// is routed by its date. A date that no span holds, a missing one, and what is
// no date leave the document in the partition that its source goes into.
type Filing struct {
	// Spans of the partitions that take documents by date. Where two hold the
	// same moment the earlier one in the list takes it.
	Spans []Span
	Own   int // the position in Spans of the source's own partition; any other number when it has none there
	Here  int // likewise, of the partition that is filled
}

// byDate says that a route leads into the partition of a date of the document.
func (o Op) byDate() bool { return o.Kind == OpRoute && o.By != "" }

// Dated says that documents go into partitions by a date of their own.
func (t Transform) Dated() bool { return slices.ContainsFunc(t.Ops, Op.byDate) }

// FiledBy is the field by which documents go into partitions, "" for none. Of
// several routes by date on one way the last one counts.
func (t Transform) FiledBy() string {
	for _, o := range slices.Backward(t.Ops) {
		if o.byDate() {
			return o.By
		}
	}
	return ""
}

// Into returns the transform as it fills one partition. Without it, as for
// examples, routes by date do nothing.
func (t Transform) Into(f Filing) Transform {
	last := -1
	for i, o := range t.Ops {
		if o.byDate() {
			last = i
		}
	}
	if last < 0 {
		return t
	}
	out := make([]Op, 0, len(t.Ops))
	for i, o := range t.Ops {
		if o.byDate() && i != last {
			continue
		}
		if i == last {
			o.filing = &f
		}
		out = append(out, o)
	}
	return Transform{Ops: out}
}

// filedElsewhere says of documents whether another partition takes them.
func (o Op) filedElsewhere() func(doc map[string]any) bool {
	f := o.filing
	if f == nil {
		return func(map[string]any) bool { return false }
	}
	at := o.filedAt()
	return func(doc map[string]any) bool { return at(doc) != f.Here }
}

// filedAt gives the position of the partition that takes a document.
func (o Op) filedAt() func(doc map[string]any) int {
	f, path, holds := o.filing, names(o.By), func(map[string]any) bool { return true }
	if o.When != nil {
		holds = o.When.test()
	}
	return func(doc map[string]any) int {
		if !holds(doc) {
			return f.Own
		}
		return filed(doc, path, f.Spans, f.Own)
	}
}

// Filer says of documents which of the partitions that Into was given takes
// them: the position among the spans, or Own. It performs, in place, what stands
// before the route. The error is as of Apply: no partition takes the document
// then. The transform must have a route by date and partitions, see Dated and
// Into. The function is safe for concurrent use.
func (t Transform) Filer() func(doc map[string]any) (at int, err error) {
	i := slices.IndexFunc(t.Ops, Op.byDate)
	before, at := Transform{Ops: t.Ops[:i]}.program(), t.Ops[i].filedAt()
	return func(doc map[string]any) (int, error) {
		if err := before.run(doc); err != nil {
			return 0, err
		}
		return at(doc), nil
	}
}

// inMillis makes dated understand whatever a date field of an engine takes
// unless it is told otherwise: text, and milliseconds since 1970.
var inMillis = []string{DateEpochMillis, DateEpochMillis}

func filed(doc map[string]any, path []string, spans []Span, own int) int {
	n, ok := dated(descend(doc, path), inMillis).(json.Number)
	if !ok {
		return own
	}
	ms, err := strconv.ParseInt(string(n), 10, 64)
	if err != nil {
		return own
	}
	for i, s := range spans {
		if ms >= s.From && ms < s.Until {
			return i
		}
	}
	return own
}

// filing is the twin of filed in painlesslib.go; spans are one list, two
// numbers each.
var filing = []function{
	{name: "filed", calls: []string{"dated"}, source: `int filed(Map n, List p, List spans, int own, List how) {
  def v = n;
  for (def k : p) { if (!(v instanceof Map)) return own; v = ((Map) v).get(k); }
  def ms = dated(v, how);
  if (ms == null) return own;
  long at = ((Number) ms).longValue(); int i = 0; long from = 0L;
  for (def bound : spans) {
    if (i % 2 == 0) from = ((Number) bound).longValue();
    else if (at >= from && at < ((Number) bound).longValue()) return i / 2;
    i++;
  }
  return own;
}
`},
}

// file renders a route by date.
func (s *script) file(op Op) {
	f := op.filing
	if f == nil {
		return
	}
	bounds := make([]any, 0, 2*len(f.Spans))
	for _, x := range f.Spans {
		bounds = append(bounds, json.Number(strconv.FormatInt(x.From, 10)), json.Number(strconv.FormatInt(x.Until, 10)))
	}
	// The numbers are parameters, so that the script is the same for all
	// partitions: an engine compiles only so many in a minute.
	number := func(n int) string {
		return fmt.Sprintf("((Number) %s).intValue()", s.param(json.Number(strconv.Itoa(n))))
	}
	at := s.call("filed", rootName, s.param(names(op.By)), s.param(bounds), number(f.Own), s.param(inMillis))
	if op.When != nil {
		at = fmt.Sprintf("(%s ? %s : %s)", s.condition(op.When), at, number(f.Own))
	}
	s.line("if (%s != %s) { ctx.op = 'noop'; return; }", at, number(f.Here))
}

// checkFiling refuses routes by date that mean nothing in a resource.
func (m *migrationReader) checkFiling(key string, s Step, to Resource, ops []*yaml.Node) {
	first := -1
	for i, o := range s.Transform.Ops {
		switch {
		case !o.byDate():
		case first >= 0:
			m.doc.problem(ops[i], "step %s: routes by %s and by %s: a document has one partition", key, s.Transform.Ops[first].By, o.By)
		case to.Partitioning == Unpartitioned:
			m.doc.problem(ops[i], "step %s: routes by %s, but %s is not partitioned in release %s", key, o.By, key, m.to.Version)
		case s.Transform.Opaque():
			m.doc.problem(ops[i], "step %s: a route and raw Painless in one way: nobody could tell a routed document from a dropped one", key)
		default:
			first = i
		}
	}
}

// filedBy demands that the field of a route by date is a date, where the route
// stands.
func (c *stepCheck) filedBy(path string, at *yaml.Node) {
	c.read(path, at)
	mapping := c.from
	if c.changed[path] || slices.ContainsFunc(c.written, func(w writtenField) bool { return w.path == path }) {
		mapping = c.to
	}
	switch t := typeAt(mapping, path); t {
	case "date", "date_nanos":
	case "":
		c.doc.problem(at, "step %s: routes by %s, which no mapping declares as a date", c.key, path)
	default:
		c.doc.problem(at, "step %s: routes by %s, which is of type %s and not a date", c.key, path, t)
	}
}
