package upgrader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tracardi/tms/upgrader/naming"
	"github.com/tracardi/tms/upgrader/strategy"
	"github.com/tracardi/tms/upgrader/tenure"
)

// session is one worker's turn on one tenant. It is used by one goroutine,
// except where a field says otherwise.
type session struct {
	r       *Runner
	lease   *Lease
	keeper  *tenure.Keeper
	engine  Engine
	guard   *leasedEngine // engine, for what only a lease has
	nursery *nursery      // nil: targets are created one by one
	log     *slog.Logger

	rollout *Rollout
	t       *RolloutTenant
	l       *layout
	moves   []*Move
	// oldTemplates are the old version's templates as they were.
	oldTemplates []Template
	aside        *quarantine // documents kept in quarantine; safe for concurrent use

	mu      sync.Mutex // guards moves while copies run, and lastLook
	looked  time.Time
	steered bool
	// perSecond is what the rollout allows a copy now, in documents; 0 for no
	// limit.
	perSecond float64
	noted     time.Time  // when progress was stored last
	saving    sync.Mutex // held while the tenant's row is stored during copies
	recorder  moveRecorder
	// swept are the ids of sources of merges that were read as a whole.
	swept map[string][]string
	// wayClear is when no other tenant was seen to want it quiet; way guards it,
	// and makes one change look for all.
	way      sync.Mutex
	wayClear time.Time
	// hot are sources that catching up found written to; ids are what is
	// remembered of them for the fence. Memory only: without them the fence
	// takes longer, nothing else.
	hot map[string]bool
	ids map[string]*remembered
	// back are the ways of a rollback, as of its last pass; open are indices of
	// the old version that it has opened.
	back  []*wayBack
	paces []pace // of the writers, before the fence
	laps  laps   // of the present fence
	// counted are indices as they were shortly before the fence. Memory only.
	counted map[string]counted
	// stale are the indices that were written to since all were refreshed; nil
	// before they were. Under mu.
	stale map[string]bool
	// opening guards open; wrote counts operations that indices have taken from
	// us, under mu.
	opening sync.Mutex
	wrote   map[string]int64
	others  map[string]int64 // operations on the old version's indices by others, ever
	open    map[string]bool
	// filings are the partitions that take documents by date; forgotten when
	// moves are added.
	filingMu sync.Mutex
	filings  map[groupOf][]*Move
}

// holdPause is how often a held tenant catches up; pausedPause how often a
// paused one is looked at in case a wake-up got lost.
const (
	holdPause   = 2 * time.Second
	pausedPause = time.Minute
)

// run takes steps until there is nothing to do now, or a call has had no answer:
// it may yet be carried out, and the next turn begins by fencing it off. It
// returns when to look again.
func (s *session) run(ctx context.Context) (next time.Time, err error) {
	if err := s.load(ctx); err != nil {
		return s.r.now().Add(time.Second), err
	}
	if err := s.fenceOff(ctx); err != nil {
		return s.r.now().Add(time.Second), err
	}
	if s.t.Record.Cloning != "" {
		// A worker died while it cloned: its source's writers come first.
		if err := s.liftClone(ctx); err != nil {
			return s.r.now().Add(time.Second), err
		}
	}
	for {
		step := NextStep(s.rollout.Wish, *s.t)
		if step == StepFence && s.t.State == TenantCompared && !s.fenceAllowed() {
			step = StepHold
		}
		if step == StepNone {
			return s.r.now().Add(pausedPause), s.halt(ctx)
		}
		if s.rollout.Wish != WishStop {
			if err := s.guard.account.Resumed(ctx); err != nil {
				return s.r.now().Add(time.Second), err
			}
		}
		outcome, err := s.take(ctx, step)
		if err != nil {
			return s.r.now().Add(time.Second), err
		}
		switch outcome {
		case OutcomeWait:
			return s.r.now().Add(holdPause), nil
		case OutcomeRetry:
			return s.t.NextAt, nil
		}
		if s.guard.unanswered.Load() {
			return s.r.now(), nil
		}
		if err := s.reload(ctx); err != nil {
			return s.r.now().Add(time.Second), err
		}
	}
}

// load reads everything of the tenant.
func (s *session) load(ctx context.Context) error {
	if err := s.reload(ctx); err != nil {
		return err
	}
	var err error
	if s.l, err = newLayout(s.r.catalogue, s.t.FromRelease, s.rollout.ToRelease); err != nil {
		return err
	}
	moves, err := s.r.store.Moves(ctx, s.lease.RolloutID, s.lease.TenantID)
	if err != nil {
		return err
	}
	s.moves, s.wrote, s.filings = nil, map[string]int64{}, nil
	for i := range moves {
		s.moves = append(s.moves, &moves[i])
		s.wrote[moves[i].Target] = moves[i].Wrote
	}
	if s.oldTemplates, err = s.r.store.OldTemplates(ctx, s.lease.RolloutID, s.lease.TenantID); err != nil {
		return err
	}
	docs, err := s.r.store.Quarantine(ctx, QuarantineFilter{RolloutID: s.lease.RolloutID, TenantID: s.lease.TenantID, WithoutSource: true, WithResolved: true})
	if err != nil {
		return err
	}
	s.aside = newQuarantine(docs)
	s.guard.account.Look(s.largestSource())
	return nil
}

func (s *session) reload(ctx context.Context) (err error) {
	s.rollout, s.t, err = s.r.store.Load(ctx, s.lease.RolloutID, s.lease.TenantID)
	s.looked, s.steered = s.r.now(), false
	if err == nil {
		s.perSecond = s.rollout.Options.RequestsPerSecond
	}
	return err
}

// take carries out one step and stores what came of it.
func (s *session) take(ctx context.Context, step Step) (Outcome, error) {
	if step == StepErrand {
		return s.runErrand(ctx)
	}
	started := s.r.now()
	if s.t.StartedAt.IsZero() {
		s.t.StartedAt = started
	}
	outcome, err := s.do(ctx, step)
	if errors.Is(err, errSteered) {
		outcome, err = OutcomeWaitSteered, nil
	}
	if errors.Is(err, ErrLeaseLost) || ctx.Err() != nil {
		if cause := context.Cause(ctx); cause != nil && err == nil {
			err = cause
		}
		return "", err
	}
	if err == nil && (outcome == OutcomeRetry || outcome == OutcomeFail) {
		outcome = OutcomeDone // a step that has nothing to complain about is done
	}
	if err != nil {
		outcome = outcomeOf(err)
		if outcome == OutcomeRetry && s.t.Attempts+1 >= MaxAttempts {
			outcome, err = OutcomeFail, fmt.Errorf("after %d attempts: %w", s.t.Attempts+1, err)
		}
	}
	if outcome == OutcomeFail && s.t.State.asked() {
		// Readers may be on the other version already: opening this one
		// again, or calling the tenant failed, would be wrong. It is tried
		// until it succeeds, and says why it does not.
		outcome = OutcomeRetry
	}
	if outcome == OutcomeFail && !s.t.Record.FencedAt.IsZero() && step != StepRollback {
		// Nothing of a failed tenant stays fenced; when even that cannot be
		// done now, the tenant is not failed yet.
		if uerr := s.unfence(ctx); uerr != nil {
			outcome, err = OutcomeRetry, errors.Join(err, uerr)
		}
	}
	if outcome == OutcomeFail && s.t.Record.Cloning != "" {
		outcome = OutcomeRetry // the next turn opens the source first
	}
	if outcome == OutcomeFail && step == StepRollback && s.t.State.Returning() {
		if uerr := s.reopenNew(ctx); uerr != nil {
			outcome, err = OutcomeRetry, errors.Join(err, uerr)
		}
	}
	s.log.Info("step", "step", step, "state", s.t.State, "outcome", outcome, "seconds", s.r.now().Sub(started).Seconds(), "error", err)
	return outcome, s.book(ctx, step, outcome, err)
}

// book brings the tenant's row up to date after a step.
func (s *session) book(ctx context.Context, step Step, o Outcome, err error) error {
	now := s.r.now()
	before := s.t.State
	s.t.State = NextState(before, step, o)
	s.t.Quarantined = s.aside.counting()
	switch o {
	case OutcomeRetry:
		s.t.Attempts++
		s.t.Reason = err.Error()
		s.t.NextAt = now.Add(Backoff(s.t.Attempts))
		if !s.t.Record.FencedAt.IsZero() && !s.t.State.asked() {
			// Somebody's writes are refused: no long pauses.
			s.t.NextAt = now.Add(min(Backoff(s.t.Attempts), time.Second))
		}
	case OutcomeFail:
		s.t.Reason, s.t.Attempts = err.Error(), 0
		var f *failure
		s.t.Retriable = !errors.As(err, &f) || f.retriable
		s.t.IntentDone, s.t.Intent = s.t.Intent, IntentNone
	case OutcomeDone:
		s.t.Attempts = 0
		s.t.Reason = ""
		if step == StepUndo || step == StepRollback || step == StepFinalize {
			s.t.IntentDone, s.t.Intent = s.t.Intent, IntentNone
		}
		if s.t.State == TenantSwitched {
			s.t.IntentDone = IntentCancel // came too late
		}
	}
	if s.t.State.BeforeSwitch() || s.t.State == TenantFailed {
		if err := s.saveCounts(ctx); err != nil {
			return err
		}
	}
	if s.t.State.Ended() && (before != s.t.State) {
		s.t.FinishedAt = now
	}
	switch {
	case step == StepFence && o == OutcomeDone:
		return s.r.store.MarkSwitched(ctx, s.lease, s.t, s.rollout.ToRelease)
	case step == StepRollback && o == OutcomeDone:
		return s.r.store.MarkSwitched(ctx, s.lease, s.t, s.t.FromRelease)
	}
	return s.r.store.SaveTenant(ctx, s.lease, s.t)
}

func (s *session) do(ctx context.Context, step Step) (Outcome, error) {
	switch step {
	case StepPrepare:
		return s.prepare(ctx)
	case StepCopy:
		return s.copy(ctx)
	case StepConverge:
		return s.converge(ctx)
	case StepHold:
		return s.hold(ctx)
	case StepFence:
		return s.fence(ctx)
	case StepUnfence:
		return OutcomeDone, s.unfence(ctx)
	case StepUndo:
		return OutcomeDone, s.undo(ctx)
	case StepRollback:
		return s.rollback(ctx)
	case StepFinalize:
		return OutcomeDone, s.finalize(ctx)
	}
	return OutcomeFail, failf("step %q is unknown", step)
}

// lookEvery bounds how late a worker in the middle of a long step notices
// what the operator wants.
const lookEvery = 500 * time.Millisecond

// steeredAway says whether the operator has asked for something that ends the
// current step early. It looks at most every lookEvery and may be called
// concurrently.
func (s *session) steeredAway(ctx context.Context, step Step) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.steered {
		return true, nil
	}
	if s.r.now().Sub(s.looked) < lookEvery {
		return false, nil
	}
	ro, t, err := s.r.store.Load(ctx, s.lease.RolloutID, s.lease.TenantID)
	if err != nil {
		return false, err
	}
	s.looked, s.perSecond = s.r.now(), ro.Options.RequestsPerSecond
	// The state in the row may be older than ours: only wishes count.
	mine := *s.t
	mine.Intent, mine.SwitchAllowed = t.Intent, t.SwitchAllowed
	held := step == StepFence && !t.SwitchAllowed
	s.steered = NextStep(ro.Wish, mine) != step && (ro.Wish != WishRun || t.Intent != IntentNone || held)
	return s.steered, nil
}

// oldPatterns match the old version's indices that move.
func (s *session) oldPatterns() []string {
	return s.naming().Patterns(s.l.from.Prefix, naming.Staging, naming.Production)
}

// newPatterns match the new version's indices that move.
func (s *session) newPatterns() []string {
	return s.l.targets(s.t.TenantID, naming.Staging, naming.Production)
}

// naming of the tenant that the session works on.
func (s *session) naming() naming.Tenant {
	return naming.Tenant{ID: s.t.TenantID, AdoptedFrom: s.t.Record.AdoptedFrom}
}

// fenceAllowed says whether writes to the tenant may be refused now: a tenant
// that is in work when its window closes finishes, unless the strategy has its
// fence wait for the next one.
func (s *session) fenceAllowed() bool {
	st := s.rollout.Options.Strategy
	if st == nil || st.FenceOutside != strategy.FenceWait {
		return true
	}
	open, _ := strategy.OpenAt(st.Windows, s.r.calendar())
	return open
}
