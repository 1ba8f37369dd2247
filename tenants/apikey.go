package tenants

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"
)

// KeyPrefix begins every generated key, so that scanners for leaked secrets
// can find them.
const KeyPrefix = "tms_"

// Bounds of keys.
const (
	MaxKeyTTL      = 10 * 365 * 24 * time.Hour
	DefaultOverlap = time.Hour
	MaxOverlap     = 30 * 24 * time.Hour
	MaxKeyTenants  = 100 // more is a role's business

	keyIDLength = 12 // of base32: 60 bits, enough to be unique
)

// APIKey is what is stored of a key.
type APIKey struct {
	ID          string
	Hash        [sha256.Size]byte // of the whole key; keys are random, so a fast hash is safe
	DisplayName string
	Role        Role
	CreatedBy   string
	CreatedAt   time.Time
	ExpiresAt   time.Time // zero for never
	RevokedAt   time.Time // zero when not revoked
	LastUsedAt  time.Time // to the minute
	SuccessorID string    // after a rotation
	// Tenants are the only ones the key may do anything with, sorted; nil for
	// all.
	Tenants []string
}

// StateAt is "active", "expired" or "revoked".
func (k *APIKey) StateAt(now time.Time) string {
	switch {
	case !k.RevokedAt.IsZero():
		return "revoked"
	case !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt):
		return "expired"
	}
	return "active"
}

// usable returns why a key is refused, or nil.
func (k *APIKey) usable(now time.Time) error {
	switch k.StateAt(now) {
	case "revoked":
		return &Error{Code: CodeUnauthenticated, Reason: ReasonKeyRevoked, Message: fmt.Sprintf("API key %s was revoked", k.ID), Remedy: "ask an administrator for another one"}
	case "expired":
		return &Error{Code: CodeUnauthenticated, Reason: ReasonKeyExpired, Message: fmt.Sprintf("API key %s expired on %s", k.ID, k.ExpiresAt.UTC().Format(time.RFC3339)), Remedy: "use its successor, or ask an administrator for another one"}
	}
	return nil
}

// newSecret makes an id and the key that contains it: tms_<id>_<secret>.
func newSecret() (id, key string) {
	id = strings.ToLower(rand.Text())[:keyIDLength]
	return id, KeyPrefix + id + "_" + strings.ToLower(rand.Text())
}

// keyID reads the visible id from a key; "" when it has none.
func keyID(key string) string {
	rest, ok := strings.CutPrefix(key, KeyPrefix)
	if !ok {
		return ""
	}
	id, _, ok := strings.Cut(rest, "_")
	if !ok || len(id) != keyIDLength {
		return ""
	}
	return id
}

// Keys manages API keys. It is safe for concurrent use.
type Keys struct {
	store  Store
	mirror *Mirror
	pages  *Pages
	now    func() time.Time
}

// NewKeys wires Keys. pages signs page tokens; nil makes tokens that only this
// process accepts. now may be nil.
func NewKeys(store Store, mirror *Mirror, pages *Pages, now func() time.Time) *Keys {
	if now == nil {
		now = time.Now
	}
	if pages == nil {
		pages = ephemeralPages()
	}
	return &Keys{store: store, mirror: mirror, pages: pages, now: now}
}

// KeyRequest asks for a key.
type KeyRequest struct {
	Name string // what it is for
	Role Role
	TTL  time.Duration // 0 never expires
	// Tenants restricts the key; empty for all. They need not exist yet.
	Tenants []string
}

func (r KeyRequest) validate() error {
	var v violations
	name, role, ttl := r.Name, r.Role, r.TTL
	if name == "" || len(name) > MaxNameLength {
		v.add("display_name", fmt.Sprintf("needs 1 to %d bytes that say what the key is for", MaxNameLength))
	}
	if !role.Valid() {
		v.add("role", fmt.Sprintf("%q is not one of instance, viewer, provisioner, operator, admin", short(string(role))))
	}
	if ttl < 0 || ttl > MaxKeyTTL {
		v.add("ttl", fmt.Sprintf("%s is outside 0 to %s", ttl, MaxKeyTTL))
	}
	if len(r.Tenants) > MaxKeyTenants {
		v.add("tenants", fmt.Sprintf("%d tenants, at most %d are allowed", len(r.Tenants), MaxKeyTenants))
	}
	if len(r.Tenants) > 0 && role == RoleAdmin {
		v.add("tenants", "a key with role admin makes other keys and cannot be restricted")
	}
	for _, id := range r.Tenants {
		if err := ValidateID(id); err != nil {
			v.add("tenants", err.Error())
			break
		}
	}
	return v.err()
}

// Create makes a key and returns it with its secret, which is not stored.
func (s *Keys) Create(ctx context.Context, c Caller, r KeyRequest) (*APIKey, string, error) {
	if err := r.validate(); err != nil {
		return nil, "", err
	}
	k, secret := s.fresh(c, r.Name, r.Role)
	if r.TTL > 0 {
		k.ExpiresAt = k.CreatedAt.Add(r.TTL)
	}
	if len(r.Tenants) > 0 {
		k.Tenants = slices.Compact(slices.Sorted(slices.Values(r.Tenants)))
	}
	a := Audit{At: k.CreatedAt, Caller: c, Action: "key.create", Subject: k.ID, Detail: map[string]any{"role": r.Role, "display_name": r.Name, "tenants": k.Tenants}}
	if err := s.store.CreateKey(ctx, k, "", time.Time{}, a); err != nil {
		return nil, "", err
	}
	s.mirror.putKey(k)
	return k, secret, nil
}

func (s *Keys) fresh(c Caller, name string, role Role) (*APIKey, string) {
	id, secret := newSecret()
	return &APIKey{
		ID: id, Hash: sha256.Sum256([]byte(secret)), DisplayName: name, Role: role,
		CreatedBy: c.KeyID, CreatedAt: s.now().UTC().Truncate(time.Microsecond), // what Postgres keeps
	}, secret
}

// List returns keys, newest first; limit 0 is all.
func (s *Keys) List(ctx context.Context, limit int, pageToken string) ([]*APIKey, string, error) {
	const query = "keys"
	var after struct {
		At time.Time `json:"t"`
		ID string    `json:"i"`
	}
	if err := s.pages.Read(pageToken, query, &after); err != nil {
		return nil, "", err
	}
	ask := limit
	if ask > 0 {
		ask++
	}
	found, err := s.store.Keys(ctx, after.At, after.ID, ask)
	if err != nil || limit == 0 || len(found) <= limit {
		return found, "", err
	}
	found = found[:limit]
	last := found[limit-1]
	after.At, after.ID = last.CreatedAt, last.ID
	return found, s.pages.Token(query, after), nil
}

// Rotate makes a successor with the same name, role and tenants; the old key
// works on for the overlap, and not at all when that is 0.
func (s *Keys) Rotate(ctx context.Context, c Caller, id string, overlap time.Duration) (*APIKey, string, error) {
	if overlap < 0 || overlap > MaxOverlap {
		return nil, "", invalid("overlap", fmt.Sprintf("%s is outside 0 to %s", overlap, MaxOverlap), "say how long the old key works on")
	}
	old, err := s.store.Key(ctx, id)
	if err != nil {
		return nil, "", err
	}
	if st := old.StateAt(s.now()); st != "active" || old.SuccessorID != "" {
		return nil, "", notRotatable(old, st)
	}
	k, secret := s.fresh(c, old.DisplayName, old.Role)
	k.Tenants = old.Tenants
	if !old.ExpiresAt.IsZero() { // the successor lives as long as the old one was meant to
		k.ExpiresAt = k.CreatedAt.Add(old.ExpiresAt.Sub(old.CreatedAt))
	}
	a := Audit{At: k.CreatedAt, Caller: c, Action: "key.rotate", Subject: id, Detail: map[string]any{"successor": k.ID, "overlap": overlap.String()}}
	if err := s.store.CreateKey(ctx, k, id, k.CreatedAt.Add(overlap), a); err != nil {
		return nil, "", err
	}
	s.mirror.putKey(k)
	// The old key ends a little earlier than this process knows when this
	// fails; the notification brings it anyway.
	_ = s.mirror.reloadKey(ctx, id)
	return k, secret, nil
}

func notRotatable(k *APIKey, state string) error {
	msg := fmt.Sprintf("API key %s is %s", k.ID, state)
	if k.SuccessorID != "" {
		msg = fmt.Sprintf("API key %s has the successor %s", k.ID, k.SuccessorID)
	}
	return &Error{Code: CodeFailedPrecondition, Reason: ReasonWrongState, Field: "id", Message: msg, Remedy: "rotate the successor, or create a key"}
}

// Revoke refuses the key, and every token made from it, from now on.
func (s *Keys) Revoke(ctx context.Context, c Caller, id string) (*APIKey, error) {
	now := s.now()
	k, err := s.store.RevokeKey(ctx, id, now, Audit{At: now, Caller: c, Action: "key.revoke", Subject: id})
	if err != nil {
		return nil, err
	}
	s.mirror.putKey(k)
	return k, nil
}

// KeyNotFoundError is the refusal of a key id that does not exist.
func KeyNotFoundError(id string) error {
	return &Error{Code: CodeNotFound, Reason: ReasonKeyNotFound, Field: "id", Message: fmt.Sprintf("API key %q does not exist", short(id)), Remedy: "see `tms key list`"}
}
