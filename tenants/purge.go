package tenants

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// How a purge is tried again.
const (
	// PurgeLease is how long one attempt may take; deleting a tenant's some
	// 150 indices takes seconds. Another process takes over after it.
	PurgeLease = 2 * time.Minute
	// MaxPurgeAttempts bounds the attempts: with the pauses between them they
	// last some ten hours, longer than a maintenance of the search cluster.
	MaxPurgeAttempts = 30
	maxPurgePause    = 30 * time.Minute
)

// Snapshots knows the verified snapshots of tenants.
type Snapshots interface {
	// Verified names the newest verified snapshot that holds all of the
	// tenant's indices as they were when it was deleted; "" when there is none.
	Verified(ctx context.Context, tenant string, since time.Time) (string, error)
}

// PurgesConfig configures Purges.
type PurgesConfig struct {
	Store    PurgeStore
	Mirror   *Mirror
	Clusters Clusters
	// Automatic purges deleted tenants when their purge time comes.
	Automatic bool
	// Prefixes lists what the index names of all known releases carry.
	Prefixes func() []string
	// Snapshots may be nil: then every purge needs the waiver.
	Snapshots Snapshots
	Pages     *Pages // nil for tokens that are good in this process only
	// Owner names this process in leases.
	Owner  string
	Now    func() time.Time // nil for time.Now
	Logger *slog.Logger     // nil discards
}

// Purges removes everything of deleted tenants, and proves it. It is safe for
// concurrent use.
type Purges struct{ c PurgesConfig }

// NewPurges wires Purges.
func NewPurges(c PurgesConfig) *Purges {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Pages == nil {
		c.Pages = ephemeralPages()
	}
	return &Purges{c}
}

// PurgeRequest asks for the end of a tenant.
type PurgeRequest struct {
	ID   string
	Etag string // when given, must be the stored one
	// WithoutSnapshot waives the verified snapshot. It is in the audit trail.
	WithoutSnapshot bool
	ValidateOnly    bool
	due             bool // only when the purge time has come
}

// Begin starts the purge of a deleted tenant, or returns the one that runs.
// There is no way back from here.
func (s *Purges) Begin(ctx context.Context, c Caller, r PurgeRequest) (*Operation, error) {
	if err := ValidateID(r.ID); err != nil {
		return nil, NotFoundError(r.ID)
	}
	now := s.c.Now().UTC().Truncate(time.Microsecond)
	op := &Operation{
		ID: strings.ToLower(rand.Text()), Kind: KindPurge, TenantID: r.ID, State: OperationRunning,
		WithoutSnapshot: r.WithoutSnapshot, CreatedBy: c.KeyID, CreatedAt: now, UpdatedAt: now,
	}
	a := Audit{At: now, Caller: c, Action: "tenant.purge", Subject: r.ID, Detail: map[string]any{"operation": op.ID, "without_snapshot": r.WithoutSnapshot}}
	return s.c.Store.BeginPurge(ctx, op, r.ValidateOnly, a, func(t *Tenant) error {
		if r.due && !t.purgeDue(now) {
			return errNotDue
		}
		if r.Etag != "" {
			if err := checkEtag(t, r.Etag); err != nil {
				return err
			}
		}
		if err := t.Apply(EventPurge, now, time.Time{}); err != nil {
			return err
		}
		// Should it fail for good, it is begun again after that time.
		t.PurgeRefusal, t.PurgeRetryAt = "", now.Add(PurgeRetry)
		return s.requireSnapshot(ctx, op, t)
	})
}

func (s *Purges) requireSnapshot(ctx context.Context, op *Operation, t *Tenant) error {
	if op.WithoutSnapshot {
		return nil
	}
	if s.c.Snapshots != nil {
		name, err := s.c.Snapshots.Verified(ctx, t.ID, t.DeletedAt)
		if err != nil {
			return err
		}
		op.Snapshot = name
	}
	if op.Snapshot != "" {
		return nil
	}
	return &Error{
		Code: CodeFailedPrecondition, Reason: ReasonSnapshotRequired, Field: "without_snapshot",
		Message: fmt.Sprintf("tenant %q has no verified snapshot: a purge could never be taken back", t.ID),
		Remedy:  "take one, or waive it with without_snapshot (--without-snapshot); the waiver is audited",
	}
}

// Operation returns one operation.
func (s *Purges) Operation(ctx context.Context, id string) (*Operation, error) {
	return s.c.Store.Operation(ctx, id)
}

// Operations returns a page of operations, newest first, and the token of the
// next one. The filter's position is taken from pageToken.
func (s *Purges) Operations(ctx context.Context, f OperationFilter, pageToken string) ([]*Operation, string, error) {
	query := queryHash("operations", f.State, f.Tenants)
	var after struct {
		At time.Time
		ID string
	}
	if err := s.c.Pages.Read(pageToken, query, &after); err != nil {
		return nil, "", err
	}
	f.Before, f.BeforeID = after.At, after.ID
	limit := f.Limit
	f.Limit++
	found, err := s.c.Store.Operations(ctx, f)
	if err != nil || len(found) <= limit {
		return found, "", err
	}
	found = found[:limit]
	last := found[limit-1]
	after.At, after.ID = last.CreatedAt, last.ID
	return found, s.c.Pages.Token(query, after), nil
}

// Work makes one attempt at an operation; it may be called at any time by any
// process. What went wrong stands in the operation, which is tried again; the
// error is for the log.
func (s *Purges) Work(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, PurgeLease)
	defer cancel()
	op, err := s.c.Store.ClaimPurge(ctx, id, s.c.Owner, PurgeLease)
	if err != nil || op == nil {
		return err
	}
	err = s.attempt(ctx, op)
	if err == nil {
		s.c.Logger.InfoContext(ctx, "tenant purged", "tenant", op.TenantID, "operation", op.ID, "indices", op.Result.Indices, "templates", op.Result.Templates)
		return nil
	}
	op.Reason, op.Message = ReasonPurgeIncomplete, err.Error()
	var known *Error
	if errors.As(err, &known) {
		op.Reason = known.Reason
	}
	if op.Attempts >= MaxPurgeAttempts {
		op.State, op.FinishedAt = OperationFailed, s.c.Now()
	}
	// The claim is given back also when this process is told to stop.
	free, done := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer done()
	return errors.Join(err, s.c.Store.ReleasePurge(free, op, s.c.Owner, purgePause(op.Attempts)))
}

// purgePause grows from a second to half an hour.
func purgePause(attempts int) time.Duration {
	return min(time.Second<<min(attempts, 11), maxPurgePause)
}

func (s *Purges) attempt(ctx context.Context, op *Operation) error {
	is, err := s.c.Store.Tenant(ctx, op.TenantID)
	if err != nil {
		return err
	}
	t := territory{id: op.TenantID, adopted: is.AdoptedFrom, prefixes: s.c.Prefixes()}
	home, err := s.c.Clusters.Cluster(ctx, is.Cluster)
	if err != nil {
		return err
	}
	found, err := t.survey(ctx, home)
	if err != nil {
		return err
	}
	if err := t.clear(ctx, home, found, &op.Result); err != nil {
		return err
	}
	documents, keys, err := s.c.Store.ErasePurged(ctx, op.TenantID)
	if err != nil {
		return err
	}
	op.Result.Quarantined += documents
	op.Result.Keys += keys
	if found, err = t.survey(ctx, home); err != nil {
		return err
	}
	if left := found.String(); left != "" {
		return &Error{Code: CodeFailedPrecondition, Reason: ReasonPurgeIncomplete, Message: fmt.Sprintf("tenant %q still has %s", op.TenantID, left), Remedy: "something writes to them; it is tried again"}
	}
	now := s.c.Now().UTC().Truncate(time.Microsecond)
	op.Result.ProvenAt = now
	op.State, op.UpdatedAt, op.FinishedAt, op.Reason, op.Message = OperationSucceeded, now, now, "", ""
	a := Audit{At: now, Caller: Caller{KeyID: op.CreatedBy}, Action: "tenant.purged", Subject: op.TenantID, Detail: map[string]any{"operation": op.ID, "result": op.Result}}
	buried, err := s.c.Store.FinishPurge(ctx, op, s.c.Owner, a, func(t *Tenant) error { return t.Apply(EventPurged, now, time.Time{}) })
	if err != nil {
		op.State, op.FinishedAt, op.Result.ProvenAt = OperationRunning, time.Time{}, time.Time{}
		return err
	}
	s.c.Mirror.putTenant(buried)
	return nil
}
