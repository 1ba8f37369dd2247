package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	// kills is how many processes have to die in TestKillNine.
	kills = 20
	// killsPerRollout leaves a rollout the time to end.
	killsPerRollout = 10
	// mostRollouts bounds the test when rollouts are quick; odd, so that the
	// last one goes forth.
	mostRollouts = 9
)

// TestKillNine has two processes share the work on tenants with the full
// layout while one after the other is killed at random moments: forth, back,
// and forth again, until enough have died. Nobody helps.
func TestKillNine(t *testing.T) {
	t.Logf("TMS_E2E_SEED=%d", seed)
	b := setup(t).serve(2)
	tenants := []*watched{
		b.tenant("0.8.1", 2, 600).write(10),
		b.tenant("0.8.1", 1, 200).write(10),
	}
	killer := newKiller(b)
	var forth []string
	for n := 0; n < mostRollouts && (n < 3 || n%2 == 0 || killer.count.Load() < kills); n++ {
		release := "0.8.2"
		killer.during(func() {
			if n%2 == 0 {
				forth = append(forth, b.insist("start", "--to", release, "--wait", "--request-id", fmt.Sprint("forth-", n)))
				return
			}
			release = "0.8.1"
			b.insist("rollback", forth[len(forth)-1], "--wait")
		})
		for _, w := range tenants {
			w.writesOn(release)
		}
		t.Logf("rollout %d to %s: %d processes killed so far", n+1, release, killer.count.Load())
	}
	for _, w := range tenants {
		w.stop()
		t.Log(w.judge("0.8.2", forth...))
	}
	require.GreaterOrEqual(t, killer.count.Load(), int64(kills), "the rollouts are too quick for so many deaths")
}

// insist repeats a command that did not arrive, because the process it was
// sent to had just died, and returns the rollout's id. Both commands are
// idempotent; what they began goes on without them.
func (b *bundle) insist(args ...string) string {
	b.t.Helper()
	for {
		got := b.tms(append([]string{"upgrade"}, append(args, "-o", "json")...)...)
		if got.code == 1 && got.stdout == "" && strings.Contains(got.stderr, "cannot reach TMS") && b.ctx.Err() == nil {
			continue
		}
		require.Zero(b.t, got.code, "%v: %s%s", args, got.stdout, got.stderr)
		var r struct{ ID string }
		require.NoError(b.t, json.Unmarshal([]byte(got.stdout), &r), got.stdout)
		return r.ID
	}
}

// killer kills and restarts the processes of an installation, one at a time.
type killer struct {
	b     *bundle
	rng   *rand.Rand
	count atomic.Int64
}

func newKiller(b *bundle) *killer {
	return &killer{b: b, rng: rand.New(rand.NewPCG(seed, 9))}
}

// during works on while f runs; afterwards all processes run.
func (k *killer) during(f func()) {
	k.b.t.Helper()
	ctx, cancel := context.WithCancel(k.b.ctx)
	var working sync.WaitGroup
	var failed error
	working.Go(func() {
		for n := 0; n < killsPerRollout && failed == nil; n++ {
			victim := k.b.servers[k.rng.IntN(len(k.b.servers))]
			within := 1400
			if n == 0 {
				within = 300 // what is short is to meet one kill at least
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Duration(100+k.rng.IntN(within)) * time.Millisecond):
			}
			victim.Kill()
			k.count.Add(1)
			failed = victim.Start(k.b.ctx)
		}
	})
	defer func() {
		cancel()
		working.Wait()
		require.NoError(k.b.t, failed)
	}()
	f()
}
