package upgrader

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"sort"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/releases"
)

// Comparing both sides of a move must not need more memory than a fixed
// number of buckets, however many documents there are. Every document is
// added to the bucket of its id on both sides; buckets that agree prove their
// documents equal, and only the documents of those that differ are looked at
// one by one.
const (
	compareBuckets = 1 << 12
	// sampleDocs is how many documents per source level "sample" compares.
	sampleDocs = 500
	// mostNamed bounds how many differing documents an error names.
	mostNamed = 10
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
	var touched []*Move
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.r.limits.Streams)
	for _, m := range s.moves {
		if m.touched() {
			touched = append(touched, m)
			g.Go(func() error { return s.compareMove(gctx, m, stats[m.Target].MaxSeqNo) })
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	s.t.Proof = &Proof{Level: s.rollout.Options.Verify}
	for _, m := range touched {
		s.t.Proof.Compared += m.Documents
	}
	return s.saveMoves(ctx, touched...)
}

// compareMove compares one move at the chosen level; to are the sequence
// numbers up to which the target is read.
func (s *session) compareMove(ctx context.Context, m *Move, to Checkpoint) (err error) {
	m.Documents = 0
	switch s.rollout.Options.Verify {
	case VerifyCount:
	case VerifySample:
		m.Documents, err = s.compareSample(ctx, m)
	default:
		m.Documents, err = s.compareFull(ctx, m, to)
	}
	m.ComparedAt = map[string]Checkpoint{}
	for _, c := range m.Copies {
		m.ComparedAt[c.Source] = c.Checkpoint
	}
	return err
}

// sides are the buckets of both sides of a move.
type sides struct {
	seed           maphash.Seed
	source, target [compareBuckets]releases.Digest
}

func (b *sides) bucket(id string) int {
	return int(maphash.String(b.seed, id) % compareBuckets)
}

// compareFull compares all documents; it returns how many the sources hold.
func (s *session) compareFull(ctx context.Context, m *Move, to Checkpoint) (int64, error) {
	b := &sides{seed: maphash.MakeSeed()}
	err := s.readTarget(ctx, m, to, func(d Doc) error {
		return addDigest(&b.target[b.bucket(d.ID)], d.ID, s.face(m, d.Source))
	})
	if err != nil {
		return 0, err
	}
	n, err := s.readSources(ctx, m, func(d Doc, t transformed) error {
		return addDigest(&b.source[b.bucket(d.ID)], d.ID, s.face(m, t.source))
	})
	if err != nil {
		return 0, err
	}
	differ := map[int]bool{}
	var whole releases.Digest
	for i := range b.source {
		if !b.source[i].Equal(b.target[i]) {
			differ[i] = true
		}
		whole.Merge(b.source[i])
	}
	m.Digest = whole.String()
	if len(differ) == 0 {
		return n, nil
	}
	return n, s.compareBuckets(ctx, m, to, b, differ)
}

func addDigest(d *releases.Digest, id string, source []byte) error {
	canonical, err := releases.CanonicalJSON(nil, source)
	if err != nil {
		return fmt.Errorf("document %s: %w", id, err)
	}
	d.Add(id, canonical)
	return nil
}

// readTarget calls fn for every document of a move's target.
func (s *session) readTarget(ctx context.Context, m *Move, to Checkpoint, fn func(Doc) error) error {
	return readAll(ctx, s.engine, m.Target, to, false, func(docs []Doc) error {
		for _, d := range docs {
			if err := fn(d); err != nil {
				return err
			}
		}
		return nil
	})
}

// readSources calls fn for every document of a move's sources as of the
// checkpoints, transformed; documents in quarantine are left out.
func (s *session) readSources(ctx context.Context, m *Move, fn func(Doc, transformed) error) (int64, error) {
	var n int64
	for i := range m.Copies {
		c := &m.Copies[i]
		err := readAll(ctx, s.engine, c.Source, c.Checkpoint, false, func(docs []Doc) error {
			for _, d := range docs {
				if s.aside.has(c.Source, d.ID) {
					continue
				}
				t := s.transform(m, d.Source)
				if t.kind != "" {
					return failf("document %s of %s is refused by the transform (%s) and was not put into quarantine", d.ID, c.Source, t.reason)
				}
				n++
				if err := fn(d, t); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// compareBuckets finds out what makes buckets differ: documents that were
// changed or deleted in the source meanwhile are no fault, catching up and
// reconciling see to them.
func (s *session) compareBuckets(ctx context.Context, m *Move, to Checkpoint, b *sides, differ map[int]bool) error {
	want, have := map[string]releases.Digest{}, map[string]releases.Digest{}
	collect := func(into map[string]releases.Digest, id string, source []byte) error {
		if !differ[b.bucket(id)] {
			return nil
		}
		var d releases.Digest
		err := addDigest(&d, id, s.face(m, source))
		into[id] = d
		return err
	}
	if err := s.readTarget(ctx, m, to, func(d Doc) error { return collect(have, d.ID, d.Source) }); err != nil {
		return err
	}
	if _, err := s.readSources(ctx, m, func(d Doc, t transformed) error { return collect(want, d.ID, t.source) }); err != nil {
		return err
	}
	var suspects []string
	for id, w := range want {
		if h, ok := have[id]; !ok || !h.Equal(w) {
			suspects = append(suspects, id)
		}
	}
	for id := range have {
		if _, ok := want[id]; !ok {
			suspects = append(suspects, id)
		}
	}
	sort.Strings(suspects)
	return s.compareIDs(ctx, m, suspects)
}

// compareIDs compares documents one by one as they are now. What the source
// has changed since the checkpoint, or deleted, is no fault.
func (s *session) compareIDs(ctx context.Context, m *Move, ids []string) error {
	var faults []string
	for len(ids) > 0 {
		n := min(len(ids), pageSize)
		page, err := s.faults(ctx, m, ids[:n])
		if err != nil {
			return err
		}
		faults, ids = append(faults, page...), ids[n:]
	}
	if len(faults) == 0 {
		return nil
	}
	if n := len(faults); n > mostNamed {
		faults = append(faults[:mostNamed], fmt.Sprintf("and %d more", n-mostNamed))
	}
	return failf("verification of %s failed: %s", m.Target, strings.Join(faults, "; "))
}

func (s *session) faults(ctx context.Context, m *Move, ids []string) ([]string, error) {
	target, err := s.engine.Get(ctx, m.Target, ids)
	if err != nil {
		return nil, err
	}
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
			t := s.transform(m, d.Source)
			touched, err := s.touched(ctx, c, d)
			if err != nil {
				return nil, err
			}
			want[id] = expected{t.source, touched || want[id].touched || t.kind != ""}
		}
	}
	var out []string
	for _, id := range ids {
		w, inSource := want[id]
		have, inTarget := target[id]
		switch {
		case !inSource, w.touched:
		case !inTarget:
			out = append(out, fmt.Sprintf("document %s is missing", id))
		default:
			if f, err := differingFields(s.face(m, w.source), s.face(m, have.Source)); err != nil {
				return nil, err
			} else if len(f) > 0 {
				out = append(out, fmt.Sprintf("document %s differs in %s", id, strings.Join(f, ", ")))
			}
		}
	}
	return out, nil
}

// expected is what a document of the target should be.
type expected struct {
	source  []byte
	touched bool
}

// touched says whether a document was written after the checkpoint. Get does
// not tell which shard holds it, so it is looked for, below the checkpoint,
// in each shard that could.
func (s *session) touched(ctx context.Context, c *Copy, d Doc) (bool, error) {
	for _, shard := range shardsIn(c.Checkpoint) {
		if d.SeqNo > c.Checkpoint[shard] {
			continue
		}
		docs, err := s.engine.Page(ctx, PageRequest{Index: c.Source, Shard: shard, From: d.SeqNo - 1, To: d.SeqNo, Size: 1, IDsOnly: true})
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
		for _, shard := range shardsIn(c.Checkpoint) {
			top := c.Checkpoint[shard]
			for _, from := range []int64{-1, max(-1, top-sampleDocs/2)} {
				docs, err := s.engine.Page(ctx, PageRequest{Index: c.Source, Shard: shard, From: from, To: min(top, from+sampleDocs/2), Size: sampleDocs})
				if err != nil {
					return n, err
				}
				if err := s.compareIDs(ctx, m, idsOf(docs)); err != nil {
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
		if !slices.ContainsFunc(m.Copies, func(c Copy) bool { return beyond(m.ComparedAt[c.Source], c.Checkpoint) }) {
			continue
		}
		changed = append(changed, m)
		g.Go(func() error {
			at := map[string]Checkpoint{}
			for i := range m.Copies {
				c := &m.Copies[i]
				if err := s.compareSpan(gctx, m, c, m.ComparedAt[c.Source], &n); err != nil {
					return err
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

func (s *session) compareSpan(ctx context.Context, m *Move, c *Copy, since Checkpoint, n *atomic.Int64) error {
	for _, shard := range shardsIn(c.Checkpoint) {
		err := readShard(ctx, s.engine, c.Source, shard, since.at(shard), c.Checkpoint[shard], false, func(docs []Doc, _ int64) error {
			have, err := s.engine.Get(ctx, m.Target, idsOf(docs))
			if err != nil {
				return err
			}
			for _, d := range docs {
				if s.aside.has(c.Source, d.ID) {
					continue
				}
				if err := s.compareOne(m, d, have); err != nil {
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

func (s *session) compareOne(m *Move, d Doc, have map[string]Doc) error {
	t := s.transform(m, d.Source)
	got, ok := have[d.ID]
	switch {
	case t.kind != "":
		return failf("document %s of %s is refused by the transform (%s) and was not put into quarantine", d.ID, d.Index, t.reason)
	case !ok:
		return failf("verification of %s failed: document %s of %s is missing", m.Target, d.ID, d.Index)
	}
	f, err := differingFields(s.face(m, t.source), s.face(m, got.Source))
	if err != nil {
		return err
	}
	if len(f) > 0 {
		return failf("verification of %s failed: document %s of %s differs in %s", m.Target, d.ID, d.Index, strings.Join(f, ", "))
	}
	return nil
}

// differingFields names the fields in which two documents differ, a handful
// at most; none when they are equal in canonical form.
func differingFields(want, have []byte) ([]string, error) {
	a, err := releases.CanonicalJSON(nil, want)
	if err != nil {
		return nil, err
	}
	b, err := releases.CanonicalJSON(nil, have)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(a, b) {
		return nil, nil
	}
	x, err := releases.DecodeDoc(a)
	if err != nil {
		return nil, err
	}
	y, err := releases.DecodeDoc(b)
	if err != nil {
		return nil, err
	}
	var out []string
	diffValue(x, y, "", &out)
	sort.Strings(out)
	return out[:min(len(out), mostNamed)], nil
}

func diffValue(a, b any, at string, out *[]string) {
	ma, oka := a.(map[string]any)
	mb, okb := b.(map[string]any)
	if !oka || !okb {
		if fmt.Sprintf("%#v", a) != fmt.Sprintf("%#v", b) {
			*out = append(*out, orRoot(at))
		}
		return
	}
	for k, v := range ma {
		w, ok := mb[k]
		path := strings.TrimPrefix(at+"."+k, ".")
		if !ok {
			*out = append(*out, path)
			continue
		}
		diffValue(v, w, path, out)
	}
	for k := range mb {
		if _, ok := ma[k]; !ok {
			*out = append(*out, strings.TrimPrefix(at+"."+k, "."))
		}
	}
}
