package upgrader

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// An errand is work on one tenant that an operator asks for beside the
// upgrade itself: look again whether the proof holds, mend what does not, give
// quarantined documents another chance. It is an intent of the tenant, so that
// leases, the queue and takeover work as for every other step; what it is
// about, and what came of it, stands in a row of its own.

// ErrandKind says what is to be done.
type ErrandKind string

// Kinds of errands.
const (
	ErrandRecheck ErrandKind = "recheck"
	ErrandRepair  ErrandKind = "repair"
	ErrandRedrive ErrandKind = "redrive"
)

// ErrandState is where an errand stands.
type ErrandState string

// States of errands; all but the first are ends.
const (
	ErrandRunning   ErrandState = "running"
	ErrandDone      ErrandState = "done"      // carried out; Report.Verdict says what came of it
	ErrandFailed    ErrandState = "failed"    // see Reason
	ErrandCancelled ErrandState = "cancelled" // by the operator, or by a command that matters more
)

// Errand is a recheck, repair or redrive of one tenant of a rollout that has been
// switched, with what came of it.
type Errand struct {
	ID                  string
	RolloutID, TenantID string
	Kind                ErrandKind
	State               ErrandState
	Args                ErrandArgs
	Report              ErrandReport
	Reason              string // why it failed, or why the last attempt did
	Attempts            int    // consecutive failed ones
	CreatedBy           string
	CreatedAt           time.Time
	FinishedAt          time.Time // zero while it runs
}

// ErrandArgs are what the operator chose; empty is the whole tenant.
type ErrandArgs struct {
	// Absent lets a repair write documents again that may have been deleted
	// since the switch.
	Absent bool `json:"absent,omitempty"`
	// IDs narrows a redrive to documents.
	IDs []string `json:"ids,omitempty"`
}

// Verdicts of a report.
const (
	VerdictHolds   = "holds"
	VerdictBroken  = "does not hold"
	VerdictMended  = "repaired"
	VerdictPartial = "partly"
)

// ErrandReport is what an errand found and did, so far while it runs.
type ErrandReport struct {
	Verdict string `json:"verdict,omitempty"`
	Indices int    `json:"indices,omitempty"` // looked at
	// Equal documents: untouched since the switch, and the same in both
	// versions. Touched ones were written since and are not compared.
	Equal   int64 `json:"equal,omitempty"`
	Touched int64 `json:"touched,omitempty"`
	// Documents that are not what they should be, as MismatchKind tells them
	// apart.
	Missing int64 `json:"missing,omitempty"`
	Differs int64 `json:"differs,omitempty"`
	Extra   int64 `json:"extra,omitempty"`
	Absent  int64 `json:"absent,omitempty"`
	// Digests of the old version that are what was proven; Sealed ones were
	// taken for the first time.
	Digests int `json:"digests,omitempty"`
	Sealed  int `json:"sealed,omitempty"`
	// Problems other than of single documents; at most mostProblems.
	Problems []string `json:"problems,omitempty"`
	Notes    []string `json:"notes,omitempty"`
	// Outcomes counts the documents of a repair or a redrive by what came of
	// each; Documents names the first mostOutcomes.
	Outcomes  map[DocumentOutcome]int64 `json:"outcomes,omitempty"`
	Documents []OutcomeOf               `json:"documents,omitempty"`
}

// DocumentOutcome is what came of one document of a repair or a redrive.
type DocumentOutcome string

// Outcomes.
const (
	OutcomeWritten    DocumentOutcome = "written"
	OutcomeRemoved    DocumentOutcome = "removed"
	OutcomeEqual      DocumentOutcome = "equal"      // it was right already
	OutcomeTouched    DocumentOutcome = "touched"    // written since the switch: left alone
	OutcomeSuperseded DocumentOutcome = "superseded" // a newer document has its id: left alone
	OutcomeRefusedDoc DocumentOutcome = "refused"    // by the transform or the mapping
	OutcomeAbsent     DocumentOutcome = "absent"     // perhaps deleted since the switch: left alone
	OutcomeKept       DocumentOutcome = "kept"       // nothing a redrive could do for this kind
)

// OutcomeOf is the outcome of one document.
type OutcomeOf struct {
	Index   string          `json:"index"`
	ID      string          `json:"id"`
	Outcome DocumentOutcome `json:"outcome"`
	Reason  string          `json:"reason,omitempty"`
}

// Bounds of a report and of trying again.
const (
	mostProblems      = 100
	mostOutcomes      = 1_000
	maxErrandAttempts = 10
	// errandSave is how often progress is stored.
	errandSave = time.Second
)

func (r *ErrandReport) problem(format string, args ...any) {
	if len(r.Problems) < mostProblems {
		r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
	} else if len(r.Problems) == mostProblems {
		r.Problems = append(r.Problems, "and more")
	}
}

func (r *ErrandReport) outcome(index, id string, o DocumentOutcome, reason string) {
	if r.Outcomes == nil {
		r.Outcomes = map[DocumentOutcome]int64{}
	}
	r.Outcomes[o]++
	if len(r.Documents) < mostOutcomes {
		r.Documents = append(r.Documents, OutcomeOf{index, id, o, reason})
	}
}

// Broken counts documents that are certainly not as they should be.
func (r *ErrandReport) Broken() int64 { return r.Missing + r.Differs + r.Extra }

// errandOf is the errand that an intent stands for, "" for other intents.
func (i Intent) errandOf() ErrandKind {
	switch i {
	case IntentRecheck, IntentRepair, IntentRedrive:
		return ErrandKind(i)
	}
	return ""
}

// runErrand carries out the tenant's errand and stores what came of it.
func (s *session) runErrand(ctx context.Context) (Outcome, error) {
	e, err := s.r.store.RunningErrand(ctx, s.lease.RolloutID, s.lease.TenantID)
	if errors.Is(err, ErrNotFound) {
		return OutcomeDone, s.endErrand(ctx, nil)
	}
	if err != nil {
		return "", err
	}
	started := s.r.now()
	e.Report = ErrandReport{}
	err = s.carryOut(ctx, e)
	if errors.Is(err, ErrLeaseLost) || ctx.Err() != nil {
		return "", errors.Join(err, context.Cause(ctx))
	}
	s.log.Info("errand", "kind", e.Kind, "errand", e.ID, "verdict", e.Report.Verdict, "seconds", s.r.now().Sub(started).Seconds(), "error", err)
	switch {
	case errors.Is(err, errSteered) && s.guard.account.Stopped() != nil:
		return OutcomeWaitSteered, nil // it goes on when everything does
	case errors.Is(err, errSteered):
		// Its row has been ended by whoever wants something else, and what that is
		// stands in the tenant's: another errand, perhaps of the same kind.
		if s.t.State == TenantFailed {
			return OutcomeDone, s.saveCounts(ctx)
		}
		return OutcomeDone, nil
	case outcomeOf(err) == OutcomeRetry && e.Attempts+1 < maxErrandAttempts:
		e.Attempts++
		e.Reason = err.Error()
		s.t.NextAt = s.r.now().Add(Backoff(e.Attempts))
		return OutcomeRetry, errors.Join(s.r.store.SaveErrand(ctx, s.lease, e), s.r.store.SaveTenant(ctx, s.lease, s.t))
	case err != nil:
		e.State, e.Reason = ErrandFailed, err.Error()
	default:
		e.State, e.Reason = ErrandDone, ""
	}
	e.FinishedAt = s.r.now()
	return OutcomeDone, s.endErrand(ctx, e)
}

func (s *session) carryOut(ctx context.Context, e *Errand) error {
	switch e.Kind {
	case ErrandRecheck:
		return s.recheck(ctx, e)
	case ErrandRepair:
		return s.repair(ctx, e)
	case ErrandRedrive:
		return s.redrive(ctx, e)
	}
	return failf("errand %q is unknown", e.Kind)
}

// endErrand takes the intent back; a tenant that failed and is repaired goes
// on with its upgrade, verification first.
func (s *session) endErrand(ctx context.Context, e *Errand) error {
	if s.t.State == TenantFailed {
		if err := s.saveCounts(ctx); err != nil {
			return err
		}
	}
	s.t.IntentDone = s.t.Intent
	s.t.Quarantined = s.aside.counting()
	if e == nil {
		return s.r.store.SaveTenant(ctx, s.lease, s.t)
	}
	if e.Kind == ErrandRepair && e.State == ErrandDone && s.t.State == TenantFailed {
		s.t.State, s.t.Reason, s.t.Retriable = TenantPlanned, "repaired; verifying again", false
		s.t.Attempts, s.t.FenceTries, s.t.FinishedAt, s.t.NextAt = 0, 0, time.Time{}, s.r.now()
	}
	return s.r.store.FinishErrand(ctx, s.lease, e, s.t)
}

// note stores an errand's progress now and then, and ends it with errSteered
// when it is not wanted any more.
func (s *session) note(ctx context.Context, e *Errand) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.r.now().Sub(s.noted) < errandSave {
		return nil
	}
	s.noted = s.r.now()
	err := s.r.store.SaveErrand(ctx, s.lease, e)
	if errors.Is(err, ErrNotFound) {
		return errSteered
	}
	return err
}

// ErrandRequest asks for errands on tenants of a rollout.
type ErrandRequest struct {
	RolloutID string
	Tenants   []string // empty: all that the errand fits
	Kind      ErrandKind
	Args      ErrandArgs
	Caller    string
}

// MaxErrandIDs bounds the documents that a redrive may name.
const MaxErrandIDs = 10_000

// Begin starts an errand on every chosen tenant and returns them; workers do
// the rest. An equal errand that runs already is returned instead.
func (s *Service) Begin(ctx context.Context, req ErrandRequest) ([]Errand, error) {
	rule, ok := errandRules[req.Kind]
	switch {
	case !ok:
		return nil, &ServiceError{Reason: ReasonInvalid, Field: "kind", Message: fmt.Sprintf("%q is no errand", req.Kind), Remedy: "use recheck, repair or redrive"}
	case len(req.Args.IDs) > MaxErrandIDs:
		return nil, &ServiceError{Reason: ReasonInvalid, Field: "ids", Message: fmt.Sprintf("%d ids are more than %d", len(req.Args.IDs), MaxErrandIDs), Remedy: "name fewer, or none for all"}
	}
	now := s.now()
	errands, err := s.store.BeginErrands(ctx, req.RolloutID, req.Caller, string(req.Kind), func(r *Rollout) ([]Errand, error) {
		return begin(r, req, rule, now)
	})
	if errors.Is(err, ErrNotFound) {
		if _, gerr := s.Get(ctx, req.RolloutID); gerr != nil {
			return nil, gerr
		}
	}
	return errands, err
}

// errandRule says for which tenants an errand makes sense.
type errandRule struct {
	intent Intent
	needs  string
	legal  func(RolloutTenant) bool
}

func hasMoved(t RolloutTenant) bool { return t.State == TenantSwitched && t.Indices > 0 }

var errandRules = map[ErrandKind]errandRule{
	ErrandRecheck: {IntentRecheck, "it takes one that is switched and not finalized: afterwards there is no old version to compare with", hasMoved},
	ErrandRepair:  {IntentRepair, "it takes one that failed verification, or is switched and not finalized", func(t RolloutTenant) bool { return hasMoved(t) || t.State == TenantFailed }},
	ErrandRedrive: {IntentRedrive, "it takes one that failed or is switched", func(t RolloutTenant) bool { return hasMoved(t) || t.State == TenantFailed }},
}

// begin changes intents; it is pure. Errands without an id run already.
func begin(r *Rollout, req ErrandRequest, rule errandRule, now time.Time) ([]Errand, error) {
	var out []Errand
	for _, id := range req.Tenants {
		if !slices.ContainsFunc(r.Tenants, func(t RolloutTenant) bool { return t.TenantID == id }) {
			return nil, noSuchTenant(r.ID, id)
		}
	}
	for i := range r.Tenants {
		t := &r.Tenants[i]
		if len(req.Tenants) > 0 && !slices.Contains(req.Tenants, t.TenantID) {
			continue
		}
		e := Errand{RolloutID: r.ID, TenantID: t.TenantID, Kind: req.Kind, State: ErrandRunning, Args: req.Args, CreatedBy: req.Caller, CreatedAt: now}
		switch {
		case t.Intent == rule.intent:
		case t.Intent == IntentNone && rule.legal(*t):
			t.Intent, t.NextAt = rule.intent, now
			e.ID = "e" + strings.ToLower(ulid.MustNew(ulid.Timestamp(now), ulid.DefaultEntropy()).String())
		default:
			if len(req.Tenants) > 0 {
				return nil, errandRefused(r, t, req.Kind, rule)
			}
			continue
		}
		out = append(out, e)
	}
	if len(out) == 0 {
		return nil, wrongState(r, fmt.Sprintf("no tenant of it can be given a %s: %s", req.Kind, rule.needs))
	}
	return out, nil
}

func errandRefused(r *Rollout, t *RolloutTenant, k ErrandKind, rule errandRule) error {
	why := fmt.Sprintf("tenant %s is %s; %s", t.TenantID, t.State, rule.needs)
	if t.Intent != IntentNone {
		why = fmt.Sprintf("tenant %s is busy with %s; wait for it, or cancel it", t.TenantID, t.Intent)
	}
	return wrongState(r, fmt.Sprintf("%s is refused: %s", k, why))
}

func noSuchTenant(rollout, tenant string) error {
	return &ServiceError{Reason: ReasonNotFound, Field: "tenants", Message: fmt.Sprintf("tenant %q is not part of rollout %s", tenant, rollout), Remedy: "see `tms upgrade show " + rollout + "`"}
}

// Errand returns one errand.
func (s *Service) Errand(ctx context.Context, id string) (*Errand, error) {
	e, err := s.store.Errand(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return nil, &ServiceError{Reason: ReasonNotFound, Field: "id", Message: fmt.Sprintf("errand %q does not exist", id), Remedy: "see `tms upgrade proof TENANT`", Err: err}
	}
	return e, err
}

// CancelErrand ends an errand that runs; one that has ended stays as it is.
// What it has done so far stays done.
func (s *Service) CancelErrand(ctx context.Context, id, caller string) (*Errand, error) {
	e, err := s.Errand(ctx, id)
	if err != nil || e.State != ErrandRunning {
		return e, err
	}
	err = s.store.ChangeRollout(ctx, e.RolloutID, caller, string(e.Kind)+".cancel", func(r *Rollout) error {
		for i := range r.Tenants {
			if t := &r.Tenants[i]; t.TenantID == e.TenantID && t.Intent.errandOf() == e.Kind {
				t.Intent = IntentNone
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.Errand(ctx, id)
}
