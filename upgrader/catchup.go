package upgrader

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/upgrader/naming"
	"github.com/tracardi/tms/upgrader/stream"
)

// Bounds of catching up without a fence. A delta of smallDelta documents is
// copied in a fraction of a second, so that the fence may begin; a writer
// that produces more than that in one pass, again and again, is followed for
// maxPasses before the step starts anew.
const (
	smallDelta = 500
	maxPasses  = 20
)

// discover looks for sources that the plan does not know: the calendar adds a
// partition at midnight. They are added to the moves; true means that the
// tenant must be prepared again.
func (s *session) discover(ctx context.Context, stats map[string]IndexStats) (bool, error) {
	known := map[string]bool{}
	for _, m := range s.moves {
		for _, c := range m.Copies {
			known[c.Source] = true
			if _, ok := stats[c.Source]; !ok {
				return false, failf("source index %s has vanished; cancel the rollout and start again", c.Source)
			}
		}
	}
	var changed []*Move
	for _, name := range sortedKeys(stats) {
		n, ok := naming.Parse(name)
		if known[name] || !ok {
			continue
		}
		res, ok := s.l.sourceOf(n)
		if !ok {
			continue
		}
		if stream.Never(stats[name].MaxSeqNo) {
			is, err := s.isStub(ctx, name)
			if err != nil {
				return false, err
			}
			if is {
				continue // it goes with the fence that made it
			}
		}
		for _, target := range s.l.targetsOf(res.Key) {
			part, err := naming.TargetPartition(n.Partition, target.Partitioning, s.rollout.CreatedAt)
			if err != nil {
				return false, failf("index %s: %v", name, err)
			}
			m := s.moveTo(s.l.name(s.t.TenantID, n.Mode, target, part).String())
			if m == nil {
				m = &Move{Target: s.l.name(s.t.TenantID, n.Mode, target, part).String(), Resource: target.Key, Mode: n.Mode, Partition: part, State: MovePlanned, Light: true, Replicas: s.replicasOf(target.Key, n.Mode)}
				s.moves = append(s.moves, m)
			}
			c := Copy{Source: name, Resource: res.Key, State: CopyPlanned, Docs: stats[name].Docs, Shards: stats[name].Primaries}
			changed = append(changed, s.spreadSource(m.Target, groupOf{target.Key, n.Mode}, c)...)
			m.Copies = append(m.Copies, c)
			light := m.Light
			_ = s.facts().choose(m) // nothing was asked for that could be impossible
			m.Light = light
			changed = append(changed, m)
			s.log.Info("new source index", "source", name, "target", m.Target)
		}
		if !s.isOld(name) { // nothing is copied of a resource without a successor
			s.t.Record.OldIndices = append(s.t.Record.OldIndices, name)
		}
	}
	if len(changed) == 0 {
		return false, nil
	}
	s.t.Indices, s.t.ByMethod = len(s.moves), map[Method]int{}
	for _, m := range s.moves {
		s.t.ByMethod[m.Method]++
	}
	return true, errors.Join(s.saveMoves(ctx, changed...), s.r.store.SaveTenant(ctx, s.lease, s.t))
}

// facts of a running rollout: sources that turn up now are never cloned.
func (s *session) facts() facts {
	return facts{l: s.l, now: s.rollout.CreatedAt, options: Options{}, source: func(string) (Index, bool) { return Index{}, false }}
}

// errNewSource ends a pass because discover found something.
var errNewSource = errors.New("a new source index appeared")

// catchUp copies what was written since the checkpoints, once, and returns
// how many documents that were. It is exact per shard: documents with a
// sequence number above the shard's checkpoint and up to the one read at the
// beginning of the pass.
func (s *session) catchUp(ctx context.Context) (int, error) {
	stats, err := s.stats(ctx, s.oldPatterns()...)
	if err != nil {
		return 0, err
	}
	s.notePace(stats)
	if fresh, err := s.discover(ctx, stats); err != nil {
		return 0, err
	} else if fresh {
		return 0, errNewSource
	}
	return s.catchUpTo(ctx, stats)
}

// catchUpTo copies what was written up to the checkpoints in stats.
func (s *session) catchUpTo(ctx context.Context, stats map[string]IndexStats) (int, error) {
	type behindJob struct {
		m  *Move
		c  *Copy
		to map[int]int64
	}
	var jobs []behindJob
	var behind []string
	for _, m := range s.moves {
		for i := range m.Copies {
			c := &m.Copies[i]
			if to := stats[c.Source].Checkpoints; stream.Beyond(c.Checkpoint, to) {
				jobs, behind = append(jobs, behindJob{m, c, to}), append(behind, c.Source)
			}
		}
	}
	if len(jobs) == 0 {
		return 0, nil
	}
	// The checkpoints were read before this refresh, so it shows all of them.
	if err := s.engine.Refresh(ctx, behind...); err != nil {
		return 0, err
	}
	s.mu.Lock()
	for _, source := range behind { // deletions leave nothing else to see
		s.hot[source] = true
	}
	s.mu.Unlock()
	counts := make([]int, len(jobs))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.r.limits.Streams)
	for i, j := range jobs {
		g.Go(func() error {
			n, err := s.delta(gctx, j.m, j.c, j.to)
			counts[i] = n
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	sum := 0
	changed := map[*Move]bool{}
	for i, j := range jobs {
		j.c.Checkpoint = stream.CheckpointOf(j.to)
		sum += counts[i]
		changed[j.m] = true
	}
	var rows []*Move
	for m := range changed {
		rows = append(rows, m)
	}
	return sum, s.saveMoves(ctx, rows...)
}

// delta copies one source's documents between its checkpoint and to.
func (s *session) delta(ctx context.Context, m *Move, c *Copy, to map[int]int64) (int, error) {
	n := 0
	for _, shard := range stream.ShardsIn(to) {
		err := stream.ReadShard(ctx, s.engine, c.Source, shard, c.Checkpoint.At(shard), to[shard], false, func(docs []stream.Doc, _ int64) error {
			s.noteTouched(c.Source, docs)
			_, err := s.put(ctx, m, c, docs, true)
			n += len(docs)
			return err
		})
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// chase catches up until little is left.
func (s *session) chase(ctx context.Context, step Step) (Outcome, error) {
	for range maxPasses {
		n, err := s.catchUp(ctx)
		if errors.Is(err, errNewSource) {
			return OutcomeNewWork, nil
		}
		if err != nil {
			return OutcomeRetry, err
		}
		if n <= smallDelta {
			return OutcomeDone, nil
		}
		if away, err := s.steeredAway(ctx, step); err != nil || away {
			return OutcomeWaitSteered, err
		}
	}
	s.t.Reason = fmt.Sprintf("catching up: writers add more than %d documents in every pass", smallDelta)
	return OutcomeWait, nil
}

// converge makes the target equal to the source as of a moment, and proves
// it, while writers go on.
func (s *session) converge(ctx context.Context) (Outcome, error) {
	if len(s.moves) == 0 {
		return OutcomeDone, nil
	}
	if o, err := s.chase(ctx, StepConverge); err != nil || o != OutcomeDone {
		return o, err
	}
	if err := s.reconcile(ctx, false); err != nil {
		return OutcomeRetry, err
	}
	if err := s.checkSchemas(ctx); err != nil {
		return OutcomeRetry, err
	}
	// What reconciling took was written meanwhile.
	if o, err := s.chase(ctx, StepConverge); err != nil || o != OutcomeDone {
		return o, err
	}
	if err := s.compare(ctx); err != nil {
		return OutcomeRetry, err
	}
	return OutcomeDone, s.checkQuarantine(ctx)
}

// checkQuarantine refuses to go on with more documents aside than allowed.
func (s *session) checkQuarantine(ctx context.Context) error {
	if err := s.pruneQuarantine(ctx, nil); err != nil {
		return err
	}
	if n, most := s.aside.counting(), s.rollout.Options.AllowQuarantine; n > most {
		return failf("%d documents are in quarantine, %d are allowed; look at `tms upgrade quarantine %s --tenant %s`, then `tms upgrade retry %s --allow-quarantine %d` to switch without them",
			n, most, s.rollout.ID, s.t.TenantID, s.rollout.ID, n)
	}
	return nil
}

// hold keeps a tenant that may not switch yet close behind its writers.
func (s *session) hold(ctx context.Context) (Outcome, error) {
	if len(s.moves) > 0 {
		if o, err := s.chase(ctx, StepHold); err != nil || o != OutcomeDone {
			return o, err
		}
		if err := s.compareDelta(ctx); err != nil {
			return OutcomeRetry, err
		}
	}
	s.t.Reason = "waiting for `tms upgrade switch " + s.rollout.ID + "`"
	if s.t.SwitchAllowed {
		s.t.Reason = "waiting for a maintenance window before its writes are refused"
	}
	return OutcomeWait, nil
}
