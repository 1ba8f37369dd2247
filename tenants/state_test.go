package tenants

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var (
	allEvents = []Event{EventSuspend, EventActivate, EventExpire, EventRenew, EventDelete, EventUndelete, EventPurge, EventPurged}
	day       = 24 * time.Hour
)

func TestTransitionTableIsComplete(t *testing.T) {
	t.Parallel()
	for _, s := range States {
		if s == StatePurged {
			require.Empty(t, transitions[s], "nothing leads away from here")
			continue
		}
		for _, e := range allEvents {
			r, ok := transitions[s][e]
			require.True(t, ok, "%s in %s is not decided", e, s)
			require.NotEqual(t, r.remedy == "", len(r.to) == 0, "%s in %s leads somewhere or has a remedy", e, s)
		}
	}
}

// One row per arrow: from, event, to; "" is a refusal.
func TestTransitions(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	in := map[State]func() *Tenant{
		StateActive:    valid,
		StateSuspended: func() *Tenant { x := valid(); x.Suspended = true; return x },
		StateExpired:   func() *Tenant { x := valid(); x.ExpiresAt = now; return x },
		StateDeleted: func() *Tenant {
			x := valid()
			x.DeletedAt, x.PurgeAt, x.PurgeStartedAt = now, now.Add(day), time.Time{}
			return x
		},
		StatePurged: func() *Tenant {
			x := valid()
			x.DeletedAt, x.PurgeAt, x.PurgeStartedAt, x.PurgedAt = now, now, now, now
			return x
		},
	}
	for from, row := range map[State]map[Event]State{
		StateActive:    {EventSuspend: StateSuspended, EventActivate: StateActive, EventExpire: StateExpired, EventRenew: StateActive, EventDelete: StateDeleted, EventUndelete: "", EventPurge: "", EventPurged: ""},
		StateSuspended: {EventSuspend: StateSuspended, EventActivate: StateActive, EventExpire: StateExpired, EventRenew: StateSuspended, EventDelete: StateDeleted, EventUndelete: "", EventPurge: "", EventPurged: ""},
		StateExpired:   {EventSuspend: "", EventActivate: "", EventExpire: StateExpired, EventRenew: StateActive, EventDelete: StateDeleted, EventUndelete: "", EventPurge: "", EventPurged: ""},
		StateDeleted:   {EventSuspend: "", EventActivate: "", EventExpire: "", EventRenew: "", EventDelete: "", EventUndelete: StateActive, EventPurge: StateDeleted, EventPurged: ""},
		StatePurged:    {EventSuspend: "", EventActivate: "", EventExpire: "", EventRenew: "", EventDelete: "", EventUndelete: "", EventPurge: "", EventPurged: ""},
	} {
		for event, to := range row {
			x := in[from]()
			require.Equal(t, from, x.StateAt(now))
			err := x.Apply(event, now, now.Add(day))
			if to == "" {
				require.True(t, HasReason(err, ReasonWrongState), "%s in %s", event, from)
				require.Equal(t, from, x.StateAt(now), "a refused event changes nothing")
				continue
			}
			require.NoError(t, err, "%s in %s", event, from)
			require.Equal(t, to, x.StateAt(now), "%s in %s", event, from)
			require.Contains(t, transitions[from][event].to, to)
		}
	}
}

func TestUndeleteEndsAtThePurgeTime(t *testing.T) {
	t.Parallel()
	now := time.Now()
	x := valid()
	require.NoError(t, x.Apply(EventDelete, now, time.Time{}))
	require.Error(t, x.Clone().Apply(EventUndelete, now.Add(UndeletePeriod), time.Time{}))
	require.NoError(t, x.Apply(EventUndelete, now.Add(UndeletePeriod-time.Second), time.Time{}))
}

func TestPurgeIsTheEnd(t *testing.T) {
	t.Parallel()
	now := time.Now()
	x := valid()
	require.NoError(t, x.Apply(EventDelete, now, time.Time{}))
	require.Error(t, x.Clone().Apply(EventPurged, now, time.Time{}), "what has not begun cannot be proven")
	require.NoError(t, x.Apply(EventPurge, now, time.Time{}))
	require.Error(t, x.Clone().Apply(EventUndelete, now, time.Time{}), "part of it may be gone")
	require.NoError(t, x.Apply(EventPurge, now.Add(day), time.Time{}), "a failed purge may be begun again")
	require.Equal(t, now, x.PurgeStartedAt)
	require.NoError(t, x.Apply(EventPurged, now, time.Time{}))
	require.Empty(t, x.InstallToken+x.DisplayName+x.Email+x.Domain+x.GUIURL)
	require.Nil(t, x.Labels)
	require.Empty(t, Successors(StatePurged))
}

// Over any history: only what the table allows happens, a deleted tenant is
// never served, and nobody is served past the expiry.
func TestHistories(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		x := valid()
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, int(day)).Draw(t, "passed")))
			before := x.StateAt(now)
			e := rapid.SampledFrom(allEvents).Draw(t, "event")
			err := x.Apply(e, now, now.Add(time.Duration(rapid.IntRange(1, int(2*day)).Draw(t, "expires"))))
			if err == nil && (Allow(x.ID, before, e) != nil || !slices.Contains(Successors(before), x.StateAt(now))) {
				t.Fatalf("%s in %s led to %s", e, before, x.StateAt(now))
			}
			if err != nil && x.StateAt(now) != before {
				t.Fatalf("refused %s changed %s to %s", e, before, x.StateAt(now))
			}
			if x.StateAt(now) == StateActive && (!x.DeletedAt.IsZero() || x.Suspended || !x.ExpiresAt.IsZero() && !now.Before(x.ExpiresAt)) {
				t.Fatalf("active although %+v", x)
			}
		}
	})
}
