package budget

import (
	"context"
	"fmt"
	"math"
	"time"
)

// Vitals are what a cluster says about its load.
type Vitals struct {
	At time.Time
	// RejectedSearches and RejectedWrites are requests that full thread pools
	// have refused, over all nodes since they started.
	RejectedSearches, RejectedWrites int64
	// PendingTasks of the master, and how long the first of them has waited.
	PendingTasks int
	PendingFor   time.Duration
	// DiskNode is the node that is closest to, or furthest past, the watermark
	// from which on the engine makes trouble; sizes in bytes, DiskLimit 0 when
	// it watches no disk.
	DiskNode            string
	DiskUsed, DiskLimit int64
	Watermark           string
	// HeapNode is the node whose heap is fullest.
	HeapNode    string
	HeapPercent int
	// Search is how long a small search of a tenant takes now, as its reader
	// sees it; 0 when there is none to look at.
	Search time.Duration
}

// VitalsSource asks a cluster for its vitals. probe is an index to search, ""
// for none. It returns when ctx ends.
type VitalsSource interface {
	ClusterVitals(ctx context.Context, probe string) (Vitals, error)
}

// Clusters finds a cluster that can be asked how it is; nil for one that
// cannot. Safe for concurrent use.
type Clusters func(ctx context.Context, name string) (VitalsSource, error)

// Throttle is how far a budget is adapted to the state of its cluster. Each
// sample makes a new one of it (Adapt): under pressure the level is halved, in
// calm it grows by a fixed step, as congestion control does.
type Throttle struct {
	// Level is the part of the budget that is in force, above 0 up to 1; 0 is 1.
	Level float64 `json:"level,omitempty"`
	// Hold: no further tenant begins (the disks are full).
	Hold bool `json:"hold,omitempty"`
	// Peak is documents per second when the level was last 1: what it is a part
	// of when no documents per second are set.
	Peak float64 `json:"peak,omitempty"`
	// Best is how long a search takes when nothing disturbs it.
	Best time.Duration `json:"best,omitempty"`
	// Reason says why it is slowed; "" when it is not.
	Reason    string    `json:"reason,omitempty"`
	SlowedAt  time.Time `json:"slowed_at,omitzero"`  // since when
	LoweredAt time.Time `json:"lowered_at,omitzero"` // the level, last
	// HighHeap counts samples in a row with too full a heap.
	HighHeap int `json:"high_heap,omitempty"`
	// Seen are the vitals of the last sample, Problem why there are none.
	Seen    Vitals `json:"seen,omitzero"`
	Problem string `json:"problem,omitempty"`
}

// Slowed says that less than the whole budget is in force.
func (t Throttle) Slowed() bool { return t.Level > 0 && t.Level < 1 || t.Hold }

// Constants of the adaptation.
const (
	// SampleInterval is how often the cluster is looked at, by one process for
	// all of them.
	SampleInterval = time.Second
	// lowestLevel is where halving ends; raise is what a calm sample gives back:
	// from half to whole in some ten seconds.
	lowestLevel = 1.0 / 32
	raise       = 1.0 / 20
	// settleTime is how long a lowered level may take to show before it is
	// lowered again.
	settleTime = 2 * time.Second
	// forgetAfter is how long after the last sample what it showed is history.
	forgetAfter = time.Minute
	// patience is how many samples in a row a heap must be too full: garbage
	// collection needs a moment.
	patience = 3
	// bestDrift lets the best search latency follow a cluster that becomes
	// slower for other reasons: in ten minutes by a factor of 1.8.
	bestDrift = 1.001
)

// Adapt makes the throttle after a sample. failed says why there are no vitals;
// rate is documents per second of all processes now. It is pure.
func Adapt(b Budget, t Throttle, v Vitals, failed string, rate float64, now time.Time) Throttle {
	if now.Sub(t.Seen.At) > forgetAfter {
		t = Throttle{Level: 1, Best: t.Best}
		t.Seen.RejectedSearches, t.Seen.RejectedWrites = v.RejectedSearches, v.RejectedWrites
	}
	if t.Level == 0 {
		t.Level = 1
	}
	if t.Level == 1 {
		t.Peak = max(rate, t.Peak*0.9) // a copy's pauses are no lower peak
	}
	var why string
	var hold bool
	if failed != "" {
		why = "the cluster does not say how it is: " + failed
	} else {
		t.Best = best(t.Best, v.Search)
		if b.HeapPercent > 0 && v.HeapPercent >= b.HeapPercent {
			t.HighHeap++
		} else {
			t.HighHeap = 0
		}
		why, hold = pressure(b, t, v)
	}
	t.Problem, t.Hold = failed, hold
	if failed == "" {
		t.Seen = v
	}
	t.Seen.At = now
	if why == "" {
		return t.calm()
	}
	if t.SlowedAt.IsZero() {
		t.SlowedAt = now
	}
	if now.Sub(t.LoweredAt) >= settleTime {
		t.Level, t.LoweredAt = max(lowestLevel, t.Level/2), now
	}
	t.Reason = why
	return t
}

// calm gives a step back. The reason stays until the level is whole again.
func (t Throttle) calm() Throttle {
	if t.Level = min(1, t.Level+raise); t.Level == 1 {
		t.Reason, t.SlowedAt = "", time.Time{}
	}
	return t
}

func best(was, now time.Duration) time.Duration {
	switch {
	case now == 0:
		return was
	case was == 0 || now < was:
		return now
	}
	return min(now, time.Duration(math.Ceil(float64(was)*bestDrift)))
}

// pressure says what the cluster has too much of, the worst first; hold is for
// what further tenants would make worse and time does not heal.
func pressure(b Budget, t Throttle, v Vitals) (why string, hold bool) {
	rejected := max(0, v.RejectedWrites-t.Seen.RejectedWrites) + max(0, v.RejectedSearches-t.Seen.RejectedSearches)
	switch {
	case v.DiskLimit > 0 && v.DiskUsed >= v.DiskLimit:
		return fmt.Sprintf("the disk of node %s is past the %s watermark (%d of %d bytes): no further tenant begins; free disk, finalize what is switched, or add a node",
			v.DiskNode, v.Watermark, v.DiskUsed, v.DiskLimit), true
	case rejected > 0:
		return fmt.Sprintf("the cluster has rejected %d searches and writes since the sample before", rejected), false
	case b.HeapPercent > 0 && t.HighHeap >= patience:
		return fmt.Sprintf("the heap of node %s is %d%% full, %d%% are allowed", v.HeapNode, v.HeapPercent, b.HeapPercent), false
	case b.PendingTasks > 0 && v.PendingTasks >= b.PendingTasks:
		return fmt.Sprintf("%d cluster tasks are pending, the first for %s; %d are allowed", v.PendingTasks, v.PendingFor.Round(time.Millisecond), b.PendingTasks), false
	case b.SearchLatency > 0 && v.Search > b.SearchLatency:
		return fmt.Sprintf("a small search takes %s, %s are allowed", shown(v.Search), b.SearchLatency), false
	case b.SearchSlowdown > 0 && t.Best > 0 && float64(v.Search) > b.SearchSlowdown*float64(t.Best):
		return fmt.Sprintf("a small search takes %s, at best it takes %s, and %g times that is allowed", shown(v.Search), shown(t.Best), b.SearchSlowdown), false
	}
	return "", false
}

// shown is a latency with three digits at most.
func shown(d time.Duration) time.Duration {
	if d < 10*time.Millisecond {
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}

// Sentence says what is in force and why, "" when nothing is slowed.
func (t Throttle) Sentence(a Allowance) string {
	if !t.Slowed() {
		return ""
	}
	return fmt.Sprintf("slowed to %d%% (%.0f documents per second): %s", int(math.Ceil(t.Level*100)), a.DocumentsPerSecond, t.Reason)
}
