package devstack

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// errNoPostgres is the sentence for a machine without PostgreSQL.
var errNoPostgres = errors.New("no PostgreSQL server programs (initdb, postgres) found in TMS_DEV_POSTGRES_BIN, PATH or /usr/lib/postgresql/*/bin: install them, on Debian with `apt-get install postgresql`")

// findPostgres returns the directory with initdb and postgres.
func findPostgres(configured string) (string, error) {
	if configured == "" {
		configured = os.Getenv("TMS_DEV_POSTGRES_BIN")
	}
	if configured != "" {
		if !hasPostgres(configured) {
			return "", fmt.Errorf("configured PostgreSQL directory %s holds no initdb and postgres: correct TMS_DEV_POSTGRES_BIN or unset it", configured)
		}
		return configured, nil
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		// A link in /usr/bin leads to the directory where initdb lies too.
		if real, err := filepath.EvalSymlinks(path); err == nil && hasPostgres(filepath.Dir(real)) {
			return filepath.Dir(real), nil
		}
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", fmt.Errorf("look for PostgreSQL: %w", err)
	}
	slices.SortFunc(found, func(a, b string) int { return majorOf(b) - majorOf(a) })
	for _, dir := range found {
		if hasPostgres(dir) {
			return dir, nil
		}
	}
	return "", errNoPostgres
}

func majorOf(bin string) int {
	major, err := strconv.Atoi(filepath.Base(filepath.Dir(bin)))
	if err != nil {
		return 0
	}
	return major
}

func hasPostgres(dir string) bool {
	for _, program := range []string{"initdb", "postgres"} {
		info, err := os.Stat(filepath.Join(dir, program))
		if err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			return false
		}
	}
	return true
}

// account is the unprivileged user a root process runs the server as, because
// PostgreSQL refuses to run as root. A nil account is the process's own user.
type account struct{ uid, gid int }

func serverAccount() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.Atoi(found.Uid)
		gid, gidErr := strconv.Atoi(found.Gid)
		if err := errors.Join(uidErr, gidErr); err != nil {
			return nil, fmt.Errorf("account %s: %w", name, err)
		}
		return &account{uid: uid, gid: gid}, nil
	}
	return nil, errors.New("running as root and neither user postgres nor user nobody exists: PostgreSQL needs an unprivileged account, create one")
}

func (a *account) attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{}
	if a != nil {
		attr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
	return attr
}

func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	return os.Chown(path, a.uid, a.gid)
}

// reaches says whether the account may enter every directory above path.
func (a *account) reaches(path string) bool {
	if a == nil {
		return true
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if errors.Is(err, os.ErrNotExist) {
			continue // will be ours
		}
		if err != nil {
			return false
		}
		owner, known := info.Sys().(*syscall.Stat_t)
		allowed := info.Mode()&0o001 != 0
		if known && int(owner.Uid) == a.uid {
			allowed = info.Mode()&0o100 != 0
		} else if known && int(owner.Gid) == a.gid {
			allowed = info.Mode()&0o010 != 0
		}
		if !allowed {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}

// prepareDirs chooses and creates the data and socket directories.
func (p *Postgres) prepareDirs() error {
	p.data, p.sockets = filepath.Join(p.opts.Dir, "data"), filepath.Join(p.opts.Dir, "run")
	elsewhere := filepath.Join(os.TempDir(), "tms-pg-"+shortHash(p.opts.Dir))
	reachable := p.account.reaches(p.data)
	if !reachable {
		p.data = filepath.Join(elsewhere, "data")
	}
	if !reachable || !socketFits(p.sockets) {
		p.sockets = filepath.Join(elsewhere, "run")
	}
	if !socketFits(p.sockets) {
		return fmt.Errorf("socket directory %s is too long for a unix socket (107 bytes): set TMPDIR to a shorter path", p.sockets)
	}
	if !p.account.reaches(p.data) {
		return fmt.Errorf("postgres directory %s cannot be entered by the server's account (uid %d): choose a directory outside private home directories", p.data, p.account.uid)
	}
	for _, dir := range []string{elsewhere, p.data, p.sockets} {
		if dir == elsewhere && !strings.HasPrefix(p.data, elsewhere) && !strings.HasPrefix(p.sockets, elsewhere) {
			continue
		}
		if err := p.privateDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// privateDir creates dir for the server's account alone. A directory that
// belongs to somebody else is refused: names under a shared temporary
// directory can be guessed.
func (p *Postgres) privateDir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err == nil {
		return p.account.own(dir)
	} else if !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("create postgres directory: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("check postgres directory: %w", err)
	}
	want := os.Geteuid()
	if p.account != nil {
		want = p.account.uid
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || !ok || (int(owner.Uid) != want && int(owner.Uid) != os.Geteuid()) {
		return fmt.Errorf("%s is not a directory of user %d: remove it", dir, want)
	}
	return p.account.own(dir)
}

func shortHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:6])
}

// initialise creates the database cluster unless it is there, and writes the
// access rules: the private socket without, TCP with a password.
func (p *Postgres) initialise(ctx context.Context) error {
	passwordFile := filepath.Join(p.data, "tms-password")
	if _, err := os.Stat(filepath.Join(p.data, "tms-complete")); err == nil {
		password, err := os.ReadFile(passwordFile)
		p.password = string(password)
		return err
	}
	// An interrupted initdb leaves files that it refuses to overwrite.
	if err := emptyDir(p.data); err != nil {
		return fmt.Errorf("clear half-made database cluster: %w", err)
	}
	p.password = rand.Text()
	source := filepath.Join(p.sockets, "initial-password")
	if err := p.writeOwned(source, p.password); err != nil {
		return err
	}
	defer func() { _ = os.Remove(source) }()
	if err := p.runInitdb(ctx, source); err != nil {
		return err
	}
	if err := p.writeOwned(passwordFile, p.password); err != nil {
		return err
	}
	return p.writeOwned(filepath.Join(p.data, "tms-complete"), "")
}

func (p *Postgres) runInitdb(ctx context.Context, passwordFile string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(p.bin, "initdb"), "-D", p.data, "-U", postgresUser,
		"--auth-local=trust", "--auth-host=scram-sha-256", "--pwfile="+passwordFile,
		"-E", "UTF8", "--no-locale", "--no-sync")
	cmd.Dir, cmd.Env = p.data, serverEnv()
	cmd.SysProcAttr = p.account.attributes()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("create database cluster in %s: %w: %s", p.data, err, strings.TrimSpace(string(out)))
	}
	return nil
}

func (p *Postgres) writeOwned(path, content string) error {
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return p.account.own(path)
}

func emptyDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}
