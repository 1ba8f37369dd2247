package upgrader_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader"
)

// What one feature leaves behind, met by another one.

// has are the ids of those documents that an index holds.
func (b *bundle) has(index string, ids ...string) (out []string) {
	b.t.Helper()
	got, err := b.engine.Get(b.t.Context(), index, ids)
	require.NoError(b.t, err)
	for id := range got {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// Documents that a redrive has brought into the new version are like any
// others on the way back: what was done to them there is done in the old one.
func TestRollbackAfterRedrive(t *testing.T) {
	t.Parallel()
	b := setup(t)
	broken := b.catalogueWith(releases.Op{Kind: releases.OpDropDocument, When: &releases.Condition{Field: "name", Equals: "old"}, Reason: "nobody reads it"})
	b.catalogue = b.catalogueWith()
	tenant := b.tenant("0.8.1", 1)
	source, target := "08x."+tenant.Name()+".tracardi-rule", "0820."+tenant.Name()+".tracardi-rule"
	var ops []upgrader.BulkOp
	for _, id := range []string{"deleted", "updated", "same", "left", "discarded"} {
		ops = append(ops, upgrader.BulkOp{Index: source, ID: id, Source: json.RawMessage(`{"id":"` + id + `","name":"old"}`)})
	}
	b.bulk(ops...)
	r := b.start("0.8.2", upgrader.Options{}, tenant)
	r = b.work(upgrader.NewRunner(b.store, b.engine, broken, "broken", upgrader.Limits{}, b.log), r.ID, tenant.Name())
	require.Equal(t, upgrader.TenantSwitched, r.Tenants[0].State, describe(r))

	mended := upgrader.NewRunner(b.store, b.engine, b.catalogue, "mended", upgrader.Limits{}, b.log)
	e := b.carryOut(mended, r.ID, tenant.Name(), upgrader.ErrandRedrive, upgrader.ErrandArgs{IDs: []string{"deleted", "updated", "same"}})
	require.Equal(t, map[upgrader.DocumentOutcome]int64{upgrader.OutcomeWritten: 3}, e.Report.Outcomes)
	n, err := b.service.DropQuarantine(t.Context(), upgrader.Discard{RolloutID: r.ID, IDs: []string{"discarded"}, Caller: "test"})
	require.NoError(t, err)
	require.Equal(t, 1, n)
	b.bulk(
		upgrader.BulkOp{Index: target, ID: "deleted", Delete: true},
		upgrader.BulkOp{Index: target, ID: "updated", Source: json.RawMessage(`{"id":"updated","name":"new"}`)})

	_, err = b.service.Rollback(t.Context(), upgrader.Command{RolloutID: r.ID, Caller: "test"})
	require.NoError(t, err)
	r = b.work(mended, r.ID, tenant.Name())
	require.Equal(t, upgrader.TenantRolledBack, r.Tenants[0].State, describe(r))
	require.Equal(t, []string{"discarded", "left", "same", "updated"}, b.has(source, "deleted", "updated", "same", "left", "discarded"))
	got, err := b.engine.Get(t.Context(), source, []string{"updated"})
	require.NoError(t, err)
	require.JSONEq(t, `{"id":"updated","name":"new"}`, string(got["updated"].Source))
}

// A rollout is not rolled back over a later one: what was written since then
// would stay behind. First the later one goes back, then it does.
func TestRollbackInOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.catalogue = b.catalogue.Restrict("rule", "session")
	b.service = upgrader.NewService(b.store, b.engine, b.catalogue, nil)
	tenant := b.tenant("0.8.0", 1)
	runner := upgrader.NewRunner(b.store, b.engine, b.catalogue, "worker", upgrader.Limits{}, b.log)
	first := b.work(runner, b.start("0.8.1", upgrader.Options{}, tenant).ID, tenant.Name())
	require.Equal(t, upgrader.RolloutComplete, first.State, describe(first))
	second := b.work(runner, b.start("0.8.2", upgrader.Options{}, tenant).ID, tenant.Name())
	require.Equal(t, upgrader.RolloutComplete, second.State, describe(second))
	written := json.RawMessage(`{"id":"late","name":"late"}`)
	b.bulk(upgrader.BulkOp{Index: "0820." + tenant.Name() + ".tracardi-rule", ID: "late", Source: written})

	_, err := b.service.Rollback(t.Context(), upgrader.Command{RolloutID: first.ID, Caller: "test"})
	var se *upgrader.ServiceError
	require.ErrorAs(t, err, &se)
	require.Equal(t, upgrader.ReasonWrongState, se.Reason)
	require.ErrorContains(t, err, tenant.Name()+" is on 0.8.2")

	// Nor when the registry was told otherwise: the aliases are asked as well.
	_, err = b.pool.Exec(t.Context(), `update tenants set release = '0.8.1' where id = $1`, tenant.Name())
	require.NoError(t, err)
	_, err = b.service.Rollback(t.Context(), upgrader.Command{RolloutID: first.ID, Caller: "test"})
	require.NoError(t, err)
	first = b.work(runner, first.ID, tenant.Name())
	require.Equal(t, upgrader.TenantSwitched, first.Tenants[0].State)
	require.Contains(t, first.Tenants[0].Reason, "roll that one back first")
	_, err = b.pool.Exec(t.Context(), `update tenants set release = '0.8.2' where id = $1`, tenant.Name())
	require.NoError(t, err)

	for _, r := range []*upgrader.Rollout{second, first} {
		_, err = b.service.Rollback(t.Context(), upgrader.Command{RolloutID: r.ID, Caller: "test"})
		require.NoError(t, err)
		r = b.work(runner, r.ID, tenant.Name())
		require.Equal(t, upgrader.TenantRolledBack, r.Tenants[0].State, describe(r))
	}
	require.Equal(t, "0.8.0", b.registered(tenant.Name()))
	require.Equal(t, []string{"late"}, b.has("080."+tenant.Name()+".tracardi-rule", "late"))
}

// The old index that bears the owner's key is deleted by hand. The rollout
// fails because of that, and can be cancelled all the same.
func TestCancelWithoutTheFirstSource(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.catalogue = b.catalogue.Restrict("rule", "session")
	b.service = upgrader.NewService(b.store, b.engine, b.catalogue, nil)
	tenant := b.tenant("0.8.1", 1)
	runner := upgrader.NewRunner(b.store, b.engine, b.catalogue, "worker", upgrader.Limits{}, b.log)
	r := b.start("0.8.2", upgrader.Options{HoldSwitch: true}, tenant)
	for r.Tenants[0].State != upgrader.TenantCompared {
		b.due(t.Context(), r.ID, tenant.Name())
		require.NoError(t, runner.Work(t.Context(), r.ID, tenant.Name()))
		var err error
		r, err = b.service.Get(t.Context(), r.ID)
		require.NoError(t, err)
	}
	require.NoError(t, b.engine.DeleteIndices(t.Context(), r.Tenants[0].Record.OldIndices[0]))
	r = b.work(runner, r.ID, tenant.Name())
	require.Equal(t, upgrader.TenantFailed, r.Tenants[0].State, describe(r))
	_, err := b.service.Cancel(t.Context(), upgrader.Command{RolloutID: r.ID})
	require.NoError(t, err)
	r = b.work(runner, r.ID, tenant.Name())
	require.Equal(t, upgrader.TenantCancelled, r.Tenants[0].State, describe(r))
	left, err := b.engine.Aliases(t.Context(), "tms."+r.ID+".*")
	require.NoError(t, err)
	require.Empty(t, left)
}

// Without all of the old version there is nothing to return to: nothing is
// fenced, and the tenant stays where it is.
func TestRollbackWithoutTheOldVersion(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.catalogue = b.catalogue.Restrict("rule", "session")
	b.service = upgrader.NewService(b.store, b.engine, b.catalogue, nil)
	tenant := b.tenant("0.8.1", 1)
	runner := upgrader.NewRunner(b.store, b.engine, b.catalogue, "worker", upgrader.Limits{}, b.log)
	r := b.work(runner, b.start("0.8.2", upgrader.Options{}, tenant).ID, tenant.Name())
	require.Equal(t, upgrader.RolloutComplete, r.State, describe(r))
	gone := r.Tenants[0].Record.OldIndices[1]
	require.NoError(t, b.engine.DeleteIndices(t.Context(), gone))
	_, err := b.service.Rollback(t.Context(), upgrader.Command{RolloutID: r.ID, Caller: "test"})
	require.NoError(t, err)
	r = b.work(runner, r.ID, tenant.Name())
	require.Equal(t, upgrader.TenantSwitched, r.Tenants[0].State, describe(r))
	require.Contains(t, r.Tenants[0].Reason, "index "+gone+" of the old version is gone")
	require.Zero(t, r.Tenants[0].Record.Return, "nothing was begun")
	require.Equal(t, "0.8.2", b.registered(tenant.Name()))
}

// Of twins in two partitions the newer one is dropped by a script that only
// the engine can run: it is no refused document, and the older one does not
// take its place.
func TestTwinDroppedByScript(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.catalogue = b.catalogue.Restrict("rule", "session")
	b.service = upgrader.NewService(b.store, b.engine, b.catalogue, nil)
	to, err := b.catalogue.Get("0.8.2")
	require.NoError(t, err)
	to.Migration.Steps["session"] = releases.Step{From: "session", Transform: releases.Transform{Ops: []releases.Op{
		{Kind: releases.OpPainless, Script: "if (ctx._source.app?.name == 'new') { ctx.op = 'noop'; }"},
	}}}
	tenant := b.tenant("0.8.1", 1)
	sessions := "08x." + tenant.Name() + ".tracardi-session-2023-"
	b.bulk(
		upgrader.BulkOp{Index: sessions + "1", ID: "twin", Source: json.RawMessage(`{"id":"twin","metadata":{"time":{"insert":"2023-01-01T00:00:00"}}}`)},
		upgrader.BulkOp{Index: sessions + "2", ID: "twin", Source: json.RawMessage(`{"id":"twin","app":{"name":"new"},"metadata":{"time":{"insert":"2023-02-01T00:00:00"}}}`)})
	r := b.work(upgrader.NewRunner(b.store, b.engine, b.catalogue, "worker", upgrader.Limits{}, b.log), b.start("0.8.2", upgrader.Options{AllowQuarantine: 1}, tenant).ID, tenant.Name())
	require.Equal(t, upgrader.TenantSwitched, r.Tenants[0].State, describe(r))
	require.Empty(t, b.has("0820."+tenant.Name()+".tracardi-session-2023-q1", "twin"))
	aside, err := b.service.Quarantine(t.Context(), upgrader.QuarantineFilter{RolloutID: r.ID})
	require.NoError(t, err)
	kinds := map[string]upgrader.QuarantineKind{}
	for _, d := range aside {
		kinds[d.Index] = d.Kind
	}
	require.Equal(t, map[string]upgrader.QuarantineKind{sessions + "1": upgrader.QuarantineDuplicate, sessions + "2": upgrader.QuarantineDropped}, kinds)
}
