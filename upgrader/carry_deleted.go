package upgrader

import (
	"context"
	"errors"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/upgrader/stream"
)

// What was deleted from the new version leaves no trace there. But the old
// version lacks nothing that the new one has: it held everything at the
// switch, and what was written since is carried back. So what differs in
// number can only be deletions (see reconcile.go for the way forth).

// rememberNew reads the ids of the indices of the new version, above all of
// those that were written to, so that behind the fence only what has changed is
// read again.
func (s *session) rememberNew(ctx context.Context) error {
	stats, err := s.stats(ctx, s.newPatterns()...)
	if err != nil {
		return err
	}
	var hot, cold []indexAt
	for _, w := range s.back {
		for _, name := range w.news {
			x := indexAt{name, s.carriedTo(name), stats[name].Docs}
			switch {
			case w.from == nil:
			case s.t.Record.Return.At[name] != nil:
				hot = append(hot, x)
			case !stream.Never(x.at):
				cold = append(cold, x)
			}
		}
	}
	return s.remember(ctx, hot, cold)
}

// removeVanishedBack deletes from the old version what was deleted from
// remembered indices since (see removeVanished).
func (s *session) removeVanishedBack(ctx context.Context, when vanishing) error {
	now, err := s.stats(ctx, s.newPatterns()...)
	if err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.r.limits.Streams)
	for _, w := range s.back {
		for _, name := range w.news {
			r := s.ids[name]
			if !r.lacks(now[name]) || w.from == nil {
				continue
			}
			r.readers++
			g.Go(func() error {
				suspects, err := s.suspects(gctx, name, r, when)
				if err != nil {
					return err
				}
				gone, err := s.removeGone(gctx, w, suspects)
				r.found(gone)
				return err
			})
		}
	}
	err = g.Wait()
	s.forgetGone(when)
	return err
}

// removeGone deletes from the old version those ids that the new version does
// not have, and those places of the others whose documents it does not have,
// looked at one by one and in real time. It returns the former.
func (s *session) removeGone(ctx context.Context, w *wayBack, ids []string) (all []string, err error) {
	for page := range slices.Chunk(ids, stream.PageSize) {
		there, err := s.holding(ctx, w, page)
		if err != nil {
			return all, err
		}
		var gone, some []string
		for _, id := range page {
			if len(there[id]) == 0 {
				gone = append(gone, id)
			} else {
				some = append(some, id)
			}
		}
		if err := s.removeOld(ctx, w, gone); err != nil {
			return all, err
		}
		if err := s.removeAbandoned(ctx, w, some, there); err != nil {
			return all, err
		}
		all = append(all, gone...)
	}
	return all, nil
}

// removeAbandoned deletes from the old version what was deleted in the new one
// in one index and not in another.
func (s *session) removeAbandoned(ctx context.Context, w *wayBack, ids []string, there map[string]map[string]stream.Doc) error {
	if len(ids) == 0 || w.from == nil {
		return nil
	}
	places, err := s.placesOf(ctx, w, ids, true)
	if err != nil {
		return err
	}
	var all []stream.Doc
	for _, id := range ids {
		docs, err := s.abandoned(w, places[id], there[id])
		if err != nil {
			return err
		}
		all = append(all, docs...)
	}
	return s.dropOld(ctx, all)
}

// removeOld deletes documents from the old version, twins included: who
// deleted the id meant it. Documents that the upgrade refused stay, nobody has
// ever seen them in the new version; so does, in quarantine, what somebody
// else may have written meanwhile.
func (s *session) removeOld(ctx context.Context, w *wayBack, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	var all []stream.Doc
	for _, index := range w.olds {
		docs, err := s.engine.Get(ctx, index, ids)
		if errors.Is(err, ErrNotFound) {
			continue // a partition that was to be made and was not needed
		}
		if err != nil {
			return err
		}
		for id, d := range docs {
			if !s.aside.neverWent(index, id) && !s.aside.twinNeverWent(index, id, w.olds) {
				all = append(all, d)
			}
		}
	}
	return s.dropOld(ctx, all)
}

// dropOld deletes documents of the old version.
func (s *session) dropOld(ctx context.Context, docs []stream.Doc) error {
	if len(docs) == 0 {
		return nil
	}
	var ops []BulkOp
	var aside []Quarantined
	indices, deleted := map[string]bool{}, map[string]bool{}
	for _, d := range docs {
		if s.t.Record.Return.Disturbed && len(s.aside.of(d.Index, QuarantineLeftover)) < MaxQuarantine {
			aside = append(aside, s.quarantined(d, d.Index, QuarantineLeftover, "deleted in the new version, or written to the old one during the rollback"))
		}
		ops = append(ops, BulkOp{Index: d.Index, ID: d.ID, Routing: d.Routing, Delete: true})
		indices[d.Index], deleted[d.ID] = true, true
	}
	if err := s.keepNotCarried(ctx, aside); err != nil {
		return err
	}
	if err := s.openOld(ctx, sortedKeys(indices)); err != nil {
		return err
	}
	bad, err := s.bulk(ctx, ops)
	if err != nil {
		return err
	}
	s.update(func() { s.t.Record.Return.Deleted += int64(len(deleted)) })
	return refusedError(bad)
}

// coincidence is the number of documents of a way up to which its ids are
// compared before the fence although both sides are as many: as many may have
// come as have gone, and behind the fence that would cost writers the time. At
// more the comparison takes longer than a rollback should wait for.
const coincidence = 500_000

// reconcileBack deletes from the old version what the new one no longer has,
// while writers go on, and closes it again.
func (s *session) reconcileBack(ctx context.Context) error {
	tallies, err := s.talliesBack(ctx, nil)
	if err != nil {
		return err
	}
	for w, t := range tallies {
		if t.equal() && t.target > coincidence {
			continue
		}
		if err := s.removeSurplus(ctx, w); err != nil {
			return err
		}
	}
	return s.closeOld(ctx, false)
}

// writtenWays are the ways on which something was written since the switch,
// and the indices on both of their sides.
func (s *session) writtenWays() (ways []*wayBack, names []string) {
	for _, w := range s.back {
		if w.from == nil || !slices.ContainsFunc(w.news, func(n string) bool { return s.t.Record.Return.At[n] != nil }) {
			continue
		}
		w.olds = slices.DeleteFunc(w.olds, func(n string) bool {
			return !slices.Contains(s.t.Record.OldIndices, n) && !slices.Contains(s.t.Record.Return.Made, n)
		})
		ways, names = append(ways, w), append(append(names, w.news...), w.olds...)
	}
	return ways, names
}

// talliesBack counts both sides of every way on which something was written;
// now is as for count.
func (s *session) talliesBack(ctx context.Context, now map[string]IndexStats) (map[*wayBack]tally, error) {
	ways, names := s.writtenWays()
	if anew := s.changed(names, now); len(anew) > 0 {
		if err := s.engine.Refresh(ctx, anew...); err != nil {
			return nil, err
		}
	}
	n, err := s.count(ctx, names, now)
	if err != nil {
		return nil, err
	}
	out := map[*wayBack]tally{}
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.r.limits.Streams)
	for _, w := range ways {
		g.Go(func() error {
			t, err := s.tallyBack(gctx, w, n)
			mu.Lock()
			defer mu.Unlock()
			out[w] = t
			return err
		})
	}
	return out, g.Wait()
}

// tallyBack counts the documents of one way. The old version's that never went
// forth do not count, nor do the new version's that cannot come back.
func (s *session) tallyBack(ctx context.Context, w *wayBack, n map[string]int64) (tally, error) {
	var t tally
	var err error
	for _, index := range w.news {
		t.source += n[index]
	}
	if t.aside, err = s.stayedNew(ctx, w); err != nil {
		return t, err
	}
	for _, index := range w.olds {
		t.target += n[index]
		found, err := s.engine.FindIDs(ctx, []string{index}, s.aside.stayed(index))
		if err != nil {
			return t, err
		}
		t.target -= int64(len(found[index]))
	}
	return t, nil
}

// removeSurplus compares the ids of both sides of a way. The old version's are
// read first: what it has was in the new one before that was read.
func (s *session) removeSurplus(ctx context.Context, w *wayBack) error {
	stats, err := s.stats(ctx, append(slices.Clone(w.olds), w.news...)...)
	if err != nil {
		return err
	}
	old := map[string][]string{}
	for _, index := range w.olds {
		err := stream.ReadAll(ctx, s.engine, index, stats[index].MaxSeqNo, true, func(docs []stream.Doc) error {
			old[index] = append(old[index], stream.IDs(docs)...)
			return nil
		})
		if err != nil {
			return err
		}
	}
	there := stream.NewIDSet()
	for _, index := range w.news {
		if err := s.collectIDs(ctx, index, stats[index].MaxSeqNo, there); err != nil {
			return err
		}
	}
	suspects := repeatedIn(old) // one of two may have been deleted
	for _, index := range sortedKeys(old) {
		suspects = append(suspects, slices.DeleteFunc(old[index], there.Has)...)
	}
	_, err = s.removeGone(ctx, w, suspects)
	return err
}

// proveBack shows that the old version holds every document that the new one
// holds, apart from those in quarantine, and no other.
func (s *session) proveBack(ctx context.Context) error {
	stats, err := s.stats(ctx, append(s.oldPatterns(), s.newPatterns()...)...)
	if err != nil {
		return err
	}
	tallies, err := s.talliesBack(ctx, stats)
	if err != nil {
		return err
	}
	s.laps.lap("count", s.r.now())
	again := false
	for w, t := range tallies {
		if !t.equal() {
			if !again {
				if err := s.lookForStrangers(ctx); err != nil {
					return err
				}
			}
			again = true
			if err := s.removeSurplus(ctx, w); err != nil {
				return err
			}
		}
	}
	if again {
		if tallies, err = s.talliesBack(ctx, nil); err != nil {
			return err
		}
	}
	s.laps.lap("surplus", s.r.now())
	r := s.t.Record.Return
	r.Documents, r.NotCarried = 0, 0
	for w, t := range tallies {
		if !t.equal() {
			return failf("rollback of %s%s: the new version holds %d documents, %d of them cannot go back, but the old one %d", w.mode, w.to.Base, t.source, t.aside, t.target)
		}
		r.Documents += t.target
	}
	return s.countKept(ctx)
}

// countKept counts what is not carried back, and what stays in indices that
// the old release has no place for.
func (s *session) countKept(ctx context.Context) error {
	r := s.t.Record.Return
	var names []string
	for _, w := range s.back {
		for _, index := range w.news {
			if !s.l.fed(w.to.Key) && r.At[index] != nil {
				names = append(names, index)
				continue
			}
			r.NotCarried += int64(len(s.aside.of(index, QuarantineNotCarriedBack)))
		}
	}
	if len(names) == 0 {
		return nil
	}
	if err := s.engine.Refresh(ctx, names...); err != nil {
		return err
	}
	n, err := s.engine.Count(ctx, names...)
	r.Kept = map[string]int64{}
	for name, docs := range n {
		if docs > 0 {
			r.Kept[name] = docs
		}
	}
	return err
}
