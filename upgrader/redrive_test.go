package upgrader_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader"
)

// catalogueWith is a fresh catalogue in which rules go through a transform.
func (b *bundle) catalogueWith(ops ...releases.Op) *releases.Catalogue {
	b.t.Helper()
	c := b.catalogue.Restrict("rule", "session")
	to, err := c.Get("0.8.2")
	require.NoError(b.t, err)
	to.Migration.Steps["rule"] = releases.Step{From: "rule", Transform: releases.Transform{Ops: ops}}
	return c
}

// work runs turns until the tenant has nothing to do.
func (b *bundle) work(r *upgrader.Runner, rollout, tenant string) *upgrader.Rollout {
	b.t.Helper()
	for {
		got, err := b.service.Get(b.t.Context(), rollout)
		require.NoError(b.t, err)
		if i := slices.IndexFunc(got.Tenants, func(x upgrader.RolloutTenant) bool { return x.TenantID == tenant }); !got.Tenants[i].Working() {
			return got
		}
		b.due(b.t.Context(), rollout, tenant)
		require.NoError(b.t, r.Work(b.t.Context(), rollout, tenant))
	}
}

// Documents that the transform left out get another chance once it is mended:
// written, unless the new version has a newer one.
func TestRedrive(t *testing.T) {
	t.Parallel()
	b := setup(t)
	broken := b.catalogueWith(releases.Op{Kind: releases.OpDropDocument, When: &releases.Condition{Field: "name", Equals: "old"}, Reason: "nobody reads it"})
	b.catalogue = b.catalogueWith()
	tenant := b.tenant("0.8.1", 1)
	require.NoError(t, tenant.Fill(t.Context(), 100))
	source, target := "08x."+tenant.Name()+".tracardi-rule", "0820."+tenant.Name()+".tracardi-rule"
	var ops []upgrader.BulkOp
	for _, id := range []string{"a", "b", "c", "d"} {
		ops = append(ops, upgrader.BulkOp{Index: source, ID: id, Source: json.RawMessage(`{"id":"` + id + `","name":"old"}`)})
	}
	b.bulk(ops...)

	// Too little room: the tenant fails, and says why.
	tight := upgrader.NewRunner(b.store, b.engine, broken, "tight", upgrader.Limits{QuarantineDocs: 3}, b.log)
	r := b.start("0.8.2", upgrader.Options{}, tenant)
	r = b.work(tight, r.ID, tenant.Name())
	require.Equal(t, upgrader.TenantFailed, r.Tenants[0].State)
	require.Contains(t, r.Tenants[0].Reason, "may keep 3")
	_, err := b.service.DropQuarantine(t.Context(), upgrader.Discard{RolloutID: r.ID, Caller: "test"})
	var se *upgrader.ServiceError
	require.ErrorAs(t, err, &se)
	require.Equal(t, upgrader.ReasonWrongState, se.Reason)
	_, err = b.service.Retry(t.Context(), upgrader.Command{RolloutID: r.ID})
	require.NoError(t, err)
	r = b.work(upgrader.NewRunner(b.store, b.engine, broken, "broken", upgrader.Limits{}, b.log), r.ID, tenant.Name())
	require.Equal(t, upgrader.TenantSwitched, r.Tenants[0].State, describe(r))
	require.Equal(t, 4, b.aside(r.ID, ""))

	// One document was written by the new version meanwhile.
	newer := `{"id":"b","name":"newer"}`
	b.bulk(upgrader.BulkOp{Index: target, ID: "b", Source: json.RawMessage(newer)})
	mended := upgrader.NewRunner(b.store, b.engine, b.catalogue, "mended", upgrader.Limits{}, b.log)
	e := b.carryOut(mended, r.ID, tenant.Name(), upgrader.ErrandRedrive, upgrader.ErrandArgs{IDs: []string{"a", "b"}})
	require.Equal(t, upgrader.ErrandDone, e.State, e.Reason)
	require.Equal(t, map[upgrader.DocumentOutcome]int64{upgrader.OutcomeWritten: 1, upgrader.OutcomeSuperseded: 1}, e.Report.Outcomes)
	require.Equal(t, upgrader.VerdictPartial, e.Report.Verdict)
	got, err := b.engine.Get(t.Context(), target, []string{"a", "b", "c"})
	require.NoError(t, err)
	require.Len(t, got, 2)
	require.JSONEq(t, newer, string(got["b"].Source))
	require.Equal(t, 3, b.aside(r.ID, ""), "what is written has left quarantine")

	// The proof was taken without them, and still holds.
	e = b.carryOut(mended, r.ID, tenant.Name(), upgrader.ErrandRecheck, upgrader.ErrandArgs{})
	require.Equal(t, upgrader.VerdictHolds, e.Report.Verdict, "%+v %s", e.Report, e.Reason)
	n, err := b.service.DropQuarantine(t.Context(), upgrader.Discard{RolloutID: r.ID, TenantID: tenant.Name(), IDs: []string{"b"}, Caller: "test"})
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, 2, b.aside(r.ID, ""))
	e = b.carryOut(mended, r.ID, tenant.Name(), upgrader.ErrandRedrive, upgrader.ErrandArgs{})
	require.Equal(t, map[upgrader.DocumentOutcome]int64{upgrader.OutcomeWritten: 2}, e.Report.Outcomes)
	require.Equal(t, upgrader.VerdictMended, e.Report.Verdict)
	require.Zero(t, b.aside(r.ID, ""))
	var audited int
	require.NoError(t, b.pool.QueryRow(t.Context(), `select count(*) from audit where action in ('rollout.quarantine.drop', 'rollout.redrive', 'rollout.recheck')`).Scan(&audited))
	require.GreaterOrEqual(t, audited, 4)
}

// aside counts the documents in quarantine.
func (b *bundle) aside(rollout, tenant string) int {
	b.t.Helper()
	docs, err := b.service.Quarantine(b.t.Context(), upgrader.QuarantineFilter{RolloutID: rollout, TenantID: tenant})
	require.NoError(b.t, err)
	for _, d := range docs {
		require.NotEmpty(b.t, d.Source)
	}
	return len(docs)
}

// carryOut begins an errand and lets one runner do it.
func (b *bundle) carryOut(runner *upgrader.Runner, rollout, tenant string, k upgrader.ErrandKind, args upgrader.ErrandArgs) *upgrader.Errand {
	b.t.Helper()
	begun, err := b.service.Begin(b.t.Context(), upgrader.ErrandRequest{RolloutID: rollout, Tenants: []string{tenant}, Kind: k, Args: args, Caller: "test"})
	require.NoError(b.t, err)
	again, err := b.service.Begin(b.t.Context(), upgrader.ErrandRequest{RolloutID: rollout, Tenants: []string{tenant}, Kind: k, Args: args, Caller: "test"})
	require.NoError(b.t, err)
	require.Equal(b.t, begun[0].ID, again[0].ID, "one that runs is answered with, not begun twice")
	b.work(runner, rollout, tenant)
	e, err := b.service.Errand(b.t.Context(), begun[0].ID)
	require.NoError(b.t, err)
	return e
}
