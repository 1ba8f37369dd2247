package upgrader

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/upgrader/stream"
)

// sweep copies the small sources that nobody has begun to copy, many at a
// time. What does not turn out to be small is left for the other ways.
func (s *session) sweep(ctx context.Context) error {
	var small []job
	for _, j := range workOrder(s.moves, s.r.now()) {
		if j.c.State == CopyPlanned && !s.byEngine(j.c) && j.c.Bytes <= sweepBytes {
			small = append(small, j)
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(sweepParallel)
	for _, group := range bundled(small, func(j job) (int64, int64) { return j.c.Docs, j.c.Bytes }) {
		g.Go(func() error { return s.sweepGroup(gctx, group) })
	}
	return g.Wait()
}

func (s *session) sweepGroup(ctx context.Context, group []job) error {
	indices := map[string]stream.Checkpoint{}
	for _, j := range group {
		indices[j.c.Source] = j.c.Checkpoint
	}
	near, err := s.near(ctx, indices)
	if err != nil || near == nil {
		return err
	}
	parcels := make([]parcel, 0, len(group))
	for _, j := range group {
		parcels = append(parcels, parcel{j.m, j.c, near.upTo(j.c.Source, j.c.Checkpoint), !j.m.Kept})
	}
	written, err := s.deliver(ctx, parcels...)
	if err != nil {
		return err
	}
	s.update(func() {
		for _, p := range parcels {
			p.c.State, p.c.Copied = CopyDone, int64(written[p.c])
			if p.m.Method == MethodMerge {
				s.swept[p.c.Source] = stream.IDs(p.docs)
			}
		}
	})
	return nil
}

// compareSmall compares small moves, many at a time, and returns those that
// it left to others.
func (s *session) compareSmall(ctx context.Context, moves []*Move, stats map[string]IndexStats) (left []*Move, err error) {
	weigh := func(m *Move) (docs, bytes int64) { return bothSides(m, stats) }
	var small []*Move
	for _, m := range moves {
		if docs, bytes := weigh(m); docs <= sweepDocs && bytes <= sweepBytes {
			small = append(small, m)
		} else {
			left = append(left, m)
		}
	}
	groups := bundled(small, weigh)
	done := make([]bool, len(groups))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(sweepParallel)
	for i, group := range groups {
		g.Go(func() (err error) { done[i], err = s.compareGroup(gctx, group, stats); return err })
	}
	err = g.Wait()
	for i, group := range groups {
		if !done[i] {
			left = append(left, group...)
		}
	}
	return left, err
}

// bothSides is what comparing a move has to read.
func bothSides(m *Move, stats map[string]IndexStats) (docs, bytes int64) {
	docs, bytes = stats[m.Target].Docs, stats[m.Target].Bytes
	for _, c := range m.Copies {
		docs, bytes = docs+c.Docs, bytes+c.Bytes
	}
	return docs, bytes
}

// compareGroup compares moves out of memory; false when they do not fit.
func (s *session) compareGroup(ctx context.Context, moves []*Move, stats map[string]IndexStats) (bool, error) {
	indices := map[string]stream.Checkpoint{}
	for _, m := range moves {
		indices[m.Target] = stats[m.Target].MaxSeqNo
		for _, c := range m.Copies {
			indices[c.Source] = c.Checkpoint
		}
	}
	near, err := s.near(ctx, indices)
	if err != nil || near == nil {
		return false, err
	}
	for _, m := range moves {
		if err := s.compareMove(ctx, near, m, stats[m.Target].MaxSeqNo); err != nil {
			return true, err
		}
	}
	return true, nil
}
