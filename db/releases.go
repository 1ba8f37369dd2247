package db

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/tenants"
)

// Releases is the releases.Store.
type Releases struct{ db *DB }

var _ releases.Store = (*Releases)(nil)

// NewReleases returns the store of releases that operators brought.
func NewReleases(d *DB) *Releases { return &Releases{db: d} }

// Bundles implements releases.Store.
func (r *Releases) Bundles(ctx context.Context) ([]releases.Stored, error) {
	rows, err := r.db.pool.Query(ctx, `select version, digest, bundle, origin, saved_by, saved_at from release_bundles order by saved_at, version`)
	if err != nil {
		return nil, failure(err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s releases.Stored, err error) {
		err = row.Scan(&s.Version, &s.Digest, &s.Bundle, &s.Origin, &s.SavedBy, &s.SavedAt)
		return s, err
	})
	return all, failure(err)
}

// Digests implements releases.Store.
func (r *Releases) Digests(ctx context.Context) (map[string]string, error) {
	rows, err := r.db.pool.Query(ctx, `select version, digest from release_bundles`)
	if err != nil {
		return nil, failure(err)
	}
	out := map[string]string{}
	var version, digest string
	_, err = pgx.ForEachRow(rows, []any{&version, &digest}, func() error {
		out[version] = digest
		return nil
	})
	return out, failure(err)
}

// SaveBundle implements releases.Store.
func (r *Releases) SaveBundle(ctx context.Context, s releases.Stored) error {
	var refused error
	err := r.db.inTx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			insert into release_bundles (version, digest, bundle, origin, saved_by) values ($1, $2, $3, $4, $5)
			on conflict (version) do nothing`, s.Version, s.Digest, s.Bundle, s.Origin, s.SavedBy)
		if err != nil {
			return err
		}
		if tag.RowsAffected() > 0 {
			return appendAudit(ctx, tx, releaseAudit("save", s.Version, s.SavedBy, map[string]any{"digest": s.Digest, "origin": s.Origin}))
		}
		var digest string
		if err := tx.QueryRow(ctx, `select digest from release_bundles where version = $1`, s.Version).Scan(&digest); err != nil {
			return err
		}
		if digest != s.Digest {
			refused = &releases.ConflictError{Version: s.Version, Have: digest, Given: s.Digest}
		}
		return nil
	})
	return cmp.Or(err, refused)
}

func releaseAudit(action, version, by string, detail map[string]any) tenants.Audit {
	return tenants.Audit{At: time.Now(), Caller: tenants.Caller{KeyID: by}, Action: "release." + action, Subject: "release/" + version, Detail: detail}
}

// RemoveBundle implements releases.Store. While it looks, nobody registers a
// tenant or starts a rollout.
func (r *Releases) RemoveBundle(ctx context.Context, version, by string) error {
	var refused error
	err := r.db.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `lock table tenants, rollouts in share mode`); err != nil {
			return err
		}
		used, err := releaseUses(ctx, tx, version)
		if err != nil {
			return err
		}
		if len(used) > 0 {
			refused = &releases.InUseError{Version: version, By: used}
			return nil
		}
		var digest string
		err = tx.QueryRow(ctx, `delete from release_bundles where version = $1 returning digest`, version).Scan(&digest)
		if errors.Is(err, pgx.ErrNoRows) {
			refused = &releases.UnknownReleaseError{What: "release", Value: version}
			return nil
		}
		if err != nil {
			return err
		}
		return appendAudit(ctx, tx, releaseAudit("remove", version, by, map[string]any{"digest": digest}))
	})
	return cmp.Or(err, refused)
}

// mostUses bounds what is named of one kind.
const mostUses = 10

// releaseUses lists what names a release, or a docker tag of it.
func releaseUses(ctx context.Context, tx pgx.Tx, version string) ([]string, error) {
	rows, err := tx.Query(ctx, `
		(select 'tenant ' || id || ' is on it' from tenants
			where purged_at is null and (release = $1 or release like $1 || '.%') order by id limit $2)
		union all
		(select distinct 'rollout ' || r.id || ' leads to it or from it' from rollouts r left join rollout_tenants t on t.rollout_id = r.id
			where r.to_release = $1 or r.to_release like $1 || '.%' or t.from_release = $1 or t.from_release like $1 || '.%' limit $2)`, version, mostUses)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
