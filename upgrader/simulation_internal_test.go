package upgrader

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader/capacity"
)

func needing(shards, frees int, docs int64) TenantPlan {
	return TenantPlan{
		FromRelease: "0.8.1", Path: []string{"0.8.1", "0.8.2"}, Moves: []PlannedMove{{}}, Shards: shards,
		Footprint: capacity.Footprint{Frees: frees, Docs: docs, Bytes: 10, FreesBytes: 8},
	}
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
