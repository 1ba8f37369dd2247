package elastic

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Every name is in exactly one part, in order, and every part fits.
func TestChunks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOf(rapid.StringMatching(`[a-z]{1,255}`)).Draw(t, "names")
		parts := chunks(names)
		require.True(t, slices.Equal(names, slices.Concat(parts...)))
		for _, p := range parts {
			require.NotEmpty(t, p)
			require.LessOrEqual(t, len(strings.Join(p, ",")), maxNamesLength)
		}
	})
}

// No exact name means anything but itself to an engine.
func TestExactNames(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a", "08x.acme.tracardi-event-2023-2", "prod-0820.acme.x-2023-q1", "static-08x.acme.b", ".tasks"} {
		require.NoError(t, checkNames("test", good))
	}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.String().Draw(t, "name")
		if checkNames("test", name) == nil {
			require.False(t, strings.ContainsAny(name, "*?,/% \n") || name == "_all" || name[0] == '-')
			require.NoError(t, checkPatterns("test", name))
		}
	})
}

// Documents with line breaks become one line with the same content.
func TestOneLine(t *testing.T) {
	t.Parallel()
	plain := []byte(`{"a":"\n"}`)
	require.Equal(t, &plain[0], &oneLine(plain)[0], "not copied without need")
	require.JSONEq(t, `{"a":1.0}`, string(oneLine([]byte("{\n\"a\":\n1.0\n}"))))
	require.NotContains(t, string(oneLine([]byte("{\n\"a\":\n1.0\n}"))), "\n")
}
