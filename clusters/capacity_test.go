package clusters

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tracardi/tms/upgrader/capacity"
)

// alike are n tenants that need the same.
func alike(n, shards int, bytes int64) []Need {
	out := make([]Need, n)
	for i := range out {
		out[i] = Need{shards, bytes}
	}
	return out
}

// cluster is a usage of so many open shards of a limit.
func cluster(open, perNode, nodes int, needs ...Need) Usage {
	return Usage{
		Shards: capacity.Shards{Open: open, MaxPerNode: perNode, DataNodes: nodes, SettingsFrom: "default"},
		Needs:  needs, Tenants: len(needs), Bare: Need{Shards: 100},
	}
}

func TestAssess(t *testing.T) {
	t.Parallel()
	full := func(u Usage, used, limit int64) Usage {
		u.Disk = capacity.Disk{Total: limit, Used: used, Limit: limit, Watermark: "low"}
		return u
	}
	pending := func(u Usage, n int) Usage { u.Tenants, u.Pending = u.Tenants+n, n; return u }
	for name, c := range map[string]struct {
		usage           Usage
		wave            int
		fits, fitsWith  int
		upgrade         bool
		typical, bound  string
		advice, without string
	}{
		"empty": {
			usage: cluster(0, 1000, 1), wave: 4, fits: 10, fitsWith: 6, upgrade: true, bound: "shards", advice: "room for 6 more",
		},
		"empty, fewer fit than a wave takes": {
			usage: cluster(0, 500, 1), wave: 4, fits: 5, fitsWith: 2, upgrade: true, bound: "shards", advice: "room for 2 more: set cluster.max_shards_per_node to 900 or more (it is 500)",
		},
		"some": {
			usage: cluster(1000, 1000, 3, alike(10, 100, 5)...), wave: 4, fits: 20, fitsWith: 16, upgrade: true, bound: "shards", advice: "room for 16 more",
		},
		"the largest are in the wave": {
			usage: cluster(1000, 1000, 3, append(alike(9, 50, 5), Need{550, 5})...), wave: 2, fits: 40, fitsWith: 28, upgrade: true, bound: "shards", advice: "room for 28 more",
		},
		"tenants to come have their room": {
			usage: pending(cluster(1000, 1000, 3, alike(10, 100, 5)...), 6), wave: 4, fits: 14, fitsWith: 10, upgrade: true, bound: "shards", advice: "room for 10 more",
		},
		"fits, but not with a wave": {
			usage: cluster(2700, 1000, 3, alike(27, 100, 5)...), wave: 4, fits: 3, upgrade: false, bound: "shards",
			advice: "the next upgrade does not fit in waves of 4: take smaller waves, or set cluster.max_shards_per_node to 1034 or more (it is 1000)",
		},
		"a smaller wave fits": {
			usage: cluster(2700, 1000, 3, alike(27, 100, 5)...), wave: 3, fits: 3, upgrade: true, bound: "shards",
			advice: "with one more tenant the next upgrade no longer fits in waves of 3",
		},
		"full": {
			usage: cluster(2950, 1000, 3, alike(29, 100, 5)...), wave: 1, bound: "shards", advice: "no further tenant fits: set cluster.max_shards_per_node to 1050 or more",
		},
		"over the limit": {
			usage: cluster(3100, 1000, 3, alike(31, 100, 5)...), wave: 1, bound: "shards", advice: "no further tenant fits",
		},
		"disk runs out first": {
			usage: full(cluster(200, 1000, 3, alike(2, 100, 30)...), 60, 250), wave: 2, fits: 6, fitsWith: 4, upgrade: true, bound: "disk", advice: "room for 4 more: add data nodes", without: "max_shards_per_node",
		},
		"disk is full": {
			usage: full(cluster(200, 1000, 3, alike(2, 100, 30)...), 240, 250), wave: 2, bound: "disk", advice: "no further tenant fits: add data nodes", without: "max_shards_per_node",
		},
		"no data node": {usage: cluster(0, 1000, 0), wave: 4, upgrade: true, fits: unbounded, fitsWith: unbounded, bound: "shards", advice: "no data node"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := Assess("eu", c.usage, c.wave)
			require.Equal(t, c.fits, got.Fits, "fits")
			require.Equal(t, c.fitsWith, got.FitsDuringUpgrade, "fits with a wave")
			require.Equal(t, c.upgrade, got.UpgradeFits, "upgrade fits")
			require.Equal(t, c.bound, got.Bound)
			require.Contains(t, got.Advice, c.advice)
			if c.without != "" {
				require.NotContains(t, got.Advice, c.without)
			}
		})
	}
}

// What is said to fit fits, and one more does not: played through on a cluster
// of tenants that are all alike.
func TestAssessHoldsWhatItSays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		there, need := rapid.IntRange(0, 30).Draw(t, "tenants"), rapid.IntRange(1, 50).Draw(t, "need")
		wave, limit := rapid.IntRange(1, 12).Draw(t, "wave"), rapid.IntRange(1, 3000).Draw(t, "limit")
		u := cluster(there*need, limit, 1, alike(there, need, 0)...)
		u.Bare = Need{Shards: need}
		got := Assess("eu", u, wave)
		peak := func(more int) int { return (there + more + min(wave, there+more)) * need }
		if got.UpgradeFits != (peak(0) <= limit) {
			t.Fatalf("upgrade fits %v, but %d shards of %d are needed", got.UpgradeFits, peak(0), limit)
		}
		if n := got.FitsDuringUpgrade; n > 0 && peak(n) > limit || peak(0) <= limit && peak(n+1) <= limit {
			t.Fatalf("%d fit with a wave, but that takes %d and one more %d of %d", n, peak(n), peak(n+1), limit)
		}
		if n := got.Fits; n > 0 && (there+n)*need > limit || (there+n+1)*need <= limit {
			t.Fatalf("%d fit, with %d of %d shards open", n, there*need, limit)
		}
	})
}
