package upgrader

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader/stream"
)

// Where documents go by their dates, every source may feed every partition, but
// few do: a month of events holds the events of that month, and some that came
// late. So before anything is copied each source is read once, to see which
// partitions its documents go into; the others are not fed from it, and need not
// be compared with it. Without that, copying and comparing would read every
// source once per partition.
//
// What is written later is looked at document by document, for every partition
// (catchup.go), and the first one that goes into such a partition makes it one
// that is fed.

// sift reads the sources that documents go by their dates from and whose
// checkpoints were just taken, and marks the copies that take nothing.
func (s *session) sift(ctx context.Context, fresh map[*Copy]bool) error {
	crossing := map[string][]job{} // by source, the copies into other partitions
	for _, m := range s.moves {
		for i := range m.Copies {
			if c := &m.Copies[i]; c.Foreign && fresh[c] && c.State != CopyDone {
				crossing[c.Source] = append(crossing[c.Source], job{m, c})
			}
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.r.limits.Streams)
	for _, source := range sortedKeys(crossing) {
		g.Go(func() error { return s.siftSource(gctx, crossing[source]) })
	}
	return g.Wait()
}

// siftSource reads one source; jobs are its copies into other partitions than
// its own, of one resource or of several that it is routed to.
func (s *session) siftSource(ctx context.Context, jobs []job) error {
	filers := map[string]func(map[string]any) (int, error){}
	for _, j := range jobs {
		if filers[j.m.Resource] == nil {
			filers[j.m.Resource] = s.transformOf(j.m, j.c.Source).Filer()
		}
	}
	reached := map[*Move]bool{}
	source, at := jobs[0].c.Source, jobs[0].c.Checkpoint
	err := stream.ReadAll(ctx, s.engine, source, at, false, func(docs []stream.Doc) error {
		for _, resource := range sortedKeys(filers) {
			takers := s.takers(groupOf{resource, jobs[0].m.Mode})
			for _, d := range docs {
				doc, err := releases.DecodeDoc(d.Source)
				if err != nil {
					continue // its own partition says what becomes of it
				}
				if i, err := filers[resource](doc); err == nil && i >= 0 && i < len(takers) {
					reached[takers[i]] = true
				}
			}
		}
		if away, err := s.steeredAway(ctx, StepCopy); err != nil || away {
			return orSteered(err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.update(func() {
		for _, j := range jobs {
			if !reached[j.m] {
				j.c.State, j.c.Apart = CopyDone, true
			}
		}
	})
	return nil
}

func orSteered(err error) error {
	if err == nil {
		err = errSteered
	}
	return err
}

// fed notes that a document of a source goes into a move's target.
func (s *session) fed(m *Move, source string) {
	for i := range m.Copies {
		if c := &m.Copies[i]; c.Foreign && c.Source == source {
			s.update(func() { c.Apart = false })
		}
	}
}

// apart says whether nothing of a source is in a copy's target.
func (s *session) apart(c *Copy) bool {
	if !c.Foreign {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.Apart
}
