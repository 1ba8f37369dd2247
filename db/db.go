package db

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Limits of the connections.
const (
	// MaxConns of one process: the workers' and the requests' together. Far
	// below Postgres' default of 100, so that several processes fit. The DSN
	// parameter pool_max_conns overrides it.
	MaxConns = 20
	// connectTimeout bounds a single attempt to connect.
	connectTimeout = 5 * time.Second
	// statementTimeout is a safety net: nothing we ask takes nearly as long.
	statementTimeout = 30 * time.Second
	// lockTimeout turns waiting for a lock into an error that is retried.
	lockTimeout = 5 * time.Second
	// idleInTransaction ends transactions of a process that hangs.
	idleInTransaction = 30 * time.Second
	// pingAfter is how long a connection may have been idle to be used
	// without a look whether it still stands.
	pingAfter = 50 * time.Millisecond
	// notifyTimeout bounds setting up, and asking after, the connection for
	// notifications.
	notifyTimeout = 2 * time.Second
)

// DB is a pool of connections. It is safe for concurrent use.
type DB struct {
	pool *pgxpool.Pool
}

// Open makes the pool and the first connection. dsn is a Postgres URL or
// keyword string; its password appears in no error.
func Open(ctx context.Context, dsn string) (*DB, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, errors.New("DATABASE_URL: not a Postgres address; use postgres://user:password@host:5432/database")
	}
	if !strings.Contains(dsn, "pool_max_conns") { // the operator's choice counts
		cfg.MaxConns = MaxConns
	}
	cfg.ConnConfig.ConnectTimeout = connectTimeout
	cfg.MaxConnIdleTime = 5 * time.Minute
	cfg.HealthCheckPeriod = 30 * time.Second
	// After a restart of Postgres every idle connection is dead: each would
	// fail one call, and a caller who tries again would meet the next.
	cfg.ShouldPing = func(_ context.Context, p pgxpool.ShouldPingParams) bool { return p.IdleDuration > pingAfter }
	setParameters(cfg.ConnConfig.RuntimeParams)
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("DATABASE_URL: %w", err)
	}
	d := &DB{pool: pool}
	if err := d.Ping(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return d, nil
}

// setParameters sets what the address leaves open.
func setParameters(params map[string]string) {
	for name, d := range map[string]time.Duration{
		"statement_timeout":                   statementTimeout,
		"lock_timeout":                        lockTimeout,
		"idle_in_transaction_session_timeout": idleInTransaction,
	} {
		if params[name] == "" {
			params[name] = fmt.Sprint(d.Milliseconds())
		}
	}
	for name, value := range map[string]string{
		"application_name": "tms",
		// Questions are short, and some of them look costly to the planner:
		// compiling them took twenty times as long as answering them.
		"jit": "off",
	} {
		if params[name] == "" {
			params[name] = value
		}
	}
}

// Close waits for connections in use and closes all.
func (d *DB) Close() { d.pool.Close() }

// Pool is for River, which brings its own queries.
func (d *DB) Pool() *pgxpool.Pool { return d.pool }

// Ping asks the database for a sign of life.
func (d *DB) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return failure(d.pool.Ping(ctx))
}

// inTx runs f in a transaction, committed when f returns nil.
func (d *DB) inTx(ctx context.Context, f func(pgx.Tx) error) error {
	return failure(pgx.BeginFunc(ctx, d.pool, f))
}

// Migrate brings the schema to the version that this binary needs. Processes
// that start at the same time wait for each other.
func Migrate(ctx context.Context, dsn string) error {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return errors.New("DATABASE_URL: not a Postgres address; use postgres://user:password@host:5432/database")
	}
	cfg.ConnectTimeout = connectTimeout
	conn := stdlib.OpenDB(*cfg)
	defer conn.Close()
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 60))
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectPostgres, conn, files, goose.WithSessionLocker(locker))
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate database: %w", err)
	}
	return migrateQueue(ctx, dsn)
}

// NeededVersion is the schema version that this binary works with.
func NeededVersion() int64 {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		panic(err) // the pattern is constant
	}
	var newest int64
	for _, f := range files {
		v, err := goose.NumericComponent(f)
		if err != nil {
			panic(err) // the files are embedded and tested
		}
		newest = max(newest, v)
	}
	return newest
}

// Version is the schema version of the database; 0 when it is empty.
func (d *DB) Version(ctx context.Context) (int64, error) {
	var v int64
	err := d.pool.QueryRow(ctx, `select coalesce(max(version_id), 0) from goose_db_version where is_applied`).Scan(&v)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == undefinedTable {
		return 0, nil
	}
	return v, failure(err)
}

// CheckVersion refuses a schema that is older or newer than this binary.
func (d *DB) CheckVersion(ctx context.Context) error {
	got, err := d.Version(ctx)
	if err != nil {
		return err
	}
	switch want := NeededVersion(); {
	case got < want:
		return fmt.Errorf("schema version %d, this binary needs %d: run tms migrate", got, want)
	case got > want:
		return fmt.Errorf("schema version %d, this binary knows %d: run a newer tms", got, want)
	}
	return nil
}
