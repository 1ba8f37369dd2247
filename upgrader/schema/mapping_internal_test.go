package schema

import (
	"testing"

	"github.com/stretchr/testify/require"
)

type tree = map[string]any

func TestCompareMapping(t *testing.T) {
	t.Parallel()
	strict := func(props map[string]any) map[string]any {
		return map[string]any{"dynamic": "strict", "properties": props}
	}
	kw := map[string]any{"type": "keyword"}
	want := strict(map[string]any{"id": kw, "traits": map[string]any{"type": "object", "dynamic": "true"}, "n": map[string]any{"type": "keyword", "ignore_above": float64(64)}})
	same := strict(map[string]any{"id": kw, "traits": map[string]any{"dynamic": "true", "properties": map[string]any{"learned": kw}}, "n": map[string]any{"type": "keyword", "ignore_above": 64}})
	require.NoError(t, CompareMapping(want, same))
	for name, c := range map[string]struct {
		have  map[string]any
		names string
	}{
		"dynamic":     {map[string]any{"properties": same["properties"]}, "root: dynamic is missing"},
		"missing":     {strict(map[string]any{"id": kw}), "traits is missing"},
		"wrong type":  {strict(map[string]any{"id": map[string]any{"type": "text"}, "traits": same["properties"].(map[string]any)["traits"], "n": same["properties"].(map[string]any)["n"]}), "id: type is text, wanted keyword"},
		"extra field": {strict(map[string]any{"id": kw, "traits": same["properties"].(map[string]any)["traits"], "n": same["properties"].(map[string]any)["n"], "x": kw}), "x is not wanted"},
	} {
		require.ErrorContains(t, CompareMapping(want, c.have), c.names, name)
	}
}

// What a mapping can be given in place, one row each.
func TestAdditions(t *testing.T) {
	t.Parallel()
	keyword, text := tree{"type": "keyword"}, tree{"type": "text"}
	strict := func(props tree) tree { return tree{"dynamic": "strict", "properties": props} }
	for name, c := range map[string]struct {
		want, have         tree
		missing, conflicts []string
	}{
		"equal":                      {strict(tree{"a": keyword}), strict(tree{"a": keyword}), nil, nil},
		"a field":                    {strict(tree{"a": keyword, "b": keyword}), strict(tree{"a": keyword}), []string{"b"}, nil},
		"a field in an object":       {strict(tree{"a": tree{"properties": tree{"x": keyword}}}), strict(tree{"a": tree{"properties": tree{}}}), []string{"a.x"}, nil},
		"another type":               {strict(tree{"a": keyword}), strict(tree{"a": text}), nil, []string{"field a: type is text, wanted keyword"}},
		"another parameter":          {strict(tree{"a": tree{"type": "keyword", "ignore_above": 10}}), strict(tree{"a": keyword}), nil, []string{"field a: ignore_above is missing, wanted 10"}},
		"a parameter too many":       {strict(tree{"a": tree{"properties": tree{}}}), strict(tree{"a": tree{"enabled": false, "properties": tree{}}}), nil, []string{"field a: enabled is false, not wanted"}},
		"a field too many":           {strict(tree{"a": keyword}), strict(tree{"a": keyword, "z": keyword}), nil, nil},
		"a multi-field":              {strict(tree{"a": tree{"type": "text", "fields": tree{"k": keyword}}}), strict(tree{"a": text}), []string{"a.k"}, nil},
		"another multi-field":        {strict(tree{"a": tree{"type": "text", "fields": tree{"k": keyword}}}), strict(tree{"a": tree{"type": "text", "fields": tree{"k": text}}}), nil, []string{"field a.k: type is text, wanted keyword"}},
		"strict is to be":            {strict(tree{}), tree{"properties": tree{}}, []string{"root (dynamic: strict)"}, nil},
		"what documents have taught": {tree{"properties": tree{"t": tree{"dynamic": "true"}}}, tree{"properties": tree{"t": tree{"dynamic": "true", "properties": tree{"x": text}}}}, nil, nil},
	} {
		g := GapOf(c.want, c.have)
		require.Equal(t, c.missing, g.Missing, name)
		require.Equal(t, c.conflicts, g.Conflicts, name)
	}
}

// What may be added to a mapping after the documents: only what no document
// can hold.
func TestOnlyAdds(t *testing.T) {
	t.Parallel()
	obj := func(dynamic string, props ...string) map[string]any {
		p := map[string]any{}
		for _, name := range props {
			p[name] = map[string]any{"type": "keyword"}
		}
		return map[string]any{"dynamic": dynamic, "properties": p}
	}
	inner := func(m map[string]any) map[string]any {
		return map[string]any{"dynamic": "strict", "properties": map[string]any{"in": m}}
	}
	nulls := obj("strict", "a")
	nulls["properties"].(map[string]any)["b"] = map[string]any{"type": "keyword", "null_value": "none"}
	for name, c := range map[string]struct {
		want, have map[string]any
		says       string
	}{
		"equal":                  {obj("strict", "a"), obj("strict", "a"), ""},
		"one more":               {obj("strict", "a", "b"), obj("strict", "a"), ""},
		"one more further in":    {inner(obj("strict", "a", "b")), inner(obj("strict", "a")), ""},
		"a whole object":         {inner(obj("strict", "a")), obj("strict"), ""},
		"never seen by dynamic":  {obj("true", "a", "b"), obj("true", "a"), ""},
		"learned":                {obj("true", "a"), obj("true", "a", "learned"), ""},
		"perhaps there unseen":   {obj("false", "a", "b"), obj("false", "a"), "field b is added"},
		"one less":               {obj("strict", "a"), obj("strict", "a", "b"), "b is not wanted"},
		"another type":           {obj("strict", "a"), map[string]any{"dynamic": "strict", "properties": map[string]any{"a": map[string]any{"type": "text"}}}, "a: type is text"},
		"stricter":               {obj("strict", "a"), obj("true", "a"), "dynamic is true"},
		"nulls that are indexed": {nulls, obj("strict", "a"), "indexes nulls"},
	} {
		got := OnlyAdds(c.want, c.have)
		if c.says == "" {
			require.Empty(t, got, name)
			continue
		}
		require.Contains(t, got, c.says, name)
	}
}
