package contract_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// installLimit is for pip on a machine that has nothing yet.
const installLimit = 10 * time.Minute

// python is an interpreter with everything of requirements-test.txt.
type python struct {
	program string
	dir     string // what tools may keep between runs
}

// environment makes the virtual environment once per content of the
// requirements and version of Python, and finds it again later. Processes wait
// for each other; one that was killed leaves no half environment behind.
func environment(t *testing.T, requirements string) python {
	t.Helper()
	system, err := exec.LookPath("python3")
	require.NoError(t, err, "python3 is needed: run scripts/setup.sh")
	wanted, err := os.ReadFile(requirements)
	require.NoError(t, err)
	version := output(t, exec.CommandContext(t.Context(), system, "-c", "import sys; print(sys.version, sys.base_prefix)"))
	sum := sha256.Sum256(append(version, wanted...))
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	dir := filepath.Join(cache, "tms", "contract", hex.EncodeToString(sum[:8]))
	require.NoError(t, os.MkdirAll(dir, 0o755))
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	require.NoError(t, err)
	defer func() { require.NoError(t, lock.Close()) }() // and unlock
	require.NoError(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))

	venv, complete := filepath.Join(dir, "venv"), filepath.Join(dir, "complete")
	p := python{program: filepath.Join(venv, "bin", "python"), dir: dir}
	if _, err := os.Stat(complete); err == nil {
		return p
	}
	ctx, cancel := context.WithTimeout(t.Context(), installLimit)
	defer cancel()
	require.NoError(t, os.RemoveAll(venv))
	output(t, exec.CommandContext(ctx, system, "-m", "venv", venv))
	output(t, exec.CommandContext(ctx, p.program, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", requirements))
	require.NoError(t, os.WriteFile(complete, nil, 0o600))
	return p
}

// command runs Python below clients/python, where it leaves nothing behind.
func (p python) command(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), p.program, args...)
	c.Dir = client
	c.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "PYTHONPATH=src", "TMS_CONTRACT_URL=", "PYTEST_ADDOPTS=")
	c.Env = append(c.Env, env...)
	return c
}

// output runs a command and fails the test, with all that was said, when the
// command fails.
func output(t *testing.T, c *exec.Cmd) []byte {
	t.Helper()
	var out bytes.Buffer
	all := &record{}
	c.Stdout, c.Stderr = io.MultiWriter(&out, all), all
	c.WaitDelay = 5 * time.Second
	err := c.Run()
	require.NoError(t, err, "%s: %s", c, all)
	return out.Bytes()
}
