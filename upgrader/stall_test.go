package upgrader_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/report"
)

// drowsyEngine has its first copy task sleep for days between two batches: it
// stands still as one does whose node is stuck, on a real engine.
type drowsyEngine struct {
	upgrader.Engine
	starts atomic.Int32
}

func (e *drowsyEngine) StartReindex(ctx context.Context, r upgrader.Reindex) (string, error) {
	if e.starts.Add(1) == 1 {
		r.RPS, r.Batch, r.Slices = 0.001, 100, 1
	}
	return e.Engine.StartReindex(ctx, r)
}

// A copy task that gets nowhere is cancelled and started again, and says so in
// progress and report.
func TestStalledCopyIsStartedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tenant := b.tenant("0.8.1", 1)
	require.NoError(t, tenant.Fill(t.Context(), 1200))
	engine := &drowsyEngine{Engine: b.engine}
	runner := upgrader.NewRunner(b.store, engine, b.catalogue, "worker", upgrader.Limits{StreamDocs: 150, Stall: time.Second, Poll: 50 * time.Millisecond}, b.log)
	q, err := db.NewQueue(b.db, b.store, runner, b.log)
	require.NoError(t, err)
	require.NoError(t, q.Start(t.Context()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(t, q.Stop(ctx))
	})
	b.service.WithProgress(b.store, 0)

	r := b.start("0.8.2", upgrader.Options{}, tenant)
	var seen *upgrader.Progress
	r = b.until(r.ID, func(r *upgrader.Rollout) bool {
		p, err := b.service.Progress(t.Context(), r.ID, false)
		require.NoError(t, err)
		if len(p.Tenants[0].Indices) > 0 {
			seen = p
		}
		return r.State.Ended()
	})
	require.Equal(t, upgrader.RolloutComplete, r.State, describe(r))
	require.Greater(t, engine.starts.Load(), int32(1))
	require.NotNil(t, seen, "copies are shown while they run")
	require.Positive(t, seen.Tenants[0].BytesTotal)
	note := strings.Join(r.Tenants[0].Record.Notes, "\n")
	require.Contains(t, note, "stood still for 1s at 100 of")
	full, err := b.service.Progress(t.Context(), r.ID, true)
	require.NoError(t, err)
	require.Positive(t, full.Tenants[0].Restarts) // an engine that others keep busy may stand still once more
	require.InDelta(t, 1, full.Fleet.Share, 0)
	require.Equal(t, full.Fleet.DocsTotal, full.Fleet.Docs)
	report, err := report.NewReporter(b.service, b.store).Report(t.Context(), r.ID)
	require.NoError(t, err)
	require.True(t, report.Final())
	require.Empty(t, report.Exceptions)
	require.Equal(t, "rollout.start", report.Commands[0].Action)
	var text strings.Builder
	require.NoError(t, report.Markdown(&text))
	require.Contains(t, text.String(), "stood still")
	b.judge(tenant, r, "0.8.2")

	// The next estimate learns from it.
	samples, err := b.store.Samples(t.Context(), upgrader.DefaultCluster, r.ID)
	require.NoError(t, err)
	require.Len(t, samples, 1)
	require.True(t, samples[0].Own)
	require.Equal(t, r.Tenants[0].DocsTotal, samples[0].Docs)
}
