package cli_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/internal/devstack/devtest"
)

func get(t *testing.T, address string) int {
	t.Helper()
	client := http.Client{Timeout: startLimit}
	answer, err := client.Get(address)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	return answer.StatusCode
}

func TestServeIsReadyAndStopsCleanly(t *testing.T) {
	t.Parallel()
	b := setup(t)
	assert.Equal(t, http.StatusOK, get(t, b.http+"/readyz"))
	began := time.Now()
	assert.Zero(t, b.stop(), b.logs)
	assert.Less(t, time.Since(began), 15*time.Second)
	assert.NotContains(t, b.logs.String(), "a secret for tests")
	assert.NotContains(t, b.logs.String(), adminKey)
}

func TestServeRefusesAnOldSchema(t *testing.T) {
	t.Parallel()
	env := environment{
		"DATABASE_URL": devtest.Database(t, nil), "TMS_ELASTIC_URLS": "http://127.0.0.1:1", "SECRET": "a secret for tests, long enough",
		"TMS_ADMIN_KEY": adminKey, "TMS_HTTP_ADDR": "127.0.0.1:0", "TMS_GRPC_ADDR": "127.0.0.1:0",
	}
	got := run(t, env, "serve")
	assert.Equal(t, 1, got.code)
	assert.Contains(t, got.err, "run tms migrate")
	assert.Empty(t, got.out)

	migrated := run(t, env, "migrate")
	assert.Zero(t, migrated.code, migrated.err)
	assert.Contains(t, migrated.out, "database schema is at version")
}

// The engine is down: registry and keys work, readiness says why not, and a
// plan says so too.
func TestServeWithoutEngine(t *testing.T) {
	t.Parallel()
	b := serve(t, environment{
		"DATABASE_URL": devtest.Database(t, db.Migrate), "TMS_ELASTIC_URLS": "http://127.0.0.1:1", "SECRET": "a secret for tests, long enough",
		"TMS_ADMIN_KEY": adminKey, "TMS_HTTP_ADDR": "127.0.0.1:0", "TMS_GRPC_ADDR": "127.0.0.1:0", "LOGGING_LEVEL": "error",
	})
	assert.Equal(t, http.StatusServiceUnavailable, get(t, b.http+"/readyz"))
	created := run(t, b.client, "tenant", "create", "acme", "--release", "0.8.1")
	assert.Zero(t, created.code, created.err)
	plan := run(t, b.client, "upgrade", "plan", "--to", "0.8.2")
	assert.Equal(t, 1, plan.code)
	assert.Contains(t, plan.err, "TMS_ELASTIC_URLS")
}

func TestServeNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	complete := environment{"DATABASE_URL": "postgres://tms:hunter2@127.0.0.1:1/tms", "TMS_ELASTIC_URLS": "http://127.0.0.1:1", "SECRET": "a secret for tests, long enough"}
	for name, c := range map[string]struct {
		env  environment
		args []string
		code int
		want string
	}{
		"database":       {complete.with("DATABASE_URL", ""), nil, 2, "DATABASE_URL is not set: set it to postgres://"},
		"secret":         {complete.with("SECRET", ""), nil, 2, "SECRET is not set: set it to a long random string"},
		"short secret":   {complete.with("SECRET", "short"), nil, 2, "SECRET has 5 bytes"},
		"engine":         {complete.with("TMS_ELASTIC_URLS", " , "), nil, 2, "TMS_ELASTIC_URLS is not set"},
		"equal keys":     {complete.with("API_KEY", "k", "TMS_ADMIN_KEY", "k"), nil, 2, "TMS_ADMIN_KEY and API_KEY are equal"},
		"log level":      {complete.with("LOGGING_LEVEL", "loud"), nil, 2, "LOGGING_LEVEL"},
		"database down":  {complete.with("TMS_DATABASE_WAIT", "1ms"), nil, 1, "DATABASE_URL"},
		"no such flag":   {complete, []string{"--secret", "x"}, 2, "unknown flag"},
		"argument":       {complete, []string{"now"}, 2, "unknown command"},
		"unknown engine": {complete.with("TMS_DEV_ENGINE", "solr", "TMS_DEV_DIR", t.TempDir()), []string{"--dev"}, 1, "elasticsearch-7.17"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := run(t, c.env, append([]string{"serve"}, c.args...)...)
			assert.Equal(t, c.code, got.code, got.err)
			assert.Contains(t, got.err, c.want)
			assert.NotContains(t, got.err, "hunter2")
			assert.Empty(t, got.out)
		})
	}
}

// --dev needs nothing from the environment but, here, an engine that is
// running already.
func TestServeDev(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	env := environment{"TMS_DEV_DIR": dir, "TMS_ELASTIC_URLS": devtest.Engine(t), "TMS_HTTP_ADDR": "127.0.0.1:0", "TMS_GRPC_ADDR": "127.0.0.1:0", "LOGGING_LEVEL": "error"}
	b := serve(t, env, "--dev")
	client := environment{"TMS_ADDR": b.client["TMS_ADDR"], "TMS_API_KEY_FILE": dir + "/admin.key"}
	got := run(t, client, "tenant", "create", "acme", "--release", "0.8.1", "-o", "json")
	require.Zero(t, got.code, got.err)
	require.Zero(t, b.stop(), b.logs)

	// A second start finds everything again, keys included.
	b = serve(t, env, "--dev")
	client["TMS_ADDR"] = b.client["TMS_ADDR"]
	got = run(t, client, "tenant", "get", "acme")
	assert.Zero(t, got.code, got.err)
	assert.True(t, strings.HasPrefix(got.out, "tenant"), got.out)
	assert.Contains(t, b.logs.String(), "export TMS_API_KEY_FILE="+dir)
}

// A wrong password is in no output.
func TestServeHidesThePassword(t *testing.T) {
	t.Parallel()
	dsn, err := url.Parse(devtest.Postgres(t))
	require.NoError(t, err)
	query := dsn.Query()
	query.Set("password", "hunter2")
	dsn.RawQuery, dsn.Path = query.Encode(), "/no_such_database"
	got := run(t, environment{
		"DATABASE_URL": dsn.String(), "TMS_ELASTIC_URLS": "http://127.0.0.1:1", "SECRET": "a secret for tests, long enough", "TMS_DATABASE_WAIT": "1ms",
	}, "serve")
	assert.Equal(t, 1, got.code)
	assert.NotContains(t, got.err+got.out, "hunter2")
}
