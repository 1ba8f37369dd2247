// Package child runs the tms program as separate processes: servers, which can
// be stopped, killed and started again on the same addresses, and commands.
// `tms demo` and the end-to-end tests use TMS through nothing else.
package child

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	// startLimit includes the migrations and the wait for a database that
	// starts at the same time.
	startLimit = time.Minute
	// stopGrace is a little more than the program's own --shutdown-timeout.
	stopGrace = 30 * time.Second
	// anyPort makes the first start take free ports; later ones keep them.
	anyPort = "127.0.0.1:0"
)

// Keys are the secrets of one installation, shared by all of its servers.
type Keys struct{ Admin, Instance, Secret string }

// NewKeys generates secrets.
func NewKeys() Keys {
	return Keys{Admin: rand.Text(), Instance: rand.Text(), Secret: rand.Text() + rand.Text()}
}

// Config says what a server is started with.
type Config struct {
	Binary      string   // path of the tms program
	DatabaseURL string   // may hold a password: handed over in the environment
	ElasticURLs []string // of one cluster
	Keys        Keys
	Env         []string // further NAME=value
	LogPath     string   // standard error, appended to by every start
}

// Server is one `tms serve`. It dies with this process. Its methods are safe
// for concurrent use, except that Start, Stop and Kill come one after the
// other.
type Server struct {
	cfg Config

	mu         sync.Mutex
	grpc, http string
	cmd        *exec.Cmd
	exited     chan struct{} // closed when the running process has been reaped
	waitErr    error         // valid once exited is closed
}

// Serve prepares a server; Start runs it.
func Serve(cfg Config) *Server { return &Server{cfg: cfg, grpc: anyPort, http: anyPort} }

// Start starts the process and returns when it has announced its addresses.
// After Stop or Kill it comes back under the same ones.
func (s *Server) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	lines, err := s.launch()
	if err != nil {
		return fmt.Errorf("start tms serve: %w", err)
	}
	select {
	case line, ok := <-lines:
		if !ok {
			return s.startFailure(errors.New("it ended before it listened"))
		}
		var said struct {
			GRPC string `json:"grpc_addr"`
			HTTP string `json:"http_addr"`
		}
		if err := json.Unmarshal(line, &said); err != nil || said.GRPC == "" || said.HTTP == "" {
			s.Kill()
			return s.startFailure(fmt.Errorf("its first line names no addresses: %q", line))
		}
		s.mu.Lock()
		s.grpc, s.http = said.GRPC, said.HTTP
		s.mu.Unlock()
		return nil
	case <-ctx.Done():
		s.Kill()
		return s.startFailure(ctx.Err())
	}
}

func (s *Server) startFailure(cause error) error {
	return fmt.Errorf("start tms serve: %w; last lines of %s:\n%s", cause, s.cfg.LogPath, s.LogTail(15))
}

// launch starts the process; the channel gets the first line of its standard
// output, or is closed without one.
func (s *Server) launch() (<-chan []byte, error) {
	log, err := os.OpenFile(s.cfg.LogPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	cmd := exec.Command(s.cfg.Binary, "serve", "--grpc-addr", s.grpc, "--http-addr", s.http, "--migrate")
	s.mu.Unlock()
	cmd.Env = slices.Concat(os.Environ(), []string{
		"DATABASE_URL=" + s.cfg.DatabaseURL,
		"TMS_ELASTIC_URLS=" + strings.Join(s.cfg.ElasticURLs, ","),
		"API_KEY=" + s.cfg.Keys.Instance, "TMS_ADMIN_KEY=" + s.cfg.Keys.Admin, "SECRET=" + s.cfg.Keys.Secret,
	}, s.cfg.Env)
	cmd.Stderr = log
	// Its own group: a Ctrl-C in the terminal reaches us, and we stop it in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithParent(cmd.SysProcAttr)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	exited, started := make(chan struct{}), make(chan error)
	lines := make(chan []byte, 1)
	go func() {
		defer func() { _ = log.Close() }()
		runtime.LockOSThread() // see dieWithParent: the thread must live as long as the child
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		firstLine(out, lines)
		err = cmd.Wait()
		s.mu.Lock()
		s.waitErr = err
		s.mu.Unlock()
		close(exited)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.cmd, s.exited = cmd, exited
	s.mu.Unlock()
	return lines, nil
}

// firstLine hands over the first line and reads the rest away until the end.
func firstLine(out io.Reader, lines chan<- []byte) {
	defer close(lines)
	r := bufio.NewReader(out)
	line, err := r.ReadBytes('\n')
	if err == nil {
		lines <- line
	}
	_, _ = io.Copy(io.Discard, r)
}

// Exited is closed when the running process has ended, for whatever reason; it
// is nil before Start, and after Stop and Kill.
func (s *Server) Exited() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.exited
}

// Kill ends the process with SIGKILL, as a crash would, and waits for its end.
func (s *Server) Kill() {
	s.signal(syscall.SIGKILL)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cmd, s.exited = nil, nil
}

// Stop ends the process in order. The error says that it did not end in time
// and was killed, or that it ended with a failure.
func (s *Server) Stop() error {
	exited := s.Exited()
	if exited == nil {
		return nil
	}
	timer := time.AfterFunc(stopGrace, s.Kill)
	s.signal(syscall.SIGTERM)
	inTime := timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.waitErr
	s.cmd, s.exited = nil, nil
	switch {
	case !inTime:
		return fmt.Errorf("tms serve did not end within %s and was killed (log: %s)", stopGrace, s.cfg.LogPath)
	case err != nil:
		return fmt.Errorf("tms serve: %w (log: %s)", err, s.cfg.LogPath)
	}
	return nil
}

// Pause freezes the process (SIGSTOP): its connections stay open, and nothing
// answers. One that does not run is an error.
func (s *Server) Pause() error { return s.send(syscall.SIGSTOP) }

// Continue lets a paused process run on.
func (s *Server) Continue() error { return s.send(syscall.SIGCONT) }

// PID is the process id, 0 while nothing runs.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return 0
	}
	return s.cmd.Process.Pid
}

func (s *Server) send(sig os.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return fmt.Errorf("send %v to tms serve: %w", sig, os.ErrProcessDone)
	}
	return s.cmd.Process.Signal(sig)
}

// signal sends a signal and waits for the end of the process.
func (s *Server) signal(sig os.Signal) {
	s.mu.Lock()
	cmd, exited := s.cmd, s.exited
	s.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Signal(sig) // fails only when it has ended
	<-exited
}

// GRPC is the address of the contract, host:port.
func (s *Server) GRPC() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.grpc
}

// HTTP is the address of REST and of Tracardi's routes, host:port.
func (s *Server) HTTP() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.http
}

// ClientEnv is what a command needs to talk to the server as administrator.
func (s *Server) ClientEnv() []string {
	return []string{"TMS_ADDR=" + s.GRPC(), "TMS_API_KEY=" + s.cfg.Keys.Admin}
}

// Dial opens a connection as administrator. The caller closes it.
func (s *Server) Dial() (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient(s.GRPC(),
		grpc.WithTransportCredentials(insecure.NewCredentials()), // loopback
		grpc.WithPerRPCCredentials(bearer(s.cfg.Keys.Admin)))
	if err != nil {
		return nil, fmt.Errorf("connect to tms at %s: %w", s.GRPC(), err)
	}
	return conn, nil
}

// bearer is an API key as gRPC sends it.
type bearer string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (bearer) RequireTransportSecurity() bool { return false }

// LogPath is the file with the log of all starts.
func (s *Server) LogPath() string { return s.cfg.LogPath }

// LogTail is the last lines of the log.
func (s *Server) LogTail(lines int) string {
	raw, err := os.ReadFile(s.cfg.LogPath)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(raw), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
