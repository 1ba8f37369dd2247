package tenants

import (
	"bytes"
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
	now      func() time.Time
}

// NewService wires a Service; mirror answers Check and should be running. now
// may be nil.
func NewService(store Store, mirror *Mirror, releases Releases, now func() time.Time) *Service {
	if now == nil {
		now = time.Now
	}
	return &Service{store: store, mirror: mirror, releases: releases, now: now}
}

// CreateRequest asks for a tenant.
type CreateRequest struct {
	Tenant       *Tenant
	RequestID    string // makes the call idempotent for a day; optional
	ValidateOnly bool
}

// Create registers a tenant. It looks at no cluster: the tenant's indices may
// exist already or be installed later. An empty install token is generated.
func (s *Service) Create(ctx context.Context, c Caller, r CreateRequest) (*Tenant, error) {
	t := r.Tenant.Clone()
	fingerprint := fingerprintOf(t)
	now := s.now()
	t.CreatedAt, t.UpdatedAt, t.DeletedAt, t.PurgeAt, t.Revision = now, now, time.Time{}, time.Time{}, 1
	if t.Cluster == "" {
		t.Cluster = DefaultCluster
	}
	if err := s.validate(t); err != nil {
		return nil, err
	}
	if t.InstallToken == "" {
		t.InstallToken = rand.Text()
	}
	if r.ValidateOnly {
		if _, err := s.store.Tenant(ctx, t.ID); err == nil {
			return nil, ExistsError(t.ID)
		} else if !HasReason(err, ReasonTenantNotFound) {
			return nil, err
		}
		return t, nil
	}
	a := s.audit(c, "tenant.create", t.ID, map[string]any{"release": t.Release, "cluster": t.Cluster})
	stored, err := s.store.CreateTenant(ctx, t, CreateRecord{RequestID: r.RequestID, Fingerprint: fingerprint}, a)
	if err != nil {
		return nil, err
	}
	s.mirror.putTenant(stored)
	return stored, nil
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

// Get returns one tenant, deleted or not.
func (s *Service) Get(ctx context.Context, id string) (*Tenant, error) {
	return s.store.Tenant(ctx, id)
}

// ListRequest asks for a page of tenants.
type ListRequest struct {
	Filter    Filter // without AfterID and Now
	PageToken string
}

// ListResult is a page of tenants.
type ListResult struct {
	Tenants   []*Tenant
	NextToken string // "" on the last page
	Total     int    // over all pages
}

// List returns tenants in the order of their ids.
func (s *Service) List(ctx context.Context, r ListRequest) (ListResult, error) {
	f := r.Filter
	cursor := pageCursor{Filter: filterHash(f)}
	if err := cursor.read(r.PageToken); err != nil {
		return ListResult{}, err
	}
	f.AfterID, f.Now = cursor.After, s.now()
	limit := f.Limit
	if limit > 0 {
		f.Limit++ // one more shows whether there is a next page
	}
	found, total, err := s.store.Tenants(ctx, f)
	if err != nil {
		return ListResult{}, err
	}
	res := ListResult{Tenants: found, Total: total}
	if limit > 0 && len(found) > limit {
		res.Tenants = found[:limit]
		cursor.After = found[limit-1].ID
		res.NextToken = cursor.token()
	}
	return res, nil
}

func filterHash(f Filter) string {
	b, _ := json.Marshal([]any{f.State, f.ShowDeleted, f.Release, f.Labels}) // map keys are sorted
	sum := sha256.Sum256(b)
	return fmt.Sprintf("%x", sum[:6])
}

// UpdateRequest changes the fields in Mask to the values in Tenant.
type UpdateRequest struct {
	Tenant *Tenant
	// State is the wanted state when Mask has "state": active or suspended.
	State        State
	Etag         string // when given, must be the stored one
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
	now := s.now()
	detail := map[string]any{"fields": r.Mask}
	if slices.Contains(r.Mask, "release") {
		detail["release"] = r.Tenant.Release
	}
	a := s.audit(c, "tenant.update", r.Tenant.ID, detail)
	t, err := s.store.ChangeTenant(ctx, r.Tenant.ID, r.ValidateOnly, a, func(t *Tenant) error {
		if err := checkEtag(t, r.Etag); err != nil {
			return err
		}
		return s.applyUpdate(t, r, now)
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
	if t.StateAt(now) == StateDeleted {
		return Allow(t.ID, StateDeleted, EventActivate)
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

func checkEtag(t *Tenant, etag string) error {
	if etag == "" || etag == t.Etag() {
		return nil
	}
	return &Error{Code: CodeConflict, Reason: ReasonEtagMismatch, Field: "etag", Message: fmt.Sprintf("tenant %q was changed meanwhile: etag is %q, not %q", t.ID, t.Etag(), short(etag)), Remedy: "read it again and repeat the change"}
}

// Delete marks a tenant deleted; it is refused by Check at once. Its indices
// stay.
func (s *Service) Delete(ctx context.Context, c Caller, id, etag string) (*Tenant, error) {
	return s.event(ctx, c, "tenant.delete", id, etag, EventDelete)
}

// Undelete takes a deletion back.
func (s *Service) Undelete(ctx context.Context, c Caller, id string) (*Tenant, error) {
	return s.event(ctx, c, "tenant.undelete", id, "", EventUndelete)
}

func (s *Service) event(ctx context.Context, c Caller, action, id, etag string, e Event) (*Tenant, error) {
	now := s.now()
	t, err := s.store.ChangeTenant(ctx, id, false, s.audit(c, action, id, nil), func(t *Tenant) error {
		if err := checkEtag(t, etag); err != nil {
			return err
		}
		return t.Apply(e, now, time.Time{})
	})
	if err != nil {
		return nil, err
	}
	s.mirror.putTenant(t)
	return t, nil
}

// Verdict answers Check.
type Verdict struct {
	Allowed bool
	// Reason is why not: "unknown", "suspended", "expired" or "deleted".
	Reason string
	ID     string
	// Tenant is set when it is registered. It is shared: do not change it.
	Tenant *Tenant
}

// Check says whether requests for the tenant may be served now. It answers
// from memory while the mirror is fresh and from the store otherwise; when
// neither can answer, it is an error, never a yes.
func (s *Service) Check(ctx context.Context, id string) (Verdict, error) {
	v := Verdict{ID: id, Reason: "unknown"}
	if ValidateID(id) != nil {
		return v, nil
	}
	t, err := s.mirror.tenant(ctx, id)
	if err != nil {
		return v, err
	}
	if t == nil {
		return v, nil
	}
	v.Tenant = t
	if st := t.StateAt(s.now()); st != StateActive {
		v.Reason = string(st)
		return v, nil
	}
	v.Allowed, v.Reason = true, ""
	return v, nil
}

// CheckHost is Check for the tenant that a request's host name means.
func (s *Service) CheckHost(ctx context.Context, host string) (Verdict, error) {
	return s.Check(ctx, IDFromHost(host))
}
