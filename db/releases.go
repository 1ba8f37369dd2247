package db

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/tracardi/tms/releases"
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
	var digest string
	err := r.db.pool.QueryRow(ctx, `
		insert into release_bundles (version, digest, bundle, origin, saved_by) values ($1, $2, $3, $4, $5)
		on conflict (version) do nothing returning digest`,
		s.Version, s.Digest, s.Bundle, s.Origin, s.SavedBy).Scan(&digest)
	if errors.Is(err, pgx.ErrNoRows) {
		err = r.db.pool.QueryRow(ctx, `select digest from release_bundles where version = $1`, s.Version).Scan(&digest)
	}
	if err != nil {
		return failure(err)
	}
	if digest != s.Digest {
		return &releases.ConflictError{Version: s.Version, Have: digest, Given: s.Digest}
	}
	return nil
}
