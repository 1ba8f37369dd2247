package docstest

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLinks: what the documents lead to is there.
func TestLinks(t *testing.T) {
	t.Parallel()
	for _, d := range documents(t) {
		for _, l := range d.links {
			target, _, _ := strings.Cut(l.text, "#")
			if target == "" || strings.Contains(target, "://") {
				continue
			}
			assert.FileExists(t, filepath.Join(root, path.Dir(d.path), target), "%s:%d", d.path, l.line)
		}
		for _, s := range d.spans {
			if sourcePath.MatchString(s.text) {
				assert.FileExists(t, filepath.Join(root, s.text), "%s:%d", d.path, s.line)
			}
		}
	}
}

// sourcePath is a path of this tree as prose names it.
var sourcePath = regexp.MustCompile(`^(?:[a-z_]+/)+[a-z_0-9]+\.(?:go|sql|proto|sh)$`)

// TestCommands: every tms command in prose and in blocks that are not run has
// the subcommands and flags it is written with.
func TestCommands(t *testing.T) {
	t.Parallel()
	bin := filepath.Join(binaries(t), "tms")
	helps := &helps{bin: bin, texts: map[string]string{}}
	seen := 0
	for _, d := range documents(t) {
		for _, s := range d.spans {
			seen += helps.check(t, d.path, s)
		}
		for _, b := range d.blocks {
			for i, line := range strings.Split(b.text, "\n") {
				seen += helps.check(t, d.path, span{b.line + i, strings.TrimPrefix(line, "bin/")})
			}
		}
	}
	assert.Greater(t, seen, 30, "where are the commands?")
}

// helps are the help texts of commands.
type helps struct {
	bin   string
	mu    sync.Mutex
	texts map[string]string
}

var (
	word = regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	flag = regexp.MustCompile(`^--[a-z-]+`)
)

// check looks one command up; it returns the number of commands checked.
func (h *helps) check(t *testing.T, file string, s span) int {
	t.Helper()
	fields := strings.Fields(s.text)
	if len(fields) < 2 || fields[0] != "tms" || !word.MatchString(fields[1]) {
		return 0
	}
	// The name of a command is one word, two below a group, three below a
	// group in a group.
	name := fields[1:2]
	groups := []string{"tenant", "key", "release", "upgrade", "backup", "fleet", "operation", "audit", "webhook", "registry", "cleanup", "cluster", "budget", "dev"}
	subgroups := []string{"upgrade quarantine", "backup repo", "backup policy", "backup drill", "backup restore"}
	if len(fields) > 2 && slices.Contains(groups, fields[1]) && word.MatchString(fields[2]) {
		name = fields[1:3]
		if slices.Contains(subgroups, strings.Join(name, " ")) && len(fields) > 3 && word.MatchString(fields[3]) {
			name = fields[1:4]
		}
	}
	text := h.of(t, name)
	assert.Contains(t, text, "tms "+strings.Join(name, " "), "%s:%d: no such command", file, s.line)
	for _, f := range fields[1:] {
		if given := flag.FindString(f); given != "" {
			assert.Contains(t, text, given, "%s:%d: tms %s has no such flag", file, s.line, strings.Join(name, " "))
		}
		if f == "|" || f == "#" || f == "&&" {
			break
		}
	}
	return 1
}

func (h *helps) of(t *testing.T, name []string) string {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	key := strings.Join(name, " ")
	if text, ok := h.texts[key]; ok {
		return text
	}
	out, _ := exec.CommandContext(t.Context(), h.bin, append(name, "--help")...).CombinedOutput() // an unknown one has no usage line
	h.texts[key] = string(out)
	return h.texts[key]
}

// TestEnvironmentTable: README's table is what the program reads, no more and
// no less.
func TestEnvironmentTable(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), filepath.Join(binaries(t), "tms"), "config", "-o", "json").Output()
	require.NoError(t, err)
	var settings []struct{ Env string }
	require.NoError(t, json.Unmarshal(out, &settings))
	var want []string
	for _, s := range settings {
		if s.Env != "" {
			want = append(want, s.Env)
		}
	}
	assert.ElementsMatch(t, want, firstCells(t, "README.md", regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\|")))
}

// TestStatesAndRefusals: whatever an operator may meet is explained.
func TestStatesAndRefusals(t *testing.T) {
	t.Parallel()
	for _, one := range []struct{ source, pattern, document string }{
		{"upgrader/rollout.go", `(?m)^\s*Tenant\w+\s+TenantState = "(\w+)"`, "docs/architecture.md"},
		{"upgrader/rollout.go", `(?m)^\s*Rollout\w+\s+RolloutState = "(\w+)"`, "docs/architecture.md"},
		{"upgrader/rollout.go", `(?m)^\s*Quarantine\w+\s+QuarantineKind = "(\w+)"`, "docs/what-if.md"},
		{"upgrader/gate.go", `(?m)^\s*Gate\w+\s+= "(\w+)"`, "docs/gates.md"},
		{"upgrader/room.go", `(?m)^\s*Gate\w+\s+= "(\w+)"`, "docs/gates.md"},
		{"upgrader/snapshots.go", `(?m)^const Gate\w+ = "(\w+)"`, "docs/gates.md"},
		{"upgrader/wave.go", `(?m)^\s*Wave\w+\s+WaveState = "(\w+)"`, "docs/gates.md"},
		{"adoption/finding.go", `(?m)^\s*Code\w+\s+Code = "(\w+)"`, "docs/adoption.md"},
		{"backups/run.go", `(?m)^\s*State\w+\s+State = "(\w+)"`, "docs/backups.md"},
		{"backups/restore_plan.go", `\badd\("(\w+)"`, "docs/backups.md"},
		{"backups/service.go", `Code:\s+"(\w+)"`, "docs/backups.md"},
		{"backups/drill.go", `Code:\s+"(\w+)"`, "docs/backup-policies.md"},
		{"db/registry_import.go", `CopyError\{\s*"(\w+)"`, "docs/disaster-recovery.md"},
		{"db/registry_read.go", `CopyError\{"(\w+)"`, "docs/disaster-recovery.md"},
		{"upgrader/retaining.go", `Code:\s+"(\w+)"`, "docs/backups.md"},
		{"upgrader/explanation.go", `Code: "(\w+)"`, "docs/operations.md"},
		{"cleanup/judgement.go", `\.refuse\("(\w+)"`, "docs/operations.md"},
		{"cleanup/service.go", `(?:Code: |\.refuse\()"(\w+)"`, "docs/operations.md"},
		{"cleanup/ports.go", `(?m)^\s*Claim\w+\s+= "(\w+)"`, "docs/operations.md"},
		{"upgrader/acceptance.go", `(?m)^\s*code\w+Refused\s+= "(\w+)"`, "docs/what-if.md"},
		{"upgrader/", `\brefuse\((?:[\w.]+, |"", )?"(\w+)",`, "docs/what-if.md"},
	} {
		text, err := os.ReadFile(filepath.Join(root, one.document))
		require.NoError(t, err)
		for _, name := range firstCells(t, one.source, regexp.MustCompile(one.pattern)) {
			assert.Contains(t, string(text), "`"+name+"`", "%s of %s is not explained in %s", name, one.source, one.document)
		}
	}
}

// firstCells lists what the pattern's group matches in a file, or in the Go
// sources below a folder, which ends in a slash.
func firstCells(t *testing.T, source string, pattern *regexp.Regexp) []string {
	t.Helper()
	files := []string{filepath.Join(root, source)}
	if strings.HasSuffix(source, "/") {
		files = sources(t, files[0])
	}
	var all []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range pattern.FindAllStringSubmatch(string(text), -1) {
			all = append(all, m[1])
		}
	}
	require.NotEmpty(t, all, "%s: nothing matches %s", source, pattern)
	return all
}

// sources are the Go files below a folder that are no tests.
func sources(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	require.NoError(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
			out = append(out, name)
		}
		return err
	}))
	return out
}
