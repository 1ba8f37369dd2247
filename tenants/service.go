package tenants

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Releases knows which releases exist.
type Releases interface {
	// KnownRelease returns an error that says which releases exist.
	KnownRelease(version string) error
}

// Service is the registry. It is safe for concurrent use.
type Service struct {
	store    Store
	mirror   *Mirror
	releases Releases
	pages    *Pages
	now      func() time.Time
	places   Places // nil: all live in DefaultCluster
	prefixes func() []string
}

// NewService wires a Service; mirror answers Check and should be running.
// pages signs page tokens; nil makes tokens that only this process accepts.
// now may be nil.
func NewService(store Store, mirror *Mirror, releases Releases, pages *Pages, now func() time.Time) *Service {
	if now == nil {
		now = time.Now
	}
	if pages == nil {
		pages = ephemeralPages()
	}
	return &Service{store: store, mirror: mirror, releases: releases, pages: pages, now: now}
}

// CreateRequest asks for a tenant.
type CreateRequest struct {
	Tenant       *Tenant
	RequestID    string // makes the call idempotent for a day; optional
	ValidateOnly bool
	// AllowReuse registers a new tenant under the id of a purged one.
	AllowReuse bool
}

// Create registers a tenant. It looks at no cluster, except for room where
// none is named: the tenant's indices may exist already or be installed later. An empty install token is generated.
func (s *Service) Create(ctx context.Context, c Caller, r CreateRequest) (*Tenant, error) {
	t := r.Tenant.Clone()
	fingerprint := fingerprintOf(t)
	now := s.now()
	t.CreatedAt, t.UpdatedAt, t.Revision = now, now, 1
	t.DeletedAt, t.PurgeAt, t.PurgeStartedAt, t.PurgedAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	if err := s.place(ctx, t); err != nil {
		return nil, err
	}
	if err := s.validate(t); err != nil {
		return nil, err
	}
	if t.InstallToken == "" {
		t.InstallToken = rand.Text()
	}
	if r.ValidateOnly {
		return t, s.idFree(ctx, t.ID, r.AllowReuse)
	}
	detail := map[string]any{"after": shown(t)}
	if r.AllowReuse {
		detail["allow_reuse"] = true
	}
	a := s.audit(c, "tenant.create", t.ID, detail)
	stored, err := s.store.CreateTenant(ctx, t, CreateRecord{RequestID: r.RequestID, Fingerprint: fingerprint, AllowReuse: r.AllowReuse}, a)
	if err != nil {
		return nil, err
	}
	s.mirror.putTenant(stored)
	return stored, nil
}

func (s *Service) idFree(ctx context.Context, id string, reuse bool) error {
	t, err := s.store.Tenant(ctx, id)
	switch {
	case HasReason(err, ReasonTenantNotFound):
		return nil
	case err != nil:
		return err
	case t.PurgedAt.IsZero():
		return ExistsError(id)
	case !reuse:
		return PurgedError(id)
	}
	return nil
}

// PurgedError is the refusal of the id of a tenant that was purged.
func PurgedError(id string) error {
	return &Error{Code: CodeAlreadyExists, Reason: ReasonIDPurged, Field: "id", Message: fmt.Sprintf("tenant %q was purged; its id is kept from being used again", id), Remedy: "choose another id, or say allow_reuse (--allow-reuse)"}
}

// CodeNameTakenError is the refusal of a tenant that would share indices with
// another one.
func CodeNameTakenError(t *Tenant) error {
	return &Error{
		Code: CodeAlreadyExists, Reason: ReasonCodeNameTaken, Field: "id",
		Message: fmt.Sprintf("another tenant of cluster %s has the indices of the installation %q, or its id, or would", t.Cluster, short(cmp.Or(t.AdoptedFrom, t.ID))),
		Remedy:  "see `tms tenant list`; an installation is adopted once, and its code name is no other tenant's id",
	}
}

// ExistsError is the refusal of a tenant id that is taken.
func ExistsError(id string) error {
	return &Error{Code: CodeAlreadyExists, Reason: ReasonTenantExists, Field: "id", Message: fmt.Sprintf("tenant %q exists already", id), Remedy: "choose another id, or undelete it when it was deleted"}
}

// NotFoundError is the refusal of a tenant id that is not registered.
func NotFoundError(id string) error {
	return &Error{Code: CodeNotFound, Reason: ReasonTenantNotFound, Field: "id", Message: fmt.Sprintf("tenant %q is not registered", short(id)), Remedy: "see `tms tenant list`"}
}

func fingerprintOf(t *Tenant) []byte {
	c := t.Clone()
	c.CreatedAt, c.UpdatedAt = time.Time{}, time.Time{}
	b, _ := json.Marshal(c) // plain data: cannot fail
	sum := sha256.Sum256(b)
	return sum[:]
}

func (s *Service) validate(t *Tenant) error {
	if err := t.Validate(); err != nil {
		return err
	}
	return s.knownRelease(t.Release)
}

func (s *Service) knownRelease(version string) error {
	if err := s.releases.KnownRelease(version); err != nil {
		return &Error{
			Code: CodeInvalid, Reason: ReasonUnknownRelease, Field: "release", Message: err.Error(), Remedy: "see `tms release list`", Err: err,
			Violations: []Violation{{Field: "release", Message: err.Error()}},
		}
	}
	return nil
}

func (s *Service) audit(c Caller, action, subject string, detail map[string]any) Audit {
	return Audit{At: s.now(), Caller: c, Action: action, Subject: subject, Detail: detail}
}

// UpdateRequest changes the fields in Mask to the values in Tenant.
type UpdateRequest struct {
	Tenant *Tenant
	// State is the wanted state when Mask has "state": active or suspended.
	State        State
	Etag         string // the stored one, or AnyEtag
	Mask         []string
	ValidateOnly bool
}

// Update changes a tenant.
func (s *Service) Update(ctx context.Context, c Caller, r UpdateRequest) (*Tenant, error) {
	if len(r.Mask) == 0 {
		return nil, invalid("update_mask", "is empty", "name the fields to change: "+strings.Join(mutableFields(), ", "))
	}
	for _, f := range r.Mask {
		if _, ok := setters[f]; !ok && f != "state" && f != "expire_time" {
			return nil, invalid("update_mask", fmt.Sprintf("%q cannot be changed", short(f)), "fields that can: "+strings.Join(mutableFields(), ", "))
		}
	}
	checked, err := s.correctable(ctx, r)
	if err != nil {
		return nil, err
	}
	now := s.now()
	detail := map[string]any{"fields": r.Mask}
	a := s.audit(c, "tenant.update", r.Tenant.ID, detail)
	t, err := s.store.ChangeTenant(ctx, r.Tenant.ID, r.ValidateOnly, a, func(t *Tenant) error {
		if err := checkEtag(t, r.Etag); err != nil {
			return err
		}
		if err := sameCluster(t, r, checked); err != nil {
			return err
		}
		was := t.Clone()
		if err := s.applyUpdate(t, r, now); err != nil {
			return err
		}
		detail["before"], detail["after"] = changed(was, t)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !r.ValidateOnly {
		s.mirror.putTenant(t)
	}
	return t, nil
}

func (s *Service) applyUpdate(t *Tenant, r UpdateRequest, now time.Time) error {
	if st := t.StateAt(now); st == StateDeleted || st == StatePurged {
		return Allow(t.ID, st, EventActivate)
	}
	known := t.Release
	for _, f := range r.Mask {
		if set := setters[f]; set != nil {
			set(t, r.Tenant)
		}
	}
	// Expiry before state: a renewal makes an activation legal.
	if slices.Contains(r.Mask, "expire_time") {
		if err := t.Apply(EventRenew, now, r.Tenant.ExpiresAt); err != nil {
			return err
		}
	}
	if slices.Contains(r.Mask, "state") {
		if err := setState(t, r.State, now); err != nil {
			return err
		}
	}
	if err := t.Validate(); err != nil {
		return err
	}
	// A release that left the catalogue must not block other changes.
	if t.Release != known {
		return s.knownRelease(t.Release)
	}
	return nil
}

func setState(t *Tenant, want State, now time.Time) error {
	switch want {
	case StateActive:
		return t.Apply(EventActivate, now, time.Time{})
	case StateSuspended:
		return t.Apply(EventSuspend, now, time.Time{})
	}
	return invalid("state", fmt.Sprintf("%q cannot be set", want), "set active or suspended; expired follows expire_time, deleted follows Delete")
}

// setters copy one field each; the keys are the names in the contract.
var setters = map[string]func(dst, src *Tenant){
	"display_name": func(d, s *Tenant) { d.DisplayName = s.DisplayName },
	"email":        func(d, s *Tenant) { d.Email = s.Email },
	"domain":       func(d, s *Tenant) { d.Domain = s.Domain },
	"gui_url":      func(d, s *Tenant) { d.GUIURL = s.GUIURL },
	"install_token": func(d, s *Tenant) {
		d.InstallToken, d.TokenUnreadable = s.InstallToken, false
		if d.InstallToken == "" {
			d.InstallToken = rand.Text()
		}
	},
	"labels":     func(d, s *Tenant) { d.Labels = maps.Clone(s.Labels) },
	"attributes": func(d, s *Tenant) { d.Attributes = bytes.Clone(s.Attributes) },
	"release":    func(d, s *Tenant) { d.Release = s.Release },
	"cluster":    func(d, s *Tenant) { d.Cluster = s.Cluster },
}

func mutableFields() []string {
	return slices.Sorted(slices.Values(append(slices.Collect(maps.Keys(setters)), "state", "expire_time")))
}

// AnyEtag is the etag of a change that does not mind what it changes.
const AnyEtag = "*"

func checkEtag(t *Tenant, etag string) error {
	switch etag {
	case AnyEtag, t.Etag():
		return nil
	case "":
		const message = "is required, so that nobody overwrites what he has not seen"
		return &Error{
			Code: CodeInvalid, Reason: ReasonEtagRequired, Field: "etag", Message: message, Remedy: "send the etag that you have read, or * to change whatever is stored",
			Violations: []Violation{{Field: "etag", Message: message}},
		}
	}
	return &Error{
		Code: CodeConflict, Reason: ReasonEtagMismatch, Field: "etag", Message: fmt.Sprintf("tenant %q was changed meanwhile: etag is %q, not %q", t.ID, t.Etag(), short(etag)),
		Remedy: "read it again and repeat the change", Metadata: map[string]string{"etag": t.Etag()},
	}
}

// EventRequest names a tenant for Delete and Undelete.
type EventRequest struct {
	ID           string
	Etag         string // the stored one, or AnyEtag
	ValidateOnly bool
}

// Delete marks a tenant deleted; it is refused by Check at once. Its indices
// stay.
func (s *Service) Delete(ctx context.Context, c Caller, r EventRequest) (*Tenant, error) {
	return s.event(ctx, c, "tenant.delete", r, EventDelete)
}

// Undelete takes a deletion back. It needs no etag: an empty one is AnyEtag.
func (s *Service) Undelete(ctx context.Context, c Caller, r EventRequest) (*Tenant, error) {
	if r.Etag == "" {
		r.Etag = AnyEtag
	}
	return s.event(ctx, c, "tenant.undelete", r, EventUndelete)
}

func (s *Service) event(ctx context.Context, c Caller, action string, r EventRequest, e Event) (*Tenant, error) {
	now := s.now()
	detail := map[string]any{}
	t, err := s.store.ChangeTenant(ctx, r.ID, r.ValidateOnly, s.audit(c, action, r.ID, detail), func(t *Tenant) error {
		if err := checkEtag(t, r.Etag); err != nil {
			return err
		}
		was := t.StateAt(now)
		if err := t.Apply(e, now, time.Time{}); err != nil {
			return err
		}
		detail["before"], detail["after"] = map[string]any{"state": was}, map[string]any{"state": t.StateAt(now)}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !r.ValidateOnly {
		s.mirror.putTenant(t)
	}
	return t, nil
}
