package upgrader

import (
	"context"
	"fmt"
	"time"
)

const (
	// DefaultStall is how long a copy task may copy nothing before it counts
	// as stalled: longer than a merge or a garbage collection holds it up.
	DefaultStall = 2 * time.Minute
	// stallGrace is how long a cancelled task may take to end. It looks for its
	// cancellation between two batches.
	stallGrace = 30 * time.Second
	// taskBatch is how many documents a copy task reads at a time, the engine's
	// default. A throttled task sleeps after each.
	taskBatch = 1_000
)

// Pace is what is known of the speed of a copy since it was begun, or begun
// again: how far it was then, and when it last got on.
type Pace struct {
	Began time.Time `json:"began,omitzero"`
	Moved time.Time `json:"moved,omitzero"`
	From  int64     `json:"from,omitempty"` // documents copied at Began
}

// advance notes how many documents of a source are copied.
func (s *session) advance(c *Copy, copied int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.r.now()
	if c.Pace.Began.IsZero() {
		c.Pace = Pace{Began: now, Moved: now, From: c.Copied}
		if copied < c.Copied {
			c.Pace.From = 0 // begun again
		}
	}
	if copied != c.Copied {
		c.Copied, c.Pace.Moved = copied, now
	}
}

// watchdog watches one copy task. It belongs to the worker that follows the
// task: after a takeover the next one watches anew.
type watchdog struct {
	task      string
	seen      int64
	at        time.Time // of the last progress
	cancelled time.Time // zero while it is not
	limit     time.Duration
}

// verdict is what a watchdog thinks of its task.
type verdict int

const (
	taskMoves   verdict = iota
	taskStalled         // to be cancelled now
	taskStuck           // it was cancelled and does not end
)

// look is pure but for the watchdog's memory. done counts everything that the
// task has dealt with; it may get nowhere for limit. Another limit is another
// throttle: time that the task was made to rest does not count after it.
func (w *watchdog) look(task string, done int64, now time.Time, limit time.Duration) verdict {
	if w.task != task {
		*w = watchdog{task: task, seen: -1}
	}
	switch {
	case !w.cancelled.IsZero():
		if now.Sub(w.cancelled) > stallGrace {
			return taskStuck
		}
	case done != w.seen, limit != w.limit:
		w.seen, w.at, w.limit = done, now, limit
	case now.Sub(w.at) > limit:
		w.cancelled = now
		return taskStalled
	}
	return taskMoves
}

// stallLimit leaves a throttled task the time that it sleeps between batches.
func stallLimit(stall time.Duration, perSecond float64) time.Duration {
	if perSecond <= 0 {
		return stall
	}
	return max(stall, 3*time.Duration(taskBatch/perSecond*float64(time.Second)))
}

// unstall cancels a task that gets nowhere; followTask then starts it again, a
// bounded number of times. A task that does not end when it is cancelled must
// not have a second one beside it: what it still writes may be older.
func (s *session) unstall(ctx context.Context, m *Move, c *Copy, t ReindexTask, dog *watchdog, perSecond float64) error {
	limit := stallLimit(s.r.limits.Stall, perSecond)
	switch dog.look(c.Task, t.Created+t.Updated+t.Deleted+t.Noops, s.r.now(), limit) {
	case taskStalled:
		s.update(func() {
			c.Stalls++
			s.t.Record.Notes = append(s.t.Record.Notes, fmt.Sprintf("the copy of %s stood still for %s at %d of %d documents; its task was cancelled and started again", c.Source, limit, c.Copied, c.Docs))
		})
		s.log.Warn("copy task stalled; it is cancelled and started again", "source", c.Source, "task", c.Task, "stalled", limit, "copied", c.Copied, "stalls", c.Stalls)
		if err := s.saveMoves(ctx, m); err != nil {
			return err
		}
		return s.engine.CancelTask(ctx, c.Task)
	case taskStuck:
		return fmt.Errorf("the copy of %s stands still, and its task %s does not end although it was cancelled %s ago; look at the tasks and the health of the engine's nodes", c.Source, c.Task, stallGrace)
	}
	return nil
}
