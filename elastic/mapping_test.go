package elastic_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tracardi/tms/elastic"
	"github.com/tracardi/tms/upgrader"
)

func engine(flattened string) upgrader.EngineInfo {
	return upgrader.EngineInfo{Product: "opensearch", Version: "2.19.1", Flattened: flattened}
}

func TestTranslateMapping(t *testing.T) {
	t.Parallel()
	mapping := object(t, `{"dynamic":"strict","properties":{
		"a":{"type":"flattened","ignore_above":10},
		"o":{"properties":{"b":{"type":"flattened","depth_limit":3},"type":{"type":"keyword"}}},
		"n":{"type":"keyword","fields":{"f":{"type":"flattened"}}}},
		"dynamic_templates":[{"t":{"match":"x","mapping":{"type":"flattened"}}},{"u":{"mapping":{"type":"text"}}}]}`)
	before, err := json.Marshal(mapping)
	require.NoError(t, err)

	got, err := elastic.TranslateMapping(mapping, engine("flat_object"))
	require.NoError(t, err)
	require.Equal(t, object(t, `{"dynamic":"strict","properties":{
		"a":{"type":"flat_object"},
		"o":{"properties":{"b":{"type":"flat_object"},"type":{"type":"keyword"}}},
		"n":{"type":"keyword","fields":{"f":{"type":"flat_object"}}}},
		"dynamic_templates":[{"t":{"match":"x","mapping":{"type":"flat_object"}}},{"u":{"mapping":{"type":"text"}}}]}`), got)
	after, err := json.Marshal(mapping)
	require.NoError(t, err)
	require.JSONEq(t, string(before), string(after), "what was given is not changed")

	same, err := elastic.TranslateMapping(mapping, engine("flattened"))
	require.NoError(t, err)
	require.Equal(t, mapping, same)

	_, err = elastic.TranslateMapping(mapping, engine(""))
	require.EqualError(t, err, "opensearch 2.19.1 has no mapping type for flattened objects, which these fields need: "+
		"a, dynamic template t, n.f, o.b; use Elasticsearch 7.17 or later, or OpenSearch 2.7 or later")
	plain := object(t, `{"properties":{"a":{"type":"keyword"}}}`)
	got, err = elastic.TranslateMapping(plain, engine(""))
	require.NoError(t, err)
	require.Equal(t, plain, got)
}

// Translated there and back, a mapping is what it was but for the parameters
// of flattened fields; a second round changes nothing.
func TestTranslationIsStable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		mapping := fields(3).Draw(t, "mapping")
		info := engine("flat_object")
		there, err := elastic.TranslateMapping(mapping, info)
		require.NoError(t, err)
		back := elastic.CanonicalMapping(there, info)
		require.Equal(t, stripped(mapping), back)
		again, err := elastic.TranslateMapping(back, info)
		require.NoError(t, err)
		require.Equal(t, there, again)
	})
}

// fields draws an object mapping of some depth.
func fields(depth int) *rapid.Generator[map[string]any] {
	leaf := rapid.SampledFrom([]string{`{"type":"keyword","ignore_above":5}`, `{"type":"flattened"}`,
		`{"type":"flattened","null_value":"x"}`, `{"type":"date"}`})
	return rapid.Custom(func(t *rapid.T) map[string]any {
		props := map[string]any{}
		for _, name := range rapid.SliceOfDistinct(rapid.SampledFrom([]string{"a", "type", "properties", "fields", "x"}), rapid.ID).Draw(t, "names") {
			if depth > 0 && rapid.Bool().Draw(t, "deep") {
				props[name] = fields(depth-1).Draw(t, "object")
				continue
			}
			var m map[string]any
			require.NoError(t, json.Unmarshal([]byte(leaf.Draw(t, "leaf")), &m))
			props[name] = m
		}
		return map[string]any{"properties": props}
	})
}

func stripped(m map[string]any) map[string]any {
	props := map[string]any{}
	for name, f := range m["properties"].(map[string]any) {
		field := f.(map[string]any)
		switch {
		case field["properties"] != nil:
			props[name] = stripped(field)
		case field["type"] == "flattened":
			props[name] = map[string]any{"type": "flattened"}
		default:
			props[name] = field
		}
	}
	return map[string]any{"properties": props}
}
