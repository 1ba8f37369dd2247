package upgrader

import (
	"fmt"
	"strings"
	"time"

	"github.com/tracardi/tms/upgrader/strategy"
)

// A rollout may say how long its old versions are kept. What is then to be
// done stands in a row of its own, so that any process does it once; this file
// decides, without I/O and without a clock.

// RetentionState is where the deletion of a rollout's old versions stands.
type RetentionState string

// States of a retention.
const (
	RetentionWaiting    RetentionState = "waiting"    // the rollout has not ended, or nothing is switched yet
	RetentionScheduled  RetentionState = "scheduled"  // announced, for DueAt
	RetentionFinalizing RetentionState = "finalizing" // the tenants are told
	RetentionKept       RetentionState = "kept"       // an operator keeps them until a command
	RetentionDone       RetentionState = "done"       // there is nothing left to delete
)

// Retention says when the old versions of a rollout's tenants are deleted.
type Retention struct {
	State RetentionState `json:"state"`
	// After is counted from when the last tenant was switched.
	After time.Duration `json:"after"`
	// Since is when the last tenant was switched, as of when it was scheduled;
	// DueAt when old versions are deleted; RemindAt when that is said once more,
	// zero when it was.
	Since    time.Time `json:"since,omitzero"`
	DueAt    time.Time `json:"due_at,omitzero"`
	RemindAt time.Time `json:"remind_at,omitzero"`
	// RetryAt and Reason: it was due and not, or not wholly, carried out.
	RetryAt time.Time `json:"retry_at,omitzero"`
	Reason  string    `json:"reason,omitempty"`
	// ChangedBy asked for it.
	ChangedBy string `json:"changed_by,omitempty"`
}

const (
	// remindBefore is how long before the deletion it is said again; half of
	// the time where that is less.
	remindBefore = 24 * time.Hour
	// leastNotice is how long before the deletion it is announced at least, also
	// where the time that an operator has given is over already.
	leastNotice = 10 * time.Minute
	// retryRetention is the pause after a deletion that was due and could not
	// be done.
	retryRetention = 24 * time.Hour
)

// Events of a retention, see package events.
const (
	EventFinalizeScheduled = "rollout.finalize_scheduled"
	EventFinalizeSoon      = "rollout.finalize_soon"
	EventFinalizeHeld      = "rollout.finalize_held"
)

func newRetention(r *Rollout) *Retention {
	if r.Options.FinalizeAfter == 0 {
		return nil
	}
	return &Retention{State: RetentionWaiting, After: r.Options.FinalizeAfter, ChangedBy: r.CreatedBy}
}

func invalidRetention(field string, d time.Duration) error {
	return &ServiceError{
		Reason: ReasonInvalid, Field: field, Message: fmt.Sprintf("%s is outside %s..%s", d, strategy.MinFinalizeAfter, strategy.SpanText(strategy.MaxFinalizeAfter)),
		Remedy: "give a time such as 7d, or leave it out to delete old versions by command only",
	}
}

// hasOldVersion says that finalizing the tenant would delete something.
func (t RolloutTenant) hasOldVersion() bool {
	return t.State == TenantSwitched && t.Intent == IntentNone && len(t.Record.OldIndices) > 0
}

// OldVersions names the tenants of a rollout whose old version stands and is
// needed for nothing but going back, and tells when the last was switched.
func (r *Rollout) OldVersions() (tenants []string, since time.Time) {
	for i := range r.Tenants {
		t := &r.Tenants[i]
		if !t.hasOldVersion() {
			continue
		}
		tenants = append(tenants, t.TenantID)
		if t.FinishedAt.After(since) {
			since = t.FinishedAt
		}
	}
	return tenants, since
}

// retentionAct is what is to be done about a retention.
type retentionAct string

const (
	retentionNothing  retentionAct = ""
	retentionAnnounce retentionAct = EventFinalizeScheduled
	retentionRemind   retentionAct = EventFinalizeSoon
	retentionFinalize retentionAct = "finalize"
	retentionHeld     retentionAct = EventFinalizeHeld // it was told to finalize, and something is left
)

// look decides what is to be done about a rollout's old versions.
func (ret Retention) look(r *Rollout, now time.Time) (Retention, retentionAct) {
	old, since := r.OldVersions()
	switch {
	case ret.State == RetentionKept || ret.State == RetentionDone:
		return ret, retentionNothing
	case !r.State.Ended():
		if ret.State != RetentionFinalizing {
			ret = ret.waiting()
		}
		return ret, retentionNothing
	case len(old) == 0 && r.mayHaveMore():
		return ret.waiting(), retentionNothing
	case len(old) == 0:
		ret = ret.waiting()
		ret.State = RetentionDone
		return ret, retentionNothing
	case ret.State == RetentionFinalizing:
		ret.State, ret.RetryAt = RetentionScheduled, now.Add(retryRetention)
		if ret.Reason == "" {
			ret.Reason = r.finalizeTrouble()
		}
		return ret, retentionHeld
	}
	switch {
	case ret.State == RetentionWaiting || !ret.Since.Equal(since) && ret.RetryAt.IsZero():
		ret = ret.waiting()
		ret.State, ret.Since, ret.DueAt = RetentionScheduled, since, since.Add(ret.After)
		if least := now.Add(min(ret.After, leastNotice)); ret.DueAt.Before(least) {
			ret.DueAt = least
		}
		ret.RemindAt = ret.DueAt.Add(-min(remindBefore, ret.After/2))
		return ret, retentionAnnounce
	case !now.Before(ret.DueAt) && !now.Before(ret.RetryAt):
		return ret, retentionFinalize
	case now.Before(ret.DueAt) && !ret.RemindAt.IsZero() && !now.Before(ret.RemindAt):
		ret.RemindAt = time.Time{}
		return ret, retentionRemind
	}
	return ret, retentionNothing
}

// waiting forgets what was scheduled.
func (ret Retention) waiting() Retention {
	return Retention{State: RetentionWaiting, After: ret.After, ChangedBy: ret.ChangedBy}
}

// mayHaveMore says that a command may yet bring a tenant to the release.
func (r *Rollout) mayHaveMore() bool {
	for i := range r.Tenants {
		if t := &r.Tenants[i]; t.State == TenantFailed || t.Working() {
			return true
		}
	}
	return false
}

// finalizeTrouble says why old versions still stand after they were to go.
func (r *Rollout) finalizeTrouble() string {
	var parts []string
	for i := range r.Tenants {
		if t := &r.Tenants[i]; t.hasOldVersion() && t.Reason != "" {
			parts = append(parts, "tenant "+t.TenantID+": "+t.Reason)
		}
	}
	if len(parts) == 0 {
		return "some tenants were not finalized"
	}
	return someOf(parts)
}

// someOf joins the first few.
func someOf(parts []string) string {
	const most = 3
	if n := len(parts); n > most {
		return fmt.Sprintf("%s; and %d more", strings.Join(parts[:most], "; "), n-most)
	}
	return strings.Join(parts, "; ")
}

// pause until the next look.
func (ret Retention) pause(now time.Time) time.Duration {
	const soon, long = 5 * time.Second, 10 * time.Minute
	if ret.State != RetentionScheduled || !now.Before(ret.DueAt) && !now.Before(ret.RetryAt) {
		return soon
	}
	next := now.Add(long)
	for _, at := range []time.Time{ret.RemindAt, ret.DueAt, ret.RetryAt} {
		if at.After(now) && at.Before(next) {
			next = at
		}
	}
	return max(time.Second, next.Sub(now))
}

// Text says in words what becomes of a rollout's old versions.
func (ret Retention) Text(r *Rollout) string {
	hold := "hold with `tms upgrade keep " + r.ID + "`"
	old, _ := r.OldVersions()
	switch ret.State {
	case RetentionWaiting:
		return fmt.Sprintf("old versions are deleted %s after the last tenant is switched; %s", strategy.SpanText(ret.After), hold)
	case RetentionScheduled:
		text := fmt.Sprintf("the old version of %d tenants is deleted at %s; %s", len(old), ret.DueAt.UTC().Format(time.RFC3339), hold)
		if ret.Reason != "" {
			text = fmt.Sprintf("the old version of %d tenants was due at %s and is not deleted: %s; tried again at %s; %s",
				len(old), ret.DueAt.UTC().Format(time.RFC3339), ret.Reason, ret.RetryAt.UTC().Format(time.RFC3339), hold)
		}
		return text
	case RetentionFinalizing:
		return "old versions are being deleted"
	case RetentionKept:
		return "old versions are kept until `tms upgrade finalize " + r.ID + "`"
	}
	return "nothing is left to delete"
}
