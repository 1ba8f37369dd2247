package schema

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/releases"
)

func TestWithLearned(t *testing.T) {
	t.Parallel()
	typ := func(name string) map[string]any { return map[string]any{"type": name} }
	object := func(props map[string]any) map[string]any { return map[string]any{"properties": props} }
	traits := func(props map[string]any) map[string]any {
		return map[string]any{"dynamic": "strict", "properties": map[string]any{
			"id": typ("keyword"), "traits": map[string]any{"type": "object", "dynamic": "true", "properties": props},
		}}
	}
	want := map[string]any{"dynamic": "strict", "properties": map[string]any{"id": typ("keyword"), "traits": map[string]any{"type": "object", "dynamic": "true"}}}
	a := traits(map[string]any{"age": typ("long"), "name": typ("text"), "home": object(map[string]any{"city": typ("text"), "zip": typ("long")})})
	b := traits(map[string]any{"age": typ("float"), "seen": typ("date"), "home": object(map[string]any{"zip": typ("long"), "door": typ("long")})})
	a["properties"].(map[string]any)["gone"] = typ("keyword") // strict: not learned

	require.Equal(t,
		traits(map[string]any{"name": typ("text"), "seen": typ("date"), "home": object(map[string]any{"city": typ("text"), "zip": typ("long"), "door": typ("long")})}),
		WithLearned(want, releases.Transform{}, []map[string]any{a, b}), "age is contradicted")
	require.Equal(t, map[string]any{"type": "object", "dynamic": "true"}, want["properties"].(map[string]any)["traits"], "the release's mapping is left alone")
	require.Equal(t, want, WithLearned(want, releases.Transform{}, nil))

	moved := releases.Transform{Ops: []releases.Op{{Kind: releases.OpMove, From: "traits.home.city", To: "traits.name"}}}
	require.Equal(t, traits(map[string]any{"age": typ("long")}), WithLearned(want, moved, []map[string]any{a}), "what a transform touches is left to the documents")
}
