package db

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tracardi/tms/tenants"
)

// appendAudit adds a line to the audit trail, in the transaction of the change
// that it records.
func appendAudit(ctx context.Context, tx pgx.Tx, a tenants.Audit) error {
	detail := a.Detail
	if detail == nil {
		detail = map[string]any{}
	}
	raw, err := json.Marshal(detail)
	if err != nil {
		return fmt.Errorf("audit detail of %s: %w", a.Action, err)
	}
	_, err = tx.Exec(ctx, `
		insert into audit (at, key_id, role, request_id, origin, action, subject, detail)
		values ($1, $2, $3, $4, $5, $6, $7, $8)`,
		a.At, a.Caller.KeyID, string(a.Caller.Role), a.Caller.RequestID, a.Caller.Origin, a.Action, a.Subject, raw)
	return err
}

var _ tenants.TrailStore = (*Registry)(nil)

// AuditRecords implements tenants.TrailStore.
func (r *Registry) AuditRecords(ctx context.Context, f tenants.AuditFilter) ([]tenants.AuditRecord, error) {
	rows, err := r.db.pool.Query(ctx, `
		select id, at, key_id, role, request_id, origin, action, subject, detail
		from audit
		where ($1 = '' or subject = $1)
			and ($2 = '' or action = $2 or right($2, 1) = '.' and starts_with(action, $2))
			and ($3 = '' or key_id = $3)
			and ($4 = '' or request_id = $4)
			and ($5::timestamptz is null or at >= $5)
			and ($6::timestamptz is null or at < $6)
			and ($7 = 0 or id < $7)
		order by id desc limit $8`,
		f.Subject, f.Action, f.KeyID, f.RequestID, timeOrNull(f.From), timeOrNull(f.Until), f.BeforeID, f.Limit)
	if err != nil {
		return nil, failure(err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (a tenants.AuditRecord, err error) {
		return a, row.Scan(&a.ID, &a.At, &a.Caller.KeyID, &a.Caller.Role, &a.Caller.RequestID, &a.Caller.Origin, &a.Action, &a.Subject, &a.Detail)
	})
	return found, failure(err)
}
