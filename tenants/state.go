package tenants

import (
	"fmt"
	"slices"
	"time"
)

// State says whether a tenant is served. Only active tenants are.
type State string

// States.
const (
	StateActive    State = "active"
	StateSuspended State = "suspended"
	StateExpired   State = "expired"
	StateDeleted   State = "deleted"
	StatePurged    State = "purged" // nothing is left but the id
)

// States lists all states, in the order of a tenant's life.
var States = []State{StateActive, StateSuspended, StateExpired, StateDeleted, StatePurged}

// StateAt is the tenant's state at a point in time. It is computed and not
// stored, so that an expiry is in force the moment the clock passes it.
func (t *Tenant) StateAt(now time.Time) State {
	switch {
	case !t.PurgedAt.IsZero():
		return StatePurged
	case !t.DeletedAt.IsZero():
		return StateDeleted
	case !t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt):
		return StateExpired
	case t.Suspended:
		return StateSuspended
	}
	return StateActive
}

// Event is something that may change a tenant's state.
type Event string

// Events.
const (
	EventSuspend  Event = "suspend"
	EventActivate Event = "activate"
	EventExpire   Event = "expire" // the clock passes the expiry
	EventRenew    Event = "renew"  // a later expiry, or none
	EventDelete   Event = "delete"
	EventUndelete Event = "undelete"
	EventPurge    Event = "purge"  // begin to remove everything of it
	EventPurged   Event = "purged" // it is proven that nothing remains
)

// rule says where an event may lead, or why it may not happen.
type rule struct {
	to     []State
	remedy string
}

func leads(to ...State) rule        { return rule{to: to} }
func refusedBy(remedy string) rule  { return rule{remedy: remedy} }
func notDeleted(remedy string) rule { return refusedBy("it is not deleted" + remedy) }

// gone is the remedy where nothing may happen any more.
const gone = "it is gone for good; to use the id again, create it with allow_reuse"

// transitions is the one table of what may happen in which state; the schema
// holds the same as pairs of states (tenant_transitions), kept equal by a
// test. A renewal and an undeletion lead back to what the tenant was before:
// paying does not lift a suspension. An event that is not listed is refused.
var transitions = map[State]map[Event]rule{
	StateActive: {
		EventActivate: leads(StateActive), EventSuspend: leads(StateSuspended), EventExpire: leads(StateExpired),
		EventRenew: leads(StateActive, StateExpired), EventDelete: leads(StateDeleted),
		EventUndelete: notDeleted(""), EventPurge: notDeleted(": delete it first"), EventPurged: notDeleted(""),
	},
	StateSuspended: {
		EventActivate: leads(StateActive), EventSuspend: leads(StateSuspended), EventExpire: leads(StateExpired),
		EventRenew: leads(StateSuspended, StateExpired), EventDelete: leads(StateDeleted),
		EventUndelete: notDeleted(""), EventPurge: notDeleted(": delete it first"), EventPurged: notDeleted(""),
	},
	StateExpired: {
		EventRenew: leads(StateActive, StateSuspended, StateExpired), EventDelete: leads(StateDeleted), EventExpire: leads(StateExpired),
		EventActivate: refusedBy("set a later expire_time, or clear it"),
		EventSuspend:  refusedBy("an expired tenant is not served anyway"),
		EventUndelete: notDeleted(""), EventPurge: notDeleted(": delete it first"), EventPurged: notDeleted(""),
	},
	StateDeleted: {
		EventUndelete: leads(StateActive, StateSuspended, StateExpired),
		EventPurge:    leads(StateDeleted), EventPurged: leads(StatePurged),
		EventActivate: refusedBy("undelete it first"), EventSuspend: refusedBy("undelete it first"), EventExpire: refusedBy("undelete it first"),
		EventRenew: refusedBy("undelete it first"), EventDelete: refusedBy("it is deleted already"),
	},
	StatePurged: {},
}

// Successors lists the states that a tenant may have after any one change,
// sorted.
func Successors(s State) []State {
	var all []State
	for _, r := range transitions[s] {
		all = append(all, r.to...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Allow says whether the event is legal in the state.
func Allow(id string, s State, e Event) error {
	r := transitions[s][e]
	if len(r.to) > 0 {
		return nil
	}
	if r.remedy == "" {
		r.remedy = gone
	}
	return &Error{
		Code: CodeFailedPrecondition, Reason: ReasonWrongState, Field: "state",
		Message: fmt.Sprintf("tenant %q is %s: cannot %s", id, s, e), Remedy: r.remedy,
	}
}

// Apply performs an event; expires is only read by EventRenew.
func (t *Tenant) Apply(e Event, now, expires time.Time) error {
	if err := Allow(t.ID, t.StateAt(now), e); err != nil {
		return err
	}
	switch e {
	case EventSuspend:
		t.Suspended = true
	case EventActivate:
		t.Suspended = false
	case EventRenew:
		t.ExpiresAt = expires
	case EventExpire:
		t.ExpiresAt = now
	case EventDelete:
		t.DeletedAt, t.PurgeAt = now, now.Add(UndeletePeriod)
	case EventUndelete:
		return t.undelete(now)
	case EventPurge:
		if t.PurgeStartedAt.IsZero() {
			t.PurgeStartedAt = now
		}
	case EventPurged:
		return t.bury(now)
	}
	return nil
}

func (t *Tenant) undelete(now time.Time) error {
	tooLate := ""
	switch {
	case !t.PurgeStartedAt.IsZero():
		tooLate = fmt.Sprintf("tenant %q is being purged since %s", t.ID, t.PurgeStartedAt.UTC().Format(time.RFC3339))
	case !now.Before(t.PurgeAt):
		tooLate = fmt.Sprintf("tenant %q could be undeleted until %s", t.ID, t.PurgeAt.UTC().Format(time.RFC3339))
	}
	if tooLate != "" {
		return &Error{Code: CodeFailedPrecondition, Reason: ReasonWrongState, Field: "state", Message: tooLate, Remedy: "register it again under another id"}
	}
	t.DeletedAt, t.PurgeAt = time.Time{}, time.Time{}
	t.PurgeRefusal, t.PurgeRetryAt = "", time.Time{}
	return nil
}

// bury leaves nothing of the tenant but its id, its dates and where it lived.
func (t *Tenant) bury(now time.Time) error {
	if t.PurgeStartedAt.IsZero() {
		return &Error{Code: CodeFailedPrecondition, Reason: ReasonWrongState, Field: "state", Message: fmt.Sprintf("purge of tenant %q has not begun", t.ID), Remedy: "begin it"}
	}
	*t = Tenant{
		ID: t.ID, Release: t.Release, Cluster: t.Cluster, Suspended: t.Suspended,
		CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt, ExpiresAt: t.ExpiresAt, DeletedAt: t.DeletedAt, PurgeAt: t.PurgeAt,
		PurgeStartedAt: t.PurgeStartedAt, PurgedAt: now, Revision: t.Revision,
	}
	return nil
}
