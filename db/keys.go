package db

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tracardi/tms/tenants"
)

const keyColumns = `id, hash, display_name, role, created_by, created_at, expires_at, revoked_at, last_used_at, coalesce(successor_id, ''), tenants`

func scanKey(row pgx.CollectableRow) (*tenants.APIKey, error) {
	var k tenants.APIKey
	var hash []byte
	var role string
	var expires, revoked, used *time.Time
	if err := row.Scan(&k.ID, &hash, &k.DisplayName, &role, &k.CreatedBy, &k.CreatedAt, &expires, &revoked, &used, &k.SuccessorID, &k.Tenants); err != nil {
		return nil, err
	}
	copy(k.Hash[:], hash) // the schema holds it to 32 bytes
	k.Role = tenants.Role(role)
	k.ExpiresAt, k.RevokedAt, k.LastUsedAt = timeOrZero(expires), timeOrZero(revoked), timeOrZero(used)
	return &k, nil
}

func key(ctx context.Context, q querier, id, suffix string) (*tenants.APIKey, error) {
	rows, err := q.Query(ctx, `select `+keyColumns+` from api_keys where id = $1 `+suffix, id)
	if err != nil {
		return nil, err
	}
	k, err := pgx.CollectExactlyOneRow(rows, scanKey)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, tenants.KeyNotFoundError(id)
	}
	return k, err
}

// Key implements tenants.Store.
func (r *Registry) Key(ctx context.Context, id string) (*tenants.APIKey, error) {
	k, err := key(ctx, r.db.pool, id, "")
	return k, failure(err)
}

// Keys implements tenants.Store.
func (r *Registry) Keys(ctx context.Context, before time.Time, beforeID string, limit int) ([]*tenants.APIKey, error) {
	rows, err := r.db.pool.Query(ctx, `
		select `+keyColumns+` from api_keys
		where $1::timestamptz is null or (created_at, id) < ($1, $2)
		order by created_at desc, id desc limit nullif($3, 0)`, timeOrNull(before), beforeID, limit)
	if err != nil {
		return nil, failure(err)
	}
	ks, err := pgx.CollectRows(rows, scanKey)
	return ks, failure(err)
}

// CreateKey implements tenants.Store.
func (r *Registry) CreateKey(ctx context.Context, k *tenants.APIKey, replaces string, until time.Time, a tenants.Audit) error {
	return r.db.inTx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			insert into api_keys (id, hash, display_name, role, created_by, created_at, expires_at, tenants)
			values ($1, $2, $3, $4, $5, $6, $7, $8)`,
			k.ID, k.Hash[:], k.DisplayName, string(k.Role), k.CreatedBy, k.CreatedAt, timeOrNull(k.ExpiresAt), k.Tenants)
		if err != nil {
			return err
		}
		if replaces != "" {
			if err := supersede(ctx, tx, replaces, k.ID, until); err != nil {
				return err
			}
		}
		return appendAudit(ctx, tx, a)
	})
}

// supersede ends a key at until, or earlier when it would have ended anyway.
func supersede(ctx context.Context, tx pgx.Tx, id, successor string, until time.Time) error {
	tag, err := tx.Exec(ctx, `
		update api_keys set successor_id = $2, expires_at = least(expires_at, $3)
		where id = $1 and successor_id is null and revoked_at is null`, id, successor, until)
	if err != nil || tag.RowsAffected() == 1 {
		return err
	}
	if _, err := key(ctx, tx, id, ""); err != nil {
		return err
	}
	return &tenants.Error{
		Code: tenants.CodeFailedPrecondition, Reason: tenants.ReasonWrongState, Field: "id",
		Message: "API key " + id + " was rotated or revoked meanwhile", Remedy: "look at it again with `tms key list`",
	}
}

// RevokeKey implements tenants.Store.
func (r *Registry) RevokeKey(ctx context.Context, id string, at time.Time, a tenants.Audit) (*tenants.APIKey, error) {
	var k *tenants.APIKey
	err := r.db.inTx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `update api_keys set revoked_at = $2 where id = $1 and revoked_at is null`, id, at)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 1 {
			if err := appendAudit(ctx, tx, a); err != nil {
				return err
			}
		}
		k, err = key(ctx, tx, id, "")
		return err
	})
	return k, err
}

// TouchKeys implements tenants.Store.
func (r *Registry) TouchKeys(ctx context.Context, used map[string]time.Time) error {
	ids, times := make([]string, 0, len(used)), make([]time.Time, 0, len(used))
	for id, at := range used {
		ids, times = append(ids, id), append(times, at)
	}
	_, err := r.db.pool.Exec(ctx, `
		update api_keys k set last_used_at = u.at
		from unnest($1::text[], $2::timestamptz[]) u (id, at)
		where k.id = u.id and (k.last_used_at is null or k.last_used_at < u.at)`, ids, times)
	return failure(err)
}
