package upgrader_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/upgrader"
)

// there and back carries a crowd to 1.1, changes it, and rolls back.
func (c *crowd) thereAndBack(change func()) string {
	t, b := c.b.t, c.b
	t.Helper()
	b.worker(b.engine)
	r, err := b.service.Start(t.Context(), upgrader.Request{ToRelease: "1.1", Options: upgrader.Options{Tenants: []string{c.id}}, Caller: "test"})
	require.NoError(t, err)
	r = b.ended(r.ID)
	require.Equal(t, upgrader.RolloutComplete, r.State, describe(r))
	change()
	_, err = b.service.Rollback(t.Context(), upgrader.Command{RolloutID: r.ID, Caller: "test"})
	require.NoError(t, err)
	b.until(r.ID, func(r *upgrader.Rollout) bool { return r.State == upgrader.RolloutRolledBack })
	return r.ID
}

// Documents of one id in several partitions each go back to their own place.
func TestEqualIDsGoBackToTheirPlaces(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := b.crowdOf(diaries, "2023-q1", "2023-q2")
	old := func(q int, id, at, text string) upgrader.BulkOp {
		return upgrader.BulkOp{Index: fmt.Sprintf("010.%s.x-person-2023-q%d", c.id, q), ID: id, Source: json.RawMessage(fmt.Sprintf(`{"at":%q,"text":%q}`, at, text))}
	}
	month := func(n int) string { return fmt.Sprintf("011.%s.x-person-2023-%d", c.id, n) }
	entry := func(n int, id, at, text string) upgrader.BulkOp {
		return upgrader.BulkOp{Index: month(n), ID: id, Source: json.RawMessage(fmt.Sprintf(`{"time":{"at":%q},"text":%q}`, at, text))}
	}
	b.bulk(
		old(1, "twin", "2023-05-03", "a"), old(2, "twin", "2023-01-04", "b"),
		old(1, "solo", "2023-02-01", "a"),
		old(1, "clash", "2023-02-02", "a"),
		old(1, "half", "2023-05-06", "a"), old(2, "half", "2023-01-07", "b"),
		old(1, "wanderer", "2023-01-08", "a"),
		old(2, "moody", "2023-01-09", "a"),
	)
	id := c.thereAndBack(func() {
		b.bulk(
			entry(5, "twin", "2023-05-03", "a, changed"),
			entry(4, "solo", "2023-04-09", "another"),
			entry(3, "clash", "2023-03-03", "another"),
			upgrader.BulkOp{Index: month(5), ID: "half", Delete: true},
			upgrader.BulkOp{Index: month(1), ID: "wanderer", Delete: true},
			entry(5, "wanderer", "2023-05-08", "moved"),
			entry(1, "moody", "2023-06-09", "dated anew"),
		)
	})
	require.Equal(t, map[string]string{
		"twin": `{"at":"2023-05-03","text":"a, changed"}`, "solo": `{"at":"2023-02-01","text":"a"}`, "clash": `{"at":"2023-02-02","text":"a"}`,
		"wanderer": `{"at":"2023-05-08","text":"moved"}`,
	}, c.stands("2023-q1"))
	require.Equal(t, map[string]string{
		"twin": `{"at":"2023-01-04","text":"b"}`, "solo": `{"at":"2023-04-09","text":"another"}`, "half": `{"at":"2023-01-07","text":"b"}`,
		"moody": `{"at":"2023-06-09","text":"dated anew"}`,
	}, c.stands("2023-q2"))
	kept, err := b.store.Quarantine(t.Context(), upgrader.QuarantineFilter{RolloutID: id, TenantID: c.id})
	require.NoError(t, err)
	require.Len(t, kept, 1)
	require.Equal(t, "clash", kept[0].ID)
	require.Contains(t, kept[0].Reason, "one place for it in 010."+c.id+".x-person-2023-q1, and the same id stands in "+month(2))
}

// calendars are two releases that keep documents by the month, without a route.
var calendars = map[string]string{
	"1.0/release.yaml":           "version: \"1.0\"\nprefix: 010\nresources:\n  person: {base: x-person, partitioning: month, settings: {number_of_shards: 1}}\n",
	"1.0/mappings/x-person.yaml": "dynamic: strict\n_meta: {version: \"010\"}\nproperties:\n  text: {type: keyword}\n",
	"1.1/release.yaml":           "version: \"1.1\"\nprefix: 011\nprevious: \"1.0\"\nresources:\n  person: {base: x-person, partitioning: month, settings: {number_of_shards: 1}}\n",
	"1.1/mappings/x-person.yaml": "dynamic: strict\n_meta: {version: \"011\"}\nproperties:\n  words: {type: keyword}\n",
	"1.1/migration.yaml":         "from: \"1.0\"\nto: \"1.1\"\nsteps:\n  person:\n    transform:\n      - {op: rename, field: text, to: words}\n",
}

// The same without a route: a month goes back into its month.
func TestEqualIDsOfMonthsGoBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := b.crowdOf(calendars, "2023-1", "2023-2")
	write := func(prefix, field string, month int, id, text string) upgrader.BulkOp {
		return upgrader.BulkOp{Index: fmt.Sprintf("%s.%s.x-person-2023-%d", prefix, c.id, month), ID: id, Source: json.RawMessage(fmt.Sprintf(`{%q:%q}`, field, text))}
	}
	b.bulk(write("010", "text", 1, "twin", "a"), write("010", "text", 2, "twin", "b"), write("010", "text", 1, "half", "a"), write("010", "text", 2, "half", "b"), write("010", "text", 2, "solo", "a"))
	c.thereAndBack(func() {
		b.bulk(
			write("011", "words", 1, "twin", "a, changed"),
			upgrader.BulkOp{Index: "011." + c.id + ".x-person-2023-2", ID: "half", Delete: true},
			write("011", "words", 1, "solo", "another"),
		)
	})
	require.Equal(t, map[string]string{"twin": `{"text":"a, changed"}`, "half": `{"text":"a"}`, "solo": `{"text":"another"}`}, c.stands("2023-1"))
	require.Equal(t, map[string]string{"twin": `{"text":"b"}`, "solo": `{"text":"a"}`}, c.stands("2023-2"))
}
