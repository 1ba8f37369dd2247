package releases

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func parsed(t require.TestingT, s string) map[string]any {
	if s == "" {
		return nil
	}
	d, err := DecodeDoc([]byte(s))
	require.NoError(t, err)
	return d
}

// One row per operation and what becomes of a document on its way back.
func TestBack(t *testing.T) {
	t.Parallel()
	mapping := map[string]any{"dynamic": "strict", "properties": map[string]any{
		"a": map[string]any{"type": "keyword"}, "b": map[string]any{"type": "keyword"}, "n": map[string]any{"type": "integer"},
		"o":   map[string]any{"properties": map[string]any{"x": map[string]any{"type": "keyword"}}},
		"aux": map[string]any{"type": "flattened"},
	}}
	ops := func(o ...Op) Transform { return Transform{Ops: o} }
	for _, c := range []struct {
		name           string
		t              Transform
		doc, old, want string
		lost           []string
	}{
		{"rename", ops(Op{Kind: OpRename, Field: "a", To: "z"}), `{"z":1}`, "", `{"a":1}`, nil},
		{"move, empty parents go", ops(Op{Kind: OpMove, From: "a", To: "new.deep.a"}), `{"b":"x","new":{"deep":{"a":"v"}}}`, "", `{"a":"v","b":"x"}`, nil},
		{"move into a free field stays where it was written", ops(Op{Kind: OpMove, From: "a", To: "aux.a"}), `{"aux":{"a":"v"}}`, "", `{"aux":{"a":"v"}}`, nil},
		{"move as the old document had it", ops(Op{Kind: OpMove, From: "a", To: "aux.a"}), `{"aux":{"a":"w"}}`, `{"a":"v"}`, `{"a":"w"}`, nil},
		{"copy that still equals", ops(Op{Kind: OpCopy, From: "a", To: "z"}), `{"a":"v","z":"v"}`, "", `{"a":"v"}`, nil},
		{"copy that was changed", ops(Op{Kind: OpCopy, From: "a", To: "z"}), `{"a":"v","z":"w"}`, "", `{"a":"v"}`, []string{"z"}},
		{"wrap", ops(Op{Kind: OpWrap, Field: "a", Under: []string{"main"}}), `{"a":{"main":"x"}}`, "", `{"a":"x"}`, nil},
		{"wrap under two names", ops(Op{Kind: OpWrap, Field: "a", Under: []string{"id", "name"}}), `{"a":{"id":"x","name":"x"}}`, "", `{"a":"x"}`, nil},
		{"wrap under two names that differ", ops(Op{Kind: OpWrap, Field: "a", Under: []string{"id", "name"}}), `{"a":{"id":"x","name":"y"}}`, "", `{"a":"x"}`, []string{"a.name"}},
		{"wrap with a value more", ops(Op{Kind: OpWrap, Field: "a", Under: []string{"main"}}), `{"a":{"main":"x","work":"y"}}`, "", `{"a":"x"}`, []string{"a.work"}},
		{"wrap with a null more", ops(Op{Kind: OpWrap, Field: "a", Under: []string{"main"}}), `{"a":{"main":"x","work":null}}`, "", `{"a":"x"}`, nil},
		{"wrap of nothing", ops(Op{Kind: OpWrap, Field: "a", Under: []string{"main"}}), `{"a":{"main":null}}`, "", `{}`, nil},
		{"convert", ops(Op{Kind: OpConvert, Field: "n", To: "string"}), `{"n":"7"}`, "", `{"n":7}`, nil},
		{"convert without a way back", ops(Op{Kind: OpConvert, Field: "n", To: "string"}), `{"n":"07"}`, "", `{"n":"07"}`, nil},
		{"map", ops(Op{Kind: OpMap, Field: "a", Values: map[string]any{"on": "yes", "off": "no"}}), `{"a":"yes"}`, "", `{"a":"on"}`, nil},
		{"map of two to one", ops(Op{Kind: OpMap, Field: "a", Values: map[string]any{"on": "yes", "1": "yes"}}), `{"a":"yes"}`, "", `{"a":"yes"}`, nil},
		{"map of two to one, as the old document had it", ops(Op{Kind: OpMap, Field: "a", Values: map[string]any{"on": "yes", "1": "yes"}}), `{"a":"yes"}`, `{"a":"on"}`, `{"a":"on"}`, nil},
		{"date", ops(Op{Kind: OpDate, Field: "a", To: DateDay}), `{"a":"2023-02-01"}`, `{"a":"2023-02-01T10:00:00Z"}`, `{"a":"2023-02-01T10:00:00Z"}`, nil},
		{"split", ops(Op{Kind: OpSplit, Field: "a", By: ","}), `{"a":["x","y"]}`, "", `{"a":"x,y"}`, nil},
		{"join", ops(Op{Kind: OpJoin, Field: "a", By: ","}), `{"a":"x,y"}`, "", `{"a":["x","y"]}`, nil},
		{"unwrap", ops(Op{Kind: OpUnwrap, Field: "o", Under: []string{"x"}}), `{"o":"v"}`, "", `{"o":{"x":"v"}}`, nil},
		{"raw Painless", ops(Op{Kind: OpPainless, Script: "ctx._source.a = 'x'"}), `{"a":"x"}`, "", `{"a":"x"}`, []string{"the document as a whole: raw Painless cannot be performed outside of the engine"}},
		{"set", ops(Op{Kind: OpSet, Field: "b", Value: "s"}), `{"b":"s"}`, `{"b":"was"}`, `{"b":"was"}`, nil},
		{"set and changed since", ops(Op{Kind: OpSet, Field: "b", Value: "s"}), `{"b":"t"}`, "", `{"b":"t"}`, []string{"b"}},
		{"default", ops(Op{Kind: OpDefault, Field: "b", Value: "s"}), `{"b":"s"}`, "", `{"b":"s"}`, nil},
		{"default that the old one lacked", ops(Op{Kind: OpDefault, Field: "b", Value: "s"}), `{"b":"s"}`, `{}`, `{"b":"s"}`, nil},
		{"remove, from the old document", ops(Op{Kind: OpRemove, Field: "a"}), `{"b":"w"}`, `{"a":"kept","b":"v"}`, `{"a":"kept","b":"w"}`, nil},
		{"remove, unknown before", ops(Op{Kind: OpRemove, Field: "a"}), `{"b":"w"}`, "", `{"b":"w"}`, nil},
		{"remove of what was written since", ops(Op{Kind: OpRemove, Field: "a"}), `{"a":"v"}`, "", `{"a":"v"}`, []string{"a"}},
		{"a field that the old release does not know", Transform{}, `{"a":"v","fresh":1,"o":{"x":"y","more":true}}`, "", `{"a":"v","o":{"x":"y"}}`, []string{"fresh", "o.more"}},
		{"an empty field that it does not know", Transform{}, `{"a":"v","fresh":{"deep":null}}`, "", `{"a":"v"}`, nil},
		{"drop", ops(Op{Kind: OpDropDocument, Reason: "old", When: &Condition{Field: "a", Is: IsPresent}}), `{"a":"v"}`, "", `{"a":"v"}`, []string{"the document as a whole: dropped by the transform: old"}},
	} {
		back, lost := c.t.Back(parsed(t, c.doc), parsed(t, c.old), mapping)
		raw, err := json.Marshal(back)
		require.NoError(t, err, c.name)
		require.JSONEq(t, c.want, string(raw), c.name)
		require.Equal(t, c.lost, lost, c.name)
	}
}

// Whatever a document looks like: led forth, changed or not, and back with and
// without the old one, it either comes forth the same again or says what does
// not; and a document that nobody changed comes back as it was.
func TestBackOfTheBuiltInSteps(t *testing.T) {
	t.Parallel()
	c, err := Builtin()
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		r, err := c.Get(rapid.SampledFrom([]string{"0.8.1", "0.8.2"}).Draw(t, "release"))
		require.NoError(t, err)
		from, err := c.Get(r.Previous)
		require.NoError(t, err)
		key := rapid.SampledFrom([]string{"profile", "event", "event-reshaping", "entity", "rule", "event-to-profile", "event-management", "session"}).Draw(t, "resource")
		step, ok := r.Migration.Steps[key]
		if !ok {
			return
		}
		res, _ := from.Resource(step.From)
		old := drawn(t, res.Mapping)
		forth := dup(old).(map[string]any)
		require.NoError(t, step.Transform.Apply(forth))

		back, lost := step.Transform.Back(forth, old, res.Mapping)
		require.Empty(t, lost, "%s of %s", key, r.Version)
		require.Empty(t, Lacking(old, back), "%s of %s:\n%s\n%s\n%s", key, r.Version, Canonical(nil, old), Canonical(nil, forth), Canonical(nil, back))

		back, lost = step.Transform.Back(forth, nil, res.Mapping)
		require.Empty(t, lost, "%s of %s:\n%s\n%s\n%s", key, r.Version, Canonical(nil, old), Canonical(nil, forth), Canonical(nil, back))
		again := dup(back).(map[string]any)
		require.NoError(t, step.Transform.Apply(again))
		require.Empty(t, Lacking(forth, again))
	})
}

// drawn is a document that fits a mapping.
func drawn(t *rapid.T, mapping map[string]any) map[string]any {
	doc := map[string]any{}
	for _, f := range fieldsOf(mapping, "") {
		if rapid.IntRange(0, 3).Draw(t, f) > 0 {
			continue
		}
		switch lookup(mapping, f) {
		case leaf:
			put(doc, names(f), rapid.SampledFrom([]any{nil, json.Number("1"), json.Number("2.5"), "", "text", []any{"a", "b"}, true}).Draw(t, "value"), false)
		case hash, free:
			put(doc, names(f), rapid.SampledFrom([]any{nil, map[string]any{}, map[string]any{"k": "v"}}).Draw(t, "object"), false)
		}
	}
	return doc
}
