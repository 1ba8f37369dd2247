// Package verify compares an index with those that it was filled from, document
// by document, in memory that does not grow with them.
//
// A Comparison reads both sides and adds every document to a bucket of digests.
// Equal Sums prove both sides equal; Suspects names the documents of the buckets
// that are not, and DifferingFields tells in what two of them differ.
package verify

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sort"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader/stream"
)

// Comparing both sides of a move must not need more memory than a fixed
// number of buckets, however many documents there are. Every document is
// added to the bucket of its id on both sides; buckets that agree prove their
// documents equal, and only the documents of those that differ are looked at
// one by one.
const (
	// compareBuckets are 24 bytes each, on both sides.
	compareBuckets = 1 << 14
	// suspectDocs bounds how many documents of differing buckets are held in
	// memory at once, both sides together, at some 100 bytes each.
	suspectDocs = 200_000
	// progressDocs and progressEvery say when a side is worth remembering:
	// reading less again costs a second, and a row costs 400 KB.
	progressDocs  = 50_000
	progressEvery = 10 * time.Second
)

// Side is one index of a Comparison.
type Side struct {
	Index string
	// To are the sequence numbers per shard up to which it is read.
	To stream.Checkpoint
	// Canonical appends the canonical form that a document has to have in the
	// target; nil is releases.CanonicalJSON. An error ends the comparison, but
	// releases.ErrElsewhere: the document does not belong into the target.
	Canonical func(dst []byte, d stream.Doc) ([]byte, error)
	// Skip leaves documents out; nil leaves out none.
	Skip func(id string) bool
	// Whole, unless nil, gets every document that is not skipped; Omit leaves
	// some of these out of the comparison.
	Whole *releases.Digest
	Omit  func(id string) bool
}

// Comparison compares an index with those that it was filled from, by
// digests over buckets of ids. Memory is bounded: two pages and a fixed number
// of buckets per side. One Comparison is for one goroutine.
type Comparison struct {
	Engine  stream.Pager
	Target  Side
	Sources []Side
	// Written adds documents up as they are written, which takes half of the
	// time: for sides whose documents nobody changes on their way. Those that
	// are written differently are still compared in canonical form.
	Written bool
	// Resume and Save remember how far each side is; nil for not at all. Both
	// sides call Save, concurrently.
	Resume map[SideName]SideProgress
	Save   func(context.Context, SideProgress) error
	// SaveDocs and SaveEvery bound how often: after at least so many documents
	// and so much time. 0 is the default.
	SaveDocs  int
	SaveEvery time.Duration
}

// SideName tells the sides of a comparison apart.
type SideName string

// Sides.
const (
	SideSource SideName = "source"
	SideTarget SideName = "target"
)

// SideProgress is how far one side of a comparison is: what was read is in
// the buckets. It is good for a new attempt at any later time, because a
// document that changes meanwhile is read again, as it is then, on both sides.
type SideProgress struct {
	Target string
	Side   SideName
	Key    string // what the comparison is about; another key is another one
	// At is the highest sequence number read, per index and shard.
	At      map[string]stream.Checkpoint
	Buckets []byte // packed; only good for Comparison.Resume
	// Start are the checkpoints of the sources when it began.
	Start map[string]stream.Checkpoint
}

// Sums are the digests of both sides.
type Sums struct{ source, target []releases.Digest }

// Source is the digest of all documents of the sources.
func (s *Sums) Source() releases.Digest { return whole(s.source) }

// Target is the digest of all documents of the target.
func (s *Sums) Target() releases.Digest { return whole(s.target) }

func whole(buckets []releases.Digest) releases.Digest {
	var d releases.Digest
	for _, b := range buckets {
		d.Merge(b)
	}
	return d
}

// Run reads both sides at the same time.
func (c *Comparison) Run(ctx context.Context) (*Sums, error) {
	s := &Sums{}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { s.target, err = c.sum(gctx, SideTarget, []Side{c.Target}); return err })
	g.Go(func() (err error) { s.source, err = c.sum(gctx, SideSource, c.Sources); return err })
	return s, g.Wait()
}

// sum adds up one side.
func (c *Comparison) sum(ctx context.Context, name SideName, parts []Side) ([]releases.Digest, error) {
	buckets, at, err := c.Resume[name].open()
	if err != nil {
		return nil, err
	}
	var canonical []byte
	docs, saved := 0, time.Now()
	saveDocs, saveEvery := cmp.Or(c.SaveDocs, progressDocs), cmp.Or(c.SaveEvery, progressEvery)
	for _, p := range parts {
		for _, shard := range stream.ShardsIn(p.To) {
			err := stream.ReadAhead(ctx, c.Engine, p.Index, shard, at[p.Index].At(shard), p.To[shard], func(page []stream.Doc, read int64) error {
				for _, d := range page {
					if p.Skip != nil && p.Skip(d.ID) {
						continue
					}
					form := []byte(d.Source)
					if !c.Written {
						form, err = p.canonical(canonical[:0], d)
						canonical = form
					}
					if errors.Is(err, releases.ErrElsewhere) {
						continue
					}
					if err != nil {
						return err
					}
					var one releases.Digest
					one.Add(d.ID, form)
					if p.Whole != nil {
						p.Whole.Merge(one)
					}
					if p.Omit == nil || !p.Omit(d.ID) {
						buckets[bucketOf(d.ID)].Merge(one)
					}
				}
				if at[p.Index] == nil {
					at[p.Index] = stream.Checkpoint{}
				}
				at[p.Index][shard] = read
				if docs += len(page); c.Save == nil || docs < saveDocs || time.Since(saved) < saveEvery {
					return nil
				}
				docs, saved = 0, time.Now()
				return c.Save(ctx, SideProgress{Target: c.Target.Index, Side: name, At: at, Buckets: packed(buckets)})
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return buckets, nil
}

func (p *Side) canonical(dst []byte, d stream.Doc) ([]byte, error) {
	if p.Canonical != nil {
		return p.Canonical(dst, d)
	}
	out, err := releases.CanonicalJSON(dst, d.Source)
	if err != nil {
		return nil, fmt.Errorf("document %s of %s: %w", d.ID, p.Index, err)
	}
	return out, nil
}

func (p *Side) skips(id string) bool {
	return p.Skip != nil && p.Skip(id) || p.Omit != nil && p.Omit(id)
}

// bucketOf is the same in every process, so that another one can go on.
func bucketOf(id string) int { return int(crc32.ChecksumIEEE([]byte(id)) % compareBuckets) }

const packedDigest = 24

func packed(buckets []releases.Digest) []byte {
	out := make([]byte, 0, len(buckets)*packedDigest)
	for _, b := range buckets {
		out = binary.BigEndian.AppendUint64(out, uint64(b.Count))
		out = binary.BigEndian.AppendUint64(out, b.A)
		out = binary.BigEndian.AppendUint64(out, b.B)
	}
	return out
}

// open unpacks progress, or begins anew.
func (p SideProgress) open() ([]releases.Digest, map[string]stream.Checkpoint, error) {
	buckets := make([]releases.Digest, compareBuckets)
	if p.Buckets == nil {
		return buckets, map[string]stream.Checkpoint{}, nil
	}
	if len(p.Buckets) != compareBuckets*packedDigest {
		return nil, nil, fmt.Errorf("progress of comparing %s: %d bytes are not %d buckets", p.Target, len(p.Buckets), compareBuckets)
	}
	for i := range buckets {
		raw := p.Buckets[i*packedDigest:]
		buckets[i] = releases.Digest{Count: int64(binary.BigEndian.Uint64(raw)), A: binary.BigEndian.Uint64(raw[8:]), B: binary.BigEndian.Uint64(raw[16:])}
	}
	return buckets, p.At, nil
}

// Suspects calls fn with the ids that the sums cannot vouch for, in portions,
// until fn has had enough.
func (c *Comparison) Suspects(ctx context.Context, s *Sums, fn func(ids []string) (enough bool, err error)) error {
	if c.Written && s.doubtful() > suspectDocs {
		// It is not faults that differ, but the way of writing.
		whole := c.inCanonicalForm()
		sums, err := whole.Run(ctx)
		if err != nil {
			return err
		}
		return whole.Suspects(ctx, sums, fn)
	}
	chosen, n := map[int]bool{}, int64(0)
	flush := func() (bool, error) {
		if len(chosen) == 0 {
			return false, nil
		}
		ids, err := c.suspects(ctx, chosen)
		if err != nil || len(ids) == 0 {
			return false, err
		}
		chosen, n = map[int]bool{}, 0
		return fn(ids)
	}
	for i := range s.source {
		if s.source[i].Equal(s.target[i]) {
			continue
		}
		chosen[i] = true
		if n += s.source[i].Count + s.target[i].Count; n < suspectDocs {
			continue
		}
		if enough, err := flush(); err != nil || enough {
			return err
		}
	}
	_, err := flush()
	return err
}

// doubtful is how many documents are in buckets that differ, on both sides.
func (s *Sums) doubtful() (n int64) {
	for i := range s.source {
		if !s.source[i].Equal(s.target[i]) {
			n += s.source[i].Count + s.target[i].Count
		}
	}
	return n
}

// inCanonicalForm is the same comparison, from the start. What was noted of its
// sides stays noted.
func (c *Comparison) inCanonicalForm() *Comparison {
	out := &Comparison{Engine: c.Engine, Target: c.Target}
	out.Target.Whole = nil
	for _, p := range c.Sources {
		p.Whole = nil
		out.Sources = append(out.Sources, p)
	}
	return out
}

// suspects reads the documents of some buckets one by one.
func (c *Comparison) suspects(ctx context.Context, chosen map[int]bool) ([]string, error) {
	want, err := c.each(ctx, chosen, c.Sources)
	if err != nil {
		return nil, err
	}
	have, err := c.each(ctx, chosen, []Side{c.Target})
	if err != nil {
		return nil, err
	}
	var ids []string
	for id, w := range want {
		if h, ok := have[id]; !ok || !h.Equal(w) {
			ids = append(ids, id)
		}
	}
	for id := range have {
		if _, ok := want[id]; !ok {
			ids = append(ids, id)
		}
	}
	sort.Strings(ids)
	return ids, nil
}

func (c *Comparison) each(ctx context.Context, chosen map[int]bool, parts []Side) (map[string]releases.Digest, error) {
	out := map[string]releases.Digest{}
	var canonical []byte
	for _, p := range parts {
		for _, shard := range stream.ShardsIn(p.To) {
			err := stream.ReadAhead(ctx, c.Engine, p.Index, shard, -1, p.To[shard], func(page []stream.Doc, _ int64) (err error) {
				for _, d := range page {
					if !chosen[bucketOf(d.ID)] || p.skips(d.ID) {
						continue
					}
					canonical, err = p.canonical(canonical[:0], d)
					if errors.Is(err, releases.ErrElsewhere) {
						continue
					}
					if err != nil {
						return err
					}
					one := out[d.ID]
					one.Add(d.ID, canonical)
					out[d.ID] = one
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}
