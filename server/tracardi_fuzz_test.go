package server_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// tracardiCodes are all that these routes may answer to any request of a
// caller who may call them; 429 to one who calls as often as a fuzzer. 5xx is
// for a database that does not answer.
var tracardiCodes = []int{200, 301, 307, 400, 401, 404, 405, 409, 422, 429}

// FuzzTracardi sends any method, path and body to the routes, on a real
// database. Nothing panics, everything is answered by JSON of the right shape,
// and what was accepted can be read back.
func FuzzTracardi(f *testing.F) {
	b := setup(f)
	b.create("taken")
	token := b.token(instanceKey)
	for _, seed := range [][3]string{
		{"GET", "/api-key/" + instanceKey, ""}, {"GET", "/api-key/%2F..%00", ""}, {"GET", "/tenant/taken", ""}, {"GET", "/tenant/%ff%00", ""},
		{"GET", "//tenant/../tenants?x=%zz", ""}, {"HEAD", "/tenants", ""}, {"DELETE", "/tenant/nobody", ""}, {"DELETE", "/tenant/%00", ""}, {"PUT", "/tenant", "{}"},
		{"POST", "/tenant", `{"id":"acme","name":"A","install_token":"t","email":"a@b.example","created":"2026-01-02","expire":null}`},
		{"POST", "/tenant", `{"id":"acme1","install_key":"t","license_id":"L","expire":4102444800.5,"domain":"a.example.com","gui_url":"http://x.example"}`},
		{"POST", "/tenant", `{"id":"nul","name":"\u0000","email":"\u0000@x.example"}`}, {"POST", "/tenant", `{"id":"nul1","license_id":"\u0000","install_token":"\u0000"}`},
		{"POST", "/tenant", `{"id":"bad","name":"` + "\xff\xfe" + `","release":"\ud800"}`}, {"POST", "/tenant", `{"id":"big","expire":1e308}`},
		{"POST", "/tenant", `{"id":"old","expire":"0000-01-01T00:00:00Z"}`}, {"POST", "/tenant", `{"id":"far","expire":"9999-12-31T23:59:59.999999999-23:59"}`},
		{"POST", "/tenant", `{"id":"taken"}`}, {"POST", "/tenant", `null`}, {"POST", "/tenant", `{"id":"x"} {}`}, {"POST", "/tenant", `{"ID":"acme","id":null}`},
		{"POST", "/tenant", strings.Repeat(`{"a":`, 20_000)},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, method, path, body string) {
		r, ok := fuzzRequest(method, path, body)
		if !ok {
			t.Skip("not a request that net/http would hand on")
		}
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		b.server.Handler().ServeHTTP(w, r.WithContext(t.Context()))
		if strings.HasPrefix(r.URL.Path, "/v1") || strings.HasSuffix(r.URL.Path, "z") {
			return // not these routes
		}
		require.Contains(t, tracardiCodes, w.Code, "%s %q %q: %s", method, path, body, w.Body)
		switch {
		case w.Code == 422:
			requireDetail(t, w.Body.Bytes())
		case w.Code == http.StatusOK && method == http.MethodPost:
			requireKept(t, b, token, w.Body.Bytes())
		}
	})
}

// fuzzRequest makes what net/http would make of the line and the body.
func fuzzRequest(method, path, body string) (*http.Request, bool) {
	if !slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}, method) || !strings.HasPrefix(path, "/") {
		return nil, false
	}
	target, err := url.ParseRequestURI(path)
	if err != nil {
		return nil, false
	}
	r := httptest.NewRequest(method, "/", strings.NewReader(body))
	r.URL, r.RequestURI = target, path
	return r, true
}

// requireDetail holds the body of a 422 to the form that clients read.
func requireDetail(t *testing.T, body []byte) {
	t.Helper()
	var answer struct {
		Detail []struct {
			Loc       []any
			Msg, Type string
		}
	}
	require.NoError(t, json.Unmarshal(body, &answer), "%s", body)
	require.NotEmpty(t, answer.Detail, "%s", body)
	for _, d := range answer.Detail {
		require.NotEmpty(t, d.Loc, "%s", body)
		require.Equal(t, "body", d.Loc[0], "%s", body)
		require.NotEmpty(t, d.Msg, "%s", body)
		require.NotEmpty(t, d.Type, "%s", body)
	}
}

// requireKept asks for the tenant that was just made, and deletes it.
func requireKept(t *testing.T, b *bundle, token string, body []byte) {
	t.Helper()
	var made struct{ ID string }
	require.NoError(t, json.Unmarshal(body, &made), "%s", body)
	for _, method := range []string{"GET", "DELETE"} {
		r := httptest.NewRequest(method, "/tenant/"+made.ID, nil).WithContext(t.Context())
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		b.server.Handler().ServeHTTP(w, r)
		// A tenant may be registered with an end that has passed.
		require.Contains(t, []int{200, 404, 429}, w.Code, "%s %s: %s", method, made.ID, w.Body)
	}
}
