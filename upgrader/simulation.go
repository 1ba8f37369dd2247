package upgrader

import (
	"context"
	"fmt"
	"time"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader/capacity"
	"github.com/tracardi/tms/upgrader/estimate"
	"github.com/tracardi/tms/upgrader/naming"
)

// Disks tells how full the data nodes are.
type Disks interface {
	// Disk sums up all data nodes, in bytes.
	Disk(ctx context.Context) (capacity.Disk, error)
}

// Rates remembers how long upgrades took in each cluster.
type Rates interface {
	// CopyRate has no Tenants where nothing was measured.
	CopyRate(ctx context.Context, cluster string) (estimate.Rate, error)
}

// simulate fills in the forecast of a plan whose tenants are complete.
func (p *planner) simulate(s capacity.Situation) {
	var moving []capacity.Moving
	var places []int // of moving in p.plan.Tenants
	for i, t := range p.plan.Tenants {
		if len(t.Moves) > 0 {
			moving, places = append(moving, t.moving()), append(places, i)
		}
	}
	until := s.Until(moving, p.plan.Options.MaxTenants)
	for i, at := range places {
		t := &p.plan.Tenants[at]
		t.Footprint.Calendar = calendarShards(p.catalogue, *t, s.Now, until) // waves count it too
		moving[i].Calendar = t.Footprint.Calendar
	}
	p.plan.Forecast = s.Forecast(moving, p.plan.Options.MaxTenants)
}

// moving is what arithmetic needs to know of a tenant.
func (t TenantPlan) moving() capacity.Moving {
	return capacity.Moving{Shards: t.Shards, Footprint: t.Footprint}
}

// calendarShards are those of the partitions that begin until then: of the old
// version before a tenant's switch, and of the new one in any case.
func calendarShards(c *releases.Catalogue, t TenantPlan, now, until time.Time) int {
	sum := 0
	replicas := 0
	for _, m := range t.Moves {
		replicas = max(replicas, int(m.Replicas))
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
			f.Largest = max(f.Largest, c.Docs)
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
			fmt.Sprintf("set cluster.max_shards_per_node to %d or more, add data nodes, let TMS raise it with --raise-shard-limit, or take fewer tenants at once: %s", s.Needed, f.Advice()))
	}
	if f.Disk.Limit > 0 && f.Bytes > 0 && f.Disk.Peak > f.Disk.Limit {
		p.refuse("", "disk_headroom",
			where+fmt.Sprintf("%d bytes of disk are used, and at most %d are while both versions stand, but the engine stops at %d (watermark %s)", f.Disk.Used, f.Disk.Peak, f.Disk.Limit, f.Disk.Watermark),
			"add disk or data nodes, or take fewer tenants and finalize them before the next (--finalize-waves)")
	}
}

// WithSimulation has plans tell duration too, and disk where the engine is a
// Disks.
func (s *Service) WithSimulation(r Rates) *Service {
	s.rates = r
	return s
}

// situation reads what a simulation needs beside the plan.
func (s *Service) situation(ctx context.Context, cluster string, engine Engine, v ClusterView, o Options) (capacity.Situation, error) {
	at := capacity.Situation{Now: v.Now, Shards: v.Shards}
	if s.rates == nil {
		return at, nil
	}
	var err error
	if disks, ok := engine.(Disks); ok {
		if at.Disk, err = disks.Disk(ctx); err != nil {
			return at, unavailable(cluster, err)
		}
	}
	if at.Rate, err = s.rates.CopyRate(ctx, cluster); err != nil {
		return at, err
	}
	limits, _, err := s.limits(ctx)
	at.Limits = capacity.Limits{Cluster: limits[cluster] / countedTimes(o.Verify), Copy: o.RequestsPerSecond}
	return at, err
}
