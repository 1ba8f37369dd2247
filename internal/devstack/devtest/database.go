package devtest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	databaseLimit = 2 * time.Minute
	// templateLock keeps two processes from migrating one template at once.
	templateLock = 7_274_001
	// staleTemplate is older than any test run can be.
	staleTemplate = "6 hours"
)

// Migrate brings an empty database to the schema the tests need.
type Migrate func(ctx context.Context, dsn string) error

// processKey tells the templates of test binaries apart: a binary has its
// migrations compiled in, so another one's template may be different.
var processKey = sync.OnceValue(func() string {
	return fmt.Sprintf("%d-%s", os.Getpid(), rand.Text())
})

// Database returns the URL of a fresh database for this test, made from a
// template on which migrate ran once in this process, and dropped when the
// test ends. A nil migrate gives an empty database. Takes tens of milliseconds.
func Database(t testing.TB, migrate Migrate) string {
	t.Helper()
	return DatabaseKeyed(t, processKey(), migrate)
}

// DatabaseKeyed is [Database] with a template that all processes on the server
// share: key must change whenever the result of migrate does.
func DatabaseKeyed(t testing.TB, key string, migrate Migrate) string {
	t.Helper()
	maintenance := Postgres(t)
	ctx, cancel := context.WithTimeout(context.Background(), databaseLimit)
	defer cancel()
	template := "template1"
	if migrate != nil {
		template = templateName(key, migrate)
		if err := ensureTemplate(ctx, maintenance, template, migrate); err != nil {
			t.Fatalf("prepare database template: %v", err)
		}
	}
	name := "tms_test_" + strings.ToLower(rand.Text()[:16])
	if err := execute(ctx, maintenance, "create database "+name+" template "+template); err != nil {
		t.Fatalf("create test database: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), databaseLimit)
		defer cancel()
		if err := execute(ctx, maintenance, "drop database if exists "+name+" with (force)"); err != nil {
			t.Errorf("drop test database: %v", err)
		}
	})
	return withDatabase(t, maintenance, name)
}

func templateName(key string, migrate Migrate) string {
	function := runtime.FuncForPC(reflect.ValueOf(migrate).Pointer()).Name()
	sum := sha256.Sum256([]byte(key + "\x00" + function))
	return "tms_template_" + hex.EncodeToString(sum[:8])
}

// ready remembers the templates this process has made sure of.
var ready struct {
	sync.Mutex
	templates map[string]bool
}

func ensureTemplate(ctx context.Context, maintenance, name string, migrate Migrate) error {
	ready.Lock()
	defer ready.Unlock()
	if ready.templates[name] {
		return nil
	}
	conn, err := pgx.Connect(ctx, maintenance)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	// A session lock: it goes with the connection, also when we are killed.
	if _, err := conn.Exec(ctx, "select pg_advisory_lock($1)", templateLock); err != nil {
		return fmt.Errorf("lock templates: %w", err)
	}
	if err := dropStale(ctx, conn); err != nil {
		return err
	}
	if err := buildTemplate(ctx, conn, maintenance, name, migrate); err != nil {
		return err
	}
	if ready.templates == nil {
		ready.templates = map[string]bool{}
	}
	ready.templates[name] = true
	return nil
}

// buildTemplate migrates under another name and renames at the end, so that a
// template of that name is always complete.
func buildTemplate(ctx context.Context, conn *pgx.Conn, maintenance, name string, migrate Migrate) error {
	var exists bool
	if err := conn.QueryRow(ctx, "select exists (select from pg_database where datname = $1)", name).Scan(&exists); err != nil {
		return fmt.Errorf("look for template: %w", err)
	}
	if exists {
		return nil
	}
	draft := name + "_draft"
	dsn, err := replaceDatabase(maintenance, draft)
	if err != nil {
		return err
	}
	for _, statement := range []string{"drop database if exists " + draft + " with (force)", "create database " + draft} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("create template: %w", err)
		}
	}
	if err := migrate(ctx, dsn); err != nil {
		return fmt.Errorf("migrate template: %w", err)
	}
	for _, statement := range []string{
		// A connection that migrate left open would make every copy fail.
		"alter database " + draft + " with allow_connections false",
		"select pg_terminate_backend(pid) from pg_stat_activity where datname = '" + draft + "'",
		fmt.Sprintf("comment on database %s is '%s'", draft, time.Now().UTC().Format(time.RFC3339)),
		"alter database " + draft + " rename to " + name,
	} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("complete template: %w", err)
		}
	}
	return nil
}

// dropStale removes templates of test runs that ended long ago.
func dropStale(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, `select datname from pg_database
		where datname like 'tms\_template\_%'
		  and shobj_description(oid, 'pg_database') < to_char(now() at time zone 'utc' - $1::interval, 'YYYY-MM-DD"T"HH24:MI:SS"Z"')`, staleTemplate)
	if err != nil {
		return fmt.Errorf("look for old templates: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("look for old templates: %w", err)
	}
	for _, name := range names {
		if _, err := conn.Exec(ctx, "drop database if exists "+pgx.Identifier{name}.Sanitize()+" with (force)"); err != nil {
			return fmt.Errorf("drop old template: %w", err)
		}
	}
	return nil
}

func execute(ctx context.Context, dsn, statement string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = conn.Exec(ctx, statement)
	return err
}

func withDatabase(t testing.TB, dsn, name string) string {
	t.Helper()
	changed, err := replaceDatabase(dsn, name)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func replaceDatabase(dsn, name string) (string, error) {
	parsed, err := url.Parse(dsn)
	if err != nil || (parsed.Scheme != "postgres" && parsed.Scheme != "postgresql") {
		return "", fmt.Errorf("%s is not a postgres:// URL", DatabaseURLEnv)
	}
	parsed.Path = "/" + name
	return parsed.String(), nil
}
