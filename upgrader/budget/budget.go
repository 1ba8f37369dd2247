package budget

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// Budget bounds what all rollouts together, in all processes, ask of one
// cluster, and says when the cluster has too much of it.
type Budget struct {
	// Tenants in work at once, CopyTasks of the engine, StateUpdates (indices,
	// templates, aliases, settings) in flight.
	Tenants      int `json:"tenants"`
	CopyTasks    int `json:"copy_tasks"`
	StateUpdates int `json:"state_updates"`
	// DocumentsPerSecond are documents copied, or read to be compared; 0 is not
	// limited. What happens behind a fence is not held back: writers wait for it.
	DocumentsPerSecond float64 `json:"documents_per_second"`
	// Adapt lowers all of these while the cluster is under pressure.
	Adapt bool `json:"adapt"`
	// SearchLatency is pressure when a small search takes longer, SearchSlowdown
	// when it takes so many times as long as at best; 0 does not look.
	SearchLatency  time.Duration `json:"search_latency"`
	SearchSlowdown float64       `json:"search_slowdown"`
	// PendingTasks of the cluster's master and HeapPercent of any node from
	// which on it is pressure; 0 does not look.
	PendingTasks int `json:"pending_tasks"`
	HeapPercent  int `json:"heap_percent"`
}

// DefaultTenants of a cluster are in work at once unless a budget says
// otherwise. A rollout works on no more, nor does a process: one alone is never
// held back by it.
const DefaultTenants = 64

// Default lets through what a cluster of any size bears: as many tenants as
// one rollout may work on at once, four of sixteen updates each, and no more
// copy tasks than a search node has threads for. Adapting to pressure does the
// rest.
func Default() Budget {
	return Budget{
		Tenants: DefaultTenants, CopyTasks: 32, StateUpdates: 64, Adapt: true,
		SearchLatency: time.Second, PendingTasks: 200, HeapPercent: 92,
	}
}

// Bounds of a Budget.
const (
	maxBudgetTenants      = 1_000
	maxBudgetTasks        = 1_000
	maxBudgetUpdates      = 1_000
	MaxDocumentsPerSecond = 100_000_000
)

// Validate names the first field that is out of bounds.
func (b Budget) Validate() error {
	wrong := func(field, message, remedy string) error {
		return &Error{Field: field, Message: message, Remedy: remedy}
	}
	for _, n := range []struct {
		field     string
		v, lo, hi int
		remedy    string
	}{
		{"tenants", b.Tenants, 1, maxBudgetTenants, "give a number of tenants in work at once; to have none begin, use `tms upgrade stop-all`"},
		{"copy_tasks", b.CopyTasks, 1, maxBudgetTasks, "give a number of copy tasks"},
		{"state_updates", b.StateUpdates, 1, maxBudgetUpdates, "give a number of cluster-state updates in flight"},
		{"pending_tasks", b.PendingTasks, 0, math.MaxInt32, "give a number of the cluster's pending tasks, 0 not to look"},
		{"heap_percent", b.HeapPercent, 0, 100, "give a percentage, 0 not to look"},
	} {
		if n.v < n.lo || n.v > n.hi {
			return wrong(n.field, fmt.Sprintf("%d is outside %d..%d", n.v, n.lo, n.hi), n.remedy)
		}
	}
	switch {
	case !(b.DocumentsPerSecond >= 0 && b.DocumentsPerSecond <= MaxDocumentsPerSecond):
		return wrong("documents_per_second", fmt.Sprintf("%g is outside 0..%d", b.DocumentsPerSecond, MaxDocumentsPerSecond), "give documents per second, 0 for no limit")
	case b.SearchLatency < 0 || b.SearchLatency > time.Minute:
		return wrong("search_latency", fmt.Sprintf("%s is outside 0..1m", b.SearchLatency), "give a time such as 250ms, 0 not to look")
	case b.SearchSlowdown != 0 && !(b.SearchSlowdown > 1 && b.SearchSlowdown <= 1000):
		return wrong("search_slowdown", fmt.Sprintf("%g is neither 0 nor between 1 and 1000", b.SearchSlowdown), "give how many times slower than at best a search may get, such as 1.5; 0 not to look")
	}
	return nil
}

// Change is what an operator has set; nil fields follow the environment.
type Change struct {
	Tenants            *int           `json:"tenants,omitempty"`
	CopyTasks          *int           `json:"copy_tasks,omitempty"`
	StateUpdates       *int           `json:"state_updates,omitempty"`
	DocumentsPerSecond *float64       `json:"documents_per_second,omitempty"`
	Adapt              *bool          `json:"adapt,omitempty"`
	SearchLatency      *time.Duration `json:"search_latency,omitempty"`
	SearchSlowdown     *float64       `json:"search_slowdown,omitempty"`
	PendingTasks       *int           `json:"pending_tasks,omitempty"`
	HeapPercent        *int           `json:"heap_percent,omitempty"`
}

func over[T any](v *T, to *T) {
	if v != nil {
		*to = *v
	}
}

// Fields names what the change says, as in JSON, sorted.
func (c Change) Fields() []string {
	raw, err := json.Marshal(c)
	if err != nil {
		panic(err) // numbers and booleans
	}
	said := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &said); err != nil {
		panic(err) // of our own making
	}
	return slices.Sorted(maps.Keys(said))
}

// Over is b with what the change says.
func (c Change) Over(b Budget) Budget {
	over(c.Tenants, &b.Tenants)
	over(c.CopyTasks, &b.CopyTasks)
	over(c.StateUpdates, &b.StateUpdates)
	over(c.DocumentsPerSecond, &b.DocumentsPerSecond)
	over(c.Adapt, &b.Adapt)
	over(c.SearchLatency, &b.SearchLatency)
	over(c.SearchSlowdown, &b.SearchSlowdown)
	over(c.PendingTasks, &b.PendingTasks)
	over(c.HeapPercent, &b.HeapPercent)
	return b
}

// And is c with what a later change says.
func (c Change) And(later Change) Change {
	keep := func(dst, src **int) {
		if *src != nil {
			*dst = *src
		}
	}
	keep(&c.Tenants, &later.Tenants)
	keep(&c.CopyTasks, &later.CopyTasks)
	keep(&c.StateUpdates, &later.StateUpdates)
	keep(&c.PendingTasks, &later.PendingTasks)
	keep(&c.HeapPercent, &later.HeapPercent)
	if later.DocumentsPerSecond != nil {
		c.DocumentsPerSecond = later.DocumentsPerSecond
	}
	if later.Adapt != nil {
		c.Adapt = later.Adapt
	}
	if later.SearchLatency != nil {
		c.SearchLatency = later.SearchLatency
	}
	if later.SearchSlowdown != nil {
		c.SearchSlowdown = later.SearchSlowdown
	}
	return c
}

// Allowance is what is in force: a budget under a throttle.
type Allowance struct {
	Tenants      int
	Hold         bool // no further tenant begins
	CopyTasks    int
	StateUpdates int
	// DocumentsPerSecond, 0 for no limit.
	DocumentsPerSecond float64
}

// Under is what remains of a budget under a throttle: at least one of
// everything, so that nothing stands still for ever.
func (b Budget) Under(t Throttle) Allowance {
	a := Allowance{Tenants: b.Tenants, CopyTasks: b.CopyTasks, StateUpdates: b.StateUpdates, DocumentsPerSecond: b.DocumentsPerSecond}
	if !b.Adapt || !t.Slowed() {
		return a
	}
	part := func(n int) int { return max(1, int(math.Ceil(t.Level*float64(n)))) }
	a.Tenants, a.CopyTasks, a.StateUpdates, a.Hold = part(b.Tenants), part(b.CopyTasks), part(b.StateUpdates), t.Hold
	from := max(t.Peak, assumedPeak)
	if b.DocumentsPerSecond > 0 {
		from = b.DocumentsPerSecond
	}
	a.DocumentsPerSecond = max(slowestDocuments, t.Level*from)
	if b.DocumentsPerSecond > 0 {
		a.DocumentsPerSecond = min(a.DocumentsPerSecond, b.DocumentsPerSecond)
	}
	return a
}

// assumedPeak is what an unlimited copy does at least, in documents per second:
// for pressure that is there before anything was measured.
const assumedPeak = 2_000

// slowestDocuments is the documents per second below which adapting does not
// go: slower means stopped, and that is for the operator to say.
const slowestDocuments = 50

// Stop is the kill switch when it is on.
type Stop struct {
	Reason    string
	StoppedBy string
	StoppedAt time.Time
}

// Sentence says that everything is stopped, by whom and why.
func (s *Stop) Sentence() string {
	return fmt.Sprintf("all rollouts are stopped since %s by %s: %s (`tms upgrade resume-all` lets them go on)", s.StoppedAt.UTC().Format(time.RFC3339), s.StoppedBy, s.Reason)
}

// State is a cluster's budget as it is in force, and its use.
type State struct {
	Cluster   string
	Defaults  Budget // of the environment
	Set       Change // by operators since
	Throttle  Throttle
	Allowance Allowance
	Shares    []Share // of living processes, by owner
	// Tenants in work now, over all rollouts.
	Tenants   int
	ChangedAt time.Time
	ChangedBy string
}

// Budget is what was chosen, without the throttle.
func (s *State) Budget() Budget { return s.Set.Over(s.Defaults) }

// Share is a process's part of a budget, and its use of it.
type Share struct {
	Owner         string
	Tenants       int
	CopyTasks     int // granted
	StateUpdates  int // granted
	WantsTasks    int
	WantsUpdates  int
	Flows         int     // copies and comparisons that share the documents per second
	DocumentsRate float64 // documents per second, measured
}

// Beat is what a process says about itself, many times a minute while it works:
// its share is gone when none has come for TTL.
type Beat struct {
	Cluster, Owner string
	TTL            time.Duration
	Tenants        int
	Tasks, Updates Ask
	Flows          int     // copies and comparisons that share the documents per second
	DocumentsRate  float64 // documents per second, measured
}

// Ask is about slots of one kind: in use, in use and wanted now, and what would
// be good to have beside as long as nobody else wants it.
type Ask struct{ Uses, Wants, Spare int }

// Pulse is what a process hears in answer to its Beat.
type Pulse struct {
	Allowance Allowance
	// Tasks and Updates are the slots that the process may use until the beat's
	// TTL is over.
	Tasks, Updates int
	Flows          int // of all processes
	Stop           *Stop
	Reason         string // of the throttle; "" when nothing is slowed
	// Sample asks the process to look at the cluster: nobody else does for now.
	Sample bool
}

// Store keeps budgets. The adapter lives in package db. Safe for
// concurrent use.
type Store interface {
	// EnsureBudget makes the cluster's budget known, with the environment's
	// values; what operators have set stays.
	EnsureBudget(ctx context.Context, cluster string, defaults Budget) error
	// Beat renews the process's share and hands out slots: never more than the
	// allowance over all living shares, except for those in use. ErrNone:
	// the cluster has none.
	Beat(ctx context.Context, b Beat) (Pulse, error)
	// Leave gives a share back.
	Leave(ctx context.Context, cluster, owner string) error
	// AdaptBudget locks the budget and stores what next makes of its throttle;
	// rate is the documents per second of all processes.
	AdaptBudget(ctx context.Context, cluster string, next func(b Budget, t Throttle, rate float64) Throttle) error

	// Budgets returns all of them, by cluster, and the kill switch, nil when it
	// is off.
	Budgets(ctx context.Context) ([]State, *Stop, error)
	// ChangeBudget locks the budget and stores what change makes of what was
	// set, in the audit trail under the caller. ErrNone: no such cluster.
	ChangeBudget(ctx context.Context, cluster, caller string, change func(State) (Change, error)) error
	// StopAll turns the kill switch on, or ResumeAll off and wakes the workers;
	// false says that it was already. Both are in the audit trail.
	StopAll(ctx context.Context, caller, reason string) (bool, error)
	// ResumeAll is the way back of StopAll.
	ResumeAll(ctx context.Context, caller string) (bool, error)
}
