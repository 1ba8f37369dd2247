package server_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/stream"
)

// scriptedVerification answers without an engine: what is tested here is the
// translation to and from the contract.
type scriptedVerification struct{}

func (scriptedVerification) Proof(_ context.Context, rollout, tenant string) (*upgrader.ProofSheet, error) {
	r := sampleRollout()
	t := r.Tenants[0]
	t.TenantID = tenant
	t.Proof.UUIDs = map[string]string{"old": "u1", "new": "u2"}
	t.Proof.ClusterUUID = "c"
	t.Proof.Indices = []upgrader.IndexProof{{
		Target: "new", Sources: []string{"old"}, SourceDocs: 3, TargetDocs: 2, Quarantined: 1, Digest: "2:ab", DigestOf: upgrader.DigestAtFence,
		Checkpoints: map[string]stream.Checkpoint{"old": {0: 41}}, MappingHash: "h",
	}}
	if rollout == "" {
		rollout = r.ID
	}
	return &upgrader.ProofSheet{
		RolloutID: rollout, ToRelease: r.ToRelease, Tenant: t, More: true,
		Errands:    []upgrader.Errand{*errandSample("e1")},
		Mismatches: []upgrader.Mismatch{{TenantID: tenant, Target: "new", ID: "1", Kind: upgrader.MismatchDiffers, Fields: []string{"name"}}},
	}, nil
}

func errandSample(id string) *upgrader.Errand {
	return &upgrader.Errand{ID: id, RolloutID: "r1", TenantID: "acme", Kind: upgrader.ErrandRecheck, State: upgrader.ErrandDone, CreatedAt: time.Unix(0, 0),
		Report: upgrader.ErrandReport{
			Verdict: upgrader.VerdictBroken, Missing: 1, Equal: 7, Outcomes: map[upgrader.DocumentOutcome]int64{upgrader.OutcomeWritten: 2},
			Documents: []upgrader.OutcomeOf{{Index: "new", ID: "1", Outcome: upgrader.OutcomeWritten}},
		}}
}

func (scriptedVerification) Mismatches(_ context.Context, f upgrader.MismatchFilter, values bool) ([]upgrader.Mismatch, error) {
	var out []upgrader.Mismatch
	for _, id := range []string{"1", "2", "3"} {
		m := upgrader.Mismatch{TenantID: "acme", Target: "new", ID: id, Kind: upgrader.MismatchMissing}
		if values {
			m.Want = `{"id": "` + id + `"}`
		}
		if id > f.After[2] && len(out) < f.Limit {
			out = append(out, m)
		}
	}
	return out, nil
}

func (scriptedVerification) Begin(_ context.Context, r upgrader.ErrandRequest) ([]upgrader.Errand, error) {
	e := *errandSample("e2")
	e.Kind, e.Args, e.CreatedBy, e.State = r.Kind, r.Args, r.Caller, upgrader.ErrandRunning
	return []upgrader.Errand{e}, nil
}

func (scriptedVerification) Errand(_ context.Context, id string) (*upgrader.Errand, error) {
	if id == "none" {
		return nil, &upgrader.ServiceError{Reason: upgrader.ReasonNotFound, Field: "id", Message: "does not exist"}
	}
	return errandSample(id), nil
}

func (s scriptedVerification) CancelErrand(ctx context.Context, id, _ string) (*upgrader.Errand, error) {
	return s.Errand(ctx, id)
}

func (scriptedVerification) DropQuarantine(_ context.Context, d upgrader.Discard) (int, error) {
	return len(d.IDs) + len(d.Kinds), nil
}

func TestVerificationOverTheWire(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := tmsv1.NewVerificationServiceClient(b.conn)
	p, err := c.GetProof(b.admin(), &tmsv1.GetProofRequest{TenantId: "acme"})
	require.NoError(t, err)
	require.Equal(t, "r1", p.GetRolloutId())
	require.Equal(t, "u1", p.GetIndices()[0].GetSources()[0].GetUuid())
	require.EqualValues(t, 41, p.GetIndices()[0].GetSources()[0].GetCheckpoint()[0])
	require.Equal(t, "fence", p.GetIndices()[0].GetDigestOf())
	require.Equal(t, "does not hold", p.GetErrands()[0].GetVerdict())
	require.True(t, p.GetMoreMismatches())
	var rest map[string]any
	require.NoError(t, json.Unmarshal([]byte(b.http("GET", "/v1/tenants/acme/proof?rollout_id=r7", adminKey, "").body), &rest))
	require.Equal(t, "r7", rest["rollout_id"])

	list, err := c.RedriveQuarantine(b.admin(), &tmsv1.RedriveQuarantineRequest{RolloutId: "r1", Ids: []string{"x"}})
	require.NoError(t, err)
	require.Equal(t, "redrive", list.GetErrands()[0].GetKind())
	require.Equal(t, "env-admin", list.GetErrands()[0].GetCreatedBy())
	require.Empty(t, list.GetErrands()[0].GetVerdict(), "a running errand has none")
	dropped, err := c.DropQuarantine(b.admin(), &tmsv1.DropQuarantineRequest{RolloutId: "r1", Ids: []string{"x"}, Kinds: []string{"refused"}})
	require.NoError(t, err)
	require.EqualValues(t, 2, dropped.GetDocuments())
	_, err = c.DropQuarantine(b.admin(), &tmsv1.DropQuarantineRequest{RolloutId: "r1", Kinds: []string{"odd"}})
	refused(t, err, codes.InvalidArgument, "INVALID_FIELD")
	_, err = c.GetErrand(b.admin(), &tmsv1.GetErrandRequest{Id: "none"})
	refused(t, err, codes.NotFound, "ROLLOUT_NOT_FOUND")

	var seen []string
	r := &tmsv1.ListMismatchesRequest{RolloutId: "r1", PageSize: 2, Values: true}
	for {
		page, err := c.ListMismatches(b.admin(), r)
		require.NoError(t, err)
		for _, m := range page.GetMismatches() {
			require.NotEmpty(t, m.GetWant())
			seen = append(seen, m.GetDocumentId())
		}
		if r.PageToken = page.GetNextPageToken(); r.PageToken == "" {
			break
		}
	}
	require.Equal(t, []string{"1", "2", "3"}, seen)
}
