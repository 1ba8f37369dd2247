package upgrader

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// One row per arrow from a state to what is done about it.
func TestNextStep(t *testing.T) {
	t.Parallel()
	allowed := RolloutTenant{SwitchAllowed: true}
	at := func(s TenantState, change ...func(*RolloutTenant)) RolloutTenant {
		x := allowed
		x.State = s
		for _, c := range change {
			c(&x)
		}
		return x
	}
	intent := func(i Intent) func(*RolloutTenant) { return func(x *RolloutTenant) { x.Intent = i } }
	held := func(x *RolloutTenant) { x.SwitchAllowed = false }
	for _, c := range []struct {
		name string
		wish Wish
		t    RolloutTenant
		want Step
	}{
		{"planned", WishRun, at(TenantPlanned), StepPrepare},
		{"prepared", WishRun, at(TenantPrepared), StepCopy},
		{"copying", WishRun, at(TenantCopying), StepCopy},
		{"copied", WishRun, at(TenantCopied), StepConverge},
		{"compared", WishRun, at(TenantCompared), StepFence},
		{"compared, held", WishRun, at(TenantCompared, held), StepHold},
		{"fenced", WishRun, at(TenantFenced), StepFence},
		{"verified", WishRun, at(TenantVerified), StepFence},
		{"switched", WishRun, at(TenantSwitched), StepNone},
		{"switched, rollback", WishRun, at(TenantSwitched, intent(IntentRollback)), StepRollback},
		{"returning", WishRun, at(TenantReturning, intent(IntentRollback)), StepRollback},
		{"returning, its intent lost", WishPause, at(TenantReturning), StepRollback},
		{"return fenced", WishRun, at(TenantReturnFenced, intent(IntentRollback)), StepRollback},
		{"return verified", WishCancel, at(TenantReturnVerified, intent(IntentRollback)), StepRollback},
		{"switched, finalize", WishRun, at(TenantSwitched, intent(IntentFinalize)), StepFinalize},
		{"switched, rollback while paused", WishPause, at(TenantSwitched, intent(IntentRollback)), StepRollback},
		{"switched, rollback of a cancelled rollout", WishCancel, at(TenantSwitched, intent(IntentRollback)), StepRollback},
		{"done", WishRun, at(TenantFinalized), StepNone},
		{"rolled back", WishRun, at(TenantRolledBack), StepNone},
		{"failed", WishRun, at(TenantFailed), StepNone},
		{"failed, cancel", WishRun, at(TenantFailed, intent(IntentCancel)), StepUndo},
		{"cancelled", WishCancel, at(TenantCancelled), StepNone},
		{"planned, paused", WishPause, at(TenantPlanned), StepNone},
		{"copying, paused", WishPause, at(TenantCopying), StepNone},
		{"compared, paused", WishPause, at(TenantCompared), StepNone},
		{"fenced, paused", WishPause, at(TenantFenced), StepUnfence},
		{"verified, paused: has it switched?", WishPause, at(TenantVerified), StepFence},
		{"verified, cancel: has it switched?", WishCancel, at(TenantVerified, intent(IntentCancel)), StepFence},
		{"copying, cancel", WishCancel, at(TenantCopying, intent(IntentCancel)), StepUndo},
		{"fenced, cancel", WishCancel, at(TenantFenced, intent(IntentCancel)), StepUndo},
		{"planned, all stopped", WishStop, at(TenantPlanned), StepNone},
		{"copying, all stopped", WishStop, at(TenantCopying), StepNone},
		{"compared, all stopped", WishStop, at(TenantCompared), StepNone},
		{"compared, held, all stopped", WishStop, at(TenantCompared, held), StepNone},
		{"fenced, all stopped: writers come first", WishStop, at(TenantFenced), StepUnfence},
		{"verified, all stopped: has it switched?", WishStop, at(TenantVerified), StepFence},
		{"switched, rollback, all stopped", WishStop, at(TenantSwitched, intent(IntentRollback)), StepNone},
		{"switched, finalize, all stopped", WishStop, at(TenantSwitched, intent(IntentFinalize)), StepNone},
		{"switched, recheck, all stopped", WishStop, at(TenantSwitched, intent(IntentRecheck)), StepNone},
		{"failed, repair, all stopped", WishStop, at(TenantFailed, intent(IntentRepair)), StepNone},
		{"returning, all stopped", WishStop, at(TenantReturning, intent(IntentRollback)), StepNone},
		{"return fenced, all stopped: writers come first", WishStop, at(TenantReturnFenced, intent(IntentRollback)), StepRollback},
		{"return verified, all stopped: has it switched?", WishStop, at(TenantReturnVerified, intent(IntentRollback)), StepRollback},
		{"copying, cancel, all stopped: it only takes away", WishStop, at(TenantCopying, intent(IntentCancel)), StepUndo},
		{"failed, cancel, all stopped", WishStop, at(TenantFailed, intent(IntentCancel)), StepUndo},
		{"cancel wins over pause", WishPause, at(TenantCopying, intent(IntentCancel)), StepUndo},
	} {
		require.Equal(t, c.want, NextStep(c.wish, c.t), c.name)
	}
}

// One row per arrow from a state to the next.
func TestNextState(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from TenantState
		step Step
		o    Outcome
		want TenantState
	}{
		{TenantPlanned, StepPrepare, OutcomeDone, TenantPrepared},
		{TenantPlanned, StepPrepare, OutcomeRetry, TenantPlanned},
		{TenantPlanned, StepPrepare, OutcomeFail, TenantFailed},
		{TenantPrepared, StepCopy, OutcomeDone, TenantCopied},
		{TenantPrepared, StepCopy, OutcomeWaitSteered, TenantCopying},
		{TenantCopying, StepCopy, OutcomeRetry, TenantCopying},
		{TenantCopying, StepCopy, OutcomeNewWork, TenantPlanned},
		{TenantCopying, StepCopy, OutcomeFail, TenantFailed},
		{TenantCopied, StepConverge, OutcomeDone, TenantCompared},
		{TenantCopied, StepConverge, OutcomeWait, TenantCopied},
		{TenantCopied, StepConverge, OutcomeNewWork, TenantPlanned},
		{TenantCopied, StepConverge, OutcomeFail, TenantFailed},
		{TenantCompared, StepHold, OutcomeWait, TenantCompared},
		{TenantCompared, StepHold, OutcomeNewWork, TenantPlanned},
		{TenantCompared, StepFence, OutcomeDone, TenantSwitched},
		{TenantFenced, StepFence, OutcomeDone, TenantSwitched},
		{TenantVerified, StepFence, OutcomeDone, TenantSwitched},
		{TenantFenced, StepFence, OutcomeLifted, TenantCopied},
		{TenantFenced, StepFence, OutcomeNewWork, TenantPlanned},
		{TenantVerified, StepFence, OutcomeRetry, TenantVerified},
		{TenantFenced, StepFence, OutcomeFail, TenantFailed},
		{TenantFenced, StepUnfence, OutcomeDone, TenantCopied},
		{TenantFenced, StepUnfence, OutcomeRetry, TenantFenced},
		{TenantCopying, StepUndo, OutcomeDone, TenantCancelled},
		{TenantCopying, StepUndo, OutcomeRetry, TenantCopying},
		{TenantSwitched, StepRollback, OutcomeDone, TenantRolledBack},
		{TenantSwitched, StepRollback, OutcomeFail, TenantSwitched},
		{TenantReturning, StepRollback, OutcomeRetry, TenantReturning},
		{TenantReturning, StepRollback, OutcomeWait, TenantReturning},
		{TenantReturning, StepRollback, OutcomeFail, TenantSwitched},
		{TenantReturnFenced, StepRollback, OutcomeLifted, TenantReturning},
		{TenantReturnFenced, StepRollback, OutcomeFail, TenantSwitched},
		{TenantReturnVerified, StepRollback, OutcomeDone, TenantRolledBack},
		{TenantReturnVerified, StepRollback, OutcomeRetry, TenantReturnVerified},
		{TenantSwitched, StepFinalize, OutcomeDone, TenantFinalized},
		{TenantSwitched, StepFinalize, OutcomeFail, TenantSwitched},
	} {
		require.Equal(t, c.want, NextState(c.from, c.step, c.o), "%s, %s, %s", c.from, c.step, c.o)
	}
}

func TestSummarize(t *testing.T) {
	t.Parallel()
	in := func(states ...TenantState) []RolloutTenant {
		var out []RolloutTenant
		for _, s := range states {
			out = append(out, RolloutTenant{State: s})
		}
		return out
	}
	for _, c := range []struct {
		name string
		wish Wish
		ts   []RolloutTenant
		want RolloutState
	}{
		{"nobody", WishRun, nil, RolloutComplete},
		{"all switched", WishRun, in(TenantSwitched, TenantSwitched), RolloutComplete},
		{"one still works", WishRun, in(TenantSwitched, TenantCopying), RolloutRunning},
		{"one failed, one works", WishRun, in(TenantFailed, TenantCopying), RolloutRunning},
		{"one failed", WishRun, in(TenantSwitched, TenantFailed), RolloutFailed},
		{"paused", WishPause, in(TenantSwitched, TenantCopying), RolloutPaused},
		{"paused too late", WishPause, in(TenantSwitched), RolloutComplete},
		{"cancelled", WishCancel, in(TenantCancelled, TenantSwitched), RolloutCancelled},
		{"cancelling", WishCancel, in(TenantCopying), RolloutRunning},
		{"one went back", WishRun, in(TenantSwitched, TenantRolledBack), RolloutRolledBack},
		{"some finalized", WishRun, in(TenantSwitched, TenantFinalized), RolloutComplete},
		{"all finalized", WishRun, in(TenantFinalized, TenantFinalized), RolloutFinalized},
		{"going back", WishRun, []RolloutTenant{{State: TenantSwitched, Intent: IntentRollback}}, RolloutRunning},
	} {
		require.Equal(t, c.want, Summarize(c.wish, c.ts), c.name)
	}
}

// Whatever happens and whatever the operator says, a tenant comes to an end
// and is never both before and after its switch.
func TestMachineEnds(t *testing.T) {
	t.Parallel()
	outcomes := []Outcome{OutcomeDone, OutcomeWait, OutcomeRetry, OutcomeFail, OutcomeLifted, OutcomeNewWork, OutcomeWaitSteered}
	rapid.Check(t, func(t *rapid.T) {
		r := &Rollout{ID: "r", Wish: WishRun, State: RolloutRunning, Tenants: []RolloutTenant{{TenantID: "acme", State: TenantPlanned, SwitchAllowed: rapid.Bool().Draw(t, "allowed"), Indices: 1}}}
		x := &r.Tenants[0]
		take := func(o Outcome) {
			step := NextStep(r.Wish, *x)
			if step == StepNone {
				return
			}
			before := x.State
			x.State = NextState(before, step, o)
			if before == TenantSwitched && x.State.BeforeSwitch() {
				t.Fatalf("%s leads from %s to %s", step, before, x.State)
			}
			if o == OutcomeDone && x.State == TenantSwitched && x.Intent == IntentCancel {
				x.Intent = IntentNone // too late
			}
			if o == OutcomeFail || (o == OutcomeDone && (step == StepUndo || step == StepRollback || step == StepFinalize)) {
				x.Intent = IntentNone
			}
			r.State = Summarize(r.Wish, r.Tenants)
		}
		for range rapid.IntRange(0, 60).Draw(t, "turns") {
			if rapid.IntRange(0, 3).Draw(t, "who") == 0 {
				name := rapid.SampledFrom([]string{"pause", "resume", "cancel", "retry", "switch", "rollback", "finalize"}).Draw(t, "command")
				_ = applyCommand(r, name, Command{}, time.Time{})
				r.State = Summarize(r.Wish, r.Tenants)
				continue
			}
			take(rapid.SampledFrom(outcomes).Draw(t, "outcome"))
		}
		_ = applyCommand(r, "resume", Command{}, time.Time{})
		_ = applyCommand(r, "switch", Command{}, time.Time{})
		for range 20 {
			take(OutcomeDone)
		}
		if x.Working() {
			t.Fatalf("still %s (%q, wish %s) after twenty good turns", x.State, x.Intent, r.Wish)
		}
	})
}

func TestCommandsAreRefusedWhereTheyMakeNoSense(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		command string
		state   TenantState
	}{
		{"rollback", TenantCopying}, {"rollback", TenantFinalized}, {"rollback", TenantFailed},
		{"finalize", TenantCopying}, {"finalize", TenantRolledBack},
		{"cancel", TenantSwitched}, {"cancel", TenantReturning}, {"finalize", TenantReturning}, {"retry", TenantCancelled}, {"switch", TenantFailed},
		{"pause", TenantSwitched}, {"resume", TenantFailed},
	} {
		r := &Rollout{ID: "r1", Wish: WishRun, Tenants: []RolloutTenant{{TenantID: "acme", State: c.state, Indices: 1}}}
		r.State = Summarize(r.Wish, r.Tenants)
		err := applyCommand(r, c.command, Command{}, time.Time{})
		var se *ServiceError
		require.ErrorAs(t, err, &se, "%s of a %s tenant", c.command, c.state)
		require.Equal(t, ReasonWrongState, se.Reason)
		require.Equal(t, c.state, r.Tenants[0].State)
		require.Equal(t, IntentNone, r.Tenants[0].Intent)
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	require.Equal(t, 250*time.Millisecond, Backoff(1))
	require.Equal(t, 500*time.Millisecond, Backoff(2))
	require.Equal(t, backoffMost, Backoff(8))
	require.Equal(t, backoffMost, Backoff(1000))
	var sum time.Duration
	for n := range MaxAttempts {
		sum += Backoff(n + 1)
	}
	require.Greater(t, sum, 15*time.Minute, "must outlast the restart of an engine")
}
