package upgrader_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/upgrader"
)

// diaries are two releases: the second keeps entries by the day that they tell
// of, not by the day on which they were written down, and by the month.
var diaries = map[string]string{
	"1.0/release.yaml":           "version: \"1.0\"\nprefix: 010\nresources:\n  person: {base: x-person, partitioning: quarter, settings: {number_of_shards: 2}}\n",
	"1.0/mappings/x-person.yaml": "dynamic: strict\n_meta: {version: \"010\"}\nproperties:\n  at: {type: date, ignore_malformed: true}\n  text: {type: keyword}\n",
	"1.1/release.yaml":           "version: \"1.1\"\nprefix: 011\nprevious: \"1.0\"\nresources:\n  person: {base: x-person, partitioning: month, settings: {number_of_shards: 1}}\n",
	"1.1/mappings/x-person.yaml": "dynamic: strict\n_meta: {version: \"011\"}\nproperties:\n  time: {properties: {at: {type: date, ignore_malformed: true}}}\n  text: {type: keyword}\n",
	"1.1/migration.yaml":         "from: \"1.0\"\nto: \"1.1\"\nsteps:\n  person:\n    transform:\n      - {op: move, from: at, to: time.at}\n      - {op: route, by: time.at}\n",
}

// days that entries tell of, and the partition that takes them; "" is that of
// the index in which they stand.
var days = []struct {
	at        any
	partition string
}{
	{"2023-01-31T23:59:59.999Z", "2023-1"},
	{"2023-02-01T00:00:00Z", "2023-2"},
	{"2023-03-01", "2023-3"},
	{"2023-04-30T22:00:00-03:00", "2023-5"},
	{1685577600000, "2023-6"}, // 2023-06-01
	{"2019-07-01", ""},        // there is no such partition
	{"soon", ""},
	{nil, ""},
}

// jot stores entry n about one of the days, or deletes it.
func (c *crowd) jot(ctx context.Context, n, day int) error {
	index := "010." + c.id + ".x-person-" + c.months[n%len(c.months)]
	op := upgrader.BulkOp{Index: index, ID: fmt.Sprintf("entry-%d", n)}
	if day < 0 {
		op.Delete = true
		return c.put(ctx, op, nil)
	}
	doc := map[string]any{"text": fmt.Sprintf("%d on %d", n, day)}
	if at := days[day].at; at != nil {
		doc["at"] = at
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	op.Source = raw
	return c.put(ctx, op, map[string]any{"text": doc["text"], "in": c.months[n%len(c.months)], "day": day})
}

// expectByDay compares every target with what was acknowledged.
func (c *crowd) expectByDay(targets []string) {
	t := c.b.t
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	want := map[string]map[string]string{}
	for _, name := range targets {
		want[name] = map[string]string{}
	}
	for id, doc := range c.docs {
		day := days[doc["day"].(int)]
		in := day.partition
		if in == "" {
			in = doc["in"].(string)
		}
		text := fmt.Sprintf(`{"text":%q}`, doc["text"])
		if day.at != nil {
			at, err := json.Marshal(day.at)
			require.NoError(t, err)
			text = fmt.Sprintf(`{"text":%q,"time":{"at":%s}}`, doc["text"], at)
		}
		want["011."+c.id+".x-person-"+in][id] = text
	}
	for _, name := range targets {
		require.Equal(t, want[name], c.holds(name), name)
	}
}

// Documents go into the month of their own date, out of whichever quarter they
// stand in, while writers change the dates, delete, and a new quarter begins; a
// rollback brings what was written since to where it was, or belongs.
func TestDocumentsGoByTheirDate(t *testing.T) {
	long(t)
	t.Parallel()
	b := setup(t)
	c := b.crowdOf(diaries, "2023-q1", "2023-q2")
	for n := range 200 {
		require.NoError(t, c.jot(t.Context(), n, n%len(days)))
	}
	b.worker(b.engine)
	stop := c.writing(func(ctx context.Context, n int) error {
		day := n % (len(days) + 1)
		if day == len(days) {
			day = -1
		}
		return c.jot(ctx, (n*37)%220, day)
	})
	run := func() *upgrader.Rollout {
		r, err := b.service.Start(t.Context(), upgrader.Request{ToRelease: "1.1", Options: upgrader.Options{Tenants: []string{c.id}}, Caller: "test"})
		require.NoError(t, err)
		r = b.ended(r.ID)
		require.Equal(t, upgrader.RolloutComplete, r.State, describe(r))
		return r
	}
	first := run()
	stop()
	// The six months that both quarters are cut into, and what stays in them.
	targets := []string{"2023-q1", "2023-q2", "2023-1", "2023-2", "2023-3", "2023-4", "2023-5", "2023-6"}
	for i, part := range targets {
		targets[i] = "011." + c.id + ".x-person-" + part
	}
	c.expectByDay(targets)
	for _, ip := range first.Tenants[0].Proof.Indices {
		require.Equal(t, ip.SourceDocs-ip.Quarantined, ip.TargetDocs, ip.Target)
	}
	require.LessOrEqual(t, first.Tenants[0].DocsTotal, int64(220), "each is counted once")
	require.Contains(t, fmt.Sprint(first.Tenants[0].Record.Notes), "go into the partition of their time.at")

	// What is written to the new version comes back to where it was, or to the
	// quarter of its own month.
	month := func(n int) string { return "011." + c.id + ".x-person-2023-" + fmt.Sprint(n) }
	var moved string
	for id, doc := range c.docs {
		if doc["in"] == "2023-q2" && days[doc["day"].(int)].partition == "2023-1" {
			moved = id
		}
	}
	require.NotEmpty(t, moved)
	b.bulk(
		upgrader.BulkOp{Index: month(1), ID: moved, Source: json.RawMessage(`{"text":"changed","time":{"at":"2023-01-31T23:59:59.999Z"}}`)},
		upgrader.BulkOp{Index: month(5), ID: "new", Source: json.RawMessage(`{"text":"new","time":{"at":"2023-05-09"}}`)},
	)
	_, err := b.service.Rollback(t.Context(), upgrader.Command{RolloutID: first.ID, Caller: "test"})
	require.NoError(t, err)
	b.until(first.ID, func(r *upgrader.Rollout) bool { return r.State == upgrader.RolloutRolledBack })
	require.JSONEq(t, `{"at":"2023-01-31T23:59:59.999Z","text":"changed"}`, c.stands("2023-q2")[moved])
	require.JSONEq(t, `{"at":"2023-05-09","text":"new"}`, c.stands("2023-q2")["new"])
	require.NotContains(t, c.stands("2023-q1"), moved)
	require.Zero(t, b.aside(first.ID, c.id))

	// Forth again it is as before.
	b.bulk(upgrader.BulkOp{Index: "010." + c.id + ".x-person-2023-q2", ID: "new", Delete: true})
	c.docs[moved]["text"] = "changed"
	for n := range 40 { // many of them change sides
		require.NoError(t, c.jot(t.Context(), n, n%len(days)))
	}
	run()
	c.expectByDay(targets)
}

// The same id in several sources is a duplicate only where two of its documents
// go by their dates into one partition.
func TestTwinsThatGoByTheirDate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := b.crowdOf(diaries, "2023-1", "2023-2", "2023-3")
	old := func(n int) string { return fmt.Sprintf("010.%s.x-person-2023-%d", c.id, n) }
	entry := func(index, id, at, text string) upgrader.BulkOp {
		return upgrader.BulkOp{Index: index, ID: id, Source: json.RawMessage(fmt.Sprintf(`{"at":%q,"text":%q}`, at, text))}
	}
	b.bulk(
		entry(old(1), "across", "2023-02-05", "a"), entry(old(2), "across", "2023-01-05", "b"),
		entry(old(1), "both", "2023-03-05", "older"), entry(old(2), "both", "2023-03-06", "newer"), entry(old(3), "both", "2023-01-06", "alone"),
	)
	b.worker(b.engine)
	r, err := b.service.Start(t.Context(), upgrader.Request{ToRelease: "1.1", Options: upgrader.Options{Tenants: []string{c.id}, AllowQuarantine: 1}, Caller: "test"})
	require.NoError(t, err)
	r = b.ended(r.ID)
	require.Equal(t, upgrader.RolloutComplete, r.State, describe(r))
	texts := func(n int) string {
		var out []string
		for _, id := range []string{"across", "both"} {
			var doc struct{ Text string }
			if raw := c.holds(fmt.Sprintf("011.%s.x-person-2023-%d", c.id, n))[id]; raw != "" {
				require.NoError(t, json.Unmarshal([]byte(raw), &doc))
				out = append(out, doc.Text)
			}
		}
		return strings.Join(out, " ")
	}
	require.Equal(t, []string{"b alone", "a", "newer"}, []string{texts(1), texts(2), texts(3)})
	require.Equal(t, 1, b.aside(r.ID, c.id))
}
