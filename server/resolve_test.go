package server_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

func TestResolve(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ask := func(host string) reply {
		return b.http("GET", "/v1/tenants:resolve?host="+url.QueryEscape(host), instanceKey, "")
	}
	// The tenant need not exist: this is the rule, not the registry.
	r := ask("company-x.example.com:8686")
	require.Equal(t, 200, r.code, r.body)
	require.JSONEq(t, `{"id": "companyx", "reason": "", "message": ""}`, r.body)
	for host, reason := range map[string]string{
		"example.com": "too_few_labels", "[::1]:80": "ip_address", "142.example.com": "number", "a.example.com": "too_short", "a b.example.com": "invalid_host",
	} {
		r := ask(host)
		require.Equal(t, 200, r.code, r.body)
		got := r.json(t)
		require.Empty(t, got["id"], host)
		require.Equal(t, reason, got["reason"], host)
		require.NotEmpty(t, got["message"], host)
	}
	require.Equal(t, 400, ask("").code)
	require.Equal(t, 400, ask(strings.Repeat("a", 261)).code)
	require.Equal(t, 401, b.http("GET", "/v1/tenants:resolve?host=a.example.com", "", "").code)

	got, err := b.tenants.Resolve(b.as(instanceKey), &tmsv1.ResolveTenantRequest{Host: "Acme.example.com."})
	require.NoError(t, err)
	require.Equal(t, "acme", got.GetId())
	_, err = b.tenants.Resolve(b.as("nonsense"), &tmsv1.ResolveTenantRequest{Host: "acme.example.com"})
	require.Equal(t, codes.Unauthenticated, status.Code(err))
}
