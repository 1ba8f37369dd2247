package upgrader

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What an alias call did is told by what readers see, whatever somebody has
// changed by hand since.
func TestCarriedOut(t *testing.T) {
	t.Parallel()
	const old1, old2, new1, new2 = "08x.acme.tracardi-event-2026-1", "08x.acme.tracardi-rule", "0820.acme.tracardi-event-2026-1", "0820.acme.tracardi-rule"
	const stat1, stat2 = "static-08x.acme.tracardi-bridge", "static-0820.acme.tracardi-bridge"
	event, rule, bridge := "acme.tracardi-event", "acme.tracardi-rule", "static-acme.tracardi-bridge"
	before := map[string][]string{event: {old1}, rule: {old2}, bridge: {stat1}}
	after := map[string][]string{event: {new1}, rule: {new2}, bridge: {stat1, stat2}}
	for name, c := range map[string]struct {
		before, after, now map[string][]string
		want               bool
	}{
		"not":                                 {before, after, before, false},
		"all of it":                           {before, after, after, true},
		"and an old static index was deleted": {before, after, map[string][]string{event: {new1}, rule: {new2}, bridge: {stat2}}, true},
		"and a target was taken out of its alias":    {before, after, map[string][]string{event: {new1}, bridge: {stat1, stat2}}, true},
		"and all targets were":                       {before, after, map[string][]string{bridge: {stat1}}, true},
		"and an old index was put back":              {before, after, map[string][]string{event: {new1, old1}, rule: {new2}}, true},
		"not, and an installer moved the static":     {before, after, map[string][]string{event: {old1}, rule: {old2}, bridge: {stat1, stat2}}, false},
		"not, and an old index was deleted":          {before, after, map[string][]string{rule: {old2}, bridge: {stat1}}, false},
		"not, where nothing is to be taken away":     {map[string][]string{}, map[string][]string{event: {new1}}, map[string][]string{}, false},
		"where nothing is to be taken away":          {map[string][]string{}, map[string][]string{event: {new1}}, map[string][]string{event: {new1}}, true},
		"not, where all is static":                   {map[string][]string{bridge: {stat1}}, map[string][]string{bridge: {stat1, stat2}}, map[string][]string{bridge: {stat1}}, false},
		"where all is static":                        {map[string][]string{bridge: {stat1}}, map[string][]string{bridge: {stat1, stat2}}, map[string][]string{bridge: {stat1, stat2}}, true},
		"where nothing was asked for":                {before, before, before, true},
		"what others have under the alias is theirs": {before, after, map[string][]string{event: {old1, "08x.acme.tracardi-event-2026-2"}, rule: {old2}}, false},
	} {
		require.Equal(t, c.want, carriedOut(aliasActions(c.before, c.after), c.now), name)
	}
}
