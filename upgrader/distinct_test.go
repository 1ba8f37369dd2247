package upgrader_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/stream"
)

// idReader counts how often somebody reads the ids of an index.
type idReader struct {
	upgrader.Engine
	pages atomic.Int64
}

func (e *idReader) Page(ctx context.Context, p stream.PageRequest) ([]stream.Doc, error) {
	if p.IDsOnly {
		e.pages.Add(1)
	}
	return e.Engine.Page(ctx, p)
}

// The ids of sources that the engine merges are read only when the target does
// not show that they are all different.
func TestIDsAreReadForTwinsOnly(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		second string // id of a document of February, next to "0" to "29" of January
		aside  []string
	}{
		"all different": {second: "30"},
		"a twin":        {second: "7", aside: []string{"7"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.catalogue = b.catalogue.Restrict("rule", "session")
			b.service = upgrader.NewService(b.store, b.engine, b.catalogue, nil)
			tenant := b.tenant("0.8.1", 1)
			sessions := "08x." + tenant.Name() + ".tracardi-session-2023-"
			write := func(month int, id string) upgrader.BulkOp {
				return upgrader.BulkOp{Index: fmt.Sprintf("%s%d", sessions, month), ID: id, Source: json.RawMessage(`{"id":"` + id + `"}`)}
			}
			var ops []upgrader.BulkOp
			for i := range 30 {
				ops = append(ops, write(1, fmt.Sprint(i)), write(2, fmt.Sprint(100+i)))
			}
			b.bulk(append(ops, write(2, c.second))...)
			engine := &idReader{Engine: b.engine}
			runner := upgrader.NewRunner(b.store, engine, b.catalogue, "worker", upgrader.Limits{StreamDocs: 5}, b.log)
			r := b.work(runner, b.start("0.8.2", upgrader.Options{AllowQuarantine: 1}, tenant).ID, tenant.Name())
			require.Equal(t, upgrader.TenantSwitched, r.Tenants[0].State, describe(r))
			require.Equal(t, len(c.aside) > 0, engine.pages.Load() > 0, "%d pages of ids", engine.pages.Load())
			aside, err := b.service.Quarantine(t.Context(), upgrader.QuarantineFilter{RolloutID: r.ID})
			require.NoError(t, err)
			var ids []string
			for _, d := range aside {
				require.Equal(t, upgrader.QuarantineDuplicate, d.Kind)
				ids = append(ids, d.ID)
			}
			require.Equal(t, c.aside, ids)
			require.EqualValues(t, 61-len(c.aside), r.Tenants[0].Proof.Documents)
		})
	}
}
