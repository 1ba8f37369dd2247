package backups

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestSchedules(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, schedule, zone, now, next string }{
		{"every night", "30 2 * * *", "UTC", "2026-03-01T10:00:00Z", "2026-03-02T02:30:00Z"},
		{"at the very moment, the next", "30 2 * * *", "UTC", "2026-03-02T02:30:00Z", "2026-03-03T02:30:00Z"},
		{"in a zone", "30 2 * * *", "Europe/Warsaw", "2026-01-10T00:00:00Z", "2026-01-10T01:30:00Z"},
		{"the hour that is skipped is made up for", "30 2 * * *", "Europe/Warsaw", "2026-03-28T12:00:00Z", "2026-03-29T01:30:00Z"},
		{"and only once", "30 2 * * *", "Europe/Warsaw", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"},
		{"the hour that comes twice counts once", "30 2 * * *", "Europe/Warsaw", "2026-10-24T12:00:00Z", "2026-10-25T01:30:00Z"},
		{"and not again", "30 2 * * *", "Europe/Warsaw", "2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z"},
		{"every hour goes by the clock", "0 * * * *", "Europe/Warsaw", "2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"},
		{"a descriptor", "@weekly", "", "2026-03-02T00:00:00Z", "2026-03-08T00:00:00Z"},
		{"a day of the week", "0 4 * * mon", "UTC", "2026-03-03T00:00:00Z", "2026-03-09T04:00:00Z"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := Policy{Name: "p", Schedule: row.schedule, Zone: row.zone}
			times, err := p.check()
			require.NoError(t, err)
			now, err := time.Parse(time.RFC3339, row.now)
			require.NoError(t, err)
			require.Equal(t, row.next, times.next(now).Format(time.RFC3339))
		})
	}
}

func TestPoliciesThatAreRefused(t *testing.T) {
	t.Parallel()
	good := Policy{Name: "nightly", Schedule: "0 2 * * *"}
	for name, row := range map[string]struct {
		change func(*Policy)
		field  string
	}{
		"name":                {func(p *Policy) { p.Name = "Nightly!" }, "name"},
		"no schedule":         {func(p *Policy) { p.Schedule = "whenever" }, "schedule"},
		"six fields":          {func(p *Policy) { p.Schedule = "0 0 2 * * *" }, "schedule"},
		"counting":            {func(p *Policy) { p.Schedule = "@every 1h" }, "schedule"},
		"never":               {func(p *Policy) { p.Schedule = "0 0 30 2 *" }, "schedule"},
		"a zone in it":        {func(p *Policy) { p.Schedule = "CRON_TZ=UTC 0 2 * * *" }, "schedule"},
		"unknown zone":        {func(p *Policy) { p.Zone = "Europe/Atlantis" }, "time_zone"},
		"the server's zone":   {func(p *Policy) { p.Zone = "Local" }, "time_zone"},
		"a rollout":           {func(p *Policy) { p.Selection.Rollout = "r" }, "selection.rollout"},
		"negative age":        {func(p *Policy) { p.Retention.ExpireAfter = -time.Hour }, "retention.expire_after"},
		"more than the most":  {func(p *Policy) { p.Retention = Retention{Min: 3, Max: 2} }, "retention.min"},
		"less than no copies": {func(p *Policy) { p.Retention = Retention{Min: -1} }, "retention"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := good
			row.change(&p)
			_, err := p.check()
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, row.field, e.Field)
			require.NotEmpty(t, e.Remedy)
		})
	}
}

func TestScheduleGoesOn(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := Policy{
			Name:     "p",
			Schedule: rapid.SampledFrom([]string{"30 2 * * *", "0 * * * *", "*/15 1-4 * * *", "0 0 1 * *", "15 3 * * sun"}).Draw(t, "schedule"),
			Zone:     rapid.SampledFrom([]string{"UTC", "Europe/Warsaw", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"}).Draw(t, "zone"),
		}
		times, err := p.check()
		require.NoError(t, err)
		now := time.Unix(rapid.Int64Range(1_700_000_000, 1_900_000_000).Draw(t, "now"), 0)
		next := times.next(now)
		require.True(t, next.After(now), "%s is not after %s", next, now)
		require.False(t, times.next(next.Add(-time.Second)).After(next), "found again a second before")
	})
}

var retentionNow = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

// aged is a snapshot of the policy, days old, of tenant acme unless others are
// named.
func aged(id string, days int, tenants ...string) Holding {
	if len(tenants) == 0 {
		tenants = []string{"acme"}
	}
	h := Holding{ID: id, State: StateSuccess, Repository: "r", TakenAt: retentionNow.AddDate(0, 0, -days), Releases: map[string]string{}, Mine: true, Stands: true}
	for _, t := range tenants {
		h.Releases[t] = "0.8.1"
	}
	return h
}

func with(h Holding, change func(*Holding)) Holding { change(&h); return h }

const day = 24 * time.Hour

func TestRetention(t *testing.T) {
	t.Parallel()
	partial := func(h *Holding) { h.State = StatePartial }
	gone := func(h *Holding) { h.Stands = false }
	doubted := func(h *Holding) { h.Doubted = "restore-1" }
	others := func(h *Holding) { h.Mine = false }
	for _, row := range []struct {
		name      string
		retention Retention
		snapshots []Holding
		needs     []Need
		purged    bool // acme
		removed   []string
		held      []string
	}{
		{name: "nothing said keeps all", snapshots: []Holding{aged("a", 900), aged("b", 1)}},
		{name: "age", retention: Retention{ExpireAfter: 10 * day}, snapshots: []Holding{aged("a", 30), aged("b", 20), aged("c", 1)}, removed: []string{"a", "b"}},
		{name: "exactly of age stays", retention: Retention{ExpireAfter: 10 * day}, snapshots: []Holding{aged("a", 10), aged("b", 1)}},
		{name: "age, but a least number", retention: Retention{ExpireAfter: 10 * day, Min: 2}, snapshots: []Holding{aged("a", 30), aged("b", 20), aged("c", 1)}, removed: []string{"a"}},
		{name: "number", retention: Retention{Max: 2}, snapshots: []Holding{aged("a", 3), aged("b", 2), aged("c", 1)}, removed: []string{"a"}},
		{name: "the last good one, however old", retention: Retention{ExpireAfter: day}, snapshots: []Holding{aged("a", 30), aged("b", 20)}, removed: []string{"a"}, held: []string{"b"}},
		{name: "the last good one of one tenant of many", retention: Retention{Max: 1}, snapshots: []Holding{aged("a", 3, "acme", "globex"), aged("b", 2), aged("c", 1)}, removed: []string{"b"}, held: []string{"a"}},
		{name: "a purged tenant has no last one", retention: Retention{ExpireAfter: day}, snapshots: []Holding{aged("a", 30)}, purged: true, removed: []string{"a"}},
		{name: "partial does not count, and goes", retention: Retention{Max: 2}, snapshots: []Holding{aged("a", 4), with(aged("b", 3), partial), aged("c", 2)}, removed: []string{"b"}},
		{name: "the newest failure stays to be looked at", retention: Retention{Max: 2, ExpireAfter: 10 * day}, snapshots: []Holding{aged("a", 4), with(aged("b", 3), partial)}},
		{name: "partial is better than nothing", retention: Retention{ExpireAfter: day}, snapshots: []Holding{with(aged("a", 30), partial)}, held: []string{"a"}},
		{name: "one that the repository lost is no last good one", retention: Retention{ExpireAfter: 10 * day}, snapshots: []Holding{aged("a", 30), with(aged("b", 1), gone)}, held: []string{"a"}},
		{name: "nor is one that failed its drill", retention: Retention{ExpireAfter: 10 * day}, snapshots: []Holding{aged("a", 30), with(aged("b", 1), doubted)}, held: []string{"a"}},
		{name: "others' snapshots are counted as backups and never removed", retention: Retention{Max: 1, ExpireAfter: 10 * day}, snapshots: []Holding{with(aged("a", 50), others), aged("b", 30), with(aged("c", 1), others)}, removed: []string{"b"}},
		{name: "a restore reads it", retention: Retention{Max: 1}, snapshots: []Holding{with(aged("a", 3), func(h *Holding) { h.Reader = "restore-2" }), aged("b", 2)}, held: []string{"a"}},
		{name: "a rollout was begun on it", retention: Retention{Max: 1}, snapshots: []Holding{aged("a", 3), aged("b", 2), aged("c", 1)}, needs: []Need{{Tenant: "globex", Rollout: "r", Snapshot: "a"}}, removed: []string{"b"}, held: []string{"a"}},
		{
			name: "a rollout needs the old version", retention: Retention{Max: 1}, needs: []Need{{Tenant: "acme", Release: "0.8.1", Rollout: "r"}},
			snapshots: []Holding{aged("a", 4), aged("b", 3), with(aged("c", 2), func(h *Holding) { h.Releases["acme"] = "0.8.2" })}, removed: []string{"a"}, held: []string{"b"},
		},
		{name: "what is being deleted is left alone", retention: Retention{Max: 1}, snapshots: []Holding{with(aged("a", 3), func(h *Holding) { h.State = StateDeleting }), aged("b", 2)}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			remove, held := row.retention.Decide(retentionNow, Holdings{
				Snapshots: row.snapshots, Needs: row.needs, Tenants: map[string]bool{"acme": !row.purged, "globex": true},
			})
			require.Equal(t, row.removed, ids(remove), "%v", remove)
			require.Equal(t, row.held, ids(held), "%v", held)
		})
	}
}

func ids(all []Removal) (out []string) {
	for _, r := range all {
		out = append(out, r.ID)
	}
	return out
}

// TestRetentionKeepsAWayBack: whatever there is and whatever a policy says.
func TestRetentionKeepsAWayBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		all, r := drawHoldings(t), Retention{
			ExpireAfter: time.Duration(rapid.IntRange(0, 40).Draw(t, "age")) * day,
			Min:         rapid.IntRange(0, 3).Draw(t, "min"), Max: rapid.IntRange(0, 5).Draw(t, "max"),
		}
		if r.Max > 0 {
			r.Min = min(r.Min, r.Max)
		}
		remove, held := r.Decide(retentionNow, all)
		removed := map[string]bool{}
		for _, one := range remove {
			removed[one.ID] = true
		}
		left := Holdings{Tenants: all.Tenants, Needs: all.Needs}
		good := 0
		for _, h := range all.Snapshots {
			if !removed[h.ID] {
				left.Snapshots = append(left.Snapshots, h)
				if h.Mine && h.good() {
					good++
				}
				continue
			}
			require.True(t, h.Mine && h.State.Ended() && h.State != StateDeleted, "removed what is not the policy's: %+v", h)
			require.Empty(t, h.Reader)
			for _, n := range all.Needs {
				require.NotEqual(t, n.Snapshot, h.ID, "removed what a rollout was begun on")
			}
		}
		for tenant := range all.Tenants {
			require.Equal(t, newestGood(all, tenant, ""), newestGood(left, tenant, ""), "last good one of %s", tenant)
			if newestGood(all, tenant, "") == "" {
				require.Equal(t, anyOf(all, tenant), anyOf(left, tenant), "what there is of %s", tenant)
			}
		}
		for _, n := range all.Needs {
			require.Equal(t, newestGood(all, n.Tenant, n.Release), newestGood(left, n.Tenant, n.Release), "needed by %s", n.Rollout)
		}
		before := 0
		for _, h := range all.Snapshots {
			if h.Mine && h.good() {
				before++
			}
		}
		require.GreaterOrEqual(t, good, min(before, r.Min), "fewer than min are left")
		if r.Max > 0 {
			require.LessOrEqual(t, good, r.Max+len(held), "more than max are left, and not held")
		}
		again, _ := r.Decide(retentionNow, left)
		require.Empty(t, again, "a second look removes more")
	})
}

func drawHoldings(t *rapid.T) Holdings {
	tenants := []string{"acme", "globex", "initech"}
	all := Holdings{Tenants: map[string]bool{"acme": true, "globex": true}}
	for i := range rapid.IntRange(0, 12).Draw(t, "snapshots") {
		h := Holding{
			ID: string(rune('a' + i)), TakenAt: retentionNow.AddDate(0, 0, -rapid.IntRange(0, 60).Draw(t, "days")), Releases: map[string]string{},
			State:  rapid.SampledFrom([]State{StateSuccess, StateSuccess, StateSuccess, StatePartial, StateFailed}).Draw(t, "state"),
			Mine:   rapid.IntRange(0, 3).Draw(t, "mine") > 0,
			Stands: rapid.IntRange(0, 5).Draw(t, "stands") > 0,
		}
		if rapid.IntRange(0, 6).Draw(t, "doubted") == 0 {
			h.Doubted = "restore-d"
		}
		if rapid.IntRange(0, 8).Draw(t, "read") == 0 {
			h.Reader = "restore-r"
		}
		for _, one := range tenants {
			if rapid.Bool().Draw(t, "holds "+one) {
				h.Releases[one] = rapid.SampledFrom([]string{"0.8.1", "0.8.2"}).Draw(t, "release")
			}
		}
		all.Snapshots = append(all.Snapshots, h)
		if rapid.IntRange(0, 6).Draw(t, "rollout") == 0 {
			all.Needs = append(all.Needs, Need{Tenant: rapid.SampledFrom(tenants).Draw(t, "of"), Release: "0.8.1", Rollout: "r" + h.ID, Snapshot: rapid.SampledFrom([]string{"", h.ID}).Draw(t, "begun on")})
		}
	}
	return all
}

// newestGood is the time of the newest good snapshot of a tenant, of a release
// if one is named; "" for none.
func newestGood(all Holdings, tenant, release string) string {
	var at time.Time
	for _, h := range all.Snapshots {
		if r, holds := h.Releases[tenant]; holds && h.good() && (release == "" || r == release) && h.TakenAt.After(at) {
			at = h.TakenAt
		}
	}
	if at.IsZero() {
		return ""
	}
	return at.String()
}

func anyOf(all Holdings, tenant string) bool {
	for _, h := range all.Snapshots {
		if _, holds := h.Releases[tenant]; holds && h.State.Ended() {
			return true
		}
	}
	return false
}
