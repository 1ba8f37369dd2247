package upgrader

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/upgrader/schema"
	"github.com/tracardi/tms/upgrader/stream"
)

// maxFences bounds how often a fence is tried before the tenant fails: a
// fence that does not hold once more means that the writers, or the engine,
// need attention.
const maxFences = 20

// fence closes the old version to writers, copies the last of it, proves the
// copy and switches. Either all of it succeeds within the bound, or the fence
// is lifted.
func (s *session) fence(ctx context.Context) (Outcome, error) {
	if s.minor() {
		return s.proveMinor(ctx)
	}
	if len(s.moves) == 0 {
		s.t.Proof = &Proof{Level: s.rollout.Options.Verify, Verdict: "nothing to do", TakenAt: s.r.now()}
		return OutcomeDone, nil
	}
	if s.t.State == TenantVerified {
		// A worker died between the switch and its record, or before it.
		done, err := s.aliasesSwitched(ctx)
		if err != nil {
			return OutcomeRetry, err
		}
		if done {
			if err := s.dismissGuards(ctx); err != nil { // of a worker that died
				return OutcomeRetry, err
			}
			return s.afterSwitch(ctx)
		}
		// It has not, and cannot any more. What the operator wants counts again.
		s.t.State = TenantFenced
		return OutcomeWaitSteered, nil
	}
	if s.t.State == TenantCompared {
		s.t.Reason = "" // nobody holds it any more
		// Nobody waits yet: make the delta behind the fence as small as it gets.
		if o, err := s.chase(ctx, StepFence); err != nil || o != OutcomeDone {
			return o, err
		}
		if err := s.rememberIDs(ctx); err != nil {
			return OutcomeRetry, err
		}
		if err := s.reconcile(ctx, true); err != nil {
			return OutcomeRetry, err
		}
		if _, err := s.catchUp(ctx); err != nil && !errors.Is(err, errNewSource) {
			return OutcomeRetry, err
		}
		if err := s.compareDelta(ctx); err != nil {
			return OutcomeRetry, err
		}
	}
	if s.gettingReady(TenantFenced) {
		s.t.Reason = "a worker died while it prepared the fence: catching up again"
		return OutcomeLifted, s.reopen(ctx)
	}
	return s.fenced(ctx)
}

// gettingReady says that a worker died between taking the place behind the
// fence and closing it. Another tenant may have the place by now: what was
// prepared is undone, and the way to the fence taken again.
func (s *session) gettingReady(fenced TenantState) bool {
	return s.t.State == fenced && s.t.Record.BlockedAt.IsZero()
}

// fenced takes the place behind the fence, prepares, and closes it.
func (s *session) fenced(ctx context.Context) (Outcome, error) {
	if s.t.FenceTries++; s.t.FenceTries > maxFences {
		return OutcomeFail, failf("the fence was lifted %d times because the last delta did not fit into %s; slow the writers down, then retry; or cancel, and start again with a longer --fence-timeout", maxFences, s.rollout.Options.FenceTimeout)
	}
	if o, err := s.takePlace(ctx, TenantFenced, StepFence); err != nil || o != OutcomeDone {
		if err == nil {
			s.t.FenceTries--
		}
		return o, err
	}
	if s.t.Record.BlockedAt.IsZero() {
		if err := s.beforeBlock(ctx); err != nil {
			return OutcomeRetry, errors.Join(err, s.reopen(ctx))
		}
		s.t.Record.BlockedAt = s.r.now()
		if err := s.r.store.SaveTenant(ctx, s.lease, s.t); err != nil {
			return OutcomeRetry, err
		}
	} else if err := s.closeAgain(ctx); err != nil {
		return OutcomeRetry, err
	}
	fctx, cancel := context.WithTimeout(ctx, s.rollout.Options.FenceTimeout)
	defer cancel()
	outcome, err := s.behindFence(fctx)
	if outcome == OutcomeDone && err == nil {
		outcome, err = s.switchAliases(ctx)
	}
	s.t.Fence = s.r.now().Sub(s.t.Record.BlockedAt)
	s.t.Record.Refused = s.refused(s.t.Fence)
	if outcome == OutcomeDone && err == nil {
		s.laps.lap("switch", s.r.now())
		s.log.Info("switched", append([]any{"fence_ms", s.t.Fence.Milliseconds()}, s.laps.parts...)...)
		return s.afterSwitch(ctx)
	}
	if s.t.State == TenantVerified {
		// The switch was asked for and its answer is unknown: look before
		// anything is undone.
		return OutcomeRetry, err
	}
	timedOut := errors.Is(fctx.Err(), context.DeadlineExceeded) && ctx.Err() == nil
	if uerr := s.reopen(ctx); uerr != nil {
		return OutcomeRetry, errors.Join(err, uerr)
	}
	if timedOut {
		s.t.Reason = fmt.Sprintf("fence lifted after %s: the last delta did not fit; catching up again", s.rollout.Options.FenceTimeout)
		return OutcomeLifted, nil
	}
	return outcome, err
}

// closeAgain prepares once more a fence that was closed in a turn before: a worker
// may have died while it lifted it.
func (s *session) closeAgain(ctx context.Context) error {
	if err := s.freeze(ctx, s.l.from, s.oldTemplates); err != nil {
		return err
	}
	return s.putTemplates(ctx)
}

// reopen lifts the fence; whatever comes next starts from copied.
func (s *session) reopen(ctx context.Context) error {
	if err := s.unfence(ctx); err != nil {
		return err
	}
	s.t.State = TenantCopied
	return nil
}

// placePatience is how long a worker waits for the place behind the fence
// before it sees to other tenants: with few workers, the one that has the place
// may be waiting for a worker.
const placePatience = 20 * time.Second

// takePlace waits until no other tenant is behind its fence. A tenant whose
// writes are refused already does not wait for anybody. Anything but
// OutcomeDone means that the tenant does not have the place: the operator wants
// something else, or it waits without a worker for a while.
func (s *session) takePlace(ctx context.Context, fenced TenantState, step Step) (Outcome, error) {
	before := s.t.State
	s.t.State = fenced
	if s.t.Record.FencedAt.IsZero() {
		s.t.Record.FencedAt = s.r.now()
	}
	if !s.t.Record.BlockedAt.IsZero() {
		return OutcomeDone, s.r.store.SaveTenant(ctx, s.lease, s.t)
	}
	wait := newPoller(s.r.limits.Poll)
	for deadline := time.Now().Add(placePatience); ; {
		err := s.r.store.TakeFence(ctx, s.lease, s.t)
		if !errors.Is(err, ErrConflict) {
			return OutcomeDone, err
		}
		s.t.State = before
		if away, err := s.steeredAway(ctx, step); err != nil || away {
			s.t.Record.FencedAt = time.Time{}
			return OutcomeWaitSteered, err
		}
		if time.Now().After(deadline) {
			s.t.Record.FencedAt = time.Time{}
			s.t.Reason = "waiting: writes are refused for one tenant of a cluster at a time"
			return OutcomeWait, nil
		}
		if err := wait.pause(ctx); err != nil {
			return OutcomeRetry, err
		}
		s.t.State, s.t.Record.FencedAt = fenced, s.r.now()
	}
}

// beforeBlock does what takes time and can be done while writers go on.
func (s *session) beforeBlock(ctx context.Context) error {
	if err := s.freeze(ctx, s.l.from, s.oldTemplates); err != nil {
		return err
	}
	if err := s.putTemplates(ctx); err != nil {
		return err
	}
	if err := s.hush(ctx); err != nil {
		return err
	}
	if _, err := s.catchUp(ctx); err != nil && !errors.Is(err, errNewSource) {
		return err
	}
	if err := s.compareDelta(ctx); err != nil {
		return err
	}
	stats, err := s.stats(ctx, s.oldPatterns()...)
	if err != nil {
		return err
	}
	if err := s.removeVanished(ctx, stats, vanishedAhead); err != nil {
		return err
	}
	if err := s.countAhead(ctx, s.touchedIndices()); err != nil {
		return err
	}
	return s.pruneQuarantine(ctx, nil) // behind the fence: only where something has changed since
}

// unfenced says that writers are served again.
func (r *TenantRecord) unfenced() {
	r.FencedAt, r.BlockedAt, r.QuietAt = time.Time{}, time.Time{}, time.Time{}
}

// behindFence is the critical section before the switch: block, last delta,
// counts, proof.
func (s *session) behindFence(ctx context.Context) (Outcome, error) {
	s.laps.start(s.r.now())
	blocked, err := s.engine.BlockWrites(ctx, s.oldPatterns()...)
	if err != nil {
		return OutcomeRetry, err
	}
	s.laps.lap("block", s.r.now())
	var both = append(s.oldPatterns(), s.newPatterns()...)
	stats, err := s.stats(ctx, both...)
	if err != nil {
		return OutcomeRetry, err
	}
	old := map[string]IndexStats{}
	for name, st := range stats {
		if slices.Contains(blocked, name) {
			old[name] = st
		}
	}
	if fresh, err := s.discover(ctx, old); err != nil || fresh {
		return OutcomeNewWork, err
	}
	s.laps.lap("look", s.r.now())
	if err := s.lastDelta(ctx, old); err != nil {
		return OutcomeRetry, err
	}
	err = s.prove(ctx)
	s.laps.lap("prove", s.r.now())
	return OutcomeDone, err
}

// lastDelta copies and compares what was written since the last pass, and
// removes what was deleted.
func (s *session) lastDelta(ctx context.Context, stats map[string]IndexStats) error {
	// Behind the fence nothing is in flight: the highest sequence number is
	// the last word, even where the global checkpoint has yet to follow it.
	final := map[string]IndexStats{}
	for name, st := range stats {
		st.Checkpoints = st.MaxSeqNo
		final[name] = st
	}
	if _, err := s.catchUpTo(ctx, final); err != nil {
		return err
	}
	s.laps.lap("catch_up", s.r.now())
	for _, m := range s.moves {
		if err := s.resettle(ctx, m); err != nil {
			return err
		}
	}
	// Reading a document by its id would refresh its shard, one by one.
	if err := s.refreshStale(ctx); err != nil {
		return err
	}
	s.laps.lap("refresh", s.r.now())
	// The one looks at what the sources have, the other removes what they have
	// not.
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.compareDelta(gctx) })
	g.Go(func() error { return s.removeVanished(gctx, final, vanishedFinally) })
	if err := g.Wait(); err != nil {
		return err
	}
	s.laps.lap("compare", s.r.now())
	return s.refreshStale(ctx)
}

// prove counts both sides, reconciles deletions where the counts differ, and
// writes the proof.
func (s *session) prove(ctx context.Context) error {
	stats, err := s.stats(ctx, append(s.oldPatterns(), s.newPatterns()...)...)
	if err != nil {
		return err
	}
	tallies, err := s.tallies(ctx, stats)
	if err != nil {
		return err
	}
	s.laps.lap("count", s.r.now())
	if err := s.removeDeleted(ctx, tallies, func(*Move) bool { return false }); err != nil {
		return err
	}
	s.laps.lap("deleted", s.r.now())
	if err := s.pruneQuarantine(ctx, stats); err != nil {
		return err
	}
	if slices.ContainsFunc(slices.Collect(maps.Values(tallies)), func(t tally) bool { return !t.equal() }) {
		if tallies, err = s.tallies(ctx, nil); err != nil {
			return err
		}
	}
	p := &Proof{Unseen: s.l.opaque(),
		Level: s.rollout.Options.Verify, Verdict: "equal", TakenAt: s.r.now(),
		BundleDigests: s.l.digests(), Quarantined: s.aside.counting(),
	}
	if s.t.Proof != nil {
		was := s.t.Proof
		p.Compared, p.Delta = was.Compared, was.Delta
		p.TMS, p.Engine, p.ClusterName, p.ClusterUUID, p.UUIDs = was.TMS, was.Engine, was.ClusterName, was.ClusterUUID, was.UUIDs
	}
	for _, m := range s.moves {
		t := tallies[m]
		if !t.equal() {
			return failf("verification of %s failed: the sources hold %d documents, %d of them in quarantine, but the target %d", m.Target, t.source, t.aside, t.target)
		}
		p.Documents += t.target
		p.Indices = append(p.Indices, s.indexProof(m, t))
	}
	s.t.Proof, s.t.Documents = p, p.Documents
	if n, most := s.aside.counting(), s.rollout.Options.AllowQuarantine; n > most {
		return failf("%d documents are in quarantine, %d are allowed; look at `tms upgrade quarantine %s`", n, most, s.rollout.ID)
	}
	return nil
}

func (s *session) indexProof(m *Move, t tally) IndexProof {
	ip := IndexProof{
		Target: m.Target, SourceDocs: t.source - t.elsewhere, TargetDocs: t.target, Quarantined: t.aside,
		Digest: m.Digest, DigestOf: digestOf(m), MappingHash: schema.Hash(s.l.resource(m.Resource).Mapping),
	}
	for _, c := range m.Copies {
		ip.Sources = append(ip.Sources, c.Source)
		if ip.Checkpoints == nil {
			ip.Checkpoints = map[string]stream.Checkpoint{}
		}
		ip.Checkpoints[c.Source] = c.Checkpoint
	}
	return ip
}

// unfence opens the old version to writers again, and takes the new version's
// templates away.
func (s *session) unfence(ctx context.Context) error {
	if err := s.openUp(ctx, s.l.from, s.oldPatterns()); err != nil {
		return err
	}
	if err := s.clearTemplates(ctx); err != nil {
		return err
	}
	s.t.Record.unfenced()
	return s.r.store.SaveTenant(ctx, s.lease, s.t)
}
