package backups

import (
	"crypto/rand"
	"regexp"
	"slices"
	"strings"
	"time"
)

// RunKind says what a run does.
type RunKind string

// Kinds of runs.
const (
	RunSnapshot RunKind = "snapshot" // takes a snapshot; afterwards its record
	RunRestore  RunKind = "restore"
)

// State is where a run stands.
type State string

// States of runs. What a snapshot's and a restore's run go through is in Next.
const (
	StatePlanned State = "planned" // nothing is written yet
	// StatePrepared: manifests are stored, the engine is about to be asked.
	StatePrepared State = "prepared"
	// StateRunning: the engine writes the snapshot, or restores.
	StateRunning State = "running"
	// StateRehearsing: a restore that will replace something is first made
	// beside, compared and removed.
	StateRehearsing State = "rehearsing"
	// StateFenced: what will be replaced refuses writes.
	StateFenced State = "fenced"
	// StateVerifying: the engine is done; the outcome is compared.
	StateVerifying State = "verifying"
	// StateSuccess: a snapshot that counts as a backup, or a proven restore.
	StateSuccess State = "success"
	// StatePartial: a snapshot that lacks shards; it never counts.
	StatePartial State = "partial"
	// StateFailed: see Reason; a failed snapshot never counts.
	StateFailed State = "failed"
	// StateDeleting: a snapshot, or what a restore put beside, is being removed.
	StateDeleting State = "deleting"
	StateDeleted  State = "deleted"
)

// Ended says that nothing happens any more without a new command.
func (s State) Ended() bool {
	return slices.Contains([]State{StateSuccess, StatePartial, StateFailed, StateDeleted}, s)
}

// Progress is counted in shards: the unit in which the engine works.
type Progress struct {
	Shards     int   `json:"shards"`
	ShardsDone int   `json:"shards_done"`
	Bytes      int64 `json:"bytes,omitempty"` // to be written, or that were; 0 unknown
	BytesDone  int64 `json:"bytes_done,omitempty"`
}

// Selection says whose data a snapshot holds. Exactly one of its fields is
// set; Tenants and Labels may be combined and must then both match.
type Selection struct {
	All     bool              `json:"all,omitempty"`
	Tenants []string          `json:"tenants,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	// Rollout selects the tenants of a rollout.
	Rollout string `json:"rollout,omitempty"`
}

// Run is one piece of work on a repository, and its record afterwards.
type Run struct {
	// ID of a snapshot's run is the snapshot's name: sortable by time.
	ID         string
	Kind       RunKind
	State      State
	Repository string
	Tenants    []string // sorted
	// Policy asked for it, "" for none.
	Policy string

	Progress Progress
	Reason   string   // why it waits, or failed
	Notes    []string // remarks for the operator

	// Snapshot is set for RunSnapshot, Restore for RunRestore.
	Snapshot *Snapshot
	Restore  *Restore

	CreatedBy  string
	CreatedAt  time.Time
	StartedAt  time.Time // when the engine was asked first
	FinishedAt time.Time // zero while it works
	// Revision grows with every change.
	Revision int64
	Attempts int // consecutive failed attempts at the current state
	NextAt   time.Time
}

// Snapshot is what is particular to a run that takes a snapshot.
type Snapshot struct {
	Selection Selection `json:"selection"`
	Digest    bool      `json:"digest,omitempty"` // digests of documents were asked for
	// Purpose says who asked, for lists: "", "rollout", "policy NAME".
	Purpose  string            `json:"purpose,omitempty"`
	Releases map[string]string `json:"releases,omitempty"` // tenant -> release
	Indices  int               `json:"indices"`
	Docs     int64             `json:"docs"`
	// Bytes is what the snapshot's indices hold; Written what was new in the
	// repository, because snapshots share files. -1 unknown.
	Bytes   int64 `json:"bytes"`
	Written int64 `json:"written"`
	// TakenFrom and TakenUntil are the engine's own times.
	TakenFrom  time.Time `json:"taken_from,omitzero"`
	TakenUntil time.Time `json:"taken_until,omitzero"`
	// Starts counts how often the engine was asked: one that is restarted in
	// the middle forgets.
	Starts int `json:"starts,omitempty"`
	// Imported was found in the repository rather than taken by this TMS.
	Imported bool `json:"imported,omitempty"`
}

// Restore is what is particular to a restore.
type Restore struct {
	Snapshot string `json:"snapshot"`
	Tenant   string `json:"tenant"`
	// Beside is the prefix under which indices are put beside the tenant's
	// own, "" for a restore in place.
	Beside string `json:"beside,omitempty"`
	// Replace allows existing indices to be replaced.
	Replace bool `json:"replace,omitempty"`
	// Resources narrows the restore; empty is everything.
	Resources []string `json:"resources,omitempty"`
	// NoRehearsal replaces without having restored beside before.
	NoRehearsal bool `json:"no_rehearsal,omitempty"`
	// Remove takes what was put beside away once it is verified (a drill).
	Remove bool `json:"remove,omitempty"`
	// Drill: the restore is made to see whether it can be.
	Drill bool `json:"drill,omitempty"`

	Plan RestorePlan `json:"plan"`
	// Verified is the outcome of the comparison.
	Verified *Verification `json:"verified,omitempty"`
	// Rehearsed is set when the rehearsal came out equal.
	Rehearsed *Verification `json:"rehearsed,omitempty"`
	FencedAt  time.Time     `json:"fenced_at,omitzero"`
	// Fence is how long writes were refused or nothing was there.
	Fence time.Duration `json:"fence,omitempty"`
	// Engine is how long the engine took.
	Engine time.Duration `json:"engine,omitempty"`
	// Starts counts how often the engine was asked in the present state.
	Starts int `json:"starts,omitempty"`
	// OrphanedAt is when primaries were first seen that the engine no longer
	// restores; zero when there are none.
	OrphanedAt time.Time `json:"orphaned_at,omitzero"`
}

// Verification says what a restored tenant was compared by.
type Verification struct {
	Indices  int       `json:"indices"`
	Docs     int64     `json:"docs"`
	Digested int       `json:"digested"` // indices compared document by document
	Moving   int       `json:"moving"`   // indices written to while the snapshot was taken: sequence numbers bound them
	At       time.Time `json:"at"`
}

// snapshotTime is how a snapshot's name tells its time, in UTC.
const snapshotTime = "20060102t150405z"

// snapshotName is how the names of our snapshots look.
var snapshotName = regexp.MustCompile(`^tms-\d{8}t\d{6}z-[a-z2-7]{6}$`)

// NewSnapshotName names a snapshot: sortable by time, unique.
func NewSnapshotName(now time.Time) string {
	return "tms-" + now.UTC().Format(snapshotTime) + "-" + strings.ToLower(rand.Text()[:6])
}

// IsSnapshotName says whether TMS made the name.
func IsSnapshotName(name string) bool { return snapshotName.MatchString(name) }

// NewRestoreID names a restore: sortable by time, unique.
func NewRestoreID(now time.Time) string {
	return "restore-" + now.UTC().Format(snapshotTime) + "-" + strings.ToLower(rand.Text()[:6])
}

// ManifestIndex is the name of the small index that carries the manifests
// into a snapshot. No tenant's pattern matches it.
func ManifestIndex(snapshot string) string {
	return "tms-manifest-" + strings.TrimPrefix(snapshot, "tms-")
}
