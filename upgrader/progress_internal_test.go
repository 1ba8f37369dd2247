package upgrader

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tracardi/tms/upgrader/estimate"
)

func TestWatchdog(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	w := &watchdog{}
	for _, row := range []struct {
		after time.Duration
		task  string
		done  int64
		want  verdict
	}{
		{0, "a", 0, taskMoves},
		{2 * time.Minute, "a", 0, taskMoves},                // the limit is not passed yet
		{2*time.Minute + 1, "a", 5, taskMoves},              // it got on at the last moment
		{4*time.Minute + 2, "a", 5, taskStalled},            // and stood still again
		{4*time.Minute + 20*time.Second, "a", 5, taskMoves}, // cancelled: it may take a while to end
		{5 * time.Minute, "a", 5, taskStuck},
		{5 * time.Minute, "b", 0, taskMoves}, // another task begins anew
		{7*time.Minute + 1, "b", 0, taskStalled},
	} {
		require.Equal(t, row.want, w.look(row.task, row.done, start.Add(row.after), 2*time.Minute), "%+v", row)
	}
}

// A task that was made to rest for an hour has its time when it goes on.
func TestWatchdogForgivesRest(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	w := &watchdog{}
	require.Equal(t, taskMoves, w.look("a", 5, start, time.Minute))
	require.Equal(t, taskMoves, w.look("a", 5, start.Add(time.Second), 10*time.Hour))
	require.Equal(t, taskMoves, w.look("a", 5, start.Add(time.Hour), time.Minute))
	require.Equal(t, taskStalled, w.look("a", 5, start.Add(time.Hour+2*time.Minute), time.Minute))
}

func TestStallLimit(t *testing.T) {
	t.Parallel()
	require.Equal(t, 2*time.Minute, stallLimit(2*time.Minute, 0))
	require.Equal(t, 2*time.Minute, stallLimit(2*time.Minute, 1000))
	require.Equal(t, 5*time.Minute, stallLimit(2*time.Minute, 10), "a throttled task sleeps 100 s after each batch")
}

func TestSpansOf(t *testing.T) {
	t.Parallel()
	require.Nil(t, spansOf(-1, 0.5))
	rapid.Check(t, func(t *rapid.T) {
		last := rapid.Int64Range(0, 100_000).Draw(t, "last")
		share := rapid.Float64Range(0.0001, 1).Draw(t, "share")
		spans := spansOf(last, share)
		n, before := int64(0), int64(-1)
		for _, s := range spans {
			if s.from < before || s.to < s.from || s.to > last {
				t.Fatalf("%+v of 0..%d", spans, last)
			}
			n, before = n+s.to-s.from, s.to
		}
		if want := int64(math.Ceil(float64(last+1) * share)); n > want || n < min(want, 1) || n < want*9/10-sampleWindows {
			t.Fatalf("%d of %d numbers, wanted %d: %+v", n, last+1, want, spans)
		}
	})
}

func progressOf(now time.Time, samples []estimate.Sample, tenants ...RolloutTenant) *Progress {
	m := measures{now: now, stall: time.Minute, idle: map[string]time.Duration{}, moves: map[string][]Move{}, samples: map[string]estimate.Model{"": estimate.Fit(samples)}}
	for _, t := range tenants {
		m.idle[t.TenantID] = 5 * time.Minute
	}
	return m.progress(&Rollout{ID: "r1", State: RolloutRunning, Wish: WishRun, Options: Options{MaxTenants: 2}, Tenants: tenants})
}

func TestProgress(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	samples := []estimate.Sample{{Docs: 0, Took: 10 * time.Second}, {Docs: 1000, Took: 20 * time.Second}, {Docs: 2000, Took: 30 * time.Second}, {Docs: 3000, Took: 40 * time.Second}, {Docs: 4000, Took: 50 * time.Second}, {Docs: 5000, Took: 60 * time.Second}}
	p := progressOf(now, samples,
		RolloutTenant{TenantID: "a", State: TenantSwitched, Indices: 1, DocsTotal: 1000, Documents: 1000, StartedAt: now.Add(-time.Minute), FinishedAt: now.Add(-40 * time.Second), Record: TenantRecord{Bytes: 10}},
		RolloutTenant{TenantID: "b", State: TenantCopying, DocsTotal: 1000, Documents: 500, StartedAt: now.Add(-time.Minute), LeaseOwner: "w", LeaseUntil: now.Add(time.Second), Record: TenantRecord{Bytes: 10}},
		RolloutTenant{TenantID: "c", State: TenantPlanned, DocsTotal: 1000, Record: TenantRecord{Bytes: 10}},
		RolloutTenant{TenantID: "d", State: TenantCompared, SwitchAllowed: false},
	)
	f := p.Fleet
	require.EqualValues(t, 3000, f.DocsTotal)
	require.EqualValues(t, 1500, f.Docs)
	require.EqualValues(t, 15, f.Bytes)
	require.Equal(t, map[TenantState]int{TenantSwitched: 1, TenantCopying: 1, TenantPlanned: 1, TenantCompared: 1}, f.States)
	require.Equal(t, 1, f.Stalled, "who waits for its turn or for somebody is not stalled")
	require.Contains(t, p.Tenants[1].Stalled, "process w holds it")
	require.NotNil(t, f.Left)
	// Half of b's copy and what follows, all of c, a tenth of d; two at a time.
	work := 20*(1-0.3-0.4*0.5) + 20 + 10*0.1
	require.InDelta(t, max(20, work/2), f.Left.Mid().Seconds(), 1)
	require.Less(t, f.Left.Low, f.Left.High)
	require.Nil(t, progressOf(now, nil, RolloutTenant{TenantID: "c", State: TenantPlanned}).Fleet.Left, "nothing was measured")
	require.InDelta(t, 1, progressOf(now, samples, RolloutTenant{TenantID: "a", State: TenantSwitched}).Fleet.Share, 0)
}

// What others took says nothing while the cluster's budget, or the rollout, lets
// less through, and nothing is left to be said while all is stopped.
func TestThrottledProgress(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	samples := []estimate.Sample{{Docs: 1000, Took: 10 * time.Second}, {Docs: 1000, Took: 10 * time.Second}}
	for name, c := range map[string]struct {
		limit, rate float64
		verify      VerifyLevel
		moves       []Move
		seconds     float64 // of the fleet
	}{
		"no limit":                      {0, 0, VerifyFull, nil, 10},
		"a limit that hinders nobody":   {10_000, 0, VerifyFull, nil, 10},
		"compared in full":              {100, 0, VerifyFull, nil, (500 + 2000 + 1000 + 2000) / 100.0},
		"counted":                       {100, 0, VerifyCount, nil, (500 + 1000) / 100.0},
		"each copy is slow":             {0, 5, VerifyFull, []Move{{Copies: []Copy{{Docs: 700, Copied: 200, State: CopyRunning}}}, {Copies: []Copy{{Docs: 300, State: CopyRunning}}}}, 500 / 5},
		"a copy that nobody has looked": {0, 5, VerifyFull, nil, 10},
	} {
		m := measures{now: now, stall: time.Minute, moves: map[string][]Move{"a": c.moves}, samples: map[string]estimate.Model{"eu": estimate.Fit(samples)}}
		if c.limit > 0 {
			m.limits = map[string]float64{"eu": c.limit, "elsewhere": 0.001}
		}
		r := &Rollout{ID: "r1", State: RolloutRunning, Wish: WishRun, Options: Options{MaxTenants: 2, Verify: c.verify, RequestsPerSecond: c.rate}, Tenants: []RolloutTenant{
			{TenantID: "a", Cluster: "eu", State: TenantCopying, DocsTotal: 1000, Documents: 500, StartedAt: now},
			{TenantID: "b", Cluster: "eu", State: TenantPlanned, DocsTotal: 1000},
			{TenantID: "c", Cluster: "eu", State: TenantCompared, DocsTotal: 1000},
		}}
		p := m.progress(r)
		require.InDelta(t, c.seconds, p.Fleet.Left.Mid().Seconds()/1.25, c.seconds/5, name)
		m.stopped = true
		p = m.progress(r)
		require.Nil(t, p.Fleet.Left, name)
		require.Nil(t, p.Tenants[0].Left, name)
	}
}

func TestPaceOfACopy(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	c := Copy{State: CopyRunning, Docs: 1000, Bytes: 2000, Copied: 600, Pace: Pace{Began: now.Add(-12 * time.Second), Moved: now.Add(-2 * time.Second), From: 100}}
	p := (&Move{Target: "x", State: MoveCreated, Copies: []Copy{c, {State: CopyDone, Docs: 10, Bytes: 5, Copied: 9}}}).progress(now)
	require.Equal(t, IndexProgress{Target: "x", State: MoveCopying, Amount: Amount{Docs: 610, DocsTotal: 1010, Bytes: 1205, BytesTotal: 2005, PerSecond: 50}}, p)
	require.Zero(t, c.Pace.perSecond(600, now.Add(time.Minute)), "it stands still")
}

func TestRehearsedGate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	good := Rehearsal{ID: "x", State: RehearsalSucceeded, FinishedAt: now.Add(-time.Hour), Report: RehearsalReport{Verdict: VerdictEqual, Quarantined: 2, Digests: []string{"d"}}}
	with := func(change func(*Rehearsal)) *Rehearsal { r := good; change(&r); return &r }
	for _, row := range []struct {
		last *Rehearsal
		why  string
	}{
		{&good, ""},
		{nil, "not rehearsed yet"},
		{with(func(r *Rehearsal) { r.State = RehearsalRunning }), "under way"},
		{with(func(r *Rehearsal) { r.State, r.Reason = RehearsalFailed, "cancelled" }), "could not be carried out: cancelled"},
		{with(func(r *Rehearsal) { r.FinishedAt = now.Add(-8 * 24 * time.Hour) }), "older than 7 days"},
		{with(func(r *Rehearsal) { r.Report.Digests = []string{"e"} }), "defined anew"},
		{with(func(r *Rehearsal) { r.Report.Verdict, r.Report.Problems = VerdictFails, []string{"mapping differs"} }), "mapping differs"},
		{with(func(r *Rehearsal) { r.Report.Quarantined = 3 }), "put 3 documents aside, 2 are allowed"},
	} {
		ok, why := Rehearsed(row.last, "acme", "0.8.2", []string{"d"}, 2, now)
		require.Equal(t, row.why == "", ok)
		require.Contains(t, why, row.why)
	}
}

func TestRehearsalNames(t *testing.T) {
	t.Parallel()
	r := &Rehearsal{ID: "abc", Attempts: 3}
	target := r.shadow() + "prod-0820.acme.tracardi-event-2026-1"
	id, attempt, ok := rehearsalOf(target)
	require.True(t, ok)
	require.Equal(t, "abc", id)
	require.Equal(t, 3, attempt)
	require.Equal(t, "prod-0820.acme.tracardi-event-2026-1", realName(target))
	for _, other := range []string{"0820.acme.tracardi-event", "tms~rehearsal~abc~x", "tms~rehearsals~abc-1~x"} {
		_, _, ok := rehearsalOf(other)
		require.False(t, ok, other)
	}
	require.Equal(t, "verification of 0820.a.b failed: document x is missing", tidied("verification of "+r.shadow()+"0820.a.b failed: document x is missing; `tms upgrade repair abc-3 acme` copies just these again", r))
	require.Equal(t, kindOfReason("failed to parse field [a] of type [long] in document with id '1'"), kindOfReason("failed to parse field [a] of type [long] in document with id '2'"))
}

// A tenant that was not rehearsed waits with the reason, and holds up nobody.
func TestUnrehearsedWaits(t *testing.T) {
	t.Parallel()
	ro := &Rollout{ID: "r1", Wish: WishRun, State: RolloutRunning, Options: Options{RequireRehearsal: true}.WithDefaults(), Waves: []Wave{{Number: 1, Name: "all", State: WaveOpen, Tally: WaveTally{Tenants: 2, Waiting: 2}}}}
	v := &View{Rollout: ro, Candidates: []Candidate{{TenantID: "acme", Cluster: "default", Wave: 1}, {TenantID: "globex", Cluster: "default", Wave: 1}}, Waiting: map[int][]string{1: {"default"}}}
	d := decide(v, admission{clusters: map[string]ClusterFacts{"default": {}}, extend: func(f *Facts) { f.Unrehearsed = map[string]string{"acme": "it was not rehearsed yet"} }})
	require.Equal(t, []string{"globex"}, d.LetIn)
	require.Equal(t, "gate rehearsed: it was not rehearsed yet", d.Reasons["acme"])
}
