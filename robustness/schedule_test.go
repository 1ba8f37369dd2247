package main

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestScheduleFollowsFromTheSeed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		seed, round := rapid.Uint64().Draw(t, "seed"), rapid.IntRange(1, 1000).Draw(t, "round")
		length := time.Duration(rapid.IntRange(0, 120).Draw(t, "seconds")) * time.Second
		faults := rapid.SliceOfDistinct(rapid.SampledFrom(faultNames()), rapid.ID).Draw(t, "faults")
		processes, nodes := rapid.IntRange(1, 8).Draw(t, "processes"), rapid.SampledFrom([]int{1, 3}).Draw(t, "nodes")
		strikes := schedule(seed, round, length, faults, processes, nodes)
		require.Equal(t, strikes, schedule(seed, round, length, faults, processes, nodes))
		until := map[string]time.Duration{}
		for i, k := range strikes {
			f := faultByName(k.Fault)
			require.Contains(t, faults, k.Fault)
			require.Less(t, k.At, length)
			require.True(t, k.For >= f.shortest && k.For <= f.longest, "%s", k)
			require.True(t, i == 0 || strikes[i-1].At <= k.At)
			require.GreaterOrEqual(t, k.At, until[f.thing(k.Target)], "%s hits what is still hit", k)
			until[f.thing(k.Target)] = k.At + k.For
			require.Less(t, k.Target, max(processes, nodes))
		}
	})
}

func TestEveryFaultComes(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for round := range 40 {
		for _, k := range schedule(7, round, time.Minute, faultNames(), 3, 3) {
			seen[k.Fault] = true
		}
	}
	for _, name := range faultNames() {
		require.True(t, seen[name], name)
	}
}

func TestFlags(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		args  []string
		wrong string // part of the refusal
		check func(options) bool
	}{
		{nil, "", func(o options) bool { return o.seed != 0 && len(o.faults) == len(catalogue) }},
		{[]string{"--faults", "kill, stop"}, "", func(o options) bool { return slices.Equal(o.faults, []string{"kill", "stop"}) }},
		{[]string{"--faults", "all,-watermark"}, "", func(o options) bool {
			return len(o.faults) == len(catalogue)-1 && !slices.Contains(o.faults, "watermark")
		}},
		{[]string{"--kills", "200"}, "", func(o options) bool { return slices.Equal(o.faults, []string{"kill"}) }},
		{[]string{"--seed", "5", "--nodes", "3"}, "", func(o options) bool { return o.seed == 5 && o.nodes == 3 }},
		{[]string{"--nodes", "2"}, "--nodes 2: take 1 or 3", nil},
		{[]string{"--faults", "fire"}, `"fire" is none; the faults are kill`, nil},
		{[]string{"--processes", "0"}, "--processes 0", nil},
		{[]string{"--round", "1ms"}, "--round 1ms", nil},
		{[]string{"now"}, "unexpected argument", nil},
	} {
		o, err := parse(row.args, t.Output())
		if row.wrong != "" {
			require.ErrorContains(t, err, row.wrong, "%v", row.args)
			continue
		}
		require.NoError(t, err, "%v", row.args)
		require.True(t, row.check(o), "%v: %+v", row.args, o)
	}
}
