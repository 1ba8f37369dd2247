package tenants

import (
	"context"
	"encoding/json"
	"time"
)

// AuditRecord is a stored line of the audit trail.
type AuditRecord struct {
	ID      int64 // grows with every record
	At      time.Time
	Caller  Caller
	Action  string
	Subject string
	Detail  json.RawMessage // a JSON object
}

// AuditFilter selects records, newest first; all given conditions must hold.
type AuditFilter struct {
	Subject   string
	Action    string // exact, or a prefix that ends in a dot
	KeyID     string
	RequestID string
	From      time.Time // inclusive, zero for no bound
	Until     time.Time // exclusive, zero for no bound
	BeforeID  int64     // where the page before ended, 0 for the first
	Limit     int       // 1 or more
}

// TrailStore reads the audit trail. The contract of Store holds for it.
type TrailStore interface {
	// AuditRecords returns records, newest first.
	AuditRecords(ctx context.Context, f AuditFilter) ([]AuditRecord, error)
}

// Trail reads the audit trail. It is safe for concurrent use.
type Trail struct {
	store TrailStore
	pages *Pages
}

// NewTrail wires a Trail. pages signs page tokens; nil makes tokens that only
// this process accepts.
func NewTrail(store TrailStore, pages *Pages) *Trail {
	if pages == nil {
		pages = ephemeralPages()
	}
	return &Trail{store: store, pages: pages}
}

// Records returns a page of records and the token of the next one. The
// filter's position is taken from pageToken.
func (t *Trail) Records(ctx context.Context, f AuditFilter, pageToken string) ([]AuditRecord, string, error) {
	query := queryHash("audit", f.Subject, f.Action, f.KeyID, f.RequestID, f.From, f.Until)
	if err := t.pages.Read(pageToken, query, &f.BeforeID); err != nil {
		return nil, "", err
	}
	limit := f.Limit
	f.Limit++
	found, err := t.store.AuditRecords(ctx, f)
	if err != nil || len(found) <= limit {
		return found, "", err
	}
	found = found[:limit]
	return found, t.pages.Token(query, found[limit-1].ID), nil
}
