package server_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/tenants"
)

// A change of SECRET with the former one accepted: tokens, of stored keys and
// of those from the environment, and install tokens go on; with the former one
// taken away they end.
func TestChangeOfSecret(t *testing.T) {
	t.Parallel()
	before := setup(t)
	before.create("acme")
	_, key := before.key(tenants.RoleViewer)
	token, envToken := before.token(key), before.token(instanceKey)
	want := before.http("GET", "/tenant/acme", envToken, "").json(t)["install_token"]
	require.NotEmpty(t, want)

	during := setupWith(t, options{dsn: before.dsn, secret: "the next secret", old: secret})
	_, err := during.tenants.Get(during.as(token), &tmsv1.GetTenantRequest{Id: "acme"})
	require.NoError(t, err)
	require.Equal(t, want, during.http("GET", "/tenant/acme", envToken, "").json(t)["install_token"])
	fresh := during.token(instanceKey)

	after := setupWith(t, options{dsn: before.dsn, secret: "the next secret"})
	_, err = after.tenants.Get(after.as(token), &tmsv1.GetTenantRequest{Id: "acme"})
	refused(t, err, codes.Unauthenticated, "TOKEN_INVALID")
	require.Equal(t, 401, after.http("GET", "/tenant/acme", envToken, "").code)
	require.Equal(t, 503, after.http("GET", "/tenant/acme", fresh, "").code, "sealed with the former secret and never changed since")
	got, err := during.tenants.Update(during.admin(), &tmsv1.UpdateTenantRequest{Tenant: &tmsv1.Tenant{Id: "acme", DisplayName: "Acme", Etag: "*"}})
	require.NoError(t, err)
	require.Equal(t, want, got.GetInstallToken())
	require.Eventually(t, func() bool {
		r := after.http("GET", "/tenant/acme", fresh, "")
		return r.code == 200 && r.json(t)["install_token"] == want
	}, patience, tick, "any change seals it anew")
}
