package cli

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// rolloutOf makes a rollout with tenants t0, t1, … in the given states.
func rolloutOf(state string, tenants ...string) *tmsv1.Rollout {
	r := &tmsv1.Rollout{Id: "r1", State: state}
	for i, s := range tenants {
		r.Tenants = append(r.Tenants, &tmsv1.RolloutTenant{TenantId: fmt.Sprintf("t%d", i), State: s, Indices: 1})
	}
	return r
}

func TestGoals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		goal    goal
		tenants []string
		only    []string
		want    bool
	}{
		{"all switched", goalSwitched, []string{"switched", "done"}, nil, true},
		{"one failed", goalSwitched, []string{"switched", "failed"}, nil, false},
		{"one copying", goalSwitched, []string{"switched", "copying"}, nil, false},
		{"the named one", goalSwitched, []string{"switched", "failed"}, []string{"t0"}, true},
		{"rolled back", goalRolledBack, []string{"rolled_back", "rolled_back"}, nil, true},
		{"what could not be rolled back is left out", goalRolledBack, []string{"rolled_back", "failed", "cancelled"}, nil, true},
		{"still switched", goalRolledBack, []string{"rolled_back", "switched"}, nil, false},
		{"still on the way", goalRolledBack, []string{"rolled_back", "verified"}, nil, false},
		{"named and failed", goalRolledBack, []string{"rolled_back", "failed"}, []string{"t1"}, false},
		{"finalized", goalFinalized, []string{"done", "cancelled"}, nil, true},
		{"not finalized", goalFinalized, []string{"done", "switched"}, nil, false},
		{"cancelled", goalCancelled, []string{"cancelled", "switched"}, nil, true},
		{"not undone", goalCancelled, []string{"cancelled", "failed"}, nil, false},
		{"named and switched before", goalCancelled, []string{"switched"}, []string{"t0"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := rolloutOf("complete", c.tenants...)
			assert.Equal(t, c.want, c.goal.reached(r, c.only))
			err := c.goal.verdict(r, c.only)
			assert.Equal(t, c.want, err == nil)
		})
	}
}

func TestVerdictNamesTenants(t *testing.T) {
	t.Parallel()
	r := rolloutOf("failed", "switched", "failed")
	r.Tenants[1].Reason = "the disk is full"
	err := goal(goalSwitched).verdict(r, nil)
	require.EqualError(t, err, "rollout r1 is failed, 1 of 2 tenants did not get there\n  tenant t1 is failed: the disk is full")
	var outcome *outcomeError
	assert.True(t, errors.As(err, &outcome))
	many := rolloutOf("failed", make([]string, 50)...)
	assert.ErrorContains(t, goal(goalSwitched).verdict(many, nil), "and 30 more")
}

// A tenant that was on the release before the rollout has nothing to go back
// from, and keeps nobody waiting.
func TestGoalLeavesOutWhatWasThereBefore(t *testing.T) {
	t.Parallel()
	r := rolloutOf("rolled_back", "rolled_back", "switched")
	r.Tenants[1].Indices = 0
	assert.True(t, goal(goalRolledBack).reached(r, nil))
}
