package upgrader

import (
	"context"
	"fmt"
	"slices"

	"github.com/tracardi/tms/upgrader/naming"
	"github.com/tracardi/tms/upgrader/stream"
)

// After the switch an old container that meets a new month still makes a
// partition of the old version, through a template that lets nobody write to it
// and shows it to nobody. Such an index is in no record, and would stay for
// ever when the recorded ones go.

// strays are indices of the old version that are in no record and have never
// taken a write: they go with the others. What holds documents, or is seen by a
// reader, is kept and told. Writes to them are refused while they are looked
// at, so that nothing comes in between.
func (s *session) strays(ctx context.Context, recorded []string) ([]string, error) {
	there, err := s.engine.Indices(ctx, s.oldPatterns()...)
	if err != nil {
		return nil, err
	}
	var names, open []string
	for _, ix := range there {
		n, ok := naming.Parse(ix.Name)
		if _, known := s.l.sourceOf(n); !ok || !known || slices.Contains(recorded, ix.Name) {
			continue
		}
		if seen := visible(ix.Aliases); len(seen) > 0 {
			s.tell("finalize: index %s of the old version is in no record and stays: alias %s leads to it", ix.Name, seen[0])
			continue
		}
		names = append(names, ix.Name)
		if !ix.WriteBlocked {
			open = append(open, ix.Name)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	if _, err := s.engine.BlockWrites(ctx, names...); err != nil {
		return nil, err
	}
	stats, err := s.engine.Stats(ctx, names...)
	if err != nil {
		return nil, err
	}
	var empty, back []string
	for _, name := range names {
		st, ok := stats[name]
		if ok && st.Primaries > 0 && len(st.MaxSeqNo) == st.Primaries && stream.Never(st.MaxSeqNo) {
			empty = append(empty, name)
			continue
		}
		s.tell("finalize: index %s of the old version is in no record and stays: it has taken writes and holds %d documents; look at it, and delete it when nobody needs it", name, st.Docs)
		if slices.Contains(open, name) {
			back = append(back, name)
		}
	}
	if len(back) > 0 {
		if err := s.engine.UnblockWrites(ctx, back...); err != nil {
			return nil, err
		}
	}
	return empty, nil
}

// tell adds a note to the tenant, once.
func (s *session) tell(format string, args ...any) {
	note := fmt.Sprintf(format, args...)
	if !slices.Contains(s.t.Record.Notes, note) {
		s.t.Record.Notes = append(s.t.Record.Notes, note)
	}
}
