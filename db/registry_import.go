package db

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tracardi/tms/tenants"
)

// ImportOptions say how a copy is brought in.
type ImportOptions struct {
	// Secret and OldSecret are SECRET and its predecessor, "" for none.
	Secret, OldSecret string
	// Replace allows a registry that is not empty to be replaced.
	Replace bool
}

// ImportRegistry fills the registry from a copy, whole or not at all: an error
// leaves the database as it was. The schema must be that of the copy, and
// nobody else may be connected. What was going on when the copy was made does
// not go on by itself; see holdBack.
func ImportRegistry(ctx context.Context, dsn string, r io.Reader, o ImportOptions) (*CopySummary, error) {
	c, err := openCopy(r)
	if err != nil {
		return nil, err
	}
	if err := c.fits(o); err != nil {
		return nil, err
	}
	conn, err := importConnection(ctx, dsn)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if err := alone(ctx, conn); err != nil {
		return nil, err
	}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		tables, err := copiedTables(ctx, tx)
		if err != nil {
			return err
		}
		if err := mayImport(ctx, tx, o); err != nil {
			return err
		}
		if err := c.sameColumns(tables); err != nil {
			return err
		}
		if err := c.load(ctx, tx); err != nil {
			return err
		}
		return replaceTables(ctx, tx, tables, c.summary())
	})
	var known *CopyError
	if errors.As(err, &known) {
		return nil, known
	}
	if err != nil {
		return nil, failure(err)
	}
	return c.summary(), nil
}

// importName is how an import tells itself from others in Postgres.
const importName = "tms registry import"

func importConnection(ctx context.Context, dsn string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, errors.New("DATABASE_URL: not a Postgres address; use postgres://user:password@host:5432/database")
	}
	cfg.ConnectTimeout = connectTimeout
	cfg.RuntimeParams["application_name"] = importName
	conn, err := pgx.ConnectConfig(ctx, cfg)
	return conn, failure(err)
}

// alonePatience is for connections of a program that has just ended.
const alonePatience = 3 * time.Second

// alone refuses while others work on the database.
func alone(ctx context.Context, conn *pgx.Conn) error {
	for until := time.Now().Add(alonePatience); ; {
		var others int64
		err := conn.QueryRow(ctx, `
			select count(*) from pg_stat_activity
			where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()`).Scan(&others)
		switch {
		case err != nil:
			return failure(err)
		case others == 0:
			return nil
		case time.Now().After(until):
			return &CopyError{"registry_in_use", fmt.Sprintf("%d others are connected to this database", others), "stop every `tms serve` that uses it, then try again"}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(alonePatience / 20):
		}
	}
}

// mayImport refuses a schema that does not fit, and what would lose something.
func mayImport(ctx context.Context, tx pgx.Tx, o ImportOptions) error {
	var schema, held int64
	if err := tx.QueryRow(ctx, `select coalesce(max(version_id), 0) from goose_db_version where is_applied`).Scan(&schema); err != nil || schema != NeededVersion() {
		var pg *pgconn.PgError
		if err != nil && (!errors.As(err, &pg) || pg.Code != undefinedTable) {
			return err
		}
		return &CopyError{"copy_schema", fmt.Sprintf("the database has schema version %d, this tms needs %d", schema, NeededVersion()), "run `tms migrate` first"}
	}
	err := tx.QueryRow(ctx, `
		select (select count(*) from tenants) + (select count(*) from api_keys) + (select count(*) from rollouts)
			+ (select count(*) from webhooks) + (select count(*) from backup_repositories) + (select count(*) from audit)`).Scan(&held)
	switch {
	case err != nil:
		return err
	case held > 0 && !o.Replace:
		return &CopyError{"registry_not_empty", "the registry is not empty", "import into an empty database, or say --replace to lose what is in this one"}
	}
	return nil
}

// fits compares what can be known before the database is asked.
func (c *copyFile) fits(o ImportOptions) error {
	if c.head.Schema != NeededVersion() {
		return &CopyError{
			"copy_schema", fmt.Sprintf("the copy is of schema version %d, this tms has %d", c.head.Schema, NeededVersion()),
			"import it with tms " + c.head.Program + " into a new database, then bring that up to date with `tms migrate`",
		}
	}
	if c.head.Secret != recognize(o.Secret) && (o.OldSecret == "" || c.head.Secret != recognize(o.OldSecret)) {
		return &CopyError{
			"copy_secret", "the copy was written under another SECRET: keys and tokens in it would be of no use",
			"set SECRET to the one of that time, or TMS_SECRET_OLD when it was changed since",
		}
	}
	return nil
}

func (c *copyFile) sameColumns(tables []copiedTable) error {
	known := map[string][]string{}
	for _, t := range tables {
		known[t.name] = t.columns
	}
	for name, columns := range c.head.Columns {
		if !slices.Equal(known[name], columns) {
			return &CopyError{"copy_schema", "table " + name + " of the copy is not that of this database", "import it with tms " + c.head.Program + ", which wrote it"}
		}
	}
	return nil
}

// load puts all rows into a table of this transaction. Nothing is believed
// before the checksum at the end.
func (c *copyFile) load(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `create temp table imported (name text not null, body json not null) on commit drop`); err != nil {
		return err
	}
	var read error
	rows := pgx.CopyFromFunc(func() ([]any, error) {
		row, err := c.next()
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			read = err
			return nil, err
		}
		return []any{row.Table, string(row.Row)}, nil
	})
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"imported"}, []string{"name", "body"}, rows)
	if read != nil {
		return read
	}
	return err
}

// replaceTables empties all tables and fills those of the copy. Triggers are
// off meanwhile: they would write history a second time.
func replaceTables(ctx context.Context, tx pgx.Tx, tables []copiedTable, s *CopySummary) error {
	var names []string
	for _, t := range tables {
		names = append(names, quoted(t.name))
		if _, err := tx.Exec(ctx, `alter table `+quoted(t.name)+` disable trigger user`); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(ctx, `truncate `+strings.Join(names, ", ")); err != nil {
		return err
	}
	for _, t := range tables {
		var columns, values []string
		for _, c := range t.columns {
			columns, values = append(columns, quoted(c)), append(values, "r."+quoted(c))
		}
		_, err := tx.Exec(ctx, `
			insert into `+quoted(t.name)+` (`+strings.Join(columns, ", ")+`) overriding system value
			select `+strings.Join(values, ", ")+` from imported i, lateral json_populate_record(null::`+quoted(t.name)+`, i.body) r where i.name = $1`, t.name)
		if err != nil {
			return fmt.Errorf("table %s: %w", t.name, err)
		}
		for _, c := range t.identity {
			_, err := tx.Exec(ctx, `select setval(pg_get_serial_sequence($1, $2), coalesce((select max(`+quoted(c)+`) from `+quoted(t.name)+`), 0) + 1, false)`, quoted(t.name), c)
			if err != nil {
				return fmt.Errorf("table %s: %w", t.name, err)
			}
		}
	}
	var err error
	if s.Stopped, err = holdBack(ctx, tx); err != nil {
		return err
	}
	// Constraints are checked before the tables may be altered again.
	if _, err := tx.Exec(ctx, `set constraints all immediate`); err != nil {
		return err
	}
	for _, name := range names {
		if _, err := tx.Exec(ctx, `alter table `+name+` enable trigger user`); err != nil {
			return err
		}
	}
	detail := map[string]any{"taken_at": s.At, "program": s.Program, "rows": s.Rows, "stopped": s.Stopped}
	return appendAudit(ctx, tx, tenants.Audit{At: time.Now().UTC(), Caller: tenants.Caller{KeyID: "tms registry import"}, Action: "registry.import", Subject: "registry", Detail: detail})
}

// eventGap is by how many the number of the newest event is raised: more than
// can have been given since the copy was made, so that followers who were
// ahead of it are told of a gap.
const eventGap = 1_000_000_000

// epochGap is by how many epochs of leases are raised: more than a tenant can
// have had owners since. Owners' names in the engine are made of them.
const epochGap = 1_000_000

// purgeRespite is how long deleted tenants stay at least after an import: one
// may have been undeleted since the copy was made.
const purgeRespite = "7 days"

// held is what an import stops: the world may have moved on since the copy was
// made.
var held = []struct{ what, sql string }{
	{"rollouts paused", `update rollouts set state = 'paused', wish = 'pause', reason = 'paused by the import of the registry', revision = revision + 1 where state = 'running'`},
	{"purges put off", `update tenants set purge_at = greatest(purge_at, now() + interval '` + purgeRespite + `') where purge_at is not null and purge_started_at is null and purge_at < now() + interval '` + purgeRespite + `'`},
	{"snapshots and restores given up", `
		update backup_runs set state = 'failed', working = false, finished_at = now(), revision = revision + 1,
			body = jsonb_set(body, '{reason}', '"given up by the import of the registry"')
		where working`},
	{"", fmt.Sprintf(`update backup_runs set lease_owner = '', lease_until = null, epoch = epoch + %d`, epochGap)},
	// A lease that has run out: whoever comes next keeps former owners out of
	// the engine before anything else.
	{"", fmt.Sprintf(`update rollout_tenants set lease_owner = '', lease_until = now(), epoch = epoch + %d`, epochGap)},
	{"", `insert into event_log default values on conflict do nothing`},
	{"", fmt.Sprintf(`update event_log set head = head + %[1]d, floor = head + %[1]d, expiries_until = now()`, eventGap)},
}

func holdBack(ctx context.Context, tx pgx.Tx) (map[string]int64, error) {
	out := map[string]int64{}
	for _, h := range held {
		tag, err := tx.Exec(ctx, h.sql)
		if err != nil {
			return nil, err
		}
		if h.what != "" && tag.RowsAffected() > 0 {
			out[h.what] = tag.RowsAffected()
		}
	}
	return out, nil
}
