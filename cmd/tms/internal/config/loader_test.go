package config_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tracardi/tms/cmd/tms/internal/config"
)

func lookup(env map[string]string) config.Lookup {
	return func(name string) (string, bool) { v, ok := env[name]; return v, ok }
}

func load(t *testing.T, env map[string]string, args ...string) (config.Serve, *pflag.FlagSet, error) {
	t.Helper()
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	config.Bind(flags, &config.Serve{})
	require.NoError(t, flags.Parse(args))
	var s config.Serve
	err := config.Load(&s, flags, lookup(env))
	return s, flags, err
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "addr")
	require.NoError(t, os.WriteFile(path, []byte(":3\n"), 0o600))
	for name, c := range map[string]struct {
		env  map[string]string
		args []string
		want string
	}{
		"default":                {nil, nil, ":8383"},
		"environment":            {map[string]string{"TMS_HTTP_ADDR": ":1"}, nil, ":1"},
		"empty is unset":         {map[string]string{"TMS_HTTP_ADDR": ""}, nil, ":8383"},
		"flag wins":              {map[string]string{"TMS_HTTP_ADDR": ":1"}, []string{"--http-addr", ":2"}, ":2"},
		"file":                   {map[string]string{"TMS_HTTP_ADDR_FILE": path}, nil, ":3"},
		"flag wins over file":    {map[string]string{"TMS_HTTP_ADDR_FILE": path}, []string{"--http-addr", ":2"}, ":2"},
		"flag wins over trouble": {map[string]string{"TMS_HTTP_ADDR_FILE": path, "TMS_HTTP_ADDR": ":1"}, []string{"--http-addr", ":2"}, ":2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _, err := load(t, c.env, c.args...)
			require.NoError(t, err)
			assert.Equal(t, c.want, s.HTTPAddr)
		})
	}
}

// The server writes TMS_ADDR_FILE; commands beside it must not take that for the
// file with their TMS_ADDR.
func TestAddressFileIsNoAddress(t *testing.T) {
	t.Parallel()
	for name, env := range map[string]map[string]string{
		"alone":           {"TMS_ADDR_FILE": "/nowhere"},
		"with an address": {"TMS_ADDR_FILE": "/nowhere", "TMS_ADDR": "tms:1"},
	} {
		var c config.Client
		require.NoError(t, config.Load(&c, nil, lookup(env)), name)
		want := "localhost:8384"
		if a := env["TMS_ADDR"]; a != "" {
			want = a
		}
		assert.Equal(t, want, c.Addr, name)
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	s, _, err := load(t, map[string]string{
		"TMS_ELASTIC_URLS": " http://a:9200 ,,http://b:9200", "LOGGING_LEVEL": "WARNING", "TMS_LOG_FORMAT": "JSON",
		"TMS_SHUTDOWN_TIMEOUT": "90s", "TMS_MIGRATE": "yes",
	})
	require.ErrorContains(t, err, "TMS_MIGRATE")
	assert.Equal(t, []string{"http://a:9200", "http://b:9200"}, s.ElasticURLs)
	assert.Equal(t, slog.LevelWarn, s.LogLevel.Level)
	assert.Equal(t, config.Format("json"), s.LogFormat)
	assert.Equal(t, 90*time.Second, s.ShutdownTimeout)
}

func TestWrongValuesAreReportedTogether(t *testing.T) {
	t.Parallel()
	_, _, err := load(t, map[string]string{
		"LOGGING_LEVEL": "loud", "TMS_SHUTDOWN_TIMEOUT": "-1s", "TMS_WORKERS": "0", "SECRET": "hunter2", "SECRET_FILE": "/nowhere", "API_KEY_FILE": "/nowhere",
	}, "--migrate=true")
	for _, want := range []string{`LOGGING_LEVEL): "loud": write debug`, "TMS_SHUTDOWN_TIMEOUT", `--workers (TMS_WORKERS): "0"`, "SECRET and SECRET_FILE are both set", "API_KEY_FILE"} {
		require.ErrorContains(t, err, want)
	}
	assert.NotContains(t, err.Error(), "hunter2")
}

func TestSecretsHaveNoFlag(t *testing.T) {
	t.Parallel()
	for _, settings := range []any{&config.Serve{}, &config.Client{}} {
		flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
		config.Bind(flags, settings)
		for _, one := range config.Show(settings, flags, lookup(nil)) {
			if one.Secret {
				assert.Empty(t, one.Flag, one.Env)
			}
		}
	}
}

// Whatever a secret is, settings that are shown do not hold it.
func TestShowMasks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.StringMatching(`[A-Z]{8}[a-z0-9]{8}`).Draw(t, "secret")
		form := rapid.SampledFrom([]string{
			"postgres://tms:%@db:5432/tms", "postgres://db/tms?password=%", "host=db password=%", "http://elastic:%@es:9200", "%",
		})
		fill := func(name string) string {
			return strings.ReplaceAll(form.Draw(t, name), "%", secret)
		}
		env := map[string]string{
			"DATABASE_URL": fill("database"), "TMS_ELASTIC_URLS": fill("elastic") + "," + fill("elastic 2"),
			"SECRET": secret, "API_KEY": secret, "TMS_ADMIN_KEY": secret, "TMS_ELASTIC_API_KEY": secret,
		}
		var s config.Serve
		if err := config.Load(&s, nil, lookup(env)); err != nil {
			t.Fatal(err)
		}
		for _, one := range config.Show(&s, nil, lookup(env)) {
			if strings.Contains(one.Value, secret) {
				t.Fatalf("%s shows the secret: %s", one.Env, one.Value)
			}
			if one.Env == "SECRET" && (one.Value != "(set)" || one.Source != config.FromEnvironment) {
				t.Fatalf("%+v", one)
			}
		}
	})
}

func TestMaskURL(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"postgres://tms:hunter2@db:5432/tms?sslmode=disable":             "postgres://tms:xxxxx@db:5432/tms?sslmode=disable",
		"postgres://tms@/tms?host=%2Frun%2Fpg&password=hunter&port=5432": "postgres://tms@/tms?host=%2Frun%2Fpg&password=xxxxx&port=5432",
		"http://es:9200":             "http://es:9200",
		"user=tms password=hunter2":  "(set)",
		"http://u:p%zz@es":           "(set)",
		"mailto:somebody@here.there": "(set)",
	} {
		assert.Equal(t, want, config.MaskURL(in))
	}
}
