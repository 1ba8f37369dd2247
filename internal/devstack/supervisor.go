package devstack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

const (
	stateFile      = "state.json"
	supervisorLock = "supervisor.lock"
	supervisorLog  = "supervisor.log"

	downGrace     = 90 * time.Second // more than engine and Postgres may take together
	downKillGrace = 10 * time.Second
)

var (
	// ErrNotRunning says that nothing runs in the directory.
	ErrNotRunning = errors.New("not running")
	// ErrStarting says that a supervisor runs and its servers are not ready yet.
	ErrStarting = errors.New("still starting")
)

// State tells other processes how to reach the servers of a supervisor. It is
// a file only its owner may read, because the DSN may hold a password.
type State struct {
	Dir         string     `json:"dir"`
	PID         int        `json:"pid"` // of the supervisor
	StartedAt   time.Time  `json:"started_at"`
	DatabaseURL string     `json:"database_url,omitempty"`
	PostgresPID int        `json:"postgres_pid,omitempty"`
	Engine      EngineKind `json:"engine,omitempty"`
	EngineURLs  []string   `json:"engine_urls,omitempty"`
	EnginePIDs  []int      `json:"engine_pids,omitempty"`
}

// Supervise runs a stack in the foreground: it writes the state file when the
// servers are ready and stops them when ctx ends or SIGINT, SIGTERM or SIGHUP
// arrives, which is not an error. A server that ends on its own ends Supervise
// with an error that holds the server's last words. Restarting it is not
// Supervise's business: a crash should be looked at.
func Supervise(ctx context.Context, opts Options) (err error) {
	ctx, cancel := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer cancel()
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return fmt.Errorf("stack directory %q: %w", opts.Dir, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("create stack directory: %w", err)
	}
	lock, err := takeSupervisorLock(dir)
	if err != nil {
		return err
	}
	defer lock.unlock()
	state := filepath.Join(dir, stateFile)
	if err := os.Remove(state); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove old state: %w", err)
	}
	stack, err := Up(ctx, opts)
	if err != nil {
		return err
	}
	defer func() {
		_ = os.Remove(state)
		err = errors.Join(err, stack.Stop())
	}()
	if err := stack.state().write(state); err != nil {
		return err
	}
	return stack.wait(ctx)
}

func takeSupervisorLock(dir string) (*dirLock, error) {
	path := filepath.Join(dir, supervisorLock)
	lock, err := tryLock(path)
	if errors.Is(err, errLocked) {
		return nil, fmt.Errorf("a development stack runs in %s already (process %d): stop it first or choose another directory", dir, lockOwner(path))
	}
	if err != nil {
		return nil, err
	}
	if err := lock.writeOwner(); err != nil {
		lock.unlock()
		return nil, err
	}
	return lock, nil
}

// wait blocks until ctx ends (nil) or a server does (an error).
func (s *Stack) wait(ctx context.Context) error {
	ended := make(chan error)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch := func(name string, proc *process) {
		select {
		case <-proc.exited:
			select {
			case ended <- proc.exitError(name):
			case <-ctx.Done():
			}
		case <-ctx.Done():
		}
	}
	if s.Postgres != nil {
		go watch("postgres", s.Postgres.current())
	}
	if s.Engine != nil {
		for _, node := range s.Engine.nodes {
			go watch(node.name+" of "+string(s.Engine.Kind()), node.current())
		}
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return nil
	}
}

func (s *Stack) state() State {
	state := State{Dir: s.Dir, PID: os.Getpid(), StartedAt: time.Now().UTC()}
	if s.Postgres != nil {
		state.DatabaseURL, state.PostgresPID = s.Postgres.DSN(), s.Postgres.PID()
	}
	if s.Engine != nil {
		state.Engine, state.EngineURLs = s.Engine.Kind(), s.Engine.URLs()
		for _, node := range s.Engine.nodes {
			state.EnginePIDs = append(state.EnginePIDs, node.PID())
		}
	}
	return state
}

// write replaces the file at once, so that no reader sees half of it.
func (s State) write(path string) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	draft := path + ".new"
	if err := os.WriteFile(draft, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	if err := os.Rename(draft, path); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

// ReadState says what runs in dir: the state of a stack that is ready,
// ErrStarting, or ErrNotRunning (also when a supervisor died without cleaning
// up).
func ReadState(dir string) (State, error) {
	running, err := supervised(dir)
	if err != nil {
		return State{}, err
	}
	if !running {
		return State{}, fmt.Errorf("development stack in %s: %w", dir, ErrNotRunning)
	}
	text, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, os.ErrNotExist) {
		return State{}, fmt.Errorf("development stack in %s: %w", dir, ErrStarting)
	}
	if err != nil {
		return State{}, fmt.Errorf("read state: %w", err)
	}
	var state State
	if err := json.Unmarshal(text, &state); err != nil {
		return State{}, fmt.Errorf("read state of %s: %w", dir, err)
	}
	return state, nil
}

// supervised says whether a supervisor holds the directory.
func supervised(dir string) (bool, error) {
	path := filepath.Join(dir, supervisorLock)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	lock, err := tryLock(path)
	if errors.Is(err, errLocked) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	lock.unlock()
	return false, nil
}

// Detach starts argv, a command that calls [Supervise] with opts, in the
// background and returns when its servers are ready. Its output goes to
// supervisor.log in opts.Dir. When a stack with the same engine runs there
// already, its state is returned. When ctx ends first, or the command does,
// nothing is left running. The background process stays a child of this one
// until this one ends.
func Detach(ctx context.Context, opts Options, argv []string) (State, error) {
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return State{}, fmt.Errorf("stack directory %q: %w", opts.Dir, err)
	}
	running, err := supervised(dir)
	if err != nil {
		return State{}, err
	}
	if running {
		return joinRunning(ctx, dir, opts)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return State{}, fmt.Errorf("create stack directory: %w", err)
	}
	log, err := os.OpenFile(filepath.Join(dir, supervisorLog), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return State{}, fmt.Errorf("open supervisor's log: %w", err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no Ctrl-C of our terminal
	if err := cmd.Start(); err != nil {
		return State{}, fmt.Errorf("start supervisor: %w", err)
	}
	state, err := awaitSupervisor(ctx, dir, cmd.Process.Pid)
	if err != nil {
		return State{}, err
	}
	return state, cmd.Process.Release()
}

func joinRunning(ctx context.Context, dir string, opts Options) (State, error) {
	for {
		state, err := ReadState(dir)
		if errors.Is(err, ErrStarting) {
			if pauseErr := pause(ctx, 50*time.Millisecond); pauseErr != nil {
				return State{}, err
			}
			continue
		}
		if err != nil {
			return State{}, err
		}
		wanted, err := opts.Engine.complete()
		if err != nil {
			return State{}, err
		}
		if !opts.NoEngine && state.Engine != wanted.Kind {
			return State{}, fmt.Errorf("a development stack with %s runs in %s already: stop it before you start %s", state.Engine, dir, wanted.Kind)
		}
		return state, nil
	}
}

// awaitSupervisor waits for the state file of our child, without a goroutine
// that would have to outlive the call.
func awaitSupervisor(ctx context.Context, dir string, pid int) (State, error) {
	for {
		state, err := ReadState(dir)
		if err == nil {
			return state, nil
		}
		var status syscall.WaitStatus
		if reaped, waitErr := syscall.Wait4(pid, &status, syscall.WNOHANG, nil); waitErr == nil && reaped == pid {
			text, _ := os.ReadFile(filepath.Join(dir, supervisorLog))
			return State{}, fmt.Errorf("development stack did not start (exit code %d): %s", status.ExitStatus(), lastLines(string(text), 20))
		}
		if pauseErr := pause(ctx, 50*time.Millisecond); pauseErr != nil {
			_ = syscall.Kill(pid, syscall.SIGKILL) // the servers follow
			_, _ = syscall.Wait4(pid, &status, 0, nil)
			return State{}, fmt.Errorf("development stack in %s was not ready in time: %w", dir, pauseErr)
		}
	}
}

// Down stops the supervisor in dir with its servers and returns when they are
// gone. It returns ErrNotRunning when there is none.
func Down(ctx context.Context, dir string) error {
	path := filepath.Join(dir, supervisorLock)
	running, err := supervised(dir)
	if err != nil {
		return err
	}
	if !running {
		_ = os.Remove(filepath.Join(dir, stateFile)) // of a supervisor that was killed
		return fmt.Errorf("development stack in %s: %w", dir, ErrNotRunning)
	}
	pid := lockOwner(path)
	if pid <= 0 {
		return fmt.Errorf("development stack in %s has just begun to start: try again", dir)
	}
	for _, step := range []struct {
		signal syscall.Signal
		grace  time.Duration
	}{{syscall.SIGTERM, downGrace}, {syscall.SIGKILL, downKillGrace}} {
		if err := syscall.Kill(pid, step.signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop process %d: %w", pid, err)
		}
		waiting, cancel := context.WithTimeout(ctx, step.grace)
		lock, err := waitLock(waiting, path)
		cancel()
		if err == nil {
			_ = os.Remove(filepath.Join(dir, stateFile))
			lock.unlock()
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("stop process %d: %w", pid, ctx.Err())
		}
	}
	return fmt.Errorf("process %d did not end, even by SIGKILL", pid)
}
