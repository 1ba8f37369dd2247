package upgrader

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader/naming"
)

// A step may route documents into the partition of a date that they hold, not
// the one that their index says. Then every partition of the resource is fed by
// all sources: each move passes over all of them and takes its own documents,
// as with routes to other resources (routed.go). Copies of sources that belong
// into another partition by their name are marked foreign.

// groupOf is all partitions of one resource in one environment.
type groupOf struct {
	resource string
	mode     naming.Mode
}

// fileByDate lets every source feed every partition of the resources whose
// documents go by their dates, and adds the partitions that a coarser source
// is cut into. It says what that means.
func (tp *tenantPlan) fileByDate() {
	for _, r := range tp.l.to.Resources {
		by := tp.l.lineages[r.Key].transform.FiledBy()
		if by == "" || r.Static || r.Partitioning == releases.Unpartitioned {
			continue
		}
		if tp.l.lineages[r.Key].transform.Opaque() {
			tp.refuse("route_unseen", fmt.Sprintf("on the way to %s documents of %s are routed by %s and raw Painless is performed: nobody could tell a routed document from a dropped one", tp.l.to.Version, r.Key, by),
				"upgrade to the release with the route first, then to "+tp.l.to.Version)
			continue
		}
		partitions := 0
		for _, m := range naming.ModesOf(r) {
			partitions += tp.cross(m, r)
		}
		tp.note("documents of %s go into the partition of their %s, where there is one (%d in both environments); the others, and those without a date, stay in that of their index", r.Key, by, partitions)
	}
}

// cross adds to every partition of a resource the sources of all the others,
// and returns how many partitions there are.
func (tp *tenantPlan) cross(mode naming.Mode, r releases.Resource) int {
	var sources []Copy
	for _, name := range sortedKeys(tp.moves) {
		if m := tp.moves[name]; m.Resource == r.Key && m.Mode == mode {
			sources = append(sources, m.Copies...)
		}
	}
	for _, c := range sources {
		n, _ := naming.Parse(c.Source)
		for _, part := range partsOf(n.Partition, r.Partitioning) {
			mv := tp.move(mode, r, part)
			mv.Replicas = max(mv.Replicas, tp.replicas(mode))
		}
	}
	partitions := 0
	for _, m := range tp.moves {
		if m.Resource == r.Key && m.Mode == mode {
			partitions++
			m.addForeign(sources)
		}
	}
	return partitions
}

// addForeign adds those of the sources that the move does not have.
func (m *Move) addForeign(sources []Copy) {
	for _, c := range sources {
		if !slices.ContainsFunc(m.Copies, func(o Copy) bool { return o.Source == c.Source }) {
			m.Copies = append(m.Copies, Copy{Source: c.Source, Resource: c.Resource, State: CopyPlanned, Docs: c.Docs, Bytes: c.Bytes, Shards: c.Shards, Planned: c.Planned, Foreign: true})
		}
	}
	sortCopies(m)
}

// partsOf are the partitions of a finer partitioning that a partition is cut
// into; none when it is no finer.
func partsOf(partition string, p releases.Partitioning) []string {
	if partition == "" || partitionSpan(partition) <= partitionSpan(naming.PartitionAt(p, time.Time{})) {
		return nil
	}
	var out []string
	first := firstOf(partition)
	for i := range partitionSpan(partition) {
		if part := naming.PartitionAt(p, first.AddDate(0, i, 0)); !slices.Contains(out, part) {
			out = append(out, part)
		}
	}
	return out
}

// firstOf is the moment at which a partition begins.
func firstOf(partition string) time.Time {
	at := naming.PartitionStart(partition)
	return time.Date(at/100, time.Month(max(1, at%100)), 1, 0, 0, 0, 0, time.UTC)
}

// spanOf is the period of a partition.
func spanOf(partition string) releases.Span {
	first := firstOf(partition)
	return releases.Span{From: first.UnixMilli(), Until: first.AddDate(0, partitionSpan(partition), 0).UnixMilli()}
}

// transformOf is what becomes of the documents of one source of a move.
func (s *session) transformOf(m *Move, source string) releases.Transform {
	t := s.l.transformOf(m)
	if !t.Dated() {
		return t
	}
	return t.Into(s.filing(m, source))
}

// filing says which partition takes a document of a source. Partitions that
// came up after the plan take what their own sources hold, and nothing by date:
// what was copied before would have to be looked at again.
func (s *session) filing(m *Move, source string) releases.Filing {
	f := releases.Filing{Own: -1, Here: -2}
	for i, t := range s.takers(groupOf{m.Resource, m.Mode}) {
		f.Spans = append(f.Spans, spanOf(t.Partition))
		if t.ownSource(source) {
			f.Own = i
		}
		if t.Target == m.Target {
			f.Here = i
		}
	}
	if f.Here < 0 && m.ownSource(source) {
		f.Here = f.Own // no other takes what it holds, but those with a fitting date
	}
	return f
}

// takers are the partitions that take documents by date, in the order of the
// spans of a filing.
func (s *session) takers(group groupOf) []*Move {
	s.filingMu.Lock()
	defer s.filingMu.Unlock()
	takers, ok := s.filings[group]
	if !ok {
		takers = takersByDate(s.moves, group)
		if s.filings == nil {
			s.filings = map[groupOf][]*Move{}
		}
		s.filings[group] = takers
	}
	return takers
}

// takersByDate are the partitions that take documents by date, the narrowest
// first: those that all sources feed.
func takersByDate(moves []*Move, group groupOf) []*Move {
	var out []*Move
	most := 0
	for _, m := range moves {
		if m.Resource == group.resource && m.Mode == group.mode {
			out, most = append(out, m), max(most, len(m.Copies))
		}
	}
	out = slices.DeleteFunc(out, func(m *Move) bool { return len(m.Copies) < most || m.Partition == "" })
	slices.SortFunc(out, func(a, b *Move) int {
		return cmp.Or(cmp.Compare(partitionSpan(a.Partition), partitionSpan(b.Partition)), cmp.Compare(naming.PartitionStart(a.Partition), naming.PartitionStart(b.Partition)))
	})
	return out
}

// ownSource says whether a source belongs into a move's partition by its name.
func (m *Move) ownSource(source string) bool {
	for i := range m.Copies { // whole copies are written to meanwhile, these fields are not
		if c := &m.Copies[i]; c.Source == source && !c.Foreign {
			return true
		}
	}
	return false
}

// spreadSource adds a source that came up after the plan to the partitions that
// take its documents by date, and returns those. target is the one that it
// belongs into by its name.
func (s *session) spreadSource(target string, group groupOf, c Copy) (changed []*Move) {
	if !s.l.lineages[group.resource].transform.Dated() {
		return nil
	}
	s.filingMu.Lock()
	defer s.filingMu.Unlock()
	s.filings = nil
	for _, m := range takersByDate(s.moves, group) {
		if m.Target != target {
			m.addForeign([]Copy{c})
			changed = append(changed, m)
		}
	}
	return changed
}
