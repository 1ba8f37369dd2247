package tenants

import (
	"context"
	"fmt"
	"time"
)

// OperationState is how far an operation is.
type OperationState string

// States of operations.
const (
	OperationRunning   OperationState = "running"
	OperationSucceeded OperationState = "succeeded"
	OperationFailed    OperationState = "failed"
)

// KindPurge is the kind of operation that removes everything of a tenant.
const KindPurge = "tenant.purge"

// Operation is work that outlives the call that asked for it (AIP-151).
type Operation struct {
	ID       string
	Kind     string
	TenantID string // "" when it is about no single tenant
	Version  string // release that is removed, of a cleanup
	State    OperationState
	// WithoutSnapshot is the caller's waiver of a verified snapshot; otherwise
	// Snapshot names the one that was verified.
	WithoutSnapshot bool
	Snapshot        string
	Result          PurgeResult
	// Reason and Message say why it failed, or why the last attempt did.
	Reason     Reason
	Message    string
	CreatedBy  string // key id
	CreatedAt  time.Time
	UpdatedAt  time.Time
	FinishedAt time.Time
	Attempts   int
}

// PurgeResult counts what a purge or a cleanup removed, over all attempts, and says when
// it was proven that nothing remains.
type PurgeResult struct {
	Indices     int       `json:"indices"`
	Aliases     int       `json:"aliases"`
	Templates   int       `json:"templates"`
	Quarantined int       `json:"quarantined"` // documents
	Keys        int       `json:"keys"`        // restricted to this tenant alone
	ProvenAt    time.Time `json:"proven_at"`
	// Turns are attempts of a cleanup that got on and left the rest to the next.
	Turns int `json:"turns,omitempty"`
}

// OperationFilter selects operations, newest first.
type OperationFilter struct {
	State    OperationState // "" for all
	Tenants  []string       // nil for all
	Before   time.Time      // with BeforeID, where the page before ended
	BeforeID string
	Limit    int // 1 or more
}

// OperationNotFoundError is the refusal of an operation id that does not exist.
func OperationNotFoundError(id string) error {
	return &Error{Code: CodeNotFound, Reason: ReasonOperationNotFound, Field: "id", Message: fmt.Sprintf("operation %q does not exist", short(id)), Remedy: "list operations (GET /v1/operations)"}
}

// PurgeStore keeps operations. The contract of Store holds for it.
type PurgeStore interface {
	// Tenant returns one tenant.
	Tenant(ctx context.Context, id string) (*Tenant, error)
	// BeginPurge locks the tenant, lets change mark it, stores it and the
	// operation, and wakes a worker. A purge of the tenant that runs already
	// is returned instead. A tenant in a running rollout is
	// ReasonRolloutRunning. dry stores nothing.
	BeginPurge(ctx context.Context, op *Operation, dry bool, a Audit, change func(*Tenant) error) (*Operation, error)
	// PostponePurge locks the tenant, lets change note why it cannot be purged,
	// and stores that. When change returns an error nothing is stored.
	PostponePurge(ctx context.Context, id string, a Audit, change func(*Tenant) error) (*Tenant, error)
	// ClaimPurge makes owner the only one who works on a running operation
	// until the lease ends; nil when it is not due, not running or taken.
	ClaimPurge(ctx context.Context, id, owner string, lease time.Duration) (*Operation, error)
	// ReleasePurge ends owner's claim. It stores result, reason and message;
	// a running operation is due again after pause.
	ReleasePurge(ctx context.Context, op *Operation, owner string, pause time.Duration) error
	// ErasePurged deletes the tenant's quarantined documents and the keys
	// that are restricted to it alone, takes it out of the others' lists, and
	// returns how many documents and keys went.
	ErasePurged(ctx context.Context, tenant string) (documents, keys int, err error)
	// FinishPurge makes sure that the database holds nothing of the tenant,
	// lets change mark it, and ends the operation; all in one transaction.
	// What is left is ReasonPurgeIncomplete.
	FinishPurge(ctx context.Context, op *Operation, owner string, a Audit, change func(*Tenant) error) (*Tenant, error)
	// Operation returns one operation; ReasonOperationNotFound.
	Operation(ctx context.Context, id string) (*Operation, error)
	// Operations returns operations, newest first.
	Operations(ctx context.Context, f OperationFilter) ([]*Operation, error)
}
