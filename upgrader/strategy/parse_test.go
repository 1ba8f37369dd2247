package strategy

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	t.Parallel()
	s, err := Parse([]byte("canary: 2\nwaves: [10%, {label: tier=pro, failure_budget: {tolerate: 5%, then: stop}}]\nbetween:\n  soak: 30m\n  checks:\n  - query: {alias: tracardi-event, at_least: 1, match: {term: {a: b}}}\n"))
	require.NoError(t, err)
	require.Equal(t, "2", s.Canary.Size)
	require.Equal(t, "10%", s.Waves[0].Size)
	require.Equal(t, ThenStop, s.Waves[1].FailureBudget.Then)
	raw, err := s.JSON()
	require.NoError(t, err)
	again, err := Parse(raw)
	require.NoError(t, err)
	require.Equal(t, s, again, "what an API sends is what a file says")
	for text, want := range map[string]string{
		"":                         "empty",
		"canary: 2\nwave: [1]\n":   `line 2: unknown key "wave"`,
		"\n\ncanary:\n  sise: 1\n": `line 4: unknown key "sise"`,
		"waves:\n- 5\n- many\n":    `line 3: waves[1].size: "many" is no size`,
		"waves: 7\n":               "line 1:",
		"between:\n  soak: soon\n": `line 2: between.soak: "soon" is no time span`,
		"windows:\n- from: '25:00'\n  to: '26:00'\n": `line 2: windows[0]: from "25:00" is no time of day`,
		"order: random\n":                               `line 1: order: "random" is unknown`,
		"canary: {size: 1, label: a=b}\n":               "give exactly one of size, label and tenants",
		"between:\n  checks:\n  - query: {alias: x}\n":  "line 3: between.checks[0].query: give at_least, at_most, or both",
		"canary: 1\nbetween:\n  without_snapshot: true": "line 3: between.without_snapshot: it waives what finalize asks for",
		"between:\n  finalize: true\n":                  "line 2: between.finalize: there is but one wave",
		"canary: 1\nfinalize_after: 7\n":                `line 2: finalize_after: "7" is no time span`,
		"canary: 1\nfinalize_after: 1s\n":               `line 2: finalize_after: "1s" is no time span from 1m0s to 400d`,
		"failure_budget:\n  then: explode":              `line 2: failure_budget.then: "explode" is unknown`,
	} {
		_, err := Parse([]byte(text))
		require.ErrorContains(t, err, want, text)
	}
}
