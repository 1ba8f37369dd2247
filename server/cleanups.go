package server

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tracardi/tms/cleanup"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/tenants"
)

// Cleanups removes versions that nobody uses, *cleanup.Service.
type Cleanups interface {
	Plan(context.Context, cleanup.Request) (*cleanup.Plan, error)
	Run(context.Context, tenants.Caller, cleanup.Request) (*tenants.Operation, *cleanup.Plan, error)
}

type cleanupService struct{ cleanups Cleanups }

func (s *cleanupService) Plan(ctx context.Context, r *tmsv1.PlanCleanupRequest) (*tmsv1.CleanupPlan, error) {
	p, err := s.cleanups.Plan(ctx, cleanup.Request{Version: r.GetVersion(), Tenants: r.GetTenants(), WithoutSnapshot: r.GetWithoutSnapshot(), Cluster: r.GetCluster()})
	if err != nil {
		return nil, err
	}
	out := &tmsv1.CleanupPlan{Cluster: p.Cluster, Version: p.Version, Prefix: p.Prefix, LeftAlone: p.LeftAlone, Digest: p.Digest}
	if callOf(ctx).principal.Tenants != nil {
		out.LeftAlone = nil // names that may be others'
	}
	for i := range p.Tenants {
		out.Tenants = append(out.Tenants, partToProto(&p.Tenants[i]))
	}
	for _, r := range p.Refusals {
		out.Refusals = append(out.Refusals, &tmsv1.Refusal{Code: r.Code, TenantId: r.TenantID, Message: r.Message, Remedy: r.Remedy})
	}
	return out, nil
}

func (s *cleanupService) Run(ctx context.Context, r *tmsv1.RunCleanupRequest) (*tmsv1.Operation, error) {
	op, _, err := s.cleanups.Run(ctx, callerOf(ctx), cleanup.Request{
		Version: r.GetVersion(), Tenants: r.GetTenants(), WithoutSnapshot: r.GetWithoutSnapshot(), Digest: r.GetDigest(), Cluster: r.GetCluster(),
	})
	if err != nil {
		return nil, err
	}
	return operationToProto(op), nil
}

func partToProto(t *cleanup.Part) *tmsv1.CleanupPart {
	out := &tmsv1.CleanupPart{
		TenantId: t.Tenant, Release: t.Release, Templates: t.Templates, Snapshot: t.Snapshot,
		Documents: t.Docs, Bytes: t.Bytes, Shards: int64(t.Shards),
	}
	for _, ix := range t.Indices {
		out.Indices = append(out.Indices, ix.Name)
	}
	for _, c := range t.Corrections {
		out.Corrections = append(out.Corrections, &tmsv1.CleanupCorrection{Alias: c.Alias, Index: c.Index})
	}
	return out
}

func cleanupStatus(e *cleanup.Error) *status.Status {
	code := codes.FailedPrecondition
	if e.Reason == cleanup.ReasonChanged {
		code = codes.Aborted
	}
	return refusedStatus(code, e.Error(), info(string(e.Reason), meta("remedy", e.Remedy)), e.Refusals)
}
