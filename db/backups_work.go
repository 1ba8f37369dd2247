package db

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tracardi/tms/backups"
)

// Manifests implements backups.Store.
func (b *Backups) Manifests(ctx context.Context, snapshot string, only ...string) ([]backups.Manifest, error) {
	rows, err := b.db.pool.Query(ctx, `
		select body from backup_manifests where snapshot = $1 and ($2::text[] is null or tenant = any($2)) order by tenant`, snapshot, only)
	if err != nil {
		return nil, failure(err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (m backups.Manifest, err error) {
		var raw []byte
		if err := row.Scan(&raw); err != nil {
			return m, err
		}
		if err := json.Unmarshal(raw, &m); err != nil {
			return m, fmt.Errorf("manifest of snapshot %s: %w", snapshot, err)
		}
		return m, nil
	})
	return out, failure(err)
}

// Due implements backups.Store.
func (b *Backups) Due(ctx context.Context, limit int) ([]string, error) {
	rows, err := b.db.pool.Query(ctx, `
		select id from backup_runs r where `+mayRun+` order by next_at, id limit $1`, limit)
	if err != nil {
		return nil, failure(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return ids, failure(err)
}

// mayRun says that a run is due, has no living owner, and that no other run is
// in the middle of writing to the same repository: the engines allow one
// writer only, or make a second one wait.
const mayRun = `
	r.working and r.next_at <= now() and (r.lease_until is null or r.lease_until <= now())
	and (r.kind <> 'snapshot' or not exists (
		select from backup_runs o
		where o.repository = r.repository and o.kind = 'snapshot' and o.working and o.id <> r.id
			and (o.lease_until > now() or o.state in ('prepared', 'running', 'verifying', 'deleting') and (o.created_at, o.id) < (r.created_at, r.id))))`

// Acquire implements backups.Store. The lock on the repository's row makes the
// look at its other runs exact.
func (b *Backups) Acquire(ctx context.Context, id, owner string, ttl time.Duration) (*backups.Lease, error) {
	l := &backups.Lease{Run: id, Owner: owner, Until: time.Now().Add(ttl)}
	err := b.db.inTx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			select from backup_repositories where name = (select repository from backup_runs where id = $1) for update`, id)
		if err != nil {
			return err
		}
		err = tx.QueryRow(ctx, `
			update backup_runs r set epoch = epoch + 1, lease_owner = $2, lease_until = now() + $3
			where id = $1 and `+mayRun+` returning epoch`, id, owner, ttl).Scan(&l.Epoch)
		if errors.Is(err, pgx.ErrNoRows) {
			return backups.ErrConflict
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// Extend implements backups.Store.
func (b *Backups) Extend(ctx context.Context, l *backups.Lease, ttl time.Duration) error {
	tag, err := b.db.pool.Exec(ctx, `update backup_runs set lease_until = now() + $3 where id = $1 and epoch = $2`, l.Run, l.Epoch, ttl)
	if err != nil {
		return failure(err)
	}
	if tag.RowsAffected() == 0 {
		return backups.ErrLeaseLost
	}
	return nil
}

// Release implements backups.Store.
func (b *Backups) Release(ctx context.Context, l *backups.Lease, next time.Time) error {
	_, err := b.db.pool.Exec(ctx, `
		update backup_runs set lease_owner = '', lease_until = null, next_at = $3 where id = $1 and epoch = $2`, l.Run, l.Epoch, next)
	return failure(err)
}

// owned runs f in a transaction if, and only if, the lease still holds.
func (b *Backups) owned(ctx context.Context, l *backups.Lease, f func(pgx.Tx) error) error {
	return b.db.inTx(ctx, func(tx pgx.Tx) error {
		var epoch int64
		err := tx.QueryRow(ctx, `select epoch from backup_runs where id = $1 for update`, l.Run).Scan(&epoch)
		if err != nil {
			return absent(err, "run "+l.Run)
		}
		if epoch != l.Epoch {
			return backups.ErrLeaseLost
		}
		return f(tx)
	})
}

// SaveRun implements backups.Store.
func (b *Backups) SaveRun(ctx context.Context, l *backups.Lease, r *backups.Run) error {
	return b.owned(ctx, l, func(tx pgx.Tx) error { return saveRun(ctx, tx, r) })
}

func saveRun(ctx context.Context, tx pgx.Tx, r *backups.Run) error {
	body, err := bodyOf(r)
	if err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, `
		update backup_runs set state = $3, working = $4, body = $5, tenants = $6, finished_at = $7, revision = revision + 1
		where id = $1 and revision = $2`,
		r.ID, r.Revision, string(r.State), !r.State.Ended(), body, r.Tenants, timeOrNull(r.FinishedAt))
	if err != nil {
		return err
	}
	if tag.RowsAffected() == 0 {
		return backups.ErrConflict
	}
	if r.State == backups.StateDeleted { // what is gone needs no record of its parts
		if _, err := tx.Exec(ctx, `delete from backup_manifests where snapshot = $1`, r.ID); err != nil {
			return err
		}
	}
	r.Revision++
	return nil
}

// SaveManifests implements backups.Store.
func (b *Backups) SaveManifests(ctx context.Context, l *backups.Lease, manifests []backups.Manifest) error {
	return b.owned(ctx, l, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `delete from backup_manifests where snapshot = $1`, l.Run); err != nil {
			return err
		}
		return putManifests(ctx, tx, l.Run, manifests)
	})
}

func putManifests(ctx context.Context, tx pgx.Tx, snapshot string, manifests []backups.Manifest) error {
	batch := &pgx.Batch{}
	for i := range manifests {
		raw, err := json.Marshal(&manifests[i])
		if err != nil {
			return fmt.Errorf("manifest of %s: %w", manifests[i].Tenant, err)
		}
		batch.Queue(`insert into backup_manifests (snapshot, tenant, body) values ($1, $2, $3)`, snapshot, manifests[i].Tenant, raw)
	}
	return tx.SendBatch(ctx, batch).Close()
}

// MarkRestored implements backups.Store.
func (b *Backups) MarkRestored(ctx context.Context, l *backups.Lease, r *backups.Run, release string) error {
	return b.owned(ctx, l, func(tx pgx.Tx) error {
		if err := saveRun(ctx, tx, r); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `update tenants set release = $2 where id = $1 and purged_at is null`, r.Restore.Tenant, release)
		if err == nil && tag.RowsAffected() == 0 {
			return absent(pgx.ErrNoRows, "tenant "+r.Restore.Tenant)
		}
		return err
	})
}

type backupTurn struct{}

func (backupTurn) name() string { return "backup_run" }

// BackupWork lets a Queue wake and do snapshots and restores.
func BackupWork(store *Backups, runner *backups.Runner) QueuePart {
	return turns[backupTurn]{
		due:  func(ctx context.Context, _ *Queue) ([]string, error) { return store.Due(ctx, workers) },
		work: runner.Work, wake: &store.wake,
		limit: -1, // a record with digests lasts as long as the documents take; every call has a limit of its own
	}.part()
}
