package upgrader

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tracardi/tms/releases"
)

// Rehearsed says whether a tenant was rehearsed on its way to a release
// recently and well, and if not why: the gate `rehearsed`. last is its newest
// rehearsal to that release, nil for none; digests are those of the releases on
// the way as they are defined now.
func Rehearsed(last *Rehearsal, tenant, to string, digests []string, allowQuarantine int, now time.Time) (ok bool, why string) {
	remedy := fmt.Sprintf("; `tms upgrade rehearse --tenant %s --to %s`", tenant, to)
	switch {
	case last == nil:
		return false, "it was not rehearsed yet" + remedy
	case last.State == RehearsalRunning:
		return false, "its rehearsal " + last.ID + " is under way"
	case last.State == RehearsalFailed:
		return false, "its rehearsal " + last.ID + " could not be carried out: " + last.Reason + remedy
	case now.Sub(last.FinishedAt) > RehearsalAge:
		return false, fmt.Sprintf("its last rehearsal is older than %d days%s", int(RehearsalAge/(24*time.Hour)), remedy)
	case strings.Join(last.Report.Digests, " ") != strings.Join(digests, " "):
		return false, "the release was defined anew since its last rehearsal" + remedy
	case last.Report.Verdict != VerdictEqual:
		return false, "its rehearsal " + last.ID + " shows that it would fail: " + strings.Join(last.Report.Problems, "; ")
	case last.Report.Quarantined > allowQuarantine:
		return false, fmt.Sprintf("its rehearsal %s put %d documents aside, %d are allowed", last.ID, last.Report.Quarantined, allowQuarantine)
	}
	return true, ""
}

// WaitingRehearsal is a tenant of a rollout that has not begun.
type WaitingRehearsal struct {
	TenantID string
	From     string     // release
	Last     *Rehearsal // newest one to the rollout's release, nil for none
}

// RehearsalFacts makes what GateSources.Extend wants: of rollouts that ask for
// rehearsals it tells which waiting tenants lack one, and why.
func RehearsalFacts(store RehearsalStore, c *releases.Catalogue) func(context.Context, *Rollout) (func(*Facts), error) {
	return func(ctx context.Context, r *Rollout) (func(*Facts), error) {
		if !r.Options.RequireRehearsal {
			return nil, nil
		}
		waiting, err := store.WaitingRehearsals(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		unrehearsed := map[string]string{}
		for _, w := range waiting {
			digests, err := RehearsalDigests(c, w.From, r.ToRelease)
			if err != nil {
				unrehearsed[w.TenantID] = err.Error()
				continue
			}
			if ok, why := Rehearsed(w.Last, w.TenantID, r.ToRelease, digests, r.Options.AllowQuarantine, time.Now()); !ok {
				unrehearsed[w.TenantID] = why
			}
		}
		return func(f *Facts) { f.Unrehearsed = unrehearsed }, nil
	}
}

func rehearsedWell(f *Facts) (why, remedy string) { return f.Unrehearsed[f.Tenant.TenantID], "" }
