package upgrader

import (
	"context"
	"fmt"

	"github.com/tracardi/tms/upgrader/stream"
)

// Before the switch nobody but TMS writes to the targets; but a container of
// the new release that was started too early does. What it writes is found as
// documents that the source does not have, and looks like documents that were
// deleted there. Sequence numbers tell the two apart: a target has given out
// as many as TMS has performed operations on it, or somebody else wrote.

// countWrites counts the operations that indices have taken. Every one takes
// a sequence number, the deletion of what is not there as well.
func (s *session) countWrites(ops []BulkOp, results []BulkResult) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, res := range results {
		s.wrote[ops[i].Index] += operations(&ops[i], res)
		if s.stale != nil {
			s.stale[ops[i].Index] = true
		}
	}
}

// operations is how many sequence numbers an operation has taken. One with a
// script is a deletion first, which is performed even where the engine drops
// or refuses what the script has made.
func operations(op *BulkOp, res BulkResult) int64 {
	switch {
	case op.Script != "" && res.OK:
		return 2
	case op.Script != "" && (res.Dropped() || res.Status == 400), res.OK:
		return 1
	}
	return 0
}

// saveCounts stores what the targets have taken since their moves were stored.
func (s *session) saveCounts(ctx context.Context) error {
	var changed []*Move
	s.mu.Lock()
	for _, m := range s.moves {
		if s.wrote[m.Target] != m.Wrote {
			changed = append(changed, m)
		}
	}
	s.mu.Unlock()
	return s.saveMoves(ctx, changed...)
}

// countClone counts what a clone has from its source.
func (s *session) countClone(ctx context.Context, m *Move) error {
	stats, err := s.stats(ctx, m.Target)
	if err != nil {
		return err
	}
	s.update(func() { s.wrote[m.Target] = given(stats[m.Target].MaxSeqNo) })
	return nil
}

// given is how many sequence numbers an index has given out.
func given(seq map[int]int64) int64 {
	var n int64
	for _, top := range seq {
		n += top + 1
	}
	return n
}

// disturbed says whether somebody else may have written to a target. After a
// worker has died it may be said although nobody has: what was done between
// its last record and its death is not counted.
func (s *session) disturbed(m *Move, seq map[int]int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return given(seq) != s.wrote[m.Target]
}

// keepStrange keeps documents of a disturbed target before they are removed,
// because no source has them.
func (s *session) keepStrange(ctx context.Context, m *Move, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	s.log.Warn("target holds documents that no source has", "target", m.Target, "documents", len(ids))
	if n := len(ids) + len(s.aside.of(m.Target, QuarantineLeftover)); n > MaxQuarantine {
		return failf("index %s holds %d documents that the old version does not have, more than the %d that would be kept: a container of %s seems to write to it; stop it, cancel the rollout and start again", m.Target, n, MaxQuarantine, s.l.to.Version)
	}
	for len(ids) > 0 {
		n := min(len(ids), stream.PageSize)
		docs, err := s.engine.Get(ctx, m.Target, ids[:n])
		if err != nil {
			return err
		}
		keep := make([]Quarantined, 0, len(docs))
		for _, d := range docs {
			keep = append(keep, s.quarantined(d, m.Target, QuarantineLeftover, fmt.Sprintf("found in a target of %s before the switch, and in no source: written there by somebody else, or deleted in the old version while a worker died", s.l.to.Version)))
		}
		if err := s.keepAside(ctx, keep...); err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}

// baseline remembers how many operations on the closed indices of the old
// version were not ours of this session.
func (s *session) baseline(olds map[string]IndexStats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.others = map[string]int64{}
	for name, st := range olds {
		s.others[name] = given(st.MaxSeqNo) - s.wrote[name]
	}
}

// lookForStrangers sees, after a pass of a rollback and with the old version
// closed again, whether somebody else has written to what was open.
func (s *session) lookForStrangers(ctx context.Context) error {
	if len(s.open) == 0 || s.others == nil {
		return nil
	}
	names := sortedKeys(s.open)
	stats, err := s.stats(ctx, names...)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		if given(stats[name].MaxSeqNo)-s.wrote[name] != s.others[name] {
			s.t.Record.Return.Disturbed = true
		}
	}
	return nil
}
