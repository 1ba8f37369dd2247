package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/durationpb"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
)

// Who may do what, written down once more by hand: admin may everything.
const (
	anybody      = "instance viewer provisioner operator"
	readers      = "viewer provisioner operator"
	provisioners = "provisioner"
	operators    = "operator"
	admins       = ""
)

var mayCall = map[string]string{
	"TenantService.Create": provisioners, "TenantService.Update": provisioners, "TenantService.Delete": provisioners, "TenantService.Undelete": provisioners,
	"TenantService.Get": readers, "TenantService.BatchGet": readers, "TenantService.List": readers,
	"TenantService.Check": anybody, "TenantService.BatchCheck": anybody, "TenantService.Resolve": anybody,
	"TenantService.Purge":       operators,
	"EventService.WatchTenants": anybody,
	"WebhookService.Create":     admins, "WebhookService.Get": admins, "WebhookService.List": admins, "WebhookService.Update": admins, "WebhookService.Delete": admins, "WebhookService.Test": admins, "WebhookService.RotateSecret": admins, "WebhookService.ListDeliveries": admins,
	"OperationService.Get": readers, "OperationService.List": readers,
	"ApiKeyService.Create": admins, "ApiKeyService.List": admins, "ApiKeyService.Rotate": admins, "ApiKeyService.Revoke": admins,
	"AuditService.List":     operators,
	"FleetService.Discover": readers, "FleetService.Show": readers, "FleetService.Drift": readers, "FleetService.Import": provisioners, "FleetService.Adopt": provisioners,
	"ClusterService.Add": admins, "ClusterService.Update": admins, "ClusterService.Remove": admins, "ClusterService.Verify": operators,
	"ClusterService.Get": readers, "ClusterService.List": readers, "ClusterService.Capacity": readers,
	"BudgetService.List": readers, "BudgetService.Set": operators, "BudgetService.StopAll": operators, "BudgetService.ResumeAll": operators,
	"CleanupService.Plan": readers, "CleanupService.Run": operators,
	"ReleaseService.List": readers, "ReleaseService.Get": readers, "ReleaseService.Export": readers, "ReleaseService.Save": operators, "ReleaseService.Remove": operators, "ReleaseService.Capture": operators,
	"UpgradeService.Plan": readers, "UpgradeService.Get": readers, "UpgradeService.List": readers, "UpgradeService.Watch": readers,
	"UpgradeService.Start": operators, "UpgradeService.Pause": operators, "UpgradeService.Resume": operators, "UpgradeService.Cancel": operators,
	"UpgradeService.Retry": operators, "UpgradeService.Switch": operators, "UpgradeService.Rollback": operators, "UpgradeService.Set": operators, "UpgradeService.Skip": operators, "UpgradeService.Finalize": operators, "UpgradeService.Retain": operators,
	"UpgradeService.Approve": operators, "UpgradeService.Gates": readers,
	"UpgradeService.ListQuarantine": operators,
	"VerificationService.GetProof":  readers, "VerificationService.Recheck": operators, "VerificationService.Repair": operators,
	"VerificationService.RedriveQuarantine": operators, "VerificationService.DropQuarantine": operators, "VerificationService.ListMismatches": operators,
	"BackupService.PutRepository": operators, "BackupService.VerifyRepository": operators, "BackupService.ListRepositories": readers,
	"BackupService.RemoveRepository": operators, "BackupService.ImportRepository": operators,
	"BackupService.CreateSnapshot": operators, "BackupService.GetSnapshot": readers, "BackupService.ListSnapshots": readers, "BackupService.DeleteSnapshot": operators,
	"BackupService.PlanRestore": readers, "BackupService.StartRestore": operators, "BackupService.GetRestore": readers, "BackupService.ListRestores": readers,
	"BackupService.StartDrill": operators, "BackupService.CreatePolicy": operators, "BackupService.GetPolicy": readers, "BackupService.ListPolicies": readers,
	"BackupService.UpdatePolicy": operators, "BackupService.DeletePolicy": operators, "BackupService.RunPolicy": operators,
	"BackupService.RemoveRestore": operators,
	"ProgressService.Get":         readers, "ProgressService.Watch": readers, "ProgressService.Report": operators,
	"RehearsalService.Start": operators, "RehearsalService.Get": operators, "RehearsalService.List": operators, "RehearsalService.Cancel": operators,
	"VerificationService.GetErrand": operators, "VerificationService.CancelErrand": operators,
}

// unrestricted calls show a key that is restricted to other tenants nothing
// of this one.
var unrestricted = []string{
	"TenantService.List", "TenantService.Resolve", "EventService.WatchTenants", "OperationService.Get", "OperationService.List", "ReleaseService.List", "ReleaseService.Get", "ReleaseService.Export",
	"BackupService.ListSnapshots", "BackupService.ListRestores", "RehearsalService.Get", "RehearsalService.Cancel",
}

// actor is somebody with a credential, and what he is refused with.
type actor struct {
	name, credential string
	role             tenants.Role
	reason           string // he is refused with it whatever he calls
	restricted       bool   // to another tenant
}

// actors are all kinds of callers.
func (b *bundle) actors() []actor {
	b.Helper()
	all := []actor{
		{name: "nobody", reason: "CREDENTIALS_MISSING"}, {name: "stranger", credential: "nonsense", reason: "KEY_UNKNOWN"},
		{name: "forger", credential: "e30.e30.e30", reason: "TOKEN_INVALID"},
	}
	for _, role := range []tenants.Role{tenants.RoleInstance, tenants.RoleViewer, tenants.RoleProvisioner, tenants.RoleOperator, tenants.RoleAdmin} {
		_, key := b.key(role)
		all = append(all, actor{name: string(role), credential: key, role: role}, actor{name: string(role) + "'s token", credential: b.token(key), role: role})
		id, key := b.key(role)
		token := b.token(key)
		_, err := b.keys.Revoke(b.admin(), &tmsv1.RevokeApiKeyRequest{Id: id})
		require.NoError(b, err)
		all = append(all, actor{name: "revoked " + string(role), credential: key, reason: "KEY_REVOKED"}, actor{name: "token of revoked " + string(role), credential: token, reason: "KEY_REVOKED"})
		id, key = b.key(role)
		_, err = b.keys.Rotate(b.admin(), &tmsv1.RotateApiKeyRequest{Id: id, Overlap: durationpb.New(0)})
		require.NoError(b, err)
		all = append(all, actor{name: "rotated " + string(role), credential: key, reason: "KEY_EXPIRED"})
		if role == tenants.RoleAdmin {
			continue
		}
		k, err := b.keys.Create(b.admin(), &tmsv1.CreateApiKeyRequest{DisplayName: "restricted", Role: string(role), Tenants: []string{"beta"}})
		require.NoError(b, err)
		all = append(all, actor{name: "restricted " + string(role), credential: k.GetSecret(), role: role, restricted: true},
			actor{name: "token of restricted " + string(role), credential: b.token(k.GetSecret()), role: role, restricted: true})
	}
	return all
}

// refusal is the reason with which the actor is refused the call, "" when he
// may make it.
func (a actor) refusal(call, roles string, free bool) string {
	switch {
	case a.reason != "":
		return a.reason
	case a.role != tenants.RoleAdmin && !slices.Contains(strings.Fields(roles), string(a.role)):
		return "ROLE_NOT_ALLOWED"
	case a.restricted && !free && !slices.Contains(unrestricted, call):
		return "TENANT_NOT_ALLOWED"
	}
	return ""
}

// accessReasons are those of refusals of this kind.
var accessReasons = []string{"CREDENTIALS_MISSING", "KEY_UNKNOWN", "KEY_REVOKED", "KEY_EXPIRED", "TOKEN_INVALID", "TOKEN_EXPIRED", "ROLE_NOT_ALLOWED", "TENANT_NOT_ALLOWED"}

func reasonOf(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

func matrixBundle(t *testing.T) *bundle {
	b := setup(t)
	b.upgrades.set(func(s *scriptedUpgrades) {
		done := sampleRollout()
		done.State = upgrader.RolloutComplete
		s.rollout = done
	})
	return b
}

// contract lists all methods of the contract from the descriptors.
func contract(t *testing.T) []protoreflect.MethodDescriptor {
	t.Helper()
	var all []protoreflect.MethodDescriptor
	protoregistry.GlobalFiles.RangeFilesByPackage("tms.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			for j := range f.Services().Get(i).Methods().Len() {
				all = append(all, f.Services().Get(i).Methods().Get(j))
			}
		}
		return true
	})
	require.NotEmpty(t, all)
	return all
}

func callName(m protoreflect.MethodDescriptor) string {
	return string(m.Parent().Name()) + "." + string(m.Name())
}

// about fills a request so that it concerns tenant acme.
func about(d protoreflect.MessageDescriptor) *dynamicpb.Message {
	m := dynamicpb.NewMessage(d)
	if f := d.Fields().ByName("id"); f != nil {
		m.Set(f, protoreflect.ValueOfString("acme"))
	}
	for name, value := range map[protoreflect.Name]string{"ids": "acme", "hosts": "acme.example.com", "tenants": "acme"} {
		if f := d.Fields().ByName(name); f != nil && f.IsList() && f.Kind() == protoreflect.StringKind {
			m.Mutable(f).List().Append(protoreflect.ValueOfString(value))
		}
	}
	for _, name := range []protoreflect.Name{"tenant", "options"} {
		if f := d.Fields().ByName(name); f != nil && f.Kind() == protoreflect.MessageKind {
			m.Set(f, protoreflect.ValueOfMessage(about(f.Message())))
		}
	}
	return m
}

// Every call of the contract by every kind of caller.
func TestAccessMatrix(t *testing.T) {
	t.Parallel()
	b := matrixBundle(t)
	b.create("beta")
	all := b.actors()
	seen := map[string]bool{}
	for _, m := range contract(t) {
		call := callName(m)
		roles, ok := mayCall[call]
		require.True(t, ok, "say in mayCall who may call %s", call)
		seen[call] = true
		for _, a := range all {
			ctx := b.Context()
			if a.credential != "" {
				ctx = b.as(a.credential)
			}
			err := b.invoke(ctx, m)
			if want := a.refusal(call, roles, false); want != "" {
				assert.Equal(t, want, reasonOf(err), "%s by %s: %v", call, a.name, err)
			} else {
				assert.NotContains(t, accessReasons, reasonOf(err), "%s by %s: %v", call, a.name, err)
				assert.NotContains(t, []codes.Code{codes.Internal, codes.Unimplemented, codes.Unknown}, status.Code(err), "%s by %s: %v", call, a.name, err)
			}
		}
	}
	for call := range mayCall {
		require.True(t, seen[call], "%s is gone", call)
	}
}

func (b *bundle) invoke(ctx context.Context, m protoreflect.MethodDescriptor) error {
	return b.send(ctx, m, about(m.Input()))
}

// send makes a call and waits for its first answer.
func (b *bundle) send(ctx context.Context, m protoreflect.MethodDescriptor, request *dynamicpb.Message) error {
	full := fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name())
	answer := dynamicpb.NewMessage(m.Output())
	if !m.IsStreamingServer() {
		return b.conn.Invoke(ctx, full, request, answer)
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	stream, err := b.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, full)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(request); err != nil {
		return err
	}
	_ = stream.CloseSend() // never fails
	return stream.RecvMsg(answer)
}

// route is one way to call over HTTP.
type route struct {
	call, method, path, roles string
	free                      bool
}

var placeholder = regexp.MustCompile(`\{[^}]*\}`)

// routes are the bindings of the contract and Tracardi's own.
func routes(t *testing.T) []route {
	t.Helper()
	var all []route
	for _, m := range contract(t) {
		rule, ok := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
		require.True(t, ok && rule != nil, "%s has no route", callName(m))
		for _, r := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
			method, path := binding(r)
			require.NotEmpty(t, path, callName(m))
			fill := "acme"
			if strings.Contains(path, "{host}") {
				fill = "acme.example.com"
			}
			path = placeholder.ReplaceAllString(path, fill)
			if strings.HasSuffix(path, ":batchGet") {
				path += "?ids=acme"
			}
			all = append(all, route{call: callName(m), method: method, path: path, roles: mayCall[callName(m)]})
		}
	}
	const tracardi = "instance provisioner"
	return append(all,
		route{call: "create", method: "POST", path: "/tenant", roles: tracardi},
		route{call: "get", method: "GET", path: "/tenant/acme", roles: tracardi},
		route{call: "delete", method: "DELETE", path: "/tenant/acme", roles: tracardi},
		route{call: "list", method: "GET", path: "/tenant", roles: tracardi, free: true},
		route{call: "list", method: "GET", path: "/tenants", roles: tracardi, free: true},
		route{call: "clean", method: "DELETE", path: "/indices/version/0.7.4", roles: operators},
		route{call: "clean", method: "DELETE", path: "/indices?db_version=074&codename=acme", roles: operators},
	)
}

func binding(r *annotations.HttpRule) (method, path string) {
	switch p := r.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		return "GET", p.Get
	case *annotations.HttpRule_Post:
		return "POST", p.Post
	case *annotations.HttpRule_Patch:
		return "PATCH", p.Patch
	case *annotations.HttpRule_Put:
		return "PUT", p.Put
	case *annotations.HttpRule_Delete:
		return "DELETE", p.Delete
	}
	return "", ""
}

// bodies say that a request is about acme where the path does not.
var bodies = map[string]string{
	"TenantService.Create": `{"id": "acme"}`, "TenantService.BatchCheck": `{"ids": ["acme"]}`, "TenantService.Update": `{"etag": "x"}`,
	"UpgradeService.Plan": `{"options": {"tenants": ["acme"]}}`, "UpgradeService.Start": `{"options": {"tenants": ["acme"]}}`,
	"FleetService.Import": `{"tenants": ["acme"]}`, "FleetService.Adopt": `{"code_name": "acme", "adopt_as": "acme"}`, "CleanupService.Plan": `{"tenants": ["acme"]}`, "CleanupService.Run": `{"tenants": ["acme"]}`,
	"create": `{"id": "acme", "name": 7}`,
}

func TestAccessMatrixOfREST(t *testing.T) {
	t.Parallel()
	b := matrixBundle(t)
	b.create("beta")
	all := b.actors()
	codesOf := map[string]int{"ROLE_NOT_ALLOWED": 403, "TENANT_NOT_ALLOWED": 403}
	for _, r := range routes(t) {
		for _, a := range all {
			body := bodies[r.call]
			if body == "" && r.method == "POST" {
				body = "{}"
			}
			want := a.refusal(r.call, r.roles, r.free)
			if r.call == "create" && want == "TENANT_NOT_ALLOWED" {
				body = `{"id": "acme"}`
			}
			got := b.http(r.method, r.path, a.credential, body)
			what := fmt.Sprintf("%s %s by %s: %d %.300s", r.method, r.path, a.name, got.code, got.body)
			if want == "" {
				assert.NotContains(t, []int{401, 403, 500, 501}, got.code, what)
				continue
			}
			code := codesOf[want]
			if code == 0 {
				code = http.StatusUnauthorized
			}
			assert.Equal(t, code, got.code, what)
			if strings.HasPrefix(r.path, "/v1/") {
				assert.Contains(t, got.body, want, what)
			}
			assert.NotContains(t, got.body, "install_token", what)
		}
	}
	// The exchange of a key for a token, by the key in the path.
	for _, a := range all {
		if a.credential == "" || strings.Contains(a.name, "token") {
			continue
		}
		got := b.http("GET", "/api-key/"+a.credential, "", "")
		want := map[string]int{"": 200, "KEY_UNKNOWN": 401, "TOKEN_INVALID": 401, "KEY_REVOKED": 403, "KEY_EXPIRED": 403}[a.reason]
		assert.Equal(t, want, got.code, a.name)
	}
}

// What a restricted key may see is its own tenants, in lists too.
func TestRestrictedKeysSeeTheirTenantsOnly(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create("acme")
	b.create("beta")
	made, err := b.keys.Create(b.admin(), &tmsv1.CreateApiKeyRequest{DisplayName: "one", Role: "provisioner", Tenants: []string{"beta", "gamma"}})
	require.NoError(t, err)
	require.Equal(t, []string{"beta", "gamma"}, made.GetApiKey().GetTenants())
	_, err = b.keys.Create(b.admin(), &tmsv1.CreateApiKeyRequest{DisplayName: "x", Role: "admin", Tenants: []string{"beta"}})
	refused(t, err, codes.InvalidArgument, "INVALID_FIELD")
	key := b.as(made.GetSecret())
	list, err := b.tenants.List(key, &tmsv1.ListTenantsRequest{ShowTotal: true})
	require.NoError(t, err)
	require.Len(t, list.GetTenants(), 1)
	require.EqualValues(t, 1, list.GetTotalSize())
	got, err := b.tenants.Get(key, &tmsv1.GetTenantRequest{Id: "beta"})
	require.NoError(t, err)
	require.NotEmpty(t, got.GetInstallToken())
	_, err = b.tenants.BatchGet(key, &tmsv1.BatchGetTenantsRequest{Ids: []string{"beta", "acme"}})
	refused(t, err, codes.PermissionDenied, "TENANT_NOT_ALLOWED")
	_, err = b.tenants.Create(key, &tmsv1.CreateTenantRequest{Tenant: &tmsv1.Tenant{Id: "gamma", Release: "0.8.1"}})
	require.NoError(t, err)
	_, err = b.tenants.Create(key, &tmsv1.CreateTenantRequest{Tenant: &tmsv1.Tenant{Id: "delta", Release: "0.8.1"}})
	refused(t, err, codes.PermissionDenied, "TENANT_NOT_ALLOWED")
	var seen []map[string]any
	require.NoError(t, json.Unmarshal([]byte(b.http("GET", "/tenants", made.GetSecret(), "").body), &seen))
	require.Len(t, seen, 2)
	rotated, err := b.keys.Rotate(b.admin(), &tmsv1.RotateApiKeyRequest{Id: made.GetApiKey().GetId()})
	require.NoError(t, err)
	require.Equal(t, []string{"beta", "gamma"}, rotated.GetApiKey().GetTenants(), "a successor may no more")
}
