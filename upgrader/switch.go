package upgrader

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tracardi/tms/upgrader/naming"
	"github.com/tracardi/tms/upgrader/stream"
)

// switchAliases moves all aliases of the tenant in one call, after it has
// read where they point and stored what it is about to do.
func (s *session) switchAliases(ctx context.Context) (Outcome, error) {
	before, err := s.engine.Aliases(ctx, s.naming().AliasPatterns()...)
	if err != nil {
		return OutcomeRetry, err
	}
	after := s.wantedAliases(before)
	if err := s.checkAliases(before); err != nil {
		return OutcomeFail, err
	}
	s.t.Record.AliasesBefore, s.t.Record.AliasesAfter = before, after
	stats, err := s.stats(ctx, s.newPatterns()...)
	if err != nil {
		return OutcomeRetry, err
	}
	s.t.Record.SeqNoAtSwitch = map[string]map[int]int64{}
	for name, st := range stats {
		s.t.Record.SeqNoAtSwitch[name] = st.MaxSeqNo
	}
	s.t.State = TenantVerified
	if err := s.r.store.SaveTenant(ctx, s.lease, s.t); err != nil {
		s.t.State = TenantFenced
		return OutcomeRetry, err
	}
	// The engine gives up on the call when we do, and we before the lease
	// could run out: nobody who takes over is surprised by a late switch.
	actx, cancel := context.WithTimeout(ctx, s.r.limits.LeaseTTL/2)
	defer cancel()
	if err := s.moveAliases(actx, aliasActions(before, after)); err != nil {
		return OutcomeRetry, err
	}
	return OutcomeDone, nil
}

// wantedAliases is where every alias of the tenant points after the switch.
func (s *session) wantedAliases(before map[string][]string) map[string][]string {
	after := map[string][]string{}
	for _, m := range s.moves {
		n, _ := naming.Parse(m.Target)
		after[n.Alias()] = append(after[n.Alias()], m.Target)
	}
	for _, r := range s.l.to.Resources {
		if n := s.l.name(s.t.TenantID, naming.Static, r, ""); r.Static && !slices.Contains(after[n.Alias()], n.String()) {
			after[n.Alias()] = append(after[n.Alias()], n.String()) // made by the new release's installer
		}
	}
	for alias, indices := range before {
		for _, ix := range indices {
			if !s.isOld(ix) && !slices.Contains(after[alias], ix) {
				after[alias] = append(after[alias], ix) // static ones keep all versions
			}
		}
	}
	for alias := range after {
		slices.Sort(after[alias])
	}
	return after
}

// isOld says whether an index belongs to the old version and moves.
func (s *session) isOld(index string) bool { return slices.Contains(s.t.Record.OldIndices, index) }

// checkAliases refuses to switch when a non-static alias points to an index
// that is neither of the old version nor one of the targets.
func (s *session) checkAliases(before map[string][]string) error {
	for alias, indices := range before {
		for _, ix := range indices {
			n, ok := naming.Parse(ix)
			if ok && n.Mode == naming.Static {
				continue
			}
			if !s.isOld(ix) && s.moveTo(ix) == nil {
				return failf("alias %s points to index %s, which is neither of %s nor a target of this rollout; remove it from the alias, then retry", alias, ix, s.l.from.Version)
			}
		}
	}
	return nil
}

// aliasActions lead from before to after in one call.
func aliasActions(before, after map[string][]string) []AliasAction {
	var out []AliasAction
	for _, alias := range sortedKeys(before) {
		for _, ix := range before[alias] {
			if !slices.Contains(after[alias], ix) {
				out = append(out, AliasAction{Remove: true, Index: ix, Alias: alias})
			}
		}
	}
	for _, alias := range sortedKeys(after) {
		for _, ix := range after[alias] {
			if !slices.Contains(before[alias], ix) {
				out = append(out, AliasAction{Index: ix, Alias: alias})
			}
		}
	}
	return out
}

// aliasesSwitched says whether the aliases point where the record wants them,
// once and for all: a call whose answer never came may still be carried out,
// because the engine's time limit only drops what it has not begun. Its master
// does one change of the cluster's state after the other, so behind the answer
// to another one, the block that stands already, nothing older is under way.
func (s *session) aliasesSwitched(ctx context.Context) (bool, error) {
	if _, err := s.engine.BlockWrites(ctx, s.oldPatterns()...); err != nil {
		return false, err
	}
	now, err := s.engine.Aliases(ctx, s.naming().AliasPatterns()...)
	if err != nil {
		return false, err
	}
	return carriedOut(aliasActions(s.t.Record.AliasesBefore, s.t.Record.AliasesAfter), now), nil
}

// carriedOut says whether a call that moves readers has been carried out. It
// did all that it was to do, or nothing; but somebody may have taken an index
// out of its alias since, or deleted it, and to go back to before the call would
// cost what was written behind it. So it has when readers see anything of what
// they were to see, or nothing any more of what they were not to see. Aliases of
// static indices do not tell: installers move them too.
func carriedOut(actions []AliasAction, now map[string][]string) bool {
	asked, removals, left := 0, 0, 0
	for _, a := range actions {
		n, ok := naming.Parse(a.Index)
		if !ok || n.Mode == naming.Static {
			continue
		}
		asked++
		there := slices.Contains(now[a.Alias], a.Index)
		switch {
		case !a.Remove && there:
			return true
		case a.Remove && there:
			left++
		}
		if a.Remove {
			removals++
		}
	}
	if asked == 0 { // static ones are all there is
		return !slices.ContainsFunc(actions, func(a AliasAction) bool { return slices.Contains(now[a.Alias], a.Index) == a.Remove })
	}
	return removals > 0 && left == 0
}

// afterSwitch looks whether every index of the new version is under its alias,
// whoever made it while the aliases moved.
func (s *session) afterSwitch(ctx context.Context) (Outcome, error) {
	s.t.State = TenantVerified
	s.t.Record.QuietAt = time.Time{} // nobody's writes are refused any more
	if !s.t.Record.BlockedAt.IsZero() {
		// The answer was lost, or a worker died: from the first refused write
		// to the moment at which the switch is known.
		s.t.Fence = max(s.t.Fence, s.r.now().Sub(s.t.Record.BlockedAt))
	}
	there, err := s.engine.Aliases(ctx, s.naming().AliasPatterns()...)
	if err != nil {
		return OutcomeRetry, err
	}
	stats, err := s.stats(ctx, s.newPatterns()...)
	if err != nil {
		return OutcomeRetry, err
	}
	var add []AliasAction
	for _, name := range sortedKeys(stats) {
		n, ok := naming.Parse(name)
		if _, known := resourceByBase(s.l.to, n); ok && known && !slices.Contains(there[n.Alias()], name) {
			add = append(add, AliasAction{Index: name, Alias: n.Alias()})
		}
	}
	for _, alias := range sortedKeys(there) {
		for _, name := range there[alias] {
			if s.isOld(name) { // somebody has put it back
				add = append(add, AliasAction{Remove: true, Index: name, Alias: alias})
			}
		}
	}
	if len(add) > 0 {
		if err := s.engine.UpdateAliases(ctx, add); err != nil {
			return OutcomeRetry, err
		}
	}
	// The block on the old version stays on purpose: what an old container
	// still writes must be refused, not lost. It is no fence any more.
	s.t.Record.unfenced()
	return OutcomeDone, nil
}

// undo removes what was made for a tenant that is not switched.
func (s *session) undo(ctx context.Context) error {
	if s.minor() {
		_, err := s.returnMinor(ctx)
		return err
	}
	if s.t.State == TenantVerified {
		done, err := s.aliasesSwitched(ctx)
		if err != nil {
			return err
		}
		if done {
			return failf("the tenant is switched already; use `tms upgrade rollback %s --tenant %s`", s.rollout.ID, s.t.TenantID)
		}
	}
	if err := s.cancelTasks(ctx); err != nil {
		return err
	}
	if err := s.findHome(ctx); err != nil {
		return err
	}
	if !s.t.Record.FencedAt.IsZero() {
		if err := s.unfence(ctx); err != nil {
			return err
		}
	}
	var names, kept []string
	for _, m := range s.moves {
		switch {
		case m.Kept:
			kept = append(kept, m.Target)
		case m.State != MovePlanned:
			names = append(names, m.Target)
		}
	}
	begun, err := s.begun(ctx)
	if err != nil {
		return err
	}
	if err := s.deleteUnread(ctx, append(names, begun...)); err != nil {
		return err
	}
	if len(kept) > 0 { // closed, as the rollback left them
		if _, err := s.engine.BlockWrites(ctx, kept...); err != nil {
			return err
		}
	}
	for _, name := range s.t.Record.NewTemplates {
		if err := s.engine.DeleteTemplate(ctx, name); err != nil {
			return err
		}
	}
	return s.dismissGuards(ctx)
}

// begun are targets that a worker has made and not lived to note: they bear a
// guard of this rollout. Those out of a snapshot get theirs a moment later: until
// then they are what nobody sees and nobody has written to, of a name that only
// this rollout has a use for.
func (s *session) begun(ctx context.Context) (names []string, err error) {
	var planned []string
	for _, m := range s.moves {
		if m.State == MovePlanned && !m.Kept {
			planned = append(planned, m.Target)
		}
	}
	if len(planned) == 0 {
		return nil, nil
	}
	there, err := s.engine.Indices(ctx, planned...)
	if err != nil || len(there) == 0 {
		return nil, err
	}
	stats, err := s.stats(ctx, planned...)
	if err != nil {
		return nil, err
	}
	for _, ix := range there {
		ours := slices.ContainsFunc(ix.Aliases, func(a string) bool { return strings.HasPrefix(a, s.guard.prefix) })
		st := stats[ix.Name]
		fresh := s.nursery != nil && st.Primaries > 0 && len(st.MaxSeqNo) == st.Primaries && stream.Never(st.MaxSeqNo)
		if len(visible(ix.Aliases)) == 0 && (ours || fresh) {
			names = append(names, ix.Name)
		}
	}
	return names, nil
}

// dismissGuards removes what is left of the guards, when nothing is written any
// more.
func (s *session) dismissGuards(ctx context.Context) error {
	guards, err := s.guard.dismiss(ctx, false)
	if err != nil || len(guards) == 0 {
		return err
	}
	s.guard.dismissed()
	return s.engine.UpdateAliases(ctx, guards)
}

// cancelTasks stops the copy tasks of the tenant and waits until none runs:
// one that went on would write into what is about to be deleted.
func (s *session) cancelTasks(ctx context.Context) error {
	wait := newPoller(s.r.limits.Poll)
	for range 200 {
		tasks, err := s.engine.ReindexTasks(ctx, s.opaquePrefix())
		if err != nil || len(tasks) == 0 {
			return err
		}
		for _, t := range tasks {
			if err := s.engine.CancelTask(ctx, t.ID); err != nil {
				return err
			}
		}
		if err := wait.pause(ctx); err != nil {
			return err
		}
	}
	return fmt.Errorf("copy tasks with the prefix %s do not end", s.opaquePrefix())
}

// deletePace is the number of indices deleted in one request: each costs the
// master a cluster-state update that everybody else waits for.
const deletePace = 10

// deleteUnread deletes indices by exact names, after it has seen that none is
// under an alias other than a static one.
func (s *session) deleteUnread(ctx context.Context, names []string) error {
	aliases, err := s.engine.Aliases(ctx, s.naming().AliasPatterns()...)
	if err != nil {
		return err
	}
	for alias, indices := range aliases {
		for _, ix := range indices {
			if slices.Contains(names, ix) && !strings.HasPrefix(alias, string(naming.Static)) {
				return failf("index %s is still under alias %s and is not deleted", ix, alias)
			}
		}
	}
	for len(names) > 0 {
		n := min(len(names), deletePace)
		if err := s.engine.DeleteIndices(ctx, names[:n]...); err != nil {
			return err
		}
		names = names[n:]
	}
	return nil
}

// writesSince counts the operations that shards took after the switch.
func writesSince(at map[string]map[int]int64, now map[string]IndexStats) int64 {
	var n int64
	for name, st := range now {
		for shard, seq := range st.MaxSeqNo {
			n += seq - stream.Checkpoint(at[name]).At(shard)
		}
	}
	return n
}

// finalize deletes the old version by exact names. There is no way back. The
// index with the owner's key goes last: the others are deleted under it.
func (s *session) finalize(ctx context.Context) error {
	if s.minor() {
		return nil // there is no old version
	}
	// A restore may have brought the tenant back, and it was upgraded again.
	later, err := s.r.store.SwitchedAgain(ctx, s.lease.RolloutID, s.lease.TenantID)
	if err != nil {
		return err
	}
	if later != "" {
		return failf("rollout %s has upgraded the tenant again since, and would go back to %s; finalize that one first", later, s.l.from.Version)
	}
	var names []string
	old := slices.Clone(s.t.Record.OldIndices)
	if r := s.t.Record.Return; r != nil { // of a rollback that failed
		old = append(old, r.Made...)
	}
	if len(old) > 0 {
		there, err := s.engine.Indices(ctx, old...)
		if err != nil {
			return err
		}
		for _, ix := range there {
			names = append(names, ix.Name)
		}
		more, err := s.strays(ctx, old)
		if err != nil {
			return err
		}
		names = append(names, more...)
	}
	if len(names) > 0 {
		last := names[0]
		if slices.Contains(names, s.guard.home) {
			last = s.guard.home
		}
		s.guard.home = last
		names = append(slices.DeleteFunc(names, func(n string) bool { return n == last }), last)
	}
	if err := s.deleteUnread(ctx, names); err != nil {
		return err
	}
	for _, t := range s.oldTemplates {
		if err := s.engine.DeleteTemplate(ctx, t.Name); err != nil {
			return err
		}
	}
	// Last: without it the others would show their partitions to readers.
	return s.engine.DeleteTemplate(ctx, s.freezingName(s.l.from))
}
