package budget

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var midday = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// One row per reason to slow down, and what is left of it.
func TestAdaptTo(t *testing.T) {
	t.Parallel()
	b := Default()
	b.SearchSlowdown = 1.5
	before := Throttle{Level: 1, Best: 2 * time.Millisecond, Seen: Vitals{At: midday.Add(-time.Second), RejectedWrites: 7}}
	for _, c := range []struct {
		name   string
		v      Vitals
		failed string
		high   int
		why    string
		hold   bool
	}{
		{name: "nothing", v: Vitals{RejectedWrites: 7}},
		{name: "rejections of before", v: Vitals{RejectedWrites: 7, RejectedSearches: 0}},
		{name: "a node restarted", v: Vitals{RejectedWrites: 1}},
		{name: "writes rejected", v: Vitals{RejectedWrites: 9}, why: "the cluster has rejected 2 searches and writes since the sample before"},
		{name: "searches rejected", v: Vitals{RejectedWrites: 7, RejectedSearches: 1}, why: "the cluster has rejected 1 searches and writes since the sample before"},
		{name: "pending", v: Vitals{RejectedWrites: 7, PendingTasks: 200, PendingFor: 3 * time.Second}, why: "200 cluster tasks are pending, the first for 3s; 200 are allowed"},
		{name: "some pending", v: Vitals{RejectedWrites: 7, PendingTasks: 199}},
		{name: "heap for a moment", v: Vitals{RejectedWrites: 7, HeapPercent: 99}},
		{name: "heap for long", v: Vitals{RejectedWrites: 7, HeapNode: "n1", HeapPercent: 99}, high: 2, why: "the heap of node n1 is 99% full, 92% are allowed"},
		{name: "disk", v: Vitals{RejectedWrites: 9, DiskNode: "n1", DiskUsed: 95, DiskLimit: 95, Watermark: "high"}, hold: true,
			why: "the disk of node n1 is past the high watermark (95 of 95 bytes): no further tenant begins; free disk, finalize what is switched, or add a node"},
		{name: "disk almost", v: Vitals{RejectedWrites: 7, DiskUsed: 94, DiskLimit: 95}},
		{name: "no disk is watched", v: Vitals{RejectedWrites: 7, DiskUsed: 94}},
		{name: "slow", v: Vitals{RejectedWrites: 7, Search: 2 * time.Second}, why: "a small search takes 2s, 1s are allowed"},
		{name: "slower than at best", v: Vitals{RejectedWrites: 7, Search: 4 * time.Millisecond}, why: "a small search takes 4ms, at best it takes 2ms, and 1.5 times that is allowed"},
		{name: "hardly slower", v: Vitals{RejectedWrites: 7, Search: 3 * time.Millisecond}},
		{name: "no answer", failed: "timeout", why: "the cluster does not say how it is: timeout"},
	} {
		was := before
		was.HighHeap = c.high
		got := Adapt(b, was, c.v, c.failed, 1000, midday)
		require.Equal(t, c.why, got.Reason, c.name)
		require.Equal(t, c.hold, got.Hold, c.name)
		if c.why == "" {
			require.False(t, got.Slowed(), c.name)
			require.Equal(t, b.Tenants, b.Under(got).Tenants, c.name)
			require.Zero(t, b.Under(got).DocumentsPerSecond, c.name)
			continue
		}
		require.InDelta(t, 0.5, got.Level, 0, c.name)
		require.Equal(t, midday, got.SlowedAt, c.name)
		a := b.Under(got)
		require.Equal(t, Allowance{Tenants: 32, Hold: c.hold, CopyTasks: 16, StateUpdates: 32, DocumentsPerSecond: 1000}, a, c.name)
		require.Contains(t, got.Sentence(a), "slowed to 50% (1000 documents per second): "+c.why, c.name)
	}
}

// The level halves no more often than its effect can be seen, and comes back in
// steps once there is calm.
func TestAdaptOverTime(t *testing.T) {
	t.Parallel()
	b := Default()
	b.DocumentsPerSecond = 1000
	x, now := Throttle{}, midday
	sample := func(pending int) {
		now = now.Add(SampleInterval)
		x = Adapt(b, x, Vitals{PendingTasks: pending}, "", 900, now)
	}
	sample(0)
	require.False(t, x.Slowed())
	sample(500)
	require.InDelta(t, 0.5, x.Level, 0)
	sample(500)
	require.InDelta(t, 0.5, x.Level, 0, "its effect must show first")
	sample(500)
	require.InDelta(t, 0.25, x.Level, 0)
	require.InDelta(t, 250, b.Under(x).DocumentsPerSecond, 0)
	began := x.SlowedAt
	for range 20 {
		sample(500)
	}
	require.InDelta(t, lowestLevel, x.Level, 0, "it never stands still")
	require.InDelta(t, slowestDocuments, b.Under(x).DocumentsPerSecond, 0)
	require.Equal(t, 1, b.Under(x).CopyTasks)
	sample(0)
	require.InDelta(t, lowestLevel+raise, x.Level, 1e-9)
	require.NotEmpty(t, x.Reason, "the reason stays while it is slowed")
	require.Equal(t, began, x.SlowedAt)
	for range 20 {
		sample(0)
	}
	require.False(t, x.Slowed())
	require.Empty(t, x.Reason)
	require.InDelta(t, 1000, b.Under(x).DocumentsPerSecond, 0)

	sample(500)
	now = now.Add(2 * forgetAfter)
	sample(0)
	require.False(t, x.Slowed(), "what was long ago is history")
}

func TestAdaptOff(t *testing.T) {
	t.Parallel()
	b := Default()
	b.Adapt = false
	require.Equal(t, Allowance{Tenants: 64, CopyTasks: 32, StateUpdates: 64}, b.Under(Throttle{Level: 0.1, Hold: true}))
}

// Whatever a cluster says: something is left, never more than the budget, and
// calm gives all of it back within half a minute.
func TestAdaptBounds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := Default()
		b.Tenants, b.DocumentsPerSecond = rapid.IntRange(1, 100).Draw(t, "tenants"), rapid.Float64Range(0, 1e5).Draw(t, "documents")
		b.SearchSlowdown = rapid.SampledFrom([]float64{0, 1.5}).Draw(t, "slowdown")
		x, now := Throttle{}, midday
		for range rapid.IntRange(1, 60).Draw(t, "samples") {
			now = now.Add(rapid.SampledFrom([]time.Duration{time.Second, 3 * time.Second, time.Hour}).Draw(t, "pause"))
			v := Vitals{
				PendingTasks: rapid.IntRange(0, 400).Draw(t, "pending"), HeapPercent: rapid.IntRange(0, 100).Draw(t, "heap"),
				RejectedWrites: rapid.Int64Range(0, 9).Draw(t, "rejected"), DiskUsed: rapid.Int64Range(0, 100).Draw(t, "disk"), DiskLimit: 95,
				Search: time.Duration(rapid.IntRange(0, 5000).Draw(t, "search")) * time.Millisecond,
			}
			failed := rapid.SampledFrom([]string{"", "", "", "gone"}).Draw(t, "failed")
			x = Adapt(b, x, v, failed, rapid.Float64Range(0, 1e5).Draw(t, "rate"), now)
			a := b.Under(x)
			require.True(t, x.Level >= lowestLevel && x.Level <= 1)
			require.True(t, a.Tenants >= 1 && a.Tenants <= b.Tenants && a.CopyTasks >= 1 && a.StateUpdates >= 1)
			require.False(t, b.DocumentsPerSecond > 0 && (a.DocumentsPerSecond > b.DocumentsPerSecond || a.DocumentsPerSecond == 0))
			require.Equal(t, x.Slowed(), x.Reason != "", "slowed has a reason, and a reason slows")
		}
		for range 30 {
			now = now.Add(time.Second)
			x = Adapt(b, x, x.Seen, "", 0, now)
			x.Seen.PendingTasks, x.Seen.HeapPercent, x.Seen.DiskUsed, x.Seen.Search = 0, 0, 0, 0
		}
		require.False(t, x.Slowed())
	})
}
