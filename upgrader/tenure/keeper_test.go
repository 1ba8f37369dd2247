package tenure_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/upgrader/tenure"
)

var (
	errLost = errors.New("somebody else has it")
	errDown = errors.New("no answer")
)

// One row for each way of a lease: what is answered when it is extended, one
// after the other and the last one for ever, and when the work under it ends;
// 0 for not at all.
func TestKeep(t *testing.T) {
	t.Parallel()
	const ttl = 20 * time.Second // it is extended every 5 s
	for name, one := range map[string]struct {
		answers []error
		ends    time.Duration
	}{
		"it goes on":                      {[]error{nil}, 0},
		"somebody else has it":            {[]error{nil, errLost}, 10 * time.Second},
		"an outage that is over in time":  {[]error{nil, errDown, errDown, errDown, nil}, 0},
		"an outage for longer than it is": {[]error{nil, errDown}, 25 * time.Second}, // 5 s, and no 20 s since
		"it never was extended":           {[]error{errDown}, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began, n := time.Now(), 0
				k := tenure.Keep(t.Context(), tenure.Terms{Until: began.Add(ttl), TTL: ttl, Lost: errLost, Extend: func(context.Context) error {
					answer := one.answers[min(n, len(one.answers)-1)]
					n++
					return answer
				}})
				if one.ends == 0 {
					<-time.After(time.Hour)
					require.True(t, k.Held())
					require.NoError(t, k.Context().Err())
					k.Stop()
					require.ErrorIs(t, context.Cause(k.Context()), context.Canceled)
					return
				}
				<-k.Context().Done()
				require.Equal(t, one.ends, time.Since(began))
				require.ErrorIs(t, context.Cause(k.Context()), errLost)
				k.Stop()
			})
		})
	}
}

// Who wakes up late does not wait for the next answer to learn that the lease
// is not certainly held, and one call to extend it is bounded.
func TestHeldWithoutAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := tenure.Keep(t.Context(), tenure.Terms{Until: time.Now().Add(3 * time.Second), TTL: 20 * time.Second, Lost: errLost, Extend: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}})
		<-time.After(4 * time.Second)
		require.False(t, k.Held())
		require.NoError(t, k.Context().Err())
		require.ErrorIs(t, k.Forfeit(), errLost)
		require.ErrorIs(t, context.Cause(k.Context()), errLost)
		k.Stop()
	})
}
