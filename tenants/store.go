package tenants

import (
	"context"
	"time"
)

// Store keeps tenants, keys and the audit trail. The adapter lives in package
// db.
//
// Contract: every method is one transaction; a change and its audit record
// are stored together or not at all. Errors the caller can do something about
// are *Error, and a driver's words are never part of their text. Safe for
// concurrent use.
type Store interface {
	// CreateTenant stores a new tenant. When requestID is known with the same
	// fingerprint, it returns the tenant of that time; with another one it is
	// ReasonRequestReused. An id that exists, deleted ones included, is
	// ReasonTenantExists; one that was purged is ReasonIDPurged unless the
	// record allows its reuse; a domain of another tenant is
	// ReasonDomainTaken.
	CreateTenant(ctx context.Context, t *Tenant, r CreateRecord, a Audit) (*Tenant, error)
	// Tenant returns one tenant, deleted or not; ReasonTenantNotFound.
	Tenant(ctx context.Context, id string) (*Tenant, error)
	// Tenants returns a page in the wanted order and, with Filter.Count, how
	// many match in all, 0 otherwise.
	Tenants(ctx context.Context, f Filter) ([]*Tenant, int, error)
	// AllTenants returns every tenant, deleted ones included.
	AllTenants(ctx context.Context) ([]*Tenant, error)
	// ChangeTenant locks the tenant, lets change alter it and describe what it
	// did, and stores both. When change returns an error nothing is stored and
	// the error is returned as it is. dry stores nothing either.
	ChangeTenant(ctx context.Context, id string, dry bool, a Audit, change func(*Tenant) error) (*Tenant, error)

	// CreateKey stores a key. With replaces, it also records k as successor of
	// that key and ends it at until; ReasonKeyNotFound, ReasonWrongState when
	// the old key is revoked or has a successor.
	CreateKey(ctx context.Context, k *APIKey, replaces string, until time.Time, a Audit) error
	// Key returns one key; ReasonKeyNotFound.
	Key(ctx context.Context, id string) (*APIKey, error)
	// Keys returns keys made before (before, beforeID), newest first; a zero
	// time starts at the newest, limit 0 is all.
	Keys(ctx context.Context, before time.Time, beforeID string, limit int) ([]*APIKey, error)
	// RevokeKey revokes a key; revoking twice changes nothing.
	RevokeKey(ctx context.Context, id string, at time.Time, a Audit) (*APIKey, error)
	// TouchKeys stores last uses; unknown ids are ignored.
	TouchKeys(ctx context.Context, used map[string]time.Time) error

	// Subscribe listens for changes of tenants and keys by any process. It
	// returns when every later change is certain to be reported.
	Subscribe(ctx context.Context) (Subscription, error)
}

// Subscription reports changes. It is used by one goroutine.
type Subscription interface {
	// Next waits for the next change, at most for the heartbeat interval. A
	// Change without kind is a heartbeat: all changes committed before the
	// call have been reported. An error ends the subscription.
	Next(ctx context.Context, heartbeat time.Duration) (Change, error)
	Close()
}

// Change names a row that changed.
type Change struct {
	Kind ChangeKind
	ID   string
}

// ChangeKind is the table a change belongs to.
type ChangeKind string

// Kinds.
const (
	ChangeNone   ChangeKind = ""
	ChangeTenant ChangeKind = "tenant"
	ChangeKey    ChangeKind = "key"
)

// CreateRecord makes a creation idempotent.
type CreateRecord struct {
	RequestID   string // "" for none
	Fingerprint []byte // of the request
	// AllowReuse lets the tenant take the place of a purged one's tombstone.
	AllowReuse bool
}

// Caller is who asks, for the audit trail.
type Caller struct {
	KeyID     string
	Role      Role
	RequestID string // of the transport, to find the log lines
	Origin    string // address the call came from, "" when unknown
}

// Audit is one line of the audit trail.
type Audit struct {
	At      time.Time
	Caller  Caller
	Action  string // "tenant.create"
	Subject string // id of what was changed
	Detail  map[string]any
}
