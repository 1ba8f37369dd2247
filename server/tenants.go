package server

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/tenants"
)

const defaultPageSize = 100

type tenantService struct {
	registry Tenants
	purges   Purges
}

func (s *tenantService) Create(ctx context.Context, r *tmsv1.CreateTenantRequest) (*tmsv1.Tenant, error) {
	t, err := tenantFromProto(r.GetTenant())
	if err != nil {
		return nil, err
	}
	switch tenants.State(r.GetTenant().GetState()) {
	case "", tenants.StateActive:
	case tenants.StateSuspended:
		t.Suspended = true
	default:
		return nil, invalidField("tenant.state", "a new tenant is active or suspended")
	}
	created, err := s.registry.Create(ctx, callerOf(ctx), tenants.CreateRequest{Tenant: t, RequestID: r.GetRequestId(), ValidateOnly: r.GetValidateOnly(), AllowReuse: r.GetAllowReuse()})
	return answerTenant(ctx, created, err)
}

func (s *tenantService) Get(ctx context.Context, r *tmsv1.GetTenantRequest) (*tmsv1.Tenant, error) {
	t, err := s.registry.Get(ctx, r.GetId())
	return answerTenant(ctx, t, err)
}

func (s *tenantService) List(ctx context.Context, r *tmsv1.ListTenantsRequest) (*tmsv1.ListTenantsResponse, error) {
	order, err := tenants.ParseOrder(r.GetOrderBy())
	if err != nil {
		return nil, err
	}
	f := tenants.Filter{
		State: tenants.State(r.GetState()), ShowDeleted: r.GetShowDeleted(), Release: r.GetRelease(), Labels: r.GetLabels(),
		IDs: callOf(ctx).principal.Tenants, Order: order, Limit: pageSize(r.GetPageSize(), defaultPageSize), Count: r.GetShowTotal(),
	}
	if err := f.Parse(r.GetFilter()); err != nil {
		return nil, err
	}
	found, err := s.registry.List(ctx, tenants.ListRequest{Filter: f, PageToken: r.GetPageToken()})
	if err != nil {
		return nil, err
	}
	out := &tmsv1.ListTenantsResponse{NextPageToken: found.NextToken}
	if f.Count {
		out.TotalSize = proto.Int32(int32(found.Total))
	}
	for _, t := range found.Tenants {
		out.Tenants = append(out.Tenants, tenantToProto(t, false))
	}
	return out, nil
}

func pageSize(asked int32, standard int) int {
	if asked <= 0 {
		return standard
	}
	return int(asked)
}

func (s *tenantService) Update(ctx context.Context, r *tmsv1.UpdateTenantRequest) (*tmsv1.Tenant, error) {
	t, err := tenantFromProto(r.GetTenant())
	if err != nil {
		return nil, err
	}
	mask := r.GetUpdateMask().GetPaths()
	if len(mask) == 0 {
		mask = givenFields(r.GetTenant())
	}
	updated, err := s.registry.Update(ctx, callerOf(ctx), tenants.UpdateRequest{
		Tenant: t, State: tenants.State(r.GetTenant().GetState()), Etag: r.GetTenant().GetEtag(), Mask: mask, ValidateOnly: r.GetValidateOnly(),
	})
	return answerTenant(ctx, updated, err)
}

// notChanged are fields that say which tenant is meant, or that come along
// when a client sends back what it has read.
var notChanged = []string{"id", "etag", "create_time", "update_time", "delete_time", "purge_time", "purge_start_time", "purge_refusal", "purge_retry_time", "adopted_from"}

// givenFields is the mask that an update without one means (AIP-134).
func givenFields(t *tmsv1.Tenant) []string {
	var mask []string
	t.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if name := string(f.Name()); !slices.Contains(notChanged, name) {
			mask = append(mask, name)
		}
		return true
	})
	slices.Sort(mask) // Range has no order, the audit trail should
	return mask
}

func (s *tenantService) Delete(ctx context.Context, r *tmsv1.DeleteTenantRequest) (*tmsv1.Tenant, error) {
	t, err := s.registry.Delete(ctx, callerOf(ctx), tenants.EventRequest{ID: r.GetId(), Etag: r.GetEtag(), ValidateOnly: r.GetValidateOnly()})
	return answerTenant(ctx, t, err)
}

func (s *tenantService) Undelete(ctx context.Context, r *tmsv1.UndeleteTenantRequest) (*tmsv1.Tenant, error) {
	t, err := s.registry.Undelete(ctx, callerOf(ctx), tenants.EventRequest{ID: r.GetId(), Etag: r.GetEtag(), ValidateOnly: r.GetValidateOnly()})
	return answerTenant(ctx, t, err)
}

func (s *tenantService) Purge(ctx context.Context, r *tmsv1.PurgeTenantRequest) (*tmsv1.Operation, error) {
	op, err := s.purges.Begin(ctx, callerOf(ctx), tenants.PurgeRequest{
		ID: r.GetId(), Etag: r.GetEtag(), WithoutSnapshot: r.GetWithoutSnapshot(), ValidateOnly: r.GetValidateOnly(),
	})
	if err != nil {
		return nil, err
	}
	return operationToProto(op), nil
}

func (s *tenantService) BatchGet(ctx context.Context, r *tmsv1.BatchGetTenantsRequest) (*tmsv1.BatchGetTenantsResponse, error) {
	found, err := s.registry.BatchGet(ctx, r.GetIds())
	if err != nil {
		return nil, err
	}
	out := &tmsv1.BatchGetTenantsResponse{}
	for _, t := range found {
		out.Tenants = append(out.Tenants, tenantToProto(t, false))
	}
	return out, nil
}

func (s *tenantService) Check(ctx context.Context, r *tmsv1.CheckTenantRequest) (*tmsv1.CheckTenantResponse, error) {
	if r.GetId() == "" && r.GetHost() == "" {
		return nil, invalidField("id", "id or host is required")
	}
	return s.check(ctx, r.GetId(), r.GetHost())
}

// check answers for an id, or for a host when there is none.
func (s *tenantService) check(ctx context.Context, id, host string) (*tmsv1.CheckTenantResponse, error) {
	var v tenants.Verdict
	var err error
	if id != "" {
		v, err = s.registry.Check(ctx, id)
	} else {
		v, err = s.registry.CheckHost(ctx, host)
	}
	if err != nil {
		return nil, err
	}
	out := &tmsv1.CheckTenantResponse{Allowed: v.Allowed, Reason: v.Reason, Id: v.ID}
	if v.Allowed {
		out.Release = v.Tenant.Release
	}
	return out, nil
}

func (s *tenantService) BatchCheck(ctx context.Context, r *tmsv1.BatchCheckTenantsRequest) (*tmsv1.BatchCheckTenantsResponse, error) {
	if len(r.GetIds())+len(r.GetHosts()) == 0 {
		return nil, invalidField("ids", "ids or hosts are required")
	}
	out := &tmsv1.BatchCheckTenantsResponse{}
	add := func(id, host string) error {
		one, err := s.check(ctx, id, host)
		out.Results = append(out.Results, one)
		return err
	}
	for _, id := range r.GetIds() {
		if err := add(id, ""); err != nil {
			return nil, err
		}
	}
	for _, host := range r.GetHosts() {
		if err := add("", host); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// answerTenant renders a tenant for this caller, with the install token for
// those who may see it.
func answerTenant(ctx context.Context, t *tenants.Tenant, err error) (*tmsv1.Tenant, error) {
	if err != nil {
		return nil, err
	}
	return tenantToProto(t, callOf(ctx).principal.Role.Can(tenants.PermInstall)), nil
}

func tenantToProto(t *tenants.Tenant, withToken bool) *tmsv1.Tenant {
	out := &tmsv1.Tenant{
		Id: t.ID, DisplayName: t.DisplayName, Email: t.Email, Domain: t.Domain, GuiUrl: t.GUIURL, Labels: t.Labels,
		Release: t.Release, Cluster: t.Cluster, State: string(t.StateAt(time.Now())),
		CreateTime: stamp(t.CreatedAt), UpdateTime: stamp(t.UpdatedAt), ExpireTime: stamp(t.ExpiresAt),
		DeleteTime: stamp(t.DeletedAt), PurgeTime: stamp(t.PurgeAt), PurgeStartTime: stamp(t.PurgeStartedAt), Etag: t.Etag(),
		PurgeRefusal: t.PurgeRefusal, AdoptedFrom: t.AdoptedFrom,
	}
	if !t.PurgedAt.IsZero() {
		out.PurgeTime = stamp(t.PurgedAt)
	}
	if t.PurgeRefusal != "" {
		out.PurgeRetryTime = stamp(t.PurgeRetryAt)
	}
	if withToken {
		out.InstallToken = t.InstallToken
	}
	if len(t.Attributes) > 0 {
		out.Attributes = &structpb.Struct{}
		if err := out.Attributes.UnmarshalJSON(t.Attributes); err != nil {
			out.Attributes = nil // the registry keeps objects only
		}
	}
	return out
}

func tenantFromProto(p *tmsv1.Tenant) (*tenants.Tenant, error) {
	t := &tenants.Tenant{
		ID: p.GetId(), DisplayName: p.GetDisplayName(), Email: p.GetEmail(), Domain: p.GetDomain(), GUIURL: p.GetGuiUrl(),
		InstallToken: p.GetInstallToken(), Labels: p.GetLabels(), Release: p.GetRelease(), Cluster: p.GetCluster(),
	}
	if e := p.GetExpireTime(); e != nil {
		if err := e.CheckValid(); err != nil {
			return nil, invalidField("tenant.expire_time", "is not a time")
		}
		t.ExpiresAt = e.AsTime()
	}
	if a := p.GetAttributes(); a != nil {
		raw, err := json.Marshal(a.AsMap())
		if err != nil {
			return nil, invalidField("tenant.attributes", fmt.Sprintf("is not JSON: %v", err))
		}
		t.Attributes = raw
	}
	return t, nil
}

// stamp renders a time, unset for the zero one.
func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func invalidField(field, message string) error {
	return &tenants.Error{
		Code: tenants.CodeInvalid, Reason: tenants.ReasonInvalidField, Field: field, Message: message,
		Violations: []tenants.Violation{{Field: field, Message: message}},
	}
}
