package upgrader

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tracardi/tms/upgrader/budget"
	"github.com/tracardi/tms/upgrader/capacity"
	"github.com/tracardi/tms/upgrader/strategy"
)

// A gate answers one part of the question "may this tenant start now, and if
// not, why". It is a name and a pure function over observed facts. All of them
// are in one list, so that CLI, API, log and reasons use the same words.

// Gate is one of the questions that a tenant has to pass before it starts.
type Gate struct {
	Name string
	Asks string // the question, for people
	// closed says why the gate is closed, and what to do; "" when it is open.
	closed func(f *Facts) (why, remedy string)
}

// Names of gates.
const (
	GateKillSwitch    = "kill_switch"
	GateNotPaused     = "not_paused"
	GateFailureBudget = "failure_budget"
	GateCanaryDone    = "canary_done"
	GateWaveOpen      = "wave_open"
	GateInWindow      = "in_window"
	GateTenantActive  = "tenant_active"
	GateRehearsed     = "rehearsed"
	GateClusterHealth = "cluster_health"
	GateBudget        = "budget"
	GatePlaceFree     = "place_free"
)

// gates in the order in which they are asked; the first that is closed is the
// reason why a tenant waits. Cheap and lasting answers come first.
var gates = []Gate{
	{GateKillSwitch, "is the kill switch off?", killSwitch},
	{GateNotPaused, "is the rollout running?", notPaused},
	{GateFailureBudget, "have no more tenants of the wave failed than are tolerated?", failureBudget},
	{GateCanaryDone, "is the canary done?", canaryDone},
	{GateWaveOpen, "is the tenant's wave open?", waveOpen},
	{GateInWindow, "is a maintenance window open?", inWindow},
	{GateTenantActive, "is the tenant registered and, where that matters, active?", tenantActive},
	{GateRehearsed, "was the tenant rehearsed well, where that is asked for?", rehearsedWell},
	{GateSnapshotFresh, "does the snapshot that was asked for count as a backup?", snapshotTaken},
	{GateClusterHealth, "does the cluster answer, and is it not red?", clusterHealth},
	{GateShardBudget, "do the tenant's new shards fit below the cluster's limit?", shardBudget},
	{GateDiskHeadroom, "does the tenant's copy fit below the disk watermark?", diskHeadroom},
	{GateBudget, "does the cluster's budget, shared by all rollouts, have a place?", withinBudget},
	{GatePlaceFree, "are fewer tenants of the cluster in flight than max_tenants?", placeFree},
}

// Gates lists name and question of every gate, in the order in which they are
// asked.
func Gates() []Gate { return slices.Clone(gates) }

// Facts are what gates judge. They were observed at most a few seconds ago;
// what is not known says so.
type Facts struct {
	Now time.Time
	// Rollout has its waves, but not its tenants.
	Rollout *Rollout
	Tenant  Candidate
	Stop    *budget.Stop // the kill switch; nil when it is off
	// Load and Cluster are those of the cluster where the tenant lives.
	Load    ClusterLoad
	Cluster ClusterFacts
	// Unrehearsed says of tenants that wait why they count as not rehearsed; nil
	// when the rollout does not ask for rehearsals.
	Unrehearsed map[string]string
	// Snapshots are how far the rollout's snapshots are, by name.
	Snapshots map[string]SnapshotState
}

// Candidate is what gates know of a tenant that waits.
type Candidate struct {
	TenantID string
	Cluster  string // where it lives
	Wave     int
	Position int
	Reason   string // that it shows now
	// NeedShards and NeedBytes are what it needs while both versions stand,
	// replicas included.
	NeedShards int
	NeedBytes  int64
	// Registered is the state in the registry: "active", "suspended",
	// "expired"; "deleted" also for one that is gone.
	Registered string
	// Snapshot is TenantRecord.Snapshot.
	Snapshot string
}

// ClusterLoad is what a rollout has under way in a cluster.
type ClusterLoad struct {
	// InFlight tenants were let in, are not switched, and are not held.
	InFlight int
	// ReservedShards and ReservedBytes are what tenants need that were let in
	// and have not made their indices, or copied, yet.
	ReservedShards int
	ReservedBytes  int64
	// Budget is that of the cluster; nil when it has none. InFlightOfAll counts
	// as InFlight does, over all rollouts and with rehearsals.
	Budget        *BudgetFacts
	InFlightOfAll int
}

// BudgetFacts are what the gate budget judges.
type BudgetFacts struct {
	Tenants int
	Hold    bool   // no further tenant begins
	Reason  string // of its throttle; may be empty
}

// Held is what somebody shows who may not begin beside so many others that are
// in work; "" when there is a place.
func (b BudgetFacts) Held(inWork int) string {
	why, remedy := withinBudget(&Facts{Load: ClusterLoad{Budget: &b, InFlightOfAll: inWork}})
	return Verdict{Gate: GateBudget, Open: why == "", Text: why, Remedy: remedy}.Sentence()
}

// ClusterFacts are what was seen of a cluster.
type ClusterFacts struct {
	Err string // why nothing was seen; the rest is empty then
	// Unasked: nobody could start there, so nobody has asked; the rest is empty.
	Unasked bool
	Health  string // "green", "yellow" or "red"; "" when not asked
	Shards  capacity.Shards
	Disk    capacity.Disk
}

// Verdict is the answer of one gate.
type Verdict struct {
	Gate, Asks string
	Open       bool
	Text       string // why it is closed, in a sentence
	Remedy     string
}

// Sentence is what a tenant that waits shows as its reason.
func (v Verdict) Sentence() string {
	if v.Open {
		return ""
	}
	return Wording("", "gate "+v.Gate+": "+v.Text, v.Remedy, nil)
}

// judge asks every gate.
func judge(f *Facts) []Verdict {
	out := make([]Verdict, 0, len(gates))
	for _, g := range gates {
		why, remedy := g.closed(f)
		out = append(out, Verdict{Gate: g.Name, Asks: g.Asks, Open: why == "", Text: why, Remedy: remedy})
	}
	return out
}

// firstClosed is the first gate that is closed, nil when all are open.
func firstClosed(f *Facts) *Verdict {
	for _, g := range gates {
		if why, remedy := g.closed(f); why != "" {
			return &Verdict{Gate: g.Name, Asks: g.Asks, Text: why, Remedy: remedy}
		}
	}
	return nil
}

func killSwitch(f *Facts) (why, remedy string) {
	if f.Stop == nil {
		return "", ""
	}
	return f.Stop.Sentence(), ""
}

func notPaused(f *Facts) (why, remedy string) {
	switch f.Rollout.Wish {
	case WishPause:
		why = "the rollout is paused"
		if f.Rollout.Reason != "" {
			why += ": " + f.Rollout.Reason
		}
		return why, "`tms upgrade resume " + f.Rollout.ID + "`"
	case WishCancel:
		return "the rollout is being cancelled", "start another one when it has ended"
	}
	return "", ""
}

// wave is the tenant's wave, nil when it is in none.
func (f *Facts) wave() *Wave { return f.Rollout.wave(f.Tenant.Wave) }

// wave of that number, nil when there is none.
func (r *Rollout) wave(number int) *Wave {
	if number < 1 || number > len(r.Waves) {
		return nil
	}
	return &r.Waves[number-1]
}

func failureBudget(f *Facts) (why, remedy string) {
	w := f.wave()
	if w == nil || w.State == WaveDone {
		return "", "" // what is retried there starts without asking
	}
	if w.overBudget() {
		return w.budgetText(), "see `tms upgrade show " + f.Rollout.ID + "`; retry or roll back what failed, or resume in spite of it"
	}
	return "", ""
}

func canaryDone(f *Facts) (why, remedy string) {
	s := f.Rollout.Options.Strategy
	if s == nil || s.Canary == nil || f.Tenant.Wave <= 1 {
		return "", ""
	}
	if c := f.Rollout.wave(1); c != nil && c.State != WaveDone {
		return "the canary is " + c.describe(), c.remedy(f.Rollout.ID)
	}
	return "", ""
}

func waveOpen(f *Facts) (why, remedy string) {
	w := f.wave()
	if w == nil || w.State != WavePending && w.State != WaveStopped {
		return "", ""
	}
	if w.State == WaveStopped {
		return fmt.Sprintf("wave %d is stopped: %s", w.Number, w.Reason), "start another rollout when the cause is removed"
	}
	before := f.Rollout.wave(w.Number - 1)
	if before == nil {
		return fmt.Sprintf("wave %d is about to open", w.Number), ""
	}
	return fmt.Sprintf("wave %d waits for wave %d, which is %s", w.Number, before.Number, before.describe()), before.remedy(f.Rollout.ID)
}

// describe says where a wave stands, in words that change with its state only:
// every tenant that waits for it shows them.
func (w *Wave) describe() string {
	switch w.State {
	case WaveSoaking:
		return "soaking until " + clock(w.SoakUntil)
	case WaveChecking:
		if w.Reason != "" {
			return "being checked: " + w.Reason
		}
		return "being checked"
	case WaveAwaiting:
		return "awaiting approval"
	case WaveFinalizing:
		if w.Reason != "" {
			return "being finalized: " + w.Reason
		}
		return "being finalized"
	}
	return string(w.State)
}

func (w *Wave) remedy(rollout string) string {
	if w.State == WaveAwaiting {
		return fmt.Sprintf("`tms upgrade approve %s --wave %d`", rollout, w.Number)
	}
	if w.State == WaveFinalizing && w.Reason != "" {
		return fmt.Sprintf("it goes on by itself when snapshots hold the old versions (`tms backup create`); `tms upgrade finalize %s --wave %d` tries again, --without-snapshot waives them, audited", rollout, w.Number)
	}
	return ""
}

// clock writes a moment for people.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }

func inWindow(f *Facts) (why, remedy string) {
	s := f.Rollout.Options.Strategy
	if s == nil {
		return "", ""
	}
	open, until := strategy.OpenAt(s.Windows, f.Now)
	if open {
		return "", ""
	}
	return "no maintenance window is open; the next one begins " + clock(until), ""
}

func tenantActive(f *Facts) (why, remedy string) {
	id := f.Tenant.TenantID
	switch f.Tenant.Registered {
	case "deleted":
		return "the tenant is deleted", "nothing: it is excepted at the next look"
	case "", "active":
		return "", ""
	}
	if s := f.Rollout.Options.Strategy; s != nil && s.Inactive == strategy.InactiveWait {
		return "the tenant is " + f.Tenant.Registered, "`tms tenant update " + id + " --state active`, or cancel it here with `tms upgrade cancel " + f.Rollout.ID + " --tenant " + id + "`"
	}
	return "", ""
}

func snapshotTaken(f *Facts) (why, remedy string) {
	// One that never becomes a backup lets tenants in: each then fails with
	// its reason, and the rollout ends.
	name := cmp.Or(f.Tenant.Snapshot, f.Rollout.Options.SnapshotIn(cmp.Or(f.Tenant.Cluster, DefaultCluster)))
	state, known := f.Snapshots[name]
	if !known || state.Done || state.Over {
		return "", ""
	}
	return fmt.Sprintf("snapshot %s is %s", name, state.Text), "`tms backup show " + name + "`"
}

func clusterHealth(f *Facts) (why, remedy string) {
	switch {
	case f.Cluster.Err != "":
		return f.Cluster.Err, "check the cluster, it goes on by itself when it answers"
	case f.Cluster.Health == "red":
		return "the cluster is red: primaries are missing", "see the engine's GET _cluster/allocation/explain"
	}
	return "", ""
}

// room is what the gates for room judge: see room.go, where a worker asks again
// right before it takes what the tenant needs.
func (f *Facts) room() capacity.Room {
	return capacity.Room{
		Shards: f.Cluster.Shards, Disk: f.Cluster.Disk,
		Need:   capacity.Need{Shards: f.Tenant.NeedShards, Bytes: f.Tenant.NeedBytes},
		Others: capacity.Need{Shards: f.Load.ReservedShards, Bytes: f.Load.ReservedBytes},
	}
}

func shardBudget(f *Facts) (why, remedy string) {
	if f.Cluster.Shards.Limit() == 0 || f.Rollout.Options.RaiseShardLimit {
		return "", "" // not known, or raised when the tenant is let in
	}
	return f.room().LacksShards(), ""
}

func diskHeadroom(f *Facts) (why, remedy string) { return f.room().LacksDisk(), "" }

func withinBudget(f *Facts) (why, remedy string) {
	b := f.Load.Budget
	switch {
	case b == nil:
		return "", ""
	case b.Hold:
		why = "no further tenant begins in the cluster"
	case f.Load.InFlightOfAll >= b.Tenants:
		why = fmt.Sprintf("as many tenants are in work in the cluster, over all rollouts and rehearsals, as its budget allows (%d)", b.Tenants)
	default:
		return "", ""
	}
	if b.Reason != "" {
		why += ": " + b.Reason
	}
	return why, "see `tms budget show`"
}

func placeFree(f *Facts) (why, remedy string) {
	if most := f.Rollout.Options.MaxTenants; f.Load.InFlight >= most {
		return fmt.Sprintf("as many tenants of the cluster are in flight as max_tenants allows (%d)", most), ""
	}
	return "", ""
}
