package upgrader

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// WaveState is where a wave of a rollout stands.
type WaveState string

// States of a wave. Done and stopped are ends; a tenant of it that is retried
// or rolled back later has a state of its own.
const (
	WavePending  WaveState = "pending"           // waits for the wave before
	WaveOpen     WaveState = "open"              // its tenants may start
	WaveSoaking  WaveState = "soaking"           // all of its tenants have ended; time passes
	WaveChecking WaveState = "checking"          // checks are made until all pass
	WaveAwaiting WaveState = "awaiting_approval" // of an operator
	// WaveFinalizing: the old versions of its tenants are being deleted.
	WaveFinalizing WaveState = "finalizing"
	WaveDone       WaveState = "done"
	WaveStopped    WaveState = "stopped" // nothing of it starts any more
)

// WaveStates lists all of them, in the order in which they are reached.
func WaveStates() []WaveState {
	return []WaveState{WavePending, WaveOpen, WaveSoaking, WaveChecking, WaveAwaiting, WaveFinalizing, WaveDone, WaveStopped}
}

// Ended says that the wave changes no more.
func (s WaveState) Ended() bool { return s == WaveDone || s == WaveStopped }

// Wave is a part of a rollout's tenants that may start together.
type Wave struct {
	Number int // from 1
	Name   string
	State  WaveState
	Reason string // why it stands where it is, in words; may be empty
	Rule   WaveRule
	// Times are zero before they have come. EndedAt is when its last tenant
	// ended, CheckUntil when checks are given up.
	OpenedAt, EndedAt, SoakUntil, CheckUntil, DoneAt time.Time
	ApprovedAt                                       time.Time
	ApprovedBy                                       string
	ChecksWaived                                     bool // by who approved
	// Checks are the results of the last round.
	Checks []CheckResult
	// Forgiven failures are those in spite of which an operator has resumed.
	Forgiven int
	// Tally is counted when the wave is read.
	Tally WaveTally
}

// WaveRule is what the strategy says about one wave, complete.
type WaveRule struct {
	Between       Between       `json:"between,omitzero"`
	FailureBudget FailureBudget `json:"failure_budget"`
}

// WaveTally counts the tenants of a wave.
type WaveTally struct {
	Tenants int // without excepted ones
	Waiting int // not let in yet
	Ended   int // wait for nothing but a command
	Failed  int // of the ended ones: failed or rolled back
	// Old are switched, and what is left of their old version stands; Deleting
	// those of them that were told to delete it. Both are counted in waves that
	// are finalizing only.
	Old, Deleting int
}

// CheckResult is what a check said last.
type CheckResult struct {
	Name string    `json:"name"`
	OK   bool      `json:"ok"`
	Text string    `json:"text"` // what was found, in words
	At   time.Time `json:"at"`
}

// waveTenant is what has to be known of a tenant to find its wave.
type waveTenant struct {
	ID     string
	Labels map[string]string
	Docs   int64
}

// place is a tenant's in a rollout.
type place struct {
	wave     int
	position int // within the wave, from 1
}

// assignment is who goes when.
type assignment struct {
	waves    []Wave
	places   map[string]place
	refusals []Refusal
}

// assignWaves puts every tenant that has to be upgraded into exactly one wave.
// Sizes take the tenants that the priority label puts first, and among these
// the small ones: what goes wrong in an early wave should hit few.
func assignWaves(s *Strategy, tenants []waveTenant) assignment {
	a := &assigner{strategy: s, total: len(tenants), assignment: assignment{places: map[string]place{}}}
	a.left = slices.Clone(tenants)
	slices.SortFunc(a.left, func(x, y waveTenant) int {
		return cmp.Or(a.priority(x, y), cmp.Compare(x.Docs, y.Docs), strings.Compare(x.ID, y.ID))
	})
	if s == nil {
		a.wave(nil, "all", a.left)
		return a.assignment
	}
	if s.Canary != nil {
		a.spec("canary", s.Canary, cmp.Or(s.Canary.Name, "canary"))
	}
	for i := range s.Waves {
		w := &s.Waves[i]
		a.spec(fmt.Sprintf("waves[%d]", i), w, w.Name)
	}
	if len(a.left) > 0 {
		name := "rest"
		if len(a.waves) == 0 {
			name = "all"
		}
		a.wave(nil, name, a.left)
	}
	if n := len(a.waves); n > 0 && (a.latest == nil || a.latest.Between == nil || !a.latest.Between.Finalize) {
		a.waves[n-1].Rule.Between = Between{} // there is nothing to hold back any more
	}
	return a.assignment
}

type assigner struct {
	assignment
	strategy *Strategy
	total    int
	left     []waveTenant
	latest   *WaveSpec // of the latest wave; nil when it is of those who were left
}

// spec makes the wave that is asked for of those who are left.
func (a *assigner) spec(path string, w *WaveSpec, name string) {
	var take func(i int, t waveTenant) bool
	switch {
	case w.Size != "":
		q, _ := parseQuantity(w.Size)
		n := q.n + (a.total*q.percent+99)/100
		take = func(i int, _ waveTenant) bool { return q.rest || i < n }
	case w.Label != "":
		key, value, _ := strings.Cut(w.Label, "=")
		take = func(_ int, t waveTenant) bool { v, ok := t.Labels[key]; return ok && v == value }
		name = cmp.Or(name, w.Label)
	default:
		a.named(path, w.Tenants)
		take = func(_ int, t waveTenant) bool { return slices.Contains(w.Tenants, t.ID) }
	}
	var members, others []waveTenant
	for i, t := range a.left {
		if take(i, t) {
			members = append(members, t)
		} else {
			others = append(others, t)
		}
	}
	if len(members) == 0 {
		if w.Label != "" {
			a.refuse("wave_empty", "", fmt.Sprintf("%s: no tenant that has to be upgraded has label %s, or all of these are in a wave before", path, w.Label),
				"correct the label with `tms tenant update`, or the strategy")
		}
		return
	}
	a.left = others
	a.wave(w, name, members)
}

// named refuses names that cannot be in this wave: a canary that is left out
// silently would be none.
func (a *assigner) named(path string, ids []string) {
	for _, id := range ids {
		if slices.ContainsFunc(a.left, func(t waveTenant) bool { return t.ID == id }) {
			continue
		}
		why := "it has nothing to do, is excepted, or is not part of the rollout"
		if _, taken := a.places[id]; taken {
			why = "it is in a wave before"
		}
		a.refuse("wave_tenant", id, fmt.Sprintf("%s names it, but %s", path, why), "correct the strategy")
	}
}

func (a *assigner) refuse(code, tenant, message, remedy string) {
	a.refusals = append(a.refusals, Refusal{Code: code, TenantID: tenant, Message: message, Remedy: remedy})
}

// wave adds a wave and orders its tenants.
func (a *assigner) wave(w *WaveSpec, name string, members []waveTenant) {
	number := len(a.waves) + 1
	a.latest = w
	slices.SortFunc(members, func(x, y waveTenant) int {
		size := cmp.Compare(y.Docs, x.Docs)
		if a.strategy != nil && a.strategy.Order == OrderSmallFirst {
			size = -size
		}
		return cmp.Or(a.priority(x, y), size, strings.Compare(x.ID, y.ID))
	})
	for i, t := range members {
		a.places[t.ID] = place{wave: number, position: i + 1}
	}
	a.waves = append(a.waves, Wave{
		Number: number, Name: cmp.Or(name, fmt.Sprintf("wave %d", number)), State: WavePending,
		Rule:  WaveRule{Between: a.strategy.betweenOf(w), FailureBudget: a.strategy.budgetOf(w)},
		Tally: WaveTally{Tenants: len(members), Waiting: len(members)},
	})
}

// priority compares by the priority label: numbers, other values, none.
func (a *assigner) priority(x, y waveTenant) int {
	if a.strategy == nil || a.strategy.PriorityLabel == "" {
		return 0
	}
	rank := func(t waveTenant) (class int, n float64, text string) {
		v, ok := t.Labels[a.strategy.PriorityLabel]
		if n, err := strconv.ParseFloat(v, 64); err == nil && n == n {
			return 0, n, ""
		}
		if ok {
			return 1, 0, v
		}
		return 2, 0, ""
	}
	xc, xn, xt := rank(x)
	yc, yn, yt := rank(y)
	return cmp.Or(cmp.Compare(xc, yc), cmp.Compare(xn, yn), strings.Compare(xt, yt))
}
