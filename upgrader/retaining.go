package upgrader

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tracardi/tms/upgrader/strategy"
)

// RetentionChange is what came of a look at a retention, or of a command.
type RetentionChange struct {
	Retention Retention
	// Event is to be told to those who follow, with Data; "" for none.
	Event string
	Data  map[string]any
	// Did is the command for the audit trail, Caller who gave it; "" for none.
	Did, Caller string
	// Pause until the next look.
	Pause time.Duration
}

// RetentionStore keeps retentions. Both methods lock the rollout's retention,
// have decide look at it (nil where there is none), and store what that
// returns, in one transaction; a nil answer changes nothing.
type RetentionStore interface {
	// SwitchedAgain names a later rollout that has switched the tenant from the
	// same release and is not finalized, "" for none: its way back needs what
	// stands under the old version's names now.
	SwitchedAgain(ctx context.Context, rollout, tenant string) (string, error)
	// ChangeRetention waits for the lock.
	ChangeRetention(ctx context.Context, rollout string, decide func(context.Context, *Rollout, *Retention) (*RetentionChange, error)) error
	// LookAtRetention does nothing when somebody else holds it.
	LookAtRetention(ctx context.Context, rollout string, decide func(context.Context, *Rollout, *Retention) (*RetentionChange, error)) error
}

// automatic is the caller of what TMS does by itself, as tenants.AutomaticKey.
const automatic = "tms"

// retentionCalls bounds a turn: the snapshots of every tenant are looked up.
const retentionCalls = 2 * time.Minute

// WorkRetention does for a rollout's retention what is to be done now.
func (s *Service) WorkRetention(ctx context.Context, rollout string) error {
	ctx, cancel := context.WithTimeout(ctx, retentionCalls)
	defer cancel()
	return s.store.LookAtRetention(ctx, rollout, func(ctx context.Context, r *Rollout, was *Retention) (*RetentionChange, error) {
		if was == nil {
			return nil, nil //nolint:nilnil // nothing is a decision
		}
		now := s.now()
		ret, act := was.look(r, now)
		if act == retentionFinalize {
			var err error
			if ret, act, err = s.finalizeDue(ctx, r, ret, now); err != nil {
				return nil, err
			}
		}
		ch := &RetentionChange{Retention: ret, Pause: ret.pause(now)}
		switch act {
		case retentionAnnounce, retentionRemind, retentionHeld:
			ch.Event, ch.Data = string(act), retentionData(r, ret)
		}
		return ch, nil
	})
}

func retentionData(r *Rollout, ret Retention) map[string]any {
	old, _ := r.OldVersions()
	data := map[string]any{"release": r.ToRelease, "tenants": len(old), "due_time": ret.DueAt.UTC().Format(time.RFC3339), "text": ret.Text(r)}
	if ret.Reason != "" {
		data["reason"] = ret.Reason
	}
	return data
}

// finalizeDue tells the tenants to delete their old versions whose snapshot
// allows it, and says why the others may not.
func (s *Service) finalizeDue(ctx context.Context, r *Rollout, ret Retention, now time.Time) (Retention, retentionAct, error) {
	ids, _ := r.OldVersions()
	refusals, err := missingSnapshots(ctx, s.snapshots, r, Command{RolloutID: r.ID, Tenants: ids})
	if err != nil {
		return ret, retentionNothing, err
	}
	var why []string
	for _, ref := range refusals {
		why = append(why, "tenant "+ref.TenantID+": "+ref.Message)
		ids = slices.DeleteFunc(ids, func(id string) bool { return id == ref.TenantID })
	}
	if len(ids) > 0 {
		_, err = s.command(ctx, "finalize", Command{RolloutID: r.ID, Tenants: ids, Caller: automatic})
	}
	var refused *ServiceError
	switch {
	case errors.As(err, &refused): // such as a tenant that another rollout works on
		why = append(why, refused.Error())
	case err != nil:
		return ret, retentionNothing, err
	case len(ids) > 0:
		ret.State, ret.Reason = RetentionFinalizing, someOf(why)
		return ret, retentionNothing, nil
	}
	ret.State, ret.RetryAt, ret.Reason = RetentionScheduled, now.Add(retryRetention), someOf(why)
	return ret, retentionHeld, nil
}

// Retain says when the old versions of a rollout are deleted, counted from
// when its last tenant was switched; 0 keeps them until a command.
func (s *Service) Retain(ctx context.Context, rollout string, after time.Duration, caller string) (*Rollout, error) {
	if after != 0 && (after < strategy.MinFinalizeAfter || after > strategy.MaxFinalizeAfter) {
		return nil, invalidRetention("finalize_after", after)
	}
	err := s.store.ChangeRetention(ctx, rollout, func(_ context.Context, r *Rollout, was *Retention) (*RetentionChange, error) {
		return retain(r, was, after, caller)
	})
	if errors.Is(err, ErrNotFound) {
		_, err = s.Get(ctx, rollout)
	}
	if err != nil {
		return nil, err
	}
	return s.Get(ctx, rollout)
}

// retain decides about a command. It is pure.
func retain(r *Rollout, was *Retention, after time.Duration, caller string) (*RetentionChange, error) {
	old, _ := r.OldVersions()
	switch {
	case was != nil && was.State == RetentionFinalizing:
		return nil, wrongState(r, "its old versions are being deleted already")
	case r.State.Ended() && len(old) == 0 && !r.mayHaveMore():
		return nil, wrongState(r, "there is no old version of its tenants any more")
	case after == 0 && was != nil && was.State == RetentionKept:
		return nil, nil //nolint:nilnil // it is so already
	case after != 0 && was != nil && was.After == after && (was.State == RetentionWaiting || was.State == RetentionScheduled):
		return nil, nil //nolint:nilnil // it is so already
	}
	ret, did := Retention{State: RetentionKept, ChangedBy: caller}, "keep"
	if after != 0 {
		ret, did = Retention{State: RetentionWaiting, After: after, ChangedBy: caller}, "finalize_after."+strategy.SpanText(after)
	}
	return &RetentionChange{Retention: ret, Did: did, Caller: caller}, nil
}

// missingSnapshots lists the tenants of a command of which no snapshot holds
// the old version.
func missingSnapshots(ctx context.Context, snapshots Snapshots, r *Rollout, c Command) ([]Refusal, error) {
	if snapshots == nil {
		return nil, nil
	}
	var refusals []Refusal
	for i := range r.Tenants {
		t := &r.Tenants[i]
		if t.State != TenantSwitched || len(t.Record.OldIndices) == 0 || !c.about(t) {
			continue
		}
		name, why, err := snapshots.Holds(ctx, t.TenantID, t.Record.OldIndices, r.CreatedAt.Add(-snapshotAge))
		if err != nil {
			return nil, fmt.Errorf("snapshots of tenant %s: %w", t.TenantID, err)
		}
		if name == "" {
			refusals = append(refusals, Refusal{
				Code: "snapshot_missing", TenantID: t.TenantID, Message: "no snapshot holds its old version: " + why,
				Remedy: "take one with `tms backup create --tenant " + t.TenantID + "`, or waive it with --without-snapshot; the waiver is audited",
			})
		}
	}
	return refusals, nil
}
