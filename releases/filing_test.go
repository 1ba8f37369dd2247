package releases

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func spanOf(t *testing.T, from, until string) Span {
	t.Helper()
	a, err := time.Parse(time.DateOnly, from)
	require.NoError(t, err)
	b, err := time.Parse(time.DateOnly, until)
	require.NoError(t, err)
	return Span{a.UnixMilli(), b.UnixMilli()}
}

// Every document is taken by one partition, whatever its date is.
func TestFiling(t *testing.T) {
	t.Parallel()
	spans := []Span{spanOf(t, "2023-01-01", "2023-02-01"), spanOf(t, "2023-02-01", "2023-03-01"), spanOf(t, "2023-01-01", "2024-01-01")}
	byDate := Op{Kind: OpRoute, By: "time.insert"}
	only := Op{Kind: OpRoute, By: "time.insert", When: &Condition{Field: "kind", Equals: "late"}}
	require.NoError(t, byDate.Validate())
	for _, row := range []struct {
		name, doc string
		ops       []Op
		want      int
	}{
		{"first millisecond", `{"time": {"insert": "2023-02-01T00:00:00Z"}}`, []Op{byDate}, 1},
		{"last millisecond", `{"time": {"insert": "2023-01-31T23:59:59.999999Z"}}`, []Op{byDate}, 0},
		{"its offset counts", `{"time": {"insert": "2023-02-01T00:30:00+01:00"}}`, []Op{byDate}, 0},
		{"milliseconds", `{"time": {"insert": 1675209600000}}`, []Op{byDate}, 1},
		{"a year, which is the last resort", `{"time": {"insert": "2023-11-05 10:00:00"}}`, []Op{byDate}, 2},
		{"of no partition", `{"time": {"insert": "2019-02-01"}}`, []Op{byDate}, 1},
		{"no date", `{"time": {"insert": "soon"}}`, []Op{byDate}, 1},
		{"null", `{"time": {"insert": null}}`, []Op{byDate}, 1},
		{"a list", `{"time": {"insert": ["2023-01-05"]}}`, []Op{byDate}, 1},
		{"in a list", `{"time": [{"insert": "2023-01-05"}]}`, []Op{byDate}, 1},
		{"missing", `{}`, []Op{byDate}, 1},
		{"the condition holds", `{"kind": "late", "time": {"insert": "2023-01-05"}}`, []Op{only}, 0},
		{"it does not", `{"kind": "x", "time": {"insert": "2023-01-05"}}`, []Op{only}, 1},
		{"the last one counts", `{"other": "2023-11-05", "time": {"insert": "2023-01-05"}}`, []Op{byDate, {Kind: OpRoute, By: "other"}}, 2},
		{"as the operations before left it", `{"at": "2023-01-05"}`, []Op{{Kind: OpMove, From: "at", To: "time.insert"}, byDate}, 0},
	} {
		var takers []int
		for here := range spans {
			doc, err := DecodeDoc(json.RawMessage(row.doc))
			require.NoError(t, err)
			err = (Transform{Ops: row.ops}).Into(Filing{Spans: spans, Own: 1, Here: here}).Apply(doc)
			if !errors.Is(err, ErrElsewhere) {
				require.NoError(t, err)
				takers = append(takers, here)
			}
		}
		require.Equal(t, []int{row.want}, takers, row.name)
	}
	// Without partitions it does nothing.
	require.NoError(t, Transform{Ops: []Op{byDate}}.Apply(map[string]any{"time": map[string]any{"insert": "2019-02-01"}}))
}

func TestRouteByDateIsChecked(t *testing.T) {
	t.Parallel()
	bundles := func(step string) map[string]string {
		out := map[string]string{"1.1/migration.yaml": "from: \"1.0\"\nto: \"1.1\"\nunchanged: [kept]\nnew: [fresh]\ngone: {old: no longer used}\nsteps:\n" + step}
		for _, name := range []string{"1.0/mappings/x-person.yaml", "1.1/mappings/x-person.yaml", "1.0/mappings/x-kept.yaml", "1.1/mappings/x-kept.yaml"} {
			out[name] = smallBundles[name] + "  at: {type: date}\n"
		}
		return out
	}
	head := "  person:\n    drops:\n      - {field: note, reason: nobody reads it}\n    transform:\n      - {op: remove, field: note}\n      - {op: wrap, field: mail, under: main}\n"
	c, err := Load(bundlesWith(bundles(head + "      - {op: route, by: at}\n")))
	require.NoError(t, err)
	r, err := c.Get("1.1")
	require.NoError(t, err)
	step := r.Migration.Steps["person"].Transform
	require.True(t, step.Dated())
	require.False(t, step.Routed(), "no other resource takes any")
	require.Equal(t, "at", step.FiledBy())
	for name, one := range map[string]struct{ step, problem string }{
		"no such field":   {head + "      - {op: route, by: when}\n", "the source has no field when"},
		"no date":         {head + "      - {op: route, by: id}\n", "routes by id, which is of type keyword and not a date"},
		"nobody knows":    {head + "      - {op: route, by: bag.at}\n", "which no mapping declares as a date"},
		"two of them":     {head + "      - {op: route, by: at}\n      - {op: route, by: at, when: {field: id, is: present}}\n", "a document has one partition"},
		"both":            {head + "      - {op: route, by: at, to: fresh}\n", "not both"},
		"neither":         {head + "      - {op: route, when: {field: id, is: present}}\n", "needs a resource (to), or the date"},
		"of one mode":     {head + "      - {op: route, by: at, mode: staging}\n", "cannot be of one mode"},
		"not partitioned": {strings.Replace(head+"  kept: {transform: [{op: route, by: at}]}\n", "unchanged: [kept]\n", "", 1), "kept is not partitioned"},
		"raw Painless":    {head + "      - {op: route, by: at}\n      - {op: painless, script: ctx._source.x = 1, reason: x}\n", "raw Painless"},
	} {
		files := bundles(one.step)
		if strings.Contains(one.step, "  kept:") {
			files["1.1/migration.yaml"] = strings.Replace(files["1.1/migration.yaml"], "unchanged: [kept]\n", "", 1)
		}
		_, err := Load(bundlesWith(files))
		require.ErrorContains(t, err, one.problem, name)
	}
}
