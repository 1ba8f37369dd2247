package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestStorm is a run of three minutes, calm times included, on servers of its
// own. What takes the engine ten seconds to notice is left to longer
// runs (make robustness).
func TestStorm(t *testing.T) {
	if testing.Short() { // `make test` runs everything without -short; that is for the race detector
		t.Skip("minutes of faults")
	}
	t.Parallel()
	opts, err := parse([]string{"--seed", "11", "--tenants", "2", "--docs", "500", "--length", "100s", "--round", "25s", "--faults", "all,-watermark"}, t.Output())
	require.NoError(t, err)
	ctx := t.Context()
	report, err := run(ctx, opts, newJournal(t.Output()))
	t.Log(report)
	require.NoError(t, err)
	require.Empty(t, report.Findings)
	require.Empty(t, report.Troubles)
	require.Positive(t, report.Judged)
	require.Positive(t, report.Documents)
	require.Less(t, report.Length, 10*time.Minute)
}
