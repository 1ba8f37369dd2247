package clusters

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/naming"
)

// surveyLimit bounds the look at one cluster: one that hangs must not keep the
// figures of the others from being shown. placeLimit is that of somebody who
// waits for a tenant.
const (
	surveyLimit = 20 * time.Second
	placeLimit  = 8 * time.Second
)

// CapacityRequest asks how many tenants fit.
type CapacityRequest struct {
	Clusters []string // none means all
	Wave     int      // tenants of one wave; 0 is upgrader.DefaultMaxTenants
}

// Capacity tells how full clusters are, the default one first, then by name.
// One that does not answer says so in its place.
func (s *Service) Capacity(ctx context.Context, r CapacityRequest) ([]Capacity, error) {
	if r.Wave == 0 {
		r.Wave = upgrader.DefaultMaxTenants
	}
	if r.Wave < 0 {
		return nil, invalid(tenants.Violation{Field: "wave", Message: fmt.Sprintf("%d is no number of tenants", r.Wave)})
	}
	return s.capacities(ctx, r, surveyLimit)
}

// capacities looks at each cluster for no longer than a limit.
func (s *Service) capacities(ctx context.Context, r CapacityRequest, limit time.Duration) ([]Capacity, error) {
	names, err := s.named(ctx, r.Clusters)
	if err != nil {
		return nil, err
	}
	out := make([]Capacity, len(names))
	g, gctx := errgroup.WithContext(ctx)
	for i, name := range names {
		g.Go(func() error {
			limited, cancel := context.WithTimeout(gctx, limit)
			defer cancel()
			u, err := s.survey(limited, name)
			switch {
			case err == nil:
				out[i] = Assess(name, u, r.Wave)
			case ctx.Err() != nil || tenants.HasReason(err, tenants.ReasonStoreUnavailable):
				return err
			default:
				out[i] = Capacity{Cluster: name, Problem: err.Error(), Wave: r.Wave, Advice: "it does not answer: see `tms cluster verify " + name + "`"}
			}
			return nil
		})
	}
	return out, g.Wait()
}

// Names lists all clusters, Default first, then sorted.
func (s *Service) Names(ctx context.Context) ([]string, error) { return s.named(ctx, nil) }

// named lists the names asked for, all when none is; each must be registered.
func (s *Service) named(ctx context.Context, wanted []string) ([]string, error) {
	all, err := s.store.Clusters(ctx)
	if err != nil {
		return nil, err
	}
	names := []string{Default}
	for _, c := range all {
		names = append(names, c.Name)
	}
	for _, name := range wanted {
		if !slices.Contains(names, name) {
			return nil, NotFoundError(name)
		}
	}
	if len(wanted) == 0 {
		return names, nil
	}
	return slices.DeleteFunc(names, func(name string) bool { return !slices.Contains(wanted, name) }), nil
}

// survey reads what a cluster holds.
func (s *Service) survey(ctx context.Context, name string) (Usage, error) {
	var u Usage
	engine, err := s.engines.Reach(ctx, name)
	if err != nil {
		return u, err
	}
	residents, err := s.store.Residents(ctx, name)
	if err != nil {
		return u, err
	}
	var stats map[string]upgrader.IndexStats
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { u.Info, err = engine.Info(gctx); return err })
	g.Go(func() (err error) { u.Shards, err = engine.Shards(gctx); return err })
	g.Go(func() (err error) { u.Disk, err = engine.Disk(gctx); return err })
	g.Go(func() (err error) { stats, err = engine.Stats(gctx, s.patterns()...); return err })
	if err := g.Wait(); err != nil {
		return u, err
	}
	u.Tenants = len(residents)
	u.Needs, u.Pending = s.needs(residents, stats)
	if all := s.catalogue.List(); len(all) > 0 {
		u.Bare = Need{Shards: upgrader.FreshShards(all[len(all)-1])}
	}
	return u, nil
}

// patterns match the indices of all releases.
func (s *Service) patterns() []string {
	var out []string
	for _, r := range s.catalogue.List() {
		for _, m := range []naming.Mode{naming.Staging, naming.Production, naming.Static} {
			out = append(out, string(m)+r.Prefix+".*")
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(out)))
}

// needs adds up what each tenant has of its release, and counts those that
// have nothing of it. Of a tenant that stands with two versions only the one
// that it is on is its need.
func (s *Service) needs(residents []Resident, stats map[string]upgrader.IndexStats) (needs []Need, pending int) {
	type version struct{ tenant, prefix string }
	held := map[version]Need{}
	for name, st := range stats {
		n, ok := naming.Parse(name)
		if !ok {
			continue
		}
		v := version{n.Tenant, n.Prefix}
		sum := held[v]
		sum.Shards += st.Primaries * (1 + st.Replicas)
		sum.Bytes += st.Bytes * int64(1+st.Replicas)
		held[v] = sum
	}
	for _, t := range residents {
		r, err := s.catalogue.Get(t.Release)
		if err != nil {
			pending++ // unknown here; it will need something
			continue
		}
		name := naming.Tenant{ID: t.ID, AdoptedFrom: t.AdoptedFrom}.In(r.Prefix)
		if need := held[version{name, r.Prefix}]; need.Shards > 0 {
			needs = append(needs, need)
			continue
		}
		pending++
	}
	return needs, pending
}
