package upgrader

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader/naming"
	"github.com/tracardi/tms/upgrader/stream"
	"github.com/tracardi/tms/upgrader/verify"
)

// MaxNotCarried is the number of documents per tenant that a rollback keeps in
// quarantine because the old release cannot hold them, or not all of them.
// Past it the rollback fails and the tenant stays switched: so many are no odd
// documents, and the operator has to know before readers go back.
const MaxNotCarried = 100_000

// carryBack brings what was written to the new version since the switch, or
// since the last pass, into the old version, and returns how many documents
// that were. last is the pass behind the fence: nothing is in flight any more,
// and the old version stays open, because it is about to be used.
func (s *session) carryBack(ctx context.Context, last bool) (int, error) {
	both, err := s.stats(ctx, append(s.oldPatterns(), s.newPatterns()...)...)
	if err != nil {
		return 0, err
	}
	news, olds := map[string]IndexStats{}, map[string]IndexStats{}
	for name, st := range both {
		if n, ok := naming.Parse(name); ok && n.Prefix == s.l.to.Prefix {
			news[name] = st
		} else {
			olds[name] = st
		}
	}
	s.back = s.waysBack(news, olds)
	if len(s.open) == 0 {
		s.baseline(olds)
	}
	r := s.t.Record.Return
	to, behind := map[string]stream.Checkpoint{}, []string{}
	for _, w := range s.back {
		for _, name := range w.news {
			seq := news[name].Checkpoints
			if last {
				seq = news[name].MaxSeqNo
			}
			if at := s.carriedTo(name); stream.Beyond(at, seq) {
				to[name], behind = stream.CheckpointOf(seq), append(behind, name)
			}
		}
	}
	if len(behind) == 0 {
		return 0, s.closeUnless(ctx, last)
	}
	// The sequence numbers were read before this refresh, so it shows them all.
	if err := s.engine.Refresh(ctx, append(behind, oldsOf(s.back, to)...)...); err != nil {
		return 0, err
	}
	n, err := s.carryWays(ctx, to)
	if err != nil {
		return n, err
	}
	for name, at := range to {
		r.At[name] = at
	}
	s.t.Reason = r.progress()
	if err := s.r.store.SaveTenant(ctx, s.lease, s.t); err != nil {
		return n, err
	}
	return n, s.closeUnless(ctx, last)
}

// progress says how far a rollback is.
func (r *Return) progress() string {
	return fmt.Sprintf("%d documents carried back, %d deleted", r.Carried, r.Deleted)
}

// noteCarried stores how far a long pass is, at most every lookEvery.
func (s *session) noteCarried(ctx context.Context) error {
	s.mu.Lock()
	if s.r.now().Sub(s.noted) < lookEvery {
		s.mu.Unlock()
		return nil
	}
	s.noted = s.r.now()
	s.t.Reason = s.t.Record.Return.progress()
	s.mu.Unlock()
	return s.saveReturn(ctx)
}

// saveReturn stores the tenant while documents are carried back: one save after
// the other, so that an older state never overwrites a newer one.
func (s *session) saveReturn(ctx context.Context) error {
	s.saving.Lock()
	defer s.saving.Unlock()
	s.mu.Lock()
	t, r := *s.t, *s.t.Record.Return
	r.Made = slices.Clone(r.Made)
	t.Record.Return = &r
	s.mu.Unlock()
	return s.r.store.SaveTenant(ctx, s.lease, &t)
}

func (s *session) closeUnless(ctx context.Context, last bool) error {
	if last {
		return nil
	}
	return s.closeOld(ctx, false)
}

// carriedTo is up to where an index of the new version needs no look: what it
// held at the switch came from the old version.
func (s *session) carriedTo(name string) stream.Checkpoint {
	r := &s.t.Record
	if at, ok := r.Return.At[name]; ok {
		return at
	}
	return stream.CheckpointOf(r.SeqNoAtSwitch[name])
}

// oldsOf lists the old indices of the ways on which something is to be carried.
func oldsOf(ways []*wayBack, to map[string]stream.Checkpoint) []string {
	var out []string
	for _, w := range ways {
		if slices.ContainsFunc(w.news, func(n string) bool { return to[n] != nil }) {
			out = append(out, w.olds...)
		}
	}
	return out
}

// carryWays carries several resources at once; the partitions of one come one
// after the other, so that of two documents with one id the later one stays.
func (s *session) carryWays(ctx context.Context, to map[string]stream.Checkpoint) (int, error) {
	counts := make([]int, len(s.back))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.r.limits.Streams)
	for i, w := range s.back {
		g.Go(func() error {
			for _, name := range w.news {
				from := s.carriedTo(name)
				for _, shard := range stream.ShardsIn(to[name]) {
					err := stream.ReadShard(gctx, s.engine, name, shard, from.At(shard), to[name][shard], false, func(docs []stream.Doc, _ int64) error {
						counts[i] += len(docs)
						s.noteTouched(name, docs)
						return s.carryPage(gctx, w, name, docs)
					})
					if err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	err := g.Wait()
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return sum, err
}

// returning is one document on its way back.
type returning struct {
	doc   stream.Doc
	index string // of the old version
	body  json.RawMessage
	lost  []string
}

// carryPage carries a page of documents of one new index back and accounts for
// each: written, unchanged, or in quarantine.
func (s *session) carryPage(ctx context.Context, w *wayBack, index string, docs []stream.Doc) error {
	if w.from == nil {
		return s.keepBack(ctx, w, index, docs)
	}
	if w.lineOf(index).transform.Opaque() {
		aside := make([]Quarantined, len(docs))
		for i, d := range docs {
			aside[i] = s.quarantined(d, "", QuarantineNotCarriedBack, "its transform holds raw Painless, which has no way back")
		}
		return s.keepNotCarried(ctx, aside)
	}
	here, displaced, err := s.oldStates(ctx, w, index, docs)
	if err != nil {
		return err
	}
	docs, astray, err := s.branchTwins(ctx, w, index, docs, here)
	if err != nil {
		return err
	}
	var todo []returning
	var clean []string
	for _, d := range docs {
		if why := displaced[d.ID]; why != "" {
			astray = append(astray, s.quarantined(d, "", QuarantineNotCarriedBack, why))
			continue
		}
		r, changed, err := s.lead(w, index, d, here[d.ID])
		if errors.Is(err, releases.ErrElsewhere) {
			astray = append(astray, s.quarantined(d, "", QuarantineNotCarriedBack, "led back and forth again it would not come here: the route does not lead to it"))
			continue
		}
		if err != nil {
			return err
		}
		if changed {
			todo = append(todo, r)
			continue
		}
		clean = append(clean, d.ID)
		if s.aside.neverWent(r.index, d.ID) { // somebody has brought it since
			if err := s.takeBack(ctx, r.index, d.ID); err != nil {
				return err
			}
		}
	}
	s.update(func() { s.t.Record.Return.Unchanged += int64(len(clean)) })
	written, aside, err := s.writeBack(ctx, todo)
	if err != nil {
		return err
	}
	for _, r := range written {
		w.written[r.index] = true
	}
	for _, r := range written {
		if len(r.lost) == 0 {
			clean = append(clean, r.doc.ID)
		}
	}
	if err := s.keepNotCarried(ctx, append(aside, astray...)); err != nil {
		return err
	}
	if err := s.takeBack(ctx, index, clean...); err != nil {
		return err
	}
	return s.noteCarried(ctx)
}

// lead finds out what a document is in the old version; changed is false when
// the old version holds just that.
func (s *session) lead(w *wayBack, index string, d, old stream.Doc) (r returning, changed bool, err error) {
	r = returning{doc: d, index: old.Index}
	line := w.lineOf(index)
	var before map[string]any
	if old.Source != nil {
		if t := transformedBy(line.transform, old.Source); t.kind == "" && !t.elsewhere {
			if f, err := verify.DifferingFields(t.source, d.Source); err == nil && len(f) == 0 {
				return r, false, nil
			}
			if before, err = releases.DecodeDoc(old.Source); err != nil {
				return r, false, fmt.Errorf("document %s of %s: %w", d.ID, old.Index, err)
			}
		}
	}
	doc, err := releases.DecodeDoc(d.Source)
	if err != nil {
		return r, false, fmt.Errorf("document %s of %s: %w", d.ID, d.Index, err)
	}
	back, lost, err := line.back(doc, before)
	if err != nil {
		return r, false, fmt.Errorf("document %s of %s: %w", d.ID, d.Index, err)
	}
	if r.body, err = releases.EncodeDoc(back); err != nil {
		return r, false, fmt.Errorf("document %s of %s: %w", d.ID, d.Index, err)
	}
	r.lost = lost
	if r.index == "" {
		r.index = w.home(s.naming().In(s.l.from.Prefix), s.l.from.Prefix, index, r.body)
		if !slices.Contains(w.olds, r.index) {
			s.update(func() { w.olds = append(w.olds, r.index) })
		}
	}
	return r, true, nil
}

// writeBack writes documents into the old version and reads them back. It
// returns those that are there, and what is to be kept aside: documents that
// the old release refuses, and those of which it cannot hold everything.
func (s *session) writeBack(ctx context.Context, todo []returning) (written []returning, aside []Quarantined, err error) {
	if len(todo) == 0 {
		return nil, nil, nil
	}
	ops := make([]BulkOp, len(todo))
	indices := map[string]bool{}
	for i, r := range todo {
		ops[i] = BulkOp{Index: r.index, ID: r.doc.ID, Routing: r.doc.Routing, Source: r.body}
		indices[r.index] = true
	}
	if err := s.openOld(ctx, sortedKeys(indices)); err != nil {
		return nil, nil, err
	}
	refused, err := s.bulk(ctx, ops)
	if err != nil {
		return nil, nil, err
	}
	for i, r := range todo {
		switch res := refused[i]; {
		case res != nil:
			aside = append(aside, s.quarantined(r.doc, "", QuarantineNotCarriedBack, fmt.Sprintf("release %s refuses it: %s: %s", s.l.from.Version, res.Type, res.Reason)))
			continue
		case len(r.lost) > 0:
			aside = append(aside, s.quarantined(r.doc, r.index, QuarantineNotCarriedBack, fmt.Sprintf("release %s cannot hold all of it; left out or changed: %s", s.l.from.Version, strings.Join(r.lost, ", "))))
		}
		written = append(written, r)
	}
	s.update(func() { s.t.Record.Return.Carried += int64(len(written)) })
	if err := s.readBack(ctx, written); err != nil {
		return nil, nil, err
	}
	// A document that the upgrade had refused has been written anew.
	for _, r := range written {
		if err := s.takeBack(ctx, r.index, r.doc.ID); err != nil {
			return nil, nil, err
		}
	}
	return written, aside, nil
}

// errNotAsWritten is a document of the old version that is not what was
// written: somebody else writes there. The pass is repeated.
var errNotAsWritten = errors.New("the old version does not hold what was written back; is a container of the old release running?")

// readBack compares what the old version holds with what was written.
func (s *session) readBack(ctx context.Context, written []returning) error {
	byIndex := map[string][]returning{}
	for _, r := range written {
		byIndex[r.index] = append(byIndex[r.index], r)
	}
	for _, index := range sortedKeys(byIndex) {
		ids := make([]string, len(byIndex[index]))
		for i, r := range byIndex[index] {
			ids[i] = r.doc.ID
		}
		have, err := s.engine.Get(ctx, index, ids)
		if err != nil {
			return err
		}
		for _, r := range byIndex[index] {
			if d, ok := have[r.doc.ID]; !ok || !bytes.Equal(d.Source, r.body) {
				return fmt.Errorf("document %s of %s: %w", r.doc.ID, index, errNotAsWritten)
			}
		}
	}
	s.update(func() { s.t.Record.Return.Compared += int64(len(written)) })
	return nil
}

// keepBack lists documents of a resource that the old release does not know.
// They are safe in their index, which stays; the first of them are listed one
// by one. Of a resource that shares its source with another one all are: its
// indices are replaced by the next upgrade.
func (s *session) keepBack(ctx context.Context, w *wayBack, index string, docs []stream.Doc) error {
	if !s.l.fed(w.to.Key) {
		room := MaxQuarantine - len(s.aside.of(index, QuarantineNotCarriedBack))
		docs = docs[:min(len(docs), max(0, room))]
	}
	aside := make([]Quarantined, len(docs))
	for i, d := range docs {
		aside[i] = s.quarantined(d, "", QuarantineNotCarriedBack, fmt.Sprintf("release %s has no resource, or no single one, that %s is made of", s.l.from.Version, w.to.Key))
	}
	return s.keepNotCarried(ctx, aside)
}

// keepNotCarried stores documents in quarantine.
func (s *session) keepNotCarried(ctx context.Context, docs []Quarantined) error {
	if len(docs) == 0 {
		return nil
	}
	if n := s.aside.total() + len(docs); n > MaxNotCarried+2*MaxQuarantine {
		return failf("more than %d documents cannot go back to %s whole; the tenant stays on %s; see `tms upgrade quarantine %s --tenant %s`", MaxNotCarried, s.l.from.Version, s.l.to.Version, s.rollout.ID, s.t.TenantID)
	}
	if err := s.r.store.AddQuarantine(ctx, s.lease, docs...); err != nil {
		return err
	}
	for _, d := range docs {
		s.aside.add(d)
	}
	return nil
}
