package db

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/tracardi/tms/tenants"
)

// resealBatch secrets are sealed in one transaction.
const resealBatch = 200

// Resealed says how many secrets were sealed anew, and how many no secret
// opens.
type Resealed struct{ Tenants, Webhooks, Clusters, Unreadable int }

// Reseal seals everything that an old secret sealed under the current one, so
// that the old one can be forgotten. Nothing else changes: no etag, no event,
// no audit record. It may be called at any time by any process, and again
// after it failed.
func Reseal(ctx context.Context, d *DB, sealer *tenants.Sealer) (Resealed, error) {
	var done Resealed
	var err error
	for _, column := range []struct {
		read, write string
		owner       func(id string) string
		count       *int
	}{
		{
			`select id, install_token from tenants where id > $1 and purged_at is null order by id limit $2`,
			`update tenants set install_token = $3 where id = $1 and install_token = $2`,
			func(id string) string { return id }, &done.Tenants,
		},
		{
			`select id, secret from webhooks where id > $1 order by id limit $2`,
			`update webhooks set secret = $3 where id = $1 and secret = $2`,
			sealOwner, &done.Webhooks,
		},
		{
			`select id, old_secret from webhooks where id > $1 and old_secret_until > now() order by id limit $2`,
			`update webhooks set old_secret = $3 where id = $1 and old_secret = $2`,
			sealOwner, &done.Webhooks,
		},
		{
			`select name, secret from clusters where name > $1 order by name limit $2`,
			`update clusters set secret = $3 where name = $1 and secret = $2`,
			clusterOwner, &done.Clusters,
		},
	} {
		for id := ""; ; {
			var batch []sealedSecret
			if batch, err = readSealed(ctx, d, column.read, id); err != nil || len(batch) == 0 {
				break
			}
			id = batch[len(batch)-1].id
			fresh, unreadable := reopen(sealer, batch, column.owner)
			done.Unreadable += unreadable
			n, err := writeSealed(ctx, d, column.write, fresh)
			if *column.count += n; err != nil {
				return done, err
			}
		}
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// sealedSecret is a secret as it is stored, and as it will be.
type sealedSecret struct {
	id          string
	stored, new []byte
}

func readSealed(ctx context.Context, d *DB, query, after string) ([]sealedSecret, error) {
	rows, err := d.pool.Query(ctx, query, after, resealBatch)
	if err != nil {
		return nil, failure(err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s sealedSecret, err error) {
		err = row.Scan(&s.id, &s.stored)
		return s, err
	})
	return found, failure(err)
}

// reopen returns those that an old secret sealed, sealed anew.
func reopen(sealer *tenants.Sealer, batch []sealedSecret, owner func(string) string) (fresh []sealedSecret, unreadable int) {
	for _, s := range batch {
		plain, current, err := sealer.Open(owner(s.id), s.stored)
		switch {
		case err != nil:
			unreadable++
		case !current:
			s.new = sealer.Seal(owner(s.id), plain)
			fresh = append(fresh, s)
		}
	}
	return fresh, unreadable
}

// writeSealed stores them, but for those that somebody changed meanwhile.
func writeSealed(ctx context.Context, d *DB, query string, fresh []sealedSecret) (int, error) {
	if len(fresh) == 0 {
		return 0, nil
	}
	var written int64
	err := d.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `set local tms.resealing = 'on'`); err != nil {
			return err
		}
		batch := &pgx.Batch{}
		for _, s := range fresh {
			batch.Queue(query, s.id, s.stored, s.new)
		}
		results := tx.SendBatch(ctx, batch)
		for range fresh {
			tag, err := results.Exec()
			if err != nil {
				_ = results.Close() // the first error counts
				return err
			}
			written += tag.RowsAffected()
		}
		return results.Close()
	})
	if err != nil {
		return 0, err
	}
	return int(written), nil
}
