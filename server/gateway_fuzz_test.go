package server_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/tenants"
)

// Whatever the path, the query and the body: an answer in the form of all
// others, and never one that blames us.
func FuzzREST(f *testing.F) {
	b := setup(f)
	for _, seed := range [][3]string{
		{"POST", "/v1/tenants", `{"id": "acme", "release": "0.8.1", "labels": {"a": "b"}, "attributes": {"x": [1, null]}}`},
		{"PATCH", "/v1/tenants/acme?update_mask=labels", `{"etag": "*", "labels": {}}`},
		{"GET", "/v1/tenants?filter=state:active&order_by=id+desc&page_token=AAAA&page_size=5", ""},
		{"GET", "/v1/hosts/acme.example.com:check", ""}, {"DELETE", "/v1/tenants/acme?etag=*", ""},
		{"POST", "/v1/tenants/acme:purge", `{"without_snapshot": true, "validate_only": true}`},
		{"POST", "/v1/tenants:batchCheck", `{"ids": ["a"], "hosts": ["b.c.d"]}`}, {"GET", "/v1/audit?start_time=x", ""},
		{"POST", "/v1/apiKeys", `{"display_name": "x", "role": "viewer", "ttl": "-1s", "tenants": ["acme"]}`}, {"GET", "/tenant/%00", ""},
		{"GET", "/v1/tenants?filter=release:%00", ""}, {"GET", "/v1/audit?subject=%00", ""}, {"GET", "/v1/operations/%00", ""}, {"GET", "/v1/tenants?labels[%00]=%00", ""},
		{"POST", "/v1/apiKeys/%00:revoke", "{}"}, {"POST", "/v1/apiKeys", `{"display_name": "\u0000", "role": "viewer"}`}, {"POST", "/v1/tenants", `{"tenant": {"id": "nul", "release": "0.8.1", "labels": {"a": "\u0000"}}, "request_id": "\u0000"}`},
		{"POST", "/v1/tenants?request_id=%00", `{"id": "nul", "release": "0.8.1", "attributes": {"a": "\u0000"}}`}, {"PUT", "//v1/../x", "\xff"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, method, target, body string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || !strings.HasPrefix(target, "/") || strings.Contains(u.Path, ":watch") {
			return
		}
		r, err := http.NewRequestWithContext(t.Context(), method, "http://tms.example.com"+target, strings.NewReader(body))
		if err != nil {
			return
		}
		r.Header.Set("Authorization", "Bearer "+adminKey)
		w := httptest.NewRecorder()
		b.server.Handler().ServeHTTP(w, r)
		require.NotContains(t, []int{http.StatusInternalServerError, http.StatusServiceUnavailable}, w.Code, "%s %s %s: %s", method, target, body, w.Body)
		if w.Code >= 400 && strings.HasPrefix(u.Path, "/v1/") && method != http.MethodHead {
			require.Contains(t, w.Body.String(), "reason", "%s %s", method, target)
		}
	})
}

// Install tokens are for those who install and those who provision.
func TestWhoSeesInstallTokens(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create("acme")
	for role, sees := range map[tenants.Role]bool{
		tenants.RoleViewer: false, tenants.RoleOperator: false, tenants.RoleProvisioner: true, tenants.RoleAdmin: true,
	} {
		_, key := b.key(role)
		got, err := b.tenants.Get(b.as(key), &tmsv1.GetTenantRequest{Id: "acme"})
		require.NoError(t, err)
		require.Equal(t, sees, got.GetInstallToken() != "", role)
	}
	_, instance := b.key(tenants.RoleInstance)
	require.NotEmpty(t, b.http("GET", "/tenant/acme", instance, "").json(t)["install_token"])
}
