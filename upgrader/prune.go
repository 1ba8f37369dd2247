package upgrader

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// pruneQuarantine forgets refused documents that their source no longer has.
// now are the sequence numbers of sources that nobody writes to any more: one
// that was looked at with the same ones is not looked at again. nil looks at
// all.
func (s *session) pruneQuarantine(ctx context.Context, now map[string]IndexStats) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.r.limits.Streams)
	for _, m := range s.moves {
		for i := range m.Copies {
			source := m.Copies[i].Source
			if st, ok := now[source]; ok && (counted{at: s.pruned[source]}).still(st.MaxSeqNo) {
				continue
			}
			if ids := append(s.aside.of(source, QuarantineRefused), s.aside.of(source, QuarantineDropped)...); len(ids) > 0 {
				g.Go(func() error { return s.pruneSource(gctx, source, ids) })
			}
		}
	}
	return g.Wait()
}

// pruneAhead looks at all refused documents while writers go on, and notes as
// of which sequence numbers.
func (s *session) pruneAhead(ctx context.Context) error {
	before := map[string]Checkpoint{}
	for name, c := range s.counted {
		before[name] = c.at // read earlier: nothing is taken for newer than it is
	}
	if err := s.pruneQuarantine(ctx, nil); err != nil {
		return err
	}
	s.pruned = before
	return nil
}

func (s *session) pruneSource(ctx context.Context, source string, ids []string) error {
	for len(ids) > 0 {
		n := min(len(ids), pageSize)
		there, err := s.engine.Get(ctx, source, ids[:n])
		if err != nil {
			return err
		}
		var gone []string
		for _, id := range ids[:n] {
			if _, ok := there[id]; !ok {
				gone = append(gone, id)
			}
		}
		if err := s.takeBack(ctx, source, gone...); err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}
