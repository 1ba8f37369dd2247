package upgrader

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tracardi/tms/upgrader/schema"
	"github.com/tracardi/tms/upgrader/stream"
)

// cloneTimeout bounds the moment in which a clone refuses the writes of its
// source; what does not fit is copied.
const cloneTimeout = time.Second

// maxClones bounds how often one index is tried to be cloned.
const maxClones = 3

// errWarm says that a source is written to and must not be cloned.
var errWarm = errors.New("it is written to")

// cloneAll makes the targets that are cloned, one after the other: each
// refuses the writes of its source for a moment. A source that is not cold
// after all is copied.
func (s *session) cloneAll(ctx context.Context) error {
	for _, m := range s.moves {
		if m.Method != MethodClone || m.State != MovePlanned && m.State != MoveCopying {
			continue
		}
		if away, err := s.steeredAway(ctx, StepCopy); err != nil || away {
			return errors.Join(err, map[bool]error{true: errSteered}[away])
		}
		err := s.clone(ctx, m)
		// While its source is not open again nothing else is begun: the turn
		// ends, and the next one opens it first.
		if err != nil && ctx.Err() == nil && s.t.Record.Cloning == "" && copyRather(err, m.Copies[0].Tries) {
			err = s.copyInstead(ctx, m, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copyRather says whether a clone that did not come about is better copied:
// its source is not cold, the engine refuses it, or it took too long.
func copyRather(err error, tries int) bool {
	var e *EngineError
	switch {
	case errors.Is(err, errWarm), errors.Is(err, context.DeadlineExceeded):
		return true
	case errors.As(err, &e):
		return !e.Retryable() || tries >= maxClones
	}
	return false
}

// clone makes one target by hard links. The checkpoint of the source was taken
// before, so that whatever is written after the block is caught up with.
func (s *session) clone(ctx context.Context, m *Move) error {
	c := &m.Copies[0]
	if err := s.waitCold(ctx, c); err != nil {
		return err
	}
	there, err := s.engine.Indices(ctx, c.Source, m.Target)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(there, func(ix Index) bool { return ix.Name == c.Source })
	if i < 0 {
		return fmt.Errorf("source index %s is not there", c.Source)
	}
	source := there[i]
	if len(there) == 1 {
		if err := s.cloneOf(ctx, m, source); err != nil {
			return err
		}
	} else if !clonedFrom(there[1-i], source) {
		return failf("index %s appeared and is no clone of %s; delete it, then retry", m.Target, c.Source)
	}
	if err := s.engine.PutMapping(ctx, s.l.resource(m.Resource).Mapping, m.Target); err != nil {
		return err
	}
	s.update(func() { m.State, c.State, c.Copied = MoveCreated, CopyDone, c.Docs })
	if err := s.countClone(ctx, m); err != nil {
		return err
	}
	return s.saveMoves(ctx, m)
}

// waitCold waits until the source has been watched for long enough, and
// demands that it took no write meanwhile.
func (s *session) waitCold(ctx context.Context, c *Copy) error {
	// Another process, with another clock, may have noted the start.
	if left := min(coldWindow, coldWindow-s.r.now().Sub(s.rollout.CreatedAt)); left > 0 {
		if err := (&poller{next: left}).pause(ctx); err != nil {
			return err
		}
	}
	stats, err := s.stats(ctx, c.Source)
	if err != nil {
		return err
	}
	if stream.Writes(stats[c.Source].MaxSeqNo) != c.Planned {
		return errWarm
	}
	return nil
}

// clonedFrom says whether an index is the clone of another one, by what the
// engine has noted in its settings.
func clonedFrom(ix, source Index) bool {
	return source.UUID != "" && schema.Flatten(ix.Settings)["resize.source.uuid"] == source.UUID
}

// cloneOf asks the engine for the clone while the source refuses writes. The
// block is lifted whatever happens; a worker that dies before it could leaves
// Record.Cloning, and the next one lifts it first of all.
func (s *session) cloneOf(ctx context.Context, m *Move, source Index) (err error) {
	settings, err := schema.CloneSettings(finalSettings(s.l.resource(m.Resource), m.Replicas), source.Settings)
	if err != nil {
		return errors.Join(errWarm, err) // changed since the plan
	}
	if err := s.giveWay(ctx); err != nil {
		return err
	}
	// Noted before it is asked for: a cancelled rollout must find it.
	s.update(func() { m.State, m.Copies[0].Tries = MoveCopying, m.Copies[0].Tries+1 })
	if err := s.saveMoves(ctx, m); err != nil {
		return err
	}
	if source.WriteBlocked { // the operator's own block: it stays
		return s.engine.Clone(ctx, source.Name, m.Target, settings)
	}
	if err := s.noteCloning(ctx, source.Name); err != nil {
		return err
	}
	started := s.r.now()
	cctx, cancel := context.WithTimeout(ctx, cloneTimeout)
	defer cancel()
	if _, err = s.engine.BlockWrites(cctx, source.Name); err == nil {
		err = s.engine.Clone(cctx, source.Name, m.Target, settings)
	}
	lctx, stop := context.WithTimeout(context.WithoutCancel(ctx), s.r.limits.LeaseTTL)
	defer stop()
	if lerr := s.liftClone(lctx); lerr != nil {
		return lerr // whatever else went wrong, this comes first
	}
	s.log.Info("cloned", "source", source.Name, "blocked_ms", s.r.now().Sub(started).Milliseconds(), "error", err)
	return err
}

func (s *session) noteCloning(ctx context.Context, source string) error {
	s.update(func() { s.t.Record.Cloning = source })
	return s.saveTenant(ctx)
}

// liftClone opens the source of a clone to its writers again.
func (s *session) liftClone(ctx context.Context) error {
	if err := s.engine.UnblockWrites(ctx, s.t.Record.Cloning); err != nil {
		return err
	}
	return s.noteCloning(ctx, "")
}

// copyInstead reindexes a move that was to be cloned.
func (s *session) copyInstead(ctx context.Context, m *Move, why error) error {
	c := &m.Copies[0]
	s.log.Info("source is copied instead of cloned", "source", c.Source, "why", why)
	if m.State == MoveCopying {
		if err := s.deleteUnread(ctx, []string{m.Target}); err != nil {
			return err
		}
	}
	s.update(func() {
		s.t.ByMethod[m.Method]--
		m.Method, m.State, c.State, c.Tries = MethodReindex, MovePlanned, CopyPlanned, 0
		m.Why = "could be cloned, but " + why.Error()
		m.Light = c.Docs <= lightDocs
		s.t.ByMethod[m.Method]++
	})
	if err := s.createTarget(ctx, m, nil); err != nil {
		return err
	}
	if err := s.saveMoves(ctx, m); err != nil {
		return err
	}
	return s.copyOne(ctx, m, c, "")
}

// saveTenant stores the tenant while copies run: one save after the other, so
// that an older state never overwrites a newer one.
func (s *session) saveTenant(ctx context.Context) error {
	s.saving.Lock()
	defer s.saving.Unlock()
	s.mu.Lock()
	t := *s.t
	t.ByMethod = maps.Clone(t.ByMethod)
	s.mu.Unlock()
	return s.r.store.SaveTenant(ctx, s.lease, &t)
}
