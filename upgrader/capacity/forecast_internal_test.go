package capacity

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tracardi/tms/upgrader/estimate"
)

func moving(shards, frees int, docs int64) Moving {
	return Moving{Shards: shards, Footprint: Footprint{Frees: frees, Docs: docs, Bytes: 10, FreesBytes: 8}}
}

// What fits, one row each: limit 1000.
func TestWaves(t *testing.T) {
	t.Parallel()
	for name, one := range map[string]struct {
		open    int
		tenants []Moving
		largest int
		waves   int
	}{
		"all at once":                {100, []Moving{moving(104, 88, 0), moving(104, 88, 0)}, 2, 1},
		"one after the other":        {800, []Moving{moving(104, 104, 0), moving(104, 104, 0)}, 1, 2},
		"the new version is larger":  {880, []Moving{moving(104, 88, 0), moving(104, 88, 0), moving(104, 88, 0)}, 1, 0},
		"not even one":               {900, []Moving{moving(104, 88, 0)}, 0, 0},
		"the largest decides a wave": {500, []Moving{moving(100, 100, 0), moving(450, 450, 0), moving(100, 100, 0)}, 1, 3},
		"nobody":                     {900, nil, 0, 0},
		"exactly the limit":          {896, []Moving{moving(104, 88, 0)}, 1, 1},
	} {
		s := Situation{Shards: Shards{Open: one.open, MaxPerNode: 1000, DataNodes: 1}}
		require.Equal(t, one.largest, s.largestWave(one.tenants), name)
		require.Equal(t, one.waves, s.waves(one.tenants), name)
	}
}

// Any so many tenants fit at once, in whatever order they come.
func TestLargestWaveFits(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		needs := rapid.SliceOfN(rapid.IntRange(1, 200), 1, 20).Draw(t, "needs")
		s := Situation{Shards: Shards{Open: rapid.IntRange(0, 1000).Draw(t, "open"), MaxPerNode: 1000, DataNodes: 1}}
		var all []Moving
		for _, n := range needs {
			all = append(all, moving(n, rapid.IntRange(0, n).Draw(t, "frees"), 0))
		}
		wave := s.largestWave(all)
		picked := rapid.Permutation(needs).Draw(t, "order")[:wave]
		sum := s.Shards.Open
		for _, n := range picked {
			sum += n
		}
		require.LessOrEqual(t, sum, 1000, "%d of them", wave)
		if wave == len(all) {
			require.Equal(t, 1, s.waves(all))
		}
	})
}

// No rollout is quicker than the limits that are in force.
func TestDurationUnderLimits(t *testing.T) {
	t.Parallel()
	moving := []Moving{{Footprint: Footprint{Docs: 1000, Largest: 600}}, {Footprint: Footprint{Docs: 3000, Largest: 3000}}}
	rate := estimate.Rate{Tenants: 3, Typical: 10 * time.Second}
	for name, c := range map[string]struct {
		rate   estimate.Rate
		limits Limits
		atOnce int
		want   time.Duration
	}{
		"no limits":                   {rate, Limits{}, 2, 10 * time.Second},
		"limits that hinder nobody":   {rate, Limits{Cluster: 4000, Copy: 3000}, 2, 10 * time.Second},
		"the cluster's":               {rate, Limits{Cluster: 100}, 2, 40 * time.Second},
		"each copy's, side by side":   {rate, Limits{Copy: 30}, 2, 100 * time.Second},
		"each copy's, one by one":     {rate, Limits{Copy: 30}, 1, 120 * time.Second},
		"both":                        {rate, Limits{Cluster: 20, Copy: 30}, 2, 200 * time.Second},
		"nothing was measured before": {estimate.Rate{}, Limits{Cluster: 100, Copy: 30}, 2, 0},
	} {
		require.Equal(t, c.want, Situation{Rate: c.rate, Limits: c.limits}.duration(moving, c.atOnce), name)
	}
}
