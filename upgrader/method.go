package upgrader

import (
	"fmt"
	"slices"
	"time"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader/naming"
	"github.com/tracardi/tms/upgrader/schema"
)

// AllResources is the key of Options.Methods for every resource that has no
// entry of its own.
const AllResources = "*"

// worthCloning is the number of documents from which a clone is chosen
// unasked: it costs the cluster four changes of its state more than an empty
// index does, in which time a copy moves some thousand documents.
const worthCloning = 5_000

var fewDocuments = fmt.Sprintf("below %d documents copying is as quick as cloning", worthCloning)

// coldWindow is how long an index must have taken no write before it is
// cloned, counted from the plan, which notes its sequence numbers.
const coldWindow = 2 * time.Second

// facts are what the method of a move follows from, besides the move itself.
type facts struct {
	l       *layout
	now     time.Time
	options Options
	// source returns an index of the old version as the plan has seen it.
	source func(name string) (Index, bool)
}

// choose decides by which method a target gets its documents and says why. An
// error says why the method that the operator has asked for is impossible.
func (f facts) choose(m *Move) error {
	sortCopies(m)
	own := f.natural(m)
	m.Method, m.Why = own.method, own.why
	asked, only := f.asked(m)
	if asked == "" || asked == m.Method || m.docs() == 0 {
		return nil // without documents there is nothing to choose
	}
	why := f.impossible(asked, m)
	switch {
	case why == "":
		m.Method, m.Why = asked, "asked for; otherwise "+string(own.method)+": "+own.why
	case why != "" && only:
		return fmt.Errorf("%s into %s is not possible: %s", asked, m.Target, why)
	case why != "":
		m.Why += "; " + string(asked) + " was asked for, but " + why
	}
	m.Light = m.Light || m.Method == MethodClone
	return nil
}

// choice is a method and the reason for it.
type choice struct {
	method Method
	why    string
}

// natural is the method that the difference between both versions asks for.
func (f facts) natural(m *Move) choice {
	docs, filled := m.docs(), 0
	for _, c := range m.Copies {
		if c.Docs > 0 {
			filled++
		}
	}
	m.Light = docs <= lightDocs
	switch {
	case len(m.Copies) > 1 && slices.ContainsFunc(m.Copies, func(c Copy) bool { return c.Foreign }):
		return choice{MethodMerge, fmt.Sprintf("documents of %d indices go by their %s", len(m.Copies), f.l.transformOf(m).FiledBy())}
	case len(m.Copies) > 1:
		return choice{MethodMerge, fmt.Sprintf("%d partitions belong into %s", len(m.Copies), m.Partition)}
	case filled == 0 && len(m.Copies) == 1:
		return choice{MethodCreate, "the source is empty"}
	case filled == 0:
		return choice{MethodCreate, "new in this release, or today's partition"}
	}
	switch {
	case !f.l.transformOf(m).Empty():
		return choice{MethodReindex, "its documents are transformed"}
	case docs < worthCloning: // most are: their mappings need not be compared
		return choice{MethodReindex, fewDocuments}
	}
	if no := f.cloneable(m); no != "" {
		return choice{MethodReindex, no}
	}
	if no := f.unasked(m); no != "" {
		return choice{MethodReindex, "could be cloned, but " + no}
	}
	m.Light = true
	return choice{MethodClone, "its period is over, nothing is transformed, and the mapping at most gains fields"}
}

// unasked says why a move that can be cloned is not, unless the operator asks
// for it: a clone refuses the writes of its source for a moment.
func (f facts) unasked(m *Move) string {
	n, _ := naming.Parse(m.Copies[0].Source)
	switch {
	case f.options.HoldSwitch:
		return "with a held switch no write is refused unasked"
	case n.Partition == "":
		return "the source may be written to at any time"
	case !naming.PartitionOver(n.Partition, f.now):
		return "the source's period " + n.Partition + " is not over"
	}
	return ""
}

// asked is the method chosen by the operator, "" for none; only says that it
// was chosen for this very resource. Reindex and merge are the same work on one
// and on several sources.
func (f facts) asked(m *Move) (asked Method, only bool) {
	asked, only = f.options.Methods[m.Resource]
	if !only {
		asked = f.options.Methods[AllResources]
	}
	if asked == MethodReindex || asked == MethodMerge {
		asked = MethodReindex
		if len(m.Copies) > 1 {
			asked = MethodMerge
		}
	}
	return asked, only
}

// impossible says why a method does not do for a move, "" when it does.
func (f facts) impossible(asked Method, m *Move) string {
	switch asked {
	case MethodCreate:
		return fmt.Sprintf("its sources hold %d documents, which an empty index would lose", m.docs())
	case MethodClone:
		return f.cloneable(m)
	}
	return ""
}

// cloneable says why the only source of a move cannot be cloned, "" when it
// can: nothing may tell the clone from a copy but its history.
func (f facts) cloneable(m *Move) string {
	if len(m.Copies) != 1 {
		return "it has several sources"
	}
	if !f.l.transformOf(m).Empty() {
		return "its documents are transformed"
	}
	ix, ok := f.source(m.Copies[0].Source)
	if !ok {
		return "its source is new"
	}
	res := f.l.resource(m.Resource)
	if no := schema.OnlyAdds(res.Mapping, ix.Mapping); no != "" {
		return no
	}
	_, err := schema.CloneSettings(finalSettings(res, m.Replicas), ix.Settings)
	if err != nil {
		return err.Error()
	}
	return ""
}

// checkMethods refuses choices that mean nothing in a release.
func checkMethods(chosen map[string]Method, target *releases.Release) error {
	known := []Method{MethodCreate, MethodClone, MethodReindex, MethodMerge}
	for _, key := range sortedKeys(chosen) {
		res, ok := target.Resource(key)
		switch {
		case !slices.Contains(known, chosen[key]):
			return &ServiceError{Reason: ReasonInvalid, Field: "options.methods", Message: fmt.Sprintf("%q is not a method", chosen[key]), Remedy: "use create, clone, reindex or merge"}
		case key == AllResources:
		case !ok:
			return &ServiceError{Reason: ReasonInvalid, Field: "options.methods", Message: fmt.Sprintf("release %s has no resource %q", target.Version, key), Remedy: "see `tms release show " + target.Version + "`"}
		case res.Static:
			return &ServiceError{Reason: ReasonInvalid, Field: "options.methods", Message: fmt.Sprintf("resource %q is static: the new release's installer fills it", key), Remedy: "leave it out"}
		}
	}
	return nil
}
