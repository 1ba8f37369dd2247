package docstest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/devstack/devtest"
	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/releases"
)

const (
	// blockLimit is for a block with an upgrade in it, on a machine that runs
	// other tests beside.
	blockLimit = 5 * time.Minute
	startLimit = time.Minute
	// documentsPerTenant is enough for every index to have some.
	documentsPerTenant = 200
)

// resources of the installed tenants: one of every kind. The upgrade makes the
// complete layout of the new release all the same.
var resources = []string{"event", "profile", "rule", "entity", "bridge"}

// TestDocuments runs every sh block of every document.
func TestDocuments(t *testing.T) {
	t.Parallel()
	for _, d := range documents(t) {
		t.Run(d.path, func(t *testing.T) {
			t.Parallel()
			checkMake(t, d)
			if parts := scenarioParts(d); len(parts) > 0 {
				newScenario(t, d.path, parts).play(parts)
			}
		})
	}
}

// part is some lines of a block, or one that starts a server.
type part struct {
	line     int
	text     string
	serve    bool
	promised []string // the last lines that it prints
}

// scenarioParts cuts a document's blocks into what is run piece by piece.
func scenarioParts(d document) []part {
	var all []part
	for _, b := range d.blocks {
		if b.lang != "sh" {
			continue
		}
		p := part{line: b.line}
		for i, line := range strings.SplitAfter(b.text, "\n") {
			switch {
			case strings.HasPrefix(line, "make"):
			case strings.HasPrefix(line, "tms serve"):
				all = append(all, p, part{line: b.line + i, text: line, serve: true})
				p = part{line: b.line + i + 1}
			default:
				p.text += line
			}
		}
		all = append(all, p)
	}
	kept := all[:0]
	for _, p := range all {
		if strings.TrimSpace(p.text) != "" {
			kept = append(kept, p)
		}
	}
	return kept
}

var target = regexp.MustCompile(`^make ([a-z]+)`)

// checkMake looks the targets of "make …" up.
func checkMake(t *testing.T, d document) {
	t.Helper()
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	require.NoError(t, err)
	for _, b := range d.blocks {
		for i, line := range strings.Split(b.text, "\n") {
			if m := target.FindStringSubmatch(line); m != nil {
				require.Contains(t, string(makefile), "\n"+m[1]+":", "%s:%d: no such target", d.path, b.line+i)
			}
		}
	}
}

// scenario is a shell session of one document.
type scenario struct {
	t       *testing.T
	path    string
	dir     string            // working directory of the commands; bin/tms is in it
	state   string            // file with the variables, read before a part and written after it
	rename  map[string]string // words of the documents -> of this run
	running bool
}

func newScenario(t *testing.T, path string, parts []part) *scenario {
	t.Helper()
	s := &scenario{t: t, path: path, dir: t.TempDir(), rename: map[string]string{}}
	s.state = filepath.Join(s.dir, "state.sh")
	require.NoError(t, os.Symlink(binaries(t), filepath.Join(s.dir, "bin")))
	for name, value := range map[string]string{
		"PATH":             filepath.Join(s.dir, "bin") + string(os.PathListSeparator) + os.Getenv("PATH"),
		"HOME":             s.dir,
		"DATABASE_URL":     devtest.Database(t, nil),
		"TMS_ELASTIC_URLS": devtest.Engine(t),
		"SECRET":           "a secret of the documents' test",
		"API_KEY":          "instance-key-of-the-documents",
		"TMS_ADMIN_KEY":    "admin-key-of-the-documents",
		"TMS_API_KEY":      "admin-key-of-the-documents",
		"TMS_HTTP_ADDR":    "127.0.0.1:0",
		"TMS_GRPC_ADDR":    "127.0.0.1:0",
		"LOGGING_LEVEL":    "warning",
	} {
		s.export(name, value)
	}
	for _, name := range []string{"acme", "globex"} {
		if strings.Contains(fmt.Sprint(parts), name) {
			s.install(name, "0.8.1")
		}
	}
	if strings.Contains(fmt.Sprint(parts), codeName) {
		s.install(codeName, "0.7.4")
		s.rename["initech"] = s.rename[codeName] + "as"
	}
	for _, p := range parts {
		if p.serve {
			return s
		}
	}
	s.serve(part{line: 1, text: "tms serve --migrate"})
	return s
}

// install puts a tenant into the search engine, as Tracardi's installer would.
func (s *scenario) install(name, release string) {
	s.t.Helper()
	catalogue, err := releases.Builtin()
	require.NoError(s.t, err)
	id := devtest.Prefix(s.t)
	tenant, err := fleet.New(fleet.Config{
		URL: devtest.Engine(s.t), Catalogue: catalogue, Release: release, Tenant: id, Seed: 1, Months: 2, Only: resources,
	})
	require.NoError(s.t, err)
	require.NoError(s.t, tenant.Install(s.t.Context()))
	require.NoError(s.t, tenant.Fill(s.t.Context(), documentsPerTenant))
	s.rename[name] = id
}

// codeName is that of a single-tenant installation of 0.7.4 in the documents.
const codeName = "4a7d1"

func (s *scenario) play(parts []part) {
	s.t.Helper()
	for _, p := range parts {
		if p.serve {
			s.serve(p)
			continue
		}
		for _, one := range promises(p) {
			s.run(one)
		}
	}
}

// run executes lines and fails the test, with everything they said, when one
// of them fails.
func (s *scenario) run(p part) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), blockLimit)
	defer cancel()
	functions := filepath.Join(s.dir, "functions.sh")
	script := "set -eua\n. " + s.state + "\n[ ! -f " + functions + " ] || . " + functions + "\n" + s.words(p.text) + "\nexport -p >" + s.state + "\n"
	var said, errs bytes.Buffer
	cmd := s.command(ctx, script)
	cmd.Stdout, cmd.Stderr = &said, &errs
	err := cmd.Run()
	s.t.Logf("%s:%d\n%s\n%s%s", s.path, p.line, p.text, said.String(), errs.String())
	require.NoError(s.t, err, "%s:%d", s.path, p.line)
	for _, f := range function.FindAllString(s.words(p.text), -1) {
		s.keep(functions, f)
	}
	if len(p.promised) > 0 {
		lines := strings.Split(strings.TrimRight(said.String(), "\n"), "\n")
		// What a command printed before the last lines is not shown.
		require.GreaterOrEqual(s.t, len(lines), len(p.promised), "%s:%d: prints less than the document says", s.path, p.line)
		require.Equal(s.t, s.words(strings.Join(p.promised, "\n")), strings.Join(lines[len(lines)-len(p.promised):], "\n"), "%s:%d: prints something else than the document says", s.path, p.line)
	}
}

// function is a shell function on one line, which lives on like a variable.
var function = regexp.MustCompile(`(?m)^[a-z]+\(\) \{.*\}$`)

func (s *scenario) keep(file, text string) {
	s.t.Helper()
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(s.t, err)
	_, err = fmt.Fprintln(f, text)
	require.NoError(s.t, errors.Join(err, f.Close()))
}

// promise begins a line of a block that says what the lines above it print.
const promise = "# → "

// promises cuts a part behind every promise, so that each can be compared with
// what was printed last.
func promises(p part) []part {
	var all []part
	one := part{line: p.line}
	for i, line := range strings.SplitAfter(p.text, "\n") {
		said, promised := strings.CutPrefix(line, promise)
		if !promised && len(one.promised) > 0 {
			all = append(all, one)
			one = part{line: p.line + i}
		}
		if promised {
			one.promised = append(one.promised, strings.TrimRight(said, "\n"))
			continue
		}
		one.text += line
	}
	return append(all, one)
}

func TestPromises(t *testing.T) {
	t.Parallel()
	require.Equal(t, []part{
		{line: 7, text: "a\nb\n", promised: []string{"1", "2"}}, {line: 11, text: "c\n"},
	}, promises(part{line: 7, text: "a\nb\n# → 1\n# → 2\nc\n"}))
}

// words puts the names of this run in place of the documents'.
func (s *scenario) words(text string) string {
	for from, to := range s.rename {
		text = regexp.MustCompile(`\b`+regexp.QuoteMeta(from)+`\b`).ReplaceAllString(text, to)
	}
	return text
}

// command runs a script in a process group of its own, which ends with ctx:
// what the script started must not outlive the test.
func (s *scenario) command(ctx context.Context, script string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "sh", "-c", script)
	cmd.Dir, cmd.Env = s.dir, []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = startLimit / 2
	return cmd
}

func (s *scenario) export(name, value string) {
	s.t.Helper()
	f, err := os.OpenFile(s.state, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(s.t, err)
	_, err = fmt.Fprintf(f, "export %s='%s'\n", name, strings.ReplaceAll(value, "'", `'\''`))
	require.NoError(s.t, errors.Join(err, f.Close()))
}

// serve starts the server that a line asks for and waits for its addresses.
func (s *scenario) serve(p part) {
	s.t.Helper()
	require.False(s.t, s.running, "%s:%d: a second server", s.path, p.line)
	s.running = true
	ctx, cancel := context.WithCancel(context.Background())
	cmd := s.command(ctx, ". "+s.state+"\nexec "+s.words(strings.TrimSpace(p.text)))
	said := &bytes.Buffer{}
	cmd.Stderr = said
	out, err := cmd.StdoutPipe()
	require.NoError(s.t, err)
	require.NoError(s.t, cmd.Start())
	s.t.Cleanup(func() {
		cancel()
		if err := cmd.Wait(); err != nil && !errors.Is(err, context.Canceled) {
			s.t.Errorf("tms serve: %v", err)
		}
		if s.t.Failed() {
			s.t.Logf("log of the server:\n%s", said)
		}
	})
	var where struct {
		GRPC string `json:"grpc_addr"`
		HTTP string `json:"http_addr"`
	}
	line := make(chan []byte, 1)
	go func() {
		raw, _ := bufio.NewReader(out).ReadBytes('\n') // a server that ends closes it
		line <- raw
	}()
	select {
	case raw := <-line:
		if err := json.Unmarshal(raw, &where); err != nil {
			s.t.Fatalf("%s:%d: the server did not start: %v", s.path, p.line, err) // its log follows
		}
	case <-time.After(startLimit):
		s.t.Fatalf("%s:%d: the server did not start within %s", s.path, p.line, startLimit)
	}
	s.export("TMS_ADDR", where.GRPC)
	s.rename["localhost:8383"] = where.HTTP
}
