package upgrader

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tracardi/tms/upgrader/capacity"
	"github.com/tracardi/tms/upgrader/strategy"
)

// except takes tenants out of the fleet that are to be left out.
func (p *planner) except(fleet []FleetTenant) []FleetTenant {
	reasons := p.plan.Options.Except
	var left []FleetTenant
	for _, t := range fleet {
		if _, out := reasons[t.ID]; out {
			p.plan.Excepted = append(p.plan.Excepted, t)
			continue
		}
		left = append(left, t)
	}
	for _, id := range slices.Sorted(maps.Keys(reasons)) {
		if !slices.ContainsFunc(p.plan.Excepted, func(t FleetTenant) bool { return t.ID == id }) {
			p.refuse(id, "except_unknown", fmt.Sprintf("tenant %q is excepted, but it is not part of the rollout", id), "leave --except out for it")
		}
	}
	return left
}

// behind are the releases of which a tenant has to be upgraded; "0.8.1.*" are
// all minor ones of 0.8.1.
func (p *planner) behind() []string {
	var out []string
	for _, r := range p.catalogue.List() {
		if kind, err := wayBetween(p.catalogue, r.Version, p.plan.ToRelease); err != nil || kind == KindNone {
			continue
		}
		out = append(out, r.Version)
		if r.Version != p.target.Version {
			out = append(out, r.Version+".*")
		}
	}
	// Below a minor release are the minor ones before it.
	if minor, ok := strings.CutPrefix(p.plan.ToRelease, p.target.Version+"."); ok {
		n, _ := strconv.Atoi(minor)
		for i := range min(n, mostMinors) {
			out = append(out, fmt.Sprintf("%s.%d", p.target.Version, i))
		}
	}
	return out
}

// mostMinors bounds the minor releases that are listed: Tracardi has never had
// more than a handful.
const mostMinors = 1000

// waves assigns the tenants to waves and simulates each.
func (p *planner) waves(fleet []FleetTenant) {
	known := map[string]FleetTenant{}
	for _, t := range fleet {
		known[t.ID] = t
	}
	var moving []strategy.Tenant
	for i := range p.plan.Tenants {
		t := &p.plan.Tenants[i]
		t.Labels = known[t.TenantID].Labels
		if len(t.Path) > 1 {
			moving = append(moving, strategy.Tenant{ID: t.TenantID, Labels: t.Labels, Docs: t.Footprint.Docs})
		}
	}
	a := assignWaves(p.plan.Options.Strategy, moving)
	p.plan.Waves = a.waves
	p.plan.Refusals = append(p.plan.Refusals, a.refusals...)
	members := map[string][][]TenantPlan{} // by cluster and wave
	for i := range p.plan.Tenants {
		t := &p.plan.Tenants[i]
		at := a.places[t.TenantID]
		if t.Wave, t.Position = at.wave, at.position; at.wave == 0 {
			continue
		}
		home := cmp.Or(known[t.TenantID].Cluster, DefaultCluster)
		if members[home] == nil {
			members[home] = make([][]TenantPlan, len(a.waves))
		}
		members[home][at.wave-1] = append(members[home][at.wave-1], *t)
	}
	for i := range p.plan.Clusters {
		c := &p.plan.Clusters[i]
		if members[c.Cluster] != nil {
			p.plan.WaveForecasts = append(p.plan.WaveForecasts, c.forecastWaves(a.waves, members[c.Cluster], p.plan.Options.MaxTenants)...)
		}
	}
	slices.SortStableFunc(p.plan.WaveForecasts, func(x, y capacity.WaveForecast) int { return cmp.Compare(x.Number, y.Number) })
}

// tightest is the wave that needs most shards of a cluster; nil where none is
// finalized before the next one.
func (p *Plan) tightest(cluster string) *capacity.WaveForecast {
	if !slices.ContainsFunc(p.Waves, func(w Wave) bool { return w.Rule.Between.Finalize }) {
		return nil
	}
	var most *capacity.WaveForecast
	for i := range p.WaveForecasts {
		if f := &p.WaveForecasts[i]; f.Cluster == cluster && (most == nil || f.ShardsPeak > most.ShardsPeak) {
			most = f
		}
	}
	return most
}

// forecastWaves has the waves played through in a cluster, and takes over what
// it needs at most when waves are finalized as ordered.
func (c *ClusterPlan) forecastWaves(waves []Wave, members [][]TenantPlan, atOnce int) []capacity.WaveForecast {
	parts := make([]capacity.WaveMembers, len(waves))
	for i, w := range waves {
		parts[i] = capacity.WaveMembers{Number: w.Number, Name: w.Name, Finalize: w.Rule.Between.Finalize}
		for _, t := range members[i] {
			parts[i].Moving = append(parts[i].Moving, t.moving())
		}
	}
	start := capacity.Situation{Shards: capacity.Shards{Open: c.Shards.Now}, Disk: c.Forecast.Disk.Disk, Rate: c.Forecast.Rate, Limits: c.Forecast.Limits}
	out := start.Waves(parts, atOnce)
	if len(out) == 0 {
		return nil
	}
	for i := range out {
		out[i].Cluster = c.Cluster
	}
	byShards := func(x, y capacity.WaveForecast) int { return cmp.Compare(x.ShardsPeak, y.ShardsPeak) }
	byDisk := func(x, y capacity.WaveForecast) int { return cmp.Compare(x.DiskPeak, y.DiskPeak) }
	c.Forecast.ShardsPeak, c.Forecast.Disk.Peak = slices.MaxFunc(out, byShards).ShardsPeak, slices.MaxFunc(out, byDisk).DiskPeak
	c.Shards.SetPeak(c.Forecast.ShardsPeak)
	return out
}

// exceptedTenant is the row of a tenant that is left out from the start.
func exceptedTenant(r *Rollout, t FleetTenant, now time.Time) RolloutTenant {
	return excepted(r.ID, t.ID, t.Release, r.Options.Except[t.ID], now)
}

// checkStrategy refuses a strategy or exceptions that are wrong.
func (s *Service) checkStrategy(o Options) error {
	for id, why := range o.Except {
		if why == "" {
			return &ServiceError{Reason: ReasonInvalid, Field: "options.except." + id, Message: "is empty", Remedy: "say why the tenant is left out"}
		}
	}
	problems := o.Strategy.Problems()
	if s.gates.Probes != nil {
		problems = append(problems, o.Strategy.Addresses(s.gates.Probes.CheckAddress)...)
	}
	if len(problems) == 0 {
		return nil
	}
	return &ServiceError{Reason: ReasonInvalid, Field: "options.strategy." + problems[0].Path, Message: problems[0].Text + andMore(problems[1:]), Remedy: "see `tms upgrade schema`"}
}

func andMore(problems []strategy.Problem) string {
	text := ""
	for _, p := range problems {
		text += "; " + p.String()
	}
	return text
}
