package upgrader

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// leastPlanted is the number of indices from which one restore is quicker
	// than creating them; plantsAtOnce is how many run at a time: each reads the
	// repository.
	leastPlanted = 2
	plantsAtOnce = 4
	// growMost bounds how long restored shards may take to start before their
	// indices are created instead.
	growMost = 2 * time.Minute
)

// plot is a set of targets that one restore makes: they differ in nothing but
// the base of their names.
type plot struct {
	mode      Mode
	partition string
	light     bool
	replicas  int
}

// plots divides targets into sets of which each has a resource only once.
func plots(moves []*Move) map[plot][]*Move {
	out := map[plot][]*Move{}
	for _, m := range moves {
		p := plot{mode: m.Mode, partition: m.Partition, light: m.Light}
		if m.Light {
			p.replicas = m.Replicas
		}
		out[p] = append(out[p], m)
	}
	return out
}

// settings are what differs from the seeds'.
func (p plot) settings() map[string]any {
	out := map[string]any{"number_of_replicas": p.replicas}
	if !p.light {
		out["refresh_interval"] = relaxedRefresh
	}
	return out
}

// plant restores targets from seeds and returns those that it could not. It
// fails only when the lease is lost or ctx ends: what cannot be restored is
// created.
func (s *session) plant(ctx context.Context, moves []*Move, old map[string]map[string]any) (rest []*Move, err error) {
	if s.nursery == nil || len(moves) < leastPlanted {
		return moves, nil
	}
	b, ok := s.nursery.bed(ctx, s.l.to)
	if !ok {
		return moves, ctx.Err()
	}
	var mu sync.Mutex
	made := map[*Move]bool{}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(plantsAtOnce)
	for p, ms := range plots(moves) {
		if len(ms) < leastPlanted {
			continue
		}
		if err := s.giveWay(ctx); err != nil {
			return nil, errors.Join(err, g.Wait())
		}
		g.Go(func() error {
			ok, err := s.plantPlot(gctx, b, p, ms)
			mu.Lock()
			defer mu.Unlock()
			for _, m := range ms {
				made[m] = ok
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if err := s.bringUp(ctx, made); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(moves), func(m *Move) bool { return made[m] }), s.teach(ctx, made, old)
}

// plantPlot makes the targets of one plot; false when they have to be created.
func (s *session) plantPlot(ctx context.Context, b bed, p plot, ms []*Move) (bool, error) {
	n := IndexName{Shadow: s.l.shadow, Mode: p.mode, Prefix: s.l.to.Prefix, Tenant: s.t.TenantID, Base: "$1", Partition: p.partition}
	want := Planting{
		Repository: s.nursery.repository, Snapshot: b.snapshot,
		Pattern: seedPattern + "(.+)$", Replacement: n.String(), Settings: p.settings(),
	}
	for _, m := range ms {
		want.Seeds = append(want.Seeds, b.seed(s.l.resource(m.Resource)))
	}
	err := s.guard.change(ctx, func() error { return s.nursery.seeder.Plant(ctx, want) })
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, ErrLeaseLost) || ctx.Err() != nil:
		return false, err
	case errors.Is(err, ErrNotFound):
		s.nursery.forget(b)
	}
	s.log.Warn("empty indices could not be restored and are created one by one", "snapshot", b.snapshot, "indices", len(ms), "error", err)
	return false, nil
}

// bringUp waits for restored targets and marks them with the owner's guards, in
// one call. What does not come up is deleted and no longer counts as made.
func (s *session) bringUp(ctx context.Context, made map[*Move]bool) error {
	names := make([]string, 0, len(made))
	for m, ok := range made {
		if ok {
			names = append(names, m.Target)
		}
	}
	if len(names) == 0 {
		return nil
	}
	gctx, cancel := context.WithTimeout(ctx, growMost)
	defer cancel()
	failed, err := s.nursery.grown(gctx, names)
	if err != nil && ctx.Err() != nil {
		return err
	}
	if err != nil {
		failed = names
	}
	if len(failed) > 0 {
		s.log.Warn("restored indices did not start and are created one by one", "indices", len(failed), "first", failed[0], "error", err)
		if err := s.deleteUnread(ctx, failed); err != nil {
			return err
		}
	}
	var actions []AliasAction
	for m, ok := range made {
		switch {
		case !ok:
		case slices.Contains(failed, m.Target):
			made[m] = false
		default:
			for _, alias := range s.guardsOf(m) {
				actions = append(actions, AliasAction{Index: m.Target, Alias: alias})
			}
		}
	}
	if len(actions) > 0 {
		if err := s.engine.UpdateAliases(ctx, actions); err != nil {
			return err
		}
	}
	for _, a := range actions {
		s.guard.hold(a.Alias)
	}
	return nil
}

// teach adds to restored targets the fields that their sources have learned,
// as far as they fit: the engine makes many changes of mappings at once.
func (s *session) teach(ctx context.Context, made map[*Move]bool, old map[string]map[string]any) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.r.limits.Creates)
	for m, ok := range made {
		if !ok {
			continue
		}
		m.State = MoveCreated
		mapping := s.targetMapping(m, old)
		if mappingHash(mapping) == mappingHash(s.l.resource(m.Resource).Mapping) {
			continue
		}
		g.Go(func() error {
			err := s.engine.PutMapping(gctx, mapping, m.Target)
			if tooMuch(err) {
				return nil
			}
			return err
		})
	}
	return g.Wait()
}

// guardsOf are the guards that a target is made with.
func (s *session) guardsOf(m *Move) []string {
	out := []string{s.guard.alias(m.Target)}
	if slices.ContainsFunc(m.Copies, func(c Copy) bool { return s.byEngine(&c) }) {
		out = append(out, s.guard.copyAlias(m.Target))
	}
	return out
}
