package devstack

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	postgresUser       = "tms" // superuser of the private server
	defaultConnections = 300   // several `tms serve` with pools, plus parallel tests
	postgresStartLimit = time.Minute
	postgresStopGrace  = 20 * time.Second
	socketPort         = 5432 // only part of the socket's file name
)

// PostgresOptions configures [StartPostgres]. The zero value of every field
// but Dir is usable.
type PostgresOptions struct {
	// Dir holds data, log and lock. It is created when missing. When this
	// process is root and the unprivileged server account cannot reach Dir,
	// the data live in a directory of the system's temporary directory named
	// after a hash of Dir.
	Dir string
	// Bin is the directory with initdb and postgres. Empty: TMS_DEV_POSTGRES_BIN,
	// then PATH, then the newest /usr/lib/postgresql/*/bin.
	Bin string
	// TCP makes the server listen on 127.0.0.1 (password required, part of
	// the DSN) besides the private unix socket.
	TCP bool
	// Port is the TCP port. 0 takes a free one, kept over Restart.
	Port int
	// MaxConnections is max_connections; 0 means 300.
	MaxConnections int
	// Unsafe turns fsync and full_page_writes off: quicker, and the data
	// survive a killed server but not a crash of the machine. For tests.
	Unsafe bool
	// Settings are further server settings (postgresql.conf names).
	Settings map[string]string
}

// Postgres is a private PostgreSQL server. Its methods are safe for concurrent
// use; Stop, Kill and Restart are serialised.
type Postgres struct {
	opts     PostgresOptions
	account  *account // whom the server runs as; nil: this process's user
	bin      string
	data     string // data directory
	sockets  string // directory of the unix socket
	password string
	logPath  string
	lock     *dirLock

	mu   sync.Mutex
	proc *process // nil after Stop
	port int      // TCP port or socketPort
}

// StartPostgres starts a server in opts.Dir and returns once it answers
// queries. A first start creates the database cluster (about 0.6 s), a later
// one takes less than 0.1 s. The error of a missing installation says what to
// install. The caller must call Stop.
func StartPostgres(ctx context.Context, opts PostgresOptions) (*Postgres, error) {
	bin, err := findPostgres(opts.Bin)
	if err != nil {
		return nil, err
	}
	account, err := serverAccount()
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("postgres directory %q: %w", opts.Dir, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("create postgres directory: %w", err)
	}
	opts.Dir = dir
	lock, err := lockDir(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	p := &Postgres{opts: opts, account: account, bin: bin, lock: lock, port: socketPort, logPath: filepath.Join(dir, "postgres.log")}
	if err := p.prepareAndStart(ctx); err != nil {
		lock.unlock()
		return nil, err
	}
	return p, nil
}

func (p *Postgres) prepareAndStart(ctx context.Context) error {
	if err := p.prepareDirs(); err != nil {
		return err
	}
	if err := p.initialise(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.opts.TCP || p.opts.Port != 0 {
		if p.opts.TCP {
			p.port = p.opts.Port
		}
		return p.start(ctx)
	}
	var err error
	for range 5 { // somebody may take the free port before the server does
		if p.port, err = freePort(); err != nil {
			return err
		}
		if err = p.start(ctx); !errors.Is(err, errPortTaken) {
			return err
		}
	}
	return err
}

// DSN is the URL of the maintenance database "postgres". With TCP it names
// 127.0.0.1 and holds a password, without it names the private socket.
func (p *Postgres) DSN() string { return p.Database("postgres") }

// Database is the URL of the named database of this server.
func (p *Postgres) Database(name string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opts.TCP {
		return p.tcpURL(name)
	}
	return p.socketURL(name)
}

func (p *Postgres) tcpURL(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(postgresUser, p.password),
		Host: loopback(p.port), Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

func (p *Postgres) socketURL(database string) string {
	query := url.Values{"host": {p.sockets}, "port": {strconv.Itoa(p.port)}, "sslmode": {"disable"}}
	u := url.URL{Scheme: "postgres", User: url.User(postgresUser), Path: "/" + database, RawQuery: query.Encode()}
	return u.String()
}

// Address is the host:port of the TCP listener, or "" without TCP.
func (p *Postgres) Address() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.opts.TCP {
		return ""
	}
	return loopback(p.port)
}

// PID is the process id of the postmaster, or 0 while it is stopped.
func (p *Postgres) PID() int {
	if proc := p.current(); proc != nil && proc.alive() {
		return proc.pid
	}
	return 0
}

func (p *Postgres) current() *process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.proc
}

// Exited is closed when the running server process has ended, for whatever
// reason. It is nil (blocks for ever) while the server is stopped.
func (p *Postgres) Exited() <-chan struct{} {
	if proc := p.current(); proc != nil {
		return proc.exited
	}
	return nil
}

// Start starts a server that was killed or has died, on the same data and
// port. It does nothing while the server runs.
func (p *Postgres) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lock == nil {
		return errors.New("postgres was stopped for good: start a new one with StartPostgres")
	}
	if p.proc != nil && p.proc.alive() {
		return nil
	}
	return p.start(ctx)
}

// Restart stops the server (fast shutdown: sessions are disconnected, nothing
// is lost) and starts it again on the same data and port.
func (p *Postgres) Restart(ctx context.Context) error {
	p.mu.Lock()
	err := p.halt()
	p.mu.Unlock()
	if err != nil {
		return err
	}
	return p.Start(ctx)
}

// Kill ends the server with SIGKILL, as a crash would. Start brings it back.
func (p *Postgres) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.proc != nil {
		p.proc.kill()
	}
}

// Stop shuts the server down for good and releases the directory. A second
// call does nothing.
func (p *Postgres) Stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.halt()
	if p.lock != nil {
		p.lock.unlock()
		p.lock = nil
	}
	return err
}

func (p *Postgres) halt() error {
	if p.proc == nil {
		return nil
	}
	err := p.proc.stop(syscall.SIGINT, postgresStopGrace) // fast shutdown
	p.proc = nil
	return err
}

var (
	errPortTaken = errors.New("port is taken")
	// errDraining: backends of a killed postmaster still hold its memory.
	errDraining = errors.New("a previous server is still ending")
)

// start runs the server and waits until it answers. The caller holds p.mu.
func (p *Postgres) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, postgresStartLimit)
	defer cancel()
	for {
		err := p.startOnce(ctx)
		if !errors.Is(err, errDraining) {
			return err
		}
		if waitErr := pause(ctx, 50*time.Millisecond); waitErr != nil {
			return err
		}
	}
}

func (p *Postgres) startOnce(ctx context.Context) error {
	cmd := exec.Command(filepath.Join(p.bin, "postgres"), p.arguments()...)
	cmd.Dir = p.data
	cmd.Env = serverEnv()
	cmd.SysProcAttr = p.account.attributes()
	// SIGINT is a fast shutdown, also when it comes from the kernel.
	proc, err := startProcess(processSpec{cmd: cmd, logPath: p.logPath, deathSignal: syscall.SIGINT, lock: p.lock})
	if err != nil {
		return err
	}
	if err := p.awaitReady(ctx, proc); err != nil {
		_ = proc.stop(syscall.SIGQUIT, time.Second)
		return err
	}
	p.proc = proc
	return nil
}

func (p *Postgres) awaitReady(ctx context.Context, proc *process) error {
	for {
		err := ping(ctx, p.socketURL("postgres"))
		if err == nil {
			return nil
		}
		select {
		case <-proc.exited:
			return p.startFailure(proc)
		case <-ctx.Done():
			return fmt.Errorf("postgres in %s did not answer in time: %w; last lines of its log:\n%s", p.data, err, proc.tail(15))
		case <-time.After(15 * time.Millisecond):
		}
	}
}

func (p *Postgres) startFailure(proc *process) error {
	output := proc.output()
	err := proc.exitError("postgres")
	switch {
	case strings.Contains(output, "could not bind IPv4 address"):
		return fmt.Errorf("postgres on port %d: %w: %w", p.port, errPortTaken, err)
	case strings.Contains(output, "pre-existing shared memory block"),
		strings.Contains(output, `lock file "postmaster.pid" already exists`):
		return fmt.Errorf("postgres in %s: %w: %w", p.data, errDraining, err)
	default:
		return err
	}
}

func (p *Postgres) arguments() []string {
	connections := p.opts.MaxConnections
	if connections == 0 {
		connections = defaultConnections
	}
	listen := ""
	if p.opts.TCP {
		listen = "127.0.0.1"
	}
	args := []string{
		"-D", p.data, "-k", p.sockets, "-p", strconv.Itoa(p.port),
		"-c", "listen_addresses=" + listen,
		"-c", "unix_socket_permissions=0700",
		"-c", "max_connections=" + strconv.Itoa(connections),
	}
	if p.opts.Unsafe {
		// Not synchronous_commit: without it a killed server loses commits.
		args = append(args, "-c", "fsync=off", "-c", "full_page_writes=off")
	}
	for name, value := range p.opts.Settings {
		args = append(args, "-c", name+"="+value)
	}
	return args
}

func ping(ctx context.Context, dsn string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// serverEnv is the environment of the servers: no variable of the caller's
// that a server or libpq would understand, and nothing secret.
func serverEnv() []string {
	env := []string{"LC_ALL=C", "TZ=UTC"}
	for _, name := range []string{"PATH", "HOME", "TMPDIR"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// socketFits says whether a server socket in dir keeps within the 107 bytes
// that sun_path leaves (unix(7)).
func socketFits(dir string) bool {
	return len(filepath.Join(dir, ".s.PGSQL.65535")) <= 107 && !strings.Contains(dir, ",")
}
