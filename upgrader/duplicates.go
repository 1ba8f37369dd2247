package upgrader

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader/stream"
)

// When several sources are merged, two of them may hold the same id. The rule:
// the document with the newest time of its own (see timeFields) is kept; when
// the times are equal or missing, the one from the later partition. The other
// goes into quarantine, whole.

// timeFields are looked at in this order, in the document as it will be in
// the target release.
var timeFields = []string{"metadata.time.update", "metadata.time.insert", "metadata.time.create", "metadata.timestamp", "timestamp"}

// settleMerges settles the duplicates of all merges that may have some.
func (s *session) settleMerges(ctx context.Context) error {
	var merges []*Move
	for _, m := range s.moves {
		if m.Method == MethodMerge && s.filled(m) > 1 {
			merges = append(merges, m)
		}
	}
	distinct, err := s.distinct(ctx, merges)
	if err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.r.limits.Streams)
	for _, m := range merges {
		if !distinct[m.Target] {
			g.Go(func() error { return s.settleDuplicates(gctx, m) })
		}
	}
	return g.Wait()
}

// filled is the number of sources that a merge has documents from.
func (s *session) filled(m *Move) (n int) {
	for i := range m.Copies {
		if c := &m.Copies[i]; !stream.Never(c.Checkpoint) && !s.apart(c) {
			n++
		}
	}
	return n
}

// distinct are the targets of merges that show without a look at the ids that
// no two sources hold the same one: every write to the target is a document of
// its own, so none has replaced another. To read all ids costs half as much as
// to copy the documents. What was not written may be a twin all the same; and a
// copy that was started twice has replaced its own documents: those that are
// not in the answer have to be looked at.
func (s *session) distinct(ctx context.Context, merges []*Move) (map[string]bool, error) {
	if len(merges) == 0 {
		return nil, nil
	}
	targets := make([]string, len(merges))
	for i, m := range merges {
		targets[i] = m.Target
	}
	if err := s.engine.Refresh(ctx, targets...); err != nil {
		return nil, err
	}
	// Counted first: what somebody writes in between makes them differ.
	count, err := s.engine.Count(ctx, targets...)
	if err != nil {
		return nil, err
	}
	stats, err := s.stats(ctx, targets...)
	if err != nil {
		return nil, err
	}
	out := map[string]bool{}
	for _, m := range merges {
		unwritten := slices.ContainsFunc(m.Copies, func(c Copy) bool { return len(s.aside.of(c.Source, "")) > 0 })
		out[m.Target] = !unwritten && given(stats[m.Target].MaxSeqNo) == count[m.Target]
	}
	return out, nil
}

// settleDuplicates finds every id that more than one source of a merge holds.
func (s *session) settleDuplicates(ctx context.Context, m *Move) error {
	seen := stream.NewIDSet()
	var twins []string
	for i := range m.Copies {
		c := &m.Copies[i]
		if s.apart(c) {
			continue
		}
		own := stream.NewIDSetLike(seen)
		note := func(ids []string) error {
			for _, id := range ids {
				if seen.Has(id) {
					twins = append(twins, id)
				}
				own.Add(id)
			}
			if len(twins) > MaxQuarantine {
				return failf("more than %d ids of %s stand in several partitions; look into the sources", MaxQuarantine, m.Target)
			}
			return nil
		}
		if err := s.eachID(ctx, c, note); err != nil {
			return err
		}
		seen.Merge(own)
	}
	return s.settle(ctx, m, twins)
}

// eachID calls fn with the ids of a source, as this turn has met them or as
// the engine has them.
func (s *session) eachID(ctx context.Context, c *Copy, fn func(ids []string) error) error {
	s.mu.Lock()
	ids, known := s.swept[c.Source]
	s.mu.Unlock()
	if known {
		return fn(ids)
	}
	return stream.ReadAll(ctx, s.engine, c.Source, c.Checkpoint, true, func(docs []stream.Doc) error { return fn(stream.IDs(docs)) })
}

// twins returns the ids of docs that another source of the merge holds too.
func (s *session) twins(ctx context.Context, m *Move, c *Copy, docs []stream.Doc) ([]string, error) {
	var siblings []string
	for i := range m.Copies { // looked at, not copied: others note what goes into it
		if other := &m.Copies[i]; other.Source != c.Source {
			siblings = append(siblings, other.Source)
		}
	}
	found, err := s.engine.FindIDs(ctx, siblings, stream.IDs(docs))
	if err != nil {
		return nil, err
	}
	var out []string
	for _, ids := range found {
		out = append(out, ids...)
	}
	return out, nil
}

// candidate is one of several documents with the same id.
type candidate struct {
	doc  stream.Doc
	t    transformed
	when time.Time
}

// settle writes the newest of the documents with each id and keeps the others
// aside.
func (s *session) settle(ctx context.Context, m *Move, ids []string) error {
	for len(ids) > 0 {
		n := min(len(ids), stream.PageSize)
		if err := s.settlePage(ctx, m, ids[:n]); err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}

func (s *session) settlePage(ctx context.Context, m *Move, ids []string) error {
	byID, there := map[string][]candidate{}, map[string][]string{}
	for i := range m.Copies { // from the oldest partition to the newest
		docs, err := s.engine.Get(ctx, m.Copies[i].Source, ids)
		if err != nil {
			return err
		}
		for id, d := range docs {
			there[id] = append(there[id], d.Index)
			t := s.transform(m, d.Index, d.Source)
			if t.elsewhere {
				continue
			}
			byID[id] = append(byID[id], candidate{doc: d, t: t, when: documentTime(t.source)})
		}
	}
	var ops []BulkOp
	var winners []candidate
	var aside []Quarantined
	for _, id := range ids {
		cs := byID[id]
		win := newest(cs)
		if win < 0 {
			ops = append(ops, BulkOp{Index: m.Target, ID: id, Delete: true})
			winners = append(winners, candidate{doc: stream.Doc{ID: id}})
			for _, c := range cs {
				aside = append(aside, s.quarantined(c.doc, m.Target, c.t.kind, c.t.reason))
			}
			continue
		}
		w := cs[win]
		ops = append(ops, BulkOp{Index: m.Target, ID: id, Routing: w.doc.Routing, Source: w.t.source, Script: w.t.script, Params: w.t.params})
		winners = append(winners, w)
		for i, c := range cs {
			if i != win {
				aside = append(aside, s.quarantined(c.doc, m.Target, QuarantineDuplicate, fmt.Sprintf("the same id stands in %s, which is newer", w.doc.Index)))
			}
		}
	}
	refused, err := s.bulk(ctx, ops)
	if err != nil {
		return err
	}
	var remove []BulkOp
	for i, res := range refused {
		kind := QuarantineRefused
		if res.Dropped() {
			kind = QuarantineDropped
		}
		aside = append(aside, s.quarantined(winners[i].doc, m.Target, kind, res.Type+": "+res.Reason))
		// An older one may have been copied before: it is kept aside as well.
		remove = append(remove, BulkOp{Index: m.Target, ID: ops[i].ID, Routing: ops[i].Routing, Delete: true})
	}
	if bad, err := s.bulk(ctx, remove); err != nil || len(bad) > 0 {
		return errors.Join(err, refusedError(bad))
	}
	if err := s.keepAside(ctx, aside...); err != nil {
		return err
	}
	for i, w := range winners {
		if w.doc.Index != "" && refused[i] == nil {
			if err := s.takeBack(ctx, w.doc.Index, w.doc.ID); err != nil {
				return err
			}
		}
		if err := s.forgetTwins(ctx, m, w.doc.ID, there[w.doc.ID]); err != nil {
			return err
		}
	}
	return nil
}

// forgetTwins removes quarantined twins that their source no longer has; there
// are the sources that have the id, wherever its document belongs.
func (s *session) forgetTwins(ctx context.Context, m *Move, id string, there []string) error {
	for _, c := range m.Copies {
		if !slices.Contains(there, c.Source) {
			if err := s.takeBack(ctx, c.Source, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// resettle looks again at every known duplicate of a merge: the kept one may
// have been deleted, or the other updated.
func (s *session) resettle(ctx context.Context, m *Move) error {
	if m.Method != MethodMerge {
		return nil
	}
	seen := map[string]bool{}
	var ids []string
	for _, c := range m.Copies {
		for _, id := range s.aside.of(c.Source, QuarantineDuplicate) {
			if !seen[id] {
				seen[id] = true
				ids = append(ids, id)
			}
		}
	}
	return s.settle(ctx, m, ids)
}

// newest is the position of the document to keep, -1 when none can go.
func newest(cs []candidate) int {
	win := -1
	for i, c := range cs {
		if c.t.kind != "" {
			continue
		}
		// Later partitions come later: on a tie they win.
		if win < 0 || !c.when.Before(cs[win].when) {
			win = i
		}
	}
	return win
}

// documentTime is the newest time that a document says of itself.
func documentTime(source []byte) time.Time {
	doc, err := releases.DecodeDoc(source)
	if err != nil {
		return time.Time{}
	}
	for _, f := range timeFields {
		if t, ok := parseTime(lookup(doc, f)); ok {
			return t
		}
	}
	return time.Time{}
}

func lookup(doc map[string]any, path string) any {
	var v any = doc
	for _, k := range strings.Split(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[k]
	}
	return v
}

// timeLayouts are how Tracardi writes times: Python's isoformat with and
// without a zone, and with a space.
var timeLayouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999"}

func parseTime(v any) (time.Time, bool) {
	str, ok := v.(string)
	if !ok {
		return time.Time{}, false
	}
	for _, l := range timeLayouts {
		if t, err := time.Parse(l, str); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
