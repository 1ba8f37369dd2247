// Package archtest holds the tests of the project's shape: who may import
// whom, and how long a file may get.
package archtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// module is the path of this module.
const module = "github.com/tracardi/tms/"

// maxLines of a hand-written Go file that is no test.
const maxLines = 500

// Groups of imports that rules forbid.
var (
	wire     = []string{"google.golang.org/grpc", "google.golang.org/protobuf", "google.golang.org/genproto", "buf.build/", "github.com/grpc-ecosystem/"}
	database = []string{"github.com/jackc/", "github.com/riverqueue/", "github.com/pressly/goose", "database/sql"}
	web      = []string{"net/http", "google.golang.org/grpc"}
	search   = []string{"github.com/elastic/"}
	shell    = []string{"github.com/spf13/"}
	adapters = []string{module + "db", module + "elastic"}
	outer    = []string{module + "server", module + "cmd", module + "proto", module + "internal", module + "bench"}
)

// rule forbids imports to packages below a directory of this module.
type rule struct {
	dir string
	why string
	// forbidden are prefixes of import paths that end at a path element, or
	// with a slash anywhere.
	forbidden []string
	// allowed are exceptions from these.
	allowed []string
}

// rules are the arrows of docs/architecture.md. Direct imports of non-test
// files are looked at: what a package gets through another one, that one
// answers for.
var rules = []rule{
	{"tenants", "a domain is pure", slices.Concat(wire, database, web, search, shell, adapters, outer, local("upgrader")), nil},
	{"releases", "a domain is pure", slices.Concat(wire, database, web, search, shell, adapters, outer, local("tenants", "upgrader", "backups")), nil},
	{"upgrader", "a domain is pure", slices.Concat(wire, database, web, search, shell, adapters, outer, local("tenants")), nil},
	{"upgrader/naming", "what the upgrader is made of does not know it", local("upgrader"), nil},
	{"upgrader/budget", "what the upgrader is made of does not know it, and a budget knows no index", local("upgrader", "releases"), nil},
	{"upgrader/strategy", "what the upgrader is made of does not know it, and a strategy knows no index", local("upgrader", "releases"), nil},
	{"upgrader/schema", "what the upgrader is made of does not know it", local("upgrader"), nil},
	{"upgrader/stream", "what the upgrader is made of does not know it, and a stream knows no release", local("upgrader", "releases"), nil},
	{"upgrader/verify", "what the upgrader is made of does not know it", local("upgrader"), local("upgrader/stream")},
	{"upgrader/estimate", "what the upgrader is made of does not know it, and arithmetic has no I/O", local("upgrader", "releases"), nil},
	{"upgrader/tenure", "what the upgrader is made of does not know it, and a lease is of anything", local("upgrader", "releases"), nil},
	{"upgrader/capacity", "what the upgrader is made of does not know it; room is counted, whatever for", local("upgrader", "releases"), local("upgrader/estimate")},
	{"upgrader/shardlimit", "what the upgrader is made of does not know it; a limit is a number", local("upgrader", "releases"), local("upgrader/capacity")},
	{"events", "a domain is pure", slices.Concat(wire, database, web, search, shell, adapters, outer, local("upgrader")), nil},
	{"hooks", "an adapter knows its domain, not the transport nor other adapters", slices.Concat(wire, database, search, shell, adapters, outer, local("upgrader")), nil},
	{"adoption", "a domain is pure", slices.Concat(wire, database, web, search, shell, adapters, outer), nil},
	{"cleanup", "a domain is pure", slices.Concat(wire, database, web, search, shell, adapters, outer), nil},
	{"clusters", "a domain is pure", slices.Concat(wire, database, web, search, shell, adapters, outer), nil},
	{"backups", "a domain is pure", slices.Concat(wire, database, web, search, shell, adapters, outer), nil},
	{"db", "an adapter knows its domains, not the transport nor other adapters", slices.Concat(wire, web, search, shell, outer, local("elastic")), nil},
	{"elastic", "an adapter knows its domains, not the transport nor other adapters", slices.Concat(wire, database, shell, outer, local("db", "tenants")), nil},
	{"server", "the transport sees domains, not what is behind them", slices.Concat(database, search, shell, adapters, local("cmd", "internal")), nil},
	{"proto", "the contract stands alone", slices.Concat(database, search, shell, adapters, local("tenants", "releases", "upgrader", "backups", "server", "cmd", "internal")), nil},
	{"internal/devstack", "the servers for development are not part of the service", slices.Concat(wire, search, adapters, local("tenants", "releases", "upgrader", "backups", "server", "cmd", "proto")), nil},
	{"internal/fleet", "who judges TMS from outside must not use its ways", slices.Concat(wire, database, search, adapters, local("tenants", "upgrader", "backups", "server", "cmd", "proto")), nil},
}

func local(names ...string) []string {
	paths := make([]string, len(names))
	for i, n := range names {
		paths[i] = module + n
	}
	return paths
}

// listed is what `go list -json` tells of a package.
type listed struct {
	ImportPath string
	Imports    []string
}

func TestImports(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		for _, complaint := range check(p) {
			t.Error(complaint)
		}
	}
}

// check lists what a package imports against the rules.
func check(p listed) (complaints []string) {
	rel := strings.TrimPrefix(p.ImportPath, module)
	for _, r := range rules {
		if !below(rel, r.dir) {
			continue
		}
		for _, imported := range p.Imports {
			// What lives below the rule's own directory is one thing.
			forbidden := slices.ContainsFunc(r.forbidden, func(bad string) bool { return below(imported, bad) })
			allowed := below(imported, module+r.dir) || slices.ContainsFunc(r.allowed, func(good string) bool { return below(imported, good) })
			if forbidden && !allowed {
				complaints = append(complaints, fmt.Sprintf("%s imports %s: %s", p.ImportPath, imported, r.why))
			}
		}
	}
	for _, free := range []string{"cmd", "internal", "bench"} {
		if below(rel, free) {
			return complaints
		}
	}
	if imports(p, "db") && imports(p, "elastic") {
		complaints = append(complaints, p.ImportPath+" imports db and elastic: only cmd and internal put parts together")
	}
	return complaints
}

func imports(p listed, dir string) bool {
	return slices.ContainsFunc(p.Imports, func(i string) bool { return below(i, module+dir) })
}

// TestCheckBites plants one import against every kind of rule.
func TestCheckBites(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		dir, imported string
		forbidden     bool
	}{
		{"upgrader", "github.com/jackc/pgx/v5", true},
		{"upgrader", "google.golang.org/protobuf/proto", true},
		{"tenants", "net/http", true},
		{"tenants", "net/url", false},
		{"releases", module + "elastic", true},
		{"upgrader", module + "releases", false},
		{"upgrader/deep", "database/sql", true},
		{"upgrader", module + "upgrader/naming", false},
		{"upgrader/naming", module + "upgrader", true},
		{"upgrader/budget", module + "upgrader/naming", true},
		{"upgrader/strategy", module + "upgrader", true},
		{"upgrader/capacity", module + "upgrader/estimate", false},
		{"upgrader/capacity", module + "upgrader", true},
		{"upgrader/estimate", module + "upgrader/capacity", true},
		{"server", module + "db", true},
		{"server", "google.golang.org/grpc", false},
		{"server/ui", module + "elastic", true},
		{"server", module + "server/ui", false},
		{"db", module + "upgrader", false},
		{"db", module + "elastic", true},
		{"elastic", "net/http", false},
		{"cmd/tms", module + "db", false},
		{"internal/fleet", module + "upgrader", true},
	} {
		got := check(listed{ImportPath: module + c.dir, Imports: []string{"fmt", c.imported}})
		if (len(got) > 0) != c.forbidden {
			t.Errorf("%s imports %s: forbidden %v, want %v", c.dir, c.imported, len(got) > 0, c.forbidden)
		}
	}
}

// TestRulesBite makes sure that the rules speak of packages that exist.
func TestRulesBite(t *testing.T) {
	t.Parallel()
	packages := list(t)
	if len(packages) < 10 {
		t.Fatalf("only %d packages found", len(packages))
	}
	for _, r := range rules {
		if !slices.ContainsFunc(packages, func(p listed) bool { return below(strings.TrimPrefix(p.ImportPath, module), r.dir) }) {
			t.Errorf("rule for %s: no such package", r.dir)
		}
	}
}

// below says whether path is base or lies below it.
func below(path, base string) bool {
	return path == base || strings.HasPrefix(path, strings.TrimSuffix(base, "/")+"/")
}

func list(t *testing.T) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = root(t)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, said.String())
	}
	var all []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		all = append(all, p)
	}
}

// root is the directory with go.mod.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestFileLength(t *testing.T) {
	t.Parallel()
	err := filepath.WalkDir(root(t), func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		lines, generated, err := measure(path)
		if err == nil && !generated && lines > maxLines {
			t.Errorf("%s has %d lines, at most %d: split it by what it is about", path, lines, maxLines)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// measure counts lines, and says whether a program wrote them.
func measure(path string) (lines int, generated bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = f.Close() }()
	for s := bufio.NewScanner(f); ; lines++ {
		if !s.Scan() {
			if err := s.Err(); err != nil {
				return 0, false, fmt.Errorf("%s: %w", path, err)
			}
			return lines, generated, nil
		}
		generated = generated || strings.HasPrefix(s.Text(), "// Code generated ")
	}
}
