package tenants

import (
	"fmt"
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
)

// StateAt is the tenant's state at a point in time. It is computed and not
// stored, so that an expiry is in force the moment the clock passes it.
func (t *Tenant) StateAt(now time.Time) State {
	switch {
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
)

// transitions is the one table of what may happen in which state, and the
// remedy where it may not. A renewal and an undeletion lead back to what the
// tenant was before: paying does not lift a suspension.
var transitions = map[State]map[Event]string{
	StateActive: {
		EventActivate: "", EventSuspend: "", EventExpire: "", EventRenew: "", EventDelete: "",
		EventUndelete: "it is not deleted",
	},
	StateSuspended: {
		EventActivate: "", EventSuspend: "", EventExpire: "", EventRenew: "", EventDelete: "",
		EventUndelete: "it is not deleted",
	},
	StateExpired: {
		EventRenew: "", EventDelete: "", EventExpire: "",
		EventActivate: "set a later expire_time, or clear it",
		EventSuspend:  "an expired tenant is not served anyway",
		EventUndelete: "it is not deleted",
	},
	StateDeleted: {
		EventUndelete: "",
		EventActivate: "undelete it first", EventSuspend: "undelete it first", EventExpire: "undelete it first",
		EventRenew: "undelete it first", EventDelete: "it is deleted already",
	},
}

// Allow says whether the event is legal in the state.
func Allow(id string, s State, e Event) error {
	if remedy := transitions[s][e]; remedy != "" {
		return &Error{
			Code: CodeFailedPrecondition, Reason: ReasonWrongState, Field: "state",
			Message: fmt.Sprintf("tenant %q is %s: cannot %s", id, s, e), Remedy: remedy,
		}
	}
	return nil
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
		if !now.Before(t.PurgeAt) {
			return &Error{Code: CodeFailedPrecondition, Reason: ReasonWrongState, Field: "state", Message: fmt.Sprintf("tenant %q could be undeleted until %s", t.ID, t.PurgeAt.UTC().Format(time.RFC3339)), Remedy: "register it again under another id"}
		}
		t.DeletedAt, t.PurgeAt = time.Time{}, time.Time{}
	}
	return nil
}
