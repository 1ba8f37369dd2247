package upgrader

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader/capacity"
)

// paperCluster answers what a plan asks of a cluster without tenants' indices.
type paperCluster struct {
	Engine
	open, perNode int
	down          error
}

func (c paperCluster) Info(context.Context) (EngineInfo, error) {
	return EngineInfo{Product: "elasticsearch", Version: "8.15.0", Flattened: "flattened"}, c.down
}

func (c paperCluster) Shards(context.Context) (capacity.Shards, error) {
	return capacity.Shards{Open: c.open, MaxPerNode: c.perNode, DataNodes: 2, SettingsFrom: "default"}, nil
}
func (paperCluster) Refresh(context.Context, ...string) error { return nil }
func (paperCluster) Indices(context.Context, ...string) ([]Index, error) {
	return nil, nil
}

func (paperCluster) Stats(context.Context, ...string) (map[string]IndexStats, error) {
	return nil, nil
}

func (paperCluster) Aliases(context.Context, ...string) (map[string][]string, error) {
	return nil, nil
}

type paperClusters map[string]Engine

func (p paperClusters) For(_ context.Context, name string) (Engine, error) {
	if e, ok := p[name]; ok {
		return e, nil
	}
	return nil, errors.New("cluster " + name + " is not registered")
}

type paperFleet struct {
	Store
	tenants []FleetTenant
}

func (f paperFleet) Fleet(context.Context, []string) ([]FleetTenant, error) { return f.tenants, nil }

// Each cluster is planned by itself: what stands in the way in one names it,
// and one that is down refuses its own tenants only.
func TestPlanOfSeveralClusters(t *testing.T) {
	t.Parallel()
	catalogue, err := releases.Builtin()
	require.NoError(t, err)
	at := func(id, cluster string) FleetTenant {
		return FleetTenant{ID: id, Release: "0.8.1", Cluster: cluster, State: "active"}
	}
	home, far, down := paperCluster{open: 100, perNode: 1000}, paperCluster{open: 900, perNode: 500}, paperCluster{down: errors.New("connection refused")}
	plan := func(clusters paperClusters, fleet ...FleetTenant) (*Plan, error) {
		s := NewService(paperFleet{tenants: fleet}, nil, catalogue, func() time.Time { return time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC) }).WithEngines(clusters)
		return s.Plan(t.Context(), Request{ToRelease: "0.8.2"})
	}
	codes := func(p *Plan) map[string]string {
		out := map[string]string{}
		for _, r := range p.Refusals {
			out[r.TenantID] += r.Code
		}
		return out
	}

	p, err := plan(paperClusters{"default": home, "eu": far}, at("acme", "default"), at("beta", "eu"))
	require.NoError(t, err)
	require.Len(t, p.Clusters, 2)
	require.Equal(t, "default", p.Clusters[0].Cluster)
	require.Equal(t, 2000, p.Clusters[0].Shards.Limit)
	require.Equal(t, 900, p.Clusters[1].Shards.Now)
	require.Equal(t, 1000, p.Shards.Now, "the sum")
	require.Equal(t, 3000, p.Shards.Limit, "the sum")
	require.Equal(t, 500, p.Shards.MaxPerNode, "of the tighter one")
	require.Equal(t, map[string]string{"acme": "tenant_without_indices", "beta": "tenant_without_indices"}, codes(p))

	p, err = plan(paperClusters{"default": home, "eu": down}, at("acme", "default"), at("beta", "eu"), at("gamma", "nowhere"))
	require.NoError(t, err)
	require.Equal(t, map[string]string{"": "cluster_unavailablecluster_unavailable", "acme": "tenant_without_indices"}, codes(p))
	require.Contains(t, p.Refusals[0].Message+p.Refusals[1].Message, "cluster eu, where 1 of the tenants live")
	require.Contains(t, p.Refusals[0].Message+p.Refusals[1].Message, "cluster nowhere is not registered")
	require.Contains(t, p.Refusals[0].Remedy, "begin with the others: `--cluster default`")

	_, err = plan(paperClusters{"default": down}, at("acme", "default"))
	var refused *ServiceError
	require.ErrorAs(t, err, &refused, "there is nothing else to plan")
	require.Equal(t, ReasonUnavailable, refused.Reason)
	_, err = plan(paperClusters{"eu": down}, at("acme", "eu"))
	require.ErrorAs(t, err, &refused)
	require.Contains(t, refused.Remedy, "tms cluster verify eu")
}

type paperNames []string

func (n paperNames) Names(context.Context) ([]string, error) { return n, nil }

// A rollout can be narrowed to clusters, of the whole fleet and of named
// tenants; a name that nobody has registered is refused with those there are.
func TestPlanOfChosenClusters(t *testing.T) {
	t.Parallel()
	catalogue, err := releases.Builtin()
	require.NoError(t, err)
	fleet := []FleetTenant{{ID: "acme", Release: "0.8.1"}, {ID: "beta", Release: "0.8.1", Cluster: "eu"}, {ID: "gamma", Release: "0.8.1", Cluster: "eu"}}
	up := paperCluster{open: 100, perNode: 1000}
	s := NewService(paperFleet{tenants: fleet}, nil, catalogue, nil).WithEngines(paperClusters{"default": up, "eu": up, "us": up}).WithClusterNames(paperNames{"default", "eu", "us"})
	for name, c := range map[string]struct {
		tenants, clusters []string
		except            string
		want, elsewhere   []string
		refusals          []string // of the rollout as a whole
	}{
		"all":                     {want: []string{"acme", "beta", "gamma"}},
		"the default one":         {clusters: []string{"default"}, want: []string{"acme"}},
		"another":                 {clusters: []string{"eu"}, want: []string{"beta", "gamma"}},
		"several":                 {clusters: []string{"eu", "default", "us"}, want: []string{"acme", "beta", "gamma"}},
		"with tenants":            {tenants: []string{"acme", "beta", "gamma"}, clusters: []string{"eu"}, want: []string{"beta", "gamma"}, elsewhere: []string{"acme"}},
		"with exceptions":         {clusters: []string{"eu"}, except: "beta", want: []string{"gamma"}},
		"excepted elsewhere":      {clusters: []string{"eu"}, except: "acme", want: []string{"beta", "gamma"}, refusals: []string{"except_unknown: leave --except out for it"}},
		"none lives there":        {clusters: []string{"us"}, refusals: []string{"fleet_empty: see `tms tenant list --filter cluster:us`, or leave --cluster out"}},
		"none of those named":     {tenants: []string{"acme", "beta", "gamma"}, clusters: []string{"us"}, elsewhere: []string{"acme", "beta", "gamma"}, refusals: []string{"fleet_empty: see `tms tenant list --filter cluster:us`, or leave --cluster out"}},
		"unknown":                 {clusters: []string{"asia"}, refusals: []string{"cluster_unknown: there are: default, eu, us"}},
		"unknown beside a known ": {clusters: []string{"eu", "asia"}, want: []string{"beta", "gamma"}, refusals: []string{"cluster_unknown: there are: default, eu, us"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := Options{Tenants: c.tenants, Clusters: c.clusters}
			if c.except != "" {
				o.Except = map[string]string{c.except: "why"}
			}
			p, err := s.Plan(t.Context(), Request{ToRelease: "0.8.2", Options: o})
			require.NoError(t, err)
			var planned, refusals []string
			for _, r := range p.Refusals {
				if r.Code == "tenant_without_indices" {
					planned = append(planned, r.TenantID)
					continue
				}
				refusals = append(refusals, r.Code+": "+r.Remedy)
			}
			require.Equal(t, c.want, planned)
			require.Equal(t, c.elsewhere, p.Elsewhere)
			require.Equal(t, c.refusals, refusals)
		})
	}
	_, err = s.List(t.Context(), RolloutFilter{Clusters: []string{"asia"}})
	require.ErrorContains(t, err, `"asia" is not registered (there are: default, eu, us)`)
}
