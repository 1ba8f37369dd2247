package cli

import (
	"fmt"
	"slices"
	"strings"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// goal says whether a tenant got where a command wanted it. named is set when
// the command named the tenant: then it has to get there; otherwise tenants
// that the command did not fit are left out of the judgement.
type goal func(t *tmsv1.RolloutTenant, named bool) bool

func goalSwitched(t *tmsv1.RolloutTenant, _ bool) bool {
	return t.GetState() == "switched" || t.GetState() == "done" || t.GetState() == "cancelled" && t.GetExcepted() != ""
}

// goalCancelled holds for what is undone; what was switched before stays so.
func goalCancelled(t *tmsv1.RolloutTenant, named bool) bool {
	return t.GetState() == "cancelled" || !named && ended(t) && t.GetState() != "failed"
}

func goalRolledBack(t *tmsv1.RolloutTenant, named bool) bool {
	return t.GetState() == "rolled_back" || !named && ended(t) && (t.GetState() != "switched" || untouched(t))
}

// untouched says that the rollout had nothing to do for the tenant: it was on
// the release already, and there is nothing to go back from.
func untouched(t *tmsv1.RolloutTenant) bool { return t.GetIndices() == 0 && t.GetKind() != "minor" }

func goalFinalized(t *tmsv1.RolloutTenant, named bool) bool {
	return t.GetState() == "done" || !named && ended(t) && t.GetState() != "switched"
}

// ended says that the tenant waits for nothing but a command.
func ended(t *tmsv1.RolloutTenant) bool {
	return slices.Contains([]string{"switched", "done", "failed", "cancelled", "rolled_back"}, t.GetState())
}

// rolloutEnded says that the whole rollout waits for nothing but a command.
func rolloutEnded(r *tmsv1.Rollout) bool {
	return r.GetState() != "running" && r.GetState() != "paused"
}

// reached says whether all tenants in question have reached the goal.
func (g goal) reached(r *tmsv1.Rollout, only []string) bool { return len(g.short(r, only)) == 0 }

// short lists the tenants that have not reached the goal.
func (g goal) short(r *tmsv1.Rollout, only []string) []*tmsv1.RolloutTenant {
	var missing []*tmsv1.RolloutTenant
	for _, t := range r.GetTenants() {
		named := slices.Contains(only, t.GetTenantId())
		if len(only) > 0 && !named {
			continue
		}
		if !g(t, named) {
			missing = append(missing, t)
		}
	}
	return missing
}

// verdict is nil when the goal is reached, else an error that names tenants.
func (g goal) verdict(r *tmsv1.Rollout, only []string) error {
	const most = 20 // names in one message; the rest is in the table
	missing := g.short(r, only)
	if len(missing) == 0 {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "rollout %s is %s, %d of %d tenants did not get there", r.GetId(), r.GetState(), len(missing), len(r.GetTenants()))
	for i, t := range missing {
		if i == most {
			fmt.Fprintf(&b, "\n  … and %d more", len(missing)-most)
			break
		}
		fmt.Fprintf(&b, "\n  tenant %s is %s", t.GetTenantId(), t.GetState())
		if t.GetReason() != "" {
			b.WriteString(": " + t.GetReason())
		}
	}
	return &outcomeError{b.String()}
}
