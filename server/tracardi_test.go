package server_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/tenants"
)

func (b *bundle) token(key string) string {
	b.Helper()
	r := b.http("GET", "/api-key/"+key, "", "")
	require.Equal(b, 200, r.code, r.body)
	var token string
	require.NoError(b, json.Unmarshal([]byte(r.body), &token))
	return token
}

func TestTracardiProvisionsAndAsks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	token := b.token(instanceKey)

	r := b.http("POST", "/tenant", token, `{"id": "acme", "name": "Acme", "email": "ops@acme.example", "install_key": "abc-123",
		"created": "2026-01-02T03:04:05.678901", "expire": "2099-01-01", "license_id": "L1", "unknown": [1]}`)
	require.Equal(t, 200, r.code, r.body)

	r = b.http("GET", "/tenant/acme", token, "")
	require.Equal(t, 200, r.code, r.body)
	got := r.json(t)
	require.Equal(t, "acme", got["id"])
	require.Equal(t, "abc-123", got["install_token"])
	require.Equal(t, "abc-123", got["install_key"])
	require.Equal(t, "0.8.1", got["release"])

	for _, path := range []string{"/tenants", "/tenant"} {
		r = b.http("GET", path, token, "")
		require.Equal(t, 200, r.code, r.body)
		var list []map[string]any
		require.NoError(t, json.Unmarshal([]byte(r.body), &list))
		require.Len(t, list, 1)
		require.Equal(t, "acme", list[0]["id"])
		require.NotContains(t, r.body, "abc-123", "lists show no install tokens")
	}

	require.Equal(t, 200, b.http("DELETE", "/tenant/acme", token, "").code)
	require.Equal(t, 404, b.http("GET", "/tenant/acme", token, "").code)
	require.JSONEq(t, "[]", b.http("GET", "/tenants", token, "").body)
	r = b.http("GET", "/tenant/nobody", token, "")
	require.Equal(t, 404, r.code)
	require.Contains(t, r.body, "Tenant [nobody] not allowed")
}

func TestTracardiRefusesBodies(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create("taken")
	token := b.token(instanceKey)
	for name, c := range map[string]struct{ body, loc, kind string }{
		"no id":        {`{"name": "x"}`, `["body","id"]`, "value_error.missing"},
		"id a number":  {`{"id": "12345"}`, `["body","id"]`, "value_error"},
		"id taken":     {`{"id": "taken"}`, `["body","id"]`, "value_error.exists"},
		"id no string": {`{"id": 7}`, `["body","id"]`, "type_error"},
		"email":        {`{"id": "acme", "email": "nope"}`, `["body","email"]`, "value_error"},
		"name":         {`{"id": "acme", "name": "` + strings.Repeat("x", 201) + `"}`, `["body","name"]`, "value_error"},
		"expire":       {`{"id": "acme", "expire": "tomorrow"}`, `["body","expire"]`, "value_error.datetime"},
		"release":      {`{"id": "acme", "release": "9.9.9"}`, `["body","release"]`, "value_error"},
		"not JSON":     {`{"id": `, `["body", 7]`, "value_error.jsondecode"},
		"two values":   {`{"id": "acme"} {}`, `["body", 16]`, "value_error.jsondecode"},
		"NUL":          {`{"id": "acme", "name": "a\u0000b"}`, `["body","name"]`, "value_error"},
		"NUL inside":   {`{"id": "acme", "license_id": "\u0000"}`, `["body","license_id"]`, "value_error"},
		"year 10000":   {`{"id": "acme", "expire": "9999-12-31T23:00:00-02:00"}`, `["body","expire"]`, "value_error.datetime"},
		"a list":       {`[]`, `["body"]`, "value_error.jsondecode"},
		"too large":    {`{"name": "` + strings.Repeat("x", 2<<20) + `"}`, `["body"]`, "value_error.jsondecode"},
	} {
		r := b.http("POST", "/tenant", token, c.body)
		require.Equal(t, http.StatusUnprocessableEntity, r.code, "%s: %s", name, r.body)
		var answer struct {
			Detail []struct {
				Loc       json.RawMessage
				Msg, Type string
			}
		}
		require.NoError(t, json.Unmarshal([]byte(r.body), &answer), name)
		require.Len(t, answer.Detail, 1, name)
		require.JSONEq(t, c.loc, string(answer.Detail[0].Loc), name)
		require.Equal(t, c.kind, answer.Detail[0].Type, name)
		require.NotEmpty(t, answer.Detail[0].Msg, name)
	}
}

func TestTracardiRefusesCallers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, viewer := b.key(tenants.RoleViewer)
	id, revoked := b.key(tenants.RoleInstance)
	old := b.token(revoked)
	_, err := b.keys.Revoke(b.admin(), &tmsv1.RevokeApiKeyRequest{Id: id})
	require.NoError(t, err)

	require.Equal(t, 401, b.http("GET", "/api-key/unknown", "", "").code)
	require.Equal(t, 403, b.http("GET", "/api-key/"+revoked, "", "").code)
	require.Equal(t, 401, b.http("GET", "/api-key/"+b.token(instanceKey), "", "").code, "a token cannot renew itself")
	for name, c := range map[string]struct {
		credential string
		code       int
	}{
		"nothing":                {"", 401},
		"unknown":                {"nonsense", 401},
		"forged token":           {"eyJhbGciOiJub25lIn0.eyJzdWIiOiJlbnYtYWRtaW4ifQ.", 401},
		"token of revoked key":   {old, 401},
		"role without the right": {viewer, 403},
	} {
		for _, path := range []string{"/tenant/acme", "/tenants"} {
			r := b.http("GET", path, c.credential, "")
			require.Equal(t, c.code, r.code, "%s %s: %s", name, path, r.body)
			require.NotEmpty(t, r.json(t)["detail"])
		}
	}

	token := b.token(instanceKey)
	b.clock.advance(tenants.TokenTTL + time.Second)
	r := b.http("GET", "/tenants", token, "")
	require.Equal(t, 401, r.code)
	require.Contains(t, r.body, "expired")
}

func TestTracardiSeesNoTenantThatIsNotAllowed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	token := b.token(instanceKey)
	require.Equal(t, 200, b.http("POST", "/tenant", token, `{"id": "acme", "expire": `+
		`"`+time.Now().Add(5*time.Minute).UTC().Format(time.RFC3339)+`"}`).code)
	require.Equal(t, 200, b.http("GET", "/tenant/acme", token, "").code)
	b.clock.advance(6 * time.Minute)
	r := b.http("GET", "/tenant/acme", token, "")
	require.Equal(t, 404, r.code, r.body)
	require.Contains(t, r.body, "expired")
	require.JSONEq(t, "[]", b.http("GET", "/tenants", token, "").body)
}
