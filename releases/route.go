package releases

import (
	"errors"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"
)

// ErrElsewhere is returned by Apply for a document that belongs into another
// resource of the release, whose transform takes it, or into another partition.
var ErrElsewhere = errors.New("routed elsewhere")

// Routed says that documents of the transform's source go into several
// resources, each into one of them.
func (t Transform) Routed() bool {
	return slices.ContainsFunc(t.Ops, func(o Op) bool { return o.Kind == OpRoute && !o.byDate() })
}

// Drops says that some documents may be left out altogether.
func (t Transform) Drops() bool {
	return slices.ContainsFunc(t.Ops, func(o Op) bool { return o.Kind == OpDropDocument })
}

// String is the condition in words.
func (c *Condition) String() string {
	if c.Equals != nil {
		return fmt.Sprintf("%s is %v", c.Field, c.Equals)
	}
	return c.Field + " is " + c.Is
}

// Routes lists the step's own routes to other resources, in order.
func (t Transform) Routes() []Op {
	var out []Op
	for _, o := range t.Ops {
		if o.Kind == OpRoute && !o.inherited && !o.byDate() {
			out = append(out, o)
		}
	}
	return out
}

// leaving says of documents whether they go to another resource or partition
// at this operation.
func (o Op) leaving() func(doc map[string]any) bool {
	if o.byDate() {
		return o.filedElsewhere()
	}
	holds := o.When.test()
	return func(doc map[string]any) bool { return holds(doc) != o.Arriving }
}

// pendingStep is a step as it stands in the file; routes of other steps are
// not yet worked into it.
type pendingStep struct {
	key  string
	at   *yaml.Node
	step Step
	ops  []*yaml.Node // of the operations, shorter where one was refused
}

// arrivals works routes into the steps that they lead to: a routed document
// has had what stands above the route, and goes on with its new resource's own
// operations. So each step by itself says of every document of the source
// whether it takes it, and no two of them take the same.
func (m *migrationReader) arrivals(steps []*pendingStep) {
	byKey := map[string]*pendingStep{}
	for _, s := range steps {
		byKey[s.key] = s
	}
	done := map[string]bool{}
	var enter func(s *pendingStep, seen []string)
	enter = func(s *pendingStep, seen []string) {
		if done[s.key] {
			return
		}
		done[s.key] = true
		for i := 0; i < len(s.step.Transform.Ops) && i < len(s.ops); i++ {
			op := s.step.Transform.Ops[i]
			if op.Kind != OpRoute || op.inherited || op.byDate() {
				continue
			}
			to := byKey[op.To]
			if !m.mayRoute(s, to, op, s.ops[i], append(seen, s.key)) {
				continue
			}
			to.arrive(s, i)
			enter(to, append(seen, s.key))
		}
	}
	// Those that nothing is routed to come first: what they pass on is whole.
	for _, s := range steps {
		if !slices.ContainsFunc(steps, func(o *pendingStep) bool {
			return slices.ContainsFunc(o.step.Transform.Routes(), func(op Op) bool { return op.To == s.key })
		}) {
			enter(s, nil)
		}
	}
	for _, s := range steps {
		if s.step.Transform.Routed() && !done[s.key] {
			m.doc.problem(s.at, "step %s: its routes lead in a circle", s.key)
		}
	}
}

func (m *migrationReader) mayRoute(s, to *pendingStep, op Op, at *yaml.Node, seen []string) bool {
	d := m.doc
	switch {
	case to == nil:
		d.problem(at, "step %s: routes to %s, which has no step: give it one with from: %s", s.key, op.To, s.step.From)
	case to.step.From != s.step.From:
		d.problem(at, "step %s: routes to %s, whose documents come from %s: both must come from %s", s.key, op.To, to.step.From, s.step.From)
	case slices.Contains(seen, op.To):
		d.problem(at, "step %s: routes back to %s", s.key, op.To)
	case len(to.step.Transform.Ops) > 0 && to.step.Transform.Ops[0].inherited:
		d.problem(at, "step %s: %s has documents routed to it already: combine the conditions into one route", s.key, op.To)
	case slices.ContainsFunc(append(slices.Clone(s.step.Transform.Ops), to.step.Transform.Ops...), func(o Op) bool { return o.Kind == OpPainless }):
		d.problem(at, "step %s: a route and raw Painless in one way: nobody could tell a routed document from a dropped one", s.key)
	default:
		return true
	}
	return false
}

// arrive puts in front of a step what a document has had before operation i of
// another one, which routes it.
func (s *pendingStep) arrive(from *pendingStep, i int) {
	var before []Op
	var nodes []*yaml.Node
	for k, o := range from.step.Transform.Ops[:i+1] {
		if o.byDate() {
			continue // the partitions are of the resource that it stands in
		}
		o.inherited = true
		before, nodes = append(before, o), append(nodes, from.ops[k])
	}
	last := &before[len(before)-1]
	last.Arriving, last.To = true, ""
	for _, d := range from.step.Drops {
		if slices.ContainsFunc(before, func(o Op) bool { return o.losing(d.Field) }) {
			s.step.Drops = append(s.step.Drops, d)
		}
	}
	s.step.Transform.Ops = append(before, s.step.Transform.Ops...)
	s.ops = append(nodes, s.ops...)
}

// losing says whether an operation removes a field, or something in it.
func (o Op) losing(field string) bool {
	lost := o.source()
	return lost != "" && o.Kind != OpRoute && (within(field, lost) || within(lost, field)) && (o.Kind == OpRemove || o.Kind == OpUnwrap || o.Onto == OntoDiscard)
}

// checkRoutes refuses two steps that take the same documents twice because one
// of them has no route to it.
func (m *migrationReader) checkRoutes(steps []*pendingStep) {
	for _, s := range steps {
		if !s.step.Transform.Routed() {
			continue
		}
		for _, o := range steps {
			if o.key != s.key && o.step.From == s.step.From && !o.step.Transform.Routed() {
				m.doc.problem(o.at, "step %s: takes all documents of %s, of which step %s routes some elsewhere: route to it, or take the route away", o.key, o.step.From, s.key)
			}
		}
	}
}

func (o Op) validateRoute() error {
	switch {
	case o.By != "" && (o.To != "" || o.Arriving):
		return fmt.Errorf("leads to a resource (to), or into the partition of a date (by), not both")
	case o.Mode != "" && o.By != "":
		return fmt.Errorf("cannot be of one mode: a resource is partitioned alike in both")
	case o.By != "":
		return validPath("by", o.By)
	case !o.Arriving && o.To == "":
		return fmt.Errorf("needs a resource (to), or the date that says the partition (by)")
	case o.When == nil:
		return fmt.Errorf("needs a condition (when): which documents leave?")
	case o.Mode != "":
		return fmt.Errorf("cannot be of one mode: a resource is there in both")
	case !o.Arriving && !keyPattern.MatchString(o.To):
		return fmt.Errorf("to %q is not the key of a resource", o.To)
	}
	return nil
}
