package db

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// A copy of the registry is a file of JSON lines: a header, one line per row,
// and a trailer with the number of rows and a checksum over everything before.
// It holds every table of TMS as Postgres writes rows as JSON, except those in
// notCopied: whatever package adds a table, it is in the next copy. Install
// tokens and secrets of webhooks stay encrypted under SECRET, keys stay
// hashes.

// copyFormat is the version of the file.
const copyFormat = 1

// copyKind begins every file.
const copyKind = "tms-registry"

// notCopied are tables that mean nothing elsewhere: events and deliveries,
// whose followers are told of a gap, and the books of goose and River.
var notCopied = []string{"events", "webhook_deliveries", "goose_db_version"}

// copyHeader is the first line.
type copyHeader struct {
	Kind    string    `json:"kind"`
	Format  int       `json:"format"`
	Schema  int64     `json:"schema"`
	Program string    `json:"program"` // version of the tms that wrote it
	At      time.Time `json:"at"`
	// Secret recognizes the SECRET under which secrets are encrypted.
	Secret string `json:"secret"`
	// Columns of every table.
	Columns map[string][]string `json:"columns"`
}

// copyRow is a line with a row.
type copyRow struct {
	Table string          `json:"t"`
	Row   json.RawMessage `json:"r"`
}

// copyTrailer is the last line.
type copyTrailer struct {
	Rows map[string]int64 `json:"rows"`
	// SHA256 in hex over all lines before, line ends included.
	SHA256 string `json:"sha256"`
}

// CopySummary says what is in a copy.
type CopySummary struct {
	At      time.Time        `json:"at"`
	Program string           `json:"program"`
	Schema  int64            `json:"schema"`
	Rows    map[string]int64 `json:"rows"`
	// Paused and the like are what an import has stopped, by kind.
	Stopped map[string]int64 `json:"stopped,omitempty"`
}

// recognize tells SECRETs apart and gives nothing of them away.
func recognize(secret string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("tms registry copy v1"))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// copiedTable is a table of the schema.
type copiedTable struct {
	name     string
	columns  []string // that can be written
	identity []string // of them, those that Postgres counts
	needs    []string // tables that its rows refer to
}

// copiedTables reads the tables of TMS, each after those that it refers to.
func copiedTables(ctx context.Context, q querier) ([]copiedTable, error) {
	rows, err := q.Query(ctx, `
		select c.relname,
			array(select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' order by a.attnum),
			array(select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attidentity <> ''),
			array(select distinct f.relname::text from pg_constraint k join pg_class f on f.oid = k.confrelid
				where k.conrelid = c.oid and k.contype = 'f' and k.confrelid <> c.oid)
		from pg_class c
		where c.relkind = 'r' and c.relnamespace = current_schema()::regnamespace and c.relname !~ '^river_'
			and c.relname <> all($1)
		order by c.relname`, []string{"goose_db_version"})
	if err != nil {
		return nil, failure(err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t copiedTable, err error) {
		return t, row.Scan(&t.name, &t.columns, &t.identity, &t.needs)
	})
	if err != nil {
		return nil, failure(err)
	}
	return sortedByNeed(all)
}

// sortedByNeed puts tables behind those that they refer to.
func sortedByNeed(all []copiedTable) ([]copiedTable, error) {
	var out []copiedTable
	placed := map[string]bool{}
	for len(out) < len(all) {
		before := len(out)
		for _, t := range all {
			if !placed[t.name] && !slices.ContainsFunc(t.needs, func(n string) bool { return !placed[n] }) {
				out = append(out, t)
				placed[t.name] = true
			}
		}
		if len(out) == before {
			return nil, fmt.Errorf("tables refer to each other in a circle")
		}
	}
	return out, nil
}

// quoted is a table's name in SQL.
func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }
