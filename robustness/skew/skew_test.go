package skew_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/robustness/skew"
)

// TestSet: the clock on the wall of a running program jumps, to and fro, and
// what it measures does not.
func TestSet(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program, file := filepath.Join(dir, "clock"), filepath.Join(dir, "off")
	require.NoError(t, skew.Build(t.Context(), "robustness/skew/testdata/clock", program, filepath.Join(dir, "work")))
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = append(cmd.Environ(), skew.EnvFile+"="+file)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	began := time.Now()
	for _, off := range []time.Duration{4 * time.Hour, -4 * time.Hour, 0} {
		require.NoError(t, skew.Set(file, off))
		require.Eventually(t, func() bool {
			var unix, measured int64
			_, err := fmt.Fprintln(in)
			require.NoError(t, err)
			_, err = fmt.Fscan(out, &unix, &measured)
			require.NoError(t, err)
			require.InDelta(t, time.Since(began).Seconds(), measured, 10, "the monotonic clock goes on")
			return time.Until(time.Unix(unix, 0)).Round(time.Minute) == off
		}, 30*time.Second, 20*time.Millisecond, off)
	}
	require.NoError(t, in.Close())
	require.NoError(t, cmd.Wait())
}

func TestBuildOfNothing(t *testing.T) {
	t.Parallel()
	err := skew.Build(t.Context(), "robustness/skew/nowhere", filepath.Join(t.TempDir(), "x"), t.TempDir())
	require.ErrorContains(t, err, "robustness/skew/nowhere")
}
