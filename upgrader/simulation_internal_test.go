package upgrader

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tracardi/tms/releases"
)

func needing(shards, frees int, docs int64) TenantPlan {
	return TenantPlan{
		FromRelease: "0.8.1", Path: []string{"0.8.1", "0.8.2"}, Moves: []Move{{}}, Shards: shards,
		Footprint: Footprint{Frees: frees, Docs: docs, Bytes: 10, FreesBytes: 8},
	}
}

// What fits, one row each: limit 1000.
func TestWaves(t *testing.T) {
	t.Parallel()
	for name, one := range map[string]struct {
		open    int
		tenants []TenantPlan
		largest int
		waves   int
	}{
		"all at once":                {100, []TenantPlan{needing(104, 88, 0), needing(104, 88, 0)}, 2, 1},
		"one after the other":        {800, []TenantPlan{needing(104, 104, 0), needing(104, 104, 0)}, 1, 2},
		"the new version is larger":  {880, []TenantPlan{needing(104, 88, 0), needing(104, 88, 0), needing(104, 88, 0)}, 1, 0},
		"not even one":               {900, []TenantPlan{needing(104, 88, 0)}, 0, 0},
		"the largest decides a wave": {500, []TenantPlan{needing(100, 100, 0), needing(450, 450, 0), needing(100, 100, 0)}, 1, 3},
		"nobody":                     {900, nil, 0, 0},
		"exactly the limit":          {896, []TenantPlan{needing(104, 88, 0)}, 1, 1},
	} {
		s := simulator{budget: ShardBudget{Open: one.open, MaxPerNode: 1000, DataNodes: 1}}
		require.Equal(t, one.largest, s.largestWave(one.tenants), name)
		require.Equal(t, one.waves, s.waves(one.tenants), name)
	}
}

// Any so many tenants fit at once, in whatever order they come.
func TestLargestWaveFits(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		needs := rapid.SliceOfN(rapid.IntRange(1, 200), 1, 20).Draw(t, "needs")
		s := simulator{budget: ShardBudget{Open: rapid.IntRange(0, 1000).Draw(t, "open"), MaxPerNode: 1000, DataNodes: 1}}
		var all []TenantPlan
		for _, n := range needs {
			all = append(all, needing(n, rapid.IntRange(0, n).Draw(t, "frees"), 0))
		}
		wave := s.largestWave(all)
		picked := rapid.Permutation(needs).Draw(t, "order")[:wave]
		sum := s.budget.Open
		for _, n := range picked {
			sum += n
		}
		require.LessOrEqual(t, sum, 1000, "%d of them", wave)
		if wave == len(all) {
			require.Equal(t, 1, s.waves(all))
		}
	})
}

func TestDuration(t *testing.T) {
	t.Parallel()
	tenants := []TenantPlan{needing(1, 1, 100), needing(1, 1, 100), needing(1, 1, 10_000)}
	s := simulator{}
	require.Zero(t, s.duration(tenants, 4), "nothing was measured")
	s.rate = CopyRate{Tenants: 5, Typical: 10 * time.Second, PerSecond: 100}
	require.Equal(t, 100*time.Second, s.duration(tenants, 4), "the longest decides")
	require.Equal(t, 120*time.Second, s.duration(tenants, 1), "one after the other")
}

// The calendar is looked at for the whole time in which the rollout may run.
func TestCalendar(t *testing.T) {
	t.Parallel()
	c, err := releases.Builtin()
	require.NoError(t, err)
	one := needing(104, 88, 0)
	day := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	require.Zero(t, calendarShards(c, one, day, day.Add(24*time.Hour)))
	month := calendarShards(c, one, day, day.AddDate(0, 0, 10))
	require.Positive(t, month, "0.8.1 has monthly partitions")
	require.Greater(t, calendarShards(c, one, day, day.AddDate(0, 2, 0)), month, "and 0.8.2 quarterly ones")
	one.Moves[0].Replicas = 1
	require.Equal(t, 2*month, calendarShards(c, one, day, day.AddDate(0, 0, 10)))
}
