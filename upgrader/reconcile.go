package upgrader

import "context"

// Deleted documents leave no trace that a search could find. But copies never
// lack a document of their source (its sequence number is either below the
// checkpoint, then it was copied, or above, then catching up copies it), so
// what differs in number can only be deletions, and only where the numbers
// differ the ids must be compared.

// tally is the number of documents on both sides of a move.
type tally struct {
	source, target int64
	aside          int64 // of the sources' documents, in quarantine on purpose
}

func (t tally) equal() bool { return t.source-t.aside == t.target }

// tallies counts both sides of every move that ever saw a document. Both
// sides must have been refreshed by the caller.
func (s *session) tallies(ctx context.Context) (map[*Move]tally, error) {
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
	out := map[*Move]tally{}
	if len(names) == 0 {
		return out, nil
	}
	n, err := s.engine.Count(ctx, names...)
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
	return out, nil
}

// touched says whether a source ever saw a write.
func (m *Move) touched() bool {
	for _, c := range m.Copies {
		if !never(c.Checkpoint) {
			return true
		}
	}
	return false
}

// refreshBoth makes everything that was written visible on both sides.
func (s *session) refreshBoth(ctx context.Context) error {
	var names []string
	for _, m := range s.moves {
		if m.touched() {
			names = append(names, m.Target)
			for _, c := range m.Copies {
				names = append(names, c.Source)
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	return s.engine.Refresh(ctx, names...)
}

// reconcile removes from the targets what their sources no longer have. It
// may run while writers go on: a document that comes back meanwhile has a
// sequence number above the checkpoint and is copied by the next pass.
func (s *session) reconcile(ctx context.Context) error {
	for _, m := range s.moves {
		if err := s.resettle(ctx, m); err != nil {
			return err
		}
	}
	if err := s.pruneQuarantine(ctx); err != nil {
		return err
	}
	if err := s.refreshBoth(ctx); err != nil {
		return err
	}
	tallies, err := s.tallies(ctx)
	if err != nil {
		return err
	}
	for _, m := range s.moves {
		if t, ok := tallies[m]; ok && !t.equal() {
			if err := s.removeDeleted(ctx, m); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeDeleted deletes from a target the ids that no source has.
func (s *session) removeDeleted(ctx context.Context, m *Move) error {
	// The target first: what it has was in the source before it was read.
	stats, err := s.engine.Stats(ctx, m.Target)
	if err != nil {
		return err
	}
	var ids []string
	err = readAll(ctx, s.engine, m.Target, stats[m.Target].MaxSeqNo, true, func(docs []Doc) error {
		ids = append(ids, idsOf(docs)...)
		return nil
	})
	if err != nil {
		return err
	}
	there := newIDSet()
	for i := range m.Copies {
		if err := s.collectIDs(ctx, m.Copies[i].Source, there); err != nil {
			return err
		}
	}
	var ops []BulkOp
	for _, id := range ids {
		if !there.has(id) {
			ops = append(ops, BulkOp{Index: m.Target, ID: id, Delete: true})
		}
	}
	if len(ops) == 0 {
		return nil
	}
	bad, err := s.bulk(ctx, ops)
	if err != nil {
		return err
	}
	if err := refusedError(bad); err != nil {
		return err
	}
	s.log.Info("deletions reconciled", "target", m.Target, "documents", len(ops))
	return s.engine.Refresh(ctx, m.Target)
}

// collectIDs reads all ids that a source has. A document that changes while
// it is read may be missed, because its sequence number moves; it is then
// above the checkpoint, and catching up writes it again.
func (s *session) collectIDs(ctx context.Context, source string, into *idSet) error {
	stats, err := s.engine.Stats(ctx, source)
	if err != nil {
		return err
	}
	return readAll(ctx, s.engine, source, stats[source].MaxSeqNo, true, func(docs []Doc) error {
		for _, d := range docs {
			into.add(d.ID)
		}
		return nil
	})
}
