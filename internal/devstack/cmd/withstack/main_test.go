package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/tracardi/tms/internal/devstack"
	"github.com/tracardi/tms/internal/devstack/devtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCommandFindsTheServers(t *testing.T) {
	t.Setenv(devtest.DatabaseURLEnv, "")
	t.Setenv(devtest.ElasticURLEnv, "")
	out := filepath.Join(t.TempDir(), "env")
	t.Setenv("OUT", out)
	code, err := run([]string{"sh", "-c", `env > "$OUT"; exit 7`}, "", "512m")
	if err != nil {
		t.Fatal(err)
	}
	if code != 7 {
		t.Errorf("exit code = %d, want the command's 7", code)
	}
	env, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		devtest.DatabaseURLEnv + "=postgres://", devtest.ElasticURLEnv + "=http://127.0.0.1:",
		"TMS_DEV_ENGINE=" + string(devtest.EngineKind()),
	} {
		if !strings.Contains(string(env), want) {
			t.Errorf("the command's environment lacks %s", want)
		}
	}
}

func TestExitCodesAndSignals(t *testing.T) {
	t.Parallel()
	signalled := make(chan os.Signal, 1)
	signalled <- syscall.SIGTERM
	for name, c := range map[string]struct {
		argv    []string
		signals chan os.Signal
		want    int
	}{
		"success":         {[]string{"true"}, nil, 0},
		"failure":         {[]string{"sh", "-c", "exit 3"}, nil, 3},
		"killed":          {[]string{"sh", "-c", "kill -9 $$"}, nil, 128 + 9},
		"signal goes on":  {[]string{"sleep", "1000"}, signalled, 128 + 15},
		"unknown command": {[]string{"/no/such/command"}, nil, exitNoStack},
	} {
		if code, _ := runCommand(c.argv, nil, c.signals); code != c.want {
			t.Errorf("%s: exit code = %d, want %d", name, code, c.want)
		}
	}
	if code, err := run(nil, "", ""); code != exitNoStack || err == nil {
		t.Errorf("without a command: %d, %v; want %d and the usage", code, err, exitNoStack)
	}
}

func TestVariableOfOtherKinds(t *testing.T) {
	t.Parallel()
	if got := devtest.ElasticURLEnvOf(devstack.OpenSearch219); got != "TMS_TEST_ELASTIC_URL_OPENSEARCH_2_19" {
		t.Errorf("variable = %s", got)
	}
}
