package upgrader

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// MissingTenant is a tenant that should be part of a rollout and cannot.
type MissingTenant struct {
	TenantID string `json:"tenant"`
	Release  string `json:"release"` // that it is on; may be empty
	Reason   string `json:"reason"`
}

// notUniform begins the reason of a rollout that has failed for its missing tenants.
const notUniform = "not every tenant is on "

// NotUniform says why a rollout has failed in which all that are part of it are
// on the release: tenants are missing. "" when there are none.
func (r *Rollout) NotUniform() string {
	if len(r.Missing) == 0 {
		return ""
	}
	const most = 10 // names
	text := notUniform + r.ToRelease
	for i, m := range r.Missing {
		if i == most {
			text += fmt.Sprintf("; and %d more", len(r.Missing)-most)
			break
		}
		text += "; tenant " + m.TenantID + ": " + m.Reason
	}
	return text + "; upgrade such a tenant in another rollout, or leave it out here: `tms upgrade skip " + r.ID + " --tenant " + r.Missing[0].TenantID + " --reason WHY`"
}

// exceptMissing makes tenants that are missing excepted ones, for the reason of
// the command: the rollout may be complete without them.
func (r *Rollout) exceptMissing(c Command, now time.Time) {
	var left []MissingTenant
	for _, m := range r.Missing {
		if !slices.Contains(c.Tenants, m.TenantID) {
			left = append(left, m)
			continue
		}
		r.Tenants = append(r.Tenants, excepted(r.ID, m.TenantID, m.Release, c.Reason, now))
	}
	r.Missing = left
	if strings.HasPrefix(r.Reason, notUniform) {
		r.Reason = r.NotUniform()
	}
}

// excepted is a tenant that is left out of a rollout on purpose.
func excepted(rollout, tenant, release, why string, now time.Time) RolloutTenant {
	return RolloutTenant{
		RolloutID: rollout, TenantID: tenant, FromRelease: release, State: TenantCancelled, Excepted: why, Reason: "excepted: " + why,
		NextAt: now, FinishedAt: now, ByMethod: map[Method]int{},
	}
}
