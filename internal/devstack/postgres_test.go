package devstack

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func startTestPostgres(t *testing.T, opts PostgresOptions) *Postgres {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = serverDir(t)
	}
	opts.Unsafe = true
	server, err := StartPostgres(testContext(t), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return server
}

func query(t *testing.T, dsn, sql string) string {
	t.Helper()
	ctx := testContext(t)
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var value string
	if err := conn.QueryRow(ctx, sql).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

func execute(t *testing.T, dsn, sql string) {
	t.Helper()
	ctx := testContext(t)
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, sql); err != nil {
		t.Fatal(err)
	}
}

func TestPostgresKeepsDataOverStopKillAndRestart(t *testing.T) {
	t.Parallel()
	dir := serverDir(t)
	first := startTestPostgres(t, PostgresOptions{Dir: dir})
	execute(t, first.DSN(), "create table kept as select 'yes' as value")
	if got := query(t, first.DSN(), "show max_connections"); got != "300" {
		t.Errorf("max_connections = %s, want 300", got)
	}

	exited := first.Exited()
	first.Kill()
	awaitClosed(t, "killed postgres", exited)
	if first.PID() != 0 {
		t.Error("a killed server still has a process id")
	}
	if err := first.Start(testContext(t)); err != nil {
		t.Fatalf("start after kill: %v", err)
	}
	if err := first.Restart(testContext(t)); err != nil {
		t.Fatalf("restart: %v", err)
	}
	if err := first.Stop(); err != nil {
		t.Fatalf("stop: %v", err)
	}
	if err := first.Start(testContext(t)); err == nil {
		t.Error("a server that was stopped for good started again")
	}

	begin := time.Now()
	second := startTestPostgres(t, PostgresOptions{Dir: dir})
	t.Logf("warm start took %v", time.Since(begin))
	if got := query(t, second.DSN(), "select value from kept"); got != "yes" {
		t.Errorf("data after all that = %q, want yes", got)
	}
}

func TestPostgresTCPNeedsThePasswordAndKeepsItsPort(t *testing.T) {
	t.Parallel()
	server := startTestPostgres(t, PostgresOptions{TCP: true})
	dsn := server.DSN()
	if got := query(t, dsn, "select 'in'"); got != "in" {
		t.Errorf("query over TCP = %q", got)
	}
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	config.Password = "wrong"
	if conn, err := pgx.ConnectConfig(testContext(t), config); err == nil {
		_ = conn.Close(testContext(t))
		t.Error("a wrong password was let in")
	}
	if err := server.Restart(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if server.DSN() != dsn {
		t.Error("the DSN changed over a restart")
	}
	query(t, dsn, "select 'in again'")
}

func TestPostgresDirectoryBelongsToOneServer(t *testing.T) {
	t.Parallel()
	dir := serverDir(t)
	startTestPostgres(t, PostgresOptions{Dir: dir})
	_, err := StartPostgres(testContext(t), PostgresOptions{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "in use by process") {
		t.Errorf("second start in one directory: %v, want who uses it", err)
	}
}

func TestPostgresInLongOrPrivatePath(t *testing.T) {
	t.Parallel()
	private := filepath.Join(serverDir(t), "private")
	if err := os.Mkdir(private, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{
		"longer than a socket path": filepath.Join(serverDir(t), strings.Repeat("long", 25)),
		"closed to other accounts":  filepath.Join(private, "pg"),
	} {
		server := startTestPostgres(t, PostgresOptions{Dir: dir})
		if got := query(t, server.DSN(), "select 'in'"); got != "in" {
			t.Errorf("%s: %q", name, got)
		}
		for _, path := range []string{server.data, server.sockets} {
			if strings.HasPrefix(path, os.TempDir()+"/tms-pg-") {
				t.Cleanup(func() { _ = os.RemoveAll(filepath.Dir(path)) })
			}
		}
	}
}

func TestPostgresRepairsInterruptedInitdb(t *testing.T) {
	t.Parallel()
	dir := serverDir(t)
	wreck := filepath.Join(dir, "data")
	if err := os.MkdirAll(filepath.Join(wreck, "base"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(wreck, "PG_VERSION"), []byte("15\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	query(t, startTestPostgres(t, PostgresOptions{Dir: dir}).DSN(), "select 'in'")
}

func TestPostgresBadSettingIsExplained(t *testing.T) {
	t.Parallel()
	_, err := StartPostgres(testContext(t), PostgresOptions{Dir: serverDir(t), Settings: map[string]string{"no_such_setting": "1"}})
	if err == nil || !strings.Contains(err.Error(), "no_such_setting") {
		t.Errorf("error = %v, want the server's own words", err)
	}
}

func TestMissingPostgresSaysWhatToInstall(t *testing.T) {
	_, err := findPostgres(t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "TMS_DEV_POSTGRES_BIN") {
		t.Errorf("configured directory without programs: %v", err)
	}
	t.Setenv("PATH", "")
	t.Setenv("TMS_DEV_POSTGRES_BIN", "")
	if _, err := findPostgres(""); err != nil && !errors.Is(err, errNoPostgres) {
		t.Errorf("without PATH: %v", err)
	}
}
