package estimate

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A duration that was stored in seconds comes back as it was.
func TestDurationsComeBack(t *testing.T) {
	t.Parallel()
	require.Equal(t, 526445376*time.Nanosecond, toDuration((526445376 * time.Nanosecond).Seconds()))
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(24*time.Hour)).Draw(t, "duration"))
		require.Equal(t, d, toDuration(d.Seconds()))
	})
}
