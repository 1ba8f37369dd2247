package capacity

import (
	"fmt"
	"slices"
	"time"

	"github.com/tracardi/tms/upgrader/estimate"
)

// Horizon is how far the calendar is looked ahead at least.
const Horizon = 24 * time.Hour

// Footprint is what a tenant needs, and gives back when it is finalized.
type Footprint struct {
	Docs       int64 // to copy
	Largest    int64 // documents of its largest copy
	Bytes      int64 // of the copies, replicas included, as large as their sources
	Frees      int   // shards of the old version, replicas included
	FreesBytes int64 // replicas included
	Calendar   int   // shards that the next partitions bring, when they come
}

// Moving is a tenant with data to move.
type Moving struct {
	Shards int // new ones, replicas included
	Footprint
}

// takes is how many shards the tenant adds while both its versions stand.
func (t Moving) takes() int { return t.Shards + t.Calendar }

// Forecast is what a rollout does to a cluster.
type Forecast struct {
	// Docs are to be copied; Bytes are of the copies, replicas included.
	Docs, Bytes int64
	// Duration is an estimate from Rate; 0 when nothing was measured.
	Duration time.Duration
	Rate     estimate.Rate
	Limits   Limits
	// Until is how far the calendar was looked ahead.
	Until time.Time
	// CalendarShards are those of partitions that the calendar adds until then.
	CalendarShards int
	// ShardsPeak has both versions and the calendar; ShardsAfter is when all
	// tenants are finalized.
	ShardsPeak, ShardsAfter int
	// LargestWave is the largest number of tenants of which any fit at once.
	LargestWave int
	// Waves is how many waves of that many tenants or fewer it takes when each
	// is finalized before the next begins; 0 when the whole does not fit that
	// way either.
	Waves int
	Disk  DiskForecast
}

// Situation is a cluster before a rollout.
type Situation struct {
	Now    time.Time
	Shards Shards
	Disk   Disk
	Rate   estimate.Rate
	Limits Limits
}

// Limits of the pace, in documents per second; 0 is not limited.
type Limits struct {
	Cluster float64 // of all that is copied there
	Copy    float64 // of each copy
}

// Until is how far the calendar has to be looked ahead: as long as the rollout
// runs, atOnce tenants at a time, and Horizon at least.
func (s Situation) Until(moving []Moving, atOnce int) time.Time {
	return s.Now.Add(max(Horizon, s.duration(moving, atOnce)))
}

// Forecast simulates a rollout of tenants whose footprints are complete, atOnce
// at a time.
func (s Situation) Forecast(moving []Moving, atOnce int) Forecast {
	f := Forecast{
		Rate: s.Rate, Limits: s.Limits, Duration: s.duration(moving, atOnce), Until: s.Until(moving, atOnce),
		LargestWave: s.largestWave(moving), Waves: s.waves(moving),
	}
	added, frees, freesBytes := 0, 0, int64(0)
	for _, t := range moving {
		f.Docs += t.Docs
		f.Bytes += t.Bytes
		f.CalendarShards += t.Calendar
		added += t.Shards
		frees += t.Frees
		freesBytes += t.FreesBytes
	}
	f.ShardsPeak = s.Shards.Open + added + f.CalendarShards
	f.ShardsAfter = f.ShardsPeak - frees
	f.Disk = DiskForecast{Disk: s.Disk, Peak: s.Disk.Used + f.Bytes, After: s.Disk.Used + f.Bytes - freesBytes}
	return f
}

func (s Situation) duration(moving []Moving, atOnce int) time.Duration {
	each := make([]time.Duration, len(moving))
	var docs int64
	for i, t := range moving {
		each[i] = s.Rate.Each(t.Docs)
		if s.Limits.Copy > 0 && each[i] > 0 {
			each[i] = max(each[i], seconds(float64(t.Largest)/s.Limits.Copy))
		}
		docs += t.Docs
	}
	whole := estimate.Together(each, atOnce)
	if s.Limits.Cluster > 0 && whole > 0 {
		whole = max(whole, seconds(float64(docs)/s.Limits.Cluster))
	}
	return whole
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

// largestWave takes the tenants that need most: when so many of them fit, any
// so many do.
func (s Situation) largestWave(moving []Moving) int {
	needs := make([]int, len(moving))
	for i, t := range moving {
		needs[i] = t.takes()
	}
	slices.SortFunc(needs, func(a, b int) int { return b - a })
	room, n := s.Shards.Limit()-s.Shards.Open, 0
	for _, need := range needs {
		if room -= need; room < 0 {
			break
		}
		n++
	}
	return n
}

// waves plays the rollout through: as many as fit, finalize, the next. A new
// version may be larger than the old one, so that what fits today may not fit
// in the end.
func (s Situation) waves(moving []Moving) int {
	open, limit, n := s.Shards.Open, s.Shards.Limit(), 0
	for i := 0; i < len(moving); n++ {
		peak, after, taken := open, open, 0
		for ; i < len(moving); i++ {
			need := moving[i].takes()
			if peak+need > limit {
				break
			}
			peak += need
			after += need - moving[i].Frees
			taken++
		}
		if taken == 0 {
			return 0
		}
		open = after
	}
	return n
}

// Advice says how the fleet fits in waves.
func (f Forecast) Advice() string {
	switch {
	case f.LargestWave == 0 && f.Waves == 0:
		return "not even one fits at the limit in force"
	case f.Waves == 0:
		return fmt.Sprintf("any %d fit at once, but the whole does not, even when each wave is finalized before the next", f.LargestWave)
	}
	return fmt.Sprintf("any %d fit at once; finalizing each wave before the next (--finalize-waves), the whole fits in %d waves", f.LargestWave, f.Waves)
}

// Plus adds what adds up. Clusters work side by side: the time is that of the
// slowest, and so is the rate that is shown; waves are of each.
func (f Forecast) Plus(o Forecast) Forecast {
	out := f
	if o.Duration > f.Duration {
		out.Duration, out.Rate = o.Duration, o.Rate
	}
	if o.Until.After(f.Until) {
		out.Until = o.Until
	}
	out.Docs += o.Docs
	out.Bytes += o.Bytes
	out.CalendarShards += o.CalendarShards
	out.ShardsPeak += o.ShardsPeak
	out.ShardsAfter += o.ShardsAfter
	out.LargestWave += o.LargestWave
	out.Waves = max(f.Waves, o.Waves)
	if f.Waves == 0 && f.Docs > 0 || o.Waves == 0 && o.Docs > 0 {
		out.Waves = 0 // somewhere the whole does not fit
	}
	out.Disk.Total += o.Disk.Total
	out.Disk.Used += o.Disk.Used
	out.Disk.Limit += o.Disk.Limit
	out.Disk.Peak += o.Disk.Peak
	out.Disk.After += o.Disk.After
	return out
}
