package server_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

func TestAuditTellsWhoChangedWhat(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create("acme")
	_, err := b.tenants.Update(b.admin(), &tmsv1.UpdateTenantRequest{
		Tenant:     &tmsv1.Tenant{Id: "acme", DisplayName: "Acme", InstallToken: "open sesame", Etag: "*"},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"display_name", "install_token"}},
	})
	require.NoError(t, err)
	require.Equal(t, 200, b.http("DELETE", "/tenant/acme", instanceKey, "").code)
	require.Equal(t, 200, b.http("POST", "/v1/tenants/acme:undelete", adminKey, "{}").code)

	var actions []string
	request := &tmsv1.ListAuditRequest{Subject: "acme", Action: "tenant.", PageSize: 1}
	for {
		page, err := b.audit.List(b.admin(), request)
		require.NoError(t, err)
		for _, r := range page.GetRecords() {
			actions = append(actions, r.GetAction()+" by "+r.GetKeyId())
			require.Equal(t, "127.0.0.1", r.GetOrigin())
			require.NotEmpty(t, r.GetRequestId())
			require.NotContains(t, r.String(), "sesame")
			if r.GetAction() == "tenant.update" {
				require.Equal(t, map[string]any{"display_name": "Acme", "install_token": "***"}, r.GetDetail().AsMap()["after"])
			}
		}
		if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
			break
		}
	}
	require.Equal(t, "tenant.undelete by env-admin, tenant.delete by env-instance, tenant.update by env-admin, tenant.create by env-admin", strings.Join(actions, ", "))
	none, err := b.audit.List(b.admin(), &tmsv1.ListAuditRequest{EndTime: timestamppb.New(b.clock.now().AddDate(-1, 0, 0))})
	require.NoError(t, err)
	require.Empty(t, none.GetRecords())
	_, err = b.audit.List(b.admin(), &tmsv1.ListAuditRequest{PageToken: "AAAA"})
	refused(t, err, codes.InvalidArgument, "INVALID_PAGE_TOKEN")
}
