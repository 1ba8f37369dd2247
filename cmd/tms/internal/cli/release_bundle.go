package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tracardi/tms/releases"
)

// shelf are the releases that a command on this machine knows: the built-in
// ones and those of --with.
type shelf struct{ sources []fs.FS }

// withFlag adds --with to a command.
func withFlag(cmd *cobra.Command) *[]string {
	return cmd.Flags().StringArray("with", nil, "directory with bundles of further releases, one directory each; may be given several times")
}

func openShelf(with []string) (*shelf, error) {
	s := &shelf{sources: []fs.FS{releases.BuiltinFS()}}
	for _, dir := range with {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return nil, fmt.Errorf("--with %s: not a directory", dir)
		}
		s.sources = append(s.sources, os.DirFS(dir))
	}
	return s, nil
}

func (s *shelf) catalogue() (*releases.Catalogue, error) { return releases.Load(s.sources...) }

// bundleDir opens the bundle in a directory that is named after its version.
func bundleDir(dir string) (fs.FS, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(abs, "release.yaml")); err != nil {
		return nil, fmt.Errorf("%s: there is no release.yaml in it", dir)
	}
	return releases.OneBundle(os.DirFS(filepath.Dir(abs)), filepath.Base(abs))
}

// writeBundle puts the files of a bundle under dir. It changes no bundle that
// is there with other content.
func writeBundle(dir string, files fs.FS, version string) (string, error) {
	target := filepath.Join(dir, version)
	if _, err := os.Stat(target); err == nil {
		return "", fmt.Errorf("%s is there already: remove it or choose another --dir", target)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return target, os.CopyFS(dir, files)
}

// bundleRefused turns what is wrong with a bundle into a refusal: the complete
// list, exit code 3.
func bundleRefused(err error) error {
	var b *releases.BundleError
	if !errors.As(err, &b) {
		return err
	}
	refused := &problemsError{}
	for _, p := range b.Problems {
		refused.lines = append(refused.lines, p.String())
	}
	return refused
}

// problemsError is a complete list of what is wrong with files of the caller.
type problemsError struct{ lines []string }

func (e *problemsError) Error() string { return strings.Join(e.lines, "; ") }

// printNotes lists remarks for people.
func printNotes(w io.Writer, notes []string) error {
	for _, n := range notes {
		if _, err := fmt.Fprintln(w, "  -", n); err != nil {
			return err
		}
	}
	return nil
}

func rowsOf(diffs []releases.Difference) [][]string {
	rows := make([][]string, 0, len(diffs))
	for _, d := range diffs {
		what := string(d.Consequence)
		if d.Handled {
			what += ", handled"
		}
		rows = append(rows, []string{d.Resource, d.What, orDash(d.Path), orDash(d.Before), orDash(d.After), what})
	}
	return slices.Clip(rows)
}
