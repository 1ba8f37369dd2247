package upgrader

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader/stream"
	"github.com/tracardi/tms/upgrader/verify"
)

// A recheck asks, at any time between the switch and finalize, whether the
// proof still holds. The old version is closed to writers, so it must be what
// was proven, to the last sequence number. In the new version only documents
// that were not touched since the switch can be compared; the others are
// counted.
const (
	// mostTouched bounds the ids of touched documents held in memory, at some
	// 40 bytes each.
	mostTouched = 2_000_000
	// recheckPlaces is how many indices are rechecked at once: it is nobody's
	// hurry, and readers are served meanwhile.
	recheckPlaces = 2
)

// recheck carries out a recheck and fills the errand's report.
func (s *session) recheck(ctx context.Context, e *Errand) error {
	r := &e.Report
	if s.t.Proof == nil || len(s.t.Proof.Indices) == 0 {
		return failf("tenant %s has no proof in this rollout: no data was moved", s.t.TenantID)
	}
	if err := s.r.store.DropMismatches(ctx, s.lease); err != nil {
		return err
	}
	if !slices.Equal(s.t.Proof.BundleDigests, s.l.digests()) {
		r.Notes = append(r.Notes, "the release definitions in force are not those of the proof: differences may come from the transform")
	}
	if err := s.engine.Refresh(ctx, append(s.oldPatterns(), s.newPatterns()...)...); err != nil {
		return err
	}
	stats, err := s.stats(ctx, append(s.oldPatterns(), s.newPatterns()...)...)
	if err != nil {
		return err
	}
	if err := s.checkIdentity(ctx, r); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(recheckPlaces)
	for i := range s.t.Proof.Indices {
		ip := &s.t.Proof.Indices[i]
		m := s.moveTo(ip.Target)
		if m == nil || !m.touched() {
			continue
		}
		g.Go(func() error { return s.recheckMove(gctx, e, m, ip, stats) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	r.Verdict = VerdictHolds
	if len(r.Problems) > 0 || r.Broken() > 0 {
		r.Verdict = VerdictBroken
	}
	return nil
}

// checkIdentity looks whether the proof is about this cluster and these
// indices.
func (s *session) checkIdentity(ctx context.Context, r *ErrandReport) error {
	p := s.t.Proof
	info, err := s.engine.Info(ctx)
	if err != nil {
		return err
	}
	if p.ClusterUUID != "" && info.ClusterUUID != p.ClusterUUID {
		r.problem("this is cluster %s, the proof was taken on %s", info.ClusterUUID, p.ClusterUUID)
	}
	there, err := s.engine.Indices(ctx, append(s.oldPatterns(), s.newPatterns()...)...)
	if err != nil {
		return err
	}
	for _, name := range sortedKeys(p.UUIDs) {
		uuid := p.UUIDs[name]
		i := slices.IndexFunc(there, func(ix Index) bool { return ix.Name == name })
		switch {
		case i < 0:
			r.problem("index %s is gone", name)
		case there[i].UUID != uuid:
			r.problem("index %s was deleted and made again: its id is %s, it was %s", name, there[i].UUID, uuid)
		case s.isOld(name) && !there[i].WriteBlocked:
			r.problem("index %s of the old version takes writes again", name)
		}
	}
	return nil
}

// recheckMove looks at one target and its sources.
func (s *session) recheckMove(ctx context.Context, e *Errand, m *Move, ip *IndexProof, stats map[string]IndexStats) error {
	now, ok := stats[m.Target]
	if !ok {
		return nil // named by checkIdentity
	}
	for _, c := range m.Copies {
		st, ok := stats[c.Source]
		if !ok {
			return nil
		}
		if written := since(ip.Checkpoints[c.Source], st.MaxSeqNo); written > 0 {
			s.update(func() { e.Report.problem("index %s took %d writes since the proof", c.Source, written) })
		}
	}
	at := stream.Checkpoint(s.t.Record.SeqNoAtSwitch[m.Target])
	touched, n, err := s.touchedSince(ctx, e, m.Target, at)
	if err != nil {
		return err
	}
	c := s.comparison(m, at)
	c.Written = strings.HasPrefix(ip.Digest, writtenDigest)
	var proven releases.Digest
	for i := range c.Sources {
		c.Sources[i].Whole, c.Sources[i].Omit = &proven, touched.Has
		c.Sources[i].To = ip.Checkpoints[c.Sources[i].Index]
	}
	c.Save = func(ctx context.Context, _ verify.SideProgress) error { return s.note(ctx, e) } // a recheck begins anew, but says how far it is, and may be cancelled
	sums, err := c.Run(ctx)
	if err != nil {
		return err
	}
	f := findings{absent: nil, hidden: since(at, now.MaxSeqNo) - n}
	err = c.Suspects(ctx, sums, func(ids []string) (bool, error) {
		return len(f.all)+len(f.absent) >= MaxMismatches, s.examine(ctx, m, at, ids, &f)
	})
	if err != nil {
		return err
	}
	found := f.settle(s, m)
	if err := s.r.store.SaveMismatches(ctx, s.lease, found...); err != nil {
		return err
	}
	s.update(func() { s.report(e, m, ip, sums, digestText(c, proven), n, &f, found) })
	return s.note(ctx, e)
}

// report adds what was found of one move to the errand's report.
func (s *session) report(e *Errand, m *Move, ip *IndexProof, sums *verify.Sums, proven string, touched int64, f *findings, found []Mismatch) {
	r := &e.Report
	r.Indices++
	r.Touched += touched + f.touched
	r.Equal += sums.Source().Count - f.touched
	for _, x := range found {
		switch x.Kind {
		case MismatchMissing:
			r.Missing, r.Equal = r.Missing+1, r.Equal-1
		case MismatchDiffers:
			r.Differs, r.Equal = r.Differs+1, r.Equal-1
		case MismatchAbsent:
			r.Absent, r.Equal = r.Absent+1, r.Equal-1
		case MismatchExtra:
			r.Extra++
		}
	}
	if lost := int64(len(f.absent)) - f.hidden; f.hidden > 0 && lost > 0 {
		r.problem("%s: %d documents are gone, but at most %d can have been deleted since the switch", m.Target, len(f.absent), f.hidden)
	}
	switch {
	case ip.Digest != "" && ip.DigestOf != DigestAtComparison && ip.Digest != proven:
		r.problem("the old version of %s has digest %s, proven was %s", m.Target, proven, ip.Digest)
	case ip.Digest != "" && ip.DigestOf != DigestAtComparison:
		r.Digests++
	default:
		ip.Digest, ip.DigestOf = proven, DigestSealed
		r.Sealed++
	}
}

// since counts the operations of all shards above a checkpoint.
func since(at stream.Checkpoint, now map[int]int64) int64 {
	var n int64
	for shard, seq := range now {
		n += max(0, seq-at.At(shard))
	}
	return n
}

// touchedSince reads the ids that were written above a checkpoint.
func (s *session) touchedSince(ctx context.Context, e *Errand, index string, at stream.Checkpoint) (*stream.IDSet, int64, error) {
	ids, n := stream.NewIDSet(), int64(0)
	for _, shard := range stream.ShardsIn(at) {
		err := readTail(ctx, s.engine, index, shard, at[shard], func(docs []stream.Doc) error {
			for _, d := range docs {
				ids.Add(d.ID)
			}
			if n += int64(len(docs)); n > mostTouched {
				return failf("more than %d documents of %s were written since the switch: too many to tell from the others", mostTouched, index)
			}
			return s.note(ctx, e)
		})
		if err != nil {
			return nil, 0, err
		}
	}
	return ids, n, nil
}

// readTail reads the ids of one shard above a sequence number, to its end.
func readTail(ctx context.Context, e Engine, index string, shard int, from int64, fn func([]stream.Doc) error) error {
	for {
		docs, err := e.Page(ctx, stream.PageRequest{Index: index, Shard: shard, From: from, To: math.MaxInt64, Size: stream.PageSize, IDsOnly: true})
		if err != nil || len(docs) == 0 {
			return err
		}
		if err := fn(docs); err != nil {
			return err
		}
		from = docs[len(docs)-1].SeqNo
	}
}

// findings are what examining suspects of one move brings to light.
type findings struct {
	all     []Mismatch
	absent  []string
	touched int64 // suspects that were written while they were looked at
	hidden  int64 // operations since the switch that no living document stands for
}

// settle decides what absent documents are: with no operation unaccounted
// for, nobody can have deleted them.
func (f *findings) settle(s *session, m *Move) []Mismatch {
	kind := MismatchAbsent
	if f.hidden <= 0 {
		kind = MismatchMissing
	}
	out := f.all
	for _, id := range f.absent {
		out = append(out, s.mismatch(m, id, kind, nil))
	}
	return out
}

// examine looks at documents one by one, as they are now.
func (s *session) examine(ctx context.Context, m *Move, at stream.Checkpoint, ids []string, f *findings) error {
	for len(ids) > 0 {
		n := min(len(ids), stream.PageSize)
		have, err := s.engine.Get(ctx, m.Target, ids[:n])
		if err != nil {
			return err
		}
		want, err := s.expect(ctx, m, ids[:n], nil)
		if err != nil {
			return err
		}
		for _, id := range ids[:n] {
			w, inSource := want[id]
			h, inTarget := have[id]
			x, err := s.verdictOn(ctx, m, at, id, w, inSource, h, inTarget)
			switch {
			case errors.Is(err, errTouched):
				f.touched++
			case err != nil:
				return err
			case x != nil && x.Kind == MismatchAbsent:
				f.absent = append(f.absent, id)
			case x != nil:
				f.all = append(f.all, *x)
			}
		}
		ids = ids[n:]
	}
	return nil
}

// errTouched marks a document that the new version has written since.
var errTouched = errors.New("touched since the switch")

// verdictOn compares one document of the new version with what it should be;
// nil is as it should be.
func (s *session) verdictOn(ctx context.Context, m *Move, at stream.Checkpoint, id string, w expected, inSource bool, h stream.Doc, inTarget bool) (*Mismatch, error) {
	if inTarget {
		touched, err := s.writtenSince(ctx, m.Target, at, h)
		if err != nil {
			return nil, err
		}
		if touched {
			return nil, errTouched
		}
	}
	switch {
	case inSource && !inTarget:
		x := s.mismatch(m, id, MismatchAbsent, nil)
		return &x, nil
	case !inSource && inTarget:
		x := s.mismatch(m, id, MismatchExtra, nil)
		return &x, nil
	case !inSource:
		return nil, nil
	}
	fields, err := verify.DifferingFields(s.face(m, w.source), s.face(m, h.Source))
	if err != nil || len(fields) == 0 {
		return nil, err
	}
	x := s.mismatch(m, id, MismatchDiffers, fields)
	return &x, nil
}
