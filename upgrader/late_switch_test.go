package upgrader_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/upgrader"
)

// lateEngine does not answer the first call that moves aliases in time, and
// carries it out before the next change of the cluster's state: an engine with
// more to do than it can. Readers see the old state until then.
type lateEngine struct {
	upgrader.Engine
	mu      sync.Mutex
	late    bool
	pending []upgrader.AliasAction
}

func (e *lateEngine) UpdateAliases(ctx context.Context, a []upgrader.AliasAction) error {
	e.mu.Lock()
	if !e.late && len(a) > 10 {
		e.late, e.pending = true, a
		e.mu.Unlock()
		return &upgrader.EngineError{Op: "change aliases", Err: context.DeadlineExceeded}
	}
	e.mu.Unlock()
	return e.change(ctx, func() error { return e.Engine.UpdateAliases(ctx, a) })
}

func (e *lateEngine) change(ctx context.Context, do func() error) error {
	e.mu.Lock()
	pending := e.pending
	e.pending = nil
	e.mu.Unlock()
	if pending != nil {
		if err := e.Engine.UpdateAliases(ctx, pending); err != nil {
			return err
		}
	}
	return do()
}

func (e *lateEngine) BlockWrites(ctx context.Context, p ...string) (names []string, err error) {
	err = e.change(ctx, func() error { names, err = e.Engine.BlockWrites(ctx, p...); return err })
	return names, err
}

func (e *lateEngine) UnblockWrites(ctx context.Context, names ...string) error {
	return e.change(ctx, func() error { return e.Engine.UnblockWrites(ctx, names...) })
}

func (e *lateEngine) PutTemplate(ctx context.Context, t upgrader.Template) error {
	return e.change(ctx, func() error { return e.Engine.PutTemplate(ctx, t) })
}

func (e *lateEngine) DeleteTemplate(ctx context.Context, name string) error {
	return e.change(ctx, func() error { return e.Engine.DeleteTemplate(ctx, name) })
}

// TestSwitchCarriedOutLate must not take an unanswered switch for one that did
// not happen: behind it the new version is written to, and its proof is past.
func TestSwitchCarriedOutLate(t *testing.T) {
	long(t)
	t.Parallel()
	b := setup(t)
	tenant := b.tenant("0.8.1", 2)
	require.NoError(t, tenant.Fill(t.Context(), 300))
	writer := tenant.StartWriter(t.Context(), fleet.WriterConfig{Rate: 100})
	b.worker(&lateEngine{Engine: b.engine})

	r := b.ended(b.start("0.8.2", upgrader.Options{}, tenant).ID)

	require.Equal(t, upgrader.RolloutComplete, r.State, describe(r))
	require.Equal(t, 1, r.Tenants[0].FenceTries, "the switch of the first fence is the one")
	require.NoError(t, writer.Wait(t.Context(), func(s fleet.WriterStats) bool { return s.Release == "0.8.2" }))
	require.NoError(t, writer.Stop())
	b.judge(tenant, r, "0.8.2")
}
