package upgrader

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/upgrader/naming"
	"github.com/tracardi/tms/upgrader/schema"
	"github.com/tracardi/tms/upgrader/stream"
)

const (
	// leastPlanted is the number of indices from which a restore is quicker than
	// creating them.
	leastPlanted = 6
	// growMost bounds how long restored shards may take to start before their
	// indices are created instead, and mouldMost how long a mould may take.
	growMost  = 2 * time.Minute
	mouldMost = time.Minute
)

// plot is a set of targets that one restore makes: they want the same settings.
type plot struct {
	light    bool
	replicas int
}

func plotOf(m *Move) plot {
	if m.Light {
		return plot{true, m.Replicas}
	}
	return plot{}
}

// settings are what a mould does not have.
func (p plot) settings() map[string]any {
	out := map[string]any{"number_of_replicas": p.replicas}
	if !p.light {
		out["refresh_interval"] = relaxedRefresh
	}
	return out
}

// grow makes targets with the help of a mould, as far as there is one, and
// returns those that are still to be created. It fails only when the lease is
// lost, ctx ends, or creating would fail as well.
func (s *session) grow(ctx context.Context, moves []*Move, old map[string]map[string]any) (rest []*Move, err error) {
	if s.nursery == nil || s.l.shadow != "" || len(moves) < leastPlanted {
		return moves, nil
	}
	b, err := s.nursery.bed(ctx, s.l.to)
	if err != nil {
		return moves, nil // creating says it better
	}
	if err := b.take(ctx); err != nil {
		return nil, err
	}
	need := make([]string, len(moves))
	for i, m := range moves {
		need[i] = kindOf(m.Target)
	}
	mould, wanted := s.nursery.look(ctx, b, need)
	if wanted {
		defer b.give()
		return s.beMould(ctx, b, moves, old)
	}
	b.give()
	if mould.Snapshot == "" {
		return moves, ctx.Err()
	}
	made := map[*Move]bool{}
	if err := s.plant(ctx, b, mould, moves, made); err != nil {
		return nil, err
	}
	if err := s.bringUp(ctx, made); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(moves), func(m *Move) bool { return made[m] }), s.teach(ctx, made, old)
}

// beMould creates all targets as their release has them, and snapshots them
// before anything is written.
func (s *session) beMould(ctx context.Context, b *bed, moves []*Move, old map[string]map[string]any) (rest []*Move, err error) {
	if err := s.createAll(ctx, moves, func(ctx context.Context, m *Move) error {
		res := s.l.resource(m.Resource)
		return s.createWith(ctx, m, IndexBody{Settings: finalSettings(res, 0), Mappings: res.Mapping})
	}); err != nil {
		return nil, err
	}
	mctx, cancel := context.WithTimeout(ctx, mouldMost)
	defer cancel()
	if err := s.takeMould(mctx, b, moves); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		s.nursery.rest(b, "the targets of "+s.t.TenantID+" cannot be kept", err)
	}
	alike := map[plot][]string{}
	made := map[*Move]bool{}
	for _, m := range moves {
		made[m] = true
		if p := plotOf(m); p != (plot{light: true}) { // as it was created
			alike[p] = append(alike[p], m.Target)
		}
	}
	for p, names := range alike {
		if err := s.engine.PutSettings(ctx, p.settings(), names...); err != nil {
			return nil, err
		}
	}
	return nil, s.teach(ctx, made, old)
}

func (s *session) takeMould(ctx context.Context, b *bed, moves []*Move) error {
	m := Mould{Snapshot: b.name(s.r.now()), Indices: targetsOf(moves)}
	if failed, err := s.nursery.grown(ctx, m.Indices); err != nil || len(failed) > 0 {
		return errors.Join(err, fmt.Errorf("%d of the indices did not start", len(failed)))
	}
	err := s.guard.update(ctx, func() error { return s.nursery.seeder.TakeMould(ctx, s.nursery.repository, m.Snapshot, m.Indices) })
	if err != nil {
		return err
	}
	// What is empty now was empty when it was snapshotted.
	stats, err := s.stats(ctx, s.newPatterns()...)
	for _, name := range m.Indices {
		if err == nil && !stream.Never(stats[name].MaxSeqNo) {
			err = fmt.Errorf("somebody writes to %s", name)
		}
	}
	if err != nil {
		return errors.Join(err, s.nursery.seeder.DropMould(ctx, s.nursery.repository, m.Snapshot))
	}
	b.moulds = append(slices.Clone(b.moulds), m)
	s.log.Info("empty targets kept for other tenants", "snapshot", m.Snapshot, "indices", len(m.Indices))
	return nil
}

func targetsOf(moves []*Move) []string {
	names := make([]string, len(moves))
	for i, m := range moves {
		names[i] = m.Target
	}
	return names
}

// plant restores what the mould has of the targets; made tells which.
func (s *session) plant(ctx context.Context, b *bed, mould Mould, moves []*Move, made map[*Move]bool) error {
	seed := map[string]string{}
	for _, ix := range mould.Indices {
		seed[kindOf(ix)] = ix
	}
	of, _ := naming.Parse(mould.Indices[0])
	plots := map[plot][]*Move{}
	for _, m := range moves {
		if seed[kindOf(m.Target)] != "" {
			plots[plotOf(m)] = append(plots[plotOf(m)], m)
		}
	}
	for p, ms := range plots {
		if len(ms) < leastPlanted {
			continue
		}
		want := Planting{
			Repository: s.nursery.repository, Snapshot: mould.Snapshot, Settings: p.settings(),
			Pattern: `^([^.]+)\.` + regexp.QuoteMeta(of.Tenant) + `\.`, Replacement: "$1." + s.t.TenantID + ".",
		}
		for _, m := range ms {
			want.Indices = append(want.Indices, seed[kindOf(m.Target)])
		}
		if err := s.giveWay(ctx); err != nil {
			return err
		}
		err := s.guard.update(ctx, func() error { return s.nursery.seeder.Plant(ctx, want) })
		switch {
		case errors.Is(err, ErrLeaseLost) || ctx.Err() != nil:
			return errors.Join(err, ctx.Err())
		case err != nil:
			s.log.Warn("empty indices could not be restored and are created one by one", "snapshot", mould.Snapshot, "indices", len(ms), "error", err)
			if errors.Is(err, ErrNotFound) {
				if err := b.take(ctx); err != nil {
					return err
				}
				b.forget(mould.Snapshot)
				b.give()
			}
			return nil
		}
		for _, m := range ms {
			made[m] = true
		}
	}
	return nil
}

// bringUp waits for restored targets and marks them with the owner's guards, in
// one call. What does not come up is deleted and no longer counts as made.
func (s *session) bringUp(ctx context.Context, made map[*Move]bool) error {
	names := make([]string, 0, len(made))
	for m := range made {
		names = append(names, m.Target)
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
	for m := range made {
		if slices.Contains(failed, m.Target) {
			delete(made, m)
			continue
		}
		for _, alias := range s.guardsOf(m) {
			actions = append(actions, AliasAction{Index: m.Target, Alias: alias})
		}
	}
	if len(actions) == 0 {
		return nil
	}
	slices.SortFunc(actions, func(a, b AliasAction) int { return strings.Compare(a.Alias, b.Alias) })
	if err := s.engine.UpdateAliases(ctx, actions); err != nil {
		return err
	}
	for _, a := range actions {
		s.guard.hold(a.Alias)
	}
	return nil
}

// teach adds to targets the fields that their sources have learned, as far as
// they fit: the engine makes many changes of mappings at once.
func (s *session) teach(ctx context.Context, made map[*Move]bool, old map[string]map[string]any) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.r.limits.Creates)
	for m := range made {
		m.State = MoveCreated
		mapping := s.targetMapping(m, old)
		if schema.Hash(mapping) == schema.Hash(s.l.resource(m.Resource).Mapping) {
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

// grown waits until the primaries of indices have started, and returns the
// indices of which some never will.
func (n *nursery) grown(ctx context.Context, names []string) (failed []string, err error) {
	wait := newPoller(500 * time.Millisecond)
	for {
		waiting, failed, err := n.seeder.Growth(ctx, names...)
		if err != nil || len(waiting) == 0 {
			return failed, err
		}
		if err := wait.pause(ctx); err != nil {
			return nil, err
		}
	}
}

// guardsOf are the guards that a target is made with.
func (s *session) guardsOf(m *Move) []string {
	out := []string{s.guard.alias(m.Target)}
	if slices.ContainsFunc(m.Copies, func(c Copy) bool { return s.byEngine(&c) }) {
		out = append(out, s.guard.copyAlias(m.Target))
	}
	return out
}
