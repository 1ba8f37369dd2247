package upgrader_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/upgrader"
)

// tardyEngine keeps the first call of a kind back and kills its worker: the
// call is on its way and arrives when somebody else has done the work.
type tardyEngine struct {
	upgrader.Engine
	kind string
	die  context.CancelFunc

	mu   sync.Mutex
	late func(context.Context) error
}

// errOnItsWay is what a worker hears of a call without an answer.
var errOnItsWay = &upgrader.EngineError{Op: "call", Err: errors.New("no answer")}

func (e *tardyEngine) pass(kind string, do func(context.Context) error) (kept bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.kind != kind || e.late != nil {
		return e.late != nil
	}
	e.late = do
	e.die()
	return true
}

func (e *tardyEngine) Bulk(ctx context.Context, ops []upgrader.BulkOp) (out []upgrader.BulkResult, err error) {
	if e.pass("bulk", func(ctx context.Context) error {
		res, err := e.Engine.Bulk(ctx, ops)
		for _, r := range res {
			if !r.OK {
				return errors.Join(err, errors.New(r.Reason))
			}
		}
		return err
	}) {
		return nil, errOnItsWay
	}
	return e.Engine.Bulk(ctx, ops)
}

func (e *tardyEngine) StartReindex(ctx context.Context, r upgrader.Reindex) (string, error) {
	if e.pass("reindex", func(ctx context.Context) error {
		id, err := e.Engine.StartReindex(ctx, r)
		for err == nil {
			var task upgrader.ReindexTask
			if task, err = e.Engine.ReindexTask(ctx, id); err == nil && task.Completed {
				switch {
				case len(task.Failures) > 0:
					return errors.New(task.Failures[0].Reason)
				case task.Err != "":
					return errors.New(task.Err)
				}
				return nil
			}
		}
		return err
	}) {
		return "", errOnItsWay
	}
	return e.Engine.StartReindex(ctx, r)
}

func (e *tardyEngine) UpdateAliases(ctx context.Context, actions []upgrader.AliasAction) error {
	kind := "aliases"
	for _, a := range actions {
		switch {
		case a.Drop:
			kind = "delete"
		case a.Remove && !strings.HasPrefix(a.Alias, "tms."):
			kind = "switch"
		}
	}
	if e.pass(kind, func(ctx context.Context) error { return e.Engine.UpdateAliases(ctx, actions) }) {
		return errOnItsWay
	}
	return e.Engine.UpdateAliases(ctx, actions)
}

// TestLateCallsAreRefused has calls of a dead worker arrive after another one
// has finished its tenant and writers have gone on.
func TestLateCallsAreRefused(t *testing.T) {
	long(t)
	t.Parallel()
	b := setup(t)
	for _, kind := range []string{"bulk", "reindex", "switch", "delete"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			tenant := b.tenant("0.8.1", 2)
			require.NoError(t, tenant.Fill(t.Context(), 150))
			wreck := "0820." + tenant.Name() + ".tracardi-rule" // must go first
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, b.url+"/"+wreck, nil)
			require.NoError(t, err)
			resp, err := http.DefaultClient.Do(req)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, http.StatusOK, resp.StatusCode)
			writer := tenant.StartWriter(t.Context(), fleet.WriterConfig{Rate: 100})
			r := b.start("0.8.2", upgrader.Options{}, tenant)
			limits := upgrader.Limits{LeaseTTL: 500 * time.Millisecond, StreamDocs: map[bool]int64{true: 20, false: 2000}[kind == "reindex"]}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			e := &tardyEngine{Engine: b.engine, kind: kind, die: cancel}
			for e.late == nil && ctx.Err() == nil {
				b.due(ctx, r.ID, tenant.Name())
				_ = upgrader.NewRunner(b.store, e, b.catalogue, "late", limits, b.log).Work(ctx, r.ID, tenant.Name())
			}
			require.NotNil(t, e.late, "it made no such call")

			next := upgrader.NewRunner(b.store, b.engine, b.catalogue, "next", limits, b.log)
			for {
				got, err := b.service.Get(t.Context(), r.ID)
				require.NoError(t, err)
				if got.State.Ended() {
					require.Equal(t, upgrader.RolloutComplete, got.State, describe(got))
					break
				}
				b.due(t.Context(), r.ID, tenant.Name())
				require.NoError(t, next.Work(t.Context(), r.ID, tenant.Name()))
			}
			require.NoError(t, writer.Wait(t.Context(), func(s fleet.WriterStats) bool { return s.Release == "0.8.2" }))
			from := writer.Stats()
			require.NoError(t, writer.Wait(t.Context(), func(s fleet.WriterStats) bool {
				return s.Updated > from.Updated+10 && s.Deleted > from.Deleted+4
			}))
			require.NoError(t, writer.Stop())
			require.Error(t, e.late(t.Context()), "the engine has carried it out")
			b.judge(tenant, r, "0.8.2")
			left, err := b.engine.Aliases(t.Context(), "tms."+r.ID+".*")
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}
