package cli_test

import (
	"crypto/rand"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A purge by the command, through the queue, on a real search engine: all of
// the tenant goes, nothing of its neighbour.
func TestTenantPurge(t *testing.T) {
	t.Parallel()
	b := setup(t)
	engine := b.server["TMS_ELASTIC_URLS"]
	id := "p" + strings.ToLower(rand.Text()[:8])
	neighbour := id + "x"
	put := func(path, body string) {
		t.Helper()
		require.Equal(t, http.StatusOK, ask(t, http.MethodPut, engine+path, body), path)
	}
	put("/_index_template/template.08x."+id+".tracardi-event", `{"index_patterns": ["08x.`+id+`.tracardi-event-*-*"], "template": {"settings": {"number_of_replicas": 0}}}`)
	for _, index := range []string{"/08x." + id + ".tracardi-event-2026-1", "/prod-0820." + id + ".tracardi-profile", "/static-08x." + id + ".tracardi-flow", "/" + id + ".tracardi-wreck", "/08x." + neighbour + ".tracardi-profile"} {
		put(index, `{"settings": {"number_of_replicas": 0}}`)
	}
	defer ask(t, http.MethodDelete, engine+"/08x."+neighbour+".tracardi-profile", "")
	put("/08x."+id+".tracardi-event-2026-1/_alias/"+id+".tracardi-event", "")
	put("/08x."+neighbour+".tracardi-profile/_alias/prod-"+id+".tracardi-strayed", "")

	require.Zero(t, run(t, b.client, "tenant", "create", id, "--release", "0.8.1").code)
	early := run(t, b.client, "tenant", "purge", id, "--without-snapshot")
	assert.Equal(t, 3, early.code)
	assert.Contains(t, early.err, "delete it first")
	require.Zero(t, run(t, b.client, "tenant", "delete", id, "--dry-run").code)
	require.Zero(t, run(t, b.client, "tenant", "delete", id).code)
	unsafe := run(t, b.client, "tenant", "purge", id)
	assert.Equal(t, 3, unsafe.code)
	assert.Contains(t, unsafe.err, "--without-snapshot")

	got := run(t, b.client, "tenant", "purge", id, "--without-snapshot", "--wait", "-o", "json")
	require.Zero(t, got.code, got.err)
	var op struct {
		State  string
		Result struct{ Indices, Aliases, Templates int }
	}
	got.decode(t, &op)
	assert.Equal(t, "succeeded", op.State)
	assert.Equal(t, 4, op.Result.Indices)
	assert.Equal(t, 2, op.Result.Aliases)
	assert.Equal(t, 1, op.Result.Templates)
	for _, gone := range []string{"/08x." + id + ".tracardi-event-2026-1", "/prod-0820." + id + ".tracardi-profile", "/" + id + ".tracardi-wreck", "/_alias/prod-" + id + ".tracardi-strayed", "/_index_template/template.08x." + id + ".tracardi-event"} {
		assert.Equal(t, http.StatusNotFound, ask(t, http.MethodGet, engine+gone, ""), gone)
	}
	assert.Equal(t, http.StatusOK, ask(t, http.MethodGet, engine+"/08x."+neighbour+".tracardi-profile", ""))

	again := run(t, b.client, "tenant", "create", id, "--release", "0.8.1")
	assert.Equal(t, 1, again.code)
	assert.Contains(t, again.err, "--allow-reuse")
	require.Zero(t, run(t, b.client, "tenant", "create", id, "--release", "0.8.1", "--allow-reuse").code)
	require.Zero(t, run(t, b.client, "tenant", "list", "--filter", "state:active", "--order-by", "id desc").code)
}

func ask(t *testing.T, method, url, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	return res.StatusCode
}
