package upgrader

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/upgrader/stream"
)

// errSteered ends a step early because the operator wants something else.
var errSteered = errors.New("the operator has asked for something else")

// maxCopyTries bounds how often one engine copy task is started: tasks vanish
// when a node restarts, which is worth repeating, but not for ever.
const maxCopyTries = 10

// opaquePrefix tags every copy task of the tenant's rollout.
func (s *session) opaquePrefix() string {
	return "tms:" + s.lease.RolloutID + ":" + s.lease.TenantID + ":"
}

func (s *session) opaqueID(m *Move, c *Copy) string {
	id := s.opaquePrefix() + c.Source + ":" + m.Resource
	if c.Foreign {
		id += ":" + m.Partition
	}
	return id
}

// copy brings every document of every source into its target, as of a
// checkpoint taken before the first document was read.
func (s *session) copy(ctx context.Context) (Outcome, error) {
	if len(s.moves) == 0 {
		return OutcomeDone, nil
	}
	if outcome, err := s.startingPoint(ctx); err != nil || outcome != OutcomeDone {
		return outcome, err
	}
	tasks, err := s.engine.ReindexTasks(ctx, s.opaquePrefix())
	if err != nil {
		return OutcomeRetry, err
	}
	running := map[string]string{}
	for _, t := range tasks {
		running[t.OpaqueID] = t.ID
	}
	g, gctx := errgroup.WithContext(ctx)
	if err := s.sweep(ctx); err != nil {
		return OutcomeRetry, err
	}
	var heavy, light []job
	for _, j := range workOrder(s.moves, s.r.now()) {
		if s.byEngine(j.c) {
			heavy = append(heavy, j)
		} else {
			light = append(light, j)
		}
	}
	g.Go(func() error { return s.cloneAll(gctx) })
	for _, lane := range []struct {
		jobs []job
		most int
	}{{heavy, s.r.limits.Tasks}, {light, s.r.limits.Streams}} {
		g.Go(func() error {
			in, lctx := errgroup.WithContext(gctx)
			in.SetLimit(lane.most)
			for _, j := range lane.jobs {
				in.Go(func() error { return s.copyOne(lctx, j.m, j.c, running[s.opaqueID(j.m, j.c)]) })
			}
			return in.Wait()
		})
	}
	err = g.Wait()
	if serr := s.saveMoves(ctx, s.moves...); err == nil || errors.Is(err, errSteered) {
		err = errors.Join(err, serr)
	}
	if errors.Is(err, errSteered) {
		return OutcomeWaitSteered, nil
	}
	if err != nil {
		return OutcomeRetry, err
	}
	return s.afterCopies(ctx)
}

// afterCopies makes what was copied readable and settles duplicates.
func (s *session) afterCopies(ctx context.Context) (Outcome, error) {
	if err := s.endTasks(ctx); err != nil {
		return OutcomeRetry, err
	}
	if err := s.restoreSettings(ctx); err != nil {
		return OutcomeRetry, err
	}
	if err := s.settleMerges(ctx); err != nil {
		return OutcomeRetry, err
	}
	s.t.Documents = 0
	for _, m := range s.moves {
		m.State = MoveCopied
		for _, c := range m.Copies {
			s.t.Documents += c.Copied
		}
	}
	return OutcomeDone, s.saveMoves(ctx, s.moves...)
}

// endTasks makes sure that no copy task of the tenant writes from now on. All
// that are known have ended; but one whose start had no answer, and for which
// another was started, may run or be about to: catching up must not be undone by
// it.
func (s *session) endTasks(ctx context.Context) error {
	if err := s.guard.dismissCopies(ctx); err != nil {
		return err
	}
	return s.cancelTasks(ctx)
}

// byEngine says whether a copy is worth a task of the engine.
func (s *session) byEngine(c *Copy) bool {
	return c.State == CopyRunning || (c.State == CopyPlanned && c.Docs > s.r.limits.StreamDocs)
}

// startingPoint takes the checkpoints of sources that have none, makes their
// documents visible, and finishes those that never saw a write.
func (s *session) startingPoint(ctx context.Context) (Outcome, error) {
	stats, err := s.stats(ctx, s.oldPatterns()...)
	if err != nil {
		return OutcomeRetry, err
	}
	if fresh, err := s.discover(ctx, stats); err != nil || fresh {
		return OutcomeNewWork, err
	}
	var docs int64
	fresh := map[*Copy]bool{}
	for _, m := range s.moves {
		for i := range m.Copies {
			c := &m.Copies[i]
			if c.State == CopyDone || c.Checkpoint != nil {
				continue
			}
			st := stats[c.Source]
			c.Checkpoint, c.Docs, c.Shards = stream.CheckpointOf(st.Checkpoints), st.Docs, st.Primaries
			fresh[c] = true
			if stream.Never(st.Checkpoints) {
				c.State = CopyDone
			}
		}
	}
	for _, m := range s.moves {
		for _, c := range m.Copies {
			if !c.Foreign {
				docs += c.Docs
			}
		}
	}
	s.t.DocsTotal = docs
	if len(fresh) == 0 {
		return OutcomeDone, nil
	}
	if err := s.engine.Refresh(ctx, s.oldPatterns()...); err != nil {
		return OutcomeRetry, err
	}
	if err := s.sift(ctx, fresh); err != nil {
		return OutcomeRetry, err
	}
	if err := s.saveMoves(ctx, s.moves...); err != nil {
		return OutcomeRetry, err
	}
	s.t.State = TenantCopying
	return OutcomeDone, s.r.store.SaveTenant(ctx, s.lease, s.t)
}

// copyOne copies one source; task is a running copy task found for it.
func (s *session) copyOne(ctx context.Context, m *Move, c *Copy, task string) error {
	if c.State == CopyPlanned || c.State == CopyRunning {
		if task != "" {
			// Started by a worker that died before it could say so.
			s.update(func() { c.Task = task })
		}
		if c.Task != "" || s.byEngine(c) {
			if err := s.followTask(ctx, m, c); err != nil {
				return err
			}
		} else {
			s.update(func() { c.State = CopyStreaming })
		}
	}
	if c.State == CopyStreaming {
		return s.streamCopy(ctx, m, c)
	}
	return nil
}

// followTask starts the engine's copy task where none runs, and follows it to
// its end. A task that met a refused document stops there: it is started again
// where the document was refused in passing, else the copy goes on document by
// document.
func (s *session) followTask(ctx context.Context, m *Move, c *Copy) error {
	back, err := s.taskSlot(ctx, c)
	if err != nil {
		return err
	}
	defer back()
	wait, dog, pace := newPoller(s.r.limits.Poll), &watchdog{}, &throttled{}
	for {
		news := s.guard.account.News()
		if away, err := s.steeredAway(ctx, StepCopy); err != nil || away {
			return errors.Join(err, map[bool]error{true: errSteered}[away])
		}
		if c.Task == "" {
			if err := s.startTask(ctx, m, c, pace); err != nil {
				return err
			}
		}
		if err := s.rethrottle(ctx, c, pace); err != nil {
			return err
		}
		t, err := s.engine.ReindexTask(ctx, c.Task)
		switch {
		case errors.Is(err, ErrNotFound), err == nil && t.Completed && t.Cancelled:
			// The node that ran it is gone, or somebody cancelled it.
			s.update(func() { c.Task = "" })
			pace = &throttled{}
			continue
		case err != nil:
			return err
		}
		s.guard.account.Copied(t.Created + t.Updated - c.Copied)
		s.advance(c, t.Created+t.Updated)
		if !t.Completed {
			if err := s.unstall(ctx, m, c, t, dog, pace.rate); err != nil {
				return err
			}
			if err := s.progress(ctx, m); err != nil {
				return err
			}
			if err := wait.pauseUntil(ctx, news); err != nil {
				return err
			}
			continue
		}
		if err := s.taskEnded(ctx, m, c, t); err != nil || c.State != CopyPlanned {
			return err
		}
		dog, pace = &watchdog{}, &throttled{}
	}
}

func (s *session) startTask(ctx context.Context, m *Move, c *Copy, pace *throttled) error {
	s.update(func() { c.Tries, c.State = c.Tries+1, CopyRunning })
	if c.Tries > maxCopyTries {
		return failf("the copy of %s was started %d times and never ended; look at the cluster's health, then retry", c.Source, maxCopyTries)
	}
	if err := s.saveMoves(ctx, m); err != nil {
		return err
	}
	script, params := s.transformOf(m, c.Source).Painless()
	s.update(func() { c.Pace = Pace{} })
	rate := s.taskRate()
	id, err := s.engine.StartReindex(ctx, Reindex{
		Source: c.Source, Target: m.Target, Script: script, Params: params,
		Slices: max(1, c.Shards), RPS: rate, Batch: pageOf(rate), OpaqueID: s.opaqueID(m, c),
	})
	if err != nil {
		// The engine may have started it without our hearing of it: look
		// before anything else is started.
		return err
	}
	pace.known, pace.rate = true, rate
	s.update(func() { c.Task = id })
	return s.saveMoves(ctx, m)
}

func (s *session) taskEnded(ctx context.Context, m *Move, c *Copy, t ReindexTask) error {
	s.update(func() { s.wrote[m.Target] += t.Created + t.Updated + t.Deleted })
	switch {
	case t.Err != "" && !strings.Contains(t.Err, "script"):
		// What has ended stays so: the next turn starts another one.
		s.update(func() { c.Task = "" })
		return errors.Join(fmt.Errorf("copy of %s: %s", c.Source, t.Err), s.saveMoves(ctx, m))
	case t.Err != "" || len(t.Failures) > 0:
		if err := s.taskRefused(ctx, m, c, t); err != nil {
			return err
		}
	case t.Noops > 0 && s.routed(m) && !s.l.transformOf(m).Drops():
		s.update(func() { c.State = CopyDone }) // the others belong elsewhere
	case t.Noops > 0 || t.Deleted > 0:
		// The script drops documents; which, the task does not tell.
		s.log.Info("copy goes on document by document: the transform drops some", "source", c.Source, "dropped", t.Noops)
		s.update(func() { c.State, c.Task, c.Copied = CopyStreaming, "", 0 })
	default:
		s.update(func() { c.State = CopyDone })
	}
	return s.saveMoves(ctx, m)
}

// progress stores how far a long copy is, at most every lookEvery.
func (s *session) progress(ctx context.Context, m *Move) error {
	s.mu.Lock()
	if s.r.now().Sub(s.noted) < lookEvery {
		s.mu.Unlock()
		return nil
	}
	s.noted = s.r.now()
	s.t.Documents = 0
	for _, mv := range s.moves {
		for _, c := range mv.Copies {
			s.t.Documents += c.Copied
		}
	}
	s.mu.Unlock()
	if err := s.saveMoves(ctx, m); err != nil {
		return err
	}
	return s.saveTenant(ctx)
}

// streamCopy copies one source through TMS, from where it stopped.
func (s *session) streamCopy(ctx context.Context, m *Move, c *Copy) error {
	s.update(func() {
		if c.Streamed == nil {
			c.Streamed = stream.Checkpoint{}
		}
	})
	for _, shard := range stream.ShardsIn(c.Checkpoint) {
		err := stream.ReadShard(ctx, s.engine, c.Source, shard, c.Streamed.At(shard), c.Checkpoint[shard], false, func(docs []stream.Doc, read int64) error {
			n, err := s.put(ctx, m, c, docs, false)
			if err != nil {
				return err
			}
			s.advance(c, c.Copied+int64(n))
			s.update(func() { c.Streamed[shard] = read })
			if away, err := s.steeredAway(ctx, StepCopy); err != nil || away {
				return errors.Join(err, map[bool]error{true: errSteered}[away])
			}
			if len(docs) < stream.PageSize {
				return nil // too little to be worth a row
			}
			return s.progress(ctx, m)
		})
		if err != nil {
			return err
		}
	}
	s.update(func() { c.State = CopyDone })
	return nil
}

// update changes a move or a copy while other copies run.
func (s *session) update(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// poller waits between looks at a task: shortly at first, so that a copy of a
// second does not cost two.
type poller struct{ next, most time.Duration }

func newPoller(most time.Duration) *poller { return &poller{next: 20 * time.Millisecond, most: most} }

func (p *poller) pause(ctx context.Context) error { return p.pauseUntil(ctx, nil) }

// pauseUntil ends early when there is news.
func (p *poller) pauseUntil(ctx context.Context, news <-chan struct{}) error {
	t := time.NewTimer(p.next)
	defer t.Stop()
	p.next = min(p.next*3/2, p.most)
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-news:
	case <-t.C:
	}
	return nil
}
