package server

import (
	"fmt"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/tenants"
)

// access is what every method needs. A method without a row is refused, and a
// test refuses to have one.
var access = map[string]tenants.Permission{
	tmsv1.TenantService_Create_FullMethodName:   tenants.PermTenants,
	tmsv1.TenantService_Get_FullMethodName:      tenants.PermRead,
	tmsv1.TenantService_List_FullMethodName:     tenants.PermRead,
	tmsv1.TenantService_Update_FullMethodName:   tenants.PermTenants,
	tmsv1.TenantService_Delete_FullMethodName:   tenants.PermTenants,
	tmsv1.TenantService_Undelete_FullMethodName: tenants.PermTenants,
	tmsv1.TenantService_Check_FullMethodName:    tenants.PermCheck,
	tmsv1.TenantService_Resolve_FullMethodName:  tenants.PermCheck,

	tmsv1.ApiKeyService_Create_FullMethodName: tenants.PermKeys,
	tmsv1.ApiKeyService_List_FullMethodName:   tenants.PermKeys,
	tmsv1.ApiKeyService_Rotate_FullMethodName: tenants.PermKeys,
	tmsv1.ApiKeyService_Revoke_FullMethodName: tenants.PermKeys,

	tmsv1.ReleaseService_List_FullMethodName: tenants.PermRead,
	tmsv1.ReleaseService_Get_FullMethodName:  tenants.PermRead,

	tmsv1.UpgradeService_Plan_FullMethodName:           tenants.PermRead, // writes nothing
	tmsv1.UpgradeService_Get_FullMethodName:            tenants.PermRead,
	tmsv1.UpgradeService_List_FullMethodName:           tenants.PermRead,
	tmsv1.UpgradeService_Watch_FullMethodName:          tenants.PermRead,
	tmsv1.UpgradeService_Start_FullMethodName:          tenants.PermUpgrades,
	tmsv1.UpgradeService_Pause_FullMethodName:          tenants.PermUpgrades,
	tmsv1.UpgradeService_Resume_FullMethodName:         tenants.PermUpgrades,
	tmsv1.UpgradeService_Cancel_FullMethodName:         tenants.PermUpgrades,
	tmsv1.UpgradeService_Retry_FullMethodName:          tenants.PermUpgrades,
	tmsv1.UpgradeService_Switch_FullMethodName:         tenants.PermUpgrades,
	tmsv1.UpgradeService_Rollback_FullMethodName:       tenants.PermUpgrades,
	tmsv1.UpgradeService_Finalize_FullMethodName:       tenants.PermUpgrades,
	tmsv1.UpgradeService_ListQuarantine_FullMethodName: tenants.PermUpgrades, // shows customers' documents
}

// open services need no key: they tell nothing that the source does not.
var open = []string{
	"/" + grpc_health_v1.Health_ServiceDesc.ServiceName + "/",
	"/grpc.reflection.",
}

func isOpen(method string) bool {
	for _, prefix := range open {
		if strings.HasPrefix(method, prefix) {
			return true
		}
	}
	return false
}

// authorize says whether the caller may call the method.
func authorize(p tenants.Principal, method string) error {
	need, ok := access[method]
	if ok && p.Role.Can(need) {
		return nil
	}
	return refusedRole(p, method)
}

func refusedRole(p tenants.Principal, what string) error {
	return &tenants.Error{
		Code: tenants.CodePermissionDenied, Reason: tenants.ReasonRoleTooSmall,
		Message: fmt.Sprintf("API key %s with role %s may not call %s", p.KeyID, p.Role, what),
		Remedy:  "use a key whose role allows it, see `tms key create --help`",
	}
}

// methods lists what a gRPC server offers.
func methods(s *grpc.Server) []string {
	var all []string
	for name, service := range s.GetServiceInfo() {
		for _, m := range service.Methods {
			all = append(all, "/"+name+"/"+m.Name)
		}
	}
	return all
}
