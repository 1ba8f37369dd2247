package tenants

import (
	"context"
	"fmt"
	"slices"
)

// Clusters finds the search clusters in which tenants live.
type Clusters interface {
	// Cluster finds one by its name, without a call to it;
	// ReasonClusterNotFound.
	Cluster(ctx context.Context, name string) (Cluster, error)
}

// OneCluster answers with the same cluster for every name.
func OneCluster(c Cluster) Clusters { return oneCluster{c} }

type oneCluster struct{ cluster Cluster }

func (o oneCluster) Cluster(context.Context, string) (Cluster, error) { return o.cluster, nil }

// Places knows where tenants may live.
type Places interface {
	Clusters
	// Place chooses the cluster of a new tenant when none was named.
	Place(ctx context.Context) (string, error)
}

// WithPlaces has the service place new tenants, and look whether a tenant's
// cluster may be corrected; prefixes lists what the index names of all known
// releases carry. Without, new tenants go to DefaultCluster.
func (s *Service) WithPlaces(p Places, prefixes func() []string) *Service {
	s.places, s.prefixes = p, prefixes
	return s
}

// place fills in the cluster of a new tenant.
func (s *Service) place(ctx context.Context, t *Tenant) (err error) {
	switch {
	case s.places == nil && t.Cluster == "":
		t.Cluster = DefaultCluster
	case s.places == nil:
	case t.Cluster == "":
		t.Cluster, err = s.places.Place(ctx)
	case namePattern.MatchString(t.Cluster): // Validate refuses the others
		_, err = s.places.Cluster(ctx, t.Cluster)
	}
	return err
}

// correctable says whether the registry may be told of another cluster: when
// the tenant has nothing in the one that it names. That is a correction;
// anything else would be a move, and nobody would move what is there.
func (s *Service) correctable(ctx context.Context, r UpdateRequest) (checked string, err error) {
	if s.places == nil || !slices.Contains(r.Mask, "cluster") {
		return "", nil
	}
	t, err := s.store.Tenant(ctx, r.Tenant.ID)
	if err != nil || t.Cluster == r.Tenant.Cluster {
		return "", err
	}
	if namePattern.MatchString(r.Tenant.Cluster) {
		if _, err := s.places.Cluster(ctx, r.Tenant.Cluster); err != nil {
			return "", err
		}
	}
	home, err := s.places.Cluster(ctx, t.Cluster)
	if HasReason(err, ReasonClusterNotFound) {
		return t.Cluster, nil // a name that leads nowhere
	}
	if err != nil {
		return "", err
	}
	found, err := territory{id: t.ID, adopted: t.AdoptedFrom, prefixes: s.prefixes()}.survey(ctx, home)
	if err != nil {
		return "", &Error{
			Code: CodeUnavailable, Reason: ReasonClusterSilent, Field: "cluster", Err: err,
			Message: fmt.Sprintf("cluster %s does not say whether tenant %s has something there", t.Cluster, t.ID), Remedy: "see `tms cluster verify " + t.Cluster + "`, then try again",
		}
	}
	if held := found.String(); held != "" {
		return "", notMovedError(t, held)
	}
	return t.Cluster, nil
}

func notMovedError(t *Tenant, held string) error {
	return &Error{
		Code: CodeFailedPrecondition, Reason: ReasonNotMoved, Field: "cluster",
		Message: fmt.Sprintf("tenant %s lives in cluster %s, which holds %s; TMS does not move tenants between clusters", t.ID, t.Cluster, held),
		Remedy:  "leave it where it is; only a tenant of which its cluster holds nothing can be registered in another one",
	}
}

// sameCluster refuses a correction that was checked for another cluster.
func sameCluster(t *Tenant, r UpdateRequest, checked string) error {
	if checked == "" || t.Cluster == checked || t.Cluster == r.Tenant.Cluster {
		return nil
	}
	return &Error{
		Code: CodeConflict, Reason: ReasonEtagMismatch, Field: "cluster", Message: fmt.Sprintf("the cluster of tenant %q was changed meanwhile to %s", t.ID, t.Cluster),
		Remedy: "read it again and repeat the change", Metadata: map[string]string{"etag": t.Etag()},
	}
}
