package upgrader

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tracardi/tms/upgrader/budget"
	"github.com/tracardi/tms/upgrader/capacity"
	"github.com/tracardi/tms/upgrader/strategy"
)

var sunday = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) // a Sunday

// One row per arrow of a wave.
func TestAdvance(t *testing.T) {
	t.Parallel()
	all := WaveTally{Tenants: 2, Ended: 2}
	failed := WaveTally{Tenants: 2, Ended: 1, Failed: 1, Waiting: 1}
	ended := func(w Wave) Wave { w.EndedAt, w.SoakUntil = sunday.Add(-time.Hour), sunday.Add(-time.Minute); return w }
	checks := []strategy.Check{{Webhook: &strategy.WebhookCheck{URL: "https://x"}}}
	for _, c := range []struct {
		name   string
		wave   Wave
		wish   Wish
		want   WaveState
		paused bool
		stops  bool
	}{
		{"opens", Wave{State: WavePending, Tally: WaveTally{Tenants: 2, Waiting: 2}}, WishRun, WaveOpen, false, false},
		{"stays closed while paused", Wave{State: WavePending, Tally: WaveTally{Tenants: 2, Waiting: 2}}, WishPause, WavePending, false, false},
		{"works", Wave{State: WaveOpen, Tally: WaveTally{Tenants: 2, Ended: 1}}, WishRun, WaveOpen, false, false},
		{"done", Wave{State: WaveOpen, Tally: all}, WishRun, WaveDone, false, false},
		{"soaks", Wave{State: WaveOpen, Tally: all, Rule: strategy.Rule{Between: strategy.Between{Soak: "1h"}}}, WishRun, WaveSoaking, false, false},
		{"has soaked", ended(Wave{State: WaveSoaking, Tally: all, Rule: strategy.Rule{Between: strategy.Between{Soak: "1h"}}}), WishRun, WaveDone, false, false},
		{"is tried again while it soaks", ended(Wave{State: WaveSoaking, Tally: WaveTally{Tenants: 2, Ended: 1}}), WishRun, WaveOpen, false, false},
		{"checks", ended(Wave{State: WaveSoaking, Tally: all, Rule: strategy.Rule{Between: strategy.Between{Checks: checks}}}), WishRun, WaveChecking, false, false},
		{"checks passed", ended(Wave{State: WaveChecking, Tally: all, CheckUntil: sunday.Add(time.Minute), Checks: []CheckResult{{OK: true}}, Rule: strategy.Rule{Between: strategy.Between{Checks: checks}}}), WishRun, WaveDone, false, false},
		{"checks go on", ended(Wave{State: WaveChecking, Tally: all, CheckUntil: sunday.Add(time.Minute), Checks: []CheckResult{{}}, Rule: strategy.Rule{Between: strategy.Between{Checks: checks}}}), WishRun, WaveChecking, false, false},
		{"checks did not pass: pause", ended(Wave{State: WaveChecking, Tally: all, CheckUntil: sunday, Checks: []CheckResult{{}}, Rule: strategy.Rule{Between: strategy.Between{Checks: checks}, FailureBudget: strategy.FailureBudget{Then: strategy.ThenPause}}}), WishRun, WaveChecking, true, false},
		{"checks did not pass: stop", ended(Wave{State: WaveChecking, Tally: all, CheckUntil: sunday, Checks: []CheckResult{{}}, Rule: strategy.Rule{Between: strategy.Between{Checks: checks}, FailureBudget: strategy.FailureBudget{Then: strategy.ThenStop}}}), WishRun, WaveStopped, false, true},
		{"checks did not pass: continue", ended(Wave{State: WaveChecking, Tally: all, CheckUntil: sunday, Checks: []CheckResult{{}}, Rule: strategy.Rule{Between: strategy.Between{Checks: checks}, FailureBudget: strategy.FailureBudget{Then: strategy.ThenContinue}}}), WishRun, WaveDone, false, false},
		{"checks waived", ended(Wave{State: WaveChecking, Tally: all, CheckUntil: sunday.Add(time.Minute), ChecksWaived: true, Rule: strategy.Rule{Between: strategy.Between{Checks: checks}}}), WishRun, WaveDone, false, false},
		{"awaits approval", Wave{State: WaveOpen, Tally: all, Rule: strategy.Rule{Between: strategy.Between{Approval: true}}}, WishRun, WaveAwaiting, false, false},
		{"approved", ended(Wave{State: WaveAwaiting, Tally: all, ApprovedAt: sunday, Rule: strategy.Rule{Between: strategy.Between{Approval: true}}}), WishRun, WaveDone, false, false},
		{"finalizes when approved", ended(Wave{State: WaveAwaiting, Tally: all, ApprovedAt: sunday, Rule: strategy.Rule{Between: strategy.Between{Approval: true, Finalize: true}}}), WishRun, WaveFinalizing, false, false},
		{"soaks before it finalizes", Wave{State: WaveOpen, Tally: all, Rule: strategy.Rule{Between: strategy.Between{Soak: "1h", Finalize: true}}}, WishRun, WaveSoaking, false, false},
		{"is approved before it finalizes", Wave{State: WaveOpen, Tally: all, Rule: strategy.Rule{Between: strategy.Between{Approval: true, Finalize: true}}}, WishRun, WaveAwaiting, false, false},
		{"old versions stand", ended(Wave{State: WaveFinalizing, Tally: WaveTally{Tenants: 2, Ended: 2, Old: 1}, Rule: strategy.Rule{Between: strategy.Between{Finalize: true}}}), WishRun, WaveFinalizing, false, false},
		{"old versions are being deleted", ended(Wave{State: WaveFinalizing, Tally: WaveTally{Tenants: 2, Ended: 2, Old: 1, Deleting: 1}, Rule: strategy.Rule{Between: strategy.Between{Finalize: true}}}), WishRun, WaveFinalizing, false, false},
		{"old versions stand, paused", ended(Wave{State: WaveFinalizing, Tally: all, Rule: strategy.Rule{Between: strategy.Between{Finalize: true}}}), WishPause, WaveFinalizing, false, false},
		{"finalized", ended(Wave{State: WaveFinalizing, Tally: all, Rule: strategy.Rule{Between: strategy.Between{Finalize: true}}}), WishRun, WaveDone, false, false},
		{"finalized, checks passed before", ended(Wave{State: WaveFinalizing, Tally: all, CheckUntil: sunday, Checks: []CheckResult{{}}, Rule: strategy.Rule{Between: strategy.Between{Checks: checks, Finalize: true}}}), WishRun, WaveDone, false, false},
		{"one goes back while others are finalized", ended(Wave{State: WaveFinalizing, Tally: WaveTally{Tenants: 2, Ended: 1}, Rule: strategy.Rule{Between: strategy.Between{Finalize: true}}}), WishRun, WaveOpen, false, false},
		{"too many failed: pause", Wave{State: WaveOpen, Tally: failed, Rule: strategy.Rule{FailureBudget: strategy.FailureBudget{Tolerate: "0", Then: strategy.ThenPause}}}, WishRun, WaveOpen, true, false},
		{"too many failed: stop", Wave{State: WaveOpen, Tally: failed, Rule: strategy.Rule{FailureBudget: strategy.FailureBudget{Tolerate: "0", Then: strategy.ThenStop}}}, WishRun, WaveStopped, false, true},
		{"too many failed: continue", Wave{State: WaveOpen, Tally: failed, Rule: strategy.Rule{FailureBudget: strategy.FailureBudget{Tolerate: "0", Then: strategy.ThenContinue}}}, WishRun, WaveOpen, false, false},
		{"tolerated", Wave{State: WaveOpen, Tally: failed, Rule: strategy.Rule{FailureBudget: strategy.FailureBudget{Tolerate: "50%", Then: strategy.ThenStop}}}, WishRun, WaveOpen, false, false},
		{"forgiven", Wave{State: WaveOpen, Forgiven: 1, Tally: failed, Rule: strategy.Rule{FailureBudget: strategy.FailureBudget{Tolerate: "0", Then: strategy.ThenStop}}}, WishRun, WaveOpen, false, false},
		{"nobody is left in it", Wave{State: WaveOpen, Rule: strategy.Rule{Between: strategy.Between{Approval: true}}}, WishRun, WaveDone, false, false},
	} {
		c.wave.Number = 1
		r := &Rollout{ID: "r", State: RolloutRunning, Wish: c.wish, Waves: []Wave{c.wave, {Number: 2, State: WavePending, Tally: WaveTally{Tenants: 1, Waiting: 1}}}}
		d := advance(r, sunday)
		require.Equal(t, c.want, r.Waves[0].State, c.name)
		require.Equal(t, c.paused, d.Pause != "", c.name)
		require.Equal(t, c.stops, d.StopReason != "", c.name)
		next := WavePending
		switch c.want {
		case WaveDone:
			next = WaveOpen
		case WaveStopped:
			next = WaveStopped
		}
		require.Equal(t, next, r.Waves[1].State, c.name)
	}
}

// The last wave is finalized when it says so itself, but not when more of it
// failed than are tolerated: then somebody looks first. Until then the rollout
// goes on.
func TestLastWaveFinalizes(t *testing.T) {
	t.Parallel()
	tenants := []strategy.Tenant{{ID: "a"}, {ID: "b"}}
	between := &strategy.Between{Finalize: true, Approval: true}
	s := &strategy.File{Between: strategy.Between{Finalize: true}, Waves: []strategy.Wave{{Size: "1"}, {Size: "rest", Between: between}}}
	waves := assignWaves(s, tenants).waves
	require.Equal(t, strategy.Between{Finalize: true}, waves[0].Rule.Between)
	require.Equal(t, *between, waves[1].Rule.Between)
	s.Waves = s.Waves[:1]
	require.Zero(t, assignWaves(s, tenants).waves[1].Rule.Between, "what holds between waves holds after none")

	at := func(tally WaveTally, then strategy.Action) *Rollout {
		return &Rollout{ID: "r", State: RolloutRunning, Wish: WishRun, Tenants: []RolloutTenant{{State: TenantSwitched}}, Waves: []Wave{{
			Number: 1, State: WaveOpen, Tally: tally, Rule: strategy.Rule{Between: strategy.Between{Finalize: true}, FailureBudget: strategy.FailureBudget{Tolerate: "0", Then: then}},
		}}}
	}
	r := at(WaveTally{Tenants: 2, Ended: 2}, strategy.ThenPause)
	advance(r, sunday)
	require.Equal(t, WaveFinalizing, r.Waves[0].State)
	state, _ := settle(r, sunday)
	require.Equal(t, RolloutRunning, state)
	r.Wish = WishPause
	state, _ = settle(r, sunday)
	require.Equal(t, RolloutPaused, state)
	r.Wish = WishRun
	advance(r, sunday)
	require.Equal(t, WaveDone, r.Waves[0].State)
	state, _ = settle(r, sunday)
	require.Equal(t, RolloutComplete, state)

	r = at(WaveTally{Tenants: 2, Ended: 2, Failed: 1}, strategy.ThenPause)
	require.Contains(t, advance(r, sunday).Events[0], "is not finalized: 1 of 2 tenants")
	require.Equal(t, WaveDone, r.Waves[0].State)
	r = at(WaveTally{Tenants: 2, Ended: 2, Failed: 1}, strategy.ThenContinue)
	advance(r, sunday)
	require.Equal(t, WaveFinalizing, r.Waves[0].State)
}

// Who may be told to delete the old version: who has one and did not try in vain.
func TestFinalizable(t *testing.T) {
	t.Parallel()
	old := TenantRecord{OldIndices: []string{"08x.a.x"}}
	r := &Rollout{Tenants: []RolloutTenant{
		{TenantID: "a", Wave: 1, State: TenantSwitched, Record: old},
		{TenantID: "b", Wave: 1, State: TenantSwitched, Record: old, Reason: "alias x reads it"},
		{TenantID: "c", Wave: 1, State: TenantSwitched, Record: old, Intent: IntentFinalize},
		{TenantID: "d", Wave: 1, State: TenantFailed, Record: old},
		{TenantID: "e", Wave: 1, State: TenantFinalized, Record: old},
		{TenantID: "f", Wave: 1, State: TenantSwitched},
		{TenantID: "g", Wave: 2, State: TenantSwitched, Record: old},
	}}
	may, kept := r.finalizable(1)
	require.Equal(t, []string{"a"}, may)
	require.Equal(t, []string{"tenant b: alias x reads it"}, kept)
}

// Peaks with the waves finalized that the strategy says, one row each: 100
// shards are open, and a tenant needs 50 and gives 40 back.
func TestForecastFinalizes(t *testing.T) {
	t.Parallel()
	for name, one := range map[string]struct {
		finalize []bool
		peaks    []int
		most     int
	}{
		"none":      {[]bool{false, false, false}, []int{150, 200, 250}, 250},
		"all":       {[]bool{true, true, false}, []int{150, 160, 170}, 170},
		"the first": {[]bool{true, false, false}, []int{150, 160, 210}, 210},
	} {
		var waves []Wave
		var members [][]TenantPlan
		for i, f := range one.finalize {
			waves = append(waves, Wave{Number: i + 1, Rule: strategy.Rule{Between: strategy.Between{Finalize: f}}})
			members = append(members, []TenantPlan{needing(50, 40, 0)})
		}
		c := &ClusterPlan{Cluster: DefaultCluster, Shards: capacity.ShardForecast{Now: 100, DataNodes: 2}, Forecast: capacity.Forecast{ShardsPeak: 250, Disk: capacity.DiskForecast{Disk: capacity.Disk{Used: 5}}}}
		var peaks []int
		for i, f := range c.forecastWaves(waves, members, 1) {
			peaks = append(peaks, f.ShardsPeak)
			require.Equal(t, []int{150, 160, 170}[i], f.ShardsPeakFinalizing, name)
		}
		require.Equal(t, one.peaks, peaks, name)
		require.Equal(t, one.most, c.Forecast.ShardsPeak, name)
		require.Equal(t, one.most, c.Shards.Peak, name)
		require.Equal(t, one.most/2, c.Shards.Needed, name)
	}
}

// Whatever happens in whatever order, no wave opens before the one before it
// is done, and the rollout ends.
func TestWavesEnd(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := &Rollout{ID: "r", State: RolloutRunning, Wish: WishRun, Options: Options{MaxTenants: 2}}
		n := rapid.IntRange(1, 4).Draw(t, "waves")
		waiting, working := map[int]int{}, map[int]int{}
		for i := range n {
			rule := strategy.Rule{FailureBudget: strategy.FailureBudget{Tolerate: "0", Then: rapid.SampledFrom([]strategy.Action{strategy.ThenPause, strategy.ThenStop, strategy.ThenContinue}).Draw(t, "then")}}
			rule.Between.Approval = rapid.Bool().Draw(t, "approval")
			rule.Between.Finalize = rapid.Bool().Draw(t, "finalize")
			size := rapid.IntRange(1, 3).Draw(t, "size")
			r.Waves = append(r.Waves, Wave{Number: i + 1, State: WavePending, Rule: rule, Tally: WaveTally{Tenants: size, Waiting: size}})
			waiting[i+1] = size
		}
		now := sunday
		view := func() *View {
			v := &View{Rollout: r, Waiting: map[int][]string{}, Loads: map[string]ClusterLoad{}}
			for w := 1; w <= n; w++ {
				for k := range waiting[w] {
					v.Waiting[w] = []string{"default"}
					if s := r.Waves[w-1].State; s != WavePending {
						v.Candidates = append(v.Candidates, Candidate{TenantID: fmt.Sprintf("w%d-%d", w, k), Cluster: "default", Wave: w, Position: k})
					}
				}
				v.Loads["default"] = ClusterLoad{InFlight: v.Loads["default"].InFlight + working[w]}
			}
			return v
		}
		look := func() {
			d := decide(view(), admission{now: now})
			for i := 1; i < n; i++ {
				if s := r.Waves[i].State; s != WavePending && s != WaveStopped {
					require.Equal(t, WaveDone, r.Waves[i-1].State)
					require.True(t, !r.Waves[i-1].Rule.Between.Finalize || r.Waves[i-1].Tally.Old == 0, "old versions stand")
				}
			}
			if d == nil {
				return
			}
			for _, id := range d.LetIn {
				var w, k int
				_, err := fmt.Sscanf(id, "w%d-%d", &w, &k)
				require.NoError(t, err)
				waiting[w]--
				working[w]++
				r.Waves[w-1].Tally.Waiting--
			}
			if d.StopReason != "" {
				for w := range waiting {
					r.Waves[w-1].Tally.Ended += waiting[w]
					r.Waves[w-1].Tally.Waiting, waiting[w] = 0, 0
				}
			}
		}
		end := func(w int, failed bool) {
			if working[w] == 0 {
				return
			}
			working[w]--
			r.Waves[w-1].Tally.Ended++
			if failed {
				r.Waves[w-1].Tally.Failed++
			} else {
				r.Waves[w-1].Tally.Old++
			}
		}
		finalize := func() {
			for i := range r.Waves {
				if r.Waves[i].State == WaveFinalizing {
					r.Waves[i].Tally.Old = 0
				}
			}
		}
		operator := func() {
			_ = applyApproval(r, Approval{}, now)
			if r.Wish == WishPause {
				_ = pauseOrResume(r, "resume", now)
			}
		}
		for range rapid.IntRange(0, 40).Draw(t, "turns") {
			now = now.Add(time.Minute)
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 3:
				finalize()
			case 0:
				operator()
			case 1, 2:
				end(rapid.IntRange(1, n).Draw(t, "wave"), rapid.IntRange(0, 4).Draw(t, "luck") == 0)
			}
			look()
		}
		for range 200 {
			now = now.Add(time.Minute)
			operator()
			finalize()
			for w := 1; w <= n; w++ {
				end(w, false)
			}
			look()
		}
		for i, w := range r.Waves {
			require.True(t, w.State.Ended(), "wave %d is %s: %s", i+1, w.State, w.Reason)
		}
	})
}

func TestGatesSay(t *testing.T) {
	t.Parallel()
	ready := func() *Facts {
		return &Facts{
			Now: sunday, Rollout: &Rollout{ID: "r1", Wish: WishRun, Options: Options{MaxTenants: 2}, Waves: []Wave{{Number: 1, State: WaveDone}, {Number: 2, State: WaveOpen, Rule: strategy.Rule{FailureBudget: strategy.FailureBudget{Then: strategy.ThenPause}}}}},
			Tenant:  Candidate{TenantID: "acme", Wave: 2, NeedShards: 10, NeedBytes: 10, Registered: "active"},
			Cluster: ClusterFacts{Health: "green", Shards: capacity.Shards{Open: 10, MaxPerNode: 100, DataNodes: 1}, Disk: capacity.Disk{Total: 100, Used: 10, Limit: 90}},
		}
	}
	require.Nil(t, firstClosed(ready()))
	seen := map[string]bool{}
	for _, c := range []struct {
		gate, says string
		change     func(*Facts)
	}{
		{GateKillSwitch, "all rollouts are stopped", func(f *Facts) { f.Stop = &budget.Stop{Reason: "fire"} }},
		{GateNotPaused, "is paused: why", func(f *Facts) { f.Rollout.Wish, f.Rollout.Reason = WishPause, "why" }},
		{GateNotPaused, "being cancelled", func(f *Facts) { f.Rollout.Wish = WishCancel }},
		{GateFailureBudget, "1 of 3 tenants of wave 2 failed", func(f *Facts) { f.Rollout.Waves[1].Tally = WaveTally{Tenants: 3, Failed: 1} }},
		{GateCanaryDone, "awaiting approval (`tms upgrade approve r1 --wave 1`)", func(f *Facts) {
			f.Rollout.Options.Strategy, f.Rollout.Waves[0].State = &strategy.File{Canary: &strategy.Wave{Size: "1"}}, WaveAwaiting
		}},
		{GateWaveOpen, "wave 2 waits for wave 1, which is soaking until", func(f *Facts) {
			f.Rollout.Waves[0].State, f.Rollout.Waves[1].State = WaveSoaking, WavePending
		}},
		{GateWaveOpen, "wave 2 waits for wave 1, which is being finalized: tenant a: no snapshot", func(f *Facts) {
			f.Rollout.Waves[0].State, f.Rollout.Waves[0].Reason, f.Rollout.Waves[1].State = WaveFinalizing, "tenant a: no snapshot", WavePending
		}},
		{GateInWindow, "the next one begins 2026-11-23 01:00:00 UTC", func(f *Facts) {
			f.Rollout.Options.Strategy = &strategy.File{Windows: []strategy.Window{{Days: []string{"mon"}, From: "02:00", To: "04:00", Zone: "Europe/Warsaw"}}}
		}},
		{GateTenantActive, "deleted", func(f *Facts) { f.Tenant.Registered = "deleted" }},
		{GateTenantActive, "suspended", func(f *Facts) {
			f.Tenant.Registered, f.Rollout.Options.Strategy = "suspended", &strategy.File{Inactive: strategy.InactiveWait}
		}},
		{GateSnapshotFresh, "is half done", func(f *Facts) {
			f.Rollout.Options.SnapshotName, f.Snapshots = "s", map[string]SnapshotState{"s": {Text: "half done"}}
		}},
		{GateSnapshotFresh, "snapshot far is half done", func(f *Facts) {
			f.Rollout.Options.Snapshots, f.Snapshots = map[string]string{"default": "near", "eu": "far"}, map[string]SnapshotState{"near": {Done: true}, "far": {Text: "half done"}}
			f.Tenant.Cluster = "eu"
		}},
		{GateSnapshotFresh, "snapshot own is half done", func(f *Facts) {
			f.Rollout.Options.SnapshotName, f.Tenant.Snapshot = "s", "own"
			f.Snapshots = map[string]SnapshotState{"s": {Done: true}, "own": {Text: "half done"}}
		}},
		{GateClusterHealth, "red", func(f *Facts) { f.Cluster.Health = "red" }},
		{GateRehearsed, "it was not rehearsed yet", func(f *Facts) { f.Unrehearsed = map[string]string{f.Tenant.TenantID: "it was not rehearsed yet"} }},
		{GateClusterHealth, "no answer", func(f *Facts) { f.Cluster = ClusterFacts{Err: "no answer"} }},
		{GateShardBudget, "95 shards are open", func(f *Facts) { f.Cluster.Shards.Open = 95 }},
		{GateDiskHeadroom, "85 bytes of disk are used", func(f *Facts) { f.Cluster.Disk.Used = 85 }},
		{GateBudget, "as its budget allows (1)", func(f *Facts) { f.Load.Budget, f.Load.InFlightOfAll = &BudgetFacts{Tenants: 1}, 1 }},
		{GatePlaceFree, "max_tenants allows (2)", func(f *Facts) { f.Load.InFlight = 2 }},
	} {
		f := ready()
		c.change(f)
		shut := firstClosed(f)
		require.NotNil(t, shut, c.gate)
		require.Equal(t, c.gate, shut.Gate)
		require.Contains(t, shut.Sentence(), "gate "+c.gate+": ")
		require.Contains(t, shut.Sentence(), c.says)
		seen[c.gate] = true
	}
	for _, g := range Gates() {
		require.True(t, seen[g.Name], "no row for gate %s", g.Name)
	}
}

// Who waits for something of its own keeps nobody else of its cluster waiting.
func TestOwnGates(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		gate     string
		snapshot string
		own      bool
	}{
		{GateTenantActive, "", true}, {GateRehearsed, "", true}, {GateSnapshotFresh, "own", true},
		{GateSnapshotFresh, "", false}, {GateShardBudget, "", false}, {GatePlaceFree, "own", false},
	} {
		require.Equal(t, c.own, (&Verdict{Gate: c.gate}).own(Candidate{Snapshot: c.snapshot}), c.gate)
	}
}
