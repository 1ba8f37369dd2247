package upgrader

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader/capacity"
	"github.com/tracardi/tms/upgrader/estimate"
	"github.com/tracardi/tms/upgrader/naming"
	"github.com/tracardi/tms/upgrader/strategy"
)

var planDay = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// viewOf is a tenant as its release's installer leaves it, with the given
// months for partitioned resources.
func viewOf(r *releases.Release, tenant string, months ...string) TenantView {
	v := TenantView{OldStats: map[string]IndexStats{}, Aliases: map[string][]string{}}
	for _, res := range r.Resources {
		for _, m := range naming.ModesOf(res) {
			parts := []string{""}
			if res.Partitioning != releases.Unpartitioned {
				parts = months
			}
			for _, p := range parts {
				n := naming.IndexName{Mode: m, Prefix: r.Prefix, Tenant: tenant, Base: res.Base, Partition: p}
				v.Old = append(v.Old, Index{Name: n.String(), Aliases: []string{n.Alias()}, Mapping: res.Mapping, Settings: finalSettings(res, 0)})
				v.OldStats[n.String()] = IndexStats{Docs: 10, Primaries: shardsOf(res), Checkpoints: map[int]int64{0: 9}}
				v.Aliases[n.Alias()] = append(v.Aliases[n.Alias()], n.String())
			}
		}
	}
	slices.SortFunc(v.Old, func(a, b Index) int { return strings.Compare(a.Name, b.Name) })
	return v
}

type planCase struct {
	catalogue *releases.Catalogue
	options   Options
	cluster   ClusterView
	disk      capacity.Disk
	rate      estimate.Rate
	fleet     []FleetTenant
	view      TenantView
	to        string
}

func newPlanCase(t require.TestingT) *planCase {
	c, err := releases.Builtin()
	require.NoError(t, err)
	r, err := c.Get("0.8.1")
	require.NoError(t, err)
	return &planCase{
		catalogue: c, to: "0.8.2", options: Options{}.WithDefaults(),
		cluster: ClusterView{Now: planDay, Info: EngineInfo{Product: "elasticsearch", Version: "7.17.29", Flattened: "flattened"}, Shards: capacity.Shards{Open: 100, MaxPerNode: 1000, DataNodes: 1}},
		fleet:   []FleetTenant{{ID: "acme", Release: "0.8.1", State: "active"}},
		view:    viewOf(r, "acme", "2026-9", "2026-10", "2026-11"),
	}
}

func (c *planCase) plan(t require.TestingT) *Plan {
	target, err := c.catalogue.Get(c.to)
	require.NoError(t, err)
	p := newPlanner(c.catalogue, target, c.options, c.cluster)
	p.plan.ToRelease = c.to
	p.fleet(c.fleet)
	for _, f := range p.candidates(c.fleet) {
		p.tenant(f, c.view)
	}
	p.finish(capacity.Situation{Now: c.cluster.Now, Shards: c.cluster.Shards, Disk: c.disk, Rate: c.rate})
	p.plan.Clusters = []ClusterPlan{{Cluster: DefaultCluster, Shards: p.plan.Shards, Forecast: p.plan.Forecast}}
	p.waves(c.fleet)
	p.total()
	return p.plan
}

// One row per refusal: code, what it must name, and what makes it happen.
func TestPlanRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code  string
		names []string
		given func(*planCase)
	}{
		{"tenant_unknown", []string{"nobody"}, func(c *planCase) { c.options.Tenants = []string{"acme", "nobody"} }},
		{"fleet_empty", nil, func(c *planCase) { c.fleet = nil }},
		{"release_unset", nil, func(c *planCase) { c.fleet[0].Release = "" }},
		{"no_path", []string{"0.8.1"}, func(c *planCase) { c.to = "0.8.0" }},
		{"no_path", []string{"9.9.9"}, func(c *planCase) { c.fleet[0].Release = "9.9.9" }},
		{"rollout_active", []string{"r42"}, func(c *planCase) { c.fleet[0].ActiveRollout = "r42" }},
		{"tenant_without_indices", []string{"08x.acme.*"}, func(c *planCase) { c.view = TenantView{} }},
		{"shard_limit", []string{"950", "1000", "cluster.max_shards_per_node"}, func(c *planCase) { c.cluster.Shards.Open = 950 }},
		{"shard_limit", []string{"not even one"}, func(c *planCase) { c.cluster.Shards.Open = 999 }},
		{"shard_limit", []string{"calendar adds 54", "2026-12-02"}, func(c *planCase) {
			c.cluster.Shards.Open, c.rate = 850, estimate.Rate{Tenants: 1, Typical: 10 * 24 * time.Hour}
		}},
		{"shard_limit", []string{"wave 1 (canary) is what needs most", "1090"}, func(c *planCase) {
			c.cluster.Shards.Open = 950
			c.fleet = append(c.fleet, FleetTenant{ID: "globex", Release: "0.8.2"})
			c.options.Strategy = &strategy.File{Canary: &strategy.Wave{Size: "1"}, Waves: []strategy.Wave{{Size: "rest"}}, Between: strategy.Between{Finalize: true}}
			c.options.Strategy.Canary.Between = &strategy.Between{Finalize: true}
		}},
		{"disk_headroom", []string{"watermark low", "850"}, func(c *planCase) {
			c.disk = capacity.Disk{Total: 1000, Used: 800, Limit: 850, Watermark: "low"}
			st := c.view.OldStats["08x.acme.tracardi-rule"]
			st.Bytes = 51
			c.view.OldStats["08x.acme.tracardi-rule"] = st
		}},
		{"flattened_unsupported", []string{"elasticsearch 7.10.2", "consent-data-compliance", "settings"}, func(c *planCase) { c.cluster.Info.Flattened, c.cluster.Info.Version = "", "7.10.2" }},
		{"target_in_use", []string{"0820.acme.tracardi-rule", "acme.tracardi-rule"}, func(c *planCase) {
			c.view.New = []Index{{Name: "0820.acme.tracardi-rule", Aliases: []string{"acme.tracardi-rule"}}}
		}},
		{"target_has_documents", []string{"0820.acme.tracardi-rule", "10001"}, func(c *planCase) {
			c.view.New = []Index{{Name: "0820.acme.tracardi-rule"}}
			c.view.NewStats = map[string]IndexStats{"0820.acme.tracardi-rule": {Docs: 10_001}}
		}},
		{"index_closed", []string{"08x.acme.tracardi-rule"}, func(c *planCase) { delete(c.view.OldStats, "08x.acme.tracardi-rule") }},
		{"index_closed", []string{"0820.acme.tracardi-rule", "stands in the way"}, func(c *planCase) {
			c.view.New = []Index{{Name: "0820.acme.tracardi-rule", WriteBlocked: true}}
			c.view.NewStats = map[string]IndexStats{}
		}},
		{"partition_invalid", []string{"2026-13", "13"}, func(c *planCase) {
			n := "08x.acme.tracardi-profile-2026-13"
			c.view.Old = append(c.view.Old, Index{Name: n})
			c.view.OldStats[n] = IndexStats{Docs: 1}
		}},
	} {
		pc := newPlanCase(t)
		c.given(pc)
		plan := pc.plan(t)
		var found *Refusal
		for _, r := range plan.Refusals {
			if r.Code == c.code {
				found = &r
			}
		}
		require.NotNil(t, found, "%s: %+v", c.code, plan.Refusals)
		require.NotEmpty(t, found.Remedy, c.code)
		for _, n := range c.names {
			require.Contains(t, found.Message+" "+found.Remedy, n, c.code)
		}
	}
}

func TestPlanOfAFreshTenant(t *testing.T) {
	t.Parallel()
	pc := newPlanCase(t)
	plan := pc.plan(t)
	require.Empty(t, plan.Refusals)
	tp := plan.Tenants[0]
	require.Equal(t, []string{"0.8.1", "0.8.2"}, tp.Path)
	moves := map[string]PlannedMove{}
	for _, m := range tp.Moves {
		moves[m.Target] = m
	}
	// Three months go into the two quarters they belong to.
	q3, q4 := moves["0820.acme.tracardi-profile-2026-q3"], moves["prod-0820.acme.tracardi-profile-2026-q4"]
	require.Equal(t, MethodReindex, q3.Method)
	require.Equal(t, MethodMerge, q4.Method)
	require.Equal(t, []string{"prod-08x.acme.tracardi-profile-2026-10", "prod-08x.acme.tracardi-profile-2026-11"}, []string{q4.Copies[0].Source, q4.Copies[1].Source})
	// Entity and console-log end under a partition of the template's pattern.
	require.Equal(t, MethodReindex, moves["0820.acme.tracardi-entity-2026-q4"].Method)
	require.Equal(t, MethodReindex, moves["0820.acme.tracardi-console-log-2026-11"].Method)
	// What is new, and what is static, is only created.
	require.Equal(t, MethodCreate, moves["0820.acme.tracardi-dispatch-log-2026-11"].Method)
	require.Equal(t, MethodCreate, moves["static-0820.acme.tracardi-bridge"].Method)
	require.Equal(t, plan.Shards.Now+tp.Shards, plan.Shards.Peak)
}

// Every index of the old version that belongs to a resource with a successor
// is the source of exactly one move, whatever partitions there are; targets
// are unique and their names come apart as they were put together.
func TestPlanLosesNothing(t *testing.T) {
	t.Parallel()
	c, err := releases.Builtin()
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		var months []string
		for range rapid.IntRange(1, 8).Draw(t, "partitions") {
			months = append(months, naming.PartitionAt(
				rapid.SampledFrom([]releases.Partitioning{releases.Monthly, releases.Quarterly, releases.Yearly}).Draw(t, "kind"),
				time.Unix(rapid.Int64Range(1.5e9, 1.8e9).Draw(t, "at"), 0)))
		}
		months = dedup(months)
		from := rapid.SampledFrom([]string{"0.8.0", "0.8.1"}).Draw(t, "from")
		r, err := c.Get(from)
		require.NoError(t, err)
		pc := newPlanCase(t)
		pc.fleet[0].Release, pc.view = from, viewOf(r, "acme", months...)
		pc.cluster.Shards.MaxPerNode = 1_000_000
		plan := pc.plan(t)
		require.Empty(t, plan.Refusals)
		l, err := newLayout(c, from, "0.8.2")
		require.NoError(t, err)
		used := map[string]int{}
		targets := map[string]bool{}
		for _, m := range plan.Tenants[0].Moves {
			require.False(t, targets[m.Target])
			targets[m.Target] = true
			n, ok := naming.Parse(m.Target)
			require.True(t, ok)
			require.Equal(t, "0820", n.Prefix)
			for _, cp := range m.Copies {
				used[cp.Source]++
			}
		}
		for _, ix := range pc.view.Old {
			n, _ := naming.Parse(ix.Name)
			res, _ := l.sourceOf(n)
			want := 1
			if _, gone := l.gone[res.Key]; gone || n.Mode == naming.Static {
				want = 0
			}
			require.Equal(t, want, used[ix.Name], ix.Name)
		}
	})
}

func dedup(in []string) []string {
	seen := map[string]bool{}
	var out []string
	for _, s := range in {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}

func TestAliasActions(t *testing.T) {
	t.Parallel()
	before := map[string][]string{"a": {"old1", "old2"}, "gone": {"old3"}, "static": {"s1"}}
	after := map[string][]string{"a": {"new1"}, "static": {"s1", "s2"}, "fresh": {"new2"}}
	require.Equal(t, []AliasAction{
		{Remove: true, Index: "old1", Alias: "a"}, {Remove: true, Index: "old2", Alias: "a"}, {Remove: true, Index: "old3", Alias: "gone"},
		{Index: "new1", Alias: "a"}, {Index: "new2", Alias: "fresh"}, {Index: "s2", Alias: "static"},
	}, aliasActions(before, after))
	require.Empty(t, aliasActions(after, after))
}
