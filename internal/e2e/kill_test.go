package e2e

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	// kills is how many processes have to die in TestKillNine.
	kills = 20
	// mostRollouts bounds the test when rollouts are quick.
	mostRollouts = 9
)

// TestKillNine has two processes share the work on tenants with the full
// layout while one after the other is killed at random moments. Nobody helps.
func TestKillNine(t *testing.T) {
	t.Logf("TMS_E2E_SEED=%d", seed)
	b := setup(t).serve(2)
	tenants := []*watched{
		b.tenant("0.8.1", 2, 600).write(10),
		b.tenant("0.8.1", 1, 200).write(10),
	}
	killer := newKiller(b)
	var aside []string
	release, last := "0.8.2", ""
	for n := 0; n < mostRollouts; n++ {
		killer.during(func() {
			if release == "0.8.2" {
				last = b.upgrade(release).GetId()
				aside = append(aside, last)
				return
			}
			code, r := b.rollout("rollback", last, "--wait")
			require.Zero(t, code, describe(r))
		})
		for _, w := range tenants {
			w.writesOn(release)
		}
		if release == "0.8.2" && killer.count.Load() >= kills {
			break
		}
		release = map[string]string{"0.8.1": "0.8.2", "0.8.2": "0.8.1"}[release]
	}
	for _, w := range tenants {
		w.stop()
		t.Log(w.judge(release, aside...))
	}
	require.GreaterOrEqual(t, killer.count.Load(), int64(kills), "too few processes were killed: the rollouts are too quick")
	t.Logf("%d processes killed", killer.count.Load())
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
		for failed == nil {
			victim := k.b.servers[k.rng.IntN(len(k.b.servers))]
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Duration(100+k.rng.IntN(1400)) * time.Millisecond):
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
