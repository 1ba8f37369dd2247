package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tracardi/tms/internal/fleet"
)

// mostFindings bounds a report: the first say what is wrong.
const mostFindings = 100

// report is what came of a run. Durations are nanoseconds.
type report struct {
	Seed     uint64         `json:"seed"`
	Command  string         `json:"command"` // repeats the schedule
	Faults   map[string]int `json:"faults"`
	Kills    int64          `json:"kills"`
	Forth    int            `json:"forth"`
	Back     int            `json:"back"`
	Judged   int            `json:"judged"` // rounds
	Length   time.Duration  `json:"length"`
	Findings []Finding      `json:"findings"`
	// Troubles are faults that could not be inflicted or healed.
	Troubles []string `json:"troubles,omitempty"`

	Documents    int           `json:"documents"` // judged, in all rounds
	Looks        int64         `json:"looks"`     // of readers
	Acknowledged int64         `json:"acknowledged"`
	Refused      int64         `json:"refused"`
	Uncertain    int64         `json:"uncertain"`
	LongestGap   time.Duration `json:"longest_gap"` // between acknowledged writes of a tenant

	// EndedAfter is how long after the last fault each round's rollouts ended.
	EndedAfter []time.Duration  `json:"ended_after"`
	Takeovers  int              `json:"takeovers"`
	TakenOver  [2]time.Duration `json:"taken_over"` // median and longest
	Kept       string           `json:"kept,omitempty"`

	mu    sync.Mutex
	began time.Time
}

func newReport(o options) *report {
	command := fmt.Sprintf("go run ./robustness --seed %d --processes %d --tenants %d --nodes %d --faults %s --round %s", o.seed, o.processes, o.tenants, o.nodes, strings.Join(o.faults, ","), o.round)
	if o.kills > 0 {
		command += fmt.Sprintf(" --kills %d", o.kills)
	} else {
		command += fmt.Sprintf(" --length %s", o.length)
	}
	return &report{Seed: o.seed, Command: command, Faults: map[string]int{}, Findings: []Finding{}, began: time.Now()}
}

func (r *report) find(f Finding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.At = time.Since(r.began); len(r.Findings) < mostFindings {
		r.Findings = append(r.Findings, f)
	}
}

func (r *report) trouble(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Troubles = append(r.Troubles, err.Error())
}

func (r *report) count(fault string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Faults[fault]++
}

func (r *report) documents(got *fleet.Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Documents += got.Documents
}

// finish asks the readers and adds up.
func (r *report) finish(s *site) {
	s.judgeReaders(r)
	s.takeovers.watch.Wait()
	r.Kills = s.kills.Load()
	r.Takeovers, r.TakenOver[0], r.TakenOver[1] = s.takeovers.summary()
	r.Length = time.Since(r.began)
}

// String is the report in words.
func (r *report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nseed %d: %d rounds (%d forth, %d back) in %s, %d processes killed\n", r.Seed, r.Judged, r.Forth, r.Back, r.Length.Round(time.Second), r.Kills)
	var faults []string
	for _, name := range slices.Sorted(maps.Keys(r.Faults)) {
		faults = append(faults, fmt.Sprintf("%s %d", name, r.Faults[name]))
	}
	fmt.Fprintf(&b, "faults: %s\n", strings.Join(faults, ", "))
	fmt.Fprintf(&b, "writes: %d acknowledged, %d refused, %d never answered; longest gap of a tenant %s\n", r.Acknowledged, r.Refused, r.Uncertain, r.LongestGap.Round(time.Millisecond))
	fmt.Fprintf(&b, "judged: %d documents, %d looks at the aliases\n", r.Documents, r.Looks)
	if len(r.EndedAfter) > 0 {
		fmt.Fprintf(&b, "rollouts ended %s after the last fault at the latest\n", slices.Max(r.EndedAfter).Round(100*time.Millisecond))
	}
	if r.Takeovers > 0 {
		fmt.Fprintf(&b, "%d tenants taken over from dead or frozen processes after %s (median), %s at most\n", r.Takeovers, r.TakenOver[0].Round(100*time.Millisecond), r.TakenOver[1].Round(100*time.Millisecond))
	}
	for _, t := range r.Troubles {
		fmt.Fprintf(&b, "trouble with a fault: %s\n", t)
	}
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "FOUND %s: %s %s\n", f.Rule, f.Tenant, f.What)
	}
	if r.Kept != "" {
		fmt.Fprintf(&b, "logs and record are in %s\n", r.Kept)
	}
	fmt.Fprintf(&b, "again: %s\n", r.Command)
	if len(r.Findings) == 0 {
		b.WriteString("nothing found\n")
	}
	return b.String()
}

func (r *report) write(path string) error {
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(raw, '\n'), 0o600)
}
