package upgrader

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// errNothingToDelete ends a change of a rollout that turns out to be none.
var errNothingToDelete = errors.New("no tenant of the wave is to be told")

// finalizeWaves tells tenants of a wave that is being finalized to delete their
// old versions, as far as snapshots allow it, and says what keeps the others
// from it; told when it did either. A tenant that has tried in vain is told no
// second time: an operator has to look, and says so with the command.
func (r *Runner) finalizeWaves(ctx context.Context, v *View) (told bool, err error) {
	if v.Rollout.Wish != WishRun {
		return false, nil
	}
	for i := range v.Rollout.Waves {
		w := &v.Rollout.Waves[i]
		if w.State != WaveFinalizing || w.Tally.Old == w.Tally.Deleting || !r.tried.again(fmt.Sprintf("%s finalize %d", v.Rollout.ID, w.Number), r.now()) {
			continue
		}
		told, err = r.finalizeWave(ctx, v.Rollout.ID, w)
		return told, err
	}
	return false, nil
}

func (r *Runner) finalizeWave(ctx context.Context, rollout string, w *Wave) (bool, error) {
	ro, err := r.store.Rollout(ctx, rollout)
	if err != nil {
		return false, err
	}
	may, kept := ro.finalizable(w.Number)
	if !w.Rule.Between.WithoutSnapshot && len(may) > 0 {
		missing, err := missingSnapshots(ctx, r.snapshots, ro, Command{Tenants: may})
		if err != nil {
			return false, err
		}
		for _, m := range missing {
			kept = append(kept, "tenant "+m.TenantID+": "+m.Message)
			may = slices.DeleteFunc(may, func(id string) bool { return id == m.TenantID })
		}
	}
	told, err := r.tellToFinalize(ctx, ro, w, may)
	if err != nil {
		return false, err
	}
	said, err := r.sayWhyKept(ctx, rollout, w.Number, someOf(kept))
	return told || said, err
}

// finalizable are the tenants of a wave that may be told to delete their old
// version, and why others are not.
func (r *Rollout) finalizable(wave int) (may, kept []string) {
	for i := range r.Tenants {
		switch t := &r.Tenants[i]; {
		case t.Wave != wave || !t.hasOldVersion():
		case t.Reason != "":
			kept = append(kept, "tenant "+t.TenantID+": "+t.Reason)
		default:
			may = append(may, t.TenantID)
		}
	}
	return may, kept
}

// tellToFinalize gives the command `tms upgrade finalize` to tenants.
func (r *Runner) tellToFinalize(ctx context.Context, ro *Rollout, w *Wave, ids []string) (bool, error) {
	if len(ids) == 0 {
		return false, nil
	}
	name, caller := "finalize", automatic
	if w.Rule.Between.WithoutSnapshot {
		name, caller = name+".without_snapshot", ro.CreatedBy // who waived it
	}
	err := r.store.ChangeRollout(ctx, ro.ID, caller, name, func(fresh *Rollout) error {
		now := fresh.wave(w.Number)
		still, _ := fresh.finalizable(w.Number)
		still = slices.DeleteFunc(still, func(id string) bool { return !slices.Contains(ids, id) })
		if now == nil || now.State != WaveFinalizing || fresh.Wish != WishRun || len(still) == 0 {
			return errNothingToDelete
		}
		if err := applyCommand(fresh, "finalize", Command{Tenants: still}, r.now()); err != nil {
			return err
		}
		fresh.State, fresh.FinishedAt = settle(fresh, r.now())
		return nil
	})
	if errors.Is(err, errNothingToDelete) {
		return false, nil
	}
	return err == nil, err
}

// sayWhyKept has a wave show why old versions of it still stand.
func (r *Runner) sayWhyKept(ctx context.Context, rollout string, wave int, why string) (said bool, err error) {
	err = r.store.Conduct(ctx, rollout, func(v *View) *Decision {
		w := v.Rollout.wave(wave)
		if w == nil || w.State != WaveFinalizing || w.Reason == why {
			return nil
		}
		w.Reason, said = why, true
		d := &Decision{Waves: []Wave{*w}}
		if why != "" {
			d.Events = []string{fmt.Sprintf("wave %d cannot be finalized: %s", wave, why)}
		}
		return d
	})
	return said && err == nil, err
}
