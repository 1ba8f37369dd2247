package upgrader

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// ClusterNames lists the names of all clusters, *clusters.Service.
type ClusterNames interface {
	Names(ctx context.Context) ([]string, error)
}

// WithClusterNames has the service know which clusters there are beside the
// default one, so that rollouts can be narrowed to some.
func (s *Service) WithClusterNames(c ClusterNames) *Service {
	s.clusters = c
	return s
}

// RolloutFilter narrows a list of rollouts.
type RolloutFilter struct {
	// Clusters: only rollouts with tenants in one of them; empty means all.
	Clusters []string
	Before   string // only older ones than this; "" for the newest
	Limit    int
}

// unknownClusters are those of names that nobody has registered, and all that
// there are.
func (s *Service) unknownClusters(ctx context.Context, names []string) (unknown, all []string, err error) {
	if len(names) == 0 {
		return nil, nil, nil
	}
	all = []string{DefaultCluster}
	if s.clusters != nil {
		if all, err = s.clusters.Names(ctx); err != nil {
			return nil, nil, err
		}
	}
	for _, name := range names {
		if !slices.Contains(all, name) {
			unknown = append(unknown, name)
		}
	}
	return unknown, all, nil
}

// knowClusters refuses names of clusters that there are not.
func (s *Service) knowClusters(ctx context.Context, names []string) error {
	unknown, all, err := s.unknownClusters(ctx, names)
	if err != nil || len(unknown) == 0 {
		return err
	}
	return &ServiceError{
		Reason: ReasonInvalid, Field: "clusters", Message: fmt.Sprintf("%.80q is not registered", unknown[0]),
		Remedy: "there are: " + strings.Join(all, ", "),
	}
}

// inClusters narrows the fleet to the clusters that were chosen.
func (s *Service) inClusters(ctx context.Context, p *planner, fleet []FleetTenant) ([]FleetTenant, error) {
	o := p.plan.Options
	if len(o.Clusters) == 0 {
		return fleet, nil
	}
	unknown, all, err := s.unknownClusters(ctx, o.Clusters)
	if err != nil {
		return nil, err
	}
	for _, name := range unknown {
		p.refuse("", "cluster_unknown", fmt.Sprintf("cluster %.80q is not registered", name), "there are: "+strings.Join(all, ", "))
	}
	var there []FleetTenant
	for _, t := range fleet {
		switch {
		case slices.Contains(o.Clusters, t.home()):
			there = append(there, t)
		case len(o.Tenants) > 0:
			p.plan.Elsewhere = append(p.plan.Elsewhere, t.ID)
		}
	}
	return there, nil
}

// home is the cluster where the tenant lives.
func (t FleetTenant) home() string {
	if t.Cluster == "" {
		return DefaultCluster
	}
	return t.Cluster
}

// clusterOf is where a tenant of the rollout lives.
func (r *Rollout) clusterOf(tenant string) string {
	for i := range r.Tenants {
		if r.Tenants[i].TenantID == tenant && r.Tenants[i].Cluster != "" {
			return r.Tenants[i].Cluster
		}
	}
	return DefaultCluster
}

// nobody refuses a selection that leaves no tenant, unless something says that
// already.
func (p *planner) nobody() {
	o := p.plan.Options
	switch {
	case len(o.Clusters) > 0 && (len(o.Tenants) == 0 || len(p.plan.Elsewhere) > 0):
		if slices.ContainsFunc(p.plan.Refusals, func(r Refusal) bool { return r.Code == "cluster_unknown" }) {
			return
		}
		whose := "no tenant"
		if len(o.Tenants) > 0 {
			whose = "none of the tenants that were named"
		}
		p.refuse("", "fleet_empty", fmt.Sprintf("%s lives in cluster %s", whose, strings.Join(o.Clusters, ", ")),
			"see `tms tenant list --filter cluster:"+o.Clusters[0]+"`, or leave --cluster out")
	case len(o.Tenants) == 0:
		p.refuse("", "fleet_empty", "no tenant is registered", "register one with `tms tenant create`")
	}
}
