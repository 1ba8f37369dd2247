package upgrader

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/tracardi/tms/upgrader/naming"
	"github.com/tracardi/tms/upgrader/verify"
)

// redrivePage is how many quarantined documents are read at once, each with
// its source of some kilobytes, megabytes at worst.
const redrivePage = 100

// A redrive gives quarantined documents another chance, with the transform
// that is in force now.
func (s *session) redrive(ctx context.Context, e *Errand) error {
	after := [3]string{}
	for {
		docs, err := s.r.store.Quarantine(ctx, QuarantineFilter{
			RolloutID: s.lease.RolloutID, TenantID: s.lease.TenantID, After: after, Limit: redrivePage, IDs: e.Args.IDs,
		})
		if err != nil {
			return err
		}
		if len(docs) == 0 {
			break
		}
		last := docs[len(docs)-1]
		after = [3]string{last.TenantID, last.Index, last.ID}
		if s.t.State == TenantFailed {
			err = s.redriveBefore(ctx, e, docs)
		} else {
			err = s.redriveAfter(ctx, e, docs)
		}
		if err != nil {
			return err
		}
		if err := s.note(ctx, e); err != nil {
			return err
		}
	}
	e.Report.Verdict = VerdictMended
	for o, n := range e.Report.Outcomes {
		if o != OutcomeWritten && o != OutcomeEqual && n > 0 {
			e.Report.Verdict = VerdictPartial
		}
	}
	return nil
}

// redriveBefore copies the documents from their sources, which are still
// written to: what stands there counts, not what was kept.
func (s *session) redriveBefore(ctx context.Context, e *Errand, docs []Quarantined) error {
	bySource := map[string][]Quarantined{}
	for _, d := range docs {
		bySource[d.Index] = append(bySource[d.Index], d)
	}
	for source, part := range bySource {
		m, c := s.copyOf(source, part[0].Target)
		if m == nil || m.State != MoveCopied {
			for _, d := range part {
				e.Report.outcome(d.Index, d.ID, OutcomeKept, "its index is not being copied, or not copied yet")
			}
			continue
		}
		ids := make([]string, len(part))
		for i, d := range part {
			ids[i] = d.ID
		}
		there, err := s.engine.Get(ctx, source, ids)
		if err != nil {
			return err
		}
		if _, err := s.put(ctx, m, c, slices.Collect(maps.Values(there)), true); err != nil {
			return err
		}
		for _, id := range ids {
			if s.aside.has(source, id) {
				e.Report.outcome(source, id, OutcomeRefusedDoc, "still; see `tms upgrade quarantine`")
			} else {
				e.Report.outcome(source, id, OutcomeWritten, "")
			}
		}
	}
	return s.pruneQuarantine(ctx, nil)
}

// copyOf finds the copy of a source into a target.
func (s *session) copyOf(source, target string) (*Move, *Copy) {
	m := s.moveTo(target)
	if m == nil {
		return nil, nil
	}
	for i := range m.Copies {
		if m.Copies[i].Source == source {
			return m, &m.Copies[i]
		}
	}
	return nil, nil
}

// redriveAfter writes the kept documents into the new version, each only when
// no document has its id there.
func (s *session) redriveAfter(ctx context.Context, e *Errand, docs []Quarantined) error {
	newer, err := s.idsInUse(ctx, docs)
	if err != nil {
		return err
	}
	var ops []BulkOp
	var of []Quarantined
	for _, d := range docs {
		m := s.moveTo(d.Target)
		switch {
		case !migrates(d.Kind) || m == nil:
			e.Report.outcome(d.Index, d.ID, OutcomeKept, "it is no document of the old version that was left out: export it")
			continue
		case newer[d.Target][d.ID]:
			e.Report.outcome(d.Index, d.ID, OutcomeSuperseded, "another partition has a document with this id")
			continue
		}
		t := s.transform(m, d.Index, d.Source)
		if t.script != "" {
			e.Report.outcome(d.Index, d.ID, OutcomeKept, byEngineOnly)
			continue
		}
		if t.elsewhere {
			e.Report.outcome(d.Index, d.ID, OutcomeKept, "another resource or partition takes it")
			continue
		}
		if t.kind != "" {
			e.Report.outcome(d.Index, d.ID, OutcomeRefusedDoc, t.reason)
			continue
		}
		ops = append(ops, BulkOp{Index: d.Target, ID: d.ID, Source: t.source, Create: true})
		of = append(of, d)
	}
	if len(ops) == 0 {
		return nil
	}
	refused, err := s.bulk(ctx, ops)
	if err != nil {
		return err
	}
	done := map[string][]string{}
	for i, d := range of {
		o, reason, err := s.outcomeOfCreate(ctx, ops[i], refused[i])
		if err != nil {
			return err
		}
		e.Report.outcome(d.Index, d.ID, o, reason)
		if o == OutcomeWritten || o == OutcomeEqual {
			done[d.Index] = append(done[d.Index], d.ID)
		}
	}
	for index, ids := range done {
		if err := s.r.store.Resolve(ctx, s.lease, index, string(OutcomeWritten), ids...); err != nil {
			return err
		}
		s.aside.resolve(index, ids...)
	}
	return nil
}

// migrates says whether a document of this kind was on its way from the old
// version into the new one.
func migrates(k QuarantineKind) bool {
	return k == QuarantineRefused || k == QuarantineDuplicate || k == QuarantineDropped
}

// outcomeOfCreate tells a document that is there already, because an earlier
// attempt wrote it, from one that somebody else has written.
func (s *session) outcomeOfCreate(ctx context.Context, op BulkOp, res *BulkResult) (DocumentOutcome, string, error) {
	switch {
	case res == nil:
		return OutcomeWritten, "", nil
	case res.Status != 409:
		return OutcomeRefusedDoc, res.Type + ": " + res.Reason, nil
	}
	there, err := s.engine.Get(ctx, op.Index, []string{op.ID})
	if err != nil {
		return "", "", err
	}
	d, ok := there[op.ID]
	if !ok {
		return OutcomeRefusedDoc, "it was deleted at the same moment", nil
	}
	fields, err := verify.DifferingFields(op.Source, d.Source)
	switch {
	case err != nil:
		return "", "", err
	case len(fields) == 0:
		return OutcomeEqual, "", nil
	}
	return OutcomeSuperseded, "a newer document has this id", nil
}

// idsInUse tells, per target, which ids stand in another partition of the same
// alias.
func (s *session) idsInUse(ctx context.Context, docs []Quarantined) (map[string]map[string]bool, error) {
	out, ids := map[string]map[string]bool{}, map[string][]string{}
	for _, d := range docs {
		ids[d.Target] = append(ids[d.Target], d.ID)
	}
	for target, wanted := range ids {
		n, ok := naming.Parse(target)
		if !ok {
			continue
		}
		there, err := s.engine.Aliases(ctx, n.Alias())
		if err != nil {
			return nil, err
		}
		others := slices.DeleteFunc(slices.Clone(there[n.Alias()]), func(ix string) bool { return ix == target })
		if len(others) == 0 {
			continue
		}
		if err := s.engine.Refresh(ctx, others...); err != nil {
			return nil, err
		}
		found, err := s.engine.FindIDs(ctx, others, wanted)
		if err != nil {
			return nil, fmt.Errorf("look for newer documents: %w", err)
		}
		out[target] = map[string]bool{}
		for _, some := range found {
			for _, id := range some {
				out[target][id] = true
			}
		}
	}
	return out, nil
}

// DropQuarantine forgets quarantined documents of a rollout for good, and
// returns how many. Only tenants that nothing is done for: before the switch
// a document that is neither copied nor kept would be lost.
func (s *Service) DropQuarantine(ctx context.Context, d Discard) (int, error) {
	if len(d.IDs) > MaxErrandIDs {
		return 0, &ServiceError{Reason: ReasonInvalid, Field: "ids", Message: fmt.Sprintf("%d ids are more than %d", len(d.IDs), MaxErrandIDs), Remedy: "name fewer, or none for all"}
	}
	if _, err := s.Get(ctx, d.RolloutID); err != nil {
		return 0, err
	}
	return s.store.DiscardQuarantine(ctx, d, func(r *Rollout) error {
		if d.TenantID != "" && !slices.ContainsFunc(r.Tenants, func(t RolloutTenant) bool { return t.TenantID == d.TenantID }) {
			return noSuchTenant(r.ID, d.TenantID)
		}
		for _, t := range r.Tenants {
			if d.TenantID != "" && t.TenantID != d.TenantID {
				continue
			}
			if t.Working() || t.State == TenantFailed {
				return wrongState(r, fmt.Sprintf("nothing of tenant %s may be dropped while it is %s: its documents stand in the old version, and in quarantine because of that", t.TenantID, t.State))
			}
		}
		return nil
	})
}
