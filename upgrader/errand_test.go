package upgrader_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/upgrader"
)

// Which tenants an errand is carried out for, and that it concerns nobody but
// the tenant.
func TestErrandSteps(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		state  upgrader.TenantState
		intent upgrader.Intent
		step   upgrader.Step
	}{
		{upgrader.TenantSwitched, upgrader.IntentRecheck, upgrader.StepErrand},
		{upgrader.TenantSwitched, upgrader.IntentRepair, upgrader.StepErrand},
		{upgrader.TenantSwitched, upgrader.IntentRedrive, upgrader.StepErrand},
		{upgrader.TenantSwitched, upgrader.IntentNone, upgrader.StepNone},
		{upgrader.TenantFailed, upgrader.IntentRepair, upgrader.StepErrand},
		{upgrader.TenantFailed, upgrader.IntentRedrive, upgrader.StepErrand},
		{upgrader.TenantFailed, upgrader.IntentCancel, upgrader.StepUndo},
		{upgrader.TenantFinalized, upgrader.IntentRecheck, upgrader.StepNone},
	} {
		for _, wish := range []upgrader.Wish{upgrader.WishRun, upgrader.WishPause} {
			require.Equal(t, row.step, upgrader.NextStep(wish, upgrader.RolloutTenant{State: row.state, Intent: row.intent}), "%+v", row)
		}
	}
	switched := upgrader.RolloutTenant{State: upgrader.TenantSwitched, Intent: upgrader.IntentRecheck}
	failed := upgrader.RolloutTenant{State: upgrader.TenantFailed, Intent: upgrader.IntentRepair}
	require.True(t, switched.Working(), "a worker has something to do")
	require.Equal(t, upgrader.RolloutComplete, upgrader.Summarize(upgrader.WishRun, []upgrader.RolloutTenant{switched}))
	require.Equal(t, upgrader.RolloutFailed, upgrader.Summarize(upgrader.WishRun, []upgrader.RolloutTenant{switched, failed}))
}

// An errand that nobody wants any more ends: cancelled, or because a rollback
// comes first. Those that make no sense are refused.
func TestErrandsGiveWay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tenant := b.tenant("0.8.1", 1)
	require.NoError(t, tenant.Fill(t.Context(), 100))
	runner := upgrader.NewRunner(b.store, b.engine, b.catalogue, "only", upgrader.Limits{}, b.log)
	r := b.start("0.8.2", upgrader.Options{}, tenant)
	begin := func(k upgrader.ErrandKind) (*upgrader.Errand, error) {
		all, err := b.service.Begin(t.Context(), upgrader.ErrandRequest{RolloutID: r.ID, Tenants: []string{tenant.Name()}, Kind: k, Caller: "test"})
		if err != nil {
			return nil, err
		}
		return &all[0], nil
	}
	var se *upgrader.ServiceError
	_, err := begin(upgrader.ErrandRecheck)
	require.ErrorAs(t, err, &se)
	require.Equal(t, upgrader.ReasonWrongState, se.Reason, "it is not switched yet")
	b.work(runner, r.ID, tenant.Name())

	e, err := begin(upgrader.ErrandRecheck)
	require.NoError(t, err)
	_, err = begin(upgrader.ErrandRepair)
	require.ErrorAs(t, err, &se, "one at a time")
	ended, err := b.service.CancelErrand(t.Context(), e.ID, "test")
	require.NoError(t, err)
	require.Equal(t, upgrader.ErrandCancelled, ended.State)
	again, err := b.service.CancelErrand(t.Context(), e.ID, "test")
	require.NoError(t, err)
	require.Equal(t, ended, again)

	e, err = begin(upgrader.ErrandRecheck)
	require.NoError(t, err)
	_, err = b.service.Rollback(t.Context(), upgrader.Command{RolloutID: r.ID, Caller: "test"})
	require.NoError(t, err)
	ended, err = b.service.Errand(t.Context(), e.ID)
	require.NoError(t, err)
	require.Equal(t, upgrader.ErrandCancelled, ended.State)
	require.Contains(t, ended.Reason, "rollback")
	got := b.work(runner, r.ID, tenant.Name())
	require.Equal(t, upgrader.TenantRolledBack, got.Tenants[0].State, describe(got))
	_, err = begin(upgrader.ErrandRepair)
	require.ErrorAs(t, err, &se)
	require.Equal(t, upgrader.ReasonWrongState, se.Reason)
}
