package server

import (
	"context"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/tenants"
)

// Resolve answers by the rule alone: that a host names no tenant is an answer,
// not an error.
func (s *tenantService) Resolve(_ context.Context, r *tmsv1.ResolveTenantRequest) (*tmsv1.ResolveTenantResponse, error) {
	id, refused := tenants.ResolveHost(r.GetHost())
	return &tmsv1.ResolveTenantResponse{Id: id, Reason: string(refused), Message: refused.Sentence()}, nil
}
