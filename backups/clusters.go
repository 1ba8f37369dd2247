package backups

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tracardi/tms/tenants"
)

// Engines finds the engine of a cluster by the registry's name, without a call
// to it.
type Engines interface {
	// Names lists all clusters, tenants.DefaultCluster first.
	Names(ctx context.Context) ([]string, error)
	For(ctx context.Context, cluster string) (Engine, error)
}

// WithEngines has the service find the engines of several clusters. A
// repository belongs to one: it is that of the tenants whose snapshots are in
// it.
func (s *Service) WithEngines(e Engines) *Service {
	s.engines = e
	return s
}

// WithEngines has the runner find the engines of several clusters.
func (r *Runner) WithEngines(e Engines) *Runner {
	r.engines = e
	return r
}

// in is the service of one cluster.
func (s *Service) in(ctx context.Context, cluster string) (*Service, error) {
	if s.engines == nil {
		return s, nil
	}
	e, err := s.engines.For(ctx, cluster)
	if err != nil {
		return nil, err
	}
	there := *s
	there.engine = e
	return &there, nil
}

// with is the service of the cluster to which a registered repository belongs.
func (s *Service) with(ctx context.Context, repository string) (*Service, error) {
	if s.engines == nil {
		return s, nil
	}
	r, err := s.Repository(ctx, repository)
	if err != nil {
		return nil, err
	}
	return s.in(ctx, r.Cluster)
}

// engineOf is the engine on which a run works.
func (r *Runner) engineOf(ctx context.Context, id string) (Engine, error) {
	if r.engines == nil {
		return r.engine, nil
	}
	run, err := r.store.Run(ctx, id)
	if err != nil {
		return nil, err
	}
	repository, err := r.store.Repository(ctx, run.Repository)
	if err != nil {
		return nil, err
	}
	return r.engines.For(ctx, repository.Cluster)
}

// source finds the repository to write to and the tenants whose snapshot goes
// into it. Named tenants must live in the repository's cluster; of all, or of
// those with labels, it takes those that do.
func (s *Service) source(ctx context.Context, name string, sel Selection, some bool) (*Repository, []Tenant, error) {
	var repository *Repository
	var err error
	if name != "" {
		if repository, err = s.writable(ctx, name, nil); err != nil {
			return nil, nil, err
		}
	}
	found, err := s.selected(ctx, sel, some)
	if repository == nil {
		var rerr error
		if repository, rerr = s.writable(ctx, "", homesOf(found)); rerr != nil {
			return nil, nil, rerr
		}
	}
	if err != nil || s.engines == nil {
		return repository, found, err
	}
	there := slices.DeleteFunc(slices.Clone(found), func(t Tenant) bool { return t.Cluster != repository.Cluster })
	if len(sel.Tenants) > 0 && len(there) < len(found) && !some {
		i := slices.IndexFunc(found, func(t Tenant) bool { return t.Cluster != repository.Cluster })
		return nil, nil, invalid("repository", "take one snapshot for each cluster, into a repository of it",
			"%s belongs to cluster %s; of the tenants named %d live elsewhere, for instance %s", repository.Name, repository.Cluster, len(found)-len(there), found[i].ID)
	}
	if len(there) == 0 {
		return repository, nil, notFound("selection", "see `tms tenant list --filter cluster:"+repository.Cluster+"`", "no tenant that matches lives in cluster %s of repository %s", repository.Cluster, repository.Name)
	}
	return repository, there, nil
}

// homesOf are the clusters of tenants, sorted.
func homesOf(all []Tenant) []string {
	var out []string
	for _, t := range all {
		out = append(out, t.Cluster)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// foreign refuses to restore a tenant from a repository of another cluster:
// that would be a move.
func (s *Service) foreign(ctx context.Context, repository string, known []Tenant) ([]Refusal, error) {
	if s.engines == nil || len(known) == 0 {
		return nil, nil
	}
	r, err := s.Repository(ctx, repository)
	if err != nil || r.Cluster == known[0].Cluster {
		return nil, err
	}
	return []Refusal{{
		Code: "cluster_differs", TenantID: known[0].ID,
		Message: fmt.Sprintf("it lives in cluster %s, and repository %s belongs to cluster %s: TMS does not move tenants between clusters", known[0].Cluster, r.Name, r.Cluster),
		Remedy:  "choose a snapshot in a repository of its cluster, see `tms backup list`",
	}}, nil
}

// settled refuses to take a repository to another cluster.
func (s *Service) settled(ctx context.Context, r *Repository) error {
	if r.Cluster == "" {
		r.Cluster = tenants.DefaultCluster
	}
	known, err := s.store.Repository(ctx, r.Name)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil:
		return err
	case known.Cluster != r.Cluster:
		return invalid("cluster", "choose another name, or remove that one first", "repository %s belongs to cluster %s", r.Name, known.Cluster)
	}
	return nil
}

// severalClusters says that tenants of several clusters have no repository in
// common.
func severalClusters(homes []string) error {
	return invalid("repository", "take one snapshot for each cluster, into a repository of it", "the tenants live in several clusters: %s", strings.Join(homes, ", "))
}

// together says whether two repositories belong to the same cluster; so does
// one of which that is not known.
func (s *Service) together(ctx context.Context, a, b string) bool {
	one, err := s.store.Repository(ctx, a)
	if err != nil {
		return true
	}
	other, err := s.store.Repository(ctx, b)
	return err != nil || one.Cluster == other.Cluster
}
