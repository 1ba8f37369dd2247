package upgrader

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader/naming"
)

// Disks tells how full the data nodes are.
type Disks interface {
	Disk(ctx context.Context) (DiskBudget, error)
}

// DiskBudget is the disk of all data nodes together, in bytes.
type DiskBudget struct {
	Total, Used int64
	// Limit is the use at which the engine allocates no more shards, or, for
	// flood_stage, writes no more; 0 when it watches no disk.
	Limit     int64
	Watermark string // that Limit comes from: "low" or "flood_stage"
}

// Rates remembers how long upgrades took in each cluster.
type Rates interface {
	CopyRate(ctx context.Context, cluster string) (CopyRate, error)
}

// CopyRate is measured over the latest upgraded tenants, from the first step
// to the switch, without those that had to wait for an operator.
type CopyRate struct {
	Tenants int // that were measured; 0 for none
	// Rehearsed says that these were rehearsals: no tenant was upgraded yet.
	Rehearsed bool
	// Typical is the median time of a tenant.
	Typical time.Duration
	// PerSecond is documents per second and tenant, over all of them together.
	PerSecond float64
}

// minHorizon is how far the calendar is looked ahead at least.
const minHorizon = 24 * time.Hour

// Footprint is what a tenant needs, and gives back when it is finalized.
type Footprint struct {
	Docs       int64 // to copy
	Bytes      int64 // of the copies, replicas included, as large as their sources
	Frees      int   // shards of the old version, replicas included
	FreesBytes int64
	Calendar   int // shards that the next partitions bring, when they come
}

// Forecast simulates a rollout.
type Forecast struct {
	Docs, Bytes int64
	// Duration is an estimate from Rate; 0 when nothing was measured.
	Duration time.Duration
	Rate     CopyRate
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

// DiskForecast is in bytes, replicas included.
type DiskForecast struct {
	DiskBudget
	Peak, After int64
}

// simulator adds a forecast to a plan. It has no I/O and no clock.
type simulator struct {
	now    time.Time
	budget ShardBudget
	disk   DiskBudget
	rate   CopyRate
}

// simulate fills in the forecast of a plan whose tenants are complete.
func (s simulator) simulate(c *releases.Catalogue, p *Plan) {
	f := Forecast{Rate: s.rate}
	var moving []TenantPlan
	var places []int // of moving in p.Tenants
	for i, t := range p.Tenants {
		if len(t.Moves) > 0 {
			moving, places = append(moving, t), append(places, i)
			f.Docs += t.Footprint.Docs
			f.Bytes += t.Footprint.Bytes
		}
	}
	f.Duration = s.duration(moving, p.Options.MaxTenants)
	f.Until = s.now.Add(max(minHorizon, f.Duration))
	frees, freesBytes := 0, int64(0)
	added := 0
	for i := range moving {
		t := &moving[i]
		t.Footprint.Calendar = calendarShards(c, *t, s.now, f.Until)
		p.Tenants[places[i]].Footprint.Calendar = t.Footprint.Calendar // waves count it too
		f.CalendarShards += t.Footprint.Calendar
		added += t.Shards
		frees += t.Footprint.Frees
		freesBytes += t.Footprint.FreesBytes
	}
	f.ShardsPeak = s.budget.Open + added + f.CalendarShards
	f.ShardsAfter = f.ShardsPeak - frees
	f.LargestWave = s.largestWave(moving)
	f.Waves = s.waves(moving)
	f.Disk = DiskForecast{DiskBudget: s.disk, Peak: s.disk.Used + f.Bytes, After: s.disk.Used + f.Bytes - freesBytes}
	p.Forecast = f
}

// duration of all tenants, so many at a time.
func (s simulator) duration(moving []TenantPlan, atOnce int) time.Duration {
	if s.rate.Tenants == 0 || len(moving) == 0 {
		return 0
	}
	var sum, longest time.Duration
	for _, t := range moving {
		one := s.rate.Typical
		if s.rate.PerSecond > 0 {
			one = max(one, time.Duration(float64(t.Footprint.Docs)/s.rate.PerSecond*float64(time.Second)))
		}
		sum += one
		longest = max(longest, one)
	}
	return max(longest, sum/time.Duration(max(1, min(atOnce, len(moving)))))
}

// largestWave takes the tenants that need most: when so many of them fit, any
// so many do.
func (s simulator) largestWave(moving []TenantPlan) int {
	needs := make([]int, len(moving))
	for i, t := range moving {
		needs[i] = t.Shards + t.Footprint.Calendar
	}
	slices.SortFunc(needs, func(a, b int) int { return b - a })
	room, n := s.budget.Limit()-s.budget.Open, 0
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
func (s simulator) waves(moving []TenantPlan) int {
	open, limit, n := s.budget.Open, s.budget.Limit(), 0
	for i := 0; i < len(moving); n++ {
		peak, after, taken := open, open, 0
		for ; i < len(moving); i++ {
			need := moving[i].Shards + moving[i].Footprint.Calendar
			if peak+need > limit {
				break
			}
			peak += need
			after += need - moving[i].Footprint.Frees
			taken++
		}
		if taken == 0 {
			return 0
		}
		open = after
	}
	return n
}

// calendarShards are those of the partitions that begin until then: of the old
// version before a tenant's switch, and of the new one in any case.
func calendarShards(c *releases.Catalogue, t TenantPlan, now, until time.Time) int {
	sum := 0
	replicas := 0
	for _, m := range t.Moves {
		replicas = max(replicas, m.Replicas)
	}
	for _, version := range []string{t.FromRelease, t.Path[len(t.Path)-1]} {
		r, err := c.Get(version)
		if err != nil {
			continue
		}
		for _, res := range r.Resources {
			if !res.Static && naming.PartitionAt(res.Partitioning, now) != naming.PartitionAt(res.Partitioning, until) {
				sum += shardsOf(res) * (1 + replicas) * len(naming.ModesOf(res))
			}
		}
	}
	return sum
}

// footprint sums up what a tenant's copies need.
func (tp *tenantPlan) footprint() {
	f := &tp.Footprint
	counted := map[string]bool{}
	for _, m := range tp.Moves {
		for _, c := range m.Copies {
			if c.Foreign {
				continue
			}
			f.Docs += c.Docs
			f.Bytes += c.Bytes * int64(1+m.Replicas)
			counted[c.Source] = true
		}
	}
	for name := range counted {
		st := tp.view.OldStats[name]
		f.Frees += st.Primaries * (1 + st.Replicas)
		f.FreesBytes += st.Bytes * int64(1+st.Replicas)
	}
}

// peak takes over how many shards are open at most.
func (f *ShardForecast) peak(shards int) {
	f.Peak = shards
	if f.DataNodes > 0 {
		f.Needed = perNode(shards, f.DataNodes)
	}
}

// checkRoom refuses what the simulation shows not to fit into a cluster; several
// says that it is not the only one.
func (p *planner) checkRoom(c *ClusterPlan, several bool) {
	where := ""
	if several {
		where = "cluster " + c.Cluster + ": "
	}
	f, s := c.Forecast, &c.Shards
	switch {
	case s.New == 0 || f.ShardsPeak <= s.Limit:
	case p.plan.Options.RaiseShardLimit && s.DataNodes > 0:
		s.Raise = s.Level
	default:
		message := fmt.Sprintf("%d shards are open, %d new ones are needed while both versions stand, and the calendar adds %d until %s: %d",
			s.Now, s.New, f.CalendarShards, f.Until.UTC().Format(time.DateOnly), f.ShardsPeak)
		if w := p.plan.tightest(c.Cluster); w != nil {
			message = fmt.Sprintf("%d shards are open; with waves finalized as the strategy orders it, wave %d (%s) is what needs most: %d while both of its versions stand",
				s.Now, w.Number, w.Name, f.ShardsPeak)
		}
		p.refuse("", "shard_limit", where+message+fmt.Sprintf(", but the limit is %d (cluster.max_shards_per_node %d on %d data nodes)", s.Limit, s.MaxPerNode, s.DataNodes),
			fmt.Sprintf("set cluster.max_shards_per_node to %d or more, add data nodes, let TMS raise it with --raise-shard-limit, or take fewer tenants at once: %s", s.Needed, f.advice()))
	}
	if f.Disk.Limit > 0 && f.Bytes > 0 && f.Disk.Peak > f.Disk.Limit {
		p.refuse("", "disk_headroom",
			where+fmt.Sprintf("%d bytes of disk are used, and at most %d are while both versions stand, but the engine stops at %d (watermark %s)", f.Disk.Used, f.Disk.Peak, f.Disk.Limit, f.Disk.Watermark),
			"add disk or data nodes, or take fewer tenants and finalize them before the next (--finalize-waves)")
	}
}

// advice says how the fleet fits in waves.
func (f Forecast) advice() string {
	switch {
	case f.LargestWave == 0 && f.Waves == 0:
		return "not even one fits at the limit in force"
	case f.Waves == 0:
		return fmt.Sprintf("any %d fit at once, but the whole does not, even when each wave is finalized before the next", f.LargestWave)
	}
	return fmt.Sprintf("any %d fit at once; finalizing each wave before the next (--finalize-waves), the whole fits in %d waves", f.LargestWave, f.Waves)
}

// WithSimulation has plans tell duration too, and disk where the engine is a
// Disks.
func (s *Service) WithSimulation(r Rates) *Service {
	s.rates = r
	return s
}

// simulator reads what a simulation needs beside the plan.
func (s *Service) simulator(ctx context.Context, cluster string, engine Engine, v ClusterView) (simulator, error) {
	sim := simulator{now: v.Now, budget: v.Shards}
	if s.rates == nil {
		return sim, nil
	}
	var err error
	if disks, ok := engine.(Disks); ok {
		if sim.disk, err = disks.Disk(ctx); err != nil {
			return sim, unavailable(cluster, err)
		}
	}
	sim.rate, err = s.rates.CopyRate(ctx, cluster)
	return sim, err
}
