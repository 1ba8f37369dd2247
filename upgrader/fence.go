package upgrader

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// maxFences bounds how often a fence is tried before the tenant fails: a
// fence that does not hold once more means that the writers, or the engine,
// need attention.
const maxFences = 20

// fence closes the old version to writers, copies the last of it, proves the
// copy and switches. Either all of it succeeds within the bound, or the fence
// is lifted.
func (s *session) fence(ctx context.Context) (Outcome, error) {
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
			return s.afterSwitch(ctx)
		}
		// It has not, and cannot any more. What the operator wants counts again.
		s.t.State = TenantFenced
		return OutcomeWaitSteered, nil
	}
	if s.t.State == TenantCompared {
		// Nobody waits yet: make the delta behind the fence as small as it gets.
		if o, err := s.chase(ctx, StepFence); err != nil || o != OutcomeDone {
			return o, err
		}
		if err := s.rememberIDs(ctx); err != nil {
			return OutcomeRetry, err
		}
		if err := s.reconcile(ctx); err != nil {
			return OutcomeRetry, err
		}
		if _, err := s.catchUp(ctx); err != nil && !errors.Is(err, errNewSource) {
			return OutcomeRetry, err
		}
		if err := s.compareDelta(ctx); err != nil {
			return OutcomeRetry, err
		}
	}
	return s.fenced(ctx)
}

// fenced does what happens behind the fence.
func (s *session) fenced(ctx context.Context) (Outcome, error) {
	if s.t.FenceTries++; s.t.FenceTries > maxFences {
		return OutcomeFail, failf("the fence was lifted %d times because the last delta did not fit into %s; slow the writers down, then retry; or cancel, and start again with a longer --fence-timeout", maxFences, s.rollout.Options.FenceTimeout)
	}
	s.t.State, s.t.Record.FencedAt = TenantFenced, s.r.now()
	if err := s.r.store.SaveTenant(ctx, s.lease, s.t); err != nil {
		return OutcomeRetry, err
	}
	if err := s.freeze(ctx); err != nil {
		return OutcomeRetry, err
	}
	if err := s.putTemplates(ctx); err != nil {
		return OutcomeRetry, err
	}
	start := time.Now()
	fctx, cancel := context.WithTimeout(ctx, s.rollout.Options.FenceTimeout)
	defer cancel()
	outcome, err := s.behindFence(fctx)
	s.t.Fence = time.Since(start)
	if outcome == OutcomeDone && err == nil {
		s.log.Info("switched", "fence_ms", s.t.Fence.Milliseconds())
		return s.afterSwitch(ctx)
	}
	if s.t.State == TenantVerified {
		// The switch was asked for and its answer is unknown: look before
		// anything is undone.
		return OutcomeRetry, err
	}
	timedOut := errors.Is(fctx.Err(), context.DeadlineExceeded) && ctx.Err() == nil
	if uerr := s.unfence(ctx); uerr != nil {
		return OutcomeRetry, errors.Join(err, uerr)
	}
	// The old version is open again: whatever comes next starts from there.
	s.t.State = TenantCopied
	if timedOut {
		s.t.Reason = fmt.Sprintf("fence lifted after %s: the last delta did not fit; catching up again", s.rollout.Options.FenceTimeout)
		return OutcomeLifted, nil
	}
	return outcome, err
}

// behindFence is the critical section: block, last delta, counts, proof,
// aliases.
func (s *session) behindFence(ctx context.Context) (Outcome, error) {
	blocked, err := s.engine.BlockWrites(ctx, s.oldPatterns()...)
	if err != nil {
		return OutcomeRetry, err
	}
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
	if err := s.lastDelta(ctx, old); err != nil {
		return OutcomeRetry, err
	}
	if err := s.prove(ctx); err != nil {
		return OutcomeRetry, err
	}
	return s.switchAliases(ctx)
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
	if err := s.compareDelta(ctx); err != nil {
		return err
	}
	for _, m := range s.moves {
		if err := s.resettle(ctx, m); err != nil {
			return err
		}
	}
	if err := s.removeVanished(ctx); err != nil {
		return err
	}
	return s.refreshBoth(ctx)
}

// prove counts both sides, reconciles deletions where the counts differ, and
// writes the proof.
func (s *session) prove(ctx context.Context) error {
	tallies, err := s.tallies(ctx)
	if err != nil {
		return err
	}
	if err := s.removeDeleted(ctx, tallies); err != nil {
		return err
	}
	if err := s.pruneQuarantine(ctx); err != nil {
		return err
	}
	if slices.ContainsFunc(slices.Collect(maps.Values(tallies)), func(t tally) bool { return !t.equal() }) {
		if tallies, err = s.tallies(ctx); err != nil {
			return err
		}
	}
	p := &Proof{
		Level: s.rollout.Options.Verify, Verdict: "equal", TakenAt: s.r.now(),
		BundleDigests: s.l.digests(), Quarantined: s.aside.counting(),
	}
	if s.t.Proof != nil {
		p.Compared, p.Delta = s.t.Proof.Compared, s.t.Proof.Delta
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
		Target: m.Target, SourceDocs: t.source, TargetDocs: t.target, Quarantined: t.aside,
		Digest: m.Digest, MappingHash: mappingHash(s.l.resource(m.Resource).Mapping),
	}
	for _, c := range m.Copies {
		ip.Sources = append(ip.Sources, c.Source)
		if ip.Checkpoints == nil {
			ip.Checkpoints = map[string]Checkpoint{}
		}
		ip.Checkpoints[c.Source] = c.Checkpoint
	}
	return ip
}

// freeze makes partitions that the old version's templates may yet create
// refuse writes, and keeps them out of sight: between the block and the
// switch, and after it, an old container that meets a new month must be
// refused like everywhere else.
func (s *session) freeze(ctx context.Context) error {
	return s.eachTemplate(ctx, s.oldTemplates, func(ctx context.Context, t Template) error {
		return s.engine.PutTemplate(ctx, frozen(t))
	})
}

// thaw puts the old version's templates back as they were.
func (s *session) thaw(ctx context.Context) error {
	return s.eachTemplate(ctx, s.oldTemplates, func(ctx context.Context, t Template) error {
		t.Body = IndexBody{}
		return s.engine.PutTemplate(ctx, t)
	})
}

func (s *session) eachTemplate(ctx context.Context, ts []Template, do func(context.Context, Template) error) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.r.limits.Creates)
	for _, t := range ts {
		g.Go(func() error { return do(gctx, t) })
	}
	return g.Wait()
}

// frozen is a template whose indices refuse writes and have no alias.
func frozen(t Template) Template {
	out := Template{Name: t.Name, Patterns: t.Patterns, Priority: t.Priority}
	settings := map[string]any{"blocks": map[string]any{"write": true}}
	for k, v := range t.Body.Settings {
		if k == "index" { // engines nest the settings of a template below it
			if sub, ok := v.(map[string]any); ok {
				for k, v := range sub {
					settings[k] = v
				}
			}
			continue
		}
		settings[k] = v
	}
	settings["blocks"] = map[string]any{"write": true}
	out.Body = IndexBody{Settings: settings, Mappings: t.Body.Mappings}
	return out
}

// unfence opens the old version to writers again, and takes the new version's
// templates away.
func (s *session) unfence(ctx context.Context) error {
	if err := s.clearTemplates(ctx); err != nil {
		return err
	}
	if err := s.thaw(ctx); err != nil {
		return err
	}
	if err := s.unblockOld(ctx); err != nil {
		return err
	}
	s.t.Record.FencedAt = time.Time{}
	return s.r.store.SaveTenant(ctx, s.lease, s.t)
}

// unblockOld lifts the block from whatever of the old version has it.
func (s *session) unblockOld(ctx context.Context) error {
	there, err := s.engine.Indices(ctx, s.oldPatterns()...)
	if err != nil {
		return err
	}
	var names []string
	var hidden []AliasAction
	for _, ix := range there {
		if ix.WriteBlocked {
			names = append(names, ix.Name)
		}
		n, ok := ParseIndexName(ix.Name)
		if _, known := s.l.sourceOf(n); ok && known && !s.isOld(ix.Name) && len(ix.Aliases) == 0 {
			// Made through a frozen template: its readers must see it now.
			hidden = append(hidden, AliasAction{Index: ix.Name, Alias: n.Alias()})
		}
	}
	if len(hidden) > 0 {
		if err := s.engine.UpdateAliases(ctx, hidden); err != nil {
			return err
		}
	}
	if len(names) == 0 {
		return nil
	}
	return s.engine.UnblockWrites(ctx, names...)
}
