package server

import (
	"context"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
)

// Rehearsals plays upgrades, *upgrader.Service.
type Rehearsals interface {
	Rehearse(context.Context, upgrader.RehearsalRequest) (*upgrader.Rehearsal, error)
	Rehearsal(ctx context.Context, id string) (*upgrader.Rehearsal, error)
	Rehearsals(ctx context.Context, tenant, before string, limit int) ([]*upgrader.Rehearsal, error)
	CancelRehearsal(ctx context.Context, id, caller string) (*upgrader.Rehearsal, error)
}

const defaultRehearsals = 20

type rehearsalService struct {
	rehearsals Rehearsals
	pages      *tenants.Pages
}

func (s *rehearsalService) Start(ctx context.Context, r *tmsv1.StartRehearsalRequest) (*tmsv1.Rehearsal, error) {
	begun, err := s.rehearsals.Rehearse(ctx, upgrader.RehearsalRequest{
		TenantID: r.GetTenantId(), ToRelease: r.GetToRelease(), Sample: int(r.GetSample()), Caller: callerOf(ctx).KeyID,
	})
	return answerRehearsal(begun, err)
}

func (s *rehearsalService) Get(ctx context.Context, r *tmsv1.GetRehearsalRequest) (*tmsv1.Rehearsal, error) {
	return answerRehearsal(s.own(ctx, r.GetId()))
}

// own returns a rehearsal whose tenant the caller may touch.
func (s *rehearsalService) own(ctx context.Context, id string) (*upgrader.Rehearsal, error) {
	found, err := s.rehearsals.Rehearsal(ctx, id)
	if err == nil && !callOf(ctx).principal.MayTouch(found.TenantID) {
		return nil, tenants.OperationNotFoundError(id)
	}
	return found, err
}

func (s *rehearsalService) Cancel(ctx context.Context, r *tmsv1.CancelRehearsalRequest) (*tmsv1.Rehearsal, error) {
	if _, err := s.own(ctx, r.GetId()); err != nil {
		return nil, err
	}
	return answerRehearsal(s.rehearsals.CancelRehearsal(ctx, r.GetId(), callerOf(ctx).KeyID))
}

func (s *rehearsalService) List(ctx context.Context, r *tmsv1.ListRehearsalsRequest) (*tmsv1.ListRehearsalsResponse, error) {
	var before string
	query := tenants.QueryHash("rehearsals", r.GetTenantId())
	if err := s.pages.Read(r.GetPageToken(), query, &before); err != nil {
		return nil, err
	}
	limit := pageSize(r.GetPageSize(), defaultRehearsals)
	found, err := s.rehearsals.Rehearsals(ctx, r.GetTenantId(), before, limit+1)
	if err != nil {
		return nil, err
	}
	out := &tmsv1.ListRehearsalsResponse{}
	if len(found) > limit {
		found = found[:limit]
		out.NextPageToken = s.pages.Token(query, found[limit-1].ID)
	}
	for _, one := range found {
		out.Rehearsals = append(out.Rehearsals, rehearsalToProto(one))
	}
	return out, nil
}

func answerRehearsal(r *upgrader.Rehearsal, err error) (*tmsv1.Rehearsal, error) {
	if err != nil {
		return nil, err
	}
	return rehearsalToProto(r), nil
}

func rehearsalToProto(r *upgrader.Rehearsal) *tmsv1.Rehearsal {
	p := &r.Report
	out := &tmsv1.Rehearsal{
		Id: r.ID, TenantId: r.TenantID, Cluster: r.Cluster, ToRelease: r.ToRelease, Sample: int32(r.Sample), State: string(r.State), Reason: r.Reason,
		CreatedBy: r.CreatedBy, CreateTime: stamp(r.CreatedAt), FinishTime: stamp(r.FinishedAt), Attempts: int32(r.Attempts),
		Phase: p.Phase, Verdict: p.Verdict, FromRelease: p.FromRelease, Path: p.Path, Indices: int32(p.Indices), Shards: int32(p.Shards),
		IndicesByMethod: map[string]int32{}, Documents: p.Documents, Compared: p.Compared, DocumentsTotal: p.Total, BytesTotal: p.Bytes,
		PhaseSeconds: map[string]float64{}, EstimateSeconds: round(p.Estimate), Quarantined: int32(p.Quarantined),
		Problems: p.Problems, Refusals: refusalsToProto(p.Refusals), Notes: p.Notes, Removed: int32(p.Removed),
	}
	for m, n := range p.ByMethod {
		out.IndicesByMethod[string(m)] = int32(n)
	}
	for phase, s := range p.Seconds {
		out.PhaseSeconds[phase] = round(s)
	}
	for _, f := range p.Findings {
		out.Findings = append(out.Findings, &tmsv1.RehearsalFinding{Kind: f.Kind, Reason: f.Reason, Documents: f.Count, Index: f.Index, DocumentId: f.ID})
	}
	return out
}

func refusalsToProto(all []upgrader.Refusal) []*tmsv1.Refusal {
	var out []*tmsv1.Refusal
	for _, r := range all {
		out = append(out, &tmsv1.Refusal{Code: r.Code, TenantId: r.TenantID, Message: r.Message, Remedy: r.Remedy})
	}
	return out
}
