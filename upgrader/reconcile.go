package upgrader

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/upgrader/stream"
)

// Deleted documents leave no trace that a search could find. But copies never
// lack a document of their source (its sequence number is either below the
// checkpoint, then it was copied, or above, then catching up copies it), so
// what differs in number can only be deletions, and only where the numbers
// differ the ids must be compared.

// tally is the number of documents on both sides of a move.
type tally struct {
	source, target int64
	aside          int64 // of the sources' documents, in quarantine on purpose
	elsewhere      int64 // of the sources' documents, in other targets, see routed.go
	unknown        bool  // the numbers of targets that share sources do not agree
}

func (t tally) equal() bool { return !t.unknown && t.source-t.aside-t.elsewhere == t.target }

// touchedIndices are both sides of every move that ever saw a document.
func (s *session) touchedIndices() []string {
	var names []string
	for _, m := range s.moves {
		if !m.touched() {
			continue
		}
		names = append(names, m.Target)
		for _, c := range m.Copies {
			names = append(names, c.Source)
		}
	}
	return names
}

// tallies counts both sides of every move that ever saw a document. Both
// sides must have been refreshed by the caller; now is as for count.
func (s *session) tallies(ctx context.Context, now map[string]IndexStats) (map[*Move]tally, error) {
	names := s.touchedIndices()
	out := map[*Move]tally{}
	if len(names) == 0 {
		return out, nil
	}
	n, err := s.count(ctx, names, now)
	if err != nil {
		return nil, err
	}
	for _, m := range s.moves {
		if !m.touched() {
			continue
		}
		t := tally{target: n[m.Target]}
		for _, c := range m.Copies {
			t.source += n[c.Source]
			t.aside += int64(len(s.aside.of(c.Source, "")))
		}
		m.Documents = t.target
		out[m] = t
	}
	s.levelRouted(out, n)
	return out, nil
}

// touched says whether a source ever saw a write.
func (m *Move) touched() bool {
	for _, c := range m.Copies {
		if !stream.Never(c.Checkpoint) {
			return true
		}
	}
	return false
}

// refreshBoth makes everything that was written visible on both sides.
func (s *session) refreshBoth(ctx context.Context) error {
	names := s.touchedIndices()
	s.mu.Lock()
	s.stale = map[string]bool{} // what is written from now on may be missed
	s.mu.Unlock()
	if len(names) == 0 {
		return nil
	}
	return s.engine.Refresh(ctx, names...)
}

// refreshStale is refreshBoth for what has changed since: sources were
// refreshed by the pass that caught up with their last write.
func (s *session) refreshStale(ctx context.Context) error {
	s.mu.Lock()
	names, known := sortedKeys(s.stale), s.stale != nil
	if known {
		s.stale = map[string]bool{} // what is written from now on may be missed
	}
	s.mu.Unlock()
	switch {
	case !known:
		return s.refreshBoth(ctx)
	case len(names) == 0:
		return nil
	}
	err := s.engine.Refresh(ctx, names...)
	if err != nil {
		s.mu.Lock()
		s.stale = nil // all of them, next time
		s.mu.Unlock()
	}
	return err
}

// reconcile removes from the targets what their sources no longer have. It
// may run while writers go on: a document that comes back meanwhile has a
// sequence number above the checkpoint and is copied by the next pass. While
// they do, as many documents may have come as have gone: thorough compares the
// ids of all that is written to, whatever the numbers say.
func (s *session) reconcile(ctx context.Context, thorough bool) error {
	for _, m := range s.moves {
		if err := s.resettle(ctx, m); err != nil {
			return err
		}
	}
	if err := s.pruneQuarantine(ctx, nil); err != nil {
		return err
	}
	if err := s.refreshBoth(ctx); err != nil {
		return err
	}
	tallies, err := s.tallies(ctx, nil)
	if err != nil {
		return err
	}
	return s.removeDeleted(ctx, tallies, func(m *Move) bool {
		return thorough && slices.ContainsFunc(m.Copies, func(c Copy) bool { return s.hot[c.Source] })
	})
}

// removeDeleted deletes, from the targets whose counts differ and those that
// are suspected, the ids that no source has.
func (s *session) removeDeleted(ctx context.Context, tallies map[*Move]tally, suspected func(*Move) bool) error {
	var moves []*Move
	for m, t := range tallies {
		if !t.equal() || suspected(m) {
			moves = append(moves, m)
		}
	}
	if len(moves) == 0 {
		return nil
	}
	stats, err := s.stats(ctx, append(s.oldPatterns(), s.newPatterns()...)...)
	if err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.r.limits.Streams)
	for _, m := range moves {
		g.Go(func() error { return s.removeDeletedFrom(gctx, m, stats) })
	}
	return g.Wait()
}

func (s *session) removeDeletedFrom(ctx context.Context, m *Move, stats map[string]IndexStats) error {
	// The target first: what it has was in the source before it was read.
	var ids []string
	err := stream.ReadAll(ctx, s.engine, m.Target, stats[m.Target].MaxSeqNo, true, func(docs []stream.Doc) error {
		ids = append(ids, stream.IDs(docs)...)
		return nil
	})
	if err != nil {
		return err
	}
	there := stream.NewIDSet()
	for i := range m.Copies {
		if s.apart(&m.Copies[i]) {
			continue
		}
		if err := s.collectIDs(ctx, m.Copies[i].Source, stats[m.Copies[i].Source].MaxSeqNo, there); err != nil {
			return err
		}
	}
	gone := slices.DeleteFunc(ids, there.Has)
	if len(gone) > 0 && s.disturbed(m, stats[m.Target].MaxSeqNo) {
		if gone, err = s.inNoSource(ctx, m, gone); err != nil {
			return err
		}
		if err := s.keepStrange(ctx, m, gone); err != nil {
			return err
		}
	}
	if len(gone) == 0 {
		return nil
	}
	ops := make([]BulkOp, 0, len(gone))
	for _, id := range gone {
		ops = append(ops, BulkOp{Index: m.Target, ID: id, Delete: true})
	}
	bad, err := s.bulk(ctx, ops)
	if err != nil {
		return err
	}
	if err := refusedError(bad); err != nil {
		return err
	}
	s.log.Debug("deletions reconciled", "target", m.Target, "documents", len(ops))
	return s.engine.Refresh(ctx, m.Target)
}

// inNoSource leaves out the ids of documents that were missed because they
// changed while they were read: nobody is to look into those.
func (s *session) inNoSource(ctx context.Context, m *Move, ids []string) ([]string, error) {
	there := map[string]bool{}
	for i := range m.Copies {
		if s.apart(&m.Copies[i]) {
			continue
		}
		for part := range slices.Chunk(ids, stream.PageSize) {
			docs, err := s.engine.Get(ctx, m.Copies[i].Source, part)
			if err != nil {
				return nil, err
			}
			for id := range docs {
				there[id] = true
			}
		}
	}
	return slices.DeleteFunc(ids, func(id string) bool { return there[id] }), nil
}

// collectIDs reads all ids that a source has. A document that changes while
// it is read may be missed, because its sequence number moves; it is then
// above the checkpoint, and catching up writes it again.
func (s *session) collectIDs(ctx context.Context, source string, to map[int]int64, into *stream.IDSet) error {
	return stream.ReadAll(ctx, s.engine, source, to, true, func(docs []stream.Doc) error {
		for _, d := range docs {
			into.Add(d.ID)
		}
		return nil
	})
}
