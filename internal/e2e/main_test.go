package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/tracardi/tms/internal/devstack/devtest"
)

// binary is the tms program under test.
var binary string

// seed is that of this run.
var seed = uint64(time.Now().UnixNano()) % 1_000_000

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if text := os.Getenv("TMS_E2E_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			fmt.Fprintln(os.Stderr, "TMS_E2E_SEED:", err)
			return 2
		}
	}
	if binary = os.Getenv("TMS_E2E_BINARY"); binary == "" {
		dir, err := os.MkdirTemp("", "tms-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }()
		binary = filepath.Join(dir, "tms")
		if out, err := exec.Command("go", "build", "-o", binary, "github.com/tracardi/tms/cmd/tms").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build tms: %v\n%s", err, out)
			return 1
		}
	}
	code := devtest.Main(m)
	if err := removeSeeds(); err != nil {
		fmt.Fprintln(os.Stderr, "remove the seeds:", err)
		return max(code, 1)
	}
	return code
}
