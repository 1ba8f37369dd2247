package adoption

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader/naming"
)

// Capture is a release as one tenant has it in the engine.
type Capture struct {
	Draft *releases.Draft
	Notes []string
}

// CaptureRequest names what is captured.
type CaptureRequest struct {
	Version, Prefix, Tenant string
	Cluster                 string // "" is the default one
}

// Capture is CaptureRelease in a cluster of the registry, with its releases.
func (f *Fleet) Capture(ctx context.Context, r CaptureRequest) (*Capture, error) {
	engine, err := f.clusters.Engine(ctx, cmp.Or(r.Cluster, tenants.DefaultCluster))
	if err != nil {
		return nil, err
	}
	return CaptureRelease(ctx, engine, f.c.Catalogue.List(), r.Tenant, r.Version, r.Prefix)
}

// CaptureRelease derives a release from a tenant that the release itself has
// installed, freshly: what documents have taught dynamic objects would become
// part of it. known gives the predecessor, and the keys of resources by their
// base names. It only reads.
func CaptureRelease(ctx context.Context, engine Engine, known []*releases.Release, tenant, version, prefix string) (*Capture, error) {
	c := &Capture{Draft: &releases.Draft{Version: version, Prefix: prefix}}
	keys := map[string]string{}
	for _, r := range known {
		if releases.CompareVersions(r.Version, version) < 0 {
			c.Draft.Previous = r
		}
		for _, res := range r.Resources {
			keys[res.Base] = res.Key
		}
	}
	found, err := engine.Indices(ctx, prefix+"."+tenant+".*", string(naming.Production)+prefix+"."+tenant+".*", string(naming.Static)+prefix+"."+tenant+".*")
	if err != nil {
		return nil, fmt.Errorf("indices of %s: %w", tenant, err)
	}
	byBase := map[string]releases.Resource{}
	for _, ix := range found {
		n, ok := naming.Parse(ix.Name)
		if !ok {
			c.Notes = append(c.Notes, "index "+ix.Name+" is none of Tracardi's and left out")
			continue
		}
		res := releases.Resource{
			Key: keys[n.Base], Base: n.Base, Static: n.Mode == naming.Static, Partitioning: partitioningOf(n.Partition),
			Mapping: releases.NormalMapping(ix.Mapping), Settings: releases.NormalSettings(ix.Settings),
		}
		if res.Key == "" {
			res.Key = strings.TrimPrefix(n.Base, "tracardi-")
			c.Notes = append(c.Notes, fmt.Sprintf("no known release has %s: its key in Tracardi is guessed as %s", n.Base, res.Key))
		}
		if other, twice := byBase[n.Base]; twice {
			if d := releases.DiffLayout(&releases.Release{Resources: []releases.Resource{other}}, &releases.Release{Resources: []releases.Resource{res}}); len(d) > 0 {
				c.Notes = append(c.Notes, fmt.Sprintf("%s differs between its indices, first in %s: the mapping of %s is not taken", n.Base, d[0].Path, ix.Name))
			}
			continue
		}
		byBase[n.Base] = res
	}
	if len(byBase) == 0 {
		return nil, fieldError("tenant", fmt.Sprintf("%.80q has no index of %s", tenant, prefix), "install the release for it first, with its own installer, or name the cluster where it lives")
	}
	for _, res := range byBase {
		c.Draft.Resources = append(c.Draft.Resources, res)
	}
	slices.SortFunc(c.Draft.Resources, func(a, b releases.Resource) int { return strings.Compare(a.Key, b.Key) })
	return c, nil
}

// partitioningOf tells a partitioning by one of its partitions.
func partitioningOf(partition string) releases.Partitioning {
	_, period, _ := strings.Cut(partition, "-")
	switch {
	case partition == "":
		return releases.Unpartitioned
	case period == "year":
		return releases.Yearly
	case strings.HasPrefix(period, "q"):
		return releases.Quarterly
	}
	return releases.Monthly
}
