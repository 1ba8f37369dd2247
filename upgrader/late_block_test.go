package upgrader_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/upgrader"
)

// reblockingEngine blocks what has just been opened once more, as the call of a
// former owner does that was held back.
type reblockingEngine struct {
	upgrader.Engine
	armed, done atomic.Bool
}

func (e *reblockingEngine) UnblockWrites(ctx context.Context, names ...string) error {
	err := e.Engine.UnblockWrites(ctx, names...)
	if err != nil || len(names) == 0 || !e.armed.Load() || !e.done.CompareAndSwap(false, true) {
		return err
	}
	_, err = e.Engine.BlockWrites(ctx, names...)
	return err
}

// TestLateBlock: a block that arrives late while writes are carried back ends a
// turn, not the rollback: the next turn opens the index again.
func TestLateBlock(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tenant := b.tenant("0.8.1", 1)
	require.NoError(t, tenant.Fill(t.Context(), 50))
	e := &reblockingEngine{Engine: b.engine}
	b.worker(e)
	r := b.run("0.8.2", upgrader.Options{}, tenant)
	writer := tenant.StartWriter(t.Context(), fleet.WriterConfig{Rate: 100, Bulk: 5})
	require.NoError(t, writer.Wait(t.Context(), func(s fleet.WriterStats) bool { return s.Inserted > 10 && s.Updated > 10 && s.Deleted > 3 }))
	require.NoError(t, writer.Stop())
	e.armed.Store(true)
	back := b.rolledBack(r.ID)
	require.True(t, e.done.Load())
	b.judge(tenant, back, "0.8.1")
}
