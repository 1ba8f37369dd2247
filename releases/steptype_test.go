package releases

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// One row per slip with values that a field of the target cannot hold, and the
// same without the slip.
func TestValuesMustFit(t *testing.T) {
	t.Parallel()
	head := "from: \"1.0\"\nto: \"1.1\"\nunchanged: [kept]\nnew: [fresh]\ngone: {old: no longer used}\nsteps:\n  person:\n    drops:\n      - {field: note, reason: x}\n    transform:\n" +
		"      - {op: wrap, field: mail, under: main}\n"
	bundles := func(ops ...string) map[string]string {
		files := map[string]string{"1.1/migration.yaml": head + "      - " + strings.Join(ops, "\n      - ") + "\n"}
		fields := "  on: {type: boolean}\n  n: {type: long}\n  at: {type: date}\n  day: {type: date, format: epoch_second}\n  ip: {type: ip}\n  soft: {type: long, ignore_malformed: true}\n"
		for _, v := range []string{"1.0", "1.1"} {
			files[v+"/mappings/x-person.yaml"] = smallBundles[v+"/mappings/x-person.yaml"] + fields
		}
		return files
	}
	gone, lost := "{op: remove, field: note}", "{op: remove, field: id}"
	for _, row := range []struct {
		name, problem string
		ops           []string
	}{
		{"a word where a boolean is", `1.1/migration.yaml:13: step person: on would hold "perhaps", and is of type boolean in the target`, []string{gone, `{op: set, field: on, value: perhaps}`}},
		{"a boolean", "", []string{gone, `{op: set, field: on, value: true}`}},
		{"a number where a boolean is", `on would hold 1,`, []string{gone, `{op: default, field: on, value: 1}`}},
		{"a boolean where a number is", `n would hold true,`, []string{gone, `{op: default, field: n, value: true}`}},
		{"a word in a list of numbers", `n would hold "x",`, []string{gone, `{op: set, field: n, value: [1, x]}`}},
		{"a word in a lenient field", "", []string{gone, `{op: set, field: soft, value: x}`}},
		{"no date", `at would hold "soon",`, []string{gone, `{op: set, field: at, value: soon}`}},
		{"a date", "", []string{gone, `{op: set, field: at, value: "2023-01-01T00:00:00Z"}`}},
		{"no address", `ip would hold "localhost",`, []string{gone, `{op: set, field: ip, value: localhost}`}},
		{"mapped to words", `on would hold "yes",`, []string{gone, `{op: map, field: on, values: {"true": "yes"}}`}},
		{"mapped and moved on", "", []string{gone, `{op: map, field: on, values: {"true": "yes"}}`, "{op: move, from: on, to: bag.on}"}},
		{"mapped and moved to where it does not fit", `n would hold "yes"`, []string{gone, `{op: map, field: on, values: {"true": "yes"}}`, "{op: move, from: on, to: n}"}},
		{"mapped", "", []string{gone, `{op: map, field: n, values: {"1": 2}}`}},
		{"moved text", `1.1/migration.yaml:12: step person: n would hold what is of type text, and is of type long in the target`, []string{"{op: move, from: note, to: n, onto: discard}"}},
		{"moved and converted", "", []string{"{op: move, from: note, to: n, onto: discard}", "{op: convert, field: n, to: integer}"}},
		{"moved and converted to something else", `n would hold what is of type half_float, and is of type long`, []string{"{op: move, from: note, to: n, onto: discard}", "{op: convert, field: n, to: float}"}},
		{"moved on to where it fits", "", []string{"{op: move, from: note, to: n, onto: discard}", "{op: move, from: n, to: bag.n}"}},
		{"dates with a space", `at would hold dates with a space`, []string{gone, "{op: date, field: at, to: datetime}"}},
		{"seconds", `at would hold seconds`, []string{gone, "{op: date, field: at, to: epoch_second}"}},
		{"seconds that the format reads", "", []string{gone, "{op: date, field: day, to: epoch_second}"}},
		{"words where numbers are", `n would hold what is of type keyword`, []string{gone, "{op: date, field: n, to: iso, from: epoch_millis}"}},
		{"a list of words", `n would hold what is of type keyword`, []string{gone, "{op: split, field: n, by: x}"}},
		{"sometimes", "", []string{gone, "{op: split, field: n, by: x, when: {field: n, is: string}}"}},
		{"a swap that is none", `line 12 has moved id to note`, []string{"{op: move, from: id, to: note}", "{op: move, from: note, to: id}", gone, lost}},
	} {
		_, err := Load(bundlesWith(bundles(row.ops...)))
		if row.problem == "" {
			require.NoError(t, err, row.name)
			continue
		}
		require.ErrorContains(t, err, row.problem, row.name)
	}
	misspelt := bundlesWith(map[string]string{"1.1/mappings/x-kept.yaml": "dynamic: strict\n_meta: {version: \"011\"}\nproperties:\n  id: {type: keywrod}\n"})
	_, err := Load(misspelt)
	require.ErrorContains(t, err, `1.1/mappings/x-kept.yaml:4: field id: no engine has the type "keywrod"; did you mean keyword?`)
	ofPlugin := bundlesWith(map[string]string{"1.1/mappings/x-kept.yaml": "dynamic: strict\n_meta: {version: \"011\"}\nproperties:\n  id: {type: keyword}\n  x: {type: com_example_thing}\n"})
	_, err = Load(ofPlugin)
	require.NoError(t, err, "the engine knows")
}
