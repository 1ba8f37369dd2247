package backups

import (
	"context"
	"time"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/capacity"
	"github.com/tracardi/tms/upgrader/naming"
	"github.com/tracardi/tms/upgrader/stream"
)

// Engine is what backups need from a search cluster: a part of
// upgrader.Engine, under its contract, and the snapshot calls. The adapter
// lives in package elastic.
type Engine interface {
	Indices(ctx context.Context, patterns ...string) ([]upgrader.Index, error)
	Stats(ctx context.Context, patterns ...string) (map[string]upgrader.IndexStats, error)
	Aliases(ctx context.Context, patterns ...string) (map[string][]string, error)
	Templates(ctx context.Context, pattern string) ([]upgrader.Template, error)
	Refresh(ctx context.Context, patterns ...string) error
	Page(ctx context.Context, p stream.PageRequest) ([]stream.Doc, error)
	Shards(ctx context.Context) (capacity.Shards, error)

	CreateIndex(ctx context.Context, name string, body upgrader.IndexBody) error
	DeleteIndices(ctx context.Context, names ...string) error
	PutTemplate(ctx context.Context, t upgrader.Template) error
	DeleteTemplate(ctx context.Context, name string) error
	BlockWrites(ctx context.Context, patterns ...string) ([]string, error)
	UnblockWrites(ctx context.Context, names ...string) error
	UpdateAliases(ctx context.Context, actions []upgrader.AliasAction) error
	Bulk(ctx context.Context, ops []upgrader.BulkOp) ([]upgrader.BulkResult, error)

	Snapshots
	NativePolicies
}

// Snapshots are the engine's snapshot calls. Names are exact.
type Snapshots interface {
	// Nodes lists the nodes that have to reach a repository.
	Nodes(ctx context.Context) ([]Node, error)
	// PutRepository registers or replaces, without verification.
	PutRepository(ctx context.Context, r Repository) error
	// DeleteRepository forgets a repository, not what is in it; missing counts
	// as deleted.
	DeleteRepository(ctx context.Context, name string) error
	// Repositories lists what the engine has registered, ours or not.
	Repositories(ctx context.Context) ([]Repository, error)
	// VerifyRepository has every node write to the repository and returns
	// their names. A failure is a *VerifyError; ErrNotFound when the engine
	// does not know the repository.
	VerifyRepository(ctx context.Context, name string) ([]string, error)

	// StartSnapshot asks for a snapshot and does not wait. ErrExists, ErrBusy,
	// or ErrNotFound when an index or the repository is missing.
	StartSnapshot(ctx context.Context, r SnapshotRequest) error
	// Snapshot describes one; ErrNotFound.
	Snapshot(ctx context.Context, repository, name string) (EngineSnapshot, error)
	// ListSnapshots describes all snapshots of a repository.
	ListSnapshots(ctx context.Context, repository string) ([]EngineSnapshot, error)
	// SnapshotProgress is cheap while the snapshot runs; afterwards the engine
	// reads a file per shard for it. ErrNotFound.
	SnapshotProgress(ctx context.Context, repository, name string) (Progress, error)
	// DeleteSnapshot deletes one, or stops one that runs. It answers when it
	// is gone; missing counts as deleted. ErrBusy.
	DeleteSnapshot(ctx context.Context, repository, name string) error

	// StartRestore asks for a restore and does not wait. ErrBusy; ErrExists
	// when an open index has the name already.
	StartRestore(ctx context.Context, r RestoreRequest) error
	// CloseIndices closes exactly these indices: they refuse everything, but
	// their names stay taken. OpenIndices is the way back.
	CloseIndices(ctx context.Context, names ...string) error
	OpenIndices(ctx context.Context, names ...string) error
	// IndexStates tells about exactly these indices and their primaries in one
	// consistent look; missing ones are absent.
	IndexStates(ctx context.Context, names ...string) (map[string]IndexState, error)
}

// SnapshotRequest asks for a snapshot of exactly these indices.
type SnapshotRequest struct {
	Repository, Name string
	Indices          []string
	// Metadata is stored with the snapshot; at most 1,024 bytes as JSON.
	Metadata map[string]any
}

// Engine states of a snapshot.
const (
	EngineInProgress = "IN_PROGRESS"
	EngineSuccess    = "SUCCESS"
	EnginePartial    = "PARTIAL"
	EngineFailed     = "FAILED"
)

// EngineSnapshot is a snapshot as the engine describes it.
type EngineSnapshot struct {
	Name     string
	State    string // EngineSuccess, ...
	Reason   string
	Indices  []string
	Metadata map[string]any
	From     time.Time
	Until    time.Time
	Shards   int
	Failed   int // shards
	Failures []string
}

// RestoreRequest asks for a restore of exactly these indices.
type RestoreRequest struct {
	Repository, Snapshot string
	Indices              []string
	// Prefix is put in front of every name; "" restores under the same name.
	Prefix string
	// Replicas of the restored indices; nil as in the snapshot.
	Replicas *int
	// Blocked: they refuse writes, whatever they did in the snapshot.
	Blocked bool
}

// IndexState is an index, open or closed, with its primaries.
type IndexState struct {
	Closed bool
	Shards []ShardState
}

// ShardState is one primary.
type ShardState struct {
	Shard   int
	Started bool
	// Failure is why the engine has given up on it, "" when it has not.
	Failure string
	// Orphaned: unassigned, but no longer because of a restore, as after a
	// restart of the engine in the middle of one.
	Orphaned bool
}

// VerifyError is a failed verification.
type VerifyError struct {
	// Nodes maps node names to what went wrong there; empty when the engine
	// named none.
	Nodes   map[string]string
	Message string
}

func (e *VerifyError) Error() string { return e.Message }

// Store keeps repositories, runs and manifests. The adapter lives in package
// db.
//
// Contract: every method is one transaction; ErrNotFound when the row is not
// there. Methods that take a Lease change nothing and return ErrLeaseLost when
// the run's epoch is no longer the lease's. Safe for concurrent use.
type Store interface {
	PutRepository(ctx context.Context, r Repository, a tenants.Audit) error
	Repository(ctx context.Context, name string) (*Repository, error)
	Repositories(ctx context.Context) ([]Repository, error)
	// DeleteRepository forgets a repository and the records of its snapshots.
	// A run that works on it, and a policy, is ErrConflict.
	DeleteRepository(ctx context.Context, name string, a tenants.Audit) error

	// Select returns registered tenants that are not purged, sorted by id.
	Select(ctx context.Context, s Selection) ([]Tenant, error)

	// CreateRun stores a run and wakes the workers. A request id that was
	// used before returns the run it made. A restore in place of a tenant that
	// a rollout works on, or that another run restores, is an *Error with
	// ReasonRefused.
	CreateRun(ctx context.Context, r *Run, requestID string, a tenants.Audit) (*Run, error)
	// ImportRun stores an ended run with its manifests; one that is there
	// already is left alone, and false.
	ImportRun(ctx context.Context, r *Run, manifests []Manifest) (bool, error)
	Run(ctx context.Context, id string) (*Run, error)
	Runs(ctx context.Context, f Filter) ([]*Run, error)
	// ChangeRun locks a run that nobody needs a lease for, lets change alter
	// it, and wakes the workers.
	ChangeRun(ctx context.Context, id string, a tenants.Audit, change func(*Run) error) (*Run, error)

	// Manifests returns those of a snapshot, sorted by tenant; none named
	// means all.
	Manifests(ctx context.Context, snapshot string, tenants ...string) ([]Manifest, error)

	// Doubts are the snapshots whose last drill failed, and that drill.
	Doubts(ctx context.Context) (map[string]string, error)

	// Due returns runs that have something to do now and no living owner.
	Due(ctx context.Context, limit int) ([]string, error)
	// Acquire takes the lease of a run that is due. ErrConflict: somebody else
	// has it, it is not due, or another run has to end first: one run at a
	// time writes to a repository.
	Acquire(ctx context.Context, id, owner string, ttl time.Duration) (*Lease, error)
	Extend(ctx context.Context, l *Lease, ttl time.Duration) error
	// Release gives the lease back; next says when to look again.
	Release(ctx context.Context, l *Lease, next time.Time) error
	// SaveRun stores the run under its lease, unless a command has changed its
	// state meanwhile: then ErrConflict.
	SaveRun(ctx context.Context, l *Lease, r *Run) error
	// SaveManifests replaces the manifests of a snapshot, under its lease.
	SaveManifests(ctx context.Context, l *Lease, manifests []Manifest) error
	// MarkRestored is SaveRun plus the registry's release of the tenant, in
	// one transaction.
	MarkRestored(ctx context.Context, l *Lease, r *Run, release string) error

	PolicyStore
}

// Lease is the right to work on one run.
type Lease struct {
	Run   string
	Owner string
	Epoch int64
	// Until is the local time until which the lease is certainly ours.
	Until time.Time
}

// Filter selects runs, newest first.
type Filter struct {
	Kind       RunKind // "" for all
	Repository string
	Tenant     string
	// Visible restricts to runs whose tenants are all among these; nil for all.
	Visible []string
	States  []State
	Policy  string // "" for all
	Drills  bool   // only drills
	Before  string // id of the last one seen; "" from the newest
	Limit   int    // 1 or more
}

// Tenant is what backups need to know of a registered tenant.
type Tenant struct {
	ID      string
	Cluster string // where it lives
	Release string
	State   string
	Labels  map[string]string
	// AdoptedFrom is the tenant's of the registry, see naming.Tenant.
	AdoptedFrom string
	// Rollout is the id of an unfinished rollout that works on it.
	Rollout string
}

func (t Tenant) naming() naming.Tenant {
	return naming.Tenant{ID: t.ID, AdoptedFrom: t.AdoptedFrom}
}

// Catalogue knows the releases, *releases.Catalogue.
type Catalogue interface {
	List() []*releases.Release
	Get(version string) (*releases.Release, error)
	ByPrefix(prefix string) (*releases.Release, error)
}
