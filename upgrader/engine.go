package upgrader

import (
	"context"
	"encoding/json"
	"time"

	"github.com/tracardi/tms/upgrader/capacity"
	"github.com/tracardi/tms/upgrader/stream"
)

// Engine is what the upgrade needs from a search cluster. The adapter lives in
// package elastic; tests may use a fake for answers that no real engine gives
// on demand.
//
// Contract for every method: it returns when ctx ends; it never retries a call
// that is not idempotent; errors of the engine are *EngineError; names are
// given and returned as the engine knows them. All methods are safe for
// concurrent use.
type Engine interface {
	// Info names product, version and abilities of the cluster.
	Info(ctx context.Context) (EngineInfo, error)
	// Shards tells how many shards are open and how many may be.
	Shards(ctx context.Context) (capacity.Shards, error)

	// Indices lists the indices matching any of the patterns, with aliases,
	// settings and mapping, sorted by name. Nothing found is an empty slice.
	Indices(ctx context.Context, patterns ...string) ([]Index, error)
	// Stats returns documents, bytes and the per-shard sequence numbers of the
	// primaries of every index matching the patterns, keyed by index name.
	Stats(ctx context.Context, patterns ...string) (map[string]IndexStats, error)
	// Aliases returns alias -> indices, for aliases matching the patterns.
	Aliases(ctx context.Context, patterns ...string) (map[string][]string, error)
	// Templates returns the composable index templates matching the pattern.
	Templates(ctx context.Context, pattern string) ([]Template, error)

	// CreateIndex creates an index and does not wait for its shards.
	// An index that already exists is ErrAlreadyExists.
	CreateIndex(ctx context.Context, name string, body IndexBody) error
	// Clone makes an index out of the segments of another one that refuses
	// writes, at a cost that does not depend on its size, and does not wait for
	// the target's shards. The target has the source's mapping, its documents
	// with their sequence numbers, none of its aliases, and its settings,
	// except for those named in settings (below "index", dotted): nil is the
	// engine's default. The block may be lifted when Clone has returned; what
	// is written from then on may or may not be in the target. A target that
	// already exists is ErrAlreadyExists.
	Clone(ctx context.Context, source, target string, settings map[string]any) error
	// PutMapping adds the fields that a mapping has and exactly these indices
	// have not, and replaces their _meta.
	PutMapping(ctx context.Context, mapping map[string]any, names ...string) error
	// DeleteIndices deletes exactly these indices, never a pattern. Missing
	// ones count as deleted.
	DeleteIndices(ctx context.Context, names ...string) error
	// PutSettings changes dynamic settings of exactly these indices.
	PutSettings(ctx context.Context, settings map[string]any, names ...string) error
	// PutTemplate creates the composable template of that name, or replaces it.
	PutTemplate(ctx context.Context, t Template) error
	// DeleteTemplate deletes one; missing counts as deleted.
	DeleteTemplate(ctx context.Context, name string) error

	// AwaitQuiet waits until the changes of the cluster's state that were asked
	// for before are made, but no longer than most; that they are not is no error.
	AwaitQuiet(ctx context.Context, most time.Duration) error
	// BlockWrites puts the write block on the indices matching the patterns
	// through the block API, which returns only when no write is in flight,
	// and returns the names it blocked, sorted.
	BlockWrites(ctx context.Context, patterns ...string) ([]string, error)
	// UnblockWrites removes the write block from exactly these indices, also one
	// that BlockWrites has begun and not finished.
	UnblockWrites(ctx context.Context, names ...string) error
	// UpdateAliases performs all actions in one atomic cluster-state update.
	UpdateAliases(ctx context.Context, actions []AliasAction) error

	// Refresh shows what was written so far to all that see what was refreshed.
	// Patterns that match no index do no harm.
	Refresh(ctx context.Context, patterns ...string) error
	// Count counts the documents of each index, in one round trip where the
	// engine can. The result has an entry for every name.
	Count(ctx context.Context, names ...string) (map[string]int64, error)

	// StartReindex starts the engine's own copy task and returns its id.
	StartReindex(ctx context.Context, r Reindex) (taskID string, err error)
	// ReindexTasks lists running copy tasks whose opaque id starts with prefix.
	ReindexTasks(ctx context.Context, opaquePrefix string) ([]ReindexTask, error)
	// ReindexTask reports one task, running or finished. A task the engine no
	// longer knows is ErrNotFound.
	ReindexTask(ctx context.Context, taskID string) (ReindexTask, error)
	// Rethrottle changes the documents per second of a running copy task, over
	// all of its slices; 0 is unthrottled. A task that the engine no longer
	// knows is ErrNotFound.
	Rethrottle(ctx context.Context, taskID string, perSecond float64) error
	// CancelTask asks a task and its children to stop; unknown is no error.
	CancelTask(ctx context.Context, taskID string) error

	// Page reads documents of one shard in the order of their sequence
	// numbers: those with From < _seq_no <= To. It sees what was refreshed.
	Page(ctx context.Context, p stream.PageRequest) ([]stream.Doc, error)
	// Fetch reads the documents of one shard of each of several indices in one
	// round trip, in no order, as far as refreshed: up to most of them, below
	// 10000; whole says that these are all. Every index must have that shard.
	Fetch(ctx context.Context, shard, most int, indices ...string) (docs []stream.Doc, whole bool, err error)
	// SeqNoCounts counts the documents of one shard with _seq_no <= to, per
	// stretch of width sequence numbers, keyed by the first number of the
	// stretch (a multiple of width); empty stretches are absent. It sees what
	// was refreshed.
	SeqNoCounts(ctx context.Context, index string, shard int, to, width int64) (map[int64]int64, error)
	// Get fetches documents by id, in real time (refreshed or not). Documents
	// that do not exist are absent from the result.
	Get(ctx context.Context, index string, ids []string) (map[string]stream.Doc, error)
	// FindIDs is an existence check: which of ids exist in which of the
	// indices, as far as refreshed. Keyed by index name.
	FindIDs(ctx context.Context, indices []string, ids []string) (map[string][]string, error)
	// Bulk writes and answers for every operation, in order. An error means
	// that nothing is known about any of them.
	Bulk(ctx context.Context, ops []BulkOp) ([]BulkResult, error)

	// CheckScript compiles a Painless script for update/reindex and returns
	// the engine's complaint as an error.
	CheckScript(ctx context.Context, source string, params map[string]any) error
	// CheckIndex says whether the engine would make an index of this body: what
	// it does not know of the mapping or the settings is the error. Nothing is
	// made.
	CheckIndex(ctx context.Context, body IndexBody) error
}

// EngineInfo is what a cluster says of itself.
type EngineInfo struct {
	Product     string // "elasticsearch" or "opensearch"
	Version     string
	ClusterUUID string
	ClusterName string
	DataNodes   int
	Flattened   string // mapping type for flattened objects: "flattened", "flat_object", or "" when it has none
}

// Index is one index as the cluster holds it.
type Index struct {
	Name    string
	UUID    string
	Aliases []string // sorted
	// Settings is the "index" object, nested, values as the engine returns
	// them (strings).
	Settings map[string]any
	// Mapping is as the engine has it: dynamic, properties, _meta.
	Mapping map[string]any
	// WriteBlocked is index.blocks.write.
	WriteBlocked bool
}

// IndexStats are figures of the primaries of an index.
type IndexStats struct {
	Docs      int64 // live documents as far as refreshed
	Bytes     int64 // of the primaries' store
	Primaries int
	Replicas  int // of each primary
	// Checkpoints is the global checkpoint per shard number; -1 for a shard
	// that never saw a write.
	Checkpoints map[int]int64
	// MaxSeqNo is the highest sequence number in use per shard number, like
	// Checkpoints: operations between both are still under way.
	MaxSeqNo map[int]int64
}

// IndexBody is what an index is created with.
type IndexBody struct {
	Settings map[string]any      `json:"settings,omitempty"` // below "index"
	Mappings map[string]any      `json:"mappings,omitempty"`
	Aliases  map[string]struct{} `json:"aliases,omitempty"` // names, without filters
}

// Template is a composable index template.
type Template struct {
	Name     string
	Patterns []string
	Priority *int64 // nil is the engine's: the lowest
	Body     IndexBody
	// Raw is the engine's own rendering, kept so that what TMS changed can be
	// put back unaltered; PutTemplate sends Raw when Body is empty.
	Raw json.RawMessage
}

// AliasAction adds an alias to, or removes it from, one index; or deletes the
// index.
type AliasAction struct {
	Remove bool
	Index  string
	Alias  string
	// MustExist has the whole call refused when the alias to remove is not
	// there, where the engine can (see elastic.Capability).
	MustExist bool
	// Drop deletes the index, as part of the call; Alias is empty then.
	Drop bool
}

// Reindex is one copy by the engine.
type Reindex struct {
	Source string
	Target string
	// RequireAlias: Target is the name of an alias, and must be.
	RequireAlias bool
	Script       string         // Painless, "" for none
	Params       map[string]any // of Script
	Slices       int            // 1 or more
	RPS          float64        // documents per second over all slices; 0 is unthrottled
	Batch        int            // documents per scroll page; 0 is the engine's default
	OpaqueID     string         // tags the task so that a restarted worker finds it
}

// ReindexTask is the state of a copy task, in documents, summed over its slices.
type ReindexTask struct {
	ID        string
	OpaqueID  string
	Completed bool
	Cancelled bool
	Total     int64 // in its source when it began
	Created   int64
	Updated   int64
	Deleted   int64
	Noops     int64 // dropped by the script
	// Failures are documents the target refused; the engine stops at the
	// first batch that has one, so the list is never complete.
	Failures []DocFailure
	// Err is the task's own error (a script that does not compile, an index
	// that is gone), in the engine's words; "" when there is none.
	Err string
}

// DocFailure is a document that the engine refused.
type DocFailure struct {
	Index, ID    string
	Type, Reason string
}

// BulkOp writes (Source set) or deletes (Delete) one document.
type BulkOp struct {
	Index   string
	ID      string
	Routing string
	Source  json.RawMessage
	Delete  bool
	// RequireAlias: Index is the name of an alias, and must be.
	RequireAlias bool
	// Script, in Painless, is performed on Source before it is stored, as
	// _reindex would; a document that it drops is deleted.
	Script string
	Params map[string]any // of Script
	// Create refuses (409) an id that is there already.
	Create bool
	// If refuses (409) unless the document still is this version; nil does not
	// ask.
	If *Version
}

// Version names one version of a document.
type Version struct{ SeqNo, Term int64 }

// BulkResult answers one BulkOp. OK is also set when a document to delete was
// not there.
type BulkResult struct {
	OK     bool
	Status int // HTTP status of this operation
	Type   string
	Reason string
}

// noop is the Type of a document that a BulkOp's script has dropped.
const noop = "noop"

// DroppedResult answers a BulkOp whose script has dropped the document.
func DroppedResult() BulkResult {
	return BulkResult{Status: 200, Type: noop, Reason: "the script drops the document"}
}

// Dropped says that the operation's script has dropped the document.
func (r BulkResult) Dropped() bool { return r.Type == noop }

// Retryable says that the same operation may succeed later without change
// (queue full, shard moving), as opposed to a document that is refused.
func (r BulkResult) Retryable() bool {
	return !r.OK && (r.Status == 429 || r.Status >= 500)
}
