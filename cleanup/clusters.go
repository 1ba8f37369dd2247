package cleanup

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tracardi/tms/tenants"
)

// Clusters names the clusters in which tenants live.
type Clusters interface {
	// Names lists them, tenants.DefaultCluster first.
	Names(ctx context.Context) ([]string, error)
	// Engine finds the engine of one, without a call to it.
	Engine(ctx context.Context, cluster string) (Engine, error)
}

// in is the service of one cluster.
func (s *Service) in(ctx context.Context, cluster string) (*Service, error) {
	if cluster == "" {
		cluster = tenants.DefaultCluster
	}
	c := s.c
	c.cluster = cluster
	if c.Clusters != nil {
		var err error
		if c.Engine, err = c.Clusters.Engine(ctx, cluster); err != nil {
			return nil, err
		}
	}
	return &Service{c}, nil
}

// whereTo is the cluster that a request is about: a cleanup is of one, because
// versions that nobody uses, nodes and the pace of deletions are a cluster's.
// Where none is named, it is that of the tenants, or the only one.
func (s *Service) whereTo(ctx context.Context, r Request) (string, error) {
	if s.c.Clusters == nil {
		return tenants.DefaultCluster, nil
	}
	names, err := s.c.Clusters.Names(ctx)
	if err != nil {
		return "", err
	}
	switch {
	case r.Cluster != "" && !slices.Contains(names, r.Cluster):
		return "", clusterError("%.80q is not registered", r.Cluster)
	case r.Cluster != "":
		return r.Cluster, nil
	case len(names) == 1:
		return names[0], nil
	}
	homes, err := s.homes(ctx, r.Tenants)
	switch {
	case err != nil:
		return "", err
	case len(homes) == 1 && len(r.Tenants) > 0:
		return homes[0], nil
	case len(r.Tenants) > 0 && len(homes) > 1:
		return "", clusterError("the tenants live in several: %s; a cleanup is of one", strings.Join(homes, ", "))
	}
	return "", clusterError("is empty, and there are several: name one of %s", strings.Join(names, ", "))
}

// homes are the clusters of registered tenants, sorted.
func (s *Service) homes(ctx context.Context, ids []string) ([]string, error) {
	all, err := s.c.Registry.AllTenants(ctx)
	if err != nil {
		return nil, fmt.Errorf("list registered tenants: %w", err)
	}
	var out []string
	for _, t := range all {
		if slices.Contains(ids, t.ID) && !purged(t) {
			out = append(out, t.Cluster)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// resident says whether a tenant lives in the cluster of the service.
func (s *Service) resident(t *tenants.Tenant) bool {
	return !purged(t) && (s.c.Clusters == nil || t.Cluster == s.c.cluster)
}

func clusterError(format string, args ...any) error {
	message := fmt.Sprintf(format, args...)
	return &tenants.Error{
		Code: tenants.CodeInvalid, Reason: tenants.ReasonInvalidField, Field: "cluster", Message: message, Remedy: "see `tms cluster list`",
		Violations: []tenants.Violation{{Field: "cluster", Message: message}},
	}
}
