package upgrader_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader"
)

// What the engine does not know refuses the plan, complete, by resource and in
// the engine's words, before anything is made.
func TestPlanAsksTheEngine(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.catalogue = b.catalogue.Restrict("session", "rule", "event")
	b.service = upgrader.NewService(b.store, b.engine, b.catalogue, nil)
	tenant := b.tenant("0.8.1", 1)
	plan := func() map[string]string {
		p, err := b.service.Plan(t.Context(), upgrader.Request{ToRelease: "0.8.2", Options: upgrader.Options{Tenants: []string{tenant.Name()}}})
		require.NoError(t, err)
		out := map[string]string{}
		for _, r := range p.Refusals {
			require.NotEmpty(t, r.Remedy)
			resource := ""
			for _, word := range strings.Fields(r.Message) {
				if slices.Contains([]string{"session", "rule", "event"}, word) {
					resource = word
				}
			}
			out[r.Code+" "+resource] = r.Message
		}
		return out
	}
	require.Empty(t, plan())

	to, err := b.catalogue.Get("0.8.2")
	require.NoError(t, err)
	to.Migration.Steps["session"] = releases.Step{From: "session", Transform: releases.Transform{Ops: []releases.Op{{Kind: releases.OpPainless, Script: "ctx._source.a = nowhere;"}}}}
	to.Digest = "other"
	for i := range to.Resources {
		r := &to.Resources[i]
		switch r.Key {
		case "rule":
			r.Mapping = maps.Clone(r.Mapping)
			r.Mapping["properties"] = map[string]any{"odd": map[string]any{"properties": map[string]any{"field": map[string]any{"type": "semantic_text"}}}}
		case "event":
			r.Settings = map[string]any{"number_of_shards": "1", "unheard": "of"}
		}
	}
	got := plan()
	require.Len(t, got, 3, got)
	require.Contains(t, got["script_refused session"], "nowhere")
	require.Contains(t, got["index_refused rule"], "semantic_text")
	require.Contains(t, got["index_refused rule"], "field")
	require.Contains(t, got["index_refused event"], "index.unheard")
	_, err = b.service.Start(t.Context(), upgrader.Request{ToRelease: "0.8.2", Options: upgrader.Options{Tenants: []string{tenant.Name()}}})
	var se *upgrader.ServiceError
	require.ErrorAs(t, err, &se)
	require.Equal(t, upgrader.ReasonRefused, se.Reason)
}
