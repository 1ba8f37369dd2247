package upgrader

import (
	"time"

	"github.com/tracardi/tms/upgrader/strategy"
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
	Rule   strategy.Rule
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

// assignWaves makes the waves of a rollout as its strategy wants them.
func assignWaves(s *strategy.File, tenants []strategy.Tenant) assignment {
	groups, objections := strategy.Assign(s, tenants)
	a := assignment{places: make(map[string]place, len(tenants))}
	for i, g := range groups {
		for j, id := range g.Tenants {
			a.places[id] = place{wave: i + 1, position: j + 1}
		}
		a.waves = append(a.waves, Wave{
			Number: i + 1, Name: g.Name, State: WavePending, Rule: g.Rule,
			Tally: WaveTally{Tenants: len(g.Tenants), Waiting: len(g.Tenants)},
		})
	}
	for _, o := range objections {
		a.refusals = append(a.refusals, Refusal(o))
	}
	return a
}
