package upgrader_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/stream"
)

// Documents that only the engine can make go the same ways as the others:
// copied at once, after a refusal, caught up with, and dropped. The proof says
// which were not looked into.
func TestRawPainless(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.catalogue = b.catalogue.Restrict("session", "rule")
	b.service = upgrader.NewService(b.store, b.engine, b.catalogue, nil)
	to, err := b.catalogue.Get("0.8.2")
	require.NoError(t, err)
	to.Migration.Steps["session"] = releases.Step{From: "session", Transform: releases.Transform{Ops: []releases.Op{
		{Kind: releases.OpPainless, Script: "if (ctx._source.id == 'drop') { ctx.op = 'noop'; } else { Map s = new HashMap(ctx._source); s.app = ['name': 'raw']; ctx._source = s; }"},
		{Kind: releases.OpSet, Field: "app.version", Value: "2", Mode: releases.InProduction},
	}}}
	to.Migration.Steps["rule"] = releases.Step{From: "rule", Transform: releases.Transform{Ops: []releases.Op{
		{Kind: releases.OpDropDocument, When: &releases.Condition{Field: "name", Equals: "old"}, Reason: "nobody reads it"},
	}}}
	tenant := b.tenant("0.8.1", 1)
	require.NoError(t, tenant.Fill(t.Context(), 300))
	var ops []upgrader.BulkOp
	for _, mode := range []string{"", "prod-"} {
		ops = append(ops,
			upgrader.BulkOp{Index: mode + "08x." + tenant.Name() + ".tracardi-session-2023-2", ID: "drop", Source: json.RawMessage(`{"id":"drop"}`)},
			upgrader.BulkOp{Index: mode + "08x." + tenant.Name() + ".tracardi-rule", ID: "old", Source: json.RawMessage(`{"id":"old","name":"old"}`)})
	}
	answers, err := b.engine.Bulk(t.Context(), ops)
	require.NoError(t, err)
	for _, a := range answers {
		require.True(t, a.OK, a.Reason)
	}
	b.worker(b.engine)
	writer := tenant.StartWriter(t.Context(), fleet.WriterConfig{Rate: 100, Bulk: 10})
	require.NoError(t, writer.Wait(t.Context(), func(s fleet.WriterStats) bool { return s.Acknowledged > 50 }))

	r := b.run("0.8.2", upgrader.Options{}, tenant)
	require.NoError(t, writer.Stop())

	require.Equal(t, []string{"session"}, r.Tenants[0].Proof.Unseen)
	aside, err := b.service.Quarantine(t.Context(), upgrader.QuarantineFilter{RolloutID: r.ID})
	require.NoError(t, err)
	require.Len(t, aside, len(ops))
	for _, d := range aside {
		require.Equal(t, upgrader.QuarantineDropped, d.Kind, d.Reason)
	}
	for mode, app := range map[string]string{"": `{"name":"raw"}`, "prod-": `{"name":"raw","version":"2"}`} {
		indices, err := b.engine.Stats(t.Context(), mode+"0820."+tenant.Name()+".tracardi-session-*")
		require.NoError(t, err)
		n := 0
		for name, st := range indices {
			for shard := range st.MaxSeqNo {
				top, moved := r.Tenants[0].Record.SeqNoAtSwitch[name][shard]
				if !moved {
					continue // what came after the switch has seen no script
				}
				docs, err := b.engine.Page(t.Context(), stream.PageRequest{Index: name, Shard: shard, From: -1, To: top, Size: 10000})
				require.NoError(t, err)
				for _, d := range docs {
					var s struct{ App json.RawMessage }
					require.NoError(t, json.Unmarshal(d.Source, &s))
					require.JSONEq(t, app, string(s.App), fmt.Sprint(d.Index, d.ID))
					n++
				}
			}
		}
		require.Positive(t, n)
	}
}
