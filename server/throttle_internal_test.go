package server

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tracardi/tms/tenants"
)

// Many strangers push each other out of memory, but not who is seen again and
// again: whoever is over the limit stays over it.
func TestThrottleForgetsWhoWasSeenLongestAgo(t *testing.T) {
	t.Parallel()
	th := newThrottle(0.001) // nothing grows back within the test
	require.NoError(t, th.admit("busy", false))
	for i := range 3 * maxThrottled {
		_ = th.admit(fmt.Sprint("one of many ", i), false) // each is new
		if i%100 == 0 {
			err := th.admit("busy", false)
			require.True(t, tenants.HasReason(err, tenants.ReasonRateLimited), "forgotten after %d others", i)
		}
	}
	require.LessOrEqual(t, th.keys.Len(), maxThrottled)
}

// Calls at the same time of one key share one limit.
func TestThrottleHasOneLimiterForEachKey(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		th := newThrottle(0.001)
		n := rapid.IntRange(2, 16).Draw(r, "calls")
		results := make(chan error, n)
		for range n {
			go func() { results <- th.admit("key", false) }()
		}
		admitted := 0
		for range n {
			if <-results == nil {
				admitted++
			}
		}
		if admitted != 1 {
			r.Fatalf("%d of %d calls were admitted", admitted, n)
		}
	})
}
