package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// obeyed is how soon every process has to do what it is told.
const obeyed = 2 * time.Second

// copyTask is what the engine says of one of its copy tasks.
type copyTask struct {
	Description string            `json:"description"`
	Headers     map[string]string `json:"headers"`
	Status      struct {
		PerSecond float64           `json:"requests_per_second"` // -1 is unlimited
		Copied    int64             `json:"created"`
		Slices    []json.RawMessage `json:"slices"` // of a task that has been divided
	} `json:"status"`
}

// copies are the copy tasks of a rollout that run now, or their slices.
func (b *bundle) copies(rollout string) []copyTask {
	b.t.Helper()
	var body struct {
		Tasks []copyTask `json:"tasks"`
	}
	require.NoError(b.t, json.Unmarshal([]byte(b.must(http.MethodGet, "/_tasks?actions=*reindex&detailed&group_by=none", "")), &body))
	var out []copyTask
	for _, t := range body.Tasks {
		if strings.HasPrefix(t.Headers["X-Opaque-Id"], "tms:"+rollout+":") && len(t.Status.Slices) == 0 {
			out = append(out, t)
		}
	}
	// The engine lists them in no order.
	slices.SortFunc(out, func(a, b copyTask) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return out
}

// within waits for something that has to come true soon, and says how soon it
// did.
func (b *bundle) within(what string, limit time.Duration, holds func() bool) {
	b.t.Helper()
	started := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Since(started) > limit {
			b.t.Fatalf("%s: not within %s", what, limit)
		}
		<-tick.C
	}
	b.t.Logf("%s: after %s", what, time.Since(started).Round(10*time.Millisecond))
}

// done is tms, and must succeed.
func (b *bundle) done(args ...string) string {
	b.t.Helper()
	got := b.tms(args...)
	require.Zero(b.t, got.code, "tms %s: %s%s", strings.Join(args, " "), got.stdout, got.stderr)
	return got.stdout
}

// TestSteering tells two processes what to do in the middle of a rollout.
func TestSteering(t *testing.T) {
	t.Parallel()
	b := setup(t).seeded().serve(2)
	w := b.tenant("0.8.1", 1, 6000, "event", "profile").write(5)
	left := b.tenant("0.8.1", 1, 50, "profile")
	b.done("budget", "set", "--documents-per-second", "200", "--adapt=false")
	code, r := b.rollout("start", "--to", "0.8.2", "--max-tenants", "1", "--verify", "sample")
	require.Zero(t, code)
	id := r.GetId()
	pace := func(name string, want func(perSecond float64) bool) {
		t.Helper()
		b.within(name, obeyed, func() bool {
			all := b.copies(id)
			for _, c := range all {
				if !want(c.Status.PerSecond) {
					return false
				}
			}
			return len(all) > 0
		})
	}
	b.until(id, func(*tmsv1.Rollout) bool { return len(b.copies(id)) > 0 })
	pace("the budget holds", func(rate float64) bool { return rate > 0 && rate <= 200 })

	b.done("upgrade", "stop-all", "--reason", "the cluster burns")
	pace("copies rest", func(rate float64) bool { return rate > 0 && rate < 1 })
	shown := b.done("upgrade", "show", id)
	require.Contains(t, shown, "the cluster burns")
	require.Contains(t, b.done("budget", "show"), "the cluster burns")
	got := b.tms("upgrade", "start", "--to", "0.8.2")
	require.Equal(t, 3, got.code, got.stdout)
	b.servers[1].Kill() // and another process finds everything stopped
	b.serve(1)
	b.until(id, func(r *tmsv1.Rollout) bool { return inWork(r) == 0 })
	rest := fmt.Sprint(b.copies(id))
	b.done("upgrade", "stop-all", "--reason", "again")
	require.Contains(t, b.done("budget", "show"), "the cluster burns", "the first reason stays")
	require.Equal(t, rest, fmt.Sprint(b.copies(id)))

	b.done("upgrade", "resume-all")
	pace("copies go on", func(rate float64) bool { return rate > 1 })
	b.done("upgrade", "set", id, "--requests-per-second", "7")
	pace("the rollout's own pace", func(rate float64) bool { return rate > 0 && rate <= 7 })
	b.done("upgrade", "set", id, "--requests-per-second", "0", "--switch", "hold", "--concurrency", "2")
	b.done("budget", "set", "--reset", "--adapt=false")
	b.within("everything runs freely", 4*obeyed, func() bool {
		for _, c := range b.copies(id) {
			if c.Status.PerSecond > 0 {
				return false
			}
		}
		return true
	})

	got = b.tms("upgrade", "skip", id, "--tenant", left.Name(), "--reason", "moves next week")
	require.Zero(t, got.code, got.stderr)
	b.until(id, func(r *tmsv1.Rollout) bool {
		return stateOf(r, w.Name()) == "compared" && stateOf(r, left.Name()) == "cancelled"
	})
	code, r = b.rollout("switch", id, "--tenant", w.Name(), "--wait")
	require.Zero(t, code, describe(r))
	code, r = b.rollout("watch", id)
	require.Equal(t, "complete", r.GetState(), "%d %s", code, describe(r))
	w.writesOn("0.8.2")
	w.stop()
	w.judge("0.8.2", id)
	left.judge("0.8.1")
	trail := b.done("audit", "list")
	for _, action := range []string{"budget.set", "budget.stop_all", "budget.resume_all", "rollout.set", "rollout.skip", "rollout.switch"} {
		require.Contains(t, trail, action)
	}
}

// inWork counts the tenants that somebody works on.
func inWork(r *tmsv1.Rollout) (n int) {
	for _, t := range r.GetTenants() {
		if t.GetReason() == "" && !strings.Contains("switched done failed cancelled rolled_back", t.GetState()) {
			n++
		}
	}
	return n
}

func stateOf(r *tmsv1.Rollout, tenant string) string {
	for _, t := range r.GetTenants() {
		if t.GetTenantId() == tenant {
			return t.GetState()
		}
	}
	return ""
}
