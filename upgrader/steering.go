package upgrader

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tracardi/tms/upgrader/budget"
)

// Settings are the options of a rollout that can be changed while it runs; nil
// fields stay.
type Settings struct {
	MaxTenants        *int
	RequestsPerSecond *float64
	FenceTimeout      *time.Duration
	// HoldSwitch stops tenants before their fence, also those that were let
	// through one by one; false lets all of them pass. A fence that stands is
	// not concerned.
	HoldSwitch *bool
}

// maxSkipReason is the longest reason of an exception, in characters.
const maxSkipReason = 500

// Set changes options of a running rollout. Workers obey at their next look,
// within two seconds; more tenants start, or fewer, as others end.
func (s *Service) Set(ctx context.Context, c Command) (*Rollout, error) {
	if c.Set == (Settings{}) {
		return nil, &ServiceError{Reason: ReasonInvalid, Field: "set", Message: "nothing is to be changed", Remedy: "name an option and its value"}
	}
	return s.command(ctx, "set", c)
}

// Skip leaves tenants out of the rollout, for a reason: what was begun is
// undone, and the rollout may be complete without them.
func (s *Service) Skip(ctx context.Context, c Command) (*Rollout, error) {
	switch c.Reason = strings.TrimSpace(c.Reason); {
	case len(c.Tenants) == 0:
		return nil, &ServiceError{Reason: ReasonInvalid, Field: "tenants", Message: "are missing", Remedy: "name the tenants to leave out; to end the whole rollout, cancel it"}
	case c.Reason == "":
		return nil, &ServiceError{Reason: ReasonInvalid, Field: "reason", Message: "is empty", Remedy: "say why; it is in the report of the rollout"}
	case utf8.RuneCountInString(c.Reason) > maxSkipReason:
		return nil, &ServiceError{Reason: ReasonInvalid, Field: "reason", Message: fmt.Sprintf("has %d characters", utf8.RuneCountInString(c.Reason)), Remedy: fmt.Sprintf("use at most %d", maxSkipReason)}
	}
	return s.command(ctx, "skip", c)
}

// skipFor is the command that leaves tenants out.
func skipFor(reason string) tenantCommand {
	return tenantCommand{
		needs:   "it takes one that is not switched; a switched one can be rolled back first",
		already: func(t RolloutTenant) bool { return t.Excepted != "" },
		legal: func(t RolloutTenant) bool {
			return t.State.BeforeSwitch() || t.State == TenantFailed || t.State == TenantCancelled || t.State == TenantRolledBack
		},
		apply: func(t *RolloutTenant) {
			t.Excepted = reason
			if t.State != TenantCancelled && t.State != TenantRolledBack {
				t.Intent = IntentCancel
			}
		},
	}
}

// about says whether the command is about a tenant of the rollout.
func (c Command) about(t *RolloutTenant) bool {
	return (len(c.Tenants) == 0 || slices.Contains(c.Tenants, t.TenantID)) && (c.Wave == 0 || t.Wave == c.Wave)
}

// whole says that the command is about all tenants.
func (c Command) whole() bool { return len(c.Tenants) == 0 && c.Wave == 0 }

// checkChoice refuses tenants and waves that the rollout does not have.
func (c Command) checkChoice(r *Rollout) error {
	for _, id := range c.Tenants {
		if !slices.ContainsFunc(r.Tenants, func(t RolloutTenant) bool { return t.TenantID == id }) {
			return &ServiceError{Reason: ReasonNotFound, Field: "tenants", Message: fmt.Sprintf("tenant %q is not part of rollout %s", id, r.ID), Remedy: "see `tms upgrade show " + r.ID + "`"}
		}
	}
	if c.Wave != 0 && !slices.ContainsFunc(r.Tenants, func(t RolloutTenant) bool { return t.Wave == c.Wave }) {
		return &ServiceError{Reason: ReasonNotFound, Field: "wave", Message: fmt.Sprintf("rollout %s has no tenant in a wave %d", r.ID, c.Wave), Remedy: "see `tms upgrade show " + r.ID + "`"}
	}
	return nil
}

// setOptions changes the options of a rollout. It is pure.
func setOptions(r *Rollout, s Settings, now time.Time) error {
	switch {
	case r.State.Ended():
		return wrongState(r, "it has ended, there is nothing to set")
	case r.Wish == WishCancel:
		return wrongState(r, "it is being cancelled")
	case s.RequestsPerSecond != nil && !(*s.RequestsPerSecond >= 0 && *s.RequestsPerSecond <= budget.MaxDocumentsPerSecond):
		return &ServiceError{Reason: ReasonInvalid, Field: "requests_per_second", Message: fmt.Sprintf("%g is outside 0..%d", *s.RequestsPerSecond, budget.MaxDocumentsPerSecond), Remedy: "give documents per second of each copy, 0 for no limit"}
	}
	o := r.Options
	override(s.MaxTenants, &o.MaxTenants)
	override(s.RequestsPerSecond, &o.RequestsPerSecond)
	override(s.FenceTimeout, &o.FenceTimeout)
	override(s.HoldSwitch, &o.HoldSwitch)
	if err := (Request{ToRelease: r.ToRelease, Options: o}).validate(); err != nil {
		return err
	}
	r.Options = o
	if s.HoldSwitch == nil {
		return nil
	}
	for i := range r.Tenants {
		if t := &r.Tenants[i]; t.State.BeforeSwitch() && !t.State.Fenced() && t.SwitchAllowed == *s.HoldSwitch {
			t.SwitchAllowed, t.NextAt = !*s.HoldSwitch, now
		}
	}
	return nil
}

// override has a setting that the operator has named count.
func override[T any](v *T, to *T) {
	if v != nil {
		*to = *v
	}
}
