package upgrader

import (
	"fmt"
	"slices"
	"strings"
)

// A step of a release may route documents of one resource into another, or into
// the partition of a date (filing.go). Then a source feeds several targets, and each of its documents belongs into one of
// them. Each move passes over all documents of its sources and takes its own:
// what belongs elsewhere is removed from its target, in case an earlier state
// of the document was there, and compared as absent. How many documents of a
// source belong into which target nobody counts; so the numbers are compared
// of all targets that share sources together. Since no target lacks a document
// of its own, they can only be equal when none has one too many.

// routed says whether the sources of a move feed other targets as well.
func (s *session) routed(m *Move) bool {
	t := s.l.lineages[m.Resource].transform
	return t.Routed() || t.Dated()
}

// levelRouted settles the tallies of moves that share sources: where the
// numbers of all of them together are equal, those of each are what they
// should be.
func (s *session) levelRouted(out map[*Move]tally, counts map[string]int64) {
	for _, group := range s.routedGroups(out) {
		seen := map[string]bool{}
		var sum tally
		for _, m := range group {
			sum.target += out[m].target
			for _, c := range m.Copies {
				if !seen[c.Source] {
					seen[c.Source] = true
					sum.source += counts[c.Source]
					sum.aside += int64(len(s.aside.of(c.Source, "")))
				}
			}
		}
		if !sum.equal() {
			// Nobody knows whose fault it is: each is looked at.
			for _, m := range group {
				t := out[m]
				t.unknown = true
				out[m] = t
			}
			continue
		}
		for _, m := range group {
			t := out[m]
			t.elsewhere = t.source - t.aside - t.target
			out[m] = t
		}
	}
}

// routedGroups are the moves with routes, those that share a source together.
func (s *session) routedGroups(of map[*Move]tally) [][]*Move {
	var groups [][]*Move
	for _, m := range s.moves {
		if _, touched := of[m]; !touched || !s.routed(m) {
			continue
		}
		group := []*Move{m}
		groups = slices.DeleteFunc(groups, func(g []*Move) bool {
			shares := slices.ContainsFunc(g, func(o *Move) bool { return o.sharesSource(m) })
			if shares {
				group = append(group, g...)
			}
			return shares
		})
		groups = append(groups, group)
	}
	return groups
}

func (m *Move) sharesSource(o *Move) bool {
	return slices.ContainsFunc(m.Copies, func(c Copy) bool {
		return slices.ContainsFunc(o.Copies, func(x Copy) bool { return x.Source == c.Source })
	})
}

// routes tells the operator where documents go, and refuses ways on which they
// would be lost or could not be told from dropped ones.
func (tp *tenantPlan) routes() {
	for _, key := range sortedKeys(tp.l.lineages) {
		t := tp.l.lineages[key].transform
		if !t.Routed() {
			continue
		}
		for _, o := range t.Routes() {
			back := "a rollback carries back what is written to either after the switch, but for what the route would not lead there again"
			if tp.l.doubled[tp.l.lineages[key].source] {
				back = "what is written to either after the switch is not carried back by a rollback"
			}
			tp.note("documents of %s for which %s go to %s; %s", tp.l.lineages[key].source, o.When, o.To, back)
		}
		if t.Opaque() {
			tp.refuse("route_unseen", fmt.Sprintf("on the way to %s documents of %s are routed and raw Painless is performed: nobody could tell a routed document from a dropped one", tp.l.to.Version, key),
				"upgrade to the release with the route first, then to "+tp.l.to.Version)
		}
	}
	for _, key := range sortedKeys(tp.l.routedGone) {
		tp.refuse("route_into_nothing", fmt.Sprintf("documents that are routed to %s on the way would be lost: %s", key, tp.l.routedGone[key]),
			"upgrade to "+strings.Join(tp.l.versions()[1:2], "")+" first, look at what is in "+key+", then to "+tp.l.to.Version)
	}
}
