package contract_test

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/devstack/devtest"
)

func TestMain(m *testing.M) { os.Exit(devtest.Main(m)) }

// TestPython asks a running TMS in Python: by our own client, whose tests all
// run here, and by a script that shares nothing with it.
func TestPython(t *testing.T) {
	p := environment(t, client+"/requirements-test.txt")
	s := serve(t)
	t.Run("tms_client", func(t *testing.T) {
		report := filepath.Join(t.TempDir(), "report.xml")
		output(t, p.command(t, s.settings(), "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml", report))
		requireAllRan(t, report)
	})
	t.Run("plain aiohttp", func(t *testing.T) {
		script, err := filepath.Abs("testdata/plain_client.py")
		require.NoError(t, err)
		said := output(t, p.command(t, s.settings(), script))
		facts := regexp.MustCompile(`(?m)^(\d+) facts$`).FindSubmatch(said)
		require.NotNil(t, facts, "%s", said)
		count, err := strconv.Atoi(string(facts[1]))
		require.NoError(t, err)
		require.Greater(t, count, 40, "%s", said)
	})
	// Each client has put keys into paths and tokens into headers and bodies.
	logs := s.logs.String()
	require.Contains(t, logs, "GET /api-key/{key}", "the log is the talkative one")
	for _, hidden := range []string{apiKey, adminKey, secret, "no-such-key", "let-me-in", "new-secret", "old-secret", "eyJ"} {
		assert.NotContains(t, logs, hidden)
	}
}

// requireAllRan fails when pytest found no test, or skipped one.
func requireAllRan(t *testing.T, report string) {
	t.Helper()
	raw, err := os.ReadFile(report)
	require.NoError(t, err)
	var suites struct {
		Suites []struct {
			Tests   int `xml:"tests,attr"`
			Skipped int `xml:"skipped,attr"`
			Cases   []struct {
				Class string `xml:"classname,attr"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	require.NoError(t, xml.Unmarshal(raw, &suites))
	perFile := map[string]int{}
	for _, suite := range suites.Suites {
		require.Zero(t, suite.Skipped, "pytest skipped tests: %s", raw)
		for _, c := range suite.Cases {
			perFile[c.Class]++
		}
	}
	require.NotZero(t, perFile["tests.test_contract"], "%v", perFile)
	require.NotZero(t, perFile["tests.test_manager"], "%v", perFile)
}

// TestPackage holds the client to what it promises its users: a wheel with
// types in it, and sources that type checker and linter accept.
func TestPackage(t *testing.T) {
	t.Parallel()
	p := environment(t, client+"/requirements-test.txt")
	output(t, p.command(t, nil, "-m", "ruff", "check", "--no-cache", "."))
	output(t, p.command(t, nil, "-m", "ruff", "format", "--check", "--no-cache", "."))
	output(t, p.command(t, nil, "-m", "mypy", "--cache-dir", filepath.Join(p.dir, "mypy")))
	wheels := t.TempDir()
	output(t, p.command(t, nil, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, "."))
	found, err := filepath.Glob(filepath.Join(wheels, "tms_client-*.whl"))
	require.NoError(t, err)
	require.Len(t, found, 1)
	listed := output(t, p.command(t, nil, "-m", "zipfile", "-l", found[0]))
	for _, name := range []string{"tms_client/__init__.py", "tms_client/manager.py", "tms_client/py.typed"} {
		require.Contains(t, string(listed), name)
	}
	require.NotContains(t, string(listed), "tests/")
}
