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
