package server

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write docs/errors.md")

// docs/errors.md is what the table says.
func TestErrorsDocument(t *testing.T) {
	t.Parallel()
	const file = "../docs/errors.md"
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(errorsDocument()), 0o644))
	}
	got, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, errorsDocument(), string(got), "run go test ./server -run TestErrorsDocument -update")
}

// Every reason that the sources declare stands in the table, once.
func TestEveryReasonIsExplained(t *testing.T) {
	t.Parallel()
	var declared []string
	for _, dir := range []string{".", "../tenants", "../upgrader", "../backups", "../cleanup", "../clusters"} {
		declared = append(declared, reasonsIn(t, dir)...)
	}
	var explained []string
	for _, r := range reasonTable {
		explained = append(explained, r.reason)
		require.NotEmpty(t, r.meaning, r.reason)
		require.NotEmpty(t, r.remedy, r.reason)
	}
	slices.Sort(declared)
	slices.Sort(explained)
	require.Equal(t, slices.Compact(declared), explained)
}

// reasonsIn reads the constants called Reason… or reason… of a package.
func reasonsIn(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	var found []string
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), f, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 || !strings.HasPrefix(strings.ToLower(spec.Names[0].Name), "reason") {
				return true
			}
			if lit, ok := spec.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
				text, err := strconv.Unquote(lit.Value)
				require.NoError(t, err)
				found = append(found, text)
			}
			return true
		})
	}
	require.NotEmpty(t, found, dir)
	return found
}
