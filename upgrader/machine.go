package upgrader

import (
	"fmt"
	"slices"
	"time"
)

// Step is what a worker does next for one tenant. Steps are decided here,
// without I/O and without a clock, and carried out by the Runner.
type Step string

// Steps.
const (
	StepNone     Step = "none"     // nothing to do until the operator says something
	StepPrepare  Step = "prepare"  // make targets and templates
	StepCopy     Step = "copy"     // start, adopt and follow copies
	StepConverge Step = "converge" // catch up, reconcile and compare, unfenced
	StepHold     Step = "hold"     // keep catching up until the switch is allowed
	StepFence    Step = "fence"    // fence, last delta, proof, switch
	StepUndo     Step = "undo"     // remove what was made, end as cancelled
	StepUnfence  Step = "unfence"  // lift the fence, then look again
	StepRollback Step = "rollback"
	StepFinalize Step = "finalize"
	StepErrand   Step = "errand" // what the operator asked for beside the upgrade
)

// NextStep decides what to do for a tenant.
func NextStep(wish Wish, t RolloutTenant) Step {
	switch t.State {
	case TenantFailed:
		switch {
		case t.Intent == IntentCancel:
			return StepUndo
		case t.Intent.errandOf() != "" && wish != WishStop:
			return StepErrand
		}
		return StepNone
	case TenantCancelled, TenantRolledBack, TenantFinalized:
		return StepNone
	case TenantReturning:
		if wish == WishStop {
			return StepNone
		}
		return StepRollback
	case TenantReturnFenced, TenantReturnVerified:
		return StepRollback // to its end, or at least to that of the fence
	case TenantSwitched:
		if wish == WishStop {
			return StepNone
		}
		switch t.Intent {
		case IntentRollback:
			return StepRollback
		case IntentFinalize:
			return StepFinalize
		case IntentRecheck, IntentRepair, IntentRedrive:
			return StepErrand
		}
		return StepNone
	}
	if t.State == TenantVerified {
		// The switch was asked for and may have happened: first of all that
		// must be found out, whatever the operator wants.
		return StepFence
	}
	if t.Intent == IntentCancel {
		return StepUndo // also while all is stopped: it only takes away
	}
	if wish == WishPause || wish == WishStop {
		// A pause must not leave a tenant whose writes are refused.
		if t.State == TenantFenced {
			return StepUnfence
		}
		return StepNone
	}
	switch t.State {
	case TenantPlanned:
		return StepPrepare
	case TenantPrepared, TenantCopying:
		return StepCopy
	case TenantCopied:
		return StepConverge
	case TenantCompared:
		if !t.SwitchAllowed {
			return StepHold
		}
		return StepFence
	case TenantFenced:
		return StepFence
	}
	return StepNone
}

// Outcome is how a step ended.
type Outcome string

// Outcomes.
const (
	OutcomeDone    Outcome = "done"     // the step's goal is reached
	OutcomeWait    Outcome = "wait"     // not yet; nothing is wrong
	OutcomeRetry   Outcome = "retry"    // something outside failed; the same again later
	OutcomeFail    Outcome = "fail"     // will not succeed by itself
	OutcomeLifted  Outcome = "lifted"   // the fence had to be lifted
	OutcomeNewWork Outcome = "new_work" // sources appeared that the plan does not know
	// OutcomeWaitSteered ends a step early: the operator wants something else.
	OutcomeWaitSteered Outcome = "steered"
)

// NextState is the tenant's state after a step ended with an outcome.
func NextState(s TenantState, step Step, o Outcome) TenantState {
	if o == OutcomeFail {
		switch step {
		case StepRollback, StepFinalize:
			return TenantSwitched // the command failed, the tenant did not
		}
		return TenantFailed
	}
	switch step {
	case StepPrepare:
		if o == OutcomeDone {
			return TenantPrepared
		}
	case StepCopy:
		switch o {
		case OutcomeDone:
			return TenantCopied
		case OutcomeNewWork:
			return TenantPlanned
		}
		return TenantCopying
	case StepConverge:
		switch o {
		case OutcomeDone:
			return TenantCompared
		case OutcomeNewWork:
			return TenantPlanned
		}
	case StepHold:
		if o == OutcomeNewWork {
			return TenantPlanned
		}
	case StepFence:
		switch o {
		case OutcomeDone:
			return TenantSwitched
		case OutcomeLifted:
			return TenantCopied
		case OutcomeNewWork:
			return TenantPlanned
		}
	case StepUnfence:
		if o == OutcomeDone {
			return TenantCopied
		}
	case StepUndo:
		if o == OutcomeDone {
			return TenantCancelled
		}
	case StepRollback:
		switch o {
		case OutcomeDone:
			return TenantRolledBack
		case OutcomeLifted:
			return TenantReturning
		}
	case StepFinalize:
		if o == OutcomeDone {
			return TenantFinalized
		}
	}
	return s
}

// Backoff between attempts after OutcomeRetry, and the attempt past which the
// tenant fails. 40 attempts are some 18 minutes: longer than the restart of
// any engine, short enough for an operator to see it in the same night.
const (
	backoffFirst = 250 * time.Millisecond
	backoffMost  = 30 * time.Second
	MaxAttempts  = 40
)

// Backoff is the pause before attempt n+1, n counted from 1.
func Backoff(n int) time.Duration {
	d := backoffFirst
	for range min(n-1, 10) {
		d *= 2
	}
	return min(d, backoffMost)
}

// Summarize gives the state of a rollout from those of its tenants.
func Summarize(wish Wish, tenants []RolloutTenant) RolloutState {
	n := map[TenantState]int{}
	working := 0
	for _, t := range tenants {
		if t.Excepted != "" && !t.Working() {
			continue // left out on purpose
		}
		n[t.State]++
		if t.Working() && (!t.State.Ended() || t.Intent.errandOf() == "") { // errands do not concern the rollout
			working++
		}
	}
	switch {
	case working > 0:
		return underWay(wish)
	case n[TenantFailed] > 0:
		return RolloutFailed
	case n[TenantRolledBack] > 0:
		return RolloutRolledBack
	case n[TenantCancelled] > 0 || wish == WishCancel:
		return RolloutCancelled
	case n[TenantFinalized] > 0 && n[TenantSwitched] == 0:
		return RolloutFinalized
	}
	return RolloutComplete
}

// underWay is the state of a rollout in which something is left to do.
func underWay(wish Wish) RolloutState {
	if wish == WishPause {
		return RolloutPaused
	}
	return RolloutRunning
}

// owesDeletion says that a wave has yet to be finalized, or to find that there is
// nothing to: then the rollout goes on although its tenants have ended.
func (r *Rollout) owesDeletion() bool {
	return r.Wish != WishCancel && slices.ContainsFunc(r.Waves, func(w Wave) bool { return !w.State.Ended() && w.Rule.Between.Finalize })
}

// Ended says that the tenant waits for nothing but a command.
func (s TenantState) Ended() bool {
	switch s {
	case TenantSwitched, TenantFinalized, TenantFailed, TenantCancelled, TenantRolledBack:
		return true
	}
	return false
}

// Working says that a worker has something to do for the tenant, now or when
// it is allowed to.
func (t RolloutTenant) Working() bool { return !t.State.Ended() || t.Intent != IntentNone }

// BeforeSwitch says that readers and writers still use the old version and
// nothing final has happened.
func (s TenantState) BeforeSwitch() bool { return !s.Ended() && !s.Returning() }

// Returning says that a rollback is under way.
func (s TenantState) Returning() bool {
	return s == TenantReturning || s == TenantReturnFenced || s == TenantReturnVerified
}

// Fenced says that writes to a version of the tenant are refused, or are about
// to be, and that somebody waits for the end of it.
func (s TenantState) Fenced() bool {
	switch s {
	case TenantFenced, TenantVerified, TenantReturnFenced, TenantReturnVerified:
		return true
	}
	return false
}

// asked says that the engine was asked to move the aliases, and may have done it.
func (s TenantState) asked() bool { return s == TenantVerified || s == TenantReturnVerified }

// applyCommand changes wishes and intents of a rollout, or refuses with the
// reason. It is pure.
func applyCommand(r *Rollout, name string, c Command, now time.Time) error {
	switch name {
	case "pause", "resume":
		return pauseOrResume(r, name, now)
	case "set":
		return setOptions(r, c.Set, now)
	}
	rule := tenantCommands[name]
	switch {
	case c.Undo:
		rule = rule.or(tenantCommands["rollback"])
	case name == "skip":
		rule = skipFor(c.Reason)
	}
	hit, done := 0, 0
	for i := range r.Tenants {
		t := &r.Tenants[i]
		switch {
		case !c.about(t):
		case rule.already(*t):
			done++
		case rule.legal(*t):
			rule.apply(t)
			t.NextAt, t.Attempts = now, 0
			if t.Waiting && t.Intent == IntentCancel {
				t.Waiting = false
				if t.StartedAt.IsZero() { // nothing was made of it yet
					t.State, t.Intent, t.FinishedAt = TenantCancelled, IntentNone, now
				}
			}
			hit++
		}
	}
	if hit+done == 0 {
		return wrongState(r, fmt.Sprintf("no tenant of the chosen ones can be %s: %s", participles[name], rule.needs))
	}
	if name == "cancel" && hit == 0 && r.State.Ended() && r.State != RolloutCancelled && r.Wish != WishCancel && c.whole() {
		return wrongState(r, "it has ended, there is nothing to cancel; what is switched can be rolled back")
	}
	switch name {
	case "cancel":
		if c.whole() {
			r.Wish = WishCancel
		}
	case "retry":
		if c.AllowQuarantine != nil {
			r.Options.AllowQuarantine = *c.AllowQuarantine
		}
		if r.Wish == WishPause && hit > 0 {
			r.Wish, r.Reason = WishRun, ""
		}
	case "switch":
		if c.whole() {
			r.Options.HoldSwitch = false
		}
	}
	return nil
}

// participles say what a command does to tenants.
var participles = map[string]string{
	"cancel": "cancelled", "retry": "retried", "switch": "switched", "rollback": "rolled back", "finalize": "finalized", "skip": "left out",
}

func pauseOrResume(r *Rollout, name string, now time.Time) error {
	if r.State.Ended() {
		return wrongState(r, "it has ended, there is nothing to "+name)
	}
	if r.Wish == WishCancel {
		return wrongState(r, "it is being cancelled")
	}
	if name == "pause" {
		r.Wish = WishPause
		return nil
	}
	r.Wish, r.Reason = WishRun, ""
	r.forgive()
	for i := range r.Tenants {
		if !r.Tenants[i].State.Ended() {
			r.Tenants[i].NextAt = now
		}
	}
	return nil
}

// tenantCommand says for which tenants a command makes sense.
type tenantCommand struct {
	needs   string
	already func(RolloutTenant) bool
	legal   func(RolloutTenant) bool
	apply   func(*RolloutTenant)
}

// or is a command that does the one or, where that makes no sense, the other.
func (c tenantCommand) or(other tenantCommand) tenantCommand {
	return tenantCommand{
		needs:   "it takes one that is neither finalized nor as it was before",
		already: func(t RolloutTenant) bool { return c.already(t) || other.already(t) },
		legal:   func(t RolloutTenant) bool { return c.legal(t) || other.legal(t) },
		apply: func(t *RolloutTenant) {
			if c.legal(*t) {
				c.apply(t)
			} else {
				other.apply(t)
			}
		},
	}
}

var tenantCommands = map[string]tenantCommand{
	"cancel": {
		needs:   "it takes one that is not switched yet; a switched one can be rolled back",
		already: func(t RolloutTenant) bool { return t.State == TenantCancelled || t.Intent == IntentCancel },
		legal:   func(t RolloutTenant) bool { return t.State.BeforeSwitch() || t.State == TenantFailed },
		apply:   func(t *RolloutTenant) { t.Intent = IntentCancel },
	},
	"retry": {
		needs:   "it takes one that failed",
		already: func(t RolloutTenant) bool { return t.State.BeforeSwitch() || t.State == TenantSwitched },
		legal:   func(t RolloutTenant) bool { return t.State == TenantFailed && t.Intent == IntentNone },
		apply: func(t *RolloutTenant) {
			t.State, t.Retriable, t.FinishedAt, t.FenceTries = TenantPlanned, false, time.Time{}, 0
			t.Waiting = t.Wave > 0 // the gates are asked again
		},
	},
	"switch": {
		needs:   "it takes one that is not switched yet",
		already: func(t RolloutTenant) bool { return t.SwitchAllowed || t.State == TenantSwitched },
		legal:   func(t RolloutTenant) bool { return t.State.BeforeSwitch() },
		apply:   func(t *RolloutTenant) { t.SwitchAllowed = true },
	},
	"rollback": {
		needs: "it takes one that is switched and not finalized",
		already: func(t RolloutTenant) bool {
			return t.State == TenantRolledBack || t.State.Returning() || t.Intent == IntentRollback
		},
		legal: func(t RolloutTenant) bool {
			return t.State == TenantSwitched && (t.Intent == IntentNone || t.Intent.errandOf() != "") && t.Kind() != KindNone
		},
		apply: func(t *RolloutTenant) { t.Intent = IntentRollback },
	},
	"finalize": {
		needs:   "it takes one that is switched",
		already: func(t RolloutTenant) bool { return t.State == TenantFinalized || t.Intent == IntentFinalize },
		legal:   func(t RolloutTenant) bool { return t.State == TenantSwitched && t.Intent == IntentNone },
		apply:   func(t *RolloutTenant) { t.Intent = IntentFinalize },
	},
}

func wrongState(r *Rollout, why string) error {
	return &ServiceError{
		Reason:  ReasonWrongState,
		Message: fmt.Sprintf("rollout %s is %s: %s", r.ID, r.State, why),
		Remedy:  "see `tms upgrade show " + r.ID + "`",
	}
}
