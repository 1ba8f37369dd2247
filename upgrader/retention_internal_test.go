package upgrader

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func switchedAt(id string, at time.Time) RolloutTenant {
	return RolloutTenant{TenantID: id, State: TenantSwitched, FinishedAt: at, Record: TenantRecord{OldIndices: []string{"08x." + id + ".x"}}}
}

// One row per arrow of a retention.
func TestRetentionLook(t *testing.T) {
	t.Parallel()
	day := 24 * time.Hour
	end := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	due := end.Add(7 * day)
	waiting := Retention{State: RetentionWaiting, After: 7 * day}
	scheduled := Retention{State: RetentionScheduled, After: 7 * day, Since: end, DueAt: due, RemindAt: due.Add(-day)}
	reminded := scheduled
	reminded.RemindAt = time.Time{}
	held := reminded
	held.RetryAt, held.Reason = due.Add(day), "no snapshot"
	finalizing := Retention{State: RetentionFinalizing, After: 7 * day}
	over := &Rollout{ID: "r1", State: RolloutComplete, Tenants: []RolloutTenant{switchedAt("acme", end.Add(-time.Hour)), switchedAt("beta", end)}}
	runs := &Rollout{ID: "r1", State: RolloutRunning, Tenants: []RolloutTenant{switchedAt("acme", end), {State: TenantCopying}}}
	gone := &Rollout{ID: "r1", State: RolloutFinalized, Tenants: []RolloutTenant{{State: TenantFinalized}, {State: TenantRolledBack}}}
	failed := &Rollout{ID: "r1", State: RolloutFailed, Tenants: []RolloutTenant{{State: TenantFailed}, {State: TenantFinalized}}}
	later := &Rollout{ID: "r1", State: RolloutComplete, Tenants: []RolloutTenant{switchedAt("acme", end.Add(day))}}
	for name, c := range map[string]struct {
		ret   Retention
		r     *Rollout
		now   time.Time
		state RetentionState
		act   retentionAct
	}{
		"it runs":                             {waiting, runs, end, RetentionWaiting, retentionNothing},
		"it has ended":                        {waiting, over, end, RetentionScheduled, retentionAnnounce},
		"nothing was to be moved":             {waiting, gone, end, RetentionDone, retentionNothing},
		"a failed tenant may yet come":        {waiting, failed, end, RetentionWaiting, retentionNothing},
		"not yet":                             {scheduled, over, end.Add(day), RetentionScheduled, retentionNothing},
		"soon":                                {scheduled, over, due.Add(-time.Hour), RetentionScheduled, retentionRemind},
		"soon, said already":                  {reminded, over, due.Add(-time.Hour), RetentionScheduled, retentionNothing},
		"now":                                 {reminded, over, due, RetentionScheduled, retentionFinalize},
		"asleep since before the reminder":    {scheduled, over, due.Add(day), RetentionScheduled, retentionFinalize},
		"a tenant was retried and came later": {scheduled, later, end.Add(day), RetentionScheduled, retentionAnnounce},
		"it goes on":                          {scheduled, runs, end.Add(day), RetentionWaiting, retentionNothing},
		"all were rolled back":                {scheduled, gone, end.Add(day), RetentionDone, retentionNothing},
		"held, not again yet":                 {held, over, due.Add(time.Hour), RetentionScheduled, retentionNothing},
		"held, again":                         {held, over, due.Add(day), RetentionScheduled, retentionFinalize},
		"under way":                           {finalizing, runs, due, RetentionFinalizing, retentionNothing},
		"carried out":                         {finalizing, gone, due, RetentionDone, retentionNothing},
		"carried out in part":                 {finalizing, over, due, RetentionScheduled, retentionHeld},
		"kept":                                {Retention{State: RetentionKept}, over, due.Add(day), RetentionKept, retentionNothing},
		"done":                                {Retention{State: RetentionDone}, over, due.Add(day), RetentionDone, retentionNothing},
	} {
		got, act := c.ret.look(c.r, c.now)
		require.Equal(t, c.state, got.State, name)
		require.Equal(t, c.act, act, name)
		require.NotEmpty(t, got.Text(c.r), name)
	}
	got, _ := waiting.look(over, due.Add(day))
	require.Equal(t, due.Add(day+leastNotice), got.DueAt, "announced in any case")
	got, _ = waiting.look(over, end)
	require.Equal(t, due, got.DueAt, "counted from the last switch")
	require.Equal(t, "the old version of 2 tenants is deleted at 2026-11-29T12:00:00Z; hold with `tms upgrade keep r1`", got.Text(over))
}

// What a command does to a retention in each state.
func TestRetain(t *testing.T) {
	t.Parallel()
	over := &Rollout{ID: "r1", State: RolloutComplete, Tenants: []RolloutTenant{switchedAt("acme", time.Now())}}
	gone := &Rollout{ID: "r1", State: RolloutFinalized, Tenants: []RolloutTenant{{State: TenantFinalized}}}
	week := 7 * 24 * time.Hour
	for name, c := range map[string]struct {
		r       *Rollout
		was     *Retention
		after   time.Duration
		becomes RetentionState // "" changes nothing
		refused string
	}{
		"kept without any":     {over, nil, 0, RetentionKept, ""},
		"kept in time":         {over, &Retention{State: RetentionScheduled, After: week}, 0, RetentionKept, ""},
		"kept already":         {over, &Retention{State: RetentionKept}, 0, "", ""},
		"kept too late":        {over, &Retention{State: RetentionFinalizing}, 0, "", "being deleted already"},
		"nothing is left":      {gone, &Retention{State: RetentionDone}, 0, "", "no old version"},
		"given later":          {over, nil, week, RetentionWaiting, ""},
		"changed":              {over, &Retention{State: RetentionScheduled, After: week}, 2 * week, RetentionWaiting, ""},
		"the same":             {over, &Retention{State: RetentionScheduled, After: week}, week, "", ""},
		"after all":            {over, &Retention{State: RetentionKept}, week, RetentionWaiting, ""},
		"changed too late":     {over, &Retention{State: RetentionFinalizing}, week, "", "being deleted already"},
		"given for no version": {gone, nil, week, "", "no old version"},
	} {
		ch, err := retain(c.r, c.was, c.after, "ops")
		switch {
		case c.refused != "":
			require.ErrorContains(t, err, c.refused, name)
		case c.becomes == "":
			require.NoError(t, err, name)
			require.Nil(t, ch, name)
		default:
			require.NoError(t, err, name)
			require.Equal(t, c.becomes, ch.Retention.State, name)
			require.NotEmpty(t, ch.Did, name)
		}
	}
}

// Whatever happens to a rollout, nothing is deleted before its time, nothing
// that is kept, and nothing that was not announced before.
func TestRetentionIsNeverEarly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
		r := &Rollout{ID: "r1", State: RolloutRunning, Tenants: []RolloutTenant{{TenantID: "acme", State: TenantCopying}, switchedAt("beta", now)}}
		ret := Retention{State: RetentionWaiting, After: 48 * time.Hour}
		announced := time.Time{}
		for range rapid.IntRange(1, 40).Draw(t, "events") {
			now = now.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "hours")) * time.Hour)
			switch rapid.IntRange(0, 5).Draw(t, "event") {
			case 0:
				r.State, r.Tenants[0] = RolloutComplete, switchedAt("acme", now)
			case 1:
				r.State, r.Tenants[0] = RolloutRunning, RolloutTenant{TenantID: "acme", State: TenantReturning}
				announced = time.Time{}
			case 2:
				ret = Retention{State: RetentionKept}
			}
			var act retentionAct
			ret, act = ret.look(r, now)
			switch act {
			case retentionAnnounce:
				announced = now
			case retentionFinalize:
				_, since := r.OldVersions()
				require.False(t, announced.IsZero())
				require.False(t, now.Before(announced.Add(leastNotice)))
				require.True(t, r.State.Ended())
				require.False(t, now.Before(since.Add(ret.After)))
				require.NotEqual(t, RetentionKept, ret.State)
			}
		}
	})
}
