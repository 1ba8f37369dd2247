package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func at(kind, tenant string, from, to int) span {
	return span{kind, tenant, noon.Add(time.Duration(from) * time.Second), noon.Add(time.Duration(to) * time.Second)}
}

func TestUnion(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spans []span
		want  time.Duration
	}{
		"nothing":     {nil, 0},
		"apart":       {[]span{at("", "", 5, 6), at("", "", 0, 2)}, 3 * time.Second},
		"overlapping": {[]span{at("", "", 0, 4), at("", "", 2, 6)}, 6 * time.Second},
		"inside":      {[]span{at("", "", 0, 9), at("", "", 2, 6)}, 9 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, union(c.spans))
		})
	}
}

// Calls belong to the step of their own tenant during which they were made.
func TestBreakdown(t *testing.T) {
	t.Parallel()
	m := newMeter([]string{"one", "two"})
	m.steps = []span{at("prepare", "one", 0, 10), at("copy", "two", 0, 10)}
	m.engine = []span{at("CreateIndex", "one", 1, 4), at("CreateIndex", "one", 2, 5), at("Bulk", "two", 0, 9), at("Stats", "one", 20, 21)}
	m.store = []span{at("pg SaveMoves", "one", 4, 7)}

	got := map[string]stepCost{}
	for _, s := range m.breakdown() {
		got[s.step] = s
	}
	require.Equal(t, 10*time.Second, got["prepare"].wall)
	require.Equal(t, 4*time.Second, got["prepare"].engine)
	require.Equal(t, 2*time.Second, got["prepare"].store)
	require.Equal(t, cost{"prepare", "CreateIndex", 2, 6 * time.Second, 3 * time.Second}, got["prepare"].ops[0])
	require.Equal(t, 9*time.Second, got["copy"].engine)
	require.Equal(t, "Stats", got[outside].ops[0].op)
}

func TestTenantOf(t *testing.T) {
	t.Parallel()
	m := newMeter([]string{"bench00", "bench01"})
	m.task("node:7", "08x.bench01.tracardi-event")
	require.Equal(t, "bench01", m.tenantOf("node:7"))
	require.Equal(t, "bench00", m.tenantOf("prod-08x.bench00.*"))
	require.Empty(t, m.tenantOf("elsewhere"))
}

func TestMedian(t *testing.T) {
	t.Parallel()
	require.Zero(t, median(nil))
	require.InDelta(t, 2.0, median([]float64{3, 1, 2}), 0)
	require.InDelta(t, 2.5, median([]float64{4, 1, 2, 3}), 0)
}
