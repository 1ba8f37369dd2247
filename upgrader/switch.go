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
	for alias, want := range s.t.Record.AliasesAfter {
		for _, ix := range want {
			if !slices.Contains(now[alias], ix) {
				return false, nil
			}
		}
	}
	return true, nil
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
	if err := s.deleteUnread(ctx, names); err != nil {
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
