package upgrader_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/upgrader"
)

// refusingEngine lets copy tasks of a source that have ended name a document
// that was refused, as happens when two teach a field at once.
type refusingEngine struct {
	upgrader.Engine
	source, id string
	times      int // that a task does so

	mu    sync.Mutex
	tasks []string // of the source, in the order of their start
}

func (e *refusingEngine) StartReindex(ctx context.Context, r upgrader.Reindex) (string, error) {
	id, err := e.Engine.StartReindex(ctx, r)
	if r.Source == e.source && err == nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.tasks = append(e.tasks, id)
	}
	return id, err
}

func (e *refusingEngine) ReindexTask(ctx context.Context, id string) (upgrader.ReindexTask, error) {
	t, err := e.Engine.ReindexTask(ctx, id)
	e.mu.Lock()
	defer e.mu.Unlock()
	if n := slices.Index(e.tasks, id); t.Completed && n >= 0 && n < e.times {
		t.Failures = []upgrader.DocFailure{{Index: e.source, ID: e.id, Type: "illegal_argument_exception", Reason: "mapper cannot be changed"}}
	}
	return t, err
}

// A copy task that documents refuse is started again as long as they are taken
// when they come by themselves; then it goes on document by document.
func TestRefusedInPassing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		id       string
		times    int
		tasks    int
		refusals int
	}{
		"once":                    {id: "7", times: 1, tasks: 2, refusals: 1},
		"each time":               {id: "7", times: 100, tasks: 4, refusals: 4},
		"a document that is gone": {id: "gone", times: 1, tasks: 1, refusals: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.catalogue = b.catalogue.Restrict("item")
			b.service = upgrader.NewService(b.store, b.engine, b.catalogue, nil)
			tenant := b.tenant("0.8.1", 1)
			source := "08x." + tenant.Name() + ".tracardi-item"
			var ops []upgrader.BulkOp
			for i := range 30 {
				ops = append(ops, upgrader.BulkOp{Index: source, ID: fmt.Sprint(i), Source: json.RawMessage(fmt.Sprintf(`{"id":"%d"}`, i))})
			}
			b.bulk(ops...)
			engine := &refusingEngine{Engine: b.engine, source: source, id: c.id, times: c.times}
			runner := upgrader.NewRunner(b.store, engine, b.catalogue, "worker", upgrader.Limits{StreamDocs: 5}, b.log)
			r := b.work(runner, b.start("0.8.2", upgrader.Options{Methods: map[string]upgrader.Method{"item": upgrader.MethodReindex}}, tenant).ID, tenant.Name())
			require.Equal(t, upgrader.TenantSwitched, r.Tenants[0].State, describe(r))
			require.Len(t, engine.tasks, c.tasks)
			moves, err := b.service.Moves(t.Context(), r.ID, tenant.Name())
			require.NoError(t, err)
			copied := moves[0].Copies[0]
			require.Equal(t, c.refusals, copied.Refusals)
			require.Equal(t, c.refusals == c.tasks, copied.Streamed != nil, "document by document")
			require.EqualValues(t, 30, copied.Copied)
			require.EqualValues(t, 30, r.Tenants[0].Proof.Documents)
			require.Zero(t, r.Tenants[0].Proof.Quarantined)
		})
	}
}
