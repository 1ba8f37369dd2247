package tenants

import (
	"context"
	"errors"
	"time"
)

const (
	// PurgeRetry is how long after a refusal, or after a purge that failed for
	// good, a tenant whose purge time has come is tried again.
	PurgeRetry = 24 * time.Hour
	// maxRefusal bounds the stored words of a refusal.
	maxRefusal = 500
	// AutomaticKey stands for the caller where TMS does something by itself.
	AutomaticKey = "tms"
)

var errNotDue = errors.New("purge not due")

// purgeDue says whether the tenant is to be purged by itself now.
func (t *Tenant) purgeDue(now time.Time) bool {
	return t.StateAt(now) == StateDeleted && !now.Before(t.PurgeAt) && !now.Before(t.PurgeRetryAt)
}

// Automatic says whether tenants are purged when their purge time comes.
func (s *Purges) Automatic() bool { return s.c.Automatic }

// BeginDue starts the purge of a tenant whose purge time has come, by the
// rules of Begin. A refusal stands in the tenant, and is tried again after
// PurgeRetry; it is no error. Any process may call it at any time.
func (s *Purges) BeginDue(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*storeTimeout)
	defer cancel()
	caller := Caller{KeyID: AutomaticKey}
	op, err := s.Begin(ctx, caller, PurgeRequest{ID: id, due: true})
	if err == nil {
		s.c.Logger.InfoContext(ctx, "purge time has come", "tenant", id, "operation", op.ID)
		return nil
	}
	var refused *Error
	if errors.Is(err, errNotDue) || HasReason(err, ReasonTenantNotFound) {
		return nil
	}
	if !errors.As(err, &refused) || refused.Code != CodeFailedPrecondition {
		return err
	}
	return s.postpone(ctx, caller, id, refused)
}

// postpone stores why a due purge cannot be, once for all processes.
func (s *Purges) postpone(ctx context.Context, c Caller, id string, why *Error) error {
	now := s.c.Now().UTC().Truncate(time.Microsecond)
	text := string(why.Reason) + ": " + why.Error()
	if len(text) > maxRefusal {
		text = text[:maxRefusal]
	}
	a := Audit{At: now, Caller: c, Action: "tenant.purge_refused", Subject: id, Detail: map[string]any{"reason": why.Reason, "message": why.Error()}}
	t, err := s.c.Store.PostponePurge(ctx, id, a, func(t *Tenant) error {
		if !t.purgeDue(now) {
			return errNotDue
		}
		t.PurgeRefusal, t.PurgeRetryAt = text, now.Add(PurgeRetry)
		return nil
	})
	if errors.Is(err, errNotDue) {
		return nil // another process was quicker
	}
	if err != nil {
		return err
	}
	s.c.Logger.WarnContext(ctx, "tenant cannot be purged although its purge time has come", "tenant", id, "reason", why.Reason, "again", t.PurgeRetryAt)
	s.c.Mirror.putTenant(t)
	return nil
}
