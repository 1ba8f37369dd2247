package devstack

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// process is one child process that dies with this one (see deathSignal). It
// writes both output streams to a log file. Safe for concurrent use.
type process struct {
	pid     int
	child   *os.Process
	logPath string
	offset  int64 // where this run's output starts in the log

	exited chan struct{} // closed when the process has been reaped
	err    error         // valid once exited is closed
	paused sync.Mutex
	isHeld bool // under paused: stopped by SIGSTOP
}

// processSpec says what to run. SysProcAttr of cmd is completed by
// startProcess; lock, if any, is inherited so that the directory stays locked
// until the last descendant of the process is gone.
type processSpec struct {
	cmd         *exec.Cmd
	logPath     string
	deathSignal syscall.Signal
	lock        *dirLock
}

func startProcess(spec processSpec) (*process, error) {
	log, err := os.OpenFile(spec.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log of %s: %w", filepath.Base(spec.cmd.Path), err)
	}
	offset, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		_ = log.Close()
		return nil, fmt.Errorf("find end of %s: %w", spec.logPath, err)
	}
	spec.cmd.Stdout, spec.cmd.Stderr = log, log
	if spec.lock != nil {
		spec.cmd.ExtraFiles = append(spec.cmd.ExtraFiles, spec.lock.file)
	}
	if spec.cmd.SysProcAttr == nil {
		spec.cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	// Its own group: a Ctrl-C in the terminal reaches us, and we stop it in order.
	spec.cmd.SysProcAttr.Setpgid = true
	dieWithParent(spec.cmd.SysProcAttr, spec.deathSignal)

	p := &process{logPath: spec.logPath, offset: offset, exited: make(chan struct{})}
	started := make(chan error)
	go p.run(spec.cmd, log, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.cmd.Path, err)
	}
	return p, nil
}

// run starts the command and reaps it. The kernel sends the death signal when
// the *thread* that forked ends, so one thread is held for the child's life.
func (p *process) run(cmd *exec.Cmd, log *os.File, started chan<- error) {
	runtime.LockOSThread()
	defer func() { _ = log.Close() }()
	if err := cmd.Start(); err != nil {
		started <- err
		return
	}
	p.pid, p.child = cmd.Process.Pid, cmd.Process
	started <- nil
	p.err = cmd.Wait()
	close(p.exited)
}

func (p *process) alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// signal sends sig to the process unless it has already been reaped.
func (p *process) signal(sig syscall.Signal) error {
	if err := p.child.Signal(sig); err != nil {
		return fmt.Errorf("send %v to process %d: %w", sig, p.pid, err)
	}
	return nil
}

func (p *process) pause() error {
	p.paused.Lock()
	defer p.paused.Unlock()
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	p.isHeld = true
	return nil
}

func (p *process) resume() error {
	p.paused.Lock()
	defer p.paused.Unlock()
	if !p.isHeld {
		return nil
	}
	p.isHeld = false
	return p.signal(syscall.SIGCONT)
}

// stop sends sig, waits up to grace for the end, then kills. It returns nil
// for a process that has already ended and an error when it had to kill.
func (p *process) stop(sig syscall.Signal, grace time.Duration) error {
	_ = p.resume() // a stopped process would not see the signal
	if err := p.signal(sig); err != nil {
		if errors.Is(err, os.ErrProcessDone) {
			return nil
		}
		return err
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.exited:
		return nil
	case <-timer.C:
		p.kill()
		return fmt.Errorf("process %d did not end within %v of %v and was killed (log: %s)", p.pid, grace, sig, p.logPath)
	}
}

// kill ends the process with SIGKILL and waits until it has been reaped.
func (p *process) kill() {
	_ = p.signal(syscall.SIGKILL)
	<-p.exited
}

// exitError describes an unexpected end, with the last lines of its output.
func (p *process) exitError(name string) error {
	cause := p.err
	if cause == nil {
		cause = errors.New("exit status 0")
	}
	return fmt.Errorf("%s ended: %w; last lines of %s:\n%s", name, cause, p.logPath, p.tail(15))
}

// output returns what this run has logged so far, at most its last 64 KiB.
func (p *process) output() string {
	const most = 64 << 10
	file, err := os.Open(p.logPath)
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }()
	from := p.offset
	if info, err := file.Stat(); err == nil && info.Size()-from > most {
		from = info.Size() - most
	}
	data, _ := io.ReadAll(io.NewSectionReader(file, from, most))
	return string(data)
}

func (p *process) tail(lines int) string { return lastLines(p.output(), lines) }
