package db

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tracardi/tms/clusters"
	"github.com/tracardi/tms/tenants"
)

// requestMemory is how long a creation's request id is remembered.
const requestMemory = 24 * time.Hour

// Registry is the tenants.Store.
type Registry struct {
	db     *DB
	sealer *tenants.Sealer
}

var _ tenants.Store = (*Registry)(nil)

// NewRegistry returns the store of tenants and keys; install tokens are
// stored through sealer.
func NewRegistry(d *DB, sealer *tenants.Sealer) *Registry {
	return &Registry{db: d, sealer: sealer}
}

const tenantColumns = `id, display_name, email, domain, gui_url, install_token, labels, attributes,
	release, cluster, suspended, created_at, updated_at, expires_at, deleted_at, purge_at, purge_started_at, purged_at,
	purge_refusal, purge_retry_at, adopted_from, revision`

func (r *Registry) scanTenant(row pgx.CollectableRow) (*tenants.Tenant, error) {
	var t tenants.Tenant
	var token []byte
	var expires, deleted, purge, purging, purged, retry *time.Time
	err := row.Scan(&t.ID, &t.DisplayName, &t.Email, &t.Domain, &t.GUIURL, &token, &t.Labels, &t.Attributes,
		&t.Release, &t.Cluster, &t.Suspended, &t.CreatedAt, &t.UpdatedAt, &expires, &deleted, &purge, &purging, &purged,
		&t.PurgeRefusal, &retry, &t.AdoptedFrom, &t.Revision)
	if err != nil {
		return nil, err
	}
	t.ExpiresAt, t.DeletedAt, t.PurgeAt = timeOrZero(expires), timeOrZero(deleted), timeOrZero(purge)
	t.PurgeStartedAt, t.PurgedAt = timeOrZero(purging), timeOrZero(purged)
	t.PurgeRetryAt = timeOrZero(retry)
	if !t.PurgedAt.IsZero() {
		return &t, nil // a tombstone has no token
	}
	var current bool
	if t.InstallToken, current, err = r.sealer.Open(t.ID, token); err != nil {
		// A changed SECRET must not take the registry down: Check needs no
		// token.
		t.TokenUnreadable = true
	}
	t.TokenSealedOld = !current && err == nil
	return &t, nil
}

func timeOrZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func labelsJSON(labels map[string]string) []byte {
	if labels == nil {
		return []byte("{}")
	}
	b, _ := json.Marshal(labels) // strings: cannot fail
	return b
}

func attributesJSON(a json.RawMessage) []byte {
	if len(a) == 0 {
		return nil
	}
	return a
}

// tenant reads one tenant; suffix is "" or "for update".
func (r *Registry) tenant(ctx context.Context, q querier, id, suffix string) (*tenants.Tenant, error) {
	rows, err := q.Query(ctx, `select `+tenantColumns+` from tenants where id = $1 `+suffix, id)
	if err != nil {
		return nil, err
	}
	t, err := pgx.CollectExactlyOneRow(rows, r.scanTenant)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, tenants.NotFoundError(id)
	}
	return t, err
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Tenant implements tenants.Store.
func (r *Registry) Tenant(ctx context.Context, id string) (*tenants.Tenant, error) {
	t, err := r.tenant(ctx, r.db.pool, id, "")
	return t, failure(err)
}

// AllTenants implements tenants.Store.
func (r *Registry) AllTenants(ctx context.Context) ([]*tenants.Tenant, error) {
	rows, err := r.db.pool.Query(ctx, `select `+tenantColumns+` from tenants`)
	if err != nil {
		return nil, failure(err)
	}
	ts, err := pgx.CollectRows(rows, r.scanTenant)
	return ts, failure(err)
}

// CreateTenant implements tenants.Store.
func (r *Registry) CreateTenant(ctx context.Context, t *tenants.Tenant, c tenants.CreateRecord, a tenants.Audit) (*tenants.Tenant, error) {
	var stored *tenants.Tenant
	err := r.db.inTx(ctx, func(tx pgx.Tx) (err error) {
		if c.RequestID != "" {
			if stored, err = r.tenantOfRequest(ctx, tx, c); stored != nil || err != nil {
				return err
			}
		}
		revision, err := removeTombstone(ctx, tx, t.ID, c.AllowReuse)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			insert into tenants (id, display_name, email, domain, gui_url, install_token, labels, attributes,
				release, cluster, suspended, created_at, updated_at, expires_at, adopted_from, revision)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12, $13, $14, $15)`,
			t.ID, t.DisplayName, t.Email, t.Domain, t.GUIURL, r.sealer.Seal(t.ID, t.InstallToken), labelsJSON(t.Labels), attributesJSON(t.Attributes),
			t.Release, t.Cluster, t.Suspended, t.CreatedAt, timeOrNull(t.ExpiresAt), t.AdoptedFrom, revision)
		if err != nil {
			return tenantConflict(err, t)
		}
		if c.RequestID != "" {
			if err := rememberRequest(ctx, tx, c, t); err != nil {
				return err
			}
		}
		if stored, err = r.tenant(ctx, tx, t.ID, ""); err != nil {
			return err
		}
		return appendAudit(ctx, tx, a)
	})
	return stored, err
}

// removeTombstone makes room for a tenant whose id was used before, and
// returns the first revision of the new one: it grows over both lives, so that
// memories of the first are recognised.
func removeTombstone(ctx context.Context, tx pgx.Tx, id string, allowed bool) (int64, error) {
	var revision int64
	err := tx.QueryRow(ctx, `select revision from tenants where id = $1 and purged_at is not null for update`, id).Scan(&revision)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return 1, nil
	case err != nil:
		return 0, err
	case !allowed:
		return 0, tenants.PurgedError(id)
	}
	_, err = tx.Exec(ctx, `delete from tenants where id = $1 and purged_at is not null`, id)
	return revision + 1, err
}

// tenantOfRequest returns the tenant that an earlier call with the same
// request id made, nil when there was none. The lock makes a simultaneous
// repetition wait for the first.
func (r *Registry) tenantOfRequest(ctx context.Context, tx pgx.Tx, c tenants.CreateRecord) (*tenants.Tenant, error) {
	if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtextextended($1, 0))`, "tenant request "+c.RequestID); err != nil {
		return nil, err
	}
	var fingerprint []byte
	var id string
	err := tx.QueryRow(ctx, `
		select fingerprint, tenant_id from tenant_requests
		where request_id = $1 and created_at > now() - $2::interval`, c.RequestID, requestMemory).Scan(&fingerprint, &id)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, err
	case !bytes.Equal(fingerprint, c.Fingerprint):
		return nil, &tenants.Error{
			Code: tenants.CodeInvalid, Reason: tenants.ReasonRequestReused, Field: "request_id",
			Message:    fmt.Sprintf("was used to create tenant %q with other values", id),
			Remedy:     "use a new request_id for every new request",
			Violations: []tenants.Violation{{Field: "request_id", Message: "was used with other values"}},
		}
	}
	return r.tenant(ctx, tx, id, "")
}

func rememberRequest(ctx context.Context, tx pgx.Tx, c tenants.CreateRecord, t *tenants.Tenant) error {
	if _, err := tx.Exec(ctx, `delete from tenant_requests where created_at <= now() - $1::interval`, requestMemory); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `insert into tenant_requests (request_id, fingerprint, tenant_id) values ($1, $2, $3)`, c.RequestID, c.Fingerprint, t.ID)
	return err
}

// tenantConflict names the constraint that a tenant's row broke.
func tenantConflict(err error, t *tenants.Tenant) error {
	switch {
	case violates(err, "tenants_pkey"):
		return tenants.ExistsError(t.ID)
	case violates(err, "tenants_adopted_from_key"), violates(err, "tenants_code_name"):
		return tenants.CodeNameTakenError(t)
	case violates(err, "tenants_cluster_unknown"):
		return clusters.NotFoundError(t.Cluster)
	case violates(err, "tenants_domain_key"):
		return &tenants.Error{
			Code: tenants.CodeAlreadyExists, Reason: tenants.ReasonDomainTaken, Field: "domain",
			Message: fmt.Sprintf("%q belongs to another tenant", t.Domain), Remedy: "change that tenant first", Err: err,
		}
	}
	return err
}

// ChangeTenant implements tenants.Store.
func (r *Registry) ChangeTenant(ctx context.Context, id string, dry bool, a tenants.Audit, change func(*tenants.Tenant) error) (*tenants.Tenant, error) {
	var stored *tenants.Tenant
	err := r.db.inTx(ctx, func(tx pgx.Tx) error {
		t, err := r.tenant(ctx, tx, id, "for update")
		if err != nil {
			return err
		}
		was := t.Clone()
		if err := change(t); err != nil {
			return err
		}
		stored = t
		if dry {
			return nil
		}
		if err := r.updateTenant(ctx, tx, was, t); err != nil {
			return tenantConflict(err, t)
		}
		if stored, err = r.tenant(ctx, tx, id, ""); err != nil {
			return err
		}
		return appendAudit(ctx, tx, a)
	})
	if err != nil {
		return nil, err
	}
	return stored, nil
}

func (r *Registry) updateTenant(ctx context.Context, tx pgx.Tx, was, t *tenants.Tenant) error {
	// Sealing anew would change the row, and with it the etag, at every save.
	var token []byte
	switch {
	case !t.PurgedAt.IsZero():
		token = []byte{}
	case t.InstallToken != was.InstallToken || was.TokenSealedOld:
		token = r.sealer.Seal(t.ID, t.InstallToken)
	}
	_, err := tx.Exec(ctx, `
		update tenants set display_name = $2, email = $3, domain = $4, gui_url = $5,
			install_token = coalesce($6, install_token), labels = $7, attributes = $8, release = $9,
			cluster = $10, suspended = $11, expires_at = $12, deleted_at = $13, purge_at = $14,
			purge_started_at = $15, purged_at = $16, purge_refusal = $17, purge_retry_at = $18
		where id = $1`,
		t.ID, t.DisplayName, t.Email, t.Domain, t.GUIURL, token, labelsJSON(t.Labels), attributesJSON(t.Attributes), t.Release,
		t.Cluster, t.Suspended, timeOrNull(t.ExpiresAt), timeOrNull(t.DeletedAt), timeOrNull(t.PurgeAt),
		timeOrNull(t.PurgeStartedAt), timeOrNull(t.PurgedAt), t.PurgeRefusal, timeOrNull(t.PurgeRetryAt))
	return err
}
