package upgrader

import (
	"context"

	"github.com/tracardi/tms/upgrader/naming"
	"github.com/tracardi/tms/upgrader/schema"
	"github.com/tracardi/tms/upgrader/stream"
)

// A rollback leaves the new version's indices behind, closed. Those that the
// old release has a place for are copies of what it holds by now, and are
// replaced by the next upgrade. The others hold documents that are nowhere
// else: they are taken over as they are.

// keeps says whether an index under a new name is taken over instead of
// replaced: of a resource that nothing is copied into, with documents in it,
// seen by nobody, and made as the release wants it.
func (l *layout) keeps(ix Index, n naming.IndexName, st IndexStats) bool {
	res, ok := resourceByBase(l.to, n)
	if !ok || n.Mode == naming.Static || len(ix.Aliases) > 0 || stream.Never(st.MaxSeqNo) {
		return false
	}
	if l.fed(res.Key) {
		return false
	}
	return schema.CompareMapping(res.Mapping, ix.Mapping) == nil && schema.CompareSettings(finalSettings(res, st.Replicas), ix.Settings) == nil
}

// takeOver makes an index a target of this rollout, documents and all.
func (s *session) takeOver(ctx context.Context, n naming.IndexName, st IndexStats) error {
	if err := s.engine.UnblockWrites(ctx, n.String()); err != nil {
		return err
	}
	m := s.moveTo(n.String())
	if m == nil {
		res, _ := resourceByBase(s.l.to, n)
		m = &Move{Target: n.String(), Resource: res.Key, Mode: n.Mode, Partition: n.Partition, Method: MethodCreate}
		s.moves = append(s.moves, m)
		s.t.Indices = len(s.moves)
		s.t.ByMethod[MethodCreate]++
	}
	m.State, m.Kept, m.Light, m.Replicas = MoveCreated, true, true, st.Replicas
	m.Why = "left by a rollback: it holds what only this release knows"
	if err := s.saveMoves(ctx, m); err != nil {
		return err
	}
	return s.r.store.SaveTenant(ctx, s.lease, s.t)
}

// leftByRollback says that an index in the way was closed by a rollback, and
// what it held went back, or is in that rollout's quarantine. What the old
// release has no place for is nowhere else.
func (s *session) leftByRollback(ctx context.Context, ix Index) (bool, error) {
	n, _ := naming.Parse(ix.Name)
	if res, ok := resourceByBase(s.l.to, n); !ix.WriteBlocked || !ok || !s.l.fed(res.Key) {
		return false, nil
	}
	own, err := s.r.store.OwnTargets(ctx, s.t.TenantID)
	return len(own) > 0, err
}
