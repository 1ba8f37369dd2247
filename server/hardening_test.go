package server_test

import (
	"bufio"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/emptypb"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/tenants"
)

func TestAnswersTellBrowsersToDoNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, path := range []string{"/healthz", "/tenant/acme", "/v1/tenants", "/nothing"} {
		r := b.http("GET", path, adminKey, "")
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
		} {
			require.Equal(t, want, r.header.Get(name), "%s of %s", name, path)
		}
	}
	r := b.http("GET", "/nothing", "", "")
	require.Equal(t, 404, r.code)
	require.Equal(t, "not found", r.json(t)["detail"])
	r = b.http("PUT", "/tenant", "", "")
	require.Equal(t, 405, r.code)
	require.Contains(t, r.header.Get("Allow"), "POST")
}

func TestWhatIsTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	large := `{"id": "acme", "display_name": "` + strings.Repeat("x", 2<<20) + `"}`
	r := b.http("POST", "/v1/tenants", adminKey, large)
	require.Equal(t, http.StatusRequestEntityTooLarge, r.code)
	require.Contains(t, r.body, "REQUEST_TOO_LARGE")
	_, err := b.tenants.Create(b.admin(), &tmsv1.CreateTenantRequest{Tenant: &tmsv1.Tenant{Id: "acme", DisplayName: strings.Repeat("x", 5<<20)}})
	require.ErrorContains(t, err, "larger than max")
	ids := make([]string, tenants.MaxBatchCheck+1)
	for i := range ids {
		ids[i] = "acme"
	}
	_, err = b.tenants.BatchCheck(b.admin(), &tmsv1.BatchCheckTenantsRequest{Ids: ids})
	refused(t, err, codes.InvalidArgument, "INVALID_FIELD")
	_, err = b.tenants.List(b.admin(), &tmsv1.ListTenantsRequest{PageSize: 1001})
	refused(t, err, codes.InvalidArgument, "INVALID_FIELD")
	err = b.conn.Invoke(b.admin(), "/tms.v1.TenantService/Future", &emptypb.Empty{}, &emptypb.Empty{})
	refused(t, err, codes.PermissionDenied, "ROLE_NOT_ALLOWED")
	err = b.conn.Invoke(b.Context(), "/somebody.Else/Call", &emptypb.Empty{}, &emptypb.Empty{})
	refused(t, err, codes.Unauthenticated, "CREDENTIALS_MISSING")
}

// A client that sends its request a byte at a time loses its connection; it
// does not occupy a handler.
func TestSlowClientsAreCutOff(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for the time-outs")
	}
	b := setup(t)
	host := strings.TrimPrefix(b.url, "http://")
	for name, begin := range map[string]string{
		"headers": "GET /tenant/acme HTTP/1.1\r\nHost: x\r\nX-Slow: ",
		"body":    "POST /tenant HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", host)
			require.NoError(t, err)
			defer conn.Close()
			_, err = conn.Write([]byte(begin))
			require.NoError(t, err)
			stop := make(chan struct{})
			defer close(stop)
			go func() {
				tick := time.NewTicker(200 * time.Millisecond)
				defer tick.Stop()
				for {
					select {
					case <-stop:
						return
					case <-tick.C:
						if _, err := conn.Write([]byte("x")); err != nil {
							return
						}
					}
				}
			}()
			require.NoError(t, conn.SetReadDeadline(time.Now().Add(40*time.Second)))
			in := bufio.NewReader(conn)
			res, err := http.ReadResponse(in, nil)
			if err == nil { // told so, and then cut off
				require.GreaterOrEqual(t, res.StatusCode, 400)
				_ = res.Body.Close()
				require.True(t, res.Close)
				return
			}
			var timeout net.Error
			require.False(t, asTimeout(err, &timeout), "still open after the time-out: %v", err)
		})
	}
}

func asTimeout(err error, target *net.Error) bool {
	n, ok := err.(net.Error) //nolint:errorlint // from the connection itself
	*target = n
	return ok && n.Timeout()
}

func TestFiltersBatchesAndDryRuns(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for id, tier := range map[string]string{"aaa": "gold", "bbb": "gold", "ccc": "iron"} {
		_, err := b.tenants.Create(b.admin(), &tmsv1.CreateTenantRequest{Tenant: &tmsv1.Tenant{Id: id, Release: "0.8.1", Labels: map[string]string{"tier": tier}}})
		require.NoError(t, err)
	}
	list := b.http("GET", "/v1/tenants?filter=state:active+label.tier:gold+release:0.8.1&order_by=id+desc&page_size=1&show_total=true", adminKey, "").json(t)
	require.EqualValues(t, 2, list["total_size"])
	require.Equal(t, "bbb", list["tenants"].([]any)[0].(map[string]any)["id"])
	token := list["next_page_token"].(string)
	next, err := b.tenants.List(b.admin(), &tmsv1.ListTenantsRequest{Filter: "label.tier:gold state:active release:0.8.1", OrderBy: "id desc", PageSize: 1, PageToken: token})
	require.NoError(t, err, "the order of the terms does not matter")
	require.Equal(t, "aaa", next.GetTenants()[0].GetId())
	_, err = b.tenants.List(b.admin(), &tmsv1.ListTenantsRequest{Filter: "label.tier:iron", OrderBy: "id desc", PageToken: token})
	refused(t, err, codes.InvalidArgument, "INVALID_PAGE_TOKEN")
	_, err = b.tenants.List(b.admin(), &tmsv1.ListTenantsRequest{Filter: "colour:red"})
	refused(t, err, codes.InvalidArgument, "INVALID_FIELD")
	_, err = b.tenants.List(b.admin(), &tmsv1.ListTenantsRequest{OrderBy: "email"})
	refused(t, err, codes.InvalidArgument, "INVALID_FIELD")

	got, err := b.tenants.BatchGet(b.admin(), &tmsv1.BatchGetTenantsRequest{Ids: []string{"ccc", "aaa"}})
	require.NoError(t, err)
	require.Equal(t, "ccc", got.GetTenants()[0].GetId())
	_, err = b.tenants.BatchGet(b.admin(), &tmsv1.BatchGetTenantsRequest{Ids: []string{"ccc", "zzz"}})
	refused(t, err, codes.NotFound, "TENANT_NOT_FOUND")
	checked, err := b.tenants.BatchCheck(b.as(instanceKey), &tmsv1.BatchCheckTenantsRequest{Ids: []string{"aaa", "zzz"}, Hosts: []string{"b-b-b.example.com"}})
	require.NoError(t, err)
	require.Len(t, checked.GetResults(), 3)
	require.Equal(t, "unknown", checked.GetResults()[1].GetReason())
	require.Equal(t, "bbb", checked.GetResults()[2].GetId())
	require.True(t, checked.GetResults()[2].GetAllowed())

	dry, err := b.tenants.Delete(b.admin(), &tmsv1.DeleteTenantRequest{Id: "aaa", Etag: "*", ValidateOnly: true})
	require.NoError(t, err)
	require.Equal(t, "deleted", dry.GetState())
	still, err := b.tenants.Check(b.admin(), &tmsv1.CheckTenantRequest{Id: "aaa"})
	require.NoError(t, err)
	require.True(t, still.GetAllowed())
}

func TestPurgeOverTheWire(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create("acme")
	_, operator := b.key(tenants.RoleOperator)
	_, err := b.tenants.Purge(b.as(operator), &tmsv1.PurgeTenantRequest{Id: "acme", WithoutSnapshot: true})
	refused(t, err, codes.FailedPrecondition, "WRONG_STATE")
	_, err = b.tenants.Delete(b.admin(), &tmsv1.DeleteTenantRequest{Id: "acme", Etag: "*"})
	require.NoError(t, err)
	_, err = b.tenants.Purge(b.as(operator), &tmsv1.PurgeTenantRequest{Id: "acme"})
	refused(t, err, codes.FailedPrecondition, "SNAPSHOT_REQUIRED")
	r := b.http("POST", "/v1/tenants/acme:purge", operator, `{"without_snapshot": true}`)
	require.Equal(t, 200, r.code, r.body)
	id := r.json(t)["id"].(string)
	require.Equal(t, "running", r.json(t)["state"])
	require.NoError(t, b.purges.Work(t.Context(), id))
	op, err := b.jobs.Get(b.as(operator), &tmsv1.GetOperationRequest{Id: id})
	require.NoError(t, err)
	require.Equal(t, "succeeded", op.GetState())
	require.NotNil(t, op.GetResult().GetProofTime())
	list, err := b.jobs.List(b.as(operator), &tmsv1.ListOperationsRequest{TenantId: "acme", State: "succeeded"})
	require.NoError(t, err)
	require.Len(t, list.GetOperations(), 1)
	gone, err := b.tenants.Get(b.admin(), &tmsv1.GetTenantRequest{Id: "acme"})
	require.NoError(t, err)
	require.Equal(t, "purged", gone.GetState())
	require.Empty(t, gone.GetInstallToken())
	_, err = b.tenants.Undelete(b.admin(), &tmsv1.UndeleteTenantRequest{Id: "acme"})
	refused(t, err, codes.FailedPrecondition, "WRONG_STATE")
	_, err = b.tenants.Create(b.admin(), &tmsv1.CreateTenantRequest{Tenant: &tmsv1.Tenant{Id: "acme", Release: "0.8.1"}})
	refused(t, err, codes.AlreadyExists, "TENANT_ID_PURGED")
	_, err = b.tenants.Create(b.admin(), &tmsv1.CreateTenantRequest{Tenant: &tmsv1.Tenant{Id: "acme", Release: "0.8.1"}, AllowReuse: true})
	require.NoError(t, err)
	require.Equal(t, 404, b.http("GET", "/v1/operations/nothing", operator, "").code)
}
