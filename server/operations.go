package server

import (
	"context"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/tenants"
)

type operationService struct{ purges Purges }

func (s *operationService) Get(ctx context.Context, r *tmsv1.GetOperationRequest) (*tmsv1.Operation, error) {
	op, err := s.purges.Operation(ctx, r.GetId())
	if err != nil {
		return nil, err
	}
	if !callOf(ctx).principal.MayTouch(op.TenantID) {
		return nil, tenants.OperationNotFoundError(r.GetId())
	}
	return operationToProto(op), nil
}

func (s *operationService) List(ctx context.Context, r *tmsv1.ListOperationsRequest) (*tmsv1.ListOperationsResponse, error) {
	p := callOf(ctx).principal
	f := tenants.OperationFilter{State: tenants.OperationState(r.GetState()), Tenants: p.Tenants, Limit: pageSize(r.GetPageSize(), defaultPageSize)}
	if id := r.GetTenantId(); id != "" {
		if !p.MayTouch(id) {
			return nil, tenants.RestrictedError(p, "tenant "+id)
		}
		f.Tenants = []string{id}
	}
	found, next, err := s.purges.Operations(ctx, f, r.GetPageToken())
	if err != nil {
		return nil, err
	}
	out := &tmsv1.ListOperationsResponse{NextPageToken: next}
	for _, op := range found {
		out.Operations = append(out.Operations, operationToProto(op))
	}
	return out, nil
}

func operationToProto(o *tenants.Operation) *tmsv1.Operation {
	return &tmsv1.Operation{
		Id: o.ID, Kind: o.Kind, TenantId: o.TenantID, Version: o.Version, State: string(o.State),
		WithoutSnapshot: o.WithoutSnapshot, Snapshot: o.Snapshot, Reason: string(o.Reason), Message: o.Message,
		CreatedBy: o.CreatedBy, CreateTime: stamp(o.CreatedAt), UpdateTime: stamp(o.UpdatedAt), FinishTime: stamp(o.FinishedAt),
		Attempts: int32(o.Attempts),
		Result: &tmsv1.PurgeResult{
			Indices: int32(o.Result.Indices), Aliases: int32(o.Result.Aliases), Templates: int32(o.Result.Templates),
			Quarantined: int32(o.Result.Quarantined), Keys: int32(o.Result.Keys), ProofTime: stamp(o.Result.ProvenAt),
		},
	}
}
