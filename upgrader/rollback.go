package upgrader

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tracardi/tms/upgrader/naming"
	"github.com/tracardi/tms/upgrader/stream"
)

// A rollback is an upgrade in the other direction, with one difference: the
// old version still holds everything that was not written since the switch.
// So only the writes since are carried back, each document through the inverse
// of its transform, while the new version is in use; then the new version is
// fenced for the last of them, it is proven that the old one holds what the
// new one holds, and one call moves the aliases (docs/adr/0014).

// Return is what a rollback has done. It is stored with the tenant, so that
// another worker goes on where one has died.
type Return struct {
	StartedAt time.Time `json:"started_at"`
	// At is, per index of the new version and shard, the sequence number up to
	// which its writes are in the old version.
	At map[string]stream.Checkpoint `json:"at,omitempty"`
	// Carried counts documents written into the old version, one that was
	// written several times as often; Unchanged those that were as they are.
	Carried   int64 `json:"carried,omitempty"`
	Unchanged int64 `json:"unchanged,omitempty"`
	// Deleted counts documents deleted since the switch.
	Deleted int64 `json:"deleted,omitempty"`
	// Compared counts documents that were read back and found as they must be.
	Compared int64 `json:"compared,omitempty"`
	// Documents are those of the new version that the old one was proven to
	// hold, NotCarried those in quarantine that it does not hold, or not whole.
	Documents  int64 `json:"documents,omitempty"`
	NotCarried int64 `json:"not_carried,omitempty"`
	// Kept are the documents of indices that the old release has no place for,
	// by index; the indices stay.
	Kept map[string]int64 `json:"kept,omitempty"`
	// Made are partitions of the old version that the rollback has made.
	Made []string `json:"made,omitempty"`
	// Opened are indices of the old version that may be open to writers while
	// the new one is in use.
	Opened bool `json:"opened,omitempty"`
	// Disturbed says that somebody else may have written to the old version
	// while it was open: more sequence numbers are used than operations were
	// performed, or a worker has died with it open.
	Disturbed bool `json:"disturbed,omitempty"`
	// AliasesBefore are where the aliases pointed right before they were moved
	// back, Aliases where they are about to point.
	AliasesBefore map[string][]string `json:"aliases_before,omitempty"`
	Aliases       map[string][]string `json:"aliases,omitempty"`
	// Tries counts fences, lifted ones included; Fence is the length of the
	// last one, from the first refused write to the old version's opening.
	Tries int           `json:"tries,omitempty"`
	Fence time.Duration `json:"fence,omitempty"`
}

// rollback returns readers and writers to the old version, with what was
// written meanwhile. Each of its parts may be repeated.
func (s *session) rollback(ctx context.Context) (Outcome, error) {
	if s.minor() {
		return s.returnMinor(ctx)
	}
	if s.t.State == TenantReturnVerified {
		// A worker died between the switch and its record, or before it.
		moved, err := s.aliasesReturned(ctx)
		if err != nil {
			return OutcomeRetry, err
		}
		if moved {
			if err := s.dismissGuards(ctx); err != nil { // of a worker that died
				return OutcomeRetry, err
			}
			return s.afterReturn(ctx)
		}
		s.t.State = TenantReturnFenced
	}
	if s.t.State == TenantSwitched {
		if err := s.mayReturn(ctx); err != nil {
			return OutcomeRetry, err
		}
		if err := s.beginReturn(ctx); err != nil {
			return OutcomeRetry, err
		}
	}
	if r := s.t.Record.Return; r.At == nil {
		r.At = map[string]stream.Checkpoint{}
	}
	if r := s.t.Record.Return; s.t.State == TenantReturnFenced && r.Opened && len(s.open) == 0 {
		r.Disturbed = true // perhaps: a worker has died with it open
	}
	if s.t.State == TenantReturnFenced && s.rollout.Wish == WishStop {
		return OutcomeLifted, s.reopenNew(ctx)
	}
	if s.gettingReady(TenantReturnFenced) {
		s.t.Reason = "a worker died while it prepared the fence: carrying back again"
		return OutcomeLifted, s.reopenNew(ctx)
	}
	if s.t.State == TenantReturning {
		if o, err := s.approach(ctx); err != nil || o != OutcomeDone {
			return o, err
		}
	}
	return s.returnFenced(ctx)
}

// mayReturn fails before anything is changed when there is no old version to
// return to, or when readers are on a later one: what was written there would
// not come back.
func (s *session) mayReturn(ctx context.Context) error {
	there, err := s.engine.Indices(ctx, s.t.Record.OldIndices...)
	if err != nil {
		return err
	}
	for _, name := range s.t.Record.OldIndices {
		if !slices.ContainsFunc(there, func(ix Index) bool { return ix.Name == name }) {
			return failf("index %s of the old version is gone; restore it from a snapshot or, when nobody needs it, make an empty index of that name; then roll back again", name)
		}
	}
	now, err := s.engine.Aliases(ctx, s.naming().AliasPatterns()...)
	if err != nil {
		return err
	}
	for _, alias := range sortedKeys(now) {
		for _, name := range now[alias] {
			n, ok := naming.Parse(name)
			if ok && n.Mode != naming.Static && n.Prefix != s.l.to.Prefix && !s.isOld(name) {
				return failf("alias %s points to index %s, which is neither of %s nor of %s; when a later rollout brought it there, roll that one back first", alias, name, s.l.from.Version, s.l.to.Version)
			}
		}
	}
	return nil
}

func (s *session) beginReturn(ctx context.Context) error {
	r := s.t.Record.Return
	if r == nil {
		r = &Return{}
		s.t.Record.Return = r
	}
	r.StartedAt, r.Tries = s.r.now(), 0
	s.t.State, s.t.Reason = TenantReturning, "carrying back what was written since the switch"
	return s.r.store.SaveTenant(ctx, s.lease, s.t)
}

// approach carries back while the new version is in use, until little is left.
func (s *session) approach(ctx context.Context) (Outcome, error) {
	if err := s.closeOld(ctx, true); err != nil {
		return OutcomeRetry, err
	}
	for pass := 0; ; pass++ {
		n, err := s.carryBack(ctx, false)
		if err != nil {
			return OutcomeRetry, errors.Join(err, s.closeOld(ctx, false))
		}
		if n <= smallDelta {
			break
		}
		if pass == maxPasses {
			s.t.Reason = fmt.Sprintf("carrying back: writers add more than %d documents in every pass", smallDelta)
			return OutcomeWait, nil
		}
	}
	err := s.rememberNew(ctx)
	if err == nil {
		err = s.reconcileBack(ctx)
	}
	if err == nil {
		_, err = s.carryBack(ctx, false)
	}
	if err != nil {
		return OutcomeRetry, errors.Join(err, s.closeOld(ctx, false))
	}
	return OutcomeDone, nil
}

// returnFenced closes the new version to writers, carries the last of it back,
// proves that everything is there and moves the aliases; or it lifts the fence.
func (s *session) returnFenced(ctx context.Context) (Outcome, error) {
	r := s.t.Record.Return
	if r.Tries++; r.Tries > maxFences {
		return OutcomeFail, failf("the fence was lifted %d times because the last writes did not fit into %s; slow the writers down, then roll back again", maxFences, s.rollout.Options.FenceTimeout)
	}
	if o, err := s.takePlace(ctx, TenantReturnFenced, StepRollback); err != nil || o != OutcomeDone {
		r.Tries--
		return o, err
	}
	if s.t.Record.BlockedAt.IsZero() {
		if err := s.beforeReturnBlock(ctx); err != nil {
			return OutcomeRetry, errors.Join(err, s.reopenNew(ctx))
		}
		s.t.Record.BlockedAt = s.r.now()
		if err := s.r.store.SaveTenant(ctx, s.lease, s.t); err != nil {
			return OutcomeRetry, err
		}
	} else if err := s.freezeNew(ctx); err != nil { // a worker may have died while it lifted the fence
		return OutcomeRetry, err
	}
	fctx, cancel := context.WithTimeout(ctx, s.rollout.Options.FenceTimeout)
	defer cancel()
	err := s.behindReturnFence(fctx)
	if err == nil {
		err = s.returnAliases(ctx)
		s.laps.lap("switch", s.r.now())
	}
	switch {
	case err == nil:
		return s.afterReturn(ctx)
	case s.t.State == TenantReturnVerified:
		// The switch was asked for and its answer is unknown: look before
		// anything is undone.
		return OutcomeRetry, err
	}
	timedOut := errors.Is(fctx.Err(), context.DeadlineExceeded) && ctx.Err() == nil
	if uerr := s.reopenNew(ctx); uerr != nil {
		return OutcomeRetry, errors.Join(err, uerr)
	}
	if timedOut {
		s.t.Reason = fmt.Sprintf("fence lifted after %s: the last writes did not fit; carrying back again", s.rollout.Options.FenceTimeout)
		return OutcomeLifted, nil
	}
	return OutcomeRetry, err
}

// beforeReturnBlock does what takes time and can be done while writers go on:
// a partition that the new version's templates may yet create must refuse
// writes like the others.
func (s *session) beforeReturnBlock(ctx context.Context) error {
	if err := s.freezeNew(ctx); err != nil {
		return err
	}
	if err := s.hush(ctx); err != nil {
		return err
	}
	if _, err := s.carryBack(ctx, false); err != nil {
		return err
	}
	if err := s.removeVanishedBack(ctx, vanishedAhead); err != nil {
		return err
	}
	_, both := s.writtenWays()
	if err := s.countAhead(ctx, both); err != nil {
		return err
	}
	// What came meanwhile would have to be carried behind the fence.
	if _, err := s.carryBack(ctx, false); err != nil {
		return err
	}
	// Opening them is a change of the cluster's state that the last writes
	// would wait for behind the fence.
	var names []string
	for _, name := range oldsOf(s.back, s.t.Record.Return.At) {
		if slices.Contains(s.t.Record.OldIndices, name) || slices.Contains(s.t.Record.Return.Made, name) {
			names = append(names, name)
		}
	}
	return s.openOld(ctx, names)
}

func (s *session) freezeNew(ctx context.Context) error {
	return s.freeze(ctx, s.l.to, s.l.templates(s.t.TenantID, s.replicasOf))
}

// behindReturnFence is the critical section before the aliases move back.
func (s *session) behindReturnFence(ctx context.Context) error {
	s.laps.start(s.r.now())
	if _, err := s.engine.BlockWrites(ctx, s.newPatterns()...); err != nil {
		return err
	}
	s.laps.lap("block", s.r.now())
	if _, err := s.carryBack(ctx, true); err != nil {
		return err
	}
	s.laps.lap("carry", s.r.now())
	if err := s.removeVanishedBack(ctx, vanishedFinally); err != nil {
		return err
	}
	s.laps.lap("vanished", s.r.now())
	err := s.proveBack(ctx)
	s.laps.lap("prove", s.r.now())
	return err
}

// returnAliases moves all aliases of the tenant in one call, after it has
// stored what it is about to do.
func (s *session) returnAliases(ctx context.Context) error {
	r := &s.t.Record
	now, err := s.engine.Aliases(ctx, s.naming().AliasPatterns()...)
	if err != nil {
		return err
	}
	after := map[string][]string{}
	for alias, indices := range r.AliasesBefore {
		after[alias] = slices.Clone(indices)
	}
	for _, name := range r.Return.Made {
		n, _ := naming.Parse(name)
		if !slices.Contains(after[n.Alias()], name) {
			after[n.Alias()] = append(after[n.Alias()], name)
		}
	}
	r.Return.AliasesBefore, r.Return.Aliases = now, after
	s.t.State = TenantReturnVerified
	if err := s.r.store.SaveTenant(ctx, s.lease, s.t); err != nil {
		s.t.State = TenantReturnFenced
		return err
	}
	actx, cancel := context.WithTimeout(ctx, s.r.limits.LeaseTTL/2)
	defer cancel()
	return s.moveAliases(actx, aliasActions(now, after))
}

// aliasesReturned says, once and for all, whether the aliases have moved back
// (see aliasesSwitched).
func (s *session) aliasesReturned(ctx context.Context) (bool, error) {
	if _, err := s.engine.BlockWrites(ctx, s.newPatterns()...); err != nil {
		return false, err
	}
	now, err := s.engine.Aliases(ctx, s.naming().AliasPatterns()...)
	if err != nil {
		return false, err
	}
	return carriedOut(aliasActions(s.t.Record.Return.AliasesBefore, s.t.Record.Return.Aliases), now), nil
}

// afterReturn opens the old version, which readers see by now. What writers
// wait for comes first.
func (s *session) afterReturn(ctx context.Context) (Outcome, error) {
	r := &s.t.Record
	s.t.State = TenantReturnVerified
	if err := s.engine.UnblockWrites(ctx, append(slices.Clone(r.OldIndices), r.Return.Made...)...); err != nil {
		return OutcomeRetry, err
	}
	r.QuietAt = time.Time{} // nobody's writes are refused any more
	if !r.BlockedAt.IsZero() {
		r.Return.Fence = s.r.now().Sub(r.BlockedAt)
		s.laps.lap("open", s.r.now())
	}
	if err := s.openUp(ctx, s.l.from, s.oldPatterns()); err != nil {
		return OutcomeRetry, err
	}
	if err := s.dismissGuards(ctx); err != nil { // of what was deleted there
		return OutcomeRetry, err
	}
	stats, err := s.stats(ctx, s.newPatterns()...)
	if err != nil {
		return OutcomeRetry, err
	}
	r.WritesSinceSwitch = writesSince(r.SeqNoAtSwitch, stats)
	r.unfenced()
	r.Return.Opened = false
	r.Notes = append(r.Notes, r.Return.notes()...)
	s.log.Info("rolled back", append([]any{"fence_ms", r.Return.Fence.Milliseconds(), "carried", r.Return.Carried, "deleted", r.Return.Deleted, "not_carried", r.Return.NotCarried}, s.laps.parts...)...)
	return OutcomeDone, nil
}

// notes say what became of the writes since the switch.
func (r *Return) notes() []string {
	out := []string{fmt.Sprintf("rolled back: %d documents carried back, %d deleted, fence %s", r.Carried, r.Deleted, r.Fence.Round(time.Millisecond))}
	if r.NotCarried > 0 {
		out = append(out, fmt.Sprintf("rolled back: the old release cannot hold %d documents, or not all of them: they are in quarantine as %s", r.NotCarried, QuarantineNotCarriedBack))
	}
	for _, name := range sortedKeys(r.Kept) {
		out = append(out, fmt.Sprintf("rolled back: the old release has no place for the %d documents of %s; the index stays, closed, and the next upgrade takes it over", r.Kept[name], name))
	}
	if r.Disturbed {
		out = append(out, "rolled back: somebody else may have written to the old version while it was filled; what was removed from it is in quarantine as leftover")
	}
	return out
}

// reopenNew lifts the fence of the new version and closes the old one again;
// whatever comes next starts from returning.
func (s *session) reopenNew(ctx context.Context) error {
	if err := s.closeOld(ctx, false); err != nil {
		return err
	}
	if err := s.openUp(ctx, s.l.to, s.newPatterns()); err != nil {
		return err
	}
	s.t.State = TenantReturning
	s.t.Record.unfenced()
	return s.r.store.SaveTenant(ctx, s.lease, s.t)
}
