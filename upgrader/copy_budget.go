package upgrader

import (
	"context"
	"errors"
	"fmt"
	"math"
)

// budgeted has the tenant spend from its cluster's budget until the returned
// function is called.
func (s *session) budgeted(ctx context.Context) (end func()) {
	account := s.r.steward.Open(ctx, s.lease.Cluster)
	s.guard.account, s.guard.urgent = account, s.urgent
	return account.Part
}

// urgent says that writes to the tenant are refused, or are about to be; or that
// what was begun is undone, which is done even while everything is stopped.
func (s *session) urgent() bool {
	return s.t != nil && (s.t.State.Fenced() || !s.t.Record.FencedAt.IsZero() || s.t.Intent == IntentCancel)
}

// largestSource is the old index with the most documents.
func (s *session) largestSource() (name string) {
	most := int64(0)
	for _, m := range s.moves {
		for _, c := range m.Copies {
			if c.Docs > most {
				name, most = c.Source, c.Docs
			}
		}
	}
	return name
}

// taskRate is the documents per second that a copy task of the engine may do
// now: of what the rollout and the cluster's budget allow, the less; 0 for no
// limit.
func (s *session) taskRate() float64 {
	s.mu.Lock()
	most := s.perSecond
	s.mu.Unlock()
	return s.guard.account.TaskRate(most)
}

// taskSlot waits until the cluster's budget has room for one more copy task,
// and says so in the tenant's reason. A task that runs already has its slot.
func (s *session) taskSlot(ctx context.Context, c *Copy) (back func(), err error) {
	if c.Task != "" {
		return s.guard.account.AdoptTask(), nil
	}
	said := false
	back, err = s.guard.account.TakeTask(ctx, func() error {
		if away, err := s.steeredAway(ctx, StepCopy); err != nil || away {
			return errors.Join(err, map[bool]error{true: errSteered}[away])
		}
		if said {
			return nil
		}
		said = true
		s.update(func() {
			s.t.Reason = fmt.Sprintf("waits for a copy task: the budget of cluster %s has none left (`tms budget show`)", s.lease.Cluster)
		})
		return s.saveTenant(ctx)
	})
	if said {
		s.update(func() { s.t.Reason = "" })
	}
	return back, err
}

// throttled is how fast a copy task is known to be allowed; of one that was
// adopted nothing is known.
type throttled struct {
	known bool
	rate  float64
}

// rethrottle has a running task go as fast as it may now.
func (s *session) rethrottle(ctx context.Context, c *Copy, t *throttled) error {
	want := s.taskRate()
	if t.known && alike(want, t.rate) {
		return nil
	}
	err := s.engine.Rethrottle(ctx, c.Task, want)
	if err == nil {
		t.known, t.rate = true, want
	}
	if errors.Is(err, ErrNotFound) {
		return nil // it has ended, or its node has: whoever asks for its state finds out
	}
	return err
}

// alike says that two rates are not worth a change of one into the other.
func alike(a, b float64) bool {
	if a == 0 || b == 0 {
		return a == b
	}
	return math.Abs(a-b) <= 0.1*b
}

// pageOf is how many documents a throttled task copies at once: about half a
// second's worth, so that it does not work by fits and starts; 0 for the
// engine's own choice.
func pageOf(rate float64) int {
	if rate == 0 || rate >= 2*taskBatch {
		return 0
	}
	return max(20, int(rate/2))
}

// haltRate is the documents per second of a copy task while everything is
// stopped: with pages of a thousand, one in ten thousand seconds. Less would
// exceed the time that an engine keeps a scroll (search.max_keep_alive, a day).
const haltRate = 0.1

// halt has the tenant's copy tasks rest while everything is stopped. They keep
// their place, and go on when they are told to.
func (s *session) halt(ctx context.Context) error {
	if s.rollout.Wish != WishStop || s.t.State != TenantCopying && s.t.State != TenantPrepared {
		return nil
	}
	tasks, err := s.engine.ReindexTasks(ctx, s.opaquePrefix())
	if err != nil {
		return err
	}
	for _, t := range tasks {
		if err := s.engine.Rethrottle(ctx, t.ID, haltRate); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}
