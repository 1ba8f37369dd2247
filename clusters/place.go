package clusters

import (
	"context"
	"fmt"
	"strings"

	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
)

// Place chooses the cluster of a new tenant: the one with most room. Where
// there is only the default one, nothing is asked, so that tenants can be
// registered while it is down. It keeps no place: tenants that are registered
// and not yet installed count, so that the next choice knows of this one.
func (s *Service) Place(ctx context.Context) (string, error) {
	all, err := s.store.Clusters(ctx)
	if err != nil {
		return "", err
	}
	if len(all) == 0 {
		return Default, nil
	}
	found, err := s.capacities(ctx, CapacityRequest{Wave: upgrader.DefaultMaxTenants}, placeLimit)
	if err != nil {
		return "", err
	}
	return choose(found)
}

// choose takes the cluster with most room; the same answer for the same
// figures. Room that leaves a wave of the next upgrade its own comes first.
func choose(all []Capacity) (string, error) {
	best := -1
	for i := range all {
		if all[i].Problem == "" && all[i].Fits > 0 && (best < 0 || roomier(&all[i], &all[best])) {
			best = i
		}
	}
	if best >= 0 {
		return all[best].Cluster, nil
	}
	var why []string
	for _, c := range all {
		reason := c.Advice
		if c.Problem != "" {
			reason = "does not answer"
		}
		why = append(why, "cluster "+c.Cluster+": "+reason)
	}
	return "", &tenants.Error{
		Code: tenants.CodeFailedPrecondition, Reason: ReasonFull, Field: "cluster",
		Message: fmt.Sprintf("no cluster has room for another tenant: %s", strings.Join(why, "; ")), Remedy: "make room, or name a cluster all the same (--cluster)",
	}
}

// roomier orders by room for further tenants with a wave of the next upgrade,
// then without, then by how few live there, then by name.
func roomier(a, b *Capacity) bool {
	switch {
	case a.FitsDuringUpgrade != b.FitsDuringUpgrade:
		return a.FitsDuringUpgrade > b.FitsDuringUpgrade
	case a.Fits != b.Fits:
		return a.Fits > b.Fits
	case a.Tenants != b.Tenants:
		return a.Tenants < b.Tenants
	}
	return a.Cluster < b.Cluster
}
