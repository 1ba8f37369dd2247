package server

import (
	"fmt"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/tenants"
)

// rule is what a method needs: a permission of the key's role, and, of a key
// that is restricted to tenants, that the request stays within them.
type rule struct {
	need  tenants.Permission
	scope scope
}

// scope says which tenants a request is about.
type scope struct {
	// free requests show a restricted key nothing of other tenants: they are
	// about none, or their handler filters.
	free bool
	// of names the tenants; none means all of them. A nil of is always all.
	of func(request any) []string
}

var (
	free  = scope{free: true}
	fleet = scope{} // refused to restricted keys
)

// of is the scope of a request of one type.
func of[R any](ids func(R) []string) scope {
	return scope{of: func(request any) []string {
		if r, ok := request.(R); ok {
			return ids(r)
		}
		return nil // refused
	}}
}

// byID is the scope of requests whose id is a tenant's.
func byID[R interface{ GetId() string }]() scope {
	return of(func(r R) []string { return []string{r.GetId()} })
}

func checked(r *tmsv1.CheckTenantRequest) []string {
	if r.GetId() == "" {
		return []string{tenants.IDFromHost(r.GetHost())}
	}
	return []string{r.GetId()}
}

func batchChecked(r *tmsv1.BatchCheckTenantsRequest) []string {
	ids := append([]string{}, r.GetIds()...)
	for _, h := range r.GetHosts() {
		ids = append(ids, tenants.IDFromHost(h))
	}
	return ids
}

// access is what every method needs. A method without a row is refused, and a
// test refuses to have one.
var access = map[string]rule{
	tmsv1.TenantService_Create_FullMethodName:     {tenants.PermTenants, of(func(r *tmsv1.CreateTenantRequest) []string { return []string{r.GetTenant().GetId()} })},
	tmsv1.TenantService_Get_FullMethodName:        {tenants.PermRead, byID[*tmsv1.GetTenantRequest]()},
	tmsv1.TenantService_BatchGet_FullMethodName:   {tenants.PermRead, of((*tmsv1.BatchGetTenantsRequest).GetIds)},
	tmsv1.TenantService_List_FullMethodName:       {tenants.PermRead, free},
	tmsv1.TenantService_Update_FullMethodName:     {tenants.PermTenants, of(func(r *tmsv1.UpdateTenantRequest) []string { return []string{r.GetTenant().GetId()} })},
	tmsv1.TenantService_Delete_FullMethodName:     {tenants.PermTenants, byID[*tmsv1.DeleteTenantRequest]()},
	tmsv1.TenantService_Undelete_FullMethodName:   {tenants.PermTenants, byID[*tmsv1.UndeleteTenantRequest]()},
	tmsv1.TenantService_Purge_FullMethodName:      {tenants.PermPurge, byID[*tmsv1.PurgeTenantRequest]()},
	tmsv1.TenantService_Check_FullMethodName:      {tenants.PermCheck, of(checked)},
	tmsv1.TenantService_BatchCheck_FullMethodName: {tenants.PermCheck, of(batchChecked)},
	tmsv1.TenantService_Resolve_FullMethodName:    {tenants.PermCheck, free}, // the rule alone, no registry

	tmsv1.EventService_WatchTenants_FullMethodName: {tenants.PermCheck, free}, // shows the key's tenants only

	tmsv1.WebhookService_Create_FullMethodName:         {tenants.PermWebhooks, fleet},
	tmsv1.WebhookService_Get_FullMethodName:            {tenants.PermWebhooks, fleet},
	tmsv1.WebhookService_List_FullMethodName:           {tenants.PermWebhooks, fleet},
	tmsv1.WebhookService_Update_FullMethodName:         {tenants.PermWebhooks, fleet},
	tmsv1.WebhookService_Delete_FullMethodName:         {tenants.PermWebhooks, fleet},
	tmsv1.WebhookService_RotateSecret_FullMethodName:   {tenants.PermWebhooks, fleet},
	tmsv1.WebhookService_Test_FullMethodName:           {tenants.PermWebhooks, fleet},
	tmsv1.WebhookService_ListDeliveries_FullMethodName: {tenants.PermWebhooks, fleet},

	tmsv1.OperationService_Get_FullMethodName:  {tenants.PermRead, free}, // handler looks whose it is
	tmsv1.OperationService_List_FullMethodName: {tenants.PermRead, free},

	tmsv1.AuditService_List_FullMethodName: {tenants.PermAudit, fleet},

	tmsv1.ApiKeyService_Create_FullMethodName: {tenants.PermKeys, fleet},
	tmsv1.ApiKeyService_List_FullMethodName:   {tenants.PermKeys, fleet},
	tmsv1.ApiKeyService_Rotate_FullMethodName: {tenants.PermKeys, fleet},
	tmsv1.ApiKeyService_Revoke_FullMethodName: {tenants.PermKeys, fleet},

	tmsv1.FleetService_Discover_FullMethodName: {tenants.PermRead, fleet},
	tmsv1.FleetService_Import_FullMethodName:   {tenants.PermTenants, of((*tmsv1.ImportFleetRequest).GetTenants)},
	tmsv1.FleetService_Adopt_FullMethodName:    {tenants.PermTenants, of(func(r *tmsv1.AdoptTenantRequest) []string { return []string{r.GetAdoptAs(), r.GetCodeName()} })},
	tmsv1.FleetService_Show_FullMethodName:     {tenants.PermRead, byID[*tmsv1.ShowFleetTenantRequest]()},
	tmsv1.FleetService_Drift_FullMethodName:    {tenants.PermRead, fleet},

	tmsv1.BackupService_PutRepository_FullMethodName:    {tenants.PermBackups, fleet},
	tmsv1.BackupService_VerifyRepository_FullMethodName: {tenants.PermBackups, fleet},
	tmsv1.BackupService_ListRepositories_FullMethodName: {tenants.PermRead, fleet},
	tmsv1.BackupService_RemoveRepository_FullMethodName: {tenants.PermBackups, fleet},
	tmsv1.BackupService_ImportRepository_FullMethodName: {tenants.PermBackups, fleet},
	tmsv1.BackupService_CreateSnapshot_FullMethodName: {tenants.PermBackups, of(func(r *tmsv1.CreateBackupSnapshotRequest) []string {
		return r.GetSelection().GetTenants() // labels and rollouts only narrow them
	})},
	tmsv1.BackupService_GetSnapshot_FullMethodName:    {tenants.PermRead, free}, // handler looks whose it is
	tmsv1.BackupService_ListSnapshots_FullMethodName:  {tenants.PermRead, free},
	tmsv1.BackupService_DeleteSnapshot_FullMethodName: {tenants.PermBackups, fleet},
	tmsv1.BackupService_PlanRestore_FullMethodName:    {tenants.PermRead, of(func(r *tmsv1.StartBackupRestoreRequest) []string { return []string{r.GetTenantId()} })},
	tmsv1.BackupService_StartRestore_FullMethodName:   {tenants.PermBackups, of(func(r *tmsv1.StartBackupRestoreRequest) []string { return []string{r.GetTenantId()} })},
	tmsv1.BackupService_GetRestore_FullMethodName:     {tenants.PermRead, free}, // handler looks whose it is
	tmsv1.BackupService_ListRestores_FullMethodName:   {tenants.PermRead, free},
	tmsv1.BackupService_RemoveRestore_FullMethodName:  {tenants.PermBackups, free}, // handler looks whose it is

	tmsv1.BackupService_StartDrill_FullMethodName:   {tenants.PermBackups, of(func(r *tmsv1.StartBackupDrillRequest) []string { return []string{r.GetTenantId()} })},
	tmsv1.BackupService_CreatePolicy_FullMethodName: {tenants.PermBackups, fleet},
	tmsv1.BackupService_GetPolicy_FullMethodName:    {tenants.PermRead, fleet},
	tmsv1.BackupService_ListPolicies_FullMethodName: {tenants.PermRead, fleet},
	tmsv1.BackupService_UpdatePolicy_FullMethodName: {tenants.PermBackups, fleet},
	tmsv1.BackupService_DeletePolicy_FullMethodName: {tenants.PermBackups, fleet},
	tmsv1.BackupService_RunPolicy_FullMethodName:    {tenants.PermBackups, fleet},

	tmsv1.ClusterService_Add_FullMethodName:      {tenants.PermClusters, fleet},
	tmsv1.ClusterService_Update_FullMethodName:   {tenants.PermClusters, fleet},
	tmsv1.ClusterService_Remove_FullMethodName:   {tenants.PermClusters, fleet},
	tmsv1.ClusterService_Verify_FullMethodName:   {tenants.PermUpgrades, fleet},
	tmsv1.ClusterService_Get_FullMethodName:      {tenants.PermRead, fleet},
	tmsv1.ClusterService_List_FullMethodName:     {tenants.PermRead, fleet},
	tmsv1.ClusterService_Capacity_FullMethodName: {tenants.PermRead, fleet},

	tmsv1.CleanupService_Plan_FullMethodName: {tenants.PermRead, of((*tmsv1.PlanCleanupRequest).GetTenants)},
	tmsv1.CleanupService_Run_FullMethodName:  {tenants.PermPurge, of((*tmsv1.RunCleanupRequest).GetTenants)},

	tmsv1.ReleaseService_List_FullMethodName:    {tenants.PermRead, free},
	tmsv1.ReleaseService_Get_FullMethodName:     {tenants.PermRead, free},
	tmsv1.ReleaseService_Export_FullMethodName:  {tenants.PermRead, free},
	tmsv1.ReleaseService_Save_FullMethodName:    {tenants.PermUpgrades, fleet},
	tmsv1.ReleaseService_Capture_FullMethodName: {tenants.PermUpgrades, fleet},
	tmsv1.ReleaseService_Remove_FullMethodName:  {tenants.PermUpgrades, fleet},

	// A rollout shows all of its tenants, and commands concern all of them.
	tmsv1.UpgradeService_Plan_FullMethodName:           {tenants.PermRead, of(func(r *tmsv1.PlanRolloutRequest) []string { return r.GetOptions().GetTenants() })}, // writes nothing
	tmsv1.UpgradeService_Get_FullMethodName:            {tenants.PermRead, fleet},
	tmsv1.UpgradeService_List_FullMethodName:           {tenants.PermRead, fleet},
	tmsv1.UpgradeService_Watch_FullMethodName:          {tenants.PermRead, fleet},
	tmsv1.UpgradeService_Start_FullMethodName:          {tenants.PermUpgrades, of(func(r *tmsv1.StartRolloutRequest) []string { return r.GetOptions().GetTenants() })},
	tmsv1.UpgradeService_Pause_FullMethodName:          {tenants.PermUpgrades, fleet},
	tmsv1.UpgradeService_Resume_FullMethodName:         {tenants.PermUpgrades, fleet},
	tmsv1.UpgradeService_Cancel_FullMethodName:         {tenants.PermUpgrades, fleet},
	tmsv1.UpgradeService_Retry_FullMethodName:          {tenants.PermUpgrades, fleet},
	tmsv1.UpgradeService_Switch_FullMethodName:         {tenants.PermUpgrades, fleet},
	tmsv1.UpgradeService_Set_FullMethodName:            {tenants.PermUpgrades, fleet},
	tmsv1.UpgradeService_Skip_FullMethodName:           {tenants.PermUpgrades, fleet},
	tmsv1.UpgradeService_Rollback_FullMethodName:       {tenants.PermUpgrades, fleet},
	tmsv1.UpgradeService_Approve_FullMethodName:        {tenants.PermUpgrades, fleet},
	tmsv1.UpgradeService_Gates_FullMethodName:          {tenants.PermRead, fleet},
	tmsv1.UpgradeService_Finalize_FullMethodName:       {tenants.PermUpgrades, fleet},
	tmsv1.UpgradeService_Retain_FullMethodName:         {tenants.PermUpgrades, fleet},
	tmsv1.UpgradeService_ListQuarantine_FullMethodName: {tenants.PermUpgrades, fleet}, // shows customers' documents

	tmsv1.BudgetService_List_FullMethodName:      {tenants.PermRead, fleet},
	tmsv1.BudgetService_Set_FullMethodName:       {tenants.PermUpgrades, fleet},
	tmsv1.BudgetService_StopAll_FullMethodName:   {tenants.PermUpgrades, fleet},
	tmsv1.BudgetService_ResumeAll_FullMethodName: {tenants.PermUpgrades, fleet},
	tmsv1.ProgressService_Get_FullMethodName:     {tenants.PermRead, fleet},
	tmsv1.ProgressService_Watch_FullMethodName:   {tenants.PermRead, fleet},
	tmsv1.ProgressService_Report_FullMethodName:  {tenants.PermUpgrades, fleet}, // with the audit trail

	tmsv1.RehearsalService_Start_FullMethodName:  {tenants.PermUpgrades, of(func(r *tmsv1.StartRehearsalRequest) []string { return []string{r.GetTenantId()} })},
	tmsv1.RehearsalService_Get_FullMethodName:    {tenants.PermUpgrades, free}, // handler looks whose it is; names customers' documents
	tmsv1.RehearsalService_List_FullMethodName:   {tenants.PermUpgrades, of(func(r *tmsv1.ListRehearsalsRequest) []string { return []string{r.GetTenantId()} })},
	tmsv1.RehearsalService_Cancel_FullMethodName: {tenants.PermUpgrades, free}, // handler looks whose it is

	tmsv1.VerificationService_GetProof_FullMethodName:          {tenants.PermRead, of(func(r *tmsv1.GetProofRequest) []string { return []string{r.GetTenantId()} })},
	tmsv1.VerificationService_Recheck_FullMethodName:           {tenants.PermUpgrades, fleet},
	tmsv1.VerificationService_Repair_FullMethodName:            {tenants.PermUpgrades, fleet},
	tmsv1.VerificationService_RedriveQuarantine_FullMethodName: {tenants.PermUpgrades, fleet},
	tmsv1.VerificationService_DropQuarantine_FullMethodName:    {tenants.PermUpgrades, fleet},
	tmsv1.VerificationService_ListMismatches_FullMethodName:    {tenants.PermUpgrades, fleet}, // may show customers' documents
	tmsv1.VerificationService_GetErrand_FullMethodName:         {tenants.PermUpgrades, fleet},
	tmsv1.VerificationService_CancelErrand_FullMethodName:      {tenants.PermUpgrades, fleet},
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
	r, ok := access[method]
	if !ok || !p.Role.Can(r.need) {
		return refusedRole(p, method)
	}
	if p.Tenants != nil && !r.scope.free && r.scope.of == nil {
		return tenants.RestrictedError(p, method)
	}
	return nil
}

// within says whether a request stays within the tenants of its caller.
func within(p tenants.Principal, method string, request any) error {
	if p.Tenants == nil || isOpen(method) {
		return nil
	}
	s := access[method].scope
	if s.free {
		return nil
	}
	var ids []string
	if s.of != nil {
		ids = s.of(request)
	}
	if len(ids) == 0 {
		return tenants.RestrictedError(p, "all tenants")
	}
	for _, id := range ids {
		if !p.MayTouch(id) {
			return tenants.RestrictedError(p, fmt.Sprintf("tenant %q", id))
		}
	}
	return nil
}

func refusedRole(p tenants.Principal, what string) error {
	return &tenants.Error{
		Code: tenants.CodePermissionDenied, Reason: tenants.ReasonRoleTooSmall,
		Message:  fmt.Sprintf("API key %s with role %s may not call %s", p.KeyID, p.Role, what),
		Remedy:   "use a key whose role allows it, see `tms key create --help`",
		Metadata: map[string]string{"key": p.KeyID, "role": string(p.Role)},
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
