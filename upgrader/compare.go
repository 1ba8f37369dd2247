package upgrader

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader/stream"
	"github.com/tracardi/tms/upgrader/verify"
)

const (
	// sampleDocs is how many documents per source level "sample" compares.
	sampleDocs = 500
	// mostNamed bounds how many differing documents, or fields, an error names.
	mostNamed = 10
	// largeDocs is the size from which a comparison takes one of few places:
	// each holds pages of documents of both sides in memory.
	largeDocs = 20_000
)

// compare proves that the target holds what the sources held at their
// checkpoints, and remembers those checkpoints.
func (s *session) compare(ctx context.Context) error {
	if err := s.refreshBoth(ctx); err != nil {
		return err
	}
	stats, err := s.stats(ctx, s.newPatterns()...)
	if err != nil {
		return err
	}
	if err := s.r.store.DropMismatches(ctx, s.lease); err != nil {
		return err
	}
	var touched []*Move
	places := make(chan struct{}, s.r.limits.Tasks)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.r.limits.Streams)
	for _, m := range s.moves {
		if m.touched() {
			touched = append(touched, m)
		}
	}
	large := touched
	if s.rollout.Options.Verify == VerifyFull {
		if large, err = s.compareSmall(ctx, touched, stats); err != nil {
			return err
		}
	}
	for _, m := range large {
		g.Go(func() error {
			if stats[m.Target].Docs > largeDocs {
				select {
				case places <- struct{}{}:
					defer func() { <-places }()
				case <-gctx.Done():
					return context.Cause(gctx)
				}
			}
			return s.compareMove(gctx, s.engine, m, stats[m.Target].MaxSeqNo)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	s.t.Proof = &Proof{Level: s.rollout.Options.Verify}
	if err := s.identify(ctx, s.t.Proof); err != nil {
		return err
	}
	for _, m := range touched {
		s.t.Proof.Compared += m.Documents
	}
	return s.saveMoves(ctx, touched...)
}

// compareMove compares one move at the chosen level, reading from; to are the
// sequence numbers up to which the target is read.
func (s *session) compareMove(ctx context.Context, from Engine, m *Move, to stream.Checkpoint) (err error) {
	m.Documents, m.Digest, m.DigestAt = 0, "", nil
	switch s.rollout.Options.Verify {
	case VerifyCount:
	case VerifySample:
		m.Documents, err = s.compareSample(ctx, m)
	default:
		m.Documents, err = s.compareFull(ctx, from, m, to)
	}
	m.compared()
	return err
}

// compared notes the checkpoints as those at which both sides were compared.
func (m *Move) compared() {
	m.ComparedAt = map[string]stream.Checkpoint{}
	for _, c := range m.Copies {
		m.ComparedAt[c.Source] = c.Checkpoint
	}
}

// comparison of a move, up to its checkpoints.
func (s *session) comparison(m *Move, to stream.Checkpoint) *verify.Comparison {
	c := &verify.Comparison{Engine: s.engine, Target: verify.Side{Index: m.Target, To: to}}
	if s.l.transformOf(m).Opaque() {
		c.Target.Canonical = faceless
	}
	for i := range m.Copies {
		cp := &m.Copies[i]
		if s.apart(cp) {
			continue
		}
		c.Sources = append(c.Sources, verify.Side{
			Index: cp.Source, To: cp.Checkpoint, Canonical: s.wanted(m, cp.Source),
			Skip: func(id string) bool { return s.aside.has(cp.Source, id) },
		})
	}
	c.Written = c.Target.Canonical == nil && !slices.ContainsFunc(c.Sources, func(p verify.Side) bool { return p.Canonical != nil })
	return c
}

// writtenDigest begins a digest of documents as they are written; others are of
// their canonical form.
const writtenDigest = "written:"

func digestText(c *verify.Comparison, d releases.Digest) string {
	if c.Written {
		return writtenDigest + d.String()
	}
	return d.String()
}

// wanted gives the canonical form that documents of a source have to have in
// the target.
func (s *session) wanted(m *Move, source string) func(dst []byte, d stream.Doc) ([]byte, error) {
	t := s.transformOf(m, source)
	switch {
	case t.Opaque():
		return faceless
	case t.Empty():
		return nil
	}
	canonical := t.Canonicaliser()
	return func(dst []byte, d stream.Doc) ([]byte, error) {
		out, err := canonical(dst, d.Source)
		if errors.Is(err, releases.ErrElsewhere) {
			return nil, err
		}
		if err != nil {
			return nil, failf("document %s of %s is refused by the transform (%v) and was not put into quarantine", d.ID, d.Index, err)
		}
		return out, nil
	}
}

// faceless is the form of documents of which only the engine knows what they
// become: that they are there is all that can be compared.
func faceless(dst []byte, _ stream.Doc) ([]byte, error) { return append(dst, "{}"...), nil }

// compareFull compares all documents; it returns how many the sources hold.
func (s *session) compareFull(ctx context.Context, from Engine, m *Move, to stream.Checkpoint) (int64, error) {
	c := s.comparison(m, to)
	c.Engine = from
	m.DigestAt = map[string]stream.Checkpoint{}
	for _, cp := range m.Copies {
		m.DigestAt[cp.Source] = cp.Checkpoint
	}
	done := func() error { return nil }
	if from == s.engine { // what is in memory is compared in one go
		var err error
		if done, err = s.resume(ctx, m, c); err != nil {
			return 0, err
		}
	}
	sums, err := c.Run(ctx)
	if err != nil {
		return 0, err
	}
	d := sums.Source()
	m.Digest = digestText(c, d)
	var found []Mismatch
	err = c.Suspects(ctx, sums, func(ids []string) (bool, error) {
		some, err := s.faults(ctx, m, ids)
		found = append(found, some...)
		return len(found) >= MaxMismatches, err
	})
	if err != nil {
		return d.Count, err
	}
	if err := done(); err != nil {
		return d.Count, err
	}
	return d.Count, s.mismatched(ctx, m, found)
}

// resume lets a comparison go on where a worker died, and remember how far it
// is. The function it returns forgets that.
func (s *session) resume(ctx context.Context, m *Move, c *verify.Comparison) (done func() error, err error) {
	key := strings.Join(s.l.digests(), " ")
	if c.Written {
		key = writtenDigest + key
	}
	found, err := s.r.store.Progress(ctx, s.lease.RolloutID, s.lease.TenantID, m.Target)
	if err != nil {
		return nil, err
	}
	c.Resume = map[verify.SideName]verify.SideProgress{}
	stored := atomic.Bool{}
	for _, p := range found {
		stored.Store(true)
		if p.Key != key {
			continue
		}
		c.Resume[p.Side] = p
		if p.Side == verify.SideSource {
			m.DigestAt = p.Start
		}
		s.log.Info("comparison goes on where it stopped", "target", m.Target, "side", p.Side)
	}
	start := m.DigestAt
	c.Save = func(ctx context.Context, p verify.SideProgress) error {
		stored.Store(true)
		p.Key, p.Start = key, start
		return s.r.store.SaveProgress(ctx, s.lease, p)
	}
	return func() error {
		if !stored.Load() {
			return nil
		}
		return s.r.store.DropProgress(ctx, s.lease, m.Target)
	}, nil
}

// compareIDs compares documents one by one as they are now. What the source
// has changed since the checkpoint, or deleted, is no fault.
func (s *session) compareIDs(ctx context.Context, m *Move, ids []string) error {
	found, err := s.faults(ctx, m, ids)
	if err != nil {
		return err
	}
	return s.mismatched(ctx, m, found)
}

// faults lists those of the ids that are not in the target as they should be.
func (s *session) faults(ctx context.Context, m *Move, ids []string) ([]Mismatch, error) {
	var out []Mismatch
	for len(ids) > 0 && len(out) < MaxMismatches {
		n := min(len(ids), stream.PageSize)
		page, err := s.faultsOf(ctx, m, ids[:n])
		if err != nil {
			return nil, err
		}
		out, ids = append(out, page...), ids[n:]
	}
	return out, nil
}

func (s *session) faultsOf(ctx context.Context, m *Move, ids []string) ([]Mismatch, error) {
	target, err := s.engine.Get(ctx, m.Target, ids)
	if err != nil {
		return nil, err
	}
	want, err := s.expect(ctx, m, ids, func(c *Copy, d stream.Doc) (bool, error) { return s.writtenSince(ctx, c.Source, c.Checkpoint, d) })
	if err != nil {
		return nil, err
	}
	var out []Mismatch
	for _, id := range ids {
		w, inSource := want[id]
		have, inTarget := target[id]
		switch {
		case !inSource, w.touched:
		case !inTarget:
			out = append(out, s.mismatch(m, id, MismatchMissing, nil))
		default:
			f, err := verify.DifferingFields(s.face(m, w.source), s.face(m, have.Source))
			if err != nil {
				return nil, err
			}
			if len(f) > 0 {
				out = append(out, s.mismatch(m, id, MismatchDiffers, f))
			}
		}
	}
	return out, nil
}

// expect tells what documents the target should hold, by id.
func (s *session) expect(ctx context.Context, m *Move, ids []string, touched func(*Copy, stream.Doc) (bool, error)) (map[string]expected, error) {
	want := map[string]expected{}
	for i := range m.Copies {
		c := &m.Copies[i]
		docs, err := s.engine.Get(ctx, c.Source, ids)
		if err != nil {
			return nil, err
		}
		for id, d := range docs {
			if s.aside.has(c.Source, id) {
				continue
			}
			t := s.transform(m, c.Source, d.Source)
			if t.elsewhere {
				continue
			}
			was := t.kind != "" || want[id].touched
			if touched != nil && !was {
				if was, err = touched(c, d); err != nil {
					return nil, err
				}
			}
			want[id] = expected{t.source, was, d.Routing, t.script != ""}
		}
	}
	return want, nil
}

// expected is what a document of the target should be.
type expected struct {
	source   []byte
	touched  bool // written after the checkpoint, or refused by the transform
	routing  string
	byEngine bool // only the engine can make it
}

// writtenSince says whether a document was written after a checkpoint. Get does
// not tell which shard holds it, so it is looked for, below the checkpoint,
// in each shard that could.
func (s *session) writtenSince(ctx context.Context, index string, at stream.Checkpoint, d stream.Doc) (bool, error) {
	for _, shard := range stream.ShardsIn(at) {
		if d.SeqNo > at[shard] {
			continue
		}
		docs, err := s.engine.Page(ctx, stream.PageRequest{Index: index, Shard: shard, From: d.SeqNo - 1, To: d.SeqNo, Size: 1, IDsOnly: true})
		if err != nil {
			return false, err
		}
		if len(docs) == 1 && docs[0].ID == d.ID {
			return false, nil
		}
	}
	return true, nil
}

// compareSample compares the first and the last documents of every source.
func (s *session) compareSample(ctx context.Context, m *Move) (int64, error) {
	var n int64
	for i := range m.Copies {
		c := &m.Copies[i]
		for _, shard := range stream.ShardsIn(c.Checkpoint) {
			top := c.Checkpoint[shard]
			for _, from := range []int64{-1, max(-1, top-sampleDocs/2)} {
				docs, err := s.engine.Page(ctx, stream.PageRequest{Index: c.Source, Shard: shard, From: from, To: min(top, from+sampleDocs/2), Size: sampleDocs})
				if err != nil {
					return n, err
				}
				if err := s.compareIDs(ctx, m, stream.IDs(docs)); err != nil {
					return n, err
				}
				n += int64(len(docs))
			}
		}
	}
	return n, nil
}

// compareDelta compares what was written between the last comparison and the
// checkpoints, document by document, and moves the comparison there. Together
// with the comparison before it, it proves the whole. The targets need not
// have been refreshed.
func (s *session) compareDelta(ctx context.Context) error {
	var n atomic.Int64
	var changed []*Move
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.r.limits.Streams)
	for _, m := range s.moves {
		if !slices.ContainsFunc(m.Copies, func(c Copy) bool { return stream.Beyond(m.ComparedAt[c.Source], c.Checkpoint) }) {
			continue
		}
		changed = append(changed, m)
		g.Go(func() error {
			at := map[string]stream.Checkpoint{}
			for i := range m.Copies {
				c := &m.Copies[i]
				if !s.apart(c) {
					if err := s.compareSpan(gctx, m, c, m.ComparedAt[c.Source], &n); err != nil {
						return err
					}
				}
				at[c.Source] = c.Checkpoint
			}
			m.ComparedAt = at
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if s.t.Proof != nil {
		s.t.Proof.Delta += n.Load()
	}
	return s.saveMoves(ctx, changed...)
}

func (s *session) compareSpan(ctx context.Context, m *Move, c *Copy, since stream.Checkpoint, n *atomic.Int64) error {
	for _, shard := range stream.ShardsIn(c.Checkpoint) {
		err := stream.ReadShard(ctx, s.engine, c.Source, shard, since.At(shard), c.Checkpoint[shard], false, func(docs []stream.Doc, _ int64) error {
			have, err := s.engine.Get(ctx, m.Target, stream.IDs(docs))
			if err != nil {
				return err
			}
			for _, d := range docs {
				if s.aside.has(c.Source, d.ID) {
					continue
				}
				if err := s.compareOne(ctx, m, d, have); err != nil {
					return err
				}
			}
			n.Add(int64(len(docs)))
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *session) compareOne(ctx context.Context, m *Move, d stream.Doc, have map[string]stream.Doc) error {
	t := s.transform(m, d.Index, d.Source)
	got, ok := have[d.ID]
	switch {
	case t.elsewhere && ok:
		// A document of another source with the same id may belong here.
		want, err := s.expect(ctx, m, []string{d.ID}, nil)
		if _, there := want[d.ID]; there || err != nil {
			return err
		}
		return s.mismatched(ctx, m, []Mismatch{s.mismatch(m, d.ID, MismatchExtra, nil)})
	case t.elsewhere:
		return nil
	case t.kind != "":
		return failf("document %s of %s is refused by the transform (%s) and was not put into quarantine", d.ID, d.Index, t.reason)
	case !ok:
		return s.compareIDs(ctx, m, []string{d.ID})
	}
	f, err := verify.DifferingFields(s.face(m, t.source), s.face(m, got.Source))
	if err != nil || len(f) == 0 {
		return err
	}
	// With replicas another copy of the shard may have answered than the one that
	// was copied from, and not yet show what was written since: as it is now.
	return s.compareIDs(ctx, m, []string{d.ID})
}
