package upgrader

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/upgrader/stream"
)

// pruneQuarantine forgets refused documents that their source no longer has.
// now are the sequence numbers of sources that nobody writes to any more: those
// that have not changed since they were counted ahead were looked at after that.
// nil looks at all.
func (s *session) pruneQuarantine(ctx context.Context, now map[string]IndexStats) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.r.limits.Streams)
	for _, m := range s.moves {
		for i := range m.Copies {
			source := m.Copies[i].Source
			if len(s.changed([]string{source}, now)) == 0 {
				continue
			}
			if ids := append(s.aside.of(source, QuarantineRefused), s.aside.of(source, QuarantineDropped)...); len(ids) > 0 {
				g.Go(func() error { return s.pruneSource(gctx, source, ids) })
			}
		}
	}
	return g.Wait()
}

func (s *session) pruneSource(ctx context.Context, source string, ids []string) error {
	for len(ids) > 0 {
		n := min(len(ids), stream.PageSize)
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
