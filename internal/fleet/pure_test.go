package fleet

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tracardi/tms/releases"
)

func TestPartitions(t *testing.T) {
	t.Parallel()
	day := func(y, m int) time.Time { return time.Date(y, time.Month(m), 28, 23, 0, 0, 0, time.UTC) }
	for _, row := range []struct {
		by   releases.Partitioning
		at   time.Time
		want string
	}{
		{releases.Monthly, day(2026, 2), "2026-2"},
		{releases.Monthly, day(2026, 11), "2026-11"},
		{releases.Quarterly, day(2026, 3), "2026-q1"},
		{releases.Quarterly, day(2026, 4), "2026-q2"},
		{releases.Quarterly, day(2026, 12), "2026-q4"},
		{releases.Yearly, day(2026, 12), "2026-year"},
		{releases.Unpartitioned, day(2026, 12), ""},
	} {
		require.Equal(t, row.want, partition(row.by, row.at))
		require.Regexp(t, partitionLabels[row.by], row.want)
	}
	months := monthsUntil(day(2026, 2), 4)
	require.Equal(t, "2025-11", partition(releases.Monthly, months[0]))
	require.Equal(t, "2026-2", partition(releases.Monthly, months[3]))
}

func TestDocumentsFollowTheirPartition(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		label    string
		from, to releases.Partitioning
		want     string
		known    bool
	}{
		{"2026-8", releases.Monthly, releases.Quarterly, "2026-q3", true},
		{"2026-10", releases.Monthly, releases.Quarterly, "2026-q4", true},
		{"2026-10", releases.Monthly, releases.Yearly, "2026-year", true},
		{"2026-10", releases.Monthly, releases.Monthly, "2026-10", true},
		{"2026-q2", releases.Quarterly, releases.Yearly, "2026-year", true},
		{"2026-10", releases.Monthly, releases.Unpartitioned, "", true},
		{"", releases.Unpartitioned, releases.Unpartitioned, "", true},
		{"", releases.Unpartitioned, releases.Quarterly, "", false},
	} {
		got, known := follow(row.label, row.from, row.to)
		require.Equal(t, row.want, got, "%+v", row)
		require.Equal(t, row.known, known, "%+v", row)
	}
}

func TestNamesOfIndices(t *testing.T) {
	t.Parallel()
	name := indexName(Production, "08x", "acme", "tracardi-event", "2026-2")
	require.Equal(t, "prod-08x.acme.tracardi-event-2026-2", name)
	require.Equal(t, "08x", prefixOf(name, Production, "acme"))
	require.Empty(t, prefixOf(name, Production, "acm"))
	label, ok := labelOf(name, "prod-08x.acme.tracardi-event", releases.Monthly)
	require.True(t, ok)
	require.Equal(t, "2026-2", label)
	_, ok = labelOf("08x.acme.tracardi-event-tags", "08x.acme.tracardi-event", releases.Unpartitioned)
	require.False(t, ok)
	_, ok = labelOf("08x.acme.tracardi-event-redirect", "08x.acme.tracardi-event", releases.Monthly)
	require.False(t, ok)
}

func TestDifference(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ want, have, difference string }{
		{`{"a":1e-7}`, `{"a":1.0E-7}`, ""},
		{`{"a":12}`, `{"a":12.0}`, ""},
		{`{"a":4611686018427387905}`, `{"a":4611686018427387904}`, "a is 4611686018427387904, expected 4611686018427387905"},
		{`{"a":{"b":null}}`, `{"a":{}}`, "a.b is missing, expected null"},
		{`{"a":[1,{"b":2}]}`, `{"a":[1,{"b":3}]}`, "a[1].b is 3, expected 2"},
		{`{"a":1}`, `{"a":1,"b":2}`, "b is 2, expected no such field"},
		{`{"a":"1"}`, `{"a":1}`, `a is 1, expected "1"`},
		{`{"a":{}}`, `{"a":[]}`, "a is [], expected {}"},
	} {
		var want, have any
		require.NoError(t, decode([]byte(row.want), &want))
		require.NoError(t, decode([]byte(row.have), &have))
		require.Equal(t, row.difference, difference("", want, have))
	}
}

func TestLawsCatchAWrongTransform(t *testing.T) {
	t.Parallel()
	rt := route{path: []*releases.Release{{Version: "0.8.2"}}}
	was := map[string]any{"data": map[string]any{"contact": map[string]any{"email": "a@example.com"}, "pii": map[string]any{"name": "Zoë"}}}
	good := map[string]any{"data": map[string]any{"contact": map[string]any{"email": map[string]any{"main": "a@example.com"}}, "pii": map[string]any{"display_name": "Zoë"}}}
	require.Empty(t, broken("0.8.1", rt, "profile", was, good))
	require.Contains(t, broken("0.8.1", rt, "profile", was, was), "data.contact.email.main")
	require.Contains(t, broken("0.8.1", rt, "profile", was, map[string]any{}), "which is null")
}

// Whatever a resource and a number: the document is the same every time and
// encodes to JSON that decodes to itself.
func TestGeneratedDocumentsAreRepeatable(t *testing.T) {
	t.Parallel()
	catalogue, err := releases.Builtin()
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		r := rapid.SampledFrom(catalogue.List()).Draw(t, "release")
		res := rapid.SampledFrom(r.Resources).Draw(t, "resource")
		n := rapid.IntRange(0, 1<<20).Draw(t, "serial")
		tenant := &Tenant{cfg: Config{Tenant: "acme", Seed: rapid.Uint64().Draw(t, "seed")}}
		id, doc := tenant.generate(res, n, time.Unix(0, 0))
		again, same := tenant.generate(res, n, time.Unix(0, 0))
		a, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := json.Marshal(same)
		if id != again || string(a) != string(b) {
			t.Fatalf("%s %d differs from itself", res.Key, n)
		}
	})
}

// History: a random sequence of acknowledged writes leaves the last one.
func TestHistoryKeepsTheLastAcknowledgedState(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory("0.8.1")
		model := map[string]int{} // id -> serial, -1 deleted
		for i := range rapid.IntRange(0, 60).Draw(t, "writes") {
			id := rapid.StringMatching("[a-e]").Draw(t, "id")
			absent := rapid.Bool().Draw(t, "delete")
			h.commit("0.8.1", ref{id: id}, state{absent: absent, serial: i}, false)
			model[id] = i
			if absent {
				model[id] = -1
			}
		}
		alive := 0
		for r, rec := range h.snapshot("0.8.1") {
			want := model[r.id]
			if rec.states[0].absent != (want == -1) || want >= 0 && rec.states[0].serial != want {
				t.Fatalf("%s: %+v, expected %d", r.id, rec.states, want)
			}
			if want >= 0 {
				alive++
			}
		}
		if len(h.layers["0.8.1"].alive) != alive || len(h.snapshot("0.8.1")) != len(model) {
			t.Fatalf("%d alive, expected %d", len(h.layers["0.8.1"].alive), alive)
		}
	})
}
