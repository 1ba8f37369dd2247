package upgrader_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/naming"
	"github.com/tracardi/tms/upgrader/stream"
)

// errand starts an errand and waits for its end.
func (b *bundle) errand(rollout, tenant string, k upgrader.ErrandKind, args upgrader.ErrandArgs) *upgrader.Errand {
	b.t.Helper()
	begun, err := b.service.Begin(b.t.Context(), upgrader.ErrandRequest{RolloutID: rollout, Tenants: []string{tenant}, Kind: k, Args: args, Caller: "test"})
	require.NoError(b.t, err)
	require.Len(b.t, begun, 1)
	var e *upgrader.Errand
	b.until(rollout, func(*upgrader.Rollout) bool {
		e, err = b.service.Errand(b.t.Context(), begun[0].ID)
		require.NoError(b.t, err)
		return e.State != upgrader.ErrandRunning
	})
	return e
}

// target is the index of the new version that has the most documents of a
// resource.
func (b *bundle) target(r *upgrader.Rollout, tenant, resource string) (index string, docs []stream.Doc) {
	b.t.Helper()
	moves, err := b.service.Moves(b.t.Context(), r.ID, tenant)
	require.NoError(b.t, err)
	for _, m := range moves {
		if m.Resource != resource || m.Mode != naming.Production {
			continue
		}
		require.NoError(b.t, b.engine.Refresh(b.t.Context(), m.Target))
		page, err := b.engine.Page(b.t.Context(), stream.PageRequest{Index: m.Target, From: -1, To: 1 << 40, Size: 1000})
		require.NoError(b.t, err)
		if len(page) > len(docs) {
			index, docs = m.Target, page
		}
	}
	require.Greater(b.t, len(docs), 5)
	return index, docs
}

func (b *bundle) bulk(ops ...upgrader.BulkOp) {
	b.t.Helper()
	results, err := b.engine.Bulk(b.t.Context(), ops)
	require.NoError(b.t, err)
	for i, r := range results {
		require.True(b.t, r.OK, "%d: %+v", i, r)
	}
	names := map[string]bool{}
	for _, op := range ops {
		names[op.Index] = true
	}
	for n := range names {
		require.NoError(b.t, b.engine.Refresh(b.t.Context(), n))
	}
}

// altered is a document with another value in a field that has one.
func altered(t *testing.T, d stream.Doc, field string) json.RawMessage {
	t.Helper()
	doc, err := releases.DecodeDoc(d.Source)
	require.NoError(t, err)
	doc[field] = "altered"
	raw, err := releases.EncodeDoc(doc)
	require.NoError(t, err)
	return raw
}

// A copy that is damaged where the level of verification cannot see it is
// found by a recheck, and mended by a repair without touching what the new
// version has written since.
func TestRecheckFindsWhatCountsCannot(t *testing.T) {
	long(t)
	t.Parallel()
	b := setup(t)
	tenant := b.tenant("0.8.1", 1)
	require.NoError(t, tenant.Fill(t.Context(), 300))
	b.worker(b.engine)
	r := b.start("0.8.2", upgrader.Options{HoldSwitch: true, Verify: upgrader.VerifyCount}, tenant)
	b.until(r.ID, func(r *upgrader.Rollout) bool {
		return r.Tenants[0].State == upgrader.TenantCompared && r.Tenants[0].Reason != ""
	})
	// One document lost, one altered, one too many: the counts agree.
	index, docs := b.target(r, tenant.Name(), "event")
	lost, wrong, touched := docs[0], docs[1], docs[2]
	b.bulk(upgrader.BulkOp{Index: index, ID: lost.ID, Delete: true},
		upgrader.BulkOp{Index: index, ID: wrong.ID, Source: altered(t, wrong, "name")},
		upgrader.BulkOp{Index: index, ID: touched.ID, Source: altered(t, touched, "name")},
		upgrader.BulkOp{Index: index, ID: "nobody", Source: docs[3].Source})
	_, err := b.service.Switch(t.Context(), upgrader.Command{RolloutID: r.ID})
	require.NoError(t, err)
	r = b.ended(r.ID)
	require.Equal(t, upgrader.RolloutComplete, r.State, describe(r))
	proof := r.Tenants[0].Proof
	require.NotEmpty(t, proof.ClusterUUID)
	require.NotEmpty(t, proof.UUIDs[index])

	e := b.errand(r.ID, tenant.Name(), upgrader.ErrandRecheck, upgrader.ErrandArgs{})
	require.Equal(t, upgrader.ErrandDone, e.State, e.Reason)
	require.Equal(t, upgrader.VerdictBroken, e.Report.Verdict)
	require.Equal(t, []int64{1, 2, 1, 0}, []int64{e.Report.Missing, e.Report.Differs, e.Report.Extra, e.Report.Absent}, "%+v", e.Report)
	found, err := b.service.Mismatches(t.Context(), upgrader.MismatchFilter{RolloutID: r.ID, TenantID: tenant.Name()}, true)
	require.NoError(t, err)
	require.Len(t, found, 4)
	i := slices.IndexFunc(found, func(m upgrader.Mismatch) bool { return m.ID == wrong.ID })
	require.Equal(t, []string{"name"}, found[i].Fields)
	require.Contains(t, found[i].Have, "altered")
	require.NotContains(t, found[i].Want, "altered")

	// The new version writes one of them, and deletes another, before they are
	// repaired: both are its own now.
	newest := altered(t, touched, "type")
	b.bulk(upgrader.BulkOp{Index: index, ID: touched.ID, Source: newest}, upgrader.BulkOp{Index: index, ID: docs[4].ID, Delete: true})
	e = b.errand(r.ID, tenant.Name(), upgrader.ErrandRepair, upgrader.ErrandArgs{})
	require.Equal(t, upgrader.ErrandDone, e.State, e.Reason)
	require.Equal(t, map[upgrader.DocumentOutcome]int64{upgrader.OutcomeWritten: 2, upgrader.OutcomeRemoved: 1, upgrader.OutcomeTouched: 1}, e.Report.Outcomes)
	require.Equal(t, upgrader.VerdictHolds, e.Report.Verdict, "%+v", e.Report)
	require.EqualValues(t, 1, e.Report.Absent)
	got, err := b.engine.Get(t.Context(), index, []string{lost.ID, wrong.ID, touched.ID, "nobody", docs[4].ID})
	require.NoError(t, err)
	require.JSONEq(t, string(lost.Source), string(got[lost.ID].Source))
	require.JSONEq(t, string(wrong.Source), string(got[wrong.ID].Source))
	require.JSONEq(t, string(newest), string(got[touched.ID].Source))
	require.Len(t, got, 3)

	// Again changes nothing; with absent ones, the deleted one comes back.
	e = b.errand(r.ID, tenant.Name(), upgrader.ErrandRepair, upgrader.ErrandArgs{})
	require.Zero(t, e.Report.Outcomes[upgrader.OutcomeWritten], "%+v", e.Report)
	e = b.errand(r.ID, tenant.Name(), upgrader.ErrandRepair, upgrader.ErrandArgs{Absent: true})
	require.EqualValues(t, 1, e.Report.Outcomes[upgrader.OutcomeWritten], "%+v", e.Report)
	got, err = b.engine.Get(t.Context(), index, []string{docs[4].ID})
	require.NoError(t, err)
	require.JSONEq(t, string(docs[4].Source), string(got[docs[4].ID].Source))
	r, err = b.service.Get(t.Context(), r.ID)
	require.NoError(t, err)
	require.Equal(t, upgrader.RolloutComplete, r.State, "errands do not concern the rollout")
}

// A proof holds while writers go on, and breaks when the old version is
// changed behind the back of TMS.
func TestRecheckWatchesTheOldVersion(t *testing.T) {
	long(t)
	t.Parallel()
	b := setup(t)
	tenant := b.tenant("0.8.1", 1)
	require.NoError(t, tenant.Fill(t.Context(), 300))
	b.worker(b.engine)
	writer := tenant.StartWriter(t.Context(), fleet.WriterConfig{Rate: 50})
	r := b.ended(b.start("0.8.2", upgrader.Options{}, tenant).ID)
	require.Equal(t, upgrader.RolloutComplete, r.State, describe(r))
	e := b.errand(r.ID, tenant.Name(), upgrader.ErrandRecheck, upgrader.ErrandArgs{})
	require.NoError(t, writer.Stop())
	require.Equal(t, upgrader.VerdictHolds, e.Report.Verdict, "%+v %s", e.Report, e.Reason)
	require.Positive(t, e.Report.Equal)
	require.Positive(t, e.Report.Digests+e.Report.Sealed)
	e = b.errand(r.ID, tenant.Name(), upgrader.ErrandRecheck, upgrader.ErrandArgs{})
	require.Equal(t, upgrader.VerdictHolds, e.Report.Verdict, "%+v %s", e.Report, e.Reason)
	require.Zero(t, e.Report.Sealed, "the first recheck has sealed the digests")

	sheet, err := b.service.Proof(t.Context(), "", tenant.Name())
	require.NoError(t, err)
	require.Equal(t, r.ID, sheet.RolloutID)
	require.Len(t, sheet.Errands, 2)

	moves, err := b.service.Moves(t.Context(), r.ID, tenant.Name())
	require.NoError(t, err)
	var source string
	for _, m := range moves {
		if m.Resource == "rule" && m.Mode == naming.Production {
			source = m.Copies[0].Source
		}
	}
	require.NoError(t, b.engine.UnblockWrites(t.Context(), source))
	b.bulk(upgrader.BulkOp{Index: source, ID: "late", Source: json.RawMessage(`{"id":"late"}`)})
	e = b.errand(r.ID, tenant.Name(), upgrader.ErrandRecheck, upgrader.ErrandArgs{})
	require.Equal(t, upgrader.VerdictBroken, e.Report.Verdict, "%+v", e.Report)
	require.GreaterOrEqual(t, len(e.Report.Problems), 2, "%+v", e.Report.Problems)
}

// A tenant that fails verification names the documents, and a repair lets it
// go on.
func TestRepairBeforeTheSwitch(t *testing.T) {
	long(t)
	t.Parallel()
	b := setup(t)
	tenant := b.tenant("0.8.1", 1)
	require.NoError(t, tenant.Fill(t.Context(), 300))
	b.worker(b.engine)
	r := b.start("0.8.2", upgrader.Options{HoldSwitch: true}, tenant)
	b.until(r.ID, func(r *upgrader.Rollout) bool {
		return r.Tenants[0].State == upgrader.TenantCompared && r.Tenants[0].Reason != ""
	})
	index, docs := b.target(r, tenant.Name(), "event")
	b.bulk(upgrader.BulkOp{Index: index, ID: docs[0].ID, Delete: true})
	_, err := b.service.Switch(t.Context(), upgrader.Command{RolloutID: r.ID})
	require.NoError(t, err)
	r = b.ended(r.ID)
	require.Equal(t, upgrader.RolloutFailed, r.State, describe(r))
	require.Contains(t, r.Tenants[0].Reason, "but the target")
	e := b.errand(r.ID, tenant.Name(), upgrader.ErrandRepair, upgrader.ErrandArgs{})
	require.Equal(t, upgrader.ErrandDone, e.State, e.Reason)
	require.Equal(t, map[upgrader.DocumentOutcome]int64{upgrader.OutcomeWritten: 1}, e.Report.Outcomes)
	r = b.ended(r.ID)
	require.Equal(t, upgrader.RolloutComplete, r.State, describe(r))
	b.judge(tenant, r, "0.8.2")
	_, err = b.service.Begin(t.Context(), upgrader.ErrandRequest{RolloutID: r.ID, Tenants: []string{"nobody"}, Kind: upgrader.ErrandRecheck})
	var se *upgrader.ServiceError
	require.ErrorAs(t, err, &se)
	require.Equal(t, upgrader.ReasonNotFound, se.Reason)
}
