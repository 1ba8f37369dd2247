package db_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/events"
	"github.com/tracardi/tms/tenants"
)

// following reads a log as followers do: from a position on, again and again.
type following struct {
	log  *db.Events
	at   int64
	seen []string
}

func (f *following) catchUp(t *testing.T) {
	t.Helper()
	_, err := f.log.Advance(t.Context())
	require.NoError(t, err)
	some, err := f.log.After(t.Context(), f.at, 1000)
	require.NoError(t, err)
	for _, e := range some {
		require.Equal(t, f.at+1, e.Number, "numbers have no gaps")
		f.at = e.Number
		f.seen = append(f.seen, e.Subject)
	}
}

// The transaction that wrote first commits last: whoever has read on to what
// the other one wrote must get it all the same, and once.
func TestEventsOfALateCommitAreNotMissed(t *testing.T) {
	t.Parallel()
	b := setupRegistry(t)
	f := &following{log: db.NewEvents(b.db)}
	const insert = `insert into tenants (id, install_token, release, cluster) values ($1, '', '0.8.1', 'default')`
	first, err := b.db.Pool().Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = first.Rollback(t.Context()) }()
	_, err = first.Exec(t.Context(), insert, "early")
	require.NoError(t, err)
	undone, err := b.db.Pool().Begin(t.Context())
	require.NoError(t, err)
	_, err = undone.Exec(t.Context(), insert, "never")
	require.NoError(t, err)
	_, err = b.db.Pool().Exec(t.Context(), insert, "late")
	require.NoError(t, err)
	f.catchUp(t)
	require.Equal(t, []string{"late"}, f.seen)
	require.NoError(t, undone.Rollback(t.Context()))
	require.NoError(t, first.Commit(t.Context()))
	f.catchUp(t)
	f.catchUp(t)
	require.Equal(t, []string{"late", "early"}, f.seen)
}

// Processes that number at the same time give every event one number.
func TestEventsAreNumberedOnceByManyProcesses(t *testing.T) {
	t.Parallel()
	b := setupRegistry(t)
	const writers, each = 4, 10
	failed := make(chan error, 2*writers)
	for w := range writers {
		go func() {
			for i := range each {
				if _, err := b.db.Pool().Exec(t.Context(), `insert into tenants (id, install_token, release, cluster) values ($1, '', '0.8.1', 'default')`, fmt.Sprintf("t%dx%d", w, i)); err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
		go func() {
			for range each {
				if _, err := db.NewEvents(b.db).Advance(t.Context()); err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	for range 2 * writers {
		require.NoError(t, <-failed)
	}
	f := &following{log: db.NewEvents(b.db)}
	f.catchUp(t)
	require.Len(t, f.seen, writers*each)
}

func TestEventsAreKeptForATimeAndUpToANumber(t *testing.T) {
	t.Parallel()
	b := setupRegistry(t)
	log := db.NewEvents(b.db)
	write := func(n int, age time.Duration) {
		t.Helper()
		_, err := b.db.Pool().Exec(t.Context(), `
			insert into events (type, subject, at, data) select $1, 'acme', now() - $2::interval, '{}' from generate_series(1, $3::int)`, events.TypeUpdated, age, n)
		require.NoError(t, err)
	}
	advance := func() events.Head {
		t.Helper()
		// Age is looked at together with expiries, once in a while.
		_, err := b.db.Pool().Exec(t.Context(), `update event_log set expiries_until = now() - interval '2 seconds'`)
		require.NoError(t, err)
		h, err := log.Advance(t.Context())
		require.NoError(t, err)
		return h
	}
	oldest := func() int64 {
		t.Helper()
		some, err := log.After(t.Context(), 0, 1)
		require.NoError(t, err)
		require.Len(t, some, 1)
		return some[0].Number
	}
	write(3, db.KeepEventAge+time.Minute)
	write(2, db.KeepEventAge-time.Minute)
	require.Equal(t, events.Head{Newest: 5, Floor: 3}, advance(), "by age")
	require.EqualValues(t, 4, oldest())

	write(db.KeepEvents+2000, 0)
	h := advance()
	require.Equal(t, events.Head{Newest: db.KeepEvents + 2005, Floor: 2005}, h, "by number")
	require.EqualValues(t, 2006, oldest())
	require.Equal(t, h, advance(), "and stays so")
}

// A watch decides by Filter.Matches, a list by SQL. They must agree on every
// tenant, or followers would hold what lists do not show.
func TestFilterMatchesWhatTheDatabaseSelects(t *testing.T) {
	t.Parallel()
	b := setupRegistry(t)
	manyTenants(t, b, 300)
	all, err := b.store.AllTenants(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, all)
	label := rapid.MapOfN(rapid.SampledFrom([]string{"tier", "ring", "none"}), rapid.SampledFrom([]string{"gold", "iron", "lead", "1", "3", ""}), 0, 2)
	ids := make([]string, len(all))
	for i, x := range all {
		ids[i] = x.ID
	}
	some := 0
	rapid.Check(t, func(r *rapid.T) {
		now := time.Now().Add(time.Duration(rapid.IntRange(-48, 48).Draw(r, "hours")) * time.Hour)
		f := tenants.Filter{
			State:       rapid.SampledFrom([]tenants.State{"", tenants.StateActive, tenants.StateSuspended, tenants.StateExpired, tenants.StateDeleted, tenants.StatePurged}).Draw(r, "state"),
			ShowDeleted: rapid.Bool().Draw(r, "deleted"), Now: now,
			Release: rapid.SampledFrom([]string{"", "", "0.8.0", "0.8.1", "9"}).Draw(r, "release"),
			Cluster: rapid.SampledFrom([]string{"", "", "default", "other"}).Draw(r, "cluster"),
			Labels:  label.Draw(r, "labels"),
		}
		if rapid.Bool().Draw(r, "restricted") {
			f.IDs = append([]string{}, rapid.SliceOfN(rapid.SampledFrom(ids), 0, 60).Draw(r, "ids")...)
		}
		selected, _, err := b.store.Tenants(t.Context(), f)
		if err != nil {
			r.Fatal(err)
		}
		got := map[string]bool{}
		for _, x := range selected {
			got[x.ID] = true
		}
		some += len(got)
		for _, x := range all {
			if f.Matches(x, now) != got[x.ID] {
				r.Fatalf("%s (state %s): the database says %t, Matches says %t", x.ID, x.StateAt(now), got[x.ID], !got[x.ID])
			}
		}
	})
	require.NotZero(t, some)
}
