package upgrader

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sort"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/upgrader/stream"
)

// Behind the fence there is no time to read all ids of both sides only to
// find the handful of documents that were deleted in the last second. So the
// ids of the sources that are being written to, and of others as far as there is
// room, are read before the fence, with their sequence numbers; behind it,
// counting the documents of those that have changed per stretch of sequence
// numbers shows in which stretches something has gone, and only those are read
// again.
const (
	// narrowest is the width of a counted stretch of sequence numbers: about
	// a page of ids, so that reading one again is one call. Wider ones are
	// counted where there would be more than mostStretches, which is well
	// below what an engine allows in one answer (search.max_buckets).
	narrowest     = 1_000
	mostStretches = 5_000
	// mostRemembered bounds the ids kept in memory per source that is written
	// to, and of all others together, at some 60 bytes each. What is not
	// remembered is compared as a whole.
	mostRemembered = 500_000
)

// remembered are the ids of one source as of a moment, and those that catching
// up has met since.
type remembered struct {
	mu      sync.Mutex
	at      stream.Checkpoint // up to which they were read
	shards  map[int][]seqID   // ascending; nil when there were too many
	touched map[string]int64  // the highest sequence number that catching up met the id at
	// gone counts by how many of readers an id was found gone in this pass.
	gone    map[string]int
	readers int
}

type seqID struct {
	seq int64
	id  string
}

// noteTouched remembers which documents catching up has met.
func (s *session) noteTouched(source string, docs []stream.Doc) {
	s.mu.Lock()
	r := s.ids[source]
	s.mu.Unlock()
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range docs {
		r.touched[d.ID] = max(r.touched[d.ID], d.SeqNo)
	}
}

// moved says whether catching up met the document further up: then it is no
// longer where it was remembered, and is looked at by its id anyway. An id that
// stands on two shards, by routing of its own, could hide a deletion here; the
// counts of the proof would show it.
func (r *remembered) moved(x seqID) bool {
	seq, ok := r.touched[x.id]
	return ok && seq > x.seq
}

// rememberIDs reads the ids of every source that was written to lately; when
// there are any, also those of others, which may be written to any moment.
func (s *session) rememberIDs(ctx context.Context) error {
	var hot, cold []indexAt
	for _, m := range s.moves {
		for i := range m.Copies {
			c := &m.Copies[i]
			switch at := (indexAt{c.Source, c.Checkpoint, c.Docs}); {
			case c.Foreign: // its own partition has it
			case s.hot[c.Source]:
				hot = append(hot, at)
			case !stream.Never(c.Checkpoint):
				cold = append(cold, at)
			}
		}
	}
	return s.remember(ctx, hot, cold)
}

// indexAt is an index up to a checkpoint; docs is about how many it holds.
type indexAt struct {
	name string
	at   stream.Checkpoint
	docs int64
}

// remember reads the ids of the hot indices and, when there are any, those of
// as many cold ones as there is room for, the small ones first.
func (s *session) remember(ctx context.Context, hot, cold []indexAt) error {
	all := hot
	if len(hot) > 0 {
		slices.SortStableFunc(cold, func(a, b indexAt) int { return cmp.Compare(a.docs, b.docs) })
		room := int64(mostRemembered)
		for _, x := range cold {
			if room -= x.docs; room < 0 {
				break
			}
			all = append(all, x)
		}
	}
	fresh := map[string]*remembered{}
	// Documents of one index may go into several targets.
	all = slices.DeleteFunc(all, func(x indexAt) bool {
		_, twice := fresh[x.name]
		fresh[x.name] = nil
		return twice
	})
	for _, x := range all {
		fresh[x.name] = &remembered{at: x.at, touched: map[string]int64{}}
	}
	// Registered before the reading begins: what is touched meanwhile counts.
	s.mu.Lock()
	s.ids = fresh
	s.mu.Unlock()
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.r.limits.Streams)
	for _, x := range all {
		g.Go(func() (err error) { fresh[x.name].shards, err = readIDs(gctx, s.engine, x); return err })
	}
	return g.Wait()
}

// lacks says whether something may have gone from an index since its ids were
// read: one whose sequence numbers have not gone on lacks nothing.
func (r *remembered) lacks(now IndexStats) bool {
	return r != nil && r.shards != nil && stream.Beyond(r.at, now.MaxSeqNo)
}

// readIDs reads ids and sequence numbers up to the checkpoint.
func readIDs(ctx context.Context, e Engine, x indexAt) (map[int][]seqID, error) {
	out := map[int][]seqID{}
	n := 0
	for _, shard := range stream.ShardsIn(x.at) {
		var ids []seqID
		err := stream.ReadShard(ctx, e, x.name, shard, -1, x.at[shard], true, func(docs []stream.Doc, _ int64) error {
			n += len(docs)
			if n > mostRemembered {
				return errTooMany
			}
			for _, d := range docs {
				ids = append(ids, seqID{d.SeqNo, d.ID})
			}
			return nil
		})
		if errors.Is(err, errTooMany) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		out[shard] = ids
	}
	return out, nil
}

// errTooMany ends the reading of a source that is too large to remember.
var errTooMany = errors.New("too many ids to remember")

// vanishing says when what has vanished is looked for.
type vanishing bool

const (
	// vanishedAhead is right before the fence, while writers go on: the more has
	// been found then, the less there is to be read behind it.
	vanishedAhead vanishing = false
	// vanishedFinally is behind the fence: nothing may be missed.
	vanishedFinally vanishing = true
)

// removeVanished deletes from the targets what was deleted from remembered
// sources since; now are the sources' sequence numbers, the final ones behind
// the fence. A document that comes back while writers go on has a sequence number
// above the checkpoint, and is copied by the next pass.
func (s *session) removeVanished(ctx context.Context, now map[string]IndexStats, when vanishing) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.r.limits.Streams)
	for _, m := range s.moves {
		for i := range m.Copies {
			c := &m.Copies[i]
			if r := s.ids[c.Source]; r.lacks(now[c.Source]) && !s.apart(c) {
				r.readers++
				g.Go(func() error { return s.removeVanishedFrom(gctx, m, c, r, when) })
			}
		}
	}
	err := g.Wait()
	s.forgetGone(when)
	return err
}

func (s *session) removeVanishedFrom(ctx context.Context, m *Move, c *Copy, r *remembered, when vanishing) error {
	suspects, err := s.suspects(ctx, c.Source, r, when)
	if err != nil {
		return err
	}
	for page := range slices.Chunk(suspects, stream.PageSize) {
		gone, err := s.removeIfGone(ctx, m, page)
		if err != nil {
			return err
		}
		r.found(gone)
	}
	return nil
}

// suspects are the ids that an index may have lost since they were remembered.
// Those that catching up has met are looked at in the end only: what it has met
// may go at any moment before.
func (s *session) suspects(ctx context.Context, index string, r *remembered, when vanishing) ([]string, error) {
	var out []string
	if when == vanishedFinally {
		for id := range r.touched {
			out = append(out, id)
		}
	}
	for shard, ids := range r.shards {
		missing, err := s.missing(ctx, index, shard, ids, r.moved)
		if err != nil {
			return nil, err
		}
		out = append(out, missing...)
	}
	return out, nil
}

// found notes ids that one of the readers has found gone, and has removed from
// where it is responsible.
func (r *remembered) found(gone []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone == nil {
		r.gone = map[string]int{}
	}
	for _, id := range gone {
		r.gone[id]++
	}
}

// forgetGone ends a pass. Ahead of the fence it takes out the ids that all
// readers of an index have found gone: its documents may go into several
// targets, and each of these has to lose them. Behind it nobody looks again, and
// writers wait. No reader may be at work.
func (s *session) forgetGone(when vanishing) {
	for _, r := range s.ids {
		if when == vanishedAhead && len(r.gone) > 0 {
			for shard, ids := range r.shards {
				r.shards[shard] = slices.DeleteFunc(ids, func(x seqID) bool { return r.gone[x.id] == r.readers })
			}
		}
		r.gone, r.readers = nil, 0
	}
}

// missing returns the remembered ids of a shard that no longer stand where
// they stood and have not moved: deleted, or written again without catching up
// having met them. A stretch that has lost no more than those that moved need
// not be read again: under a steady writer these are nearly all.
func (s *session) missing(ctx context.Context, source string, shard int, ids []seqID, moved func(seqID) bool) ([]string, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	top := ids[len(ids)-1].seq // what came later must not fill a gap
	stretch := max(narrowest, top/mostStretches+1)
	counts, err := s.engine.SeqNoCounts(ctx, source, shard, top, stretch)
	if err != nil {
		return nil, err
	}
	var out []string
	for len(ids) > 0 {
		start := ids[0].seq / stretch * stretch
		n := sort.Search(len(ids), func(i int) bool { return ids[i].seq >= start+stretch })
		part := ids[:n]
		ids = ids[n:]
		left := int64(len(part))
		for _, x := range part {
			if moved(x) {
				left--
			}
		}
		if counts[start] >= left {
			continue // nothing can have come to a stretch that was full before
		}
		there := map[string]struct{}{}
		err := stream.ReadShard(ctx, s.engine, source, shard, start-1, start+stretch-1, true, func(docs []stream.Doc, _ int64) error {
			for _, d := range docs {
				there[d.ID] = struct{}{}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		for _, x := range part {
			if _, ok := there[x.id]; !ok && !moved(x) {
				out = append(out, x.id)
			}
		}
	}
	return out, nil
}

// removeIfGone deletes from a target those ids that none of its sources has,
// and returns them.
func (s *session) removeIfGone(ctx context.Context, m *Move, ids []string) (gone []string, err error) {
	there := map[string]bool{}
	for i := range m.Copies {
		docs, err := s.engine.Get(ctx, m.Copies[i].Source, ids)
		if err != nil {
			return nil, err
		}
		for id := range docs {
			there[id] = true
		}
	}
	var ops []BulkOp
	for _, id := range ids {
		if !there[id] {
			ops, gone = append(ops, BulkOp{Index: m.Target, ID: id, Delete: true}), append(gone, id)
		}
	}
	if len(ops) == 0 {
		return nil, nil
	}
	bad, err := s.bulk(ctx, ops)
	if err != nil {
		return nil, err
	}
	return gone, refusedError(bad)
}
