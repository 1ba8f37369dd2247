package upgrader

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Health tells how well the cluster is.
type Health interface {
	// ClusterHealth is "green", "yellow" or "red", as the engine says.
	ClusterHealth(ctx context.Context) (string, error)
}

// Matcher counts the documents below an index name or alias that match a query
// of the engine; nil matches all. They are counted as far as refreshed.
type Matcher interface {
	// CountMatching is an *EngineError where the query is wrong.
	CountMatching(ctx context.Context, index string, query json.RawMessage) (int64, error)
}

// GateSources are what gates and checks ask beside rows and engines; all may
// be nil. Of an engine, gates ask what it can tell: Health and Disks.
type GateSources struct {
	Probes Probes
	// Extend fills in the facts of further gates for a rollout; it is called
	// before every decision that could let a tenant in, and may return nil.
	Extend func(ctx context.Context, r *Rollout) (func(*Facts), error)
}

// Bounds of conducting a rollout.
const (
	// observeTimeout bounds what is asked of the engine before tenants are let
	// in; without an answer the gate cluster_health is closed.
	observeTimeout = 5 * time.Second
	// mostTurns is how often a rollout is decided about in one go: a wave that
	// opens has candidates only at the next look.
	mostTurns = 10
	// joinEvery is how often a tenant is tried anew that could not join.
	joinEvery = 10 * time.Second
)

// WithGates lets the runner ask what gates and checks judge.
func (r *Runner) WithGates(g GateSources) *Runner {
	r.gates = g
	return r
}

// WithCalendar has maintenance windows, and the times that pass between waves,
// go by another clock than that of the process.
func (r *Runner) WithCalendar(now func() time.Time) *Runner {
	r.calendar = now
	return r
}

// Conduct looks at a rollout as a whole: moves its waves on, makes checks that
// are due, takes in tenants that came into being, and lets tenants start. Any
// number of processes may do it at once, and may die at any instruction.
func (r *Runner) Conduct(ctx context.Context, rollout string) error {
	for range mostTurns {
		again, err := r.conductOnce(ctx, rollout)
		if err != nil || !again {
			if errors.Is(err, ErrNotFound) {
				return nil
			}
			return err
		}
	}
	return nil
}

// conductOnce is one turn; again when something has changed that may let more
// happen.
func (r *Runner) conductOnce(ctx context.Context, rollout string) (again bool, err error) {
	v, err := r.store.View(ctx, rollout)
	if err != nil {
		return false, err
	}
	if len(v.Rollout.Waves) == 0 {
		return false, nil // from before there were waves
	}
	a := admission{now: r.calendar()}
	if a.joins, err = r.joins(ctx, v); err != nil {
		return false, err
	}
	made, err := r.checkWaves(ctx, v)
	if err != nil || made {
		return made, err
	}
	if made, err = r.finalizeWaves(ctx, v); err != nil || made {
		return made, err
	}
	// What is asked of the engine costs something: only when somebody could start.
	first := decide(v, a)
	if first == nil {
		return false, nil
	}
	if len(first.LetIn) > 0 {
		if err := r.observe(ctx, v, first.LetIn, &a); err != nil {
			return false, err
		}
	}
	var taken *Decision
	err = r.store.Conduct(ctx, rollout, func(fresh *View) *Decision {
		if a.clusters == nil {
			a.clusters = map[string]ClusterFacts{}
		}
		for _, c := range fresh.Candidates {
			if _, asked := a.clusters[c.Cluster]; !asked {
				a.clusters[c.Cluster] = ClusterFacts{Unasked: true}
			}
		}
		taken = decide(fresh, a)
		return taken
	})
	if err != nil || taken == nil {
		return false, err
	}
	for _, e := range taken.Events {
		r.log.Info("rollout", "rollout", rollout, "event", e)
	}
	return len(taken.Events) > 0, nil
}

// observe asks what gates judge about the clusters where tenants could start.
func (r *Runner) observe(ctx context.Context, v *View, letIn []string, a *admission) (err error) {
	var names []string
	for _, c := range v.Candidates {
		if !slices.Contains(names, c.Cluster) && slices.Contains(letIn, c.TenantID) {
			names = append(names, c.Cluster)
		}
	}
	// At once: tenants of the others do not wait for one that says nothing.
	seen := make([]ClusterFacts, len(names))
	var asking sync.WaitGroup
	for i, name := range names {
		asking.Go(func() { seen[i] = clusterFacts(ctx, r.engines, name) })
	}
	asking.Wait()
	a.clusters = map[string]ClusterFacts{}
	for i, name := range names {
		a.clusters[name] = seen[i]
	}
	if a.snapshots, err = snapshotFacts(ctx, r.snapshots, v.Rollout.Options, v.Candidates...); err != nil {
		return err
	}
	if r.gates.Extend != nil {
		a.extend, err = r.gates.Extend(ctx, v.Rollout)
	}
	return err
}

// clusterFacts asks a cluster how it is.
func clusterFacts(ctx context.Context, engines Engines, cluster string) (c ClusterFacts) {
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	engine, err := engines.For(ctx, cluster)
	if h, ok := engine.(Health); ok && err == nil {
		c.Health, err = h.ClusterHealth(ctx)
	}
	if err == nil {
		c.Shards, err = engine.Shards(ctx)
	}
	if d, ok := engine.(Disks); ok && err == nil {
		c.Disk, err = d.Disk(ctx)
	}
	if err != nil {
		return ClusterFacts{Err: fmt.Sprintf("cluster %s does not say how it is: %v", cluster, err)}
	}
	return c
}

// joins plans tenants that came into being during a rollout of the whole
// fleet.
func (r *Runner) joins(ctx context.Context, v *View) ([]joining, error) {
	if v.Rollout.State.Ended() || v.Rollout.Wish == WishCancel {
		return nil, nil
	}
	var out []joining
	for _, t := range v.Outsiders {
		known := false
		for _, m := range v.Rollout.Missing {
			known = known || m.TenantID == t.ID
		}
		if known && !r.tried.again(v.Rollout.ID+" "+t.ID, r.now()) {
			continue
		}
		j, err := r.planJoining(ctx, v.Rollout, t)
		if err != nil {
			return nil, err
		}
		out = append(out, j)
	}
	return out, nil
}

// planJoining plans one tenant as the rollout would have at its start.
func (r *Runner) planJoining(ctx context.Context, ro *Rollout, t FleetTenant) (joining, error) {
	o := ro.Options
	o.Tenants, o.Clusters, o.Strategy, o.Except, o.Snapshot = []string{t.ID}, nil, nil, nil, ""
	cannot := func(why string) joining {
		return joining{missing: &MissingTenant{TenantID: t.ID, Release: t.Release, Reason: why}}
	}
	plan, err := NewService(r.store, nil, r.catalogue, r.now).WithEngines(r.engines).Plan(ctx, Request{ToRelease: ro.ToRelease, Options: o})
	var refused *ServiceError
	if errors.As(err, &refused) && refused.Reason == ReasonUnavailable && ctx.Err() == nil {
		return cannot(refused.Error()), nil // it is tried again, and the others go on
	}
	if err != nil {
		return joining{}, err
	}
	if len(plan.Refusals) > 0 {
		return cannot(Wording("", plan.Refusals[0].Message, plan.Refusals[0].Remedy, nil)), nil
	}
	if len(plan.Tenants) != 1 || len(plan.Tenants[0].Path) < 2 {
		return cannot("its release has changed meanwhile"), nil
	}
	tp := plan.Tenants[0]
	rt := newRolloutTenant(ro, tp, r.now())
	if why := r.snapshotJoining(ctx, ro, &rt); why != "" {
		return cannot(why), nil
	}
	return joining{tenant: rt, moves: BeginMoves(tp.Moves)}, nil
}

// snapshotJoining asks for the snapshot of a tenant that those before the
// rollout came too early for, or says why it cannot be: then it stays outside,
// shown with the reason, and is tried again.
func (r *Runner) snapshotJoining(ctx context.Context, ro *Rollout, t *RolloutTenant) (why string) {
	if ro.Options.Snapshot != SnapshotBefore || r.snapshots == nil {
		return ""
	}
	name, err := r.snapshots.BeginJoining(ctx, ro.CreatedBy, ro.ID, ro.Options.SnapshotRepositories, t.TenantID)
	if err != nil {
		return "no snapshot can be taken before it is touched: " + err.Error()
	}
	t.Record.Snapshot = name
	t.Record.Notes = append(slices.Clone(t.Record.Notes), "it joined when the snapshots before the rollout had been taken: "+name+" is its own")
	return ""
}

// attempts remembers when something was tried last, in memory: it only saves
// work.
type attempts struct {
	mu sync.Mutex
	at map[string]time.Time
}

// again says that joinEvery has passed since the last time that it said so.
func (a *attempts) again(key string, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for k, at := range a.at {
		if now.Sub(at) > joinEvery {
			delete(a.at, k)
		}
	}
	if _, lately := a.at[key]; lately {
		return false
	}
	if a.at == nil {
		a.at = map[string]time.Time{}
	}
	a.at[key] = now
	return true
}
