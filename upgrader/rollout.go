package upgrader

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/tracardi/tms/upgrader/budget"
	"github.com/tracardi/tms/upgrader/naming"
	"github.com/tracardi/tms/upgrader/shardlimit"
	"github.com/tracardi/tms/upgrader/strategy"
	"github.com/tracardi/tms/upgrader/stream"
)

// RolloutState is where a rollout as a whole stands. It follows from the
// states of its tenants and from what the operator wants: see Summarize.
type RolloutState string

// States of a rollout. Complete, failed, cancelled, rolled_back and finalized
// are ends: nothing happens any more without a new command.
const (
	RolloutRunning    RolloutState = "running"
	RolloutPaused     RolloutState = "paused"
	RolloutComplete   RolloutState = "complete"    // every tenant is switched; rollback is possible
	RolloutFailed     RolloutState = "failed"      // nothing runs any more and at least one tenant failed
	RolloutCancelled  RolloutState = "cancelled"   // stopped by the operator, what was not switched is undone
	RolloutRolledBack RolloutState = "rolled_back" // at least one tenant went back, none is left in between
	RolloutFinalized  RolloutState = "finalized"   // old versions deleted, no way back
)

// Ended says that the rollout waits for nothing but a new command.
func (s RolloutState) Ended() bool { return s != RolloutRunning && s != RolloutPaused }

// Wish is what the operator wants the rollout as a whole to do.
type Wish string

// Wishes.
const (
	WishRun    Wish = "run"
	WishPause  Wish = "pause"
	WishCancel Wish = "cancel"
	// WishStop is never stored: it stands for the kill switch.
	WishStop Wish = "stop"
)

// VerifyLevel says how much of a copy is compared before the switch.
type VerifyLevel string

// Verification levels. Counts behind the fence, the documents touched since
// the comparison, and mappings are checked at every level.
const (
	VerifyCount  VerifyLevel = "count"
	VerifySample VerifyLevel = "sample"
	VerifyFull   VerifyLevel = "full"
)

// Options are what the operator chose at the start of a rollout.
type Options struct {
	// Tenants to upgrade; empty means the whole fleet.
	Tenants []string `json:"tenants,omitempty"`
	// Clusters narrow these to tenants that live there; empty means all.
	Clusters []string    `json:"clusters,omitempty"`
	Verify   VerifyLevel `json:"verify"`
	// AllowQuarantine is the number of quarantined documents per tenant up to
	// which a tenant is switched.
	AllowQuarantine int `json:"allow_quarantine"`
	// MaxTenants in flight at once over all processes.
	MaxTenants int `json:"max_tenants"`
	// HoldSwitch stops every tenant before its fence until the operator says
	// switch; copies go on catching up.
	HoldSwitch bool `json:"hold_switch"`
	// FenceTimeout bounds the time in which a tenant's writes are refused;
	// past it the fence is lifted and the tenant catches up again.
	FenceTimeout time.Duration `json:"fence_timeout"`
	// RequestsPerSecond throttles each engine copy task, in documents per
	// second; 0 is unthrottled.
	RequestsPerSecond float64 `json:"requests_per_second"`
	// Methods overrides the method of a target resource, by its key, or of all
	// others with AllResources. A choice for one resource that is impossible
	// refuses the rollout; one for all of them applies where it can.
	Methods map[string]Method `json:"methods,omitempty"`
	// Snapshot is "" or SnapshotBefore; SnapshotRepositories say where to, at
	// most one for each cluster. What was taken is set at the start: the
	// SnapshotName where all tenants live in one cluster, or else Snapshots by
	// cluster; SnapshotIn knows both.
	Snapshot             string            `json:"snapshot,omitempty"`
	SnapshotRepositories []string          `json:"snapshot_repositories,omitempty"`
	SnapshotName         string            `json:"snapshot_name,omitempty"`
	Snapshots            map[string]string `json:"snapshots,omitempty"`
	// RaiseShardLimit has TMS raise cluster.max_shards_per_node as far as the
	// rollout needs, and put it back: see shardlimit.Limit.
	RaiseShardLimit bool `json:"raise_shard_limit,omitempty"`
	// FinalizeAfter is how long after its end the rollout's old versions are
	// deleted; 0 is never by itself. See Retention.
	FinalizeAfter time.Duration `json:"finalize_after,omitempty"`
	// RequireRehearsal lets a tenant start only after a rehearsal that came out
	// well: see Rehearsed.
	RequireRehearsal bool `json:"require_rehearsal,omitempty"`
	// Strategy says in which waves; nil is all at once.
	Strategy *strategy.File `json:"strategy,omitempty"`
	// Except leaves tenants out on purpose, with the reason.
	Except map[string]string `json:"except,omitempty"`
}

// Defaults and bounds of Options.
const (
	DefaultMaxTenants   = 4
	MaxMaxTenants       = budget.DefaultTenants
	DefaultFenceTimeout = 10 * time.Second
	// MaxQuarantine is the number of documents per tenant past which the
	// tenant fails: more is not an odd document, but a wrong transform.
	MaxQuarantine = 10_000
)

// WithDefaults fills what was left out.
func (o Options) WithDefaults() Options {
	if o.Verify == "" {
		o.Verify = VerifyFull
	}
	if o.MaxTenants == 0 {
		o.MaxTenants = DefaultMaxTenants
	}
	if o.FenceTimeout == 0 {
		o.FenceTimeout = DefaultFenceTimeout
	}
	if o.FinalizeAfter == 0 && o.Strategy != nil {
		o.FinalizeAfter, _ = strategy.ParseSpan(o.Strategy.FinalizeAfter) // Problems says what is wrong with it
	}
	return o
}

// Rollout is one upgrade of a fleet, or of a part of it, to one release.
type Rollout struct {
	ID         string
	ToRelease  string
	Options    Options
	State      RolloutState
	Wish       Wish
	Reason     string // why it is in this state, in words; may be empty
	CreatedBy  string
	CreatedAt  time.Time
	FinishedAt time.Time // zero while it runs
	// Revision grows with every change of the rollout or of any of its
	// tenants, so that a watcher sees at a glance whether to look again.
	Revision int64
	Tenants  []RolloutTenant // sorted by TenantID
	Waves    []Wave          // by number; none in rollouts from before there were waves
	// Behind are the releases of which a tenant has to be upgraded when the
	// rollout is one of the whole fleet ("0.8.1.*" are all minor ones of
	// 0.8.1); empty otherwise.
	Behind []string
	// Missing are tenants that came into being on one of these meanwhile and
	// could not join.
	Missing []MissingTenant
	// Claims are what the rollout needs of the shard limit of each cluster;
	// none without Options.RaiseShardLimit.
	Claims []shardlimit.Claim
	// Retention says when its old versions are deleted; nil when only a command
	// does.
	Retention *Retention
}

// TenantState is where one tenant of a rollout stands.
type TenantState string

// States of a tenant in a rollout, in the order in which they are reached.
const (
	TenantPlanned  TenantState = "planned"
	TenantPrepared TenantState = "prepared" // target indices and templates stand
	TenantCopying  TenantState = "copying"  // copies run
	TenantCopied   TenantState = "copied"   // every document as of the checkpoint is in the target
	TenantCompared TenantState = "compared" // both sides compared at a checkpoint; held here with HoldSwitch
	TenantFenced   TenantState = "fenced"   // writes to the old version are refused
	TenantVerified TenantState = "verified" // the proof is stored
	TenantSwitched TenantState = "switched" // aliases and registry are on the new release
	// On the way back, after a rollback was asked for. In the first of these the
	// new version is in use, its writes are carried back meanwhile; in the
	// others writes to it are refused.
	TenantReturning      TenantState = "returning"
	TenantReturnFenced   TenantState = "return_fenced"
	TenantReturnVerified TenantState = "return_verified" // everything is back; the aliases are about to move
	TenantFinalized      TenantState = "done"            // old version deleted
	TenantFailed         TenantState = "failed"          // see Reason; nothing of the tenant is fenced
	TenantCancelled      TenantState = "cancelled"       // undone
	TenantRolledBack     TenantState = "rolled_back"     // back on the old release
)

// tenantStates lists all of them.
var tenantStates = []TenantState{
	TenantPlanned, TenantPrepared, TenantCopying, TenantCopied, TenantCompared, TenantFenced, TenantVerified, TenantSwitched,
	TenantReturning, TenantReturnFenced, TenantReturnVerified, TenantFinalized, TenantFailed, TenantCancelled, TenantRolledBack,
}

// TenantStates lists all states of a tenant in a rollout.
func TenantStates() []TenantState { return slices.Clone(tenantStates) }

// EndedStates lists those in which a tenant waits for nothing but a command.
func EndedStates() []TenantState {
	return slices.DeleteFunc(TenantStates(), func(s TenantState) bool { return !s.Ended() })
}

// Intent is a command to one tenant that its worker carries out.
type Intent string

// Intents.
const (
	IntentNone     Intent = ""
	IntentCancel   Intent = "cancel"   // undo and end; before the switch only
	IntentRollback Intent = "rollback" // after the switch only
	IntentFinalize Intent = "finalize" // after the switch only
	IntentRecheck  Intent = "recheck"  // errands: see Errand
	IntentRepair   Intent = "repair"
	IntentRedrive  Intent = "redrive"
)

// RolloutTenant is one tenant's part of a rollout.
type RolloutTenant struct {
	RolloutID   string
	TenantID    string
	Cluster     string // where it lives
	FromRelease string
	State       TenantState
	Intent      Intent
	// IntentDone is the intent that has just been carried out, or has failed.
	IntentDone Intent
	// Commands counts what the operator has said, so that a worker that goes
	// to sleep notices what it has not heard.
	Commands int64
	// SwitchAllowed lets a held tenant pass; always true without HoldSwitch.
	SwitchAllowed bool
	// Wave is the number of its wave, 0 for none; Position its place in it.
	Wave, Position int
	// Waiting tenants have not been let in by the gates; no worker looks at
	// them, unless they have an intent.
	Waiting bool
	// Excepted says why the tenant is left out on purpose; its state is
	// cancelled then, and the rollout may be complete without it.
	Excepted string
	// NeedShards and NeedBytes are what it needs while both versions stand.
	NeedShards int
	NeedBytes  int64
	Reason     string // last error, or what it waits for
	Retriable  bool   // a failed tenant that `retry` may help
	Attempts   int    // consecutive failed attempts at the current state
	NextAt     time.Time
	Epoch      int64 // grows with every change of ownership: fences writes of a former owner
	LeaseOwner string
	LeaseUntil time.Time

	Indices     int            // target indices
	ByMethod    map[Method]int // target indices by method
	Documents   int64          // copied so far; after the switch: proven
	DocsTotal   int64          // planned
	Quarantined int            // documents in quarantine that count against AllowQuarantine
	Fence       time.Duration  // length of the last fence
	FenceTries  int            // fences so far, lifted ones included
	Record      TenantRecord   // what was found and changed, to resume and to go back
	// OldTemplates are the old version's templates as they were. They are
	// large: stored by the first worker (Store.KeepOldTemplates) and read
	// through Store.OldTemplates only.
	OldTemplates []Template
	Proof        *Proof    // set at verified
	StartedAt    time.Time // zero before the first worker took it
	FinishedAt   time.Time // when it was switched, or ended otherwise
}

// TenantRecord remembers what TMS found before it changed anything, so that
// every change can be repeated after a crash and undone.
type TenantRecord struct {
	// OldIndices are the exact names of the old version's indices.
	OldIndices []string `json:"old_indices,omitempty"`
	// NewTemplates are names of templates of the new version.
	NewTemplates []string `json:"new_templates,omitempty"`
	// AliasesBefore is alias -> indices before the switch.
	AliasesBefore map[string][]string `json:"aliases_before,omitempty"`
	// AliasesAfter is alias -> indices after the switch.
	AliasesAfter map[string][]string `json:"aliases_after,omitempty"`
	// FencedAt is when the work of the current fence began; zero when lifted.
	FencedAt time.Time `json:"fenced_at,omitzero"`
	// BlockedAt is when writes began to be refused; zero when they are not,
	// or no longer because of a fence.
	BlockedAt time.Time `json:"blocked_at,omitzero"`
	// QuietAt is since when other tenants hold back what changes the state of
	// the cluster, because writes are refused, or about to be; zero as FencedAt.
	QuietAt time.Time `json:"quiet_at,omitzero"`
	// Cloning is the source index whose writes are refused for the moment in
	// which it is cloned; "" at all other times. Whoever finds it set lifts the
	// block before anything else.
	Cloning string `json:"cloning,omitempty"`
	// Refused is how many writes the last fence has refused, estimated; nil
	// when that is not known.
	Refused *int64 `json:"refused,omitempty"`
	// SeqNoAtSwitch is the highest sequence number per target index and
	// shard at the switch: what is above was written by the new version.
	SeqNoAtSwitch map[string]map[int]int64 `json:"seq_no_at_switch,omitempty"`
	// Return is what a rollback has done so far; nil without one.
	Return *Return `json:"return,omitempty"`
	// WritesSinceSwitch is filled by a rollback: write operations that the
	// new version had taken.
	WritesSinceSwitch int64 `json:"writes_since_switch,omitempty"`
	// Guard is the epoch of the owner that the guards in the engine are named
	// after, see guard.go.
	Guard int64 `json:"guard,omitempty"`
	// Bytes of the sources' primaries, as planned.
	Bytes int64 `json:"bytes,omitempty"`
	// AdoptedFrom is the tenant's of the registry, see Naming.
	AdoptedFrom string `json:"adopted_from,omitempty"`
	// Minor is set for a minor upgrade, and says what it has added.
	Minor *Minor `json:"minor,omitempty"`
	// Snapshot is that of a tenant that joined the rollout when those before it
	// were taken already; "" for all others.
	Snapshot string `json:"snapshot,omitempty"`
	// Notes are remarks of the plan and the run, for the operator.
	Notes []string `json:"notes,omitempty"`
}

// Method is how a target index gets its documents.
type Method string

// Methods.
const (
	MethodCreate  Method = "create"  // nothing to copy
	MethodReindex Method = "reindex" // one source
	MethodMerge   Method = "merge"   // several sources into one target
	MethodClone   Method = "clone"   // one source, hard-linked by the engine
)

// MoveState is where one target index stands.
type MoveState string

// States of a move.
const (
	MovePlanned MoveState = "planned"
	MoveCreated MoveState = "created"
	MoveCopying MoveState = "copying"
	MoveCopied  MoveState = "copied"
)

// Move is one target index and the sources that go into it.
type Move struct {
	Target    string
	Resource  string // key in the target release
	Mode      naming.Mode
	Partition string // "" when unpartitioned
	Method    Method
	Why       string
	State     MoveState
	// Light moves were created with their final settings, because they hold
	// too little for relaxed ones to pay.
	Light  bool
	Copies []Copy
	// Replicas wanted after copying.
	Replicas int
	// ComparedAt is the checkpoint per source index and shard at which both
	// sides were compared.
	ComparedAt map[string]stream.Checkpoint
	Digest     string // of the comparison
	// DigestAt is the checkpoint per source index and shard that Digest is of.
	DigestAt  map[string]stream.Checkpoint
	Documents int64 // in the target, as last counted
	// Wrote counts the operations that the target has taken from TMS. Each takes
	// a sequence number: when more are used, somebody else wrote as well.
	Wrote int64 `json:",omitempty"`
	// Kept targets were there before the rollout and hold what only the new
	// release knows: a rollback has left them, and they are taken over.
	Kept bool `json:",omitempty"`
}

// CopyState is where the copy of one source stands.
type CopyState string

// States of a copy.
const (
	CopyPlanned   CopyState = "planned"
	CopyRunning   CopyState = "running"   // by the engine's own task
	CopyStreaming CopyState = "streaming" // document by document, through TMS
	CopyDone      CopyState = "copied"
)

// Copy is one source index of a move.
type Copy struct {
	Source   string    `json:"source"`
	Resource string    `json:"resource"` // key in the source release
	State    CopyState `json:"state"`
	Docs     int64     `json:"docs"`  // at plan time
	Bytes    int64     `json:"bytes"` // of its primaries, at plan time
	Shards   int       `json:"shards"`
	// Planned is the number of writes that the source had taken at plan time:
	// it is cold as long as it has taken no more.
	Planned    int64             `json:"planned,omitempty"`
	Task       string            `json:"task,omitempty"`       // of the engine, while it runs
	Tries      int               `json:"tries,omitempty"`      // times that its task was started
	Checkpoint stream.Checkpoint `json:"checkpoint,omitempty"` // up to which the target has all
	Streamed   stream.Checkpoint `json:"streamed,omitempty"`   // progress of a streaming copy
	Copied     int64             `json:"copied"`               // documents so far
	Pace       Pace              `json:"pace,omitzero"`
	// Stalls counts how often its task got nowhere and was started again.
	Stalls int `json:"stalls,omitempty"`
	// Refusals counts how often documents of it were refused to its task.
	Refusals int `json:"refusals,omitempty"`
	// Foreign sources belong into another partition by their name; only what
	// goes by its date comes from them.
	Foreign bool `json:"foreign,omitempty"`
	// Apart foreign sources have had no document for the target so far.
	Apart bool `json:"apart,omitempty"`
}

// Proof says why the switch was allowed.
type Proof struct {
	Level   VerifyLevel `json:"level"`
	Verdict string      `json:"verdict"` // "equal"
	// Documents in the new version at the fence.
	Documents int64 `json:"documents"`
	// Compared documents, one by one or by digest.
	Compared int64 `json:"compared"`
	// Unseen resources have raw Painless in their transform: that their
	// documents are there was compared, not what they hold.
	Unseen []string `json:"unseen,omitempty"`
	// Delta documents compared behind the fence.
	Delta         int64        `json:"delta"`
	Quarantined   int          `json:"quarantined"`
	BundleDigests []string     `json:"bundle_digests"`
	TakenAt       time.Time    `json:"taken_at"`
	Indices       []IndexProof `json:"indices"`
	// Where and by what it was taken. UUIDs are those of all indices it is
	// about, by name.
	TMS         string            `json:"tms,omitempty"`
	Engine      string            `json:"engine,omitempty"`
	ClusterName string            `json:"cluster_name,omitempty"`
	ClusterUUID string            `json:"cluster_uuid,omitempty"`
	UUIDs       map[string]string `json:"uuids,omitempty"`
}

// DigestOf says which documents a digest is of.
type DigestOf string

// What digests are of.
const (
	// DigestAtFence is of all documents behind the fence: nothing was written
	// between the comparison and the fence.
	DigestAtFence DigestOf = "fence"
	// DigestAtComparison is of the documents at the comparison; what was
	// written afterwards was compared one by one.
	DigestAtComparison DigestOf = "comparison"
	// DigestSealed is of all documents behind the fence, taken by a recheck.
	DigestSealed DigestOf = "sealed"
)

// IndexProof is the part of a proof that belongs to one target index. SourceDocs
// were in its sources, without those that belong elsewhere, and TargetDocs in it;
// Quarantined ones account for the difference. Checkpoints are those of the
// sources, by name, at the comparison.
type IndexProof struct {
	Target      string                       `json:"target"`
	Sources     []string                     `json:"sources,omitempty"`
	SourceDocs  int64                        `json:"source_docs"`
	TargetDocs  int64                        `json:"target_docs"`
	Quarantined int64                        `json:"quarantined,omitempty"`
	Digest      string                       `json:"digest,omitempty"`
	DigestOf    DigestOf                     `json:"digest_of,omitempty"`
	Checkpoints map[string]stream.Checkpoint `json:"checkpoints,omitempty"`
	MappingHash string                       `json:"mapping_hash"`
}

// QuarantineKind says why a document is kept aside.
type QuarantineKind string

// Kinds of quarantined documents. Leftovers and dropped documents do not
// count against Options.AllowQuarantine.
const (
	QuarantineRefused   QuarantineKind = "refused"   // by the target mapping or by the transform
	QuarantineDuplicate QuarantineKind = "duplicate" // the older of two documents with one id, merged into one index
	QuarantineDropped   QuarantineKind = "dropped"   // the transform drops it on purpose
	QuarantineLeftover  QuarantineKind = "leftover"  // found in an index that stood in the way of a target, or in a target to which somebody else wrote
	// QuarantineNotCarriedBack was written to the new version since the switch,
	// and the old release cannot hold it, or not all of it.
	QuarantineNotCarriedBack QuarantineKind = "not_carried_back"
)

// Counts says whether this kind counts against Options.AllowQuarantine.
func (k QuarantineKind) Counts() bool {
	return k == QuarantineRefused || k == QuarantineDuplicate
}

// Quarantined is a document that was not migrated, kept whole.
type Quarantined struct {
	RolloutID string
	TenantID  string
	Index     string // where it was found
	ID        string
	Target    string // where it should have gone
	Kind      QuarantineKind
	Reason    string
	Source    json.RawMessage // as found
	At        time.Time
	// Resolved documents are done: Outcome says how. What they held is
	// forgotten.
	Resolved bool
	Outcome  string
}
