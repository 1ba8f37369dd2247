package server

import (
	"context"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
)

// Verification shows and mends what was proven, *upgrader.Service.
type Verification interface {
	Proof(ctx context.Context, rollout, tenant string) (*upgrader.ProofSheet, error)
	Mismatches(ctx context.Context, f upgrader.MismatchFilter, values bool) ([]upgrader.Mismatch, error)
	Begin(context.Context, upgrader.ErrandRequest) ([]upgrader.Errand, error)
	Errand(ctx context.Context, id string) (*upgrader.Errand, error)
	CancelErrand(ctx context.Context, id, caller string) (*upgrader.Errand, error)
	DropQuarantine(context.Context, upgrader.Discard) (int, error)
}

type verificationService struct {
	verification Verification
	pages        *tenants.Pages
}

func (s *verificationService) GetProof(ctx context.Context, r *tmsv1.GetProofRequest) (*tmsv1.Proof, error) {
	sheet, err := s.verification.Proof(ctx, r.GetRolloutId(), r.GetTenantId())
	if err != nil {
		return nil, err
	}
	return sheetToProto(sheet), nil
}

func (s *verificationService) Recheck(ctx context.Context, r *tmsv1.RecheckRequest) (*tmsv1.ErrandList, error) {
	return s.begin(ctx, upgrader.ErrandRequest{RolloutID: r.GetRolloutId(), Tenants: r.GetTenants(), Kind: upgrader.ErrandRecheck})
}

func (s *verificationService) Repair(ctx context.Context, r *tmsv1.RepairRequest) (*tmsv1.ErrandList, error) {
	return s.begin(ctx, upgrader.ErrandRequest{
		RolloutID: r.GetRolloutId(), Tenants: r.GetTenants(), Kind: upgrader.ErrandRepair, Args: upgrader.ErrandArgs{Absent: r.GetAbsent()},
	})
}

func (s *verificationService) RedriveQuarantine(ctx context.Context, r *tmsv1.RedriveQuarantineRequest) (*tmsv1.ErrandList, error) {
	return s.begin(ctx, upgrader.ErrandRequest{
		RolloutID: r.GetRolloutId(), Tenants: r.GetTenants(), Kind: upgrader.ErrandRedrive, Args: upgrader.ErrandArgs{IDs: r.GetIds()},
	})
}

func (s *verificationService) begin(ctx context.Context, r upgrader.ErrandRequest) (*tmsv1.ErrandList, error) {
	r.Caller = callerOf(ctx).KeyID
	begun, err := s.verification.Begin(ctx, r)
	if err != nil {
		return nil, err
	}
	out := &tmsv1.ErrandList{}
	for i := range begun {
		out.Errands = append(out.Errands, errandToProto(&begun[i]))
	}
	return out, nil
}

func (s *verificationService) DropQuarantine(ctx context.Context, r *tmsv1.DropQuarantineRequest) (*tmsv1.DropQuarantineResponse, error) {
	d := upgrader.Discard{RolloutID: r.GetRolloutId(), TenantID: r.GetTenantId(), IDs: r.GetIds(), Caller: callerOf(ctx).KeyID}
	for _, k := range r.GetKinds() {
		d.Kinds = append(d.Kinds, upgrader.QuarantineKind(k))
	}
	n, err := s.verification.DropQuarantine(ctx, d)
	if err != nil {
		return nil, err
	}
	return &tmsv1.DropQuarantineResponse{Documents: int32(n)}, nil
}

func (s *verificationService) ListMismatches(ctx context.Context, r *tmsv1.ListMismatchesRequest) (*tmsv1.ListMismatchesResponse, error) {
	limit := pageSize(r.GetPageSize(), defaultPageSize)
	f := upgrader.MismatchFilter{RolloutID: r.GetRolloutId(), TenantID: r.GetTenantId(), Limit: limit + 1}
	query := "mismatches " + r.GetRolloutId() + " " + r.GetTenantId()
	if err := s.pages.Read(r.GetPageToken(), query, &f.After); err != nil {
		return nil, err
	}
	found, err := s.verification.Mismatches(ctx, f, r.GetValues())
	if err != nil {
		return nil, err
	}
	out := &tmsv1.ListMismatchesResponse{}
	if len(found) > limit {
		found = found[:limit]
		last := found[limit-1]
		out.NextPageToken = s.pages.Token(query, [3]string{last.TenantID, last.Target, last.ID})
	}
	out.Mismatches = mismatchesToProto(found)
	return out, nil
}

func (s *verificationService) GetErrand(ctx context.Context, r *tmsv1.GetErrandRequest) (*tmsv1.Errand, error) {
	return answerErrand(s.verification.Errand(ctx, r.GetId()))
}

func (s *verificationService) CancelErrand(ctx context.Context, r *tmsv1.CancelErrandRequest) (*tmsv1.Errand, error) {
	return answerErrand(s.verification.CancelErrand(ctx, r.GetId(), callerOf(ctx).KeyID))
}

func answerErrand(e *upgrader.Errand, err error) (*tmsv1.Errand, error) {
	if err != nil {
		return nil, err
	}
	return errandToProto(e), nil
}

func sheetToProto(sheet *upgrader.ProofSheet) *tmsv1.Proof {
	t := &sheet.Tenant
	out := &tmsv1.Proof{
		TenantId: t.TenantID, RolloutId: sheet.RolloutID, FromRelease: t.FromRelease, ToRelease: sheet.ToRelease,
		State: string(t.State), Reason: t.Reason, Verification: proofToProto(t.Proof),
		Mismatches: mismatchesToProto(sheet.Mismatches), MoreMismatches: sheet.More,
	}
	for i := range sheet.Errands {
		out.Errands = append(out.Errands, errandToProto(&sheet.Errands[i]))
	}
	p := t.Proof
	if p == nil {
		return out
	}
	out.Quarantined, out.Tms, out.Engine, out.ClusterName, out.ClusterUuid = int32(p.Quarantined), p.TMS, p.Engine, p.ClusterName, p.ClusterUUID
	for _, ip := range p.Indices {
		one := &tmsv1.IndexProof{
			Target: ip.Target, TargetUuid: p.UUIDs[ip.Target], SourceDocuments: ip.SourceDocs, TargetDocuments: ip.TargetDocs,
			Quarantined: ip.Quarantined, Digest: ip.Digest, DigestOf: string(ip.DigestOf), MappingHash: ip.MappingHash,
		}
		for _, source := range ip.Sources {
			sp := &tmsv1.SourceProof{Index: source, Uuid: p.UUIDs[source], Checkpoint: map[int32]int64{}}
			for shard, seq := range ip.Checkpoints[source] {
				sp.Checkpoint[int32(shard)] = seq
			}
			one.Sources = append(one.Sources, sp)
		}
		out.Indices = append(out.Indices, one)
	}
	return out
}

func mismatchesToProto(found []upgrader.Mismatch) []*tmsv1.Mismatch {
	out := make([]*tmsv1.Mismatch, 0, len(found))
	for _, m := range found {
		out = append(out, &tmsv1.Mismatch{
			TenantId: m.TenantID, Index: m.Target, DocumentId: m.ID, Kind: string(m.Kind), Fields: m.Fields,
			FindTime: stamp(m.FoundAt), Want: m.Want, Have: m.Have,
		})
	}
	return out
}

func errandToProto(e *upgrader.Errand) *tmsv1.Errand {
	r := &e.Report
	out := &tmsv1.Errand{
		Id: e.ID, RolloutId: e.RolloutID, TenantId: e.TenantID, Kind: string(e.Kind), State: string(e.State), Reason: e.Reason,
		Indices: int32(r.Indices), Equal: r.Equal, Touched: r.Touched, Missing: r.Missing, Differs: r.Differs,
		Extra: r.Extra, Absent: r.Absent, Digests: int32(r.Digests), Sealed: int32(r.Sealed), Problems: r.Problems, Notes: r.Notes,
		Outcomes: map[string]int64{}, CreatedBy: e.CreatedBy, CreateTime: stamp(e.CreatedAt), FinishTime: stamp(e.FinishedAt),
	}
	if e.State != upgrader.ErrandRunning {
		out.Verdict = r.Verdict
	}
	for o, n := range r.Outcomes {
		out.Outcomes[string(o)] = n
	}
	for _, d := range r.Documents {
		out.Documents = append(out.Documents, &tmsv1.DocumentOutcome{Index: d.Index, DocumentId: d.ID, Outcome: string(d.Outcome), Reason: d.Reason})
	}
	return out
}
