// Package docstest holds the tests of the documents: every command in them is
// run against real servers, and every flag, variable, path and link that they
// name must exist.
//
// Blocks with the language sh are run, in order, with sh -eu; a document is one
// scenario. Variables live on from block to block. Some things differ from
// what a reader does, because several tests share a machine:
//
//   - tenants acme and globex are installed in the search engine under ids of
//     this run, so is a single-tenant installation with the code name 4a7d1, and
//     localhost:8383 is wherever the server listens;
//   - a line "tms serve …" starts a server that goes on in the background; a
//     document without one finds a server running;
//   - a line "# → text" is what the commands above it print last; a function on
//     one line lives on like a variable;
//   - "make …" is not run: its targets must be in the Makefile.
package docstest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/devstack/devtest"
)

// root is the top of the tree, seen from this package.
const root = "../.."

// scratch holds the binary; it is removed after the last test.
var scratch string

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "tms-docstest-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := devtest.Main(m)
	_ = os.RemoveAll(scratch)
	os.Exit(code)
}

// built is the directory with the tms program of this tree.
var built = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(scratch, "bin")
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "tms"), "./cmd/tms")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return dir, nil
})

func binaries(t *testing.T) string {
	t.Helper()
	dir, err := built()
	require.NoError(t, err)
	return dir
}
