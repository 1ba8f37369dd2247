package server_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
)

// refused asserts code and machine-readable reason of an error.
func refused(t *testing.T, err error, code codes.Code, reason string) *status.Status {
	t.Helper()
	st := status.Convert(err)
	require.Equal(t, code, st.Code(), "%v", err)
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			require.Equal(t, reason, info.GetReason())
			require.Equal(t, "tms.tracardi.com", info.GetDomain())
			return st
		}
	}
	t.Fatalf("no ErrorInfo in %v", st)
	return nil
}

func TestTenantLifecycle(t *testing.T) {
	t.Parallel()
	b := setup(t)
	attributes, err := structpb.NewStruct(map[string]any{"plan": "gold", "seats": 3.0})
	require.NoError(t, err)
	created, err := b.tenants.Create(b.admin(), &tmsv1.CreateTenantRequest{Tenant: &tmsv1.Tenant{
		Id: "acme", DisplayName: "Acme", Release: "0.8.1", Labels: map[string]string{"ring": "canary"}, Attributes: attributes,
	}, RequestId: "q-1"})
	require.NoError(t, err)
	require.Equal(t, "active", created.GetState())
	require.Equal(t, "default", created.GetCluster())
	require.NotEmpty(t, created.GetInstallToken())
	again, err := b.tenants.Create(b.admin(), &tmsv1.CreateTenantRequest{Tenant: &tmsv1.Tenant{
		Id: "acme", DisplayName: "Acme", Release: "0.8.1", Labels: map[string]string{"ring": "canary"}, Attributes: attributes,
	}, RequestId: "q-1"})
	require.NoError(t, err)
	require.Equal(t, created.GetInstallToken(), again.GetInstallToken(), "the same request makes one tenant")

	updated, err := b.tenants.Update(b.admin(), &tmsv1.UpdateTenantRequest{
		Tenant:     &tmsv1.Tenant{Id: "acme", DisplayName: "Acme Inc", State: "suspended", Email: "ignored", Etag: created.GetEtag()},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"display_name", "state"}},
	})
	require.NoError(t, err)
	require.Equal(t, "Acme Inc", updated.GetDisplayName())
	require.Empty(t, updated.GetEmail())
	require.Equal(t, "suspended", updated.GetState())
	require.NotEqual(t, created.GetEtag(), updated.GetEtag())
	_, err = b.tenants.Update(b.admin(), &tmsv1.UpdateTenantRequest{
		Tenant: &tmsv1.Tenant{Id: "acme", Etag: created.GetEtag()}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"labels"}},
	})
	refused(t, err, codes.Aborted, "ETAG_MISMATCH")
	_, err = b.tenants.Update(b.admin(), &tmsv1.UpdateTenantRequest{
		Tenant: &tmsv1.Tenant{Id: "acme"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"labels"}},
	})
	refused(t, err, codes.InvalidArgument, "ETAG_REQUIRED")
	_, err = b.tenants.Delete(b.admin(), &tmsv1.DeleteTenantRequest{Id: "acme"})
	refused(t, err, codes.InvalidArgument, "ETAG_REQUIRED")

	checked, err := b.tenants.Check(b.admin(), &tmsv1.CheckTenantRequest{Id: "acme"})
	require.NoError(t, err)
	require.False(t, checked.GetAllowed())
	require.Equal(t, "suspended", checked.GetReason())

	deleted, err := b.tenants.Delete(b.admin(), &tmsv1.DeleteTenantRequest{Id: "acme", Etag: updated.GetEtag()})
	require.NoError(t, err)
	require.Equal(t, "deleted", deleted.GetState())
	require.NotNil(t, deleted.GetPurgeTime())
	_, err = b.tenants.Delete(b.admin(), &tmsv1.DeleteTenantRequest{Id: "acme", Etag: "*"})
	refused(t, err, codes.FailedPrecondition, "WRONG_STATE")
	back, err := b.tenants.Undelete(b.admin(), &tmsv1.UndeleteTenantRequest{Id: "acme"})
	require.NoError(t, err)
	require.Equal(t, "suspended", back.GetState(), "an undeletion lifts no suspension")
}

func TestListPagesThroughTheFleet(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, id := range []string{"aaa", "bbb", "ccc"} {
		b.create(id)
	}
	_, viewer := b.key(tenants.RoleViewer)
	var seen []string
	r := &tmsv1.ListTenantsRequest{PageSize: 2, ShowTotal: true}
	for {
		page, err := b.tenants.List(b.as(viewer), r)
		require.NoError(t, err)
		require.EqualValues(t, 3, page.GetTotalSize())
		for _, x := range page.GetTenants() {
			seen = append(seen, x.GetId())
			require.Empty(t, x.GetInstallToken())
		}
		if r.PageToken = page.GetNextPageToken(); r.PageToken == "" {
			break
		}
		_, err = b.tenants.List(b.as(viewer), &tmsv1.ListTenantsRequest{PageToken: r.PageToken, Release: "0.8.1"})
		refused(t, err, codes.InvalidArgument, "INVALID_PAGE_TOKEN")
	}
	require.Equal(t, []string{"aaa", "bbb", "ccc"}, seen)
	got, err := b.tenants.Get(b.as(viewer), &tmsv1.GetTenantRequest{Id: "aaa"})
	require.NoError(t, err)
	require.Empty(t, got.GetInstallToken(), "a viewer sees no install token")
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create("taken")
	tenant := func(x *tmsv1.Tenant) *tmsv1.CreateTenantRequest { return &tmsv1.CreateTenantRequest{Tenant: x} }
	for name, c := range map[string]struct {
		request *tmsv1.CreateTenantRequest
		code    codes.Code
		reason  string
		field   string
	}{
		"no tenant":       {tenant(nil), codes.InvalidArgument, "INVALID_FIELD", "tenant"},
		"bad id":          {tenant(&tmsv1.Tenant{Id: "A", Release: "0.8.1"}), codes.InvalidArgument, "INVALID_FIELD", "id"},
		"no release":      {tenant(&tmsv1.Tenant{Id: "acme"}), codes.InvalidArgument, "INVALID_FIELD", "release"},
		"unknown release": {tenant(&tmsv1.Tenant{Id: "acme", Release: "7"}), codes.InvalidArgument, "UNKNOWN_RELEASE", "release"},
		"state":           {tenant(&tmsv1.Tenant{Id: "acme", Release: "0.8.1", State: "expired"}), codes.InvalidArgument, "INVALID_FIELD", "tenant.state"},
		"rule":            {tenant(&tmsv1.Tenant{Id: "acme", Release: "0.8.1", State: "made up"}), codes.InvalidArgument, "INVALID_FIELD", "tenant.state"},
		"taken":           {tenant(&tmsv1.Tenant{Id: "taken", Release: "0.8.1"}), codes.AlreadyExists, "TENANT_EXISTS", ""},
	} {
		_, err := b.tenants.Create(b.admin(), c.request)
		st := refused(t, err, c.code, c.reason)
		for _, d := range st.Details() {
			if bad, ok := d.(*errdetails.BadRequest); ok {
				require.Equal(t, c.field, bad.GetFieldViolations()[0].GetField(), name)
			}
		}
	}
	_, err := b.tenants.Get(b.admin(), &tmsv1.GetTenantRequest{Id: "nobody"})
	refused(t, err, codes.NotFound, "TENANT_NOT_FOUND")
	_, err = b.tenants.Update(b.admin(), &tmsv1.UpdateTenantRequest{Tenant: &tmsv1.Tenant{Id: "taken"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"id", "create_time"}}})
	refused(t, err, codes.InvalidArgument, "INVALID_FIELD")
	_, err = b.tenants.Check(b.admin(), &tmsv1.CheckTenantRequest{})
	refused(t, err, codes.InvalidArgument, "INVALID_FIELD")
	_, err = b.releases.Get(b.admin(), &tmsv1.GetReleaseRequest{Version: "9.9"})
	refused(t, err, codes.NotFound, "UNKNOWN_RELEASE")
}

func TestKeysAndTheirThreeRefusals(t *testing.T) {
	t.Parallel()
	b := setup(t)
	check := func(credential string) error {
		_, err := b.tenants.Check(b.as(credential), &tmsv1.CheckTenantRequest{Id: "acme"})
		return err
	}
	refused(t, check("nonsense"), codes.Unauthenticated, "KEY_UNKNOWN")
	refused(t, check("tms_abcdefghijkl_nonsense"), codes.Unauthenticated, "KEY_UNKNOWN")
	refused(t, check("a.b.c"), codes.Unauthenticated, "TOKEN_INVALID")
	_, err := b.tenants.Check(b.Context(), &tmsv1.CheckTenantRequest{Id: "acme"})
	refused(t, err, codes.Unauthenticated, "CREDENTIALS_MISSING")
	_, err = b.tenants.Check(metadata.AppendToOutgoingContext(b.Context(), "x-api-key", instanceKey), &tmsv1.CheckTenantRequest{Id: "acme"})
	require.NoError(t, err)

	id, first := b.key(tenants.RoleInstance)
	require.NoError(t, check(first))
	refused(t, check(first+"x"), codes.Unauthenticated, "KEY_UNKNOWN")
	token := b.token(first)
	require.NoError(t, check(token))

	rotated, err := b.keys.Rotate(b.admin(), &tmsv1.RotateApiKeyRequest{Id: id, Overlap: durationpb.New(10 * time.Minute)})
	require.NoError(t, err)
	require.NoError(t, check(first), "both work during the overlap")
	require.NoError(t, check(rotated.GetSecret()))
	_, err = b.keys.Rotate(b.admin(), &tmsv1.RotateApiKeyRequest{Id: id})
	refused(t, err, codes.FailedPrecondition, "WRONG_STATE")
	b.clock.advance(11 * time.Minute)
	refused(t, check(first), codes.Unauthenticated, "KEY_EXPIRED")
	refused(t, check(token), codes.Unauthenticated, "KEY_EXPIRED")
	require.NoError(t, check(rotated.GetSecret()))

	token = b.token(rotated.GetSecret())
	_, err = b.keys.Revoke(b.admin(), &tmsv1.RevokeApiKeyRequest{Id: rotated.GetApiKey().GetId()})
	require.NoError(t, err)
	refused(t, check(rotated.GetSecret()), codes.Unauthenticated, "KEY_REVOKED")
	refused(t, check(token), codes.Unauthenticated, "KEY_REVOKED")
	_, err = b.keys.Revoke(b.admin(), &tmsv1.RevokeApiKeyRequest{Id: "nobody"})
	refused(t, err, codes.NotFound, "KEY_NOT_FOUND")

	list, err := b.keys.List(b.admin(), &tmsv1.ListApiKeysRequest{PageSize: 1})
	require.NoError(t, err)
	require.Equal(t, "revoked", list.GetApiKeys()[0].GetState())
	list, err = b.keys.List(b.admin(), &tmsv1.ListApiKeysRequest{PageSize: 1, PageToken: list.GetNextPageToken()})
	require.NoError(t, err)
	require.Equal(t, id, list.GetApiKeys()[0].GetId())
	require.Empty(t, list.GetNextPageToken())

	refused(t, check(expiredToken(t, b)), codes.Unauthenticated, "TOKEN_EXPIRED")
	_, err = b.keys.List(b.as(instanceKey), &tmsv1.ListApiKeysRequest{})
	refused(t, err, codes.PermissionDenied, "ROLE_NOT_ALLOWED")
}

func expiredToken(t *testing.T, b *bundle) string {
	t.Helper()
	token := b.token(instanceKey)
	b.clock.advance(tenants.TokenTTL + time.Second)
	return token
}

func TestRESTPassesTheSameGates(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := b.http("POST", "/v1/tenants", adminKey, `{"id": "acme", "release": "0.8.1", "attributes": {"a": [1]}}`)
	require.Equal(t, 200, r.code, r.body)
	require.NotEmpty(t, r.header.Get("X-Request-Id"))
	require.Equal(t, "acme", r.json(t)["id"])
	r = b.http("PATCH", "/v1/tenants/acme", adminKey, `{"display_name": "Acme", "labels": {"ring": "canary"}, "etag": "`+r.json(t)["etag"].(string)+`"}`)
	require.Equal(t, 200, r.code, r.body)
	require.Equal(t, "Acme", r.json(t)["display_name"])
	r = b.http("PATCH", "/v1/tenants/acme", adminKey, `{"etag": "*", "attributes": {"a": {"b": 1}}, "expire_time": "2099-01-01T00:00:00Z"}`)
	require.Equal(t, 200, r.code, r.body)
	require.Equal(t, map[string]any{"a": map[string]any{"b": 1.0}}, r.json(t)["attributes"])
	r = b.http("PATCH", "/v1/tenants/acme?update_mask=expire_time", adminKey, `{"etag": "*"}`)
	require.Equal(t, 200, r.code, r.body)
	require.NotContains(t, r.json(t), "expire_time", "cleared by a mask without a value")
	require.Equal(t, 200, b.http("GET", "/v1/tenants?labels[ring]=canary&page_size=5", adminKey, "").code)
	require.Equal(t, true, b.http("GET", "/v1/tenants/acme:check", instanceKey, "").json(t)["allowed"])
	require.Equal(t, true, b.http("GET", "/v1/hosts/acme.example.com:check", instanceKey, "").json(t)["allowed"])
	require.Equal(t, 200, b.http("DELETE", "/v1/tenants/acme?etag=*", adminKey, "").code)
	require.Equal(t, "deleted", b.http("GET", "/v1/tenants/acme:check", instanceKey, "").json(t)["reason"])
	require.Equal(t, 200, b.http("POST", "/v1/tenants/acme:undelete", adminKey, "{}").code)

	for name, c := range map[string]struct {
		method, path, credential, body string
		code                           int
		reason                         string
	}{
		"no key":        {"GET", "/v1/tenants", "", "", 401, "CREDENTIALS_MISSING"},
		"role":          {"GET", "/v1/tenants", instanceKey, "", 403, "ROLE_NOT_ALLOWED"},
		"not found":     {"GET", "/v1/tenants/nobody", adminKey, "", 404, "TENANT_NOT_FOUND"},
		"exists":        {"POST", "/v1/tenants", adminKey, `{"id": "acme", "release": "0.8.1"}`, 409, "TENANT_EXISTS"},
		"invalid":       {"POST", "/v1/tenants", adminKey, `{"id": "1"}`, 400, "INVALID_FIELD"},
		"unknown field": {"POST", "/v1/tenants", adminKey, `{"idd": "acme"}`, 400, "REQUEST_MALFORMED"},
		"no such path":  {"GET", "/v1/nothing", adminKey, "", 404, "CALL_UNKNOWN"},
		"method":        {"PUT", "/v1/tenants", adminKey, "", 405, "CALL_UNKNOWN"},
		"no etag":       {"DELETE", "/v1/tenants/acme", adminKey, "", 400, "ETAG_REQUIRED"},
	} {
		r := b.http(c.method, c.path, c.credential, c.body)
		require.Equal(t, c.code, r.code, "%s: %s", name, r.body)
		var answer struct {
			Code    int
			Message string
			Details []struct {
				Type   string `json:"@type"`
				Reason string
			}
		}
		require.NoError(t, json.Unmarshal([]byte(r.body), &answer), name)
		require.NotEmpty(t, answer.Message, name)
		if c.reason != "" {
			require.Equal(t, c.reason, answer.Details[0].Reason, name)
		}
	}
}

func TestProbesAndDescription(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.Equal(t, 200, b.http("GET", "/healthz", "", "").code)
	require.Equal(t, 200, b.http("GET", "/readyz", "", "").code)
	r := b.http("GET", "/v1/openapi.json", "", "")
	require.Equal(t, 200, r.code)
	require.Contains(t, r.json(t)["paths"], "/v1/rollouts/{id}:pause")

	watch, err := grpc_health_v1.NewHealthClient(b.conn).Watch(b.Context(), &grpc_health_v1.HealthCheckRequest{})
	require.NoError(t, err)
	for {
		h, err := watch.Recv()
		require.NoError(t, err)
		if h.GetStatus() == grpc_health_v1.HealthCheckResponse_SERVING {
			break
		}
	}
	reflect, err := grpc_reflection_v1.NewServerReflectionClient(b.conn).ServerReflectionInfo(b.Context())
	require.NoError(t, err)
	require.NoError(t, reflect.Send(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}}))
	services, err := reflect.Recv()
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(services.GetListServicesResponse().GetService()), 5)

	_, err = b.db.Pool().Exec(b.Context(), `delete from goose_db_version where version_id = (select max(version_id) from goose_db_version)`)
	require.NoError(t, err)
	r = b.http("GET", "/readyz", "", "")
	require.Equal(t, 503, r.code)
	require.Contains(t, r.body, "run tms migrate")
}

func TestReleasesInFull(t *testing.T) {
	t.Parallel()
	b := setup(t)
	list, err := b.releases.List(b.admin(), &tmsv1.ListReleasesRequest{})
	require.NoError(t, err)
	require.NotEmpty(t, list.GetReleases())
	for _, r := range list.GetReleases() {
		full, err := b.releases.Get(b.admin(), &tmsv1.GetReleaseRequest{Version: r.GetVersion()})
		require.NoError(t, err)
		require.EqualValues(t, r.GetResourceCount(), len(full.GetResources()))
		require.NotEmpty(t, full.GetResources()[0].GetMapping().GetFields())
	}
}

func TestNoSecretsInTheLog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, key := b.key(tenants.RoleInstance)
	token := b.token(key)
	b.http("GET", "/api-key/wrong-but-maybe-another-systems-key", "", "")
	b.http("POST", "/tenant", token, `{"id": "acme", "install_token": "install-secret"}`)
	b.http("GET", "/tenant/acme", token, "")
	b.http("GET", "/tenant/acme", "mistyped-secret", "")
	b.http("GET", "/v1/tenants/acme", adminKey, "")
	b.http("GET", "/v1/tenants/acme", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.forged", "")
	_, err := b.tenants.Check(b.as(key), &tmsv1.CheckTenantRequest{Id: "acme"})
	require.NoError(t, err)
	_, err = b.keys.Rotate(b.admin(), &tmsv1.RotateApiKeyRequest{Id: id})
	require.NoError(t, err)
	log := b.log.String()
	require.Contains(t, log, "key="+id, "the visible id is for the log")
	for _, s := range []string{key, token, adminKey, instanceKey, "install-secret", "wrong-but", "mistyped-secret", "forged", secret} {
		require.NotContains(t, log, s)
	}
}

// Nothing that is declared answers UNIMPLEMENTED.
func TestNothingIsUnimplemented(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.upgrades.set(func(s *scriptedUpgrades) {
		done := sampleRollout()
		done.State = upgrader.RolloutComplete
		s.rollout = done
	})
	for _, d := range []grpc.ServiceDesc{tmsv1.TenantService_ServiceDesc, tmsv1.ApiKeyService_ServiceDesc, tmsv1.ReleaseService_ServiceDesc, tmsv1.UpgradeService_ServiceDesc, tmsv1.OperationService_ServiceDesc, tmsv1.AuditService_ServiceDesc} {
		for _, m := range d.Methods {
			err := b.conn.Invoke(b.admin(), "/"+d.ServiceName+"/"+m.MethodName, &emptypb.Empty{}, &emptypb.Empty{})
			require.NotEqual(t, codes.Unimplemented, status.Code(err), m.MethodName)
			require.NotEqual(t, codes.Internal, status.Code(err), "%s: %v", m.MethodName, err)
		}
	}
}
