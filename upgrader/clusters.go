package upgrader

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader/capacity"
	"github.com/tracardi/tms/upgrader/naming"
)

// DefaultCluster is the cluster that the settings of the process lead to.
const DefaultCluster = "default"

// Engines finds the engine of a cluster by the name that the registry has for
// it. It makes no call to the cluster: one that is down is found. A name that
// nobody has registered is an error that time does not heal by itself. Safe
// for concurrent use.
type Engines interface {
	For(ctx context.Context, cluster string) (Engine, error)
}

// only is one engine under every name.
type only struct{ engine Engine }

// Only answers with the same engine for every cluster: an installation with
// one cluster.
func Only(e Engine) Engines { return only{e} }

func (o only) For(context.Context, string) (Engine, error) { return o.engine, nil }

// WithEngines has the service find the engines of several clusters.
func (s *Service) WithEngines(e Engines) *Service {
	s.engines = e
	return s
}

// WithEngines has the runner find the engines of several clusters.
func (r *Runner) WithEngines(e Engines) *Runner {
	r.engines = e
	return r
}

// ClusterPlan is the part of a plan that belongs to one cluster: each has
// limits, rates and a forecast of its own.
type ClusterPlan struct {
	Cluster  string
	Tenants  int // with data to move
	Shards   capacity.ShardForecast
	Forecast capacity.Forecast
	// Remarks are what an operator may want to change; nothing is refused for
	// them.
	Remarks []string
}

// byCluster sorts tenants by where they live.
func byCluster(fleet []FleetTenant) map[string][]FleetTenant {
	out := map[string][]FleetTenant{}
	for _, t := range fleet {
		t.Cluster = t.home()
		out[t.Cluster] = append(out[t.Cluster], t)
	}
	return out
}

// planClusters plans the candidates cluster by cluster, all at the same time:
// one that does not answer keeps nobody waiting longer than its deadline. When
// it is the only one there is nothing to plan, otherwise its tenants are
// refused and the others' plans are made.
func (s *Service) planClusters(ctx context.Context, p *planner, fleet []FleetTenant) (*Plan, error) {
	homes := byCluster(fleet)
	if len(homes) == 0 {
		if len(p.plan.Options.Clusters) > 0 {
			return p.plan, nil
		}
		homes[DefaultCluster] = nil
	}
	candidates := byCluster(p.candidates(fleet))
	names := sortedKeys(homes)
	parts, down := make([]*Plan, len(names)), make([]error, len(names))
	g, gctx := errgroup.WithContext(ctx)
	for i, name := range names {
		g.Go(func() error {
			part, err := s.planCluster(gctx, p, name, candidates[name])
			if err == nil || len(names) == 1 || gctx.Err() != nil {
				parts[i] = part
				return err
			}
			down[i] = err
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var answering []string
	for i, part := range parts {
		if part != nil {
			p.adopt(names[i], part, len(names) > 1)
			answering = append(answering, names[i])
		}
	}
	for i, err := range down {
		if err != nil {
			p.refuseCluster(names[i], len(homes[names[i]]), err, answering)
		}
	}
	return p.plan, nil
}

// planCluster plans tenants of one cluster.
func (s *Service) planCluster(ctx context.Context, whole *planner, cluster string, tenants []FleetTenant) (*Plan, error) {
	engine, err := s.engines.For(ctx, cluster)
	if err != nil {
		return nil, unavailable(cluster, err)
	}
	view := ClusterView{Now: whole.view.Now}
	if view.Info, view.Shards, err = hail(ctx, engine); err != nil {
		return nil, unavailable(cluster, err)
	}
	p := newPlanner(s.catalogue, whole.target, whole.plan.Options, view)
	p.plan.ToRelease = whole.plan.ToRelease
	if err := s.lookAtAll(ctx, p, engine, tenants); err != nil {
		return nil, unavailable(cluster, err)
	}
	if err := s.acceptable(ctx, p, engine); err != nil {
		return nil, unavailable(cluster, err)
	}
	p.plan.remarks = s.seedRemarks(ctx, cluster, engine, p.plan)
	at, err := s.situation(ctx, cluster, engine, view, whole.plan.Options)
	if err != nil {
		return nil, err
	}
	return p.finish(at), nil
}

// planPatience bounds the first questions to a cluster that is to be planned:
// the plan of the others waits for one that swallows packets.
const planPatience = 10 * time.Second

// hail asks a cluster for what costs it nothing.
func hail(ctx context.Context, engine Engine) (info EngineInfo, shards capacity.Shards, err error) {
	ctx, cancel := context.WithTimeout(ctx, planPatience)
	defer cancel()
	if info, err = engine.Info(ctx); err == nil {
		shards, err = engine.Shards(ctx)
	}
	return info, shards, err
}

// unavailable is the error of a cluster that cannot be planned.
func unavailable(cluster string, err error) error {
	var se *ServiceError
	if errors.As(err, &se) || errors.Is(err, context.Canceled) {
		return err
	}
	message, remedy := err.Error(), "check TMS_ELASTIC_URLS and the cluster's health, then try again"
	if cluster != DefaultCluster {
		message, remedy = "cluster "+cluster+": "+message, "see `tms cluster verify "+cluster+"`, then try again"
	}
	return &ServiceError{Reason: ReasonUnavailable, Message: message, Remedy: remedy, Err: err}
}

// refuseCluster says that nothing can be planned in a cluster, while others
// answer.
func (p *planner) refuseCluster(name string, tenants int, err error, answering []string) {
	var known *ServiceError
	text := err.Error()
	if errors.As(err, &known) {
		text = known.Message // its remedy is in the one below
		if known.Err != nil {
			text = known.Err.Error()
		}
	}
	remedy := "wait until it answers (`tms cluster verify " + name + "`)"
	if len(answering) > 0 {
		remedy += ", or begin with the others: `--cluster " + strings.Join(answering, " --cluster ") + "`"
	}
	p.refuse("", "cluster_unavailable", fmt.Sprintf("cluster %s, where %d of the tenants live, cannot be planned: %s", name, tenants, text), remedy)
}

// adopt takes a cluster's plan over; several says that it is not the only one.
func (p *planner) adopt(cluster string, part *Plan, several bool) {
	moving := 0
	for _, t := range part.Tenants {
		if len(t.Moves) > 0 {
			moving++
		}
	}
	for _, r := range part.Refusals {
		if several && r.TenantID == "" || r.TenantID != "" && cluster != DefaultCluster {
			r.Message = "cluster " + cluster + ": " + r.Message
		}
		p.plan.Refusals = append(p.plan.Refusals, r)
	}
	p.plan.Tenants = append(p.plan.Tenants, part.Tenants...)
	p.plan.Clusters = append(p.plan.Clusters, ClusterPlan{Cluster: cluster, Tenants: moving, Shards: part.Shards, Forecast: part.Forecast, Remarks: part.remarks})
}

// total looks whether every cluster has room, sums up what their plans say and
// sorts.
func (p *planner) total() {
	for i := range p.plan.Clusters {
		p.checkRoom(&p.plan.Clusters[i], len(p.plan.Clusters) > 1)
	}
	for i, c := range p.plan.Clusters {
		if i == 0 {
			p.plan.Shards, p.plan.Forecast = c.Shards, c.Forecast
			continue
		}
		p.plan.Shards = p.plan.Shards.Plus(c.Shards)
		p.plan.Forecast = p.plan.Forecast.Plus(c.Forecast)
	}
	slices.SortFunc(p.plan.Tenants, func(a, b TenantPlan) int { return strings.Compare(a.TenantID, b.TenantID) })
	slices.SortStableFunc(p.plan.Refusals, func(a, b Refusal) int { return strings.Compare(a.TenantID, b.TenantID) })
}

// planLooks is the number of tenants that are looked at at once while they are
// planned: the engine answers from memory, the round trips are what takes time.
const planLooks = 8

// lookAtAll plans tenants of one cluster as their views come in; none is kept.
func (s *Service) lookAtAll(ctx context.Context, p *planner, engine Engine, fleet []FleetTenant) error {
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(planLooks)
	for _, t := range fleet {
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error {
			tv, err := s.look(gctx, engine, t, p.target)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			p.tenant(t, tv)
			return nil
		})
	}
	return g.Wait()
}

// look reads everything of one tenant that the plan needs.
func (s *Service) look(ctx context.Context, engine Engine, t FleetTenant, target *releases.Release) (TenantView, error) {
	from, err := s.catalogue.Get(t.Release)
	if err != nil {
		return TenantView{}, nil //nolint:nilerr // the planner has refused it already
	}
	v, err := lookAt(ctx, engine, t.Naming(), from.Prefix, target.Prefix)
	if err == nil && len(v.New) > 0 {
		v.Own, err = s.store.OwnTargets(ctx, t.ID)
	}
	if err == nil && from.Prefix == target.Prefix {
		v.Templates, err = tenantTemplates(ctx, engine, target, t.Naming())
	}
	return v, err
}

// FreshShards is the number of shards, replicas included, that a new tenant of
// a release has at first: one partition of every resource in each of its
// environments.
func FreshShards(r *releases.Release) int {
	sum := 0
	for _, res := range r.Resources {
		replicas := 1 // the engine's default
		if n, err := strconv.Atoi(fmt.Sprint(res.Settings["number_of_replicas"])); err == nil {
			replicas = n
		}
		sum += shardsOf(res) * (1 + replicas) * len(naming.ModesOf(res))
	}
	return sum
}
