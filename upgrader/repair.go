package upgrader

import (
	"context"
	"errors"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/upgrader/stream"
	"github.com/tracardi/tms/upgrader/verify"
)

// A repair copies again just those documents that a comparison found wrong,
// and proves them afterwards. Before the switch nobody but TMS writes to the
// new version; after it nothing is overwritten that was touched since: every
// write names the version of the document that was looked at.

func (s *session) repair(ctx context.Context, e *Errand) error {
	found, err := s.r.store.Mismatches(ctx, MismatchFilter{RolloutID: s.lease.RolloutID, TenantID: s.lease.TenantID})
	if err != nil {
		return err
	}
	if s.t.State == TenantFailed {
		return s.repairBefore(ctx, e, found)
	}
	if len(found) == 0 {
		if err := s.recheck(ctx, e); err != nil {
			return err
		}
		if found, err = s.r.store.Mismatches(ctx, MismatchFilter{RolloutID: s.lease.RolloutID, TenantID: s.lease.TenantID}); err != nil {
			return err
		}
	}
	var did ErrandReport
	for target, ids := range byTarget(found) {
		if err := s.repairAfter(ctx, e, target, ids, &did); err != nil {
			return err
		}
	}
	// What is left is what the verdict is about.
	e.Report = ErrandReport{}
	if err := s.recheck(ctx, e); err != nil {
		return err
	}
	s.update(func() { e.Report.Outcomes, e.Report.Documents = did.Outcomes, did.Documents })
	if did.Outcomes[OutcomeRefusedDoc] > 0 {
		e.Report.problem("%d documents were refused by the new version", did.Outcomes[OutcomeRefusedDoc])
		e.Report.Verdict = VerdictBroken
	}
	return nil
}

func byTarget(found []Mismatch) map[string][]Mismatch {
	out := map[string][]Mismatch{}
	for _, x := range found {
		out[x.Target] = append(out[x.Target], x)
	}
	return out
}

// repairBefore mends a tenant that failed verification; what follows is
// another verification.
func (s *session) repairBefore(ctx context.Context, e *Errand, found []Mismatch) error {
	for _, m := range s.moves {
		if m.touched() && m.State != MoveCopied || len(m.Copies) > 0 && m.State == MovePlanned {
			return failf("%s is not copied yet, so there is nothing to repair: use `tms upgrade retry %s --tenant %s`", m.Target, s.rollout.ID, s.t.TenantID)
		}
	}
	if err := s.refreshBoth(ctx); err != nil {
		return err
	}
	if len(found) == 0 {
		var err error
		if found, err = s.find(ctx, e); err != nil {
			return err
		}
	}
	for target, part := range byTarget(found) {
		m := s.moveTo(target)
		if m == nil {
			continue
		}
		for page := range slices.Chunk(part, stream.PageSize) {
			if err := s.copyAgain(ctx, e, m, page); err != nil {
				return err
			}
			if err := s.note(ctx, e); err != nil {
				return err
			}
		}
	}
	e.Report.Verdict = VerdictMended
	return s.r.store.DropMismatches(ctx, s.lease)
}

// find compares everything, for a tenant that failed without naming documents
// (the counts differed).
func (s *session) find(ctx context.Context, e *Errand) ([]Mismatch, error) {
	stats, err := s.stats(ctx, s.newPatterns()...)
	if err != nil {
		return nil, err
	}
	var found []Mismatch
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(recheckPlaces)
	for _, m := range s.moves {
		if !m.touched() {
			continue
		}
		g.Go(func() error {
			c := s.comparison(m, stats[m.Target].MaxSeqNo)
			c.Save = func(ctx context.Context, _ verify.SideProgress) error { return s.note(ctx, e) }
			sums, err := c.Run(gctx)
			if err != nil {
				return err
			}
			return c.Suspects(gctx, sums, func(ids []string) (bool, error) {
				some, err := s.faults(gctx, m, ids)
				s.update(func() { found = append(found, some...) })
				return len(some) >= MaxMismatches, err
			})
		})
	}
	return found, g.Wait()
}

// copyAgain writes documents of the sources into the target as they are now;
// those that no source has any more are removed.
func (s *session) copyAgain(ctx context.Context, e *Errand, m *Move, part []Mismatch) error {
	ids := make([]string, len(part))
	for i, x := range part {
		ids[i] = x.ID
	}
	written := map[string]bool{}
	for i := range m.Copies {
		c := &m.Copies[i]
		docs, err := s.engine.Get(ctx, c.Source, ids)
		if err != nil {
			return err
		}
		maps.DeleteFunc(docs, func(id string, _ stream.Doc) bool { return s.aside.has(c.Source, id) })
		if _, err := s.put(ctx, m, c, slices.Collect(maps.Values(docs)), true); err != nil {
			return err
		}
		for id := range docs {
			written[id] = true
		}
	}
	if _, err := s.removeIfGone(ctx, m, ids); err != nil {
		return err
	}
	for _, id := range ids {
		o := OutcomeRemoved
		if written[id] {
			o = OutcomeWritten
		}
		s.update(func() { e.Report.outcome(m.Target, id, o, "") })
	}
	return nil
}

// repairAfter mends documents of a switched tenant's target.
func (s *session) repairAfter(ctx context.Context, e *Errand, target string, part []Mismatch, did *ErrandReport) error {
	m := s.moveTo(target)
	if m == nil {
		return nil
	}
	at := stream.Checkpoint(s.t.Record.SeqNoAtSwitch[target])
	for page := range slices.Chunk(part, stream.PageSize) {
		ops, err := s.mend(ctx, e, m, at, page, did)
		if err != nil {
			return err
		}
		refused, err := s.bulk(ctx, ops)
		if err != nil {
			return err
		}
		for i, op := range ops {
			res := refused[i]
			switch {
			case res != nil && res.Status == 409:
				did.outcome(target, op.ID, OutcomeTouched, "written while it was repaired")
			case res != nil:
				did.outcome(target, op.ID, OutcomeRefusedDoc, res.Type+": "+res.Reason)
			case op.Delete:
				did.outcome(target, op.ID, OutcomeRemoved, "")
			default:
				did.outcome(target, op.ID, OutcomeWritten, "")
			}
		}
		if err := s.note(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// byEngineOnly explains why a document with raw Painless in its transform is
// left alone after the switch: the engine cannot both perform that and make
// sure that nothing newer is there.
const byEngineOnly = "raw Painless makes it, which cannot be written on a condition"

// mend says what to write so that the documents are as they should be.
func (s *session) mend(ctx context.Context, e *Errand, m *Move, at stream.Checkpoint, part []Mismatch, did *ErrandReport) ([]BulkOp, error) {
	ids, kinds := make([]string, len(part)), map[string]MismatchKind{}
	for i, x := range part {
		ids[i], kinds[x.ID] = x.ID, x.Kind
	}
	have, err := s.engine.Get(ctx, m.Target, ids)
	if err != nil {
		return nil, err
	}
	want, err := s.expect(ctx, m, ids, nil)
	if err != nil {
		return nil, err
	}
	var ops []BulkOp
	for _, id := range ids {
		w, inSource := want[id]
		h, inTarget := have[id]
		x, err := s.verdictOn(ctx, m, at, id, w, inSource, h, inTarget)
		op := BulkOp{Index: m.Target, ID: id, Routing: w.routing, Source: w.source}
		switch {
		case errors.Is(err, errTouched):
			did.outcome(m.Target, id, OutcomeTouched, "")
			continue
		case err != nil:
			return nil, err
		case x == nil:
			did.outcome(m.Target, id, OutcomeEqual, "")
			continue
		case w.byEngine:
			did.outcome(m.Target, id, OutcomeKept, byEngineOnly)
			continue
		case w.touched: // only the transform says so here
			did.outcome(m.Target, id, OutcomeRefusedDoc, "by the transform")
			continue
		case x.Kind == MismatchAbsent && kinds[id] == MismatchAbsent && !e.Args.Absent:
			did.outcome(m.Target, id, OutcomeAbsent, "perhaps deleted since the switch")
			continue
		case x.Kind == MismatchAbsent:
			op.Create = true
		default:
			op.If, op.Delete = &Version{h.SeqNo, h.Term}, x.Kind == MismatchExtra
			if op.Delete {
				op.Source, op.Routing = nil, h.Routing
			}
		}
		ops = append(ops, op)
	}
	return ops, nil
}
