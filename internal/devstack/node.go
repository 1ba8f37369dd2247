package devstack

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Node is one process of an [Engine]. Its methods are safe for concurrent use.
type Node struct {
	engine        *Engine
	name          string
	dir           string
	httpPort      int
	transportPort int

	mu   sync.Mutex
	proc *process // nil while stopped
}

// Name is node.name: node-1, node-2 and so on.
func (n *Node) Name() string { return n.name }

// URL is the node's base URL, the same over Restart.
func (n *Node) URL() string { return "http://" + loopback(n.httpPort) }

// LogPath is the file with the node's log, appended to by every start.
func (n *Node) LogPath() string { return filepath.Join(n.dir, "node.log") }

// PID is the process id, or 0 while the node does not run.
func (n *Node) PID() int {
	if proc := n.current(); proc != nil && proc.alive() {
		return proc.pid
	}
	return 0
}

// Exited is closed when the running process has ended, for whatever reason. It
// is nil (blocks for ever) while the node is stopped.
func (n *Node) Exited() <-chan struct{} {
	if proc := n.current(); proc != nil {
		return proc.exited
	}
	return nil
}

func (n *Node) current() *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.proc
}

// Start starts a node that was stopped or killed, on the same data and ports,
// and waits until it answers with health yellow or better. It does nothing
// while the node runs.
func (n *Node) Start(ctx context.Context) error {
	if n.PID() != 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, engineStartLimit)
	defer cancel()
	if err := n.launch(); err != nil {
		return err
	}
	return n.awaitReady(ctx, 1)
}

// Restart stops the node in order and starts it again.
func (n *Node) Restart(ctx context.Context) error {
	if err := n.Stop(); err != nil {
		return err
	}
	return n.Start(ctx)
}

// Stop ends the node with SIGTERM and waits for the end.
func (n *Node) Stop() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc == nil {
		return nil
	}
	err := n.proc.stop(syscall.SIGTERM, engineStopGrace)
	n.proc = nil
	return err
}

// Kill ends the node with SIGKILL, as a crash would.
func (n *Node) Kill() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc != nil {
		n.proc.kill()
		n.proc = nil
	}
}

// Pause freezes the node (SIGSTOP): connections stay open, nothing answers.
func (n *Node) Pause() error {
	proc := n.current()
	if proc == nil {
		return fmt.Errorf("pause %s: %w", n.name, os.ErrProcessDone)
	}
	return proc.pause()
}

// Continue lets a paused node run on.
func (n *Node) Continue() error {
	proc := n.current()
	if proc == nil {
		return fmt.Errorf("continue %s: %w", n.name, os.ErrProcessDone)
	}
	return proc.resume()
}

// configure writes the server's settings file. JSON strings are YAML.
func (n *Node) configure(settings map[string]string) error {
	for _, dir := range []string{"config", "tmp"} {
		if err := os.MkdirAll(filepath.Join(n.dir, dir), 0o755); err != nil {
			return fmt.Errorf("create node directory: %w", err)
		}
	}
	names := make([]string, 0, len(settings))
	for name := range settings {
		names = append(names, name)
	}
	slices.Sort(names)
	var text strings.Builder
	for _, name := range names {
		value, err := json.Marshal(settings[name])
		if err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
		fmt.Fprintf(&text, "%s: %s\n", name, value)
	}
	path := filepath.Join(n.dir, "config", blueprints[n.engine.opts.Kind].config)
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		return fmt.Errorf("write node configuration: %w", err)
	}
	return nil
}

func (n *Node) launch() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	cmd := exec.Command(n.engine.home.java, n.arguments()...)
	cmd.Dir = n.dir
	cmd.Env = serverEnv()
	// SIGKILL also ends a paused node; the translog makes it harmless.
	proc, err := startProcess(processSpec{cmd: cmd, logPath: n.LogPath(), deathSignal: syscall.SIGKILL, lock: n.engine.lock})
	if err != nil {
		return err
	}
	n.proc = proc
	return nil
}

func (n *Node) arguments() []string {
	home, opts := n.engine.home, n.engine.opts
	tmp := filepath.Join(n.dir, "tmp")
	var args []string
	if opts.ShortLived {
		args = append(args, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
	}
	args = append(args,
		"-Xms"+smallerHeap(initialHeap, opts.Heap), "-Xmx"+opts.Heap,
		"-XX:+ExitOnOutOfMemoryError", "-XX:-UsePerfData",
		"-XX:ErrorFile="+filepath.Join(n.dir, "jvm-crash-%p.log"),
		"--add-opens", "java.base/java.lang=ALL-UNNAMED", // Painless defines classes there
		"-Djava.io.tmpdir="+tmp, "-Djna.tmpdir="+tmp, "-Djna.nosys=true",
		"-Dfile.encoding=UTF-8", "-Djava.awt.headless=true",
		"-Dlog4j2.formatMsgNoLookups=true", "-Dlog4j2.disable.jmx=true",
		"-Dio.netty.noUnsafe=true", "-Dio.netty.noKeySetOptimization=true",
		"-cp", filepath.Join(home.dir, "classes")+":"+filepath.Join(home.dir, "lib", "*"),
		"tms.devstack.DevNode", n.dir,
	)
	return append(args, blueprints[opts.Kind].plugins...)
}

// smallerHeap returns the smaller of two sizes written like 512m or 1g.
func smallerHeap(a, b string) string {
	if heapBytes(b) < heapBytes(a) {
		return b
	}
	return a
}

func heapBytes(size string) int {
	number, err := strconv.Atoi(size[:len(size)-1])
	if err != nil {
		return 0
	}
	if strings.HasSuffix(size, "g") {
		return number << 30
	}
	return number << 20
}
