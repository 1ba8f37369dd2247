package upgrader

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/upgrader/naming"
	"github.com/tracardi/tms/upgrader/schema"
	"github.com/tracardi/tms/upgrader/stream"
)

// prepare clears the way and makes the target indices. It may be repeated at
// any point: what stands and is ours is left alone.
func (s *session) prepare(ctx context.Context) (Outcome, error) {
	if outcome, err := s.snapshotFresh(ctx); outcome != OutcomeDone {
		return outcome, err
	}
	if s.minor() {
		return s.prepareMinor(ctx)
	}
	if outcome, err := s.roomFor(ctx); err != nil || outcome != OutcomeDone {
		return outcome, err
	}
	if err := s.keepOldTemplates(ctx); err != nil {
		return OutcomeRetry, err
	}
	if err := s.clearTemplates(ctx); err != nil {
		return OutcomeRetry, err
	}
	if err := s.clearWay(ctx); err != nil {
		return OutcomeRetry, err
	}
	// The operator has looked at what never ended: it has all its tries again.
	for _, m := range s.moves {
		for i := range m.Copies {
			if c := &m.Copies[i]; c.State != CopyDone {
				c.Tries = 0
			}
		}
	}
	err := s.createTargets(ctx)
	var full *noRoom
	if errors.As(err, &full) {
		s.t.Reason = "gate " + GateShardBudget + ": " + full.Error()
		return OutcomeWait, nil
	}
	return OutcomeDone, err
}

// keepOldTemplates stores the old version's templates as they are, before
// anything is changed.
func (s *session) keepOldTemplates(ctx context.Context) (err error) {
	if len(s.oldTemplates) > 0 {
		return nil
	}
	ts, err := tenantTemplates(ctx, s.engine, s.l.from, s.naming())
	if err != nil || len(ts) == 0 {
		return err
	}
	if err := s.r.store.KeepOldTemplates(ctx, s.lease, ts); err != nil {
		return err
	}
	s.oldTemplates = ts
	return nil
}

// replicasOf is the number of replicas that a resource's indices get.
func (s *session) replicasOf(resource string, m naming.Mode) int {
	most := 0
	for _, mv := range s.moves {
		if mv.Resource == resource && mv.Mode == m {
			most = max(most, mv.Replicas)
		}
	}
	return most
}

// putTemplates puts the new version's templates, final, with their aliases.
// It happens right before the fence: from the switch on they must be there,
// and before it an index that a new container makes too early would be seen
// (checkAliases would then refuse the switch).
func (s *session) putTemplates(ctx context.Context) error {
	ts := s.l.templates(s.t.TenantID, s.replicasOf)
	s.t.Record.NewTemplates = nil
	for _, t := range ts {
		s.t.Record.NewTemplates = append(s.t.Record.NewTemplates, t.Name)
	}
	if err := s.r.store.SaveTenant(ctx, s.lease, s.t); err != nil {
		return err
	}
	return s.eachTemplate(ctx, ts, s.engine.PutTemplate)
}

// clearTemplates removes templates of the new version: one that an early
// installer has left would hang its alias on the targets.
func (s *session) clearTemplates(ctx context.Context) error {
	there, err := tenantTemplates(ctx, s.engine, s.l.to, s.naming())
	if err != nil {
		return err
	}
	// What keeps the version closed goes last: without it the others would show
	// their partitions to readers.
	var last []Template
	there = slices.DeleteFunc(there, func(t Template) bool {
		if naming.Freezes(t.Name) {
			last = append(last, t)
			return true
		}
		return false
	})
	remove := func(ctx context.Context, t Template) error { return s.engine.DeleteTemplate(ctx, t.Name) }
	if err := s.eachTemplate(ctx, there, remove); err != nil {
		return err
	}
	return s.eachTemplate(ctx, last, remove)
}

// clearWay removes what stands under the new version's names and is not made
// by this rollout: leftovers of earlier runs, and wrecks that a new container
// started too early has left. Documents in them that the old version does not
// have are kept in quarantine.
func (s *session) clearWay(ctx context.Context) error {
	there, err := s.engine.Indices(ctx, s.naming().Patterns(s.l.to.Prefix, naming.Staging, naming.Production, naming.Static)...)
	if err != nil {
		return err
	}
	stats, err := s.stats(ctx, s.naming().Patterns(s.l.to.Prefix, naming.Staging, naming.Production, naming.Static)...)
	if err != nil {
		return err
	}
	var away []Index
	for _, ix := range there {
		m := s.moveTo(ix.Name)
		n, _ := naming.Parse(ix.Name)
		switch {
		case m != nil && m.State != MovePlanned:
			continue // ours
		case n.Mode == naming.Static && m == nil:
			continue // the new release's installer made it, rightly
		case len(visible(ix.Aliases)) > 0 && n.Mode != naming.Static:
			return failf("index %s of %s stands under alias %s already; remove the alias from it, then retry", ix.Name, s.l.to.Version, visible(ix.Aliases)[0])
		case s.l.keeps(ix, n, stats[ix.Name]):
			if err := s.takeOver(ctx, n, stats[ix.Name]); err != nil {
				return err
			}
			continue
		}
		if err := s.tells(ix, stats); err != nil {
			return err
		}
		away = append(away, ix)
	}
	if len(away) == 0 {
		return nil
	}
	names := make([]string, len(away))
	for i, ix := range away {
		names[i] = ix.Name
		if err := s.empty(ctx, ix, stats[ix.Name].MaxSeqNo); err != nil {
			return err
		}
	}
	s.log.Warn("indices in the way are replaced", "count", len(away), "first", names[0])
	return s.deleteUnread(ctx, names)
}

// tells is an error for an index in the way of which nobody knows what it holds,
// unless a worker of this rollout has made it and not lived to note that.
func (s *session) tells(ix Index, stats map[string]IndexStats) error {
	st, open := stats[ix.Name]
	switch {
	case slices.ContainsFunc(ix.Aliases, func(a string) bool { return strings.HasPrefix(a, s.guard.prefix) }):
		return nil
	case !open:
		return failf("index %s of %s stands in the way and is closed; open it, or delete it when it is not needed, then retry", ix.Name, s.l.to.Version)
	case len(st.MaxSeqNo) < st.Primaries:
		return fmt.Errorf("index %s of %s stands in the way, and its primaries are not active yet", ix.Name, s.l.to.Version)
	}
	return nil
}

// empty keeps what an index in the way holds, unless it never held anything or
// is what a rollback has left.
func (s *session) empty(ctx context.Context, ix Index, seq map[int]int64) error {
	if stream.Never(seq) {
		return nil
	}
	if left, err := s.leftByRollback(ctx, ix); err != nil || left {
		return err
	}
	return s.salvage(ctx, ix.Name, seq)
}

func (s *session) moveTo(target string) *Move {
	for _, m := range s.moves {
		if m.Target == target {
			return m
		}
	}
	return nil
}

// salvage keeps the documents of an index that must go, unless the same ids
// are in the sources of the move: those come again.
func (s *session) salvage(ctx context.Context, name string, seq map[int]int64) error {
	if err := s.engine.Refresh(ctx, name); err != nil {
		return err
	}
	var sources []string
	if m := s.moveTo(name); m != nil {
		for _, c := range m.Copies {
			sources = append(sources, c.Source)
		}
	}
	kept := 0
	return stream.ReadAll(ctx, s.engine, name, seq, false, func(docs []stream.Doc) error {
		known := map[string]bool{}
		if len(sources) > 0 {
			found, err := s.engine.FindIDs(ctx, sources, stream.IDs(docs))
			if err != nil {
				return err
			}
			for _, ids := range found {
				for _, id := range ids {
					known[id] = true
				}
			}
		}
		var keep []Quarantined
		for _, d := range docs {
			if !known[d.ID] {
				keep = append(keep, s.quarantined(d, name, QuarantineLeftover, "found in an index that stood in the way of the upgrade"))
			}
		}
		if kept += len(keep); kept > MaxQuarantine {
			return failf("index %s of %s stands in the way with more than %d documents; delete it when it is not needed, then retry", name, s.l.to.Version, MaxQuarantine)
		}
		return s.keepAside(ctx, keep...)
	})
}

// createTargets makes every target that is not made yet.
func (s *session) createTargets(ctx context.Context) error {
	var all []*Move
	for _, m := range s.moves {
		if m.State == MovePlanned && m.Method != MethodClone {
			all = append(all, m)
		}
	}
	old, err := s.sourceMappings(ctx, all)
	if err != nil {
		return err
	}
	rest, err := s.grow(ctx, all, old)
	if err == nil {
		err = s.createAll(ctx, rest, func(ctx context.Context, m *Move) error { return s.createTarget(ctx, m, old) })
	}
	var done []*Move
	for _, m := range all {
		if m.State == MoveCreated {
			done = append(done, m)
		}
	}
	return errors.Join(err, s.saveMoves(ctx, done...))
}

// createAll creates targets, several at a time.
func (s *session) createAll(ctx context.Context, moves []*Move, create func(context.Context, *Move) error) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.r.limits.Creates)
	// What is filled comes first: its shards start while the rest is made.
	moves = slices.Clone(moves)
	slices.SortStableFunc(moves, func(a, b *Move) int { return cmp.Compare(b.docs(), a.docs()) })
	for _, m := range moves {
		if err := s.giveWay(ctx); err != nil {
			return errors.Join(err, g.Wait())
		}
		g.Go(func() error { return create(gctx, m) })
	}
	return g.Wait()
}

// sourceMappings reads the mappings of what the moves are filled from.
func (s *session) sourceMappings(ctx context.Context, moves []*Move) (map[string]map[string]any, error) {
	if !slices.ContainsFunc(moves, func(m *Move) bool { return m.docs() > 0 }) {
		return nil, nil
	}
	old, err := s.engine.Indices(ctx, s.oldPatterns()...)
	out := map[string]map[string]any{}
	for _, ix := range old {
		out[ix.Name] = ix.Mapping
	}
	return out, err
}

// createTarget makes one target, with the fields that its sources have
// learned; a target that would have too many is made without.
func (s *session) createTarget(ctx context.Context, m *Move, old map[string]map[string]any) error {
	res := s.l.resource(m.Resource)
	body := IndexBody{Settings: finalSettings(res, m.Replicas), Mappings: s.targetMapping(m, old)}
	if !m.Light {
		body.Settings = relaxedSettings(res)
	}
	err := s.createWith(ctx, m, body)
	if tooMuch(err) {
		body.Mappings = res.Mapping
		err = s.createWith(ctx, m, body)
	}
	return err
}

// createWith makes one target with its guards.
func (s *session) createWith(ctx context.Context, m *Move, body IndexBody) error {
	for _, alias := range s.guardsOf(m) {
		body.Aliases = withAlias(body.Aliases, alias)
	}
	err := s.engine.CreateIndex(ctx, m.Target, body)
	if errors.Is(err, ErrAlreadyExists) {
		err = s.adoptTarget(ctx, m)
	}
	var e *EngineError
	if errors.As(err, &e) && e.Type == "validation_exception" {
		if strings.Contains(e.Reason, "shards open") {
			return &noRoom{m.Target, e.Reason}
		}
		return failf("index %s cannot be created: %s", m.Target, e.Reason)
	}
	if err != nil {
		return err
	}
	m.State = MoveCreated
	return nil
}

// targetMapping is the mapping of a target, with the fields that its sources
// have learned.
func (s *session) targetMapping(m *Move, old map[string]map[string]any) map[string]any {
	var sources []map[string]any
	for _, c := range m.Copies {
		if mapping, ok := old[c.Source]; ok {
			sources = append(sources, mapping)
		}
	}
	return schema.WithLearned(s.l.resource(m.Resource).Mapping, s.l.transformOf(m), sources)
}

// tooMuch says that the engine does not take a mapping with learned fields.
func tooMuch(err error) bool {
	var refused *EngineError
	return errors.As(err, &refused) && (refused.Type == "illegal_argument_exception" || refused.Type == "mapper_parsing_exception")
}

// adoptTarget accepts a target that came into being while we were asking for
// it: our own request, repeated after a lost answer. Anything else fails.
func (s *session) adoptTarget(ctx context.Context, m *Move) error {
	there, err := s.engine.Indices(ctx, m.Target)
	if err != nil {
		return err
	}
	if len(there) != 1 {
		return fmt.Errorf("index %s appeared and vanished", m.Target)
	}
	if err := schema.CompareMapping(s.l.resource(m.Resource).Mapping, there[0].Mapping); err != nil {
		return fmt.Errorf("index %s appeared with another mapping: %w", m.Target, err)
	}
	return nil
}

// restoreSettings gives heavy targets the settings that the release wants, in
// one call for all that want the same.
func (s *session) restoreSettings(ctx context.Context) error {
	alike := map[string][]*Move{}
	for _, m := range s.moves {
		if !m.Light {
			key := fmt.Sprint(restoredSettings(s.l.resource(m.Resource), m.Replicas))
			alike[key] = append(alike[key], m)
		}
	}
	for _, moves := range alike {
		names := make([]string, len(moves))
		for i, m := range moves {
			names[i] = m.Target
		}
		if err := s.engine.PutSettings(ctx, restoredSettings(s.l.resource(moves[0].Resource), moves[0].Replicas), names...); err != nil {
			return err
		}
		for _, m := range moves {
			m.Light = true
		}
		if err := s.saveMoves(ctx, moves...); err != nil {
			return err
		}
	}
	return nil
}

// docs is the number of documents planned for a move.
func (m *Move) docs() (n int64) {
	for _, c := range m.Copies {
		n += c.Docs
	}
	return n
}

// checkSchemas compares every target with what the release wants.
func (s *session) checkSchemas(ctx context.Context) error {
	there, err := s.engine.Indices(ctx, s.l.targets(s.t.TenantID, naming.Staging, naming.Production, naming.Static)...)
	if err != nil {
		return err
	}
	for _, m := range s.moves {
		i := slices.IndexFunc(there, func(ix Index) bool { return ix.Name == m.Target })
		if i < 0 {
			return failf("target index %s has vanished; cancel the rollout and start again", m.Target)
		}
		res := s.l.resource(m.Resource)
		if err := schema.CompareMapping(res.Mapping, there[i].Mapping); err != nil {
			return failf("target index %s: %v", m.Target, err)
		}
		if err := schema.CompareSettings(finalSettings(res, m.Replicas), there[i].Settings); err != nil {
			return failf("target index %s: %v", m.Target, err)
		}
	}
	return nil
}
