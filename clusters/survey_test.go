package clusters

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader"
)

// What a tenant needs is what it has of the release that it is on, under
// whichever name; one that has nothing of it is still to come.
func TestNeeds(t *testing.T) {
	t.Parallel()
	catalogue, err := releases.Builtin()
	require.NoError(t, err)
	s := NewService(Config{Catalogue: catalogue})
	next, err := catalogue.Get("0.8.2")
	require.NoError(t, err)
	one := upgrader.IndexStats{Primaries: 1, Replicas: 1, Bytes: 10}
	stats := map[string]upgrader.IndexStats{
		"08x.acme.tracardi-event-2026-q1":                     one,
		"prod-08x.acme.tracardi-event-2026-q1":                one,
		"static-08x.acme.tracardi-bridge":                     {Primaries: 1, Bytes: 1},
		next.Prefix + ".acme.tracardi-event-2026-q1":          one, // of the next release, while a rollout runs
		"08x.stranger.tracardi-event-2026-q1":                 one,
		"074.4a7d1.tracardi-event-2026-1":                     {Primaries: 2, Bytes: 7},
		"something.else":                                      one,
		"08x.acmeandmore.tracardi-event-2026-q1":              one,
		next.Prefix + ".switched.tracardi-event-2026-q1":      {Primaries: 3, Bytes: 5},
		"08x.switched.tracardi-event-2026-q1":                 one,
		"prod-" + next.Prefix + ".switched.tracardi-rule":     {Primaries: 1, Bytes: 2},
		"static-" + next.Prefix + ".switched.tracardi-bridge": {Primaries: 1, Bytes: 1},
		"08x.acme2.tracardi-something-unheard-of":             {Primaries: 4},
	}
	needs, pending := s.needs([]Resident{
		{ID: "acme", Release: "0.8.1"}, {ID: "switched", Release: "0.8.2"}, {ID: "initech", Release: "0.7.4", AdoptedFrom: "074.4a7d1"},
		{ID: "acme2", Release: "0.8.1"}, {ID: "fresh", Release: "0.8.1"}, {ID: "odd", Release: "9.9.9"},
	}, stats)
	require.ElementsMatch(t, []Need{{Shards: 5, Bytes: 41}, {Shards: 5, Bytes: 8}, {Shards: 2, Bytes: 7}, {Shards: 4}}, needs)
	require.Equal(t, 2, pending, "fresh and odd")
}
