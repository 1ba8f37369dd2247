// Package events tells those who follow the registry what happens in it: as a
// stream that can be taken up again, and by webhooks. It is a pure domain; its
// stores, and who sends webhooks, are implemented elsewhere.
package events

import (
	"slices"
	"strings"
	"time"
)

// Event is something that happened. Its Number gives all events one order, in
// which those of one subject are as they happened.
type Event struct {
	Number  int64
	At      time.Time
	Type    string // one of Types
	Subject string // what it happened to; for types below "tenant." the tenant's id
	// Data are particulars by type: state, previous_state, release,
	// previous_release, fields (names of those that changed), revision.
	Data map[string]any
	// Revision is that of the subject after the event, 0 when it has none.
	Revision int64
}

// Types of events.
const (
	TypeCreated        = "tenant.created"
	TypeUpdated        = "tenant.updated" // fields says which
	TypeActivated      = "tenant.activated"
	TypeSuspended      = "tenant.suspended"
	TypeExpired        = "tenant.expired"
	TypeDeleted        = "tenant.deleted"
	TypeUndeleted      = "tenant.undeleted"
	TypeReleaseChanged = "tenant.release_changed" // by a switch, a rollback or an update
	TypePurgeStarted   = "tenant.purge_started"
	TypePurged         = "tenant.purged"

	// Of rollouts; the subject is the rollout, and for types below
	// "rollout.tenant_" the data names the tenant.
	TypeRolloutStarted    = "rollout.started"
	TypeRolloutPaused     = "rollout.paused"
	TypeRolloutResumed    = "rollout.resumed" // after a pause, or by a command after its end
	TypeRolloutComplete   = "rollout.complete"
	TypeRolloutFailed     = "rollout.failed"
	TypeRolloutCancelled  = "rollout.cancelled"
	TypeRolloutRolledBack = "rollout.rolled_back"
	TypeRolloutFinalized  = "rollout.finalized"
	TypeTenantSwitched    = "rollout.tenant_switched"
	TypeTenantFailed      = "rollout.tenant_failed"
	TypeTenantCancelled   = "rollout.tenant_cancelled"
	TypeTenantRolledBack  = "rollout.tenant_rolled_back"
	TypeTenantFinalized   = "rollout.tenant_finalized"
	// Old versions that TMS deletes by itself: that it will, with due_time in
	// the data, that it is about to, that it was to and may not, with the reason.
	TypeFinalizeScheduled = "rollout.finalize_scheduled"
	TypeFinalizeSoon      = "rollout.finalize_soon"
	TypeFinalizeHeld      = "rollout.finalize_held"

	// TypeTest is what a webhook's test sends; it never happens.
	TypeTest = "webhook.test"
	// TypeGap tells a webhook which events it cannot get any more, whatever
	// types it asked for; it is no event of the log.
	TypeGap = "webhook.gap"
)

// Types lists what can happen.
var Types = []string{
	TypeCreated, TypeUpdated, TypeActivated, TypeSuspended, TypeExpired, TypeDeleted, TypeUndeleted,
	TypeReleaseChanged, TypePurgeStarted, TypePurged,
	TypeRolloutStarted, TypeRolloutPaused, TypeRolloutResumed, TypeRolloutComplete, TypeRolloutFailed, TypeRolloutCancelled,
	TypeRolloutRolledBack, TypeRolloutFinalized,
	TypeTenantSwitched, TypeTenantFailed, TypeTenantCancelled, TypeTenantRolledBack, TypeTenantFinalized,
	TypeFinalizeScheduled, TypeFinalizeSoon, TypeFinalizeHeld,
}

// TenantID is the tenant that the event is about, "" when it is about none.
func (e Event) TenantID() string {
	if strings.HasPrefix(e.Type, "tenant.") {
		return e.Subject
	}
	return ""
}

// Rollout is the rollout that the event is about, "" when it is about none.
func (e Event) Rollout() string {
	if strings.HasPrefix(e.Type, "rollout.") {
		return e.Subject
	}
	return ""
}

// Wanted says whether one of the patterns takes the type in: a type, or with a
// dot at its end all that begin so. No pattern takes all.
func Wanted(patterns []string, typ string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool {
		return p == typ || strings.HasSuffix(p, ".") && strings.HasPrefix(typ, p)
	})
}
