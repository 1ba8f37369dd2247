package db

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// ExportOptions say what a copy of the registry holds.
type ExportOptions struct {
	Secret  string // SECRET in force
	Program string // version of this program
	// WithoutAudit leaves the audit trail out.
	WithoutAudit bool
}

// ExportRegistry writes a copy of the registry, as of one moment. The file
// holds personal data of tenants in plain text.
func (d *DB) ExportRegistry(ctx context.Context, w io.Writer, o ExportOptions) (*CopySummary, error) {
	if err := d.CheckVersion(ctx); err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	tx, err := d.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, failure(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // nothing was written
	// A large table may take longer than a call may.
	if _, err := tx.Exec(ctx, `set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0`); err != nil {
		return nil, failure(err)
	}
	tables, err := copiedTables(ctx, tx)
	if err != nil {
		return nil, err
	}
	tables = slices.DeleteFunc(tables, func(t copiedTable) bool {
		return slices.Contains(notCopied, t.name) || o.WithoutAudit && t.name == "audit"
	})
	head := copyHeader{
		Kind: copyKind, Format: copyFormat, Schema: NeededVersion(), Program: o.Program, At: time.Now().UTC(), Secret: recognize(o.Secret), Columns: map[string][]string{},
	}
	for _, t := range tables {
		head.Columns[t.name] = t.columns
	}
	out := &lineWriter{w: bufio.NewWriter(w), sum: sha256.New()}
	out.line(head)
	trailer := copyTrailer{Rows: map[string]int64{}}
	for _, t := range tables {
		if trailer.Rows[t.name], err = exportTable(ctx, tx, t, out); err != nil {
			return nil, err
		}
	}
	trailer.SHA256 = hex.EncodeToString(out.sum.Sum(nil))
	out.line(trailer)
	if err := out.flush(); err != nil {
		return nil, fmt.Errorf("write the copy: %w", err)
	}
	return &CopySummary{At: head.At, Program: head.Program, Schema: head.Schema, Rows: trailer.Rows}, nil
}

func exportTable(ctx context.Context, tx pgx.Tx, t copiedTable, out *lineWriter) (n int64, err error) {
	rows, err := tx.Query(ctx, `select row_to_json(t)::text from `+quoted(t.name)+` t`)
	if err != nil {
		return 0, failure(err)
	}
	var row string
	_, err = pgx.ForEachRow(rows, []any{&row}, func() error {
		n++
		out.line(copyRow{t.name, json.RawMessage(row)})
		return out.err
	})
	if out.err != nil {
		return n, fmt.Errorf("write the copy: %w", out.err)
	}
	return n, failure(err)
}

// lineWriter writes JSON lines and sums them up. The first error stays.
type lineWriter struct {
	w   *bufio.Writer
	sum hash.Hash
	err error
}

func (l *lineWriter) line(v any) {
	if l.err != nil {
		return
	}
	var raw []byte
	if raw, l.err = json.Marshal(v); l.err != nil {
		return
	}
	raw = append(raw, '\n')
	l.sum.Write(raw)
	_, l.err = l.w.Write(raw)
}

func (l *lineWriter) flush() error {
	if l.err == nil {
		l.err = l.w.Flush()
	}
	return l.err
}
