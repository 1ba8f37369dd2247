package cli_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type tenant struct {
	ID           string            `json:"id"`
	State        string            `json:"state"`
	Release      string            `json:"release"`
	DisplayName  string            `json:"display_name"`
	InstallToken string            `json:"install_token"`
	Labels       map[string]string `json:"labels"`
	Attributes   map[string]any    `json:"attributes"`
	Etag         string            `json:"etag"`
}

func TestTenantLifecycle(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var made tenant
	got := run(t, b.client, "tenant", "create", "acme", "--release", "0.8.1", "--name", "Acme Inc", "--email", "it@acme.example",
		"--label", "tier=gold", "--attributes", `{"plan": {"seats": 5}}`, "-o", "json")
	require.Zero(t, got.code, got.err)
	got.decode(t, &made)
	assert.Equal(t, "Acme Inc", made.DisplayName)
	assert.NotEmpty(t, made.InstallToken)
	assert.Equal(t, map[string]any{"plan": map[string]any{"seats": 5.0}}, made.Attributes)

	again := run(t, b.client, "tenant", "create", "acme", "--release", "0.8.1")
	assert.Equal(t, 1, again.code)
	assert.Contains(t, again.err, "exists already")

	require.Zero(t, run(t, b.client, "tenant", "create", "zeta", "--release", "0.8.0").code)
	var all []tenant
	got = run(t, b.client, "tenant", "list", "-o", "json")
	got.decode(t, &all)
	require.Len(t, all, 2)
	assert.Equal(t, "acme", all[0].ID)
	run(t, b.client, "tenant", "list", "--label", "tier=gold", "-o", "json").decode(t, &all)
	require.Len(t, all, 1)

	var changed tenant
	run(t, b.client, "tenant", "update", "acme", "--state", "suspended", "--etag", made.Etag, "-o", "json").decode(t, &changed)
	assert.Equal(t, "suspended", changed.State)
	assert.Equal(t, "Acme Inc", changed.DisplayName, "what is not given stays")
	stale := run(t, b.client, "tenant", "update", "acme", "--name", "x", "--etag", made.Etag)
	assert.Equal(t, 1, stale.code)
	assert.Contains(t, stale.err, "etag")

	require.Zero(t, run(t, b.client, "tenant", "delete", "acme").code)
	run(t, b.client, "tenant", "list", "-o", "json").decode(t, &all)
	assert.Len(t, all, 1)
	require.Zero(t, run(t, b.client, "tenant", "undelete", "acme").code)
	table := run(t, b.client, "tenant", "list")
	assert.Contains(t, table.out, "acme")
	assert.Contains(t, table.out, "tier=gold")
}

func TestTenantRefusals(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"unknown tenant":   {[]string{"tenant", "get", "nobody"}, 1, "not registered"},
		"unknown release":  {[]string{"tenant", "create", "acme", "--release", "9.9"}, 2, "known are"},
		"bad id":           {[]string{"tenant", "create", "A!", "--release", "0.8.1"}, 2, "id"},
		"no release":       {[]string{"tenant", "create", "acme"}, 2, "--release is missing"},
		"no id":            {[]string{"tenant", "get"}, 2, "accepts 1 arg"},
		"label":            {[]string{"tenant", "create", "acme", "--release", "0.8.1", "--label", "gold"}, 2, "write key=value"},
		"attributes":       {[]string{"tenant", "create", "acme", "--release", "0.8.1", "--attributes", "[1]"}, 2, "not a JSON object"},
		"expires":          {[]string{"tenant", "create", "acme", "--release", "0.8.1", "--expires", "soon"}, 2, "--expires"},
		"nothing":          {[]string{"tenant", "update", "acme"}, 2, "nothing to change"},
		"output":           {[]string{"tenant", "list", "-o", "yaml"}, 2, "write table or json"},
		"unknown group":    {[]string{"tenants"}, 2, "did you mean tenant"},
		"unknown command":  {[]string{"tenant", "crate"}, 2, "did you mean create"},
		"no command":       {[]string{"upgrade"}, 2, "a command is missing"},
		"unknown role":     {[]string{"key", "create", "--name", "x", "--role", "king"}, 2, "role"},
		"unknown key":      {[]string{"key", "revoke", "nokey"}, 1, "nokey"},
		"release unknown":  {[]string{"release", "show", "9.9"}, 1, "known are"},
		"rollout unknown":  {[]string{"upgrade", "show", "r0"}, 1, "does not exist"},
		"watch unknown":    {[]string{"upgrade", "watch", "r0"}, 1, "does not exist"},
		"verify level":     {[]string{"upgrade", "plan", "--to", "0.8.2", "--verify", "most"}, 2, "verify"},
		"no target":        {[]string{"upgrade", "start"}, 2, "--to is missing"},
		"negative limit":   {[]string{"upgrade", "list", "--limit", "-1"}, 2, "--limit"},
		"plan to unknown":  {[]string{"upgrade", "plan", "--to", "9.9"}, 2, "known are"},
		"wrong time-out":   {[]string{"tenant", "list", "--timeout", "soon"}, 2, "write a time span"},
		"key as flag":      {[]string{"tenant", "list", "--api-key", "x"}, 2, "unknown flag"},
		"quarantine of no": {[]string{"upgrade", "quarantine", "r0", "-o", "json"}, 1, "does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := run(t, b.client, c.args...)
			assert.Equal(t, c.code, got.code, got.err)
			assert.Contains(t, got.err, c.want)
		})
	}
}

func TestKeyLifecycle(t *testing.T) {
	t.Parallel()
	b := setup(t)
	type key struct {
		ID          string `json:"id"`
		Role        string `json:"role"`
		State       string `json:"state"`
		SuccessorID string `json:"successor_id"`
	}
	type secret struct {
		APIKey key    `json:"api_key"`
		Secret string `json:"secret"`
	}
	var viewer, successor secret
	run(t, b.client, "key", "create", "--name", "dashboard", "--role", "viewer", "-o", "json").decode(t, &viewer)
	asViewer := b.client.with("TMS_API_KEY", viewer.Secret)
	assert.Zero(t, run(t, asViewer, "tenant", "list").code)
	refused := run(t, asViewer, "tenant", "create", "acme", "--release", "0.8.1")
	assert.Equal(t, 1, refused.code)
	assert.Contains(t, refused.err, "role viewer")

	run(t, b.client, "key", "rotate", viewer.APIKey.ID, "--overlap", "1h", "-o", "json").decode(t, &successor)
	assert.NotEqual(t, viewer.Secret, successor.Secret)
	assert.Equal(t, "viewer", successor.APIKey.Role)
	assert.Zero(t, run(t, asViewer, "tenant", "list").code, "the old key works on for the overlap")

	require.Zero(t, run(t, b.client, "key", "revoke", viewer.APIKey.ID).code)
	revoked := run(t, asViewer, "tenant", "list")
	assert.Equal(t, 1, revoked.code)
	assert.Contains(t, revoked.err, "revoked")
	var all []key
	listed := run(t, b.client, "key", "list", "-o", "json")
	listed.decode(t, &all)
	assert.Len(t, all, 2)
	assert.NotContains(t, listed.out, successor.Secret)

	wrong := run(t, b.client.with("TMS_API_KEY", "nonsense"), "tenant", "list")
	assert.Equal(t, 1, wrong.code)
	assert.Contains(t, wrong.err, "not known")
	assert.NotContains(t, wrong.err, "nonsense")
}

func TestKeyFromFile(t *testing.T) {
	t.Parallel()
	b := setup(t)
	path := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(path, []byte(adminKey+"\n"), 0o600))
	env := environment{"TMS_ADDR": b.client["TMS_ADDR"], "TMS_API_KEY_FILE": path}
	assert.Zero(t, run(t, env, "tenant", "list").code)
	both := run(t, env.with("TMS_API_KEY", adminKey), "tenant", "list")
	assert.Equal(t, 2, both.code)
	assert.Contains(t, both.err, "keep one")
}

func TestReleases(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var all []struct{ Version, Prefix string }
	run(t, b.client, "release", "list", "-o", "json").decode(t, &all)
	require.Len(t, all, 4)
	assert.Equal(t, "08x", all[2].Prefix)
	shown := run(t, b.client, "release", "show", "0.8.2")
	assert.Zero(t, shown.code)
	assert.Contains(t, shown.out, "tracardi-profile")
	assert.Contains(t, shown.out, "quarter")
}
