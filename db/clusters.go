package db

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tracardi/tms/clusters"
	"github.com/tracardi/tms/tenants"
)

// Clusters is the clusters.Store.
type Clusters struct {
	db     *DB
	sealer *tenants.Sealer
}

var _ clusters.Store = (*Clusters)(nil)

// NewClusters returns the store of clusters; their secrets are stored through
// sealer.
func NewClusters(d *DB, sealer *tenants.Sealer) *Clusters { return &Clusters{d, sealer} }

const clusterColumns = `name, urls, username, secret, api_key, ca_cert, fingerprint, product, version, cluster_uuid, cluster_name,
	verified_at, problem, created_by, created_at, updated_at, revision`

func clusterOwner(name string) string { return "cluster/" + name }

func (s *Clusters) scan(row pgx.CollectableRow) (*clusters.Cluster, error) {
	var c clusters.Cluster
	var sealed []byte
	var verified *time.Time
	err := row.Scan(&c.Name, &c.URLs, &c.Username, &sealed, &c.APIKey, &c.CACert, &c.Fingerprint, &c.Product, &c.Version, &c.ClusterUUID, &c.ClusterName,
		&verified, &c.Problem, &c.CreatedBy, &c.CreatedAt, &c.UpdatedAt, &c.Revision)
	if err != nil {
		return nil, err
	}
	c.VerifiedAt = timeOrZero(verified)
	if c.Secret, _, err = s.sealer.Open(clusterOwner(c.Name), sealed); err != nil {
		c.SecretUnreadable = true // every use of it says so
	}
	return &c, nil
}

func (s *Clusters) query(ctx context.Context, q querier, rest string, args ...any) ([]*clusters.Cluster, error) {
	rows, err := q.Query(ctx, `select `+clusterColumns+` from clusters `+rest, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, s.scan)
}

func (s *Clusters) one(ctx context.Context, q querier, name, suffix string) (*clusters.Cluster, error) {
	found, err := s.query(ctx, q, `where name = $1 `+suffix, name)
	if err == nil && len(found) == 0 {
		err = clusters.NotFoundError(name)
	}
	if err != nil {
		return nil, err
	}
	return found[0], nil
}

// Cluster implements clusters.Store.
func (s *Clusters) Cluster(ctx context.Context, name string) (*clusters.Cluster, error) {
	c, err := s.one(ctx, s.db.pool, name, "")
	return c, failure(err)
}

// Clusters implements clusters.Store.
func (s *Clusters) Clusters(ctx context.Context) ([]*clusters.Cluster, error) {
	all, err := s.query(ctx, s.db.pool, `order by name`)
	return all, failure(err)
}

// clusterLock keeps two from taking the last place: "tms" in ASCII, and what
// it is for.
const clusterLock = 0x746d7321

// CreateCluster implements clusters.Store.
func (s *Clusters) CreateCluster(ctx context.Context, c *clusters.Cluster, a tenants.Audit) (*clusters.Cluster, error) {
	var stored *clusters.Cluster
	err := s.db.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock($1)`, clusterLock); err != nil {
			return err
		}
		var count int
		if err := tx.QueryRow(ctx, `select count(*) from clusters`).Scan(&count); err != nil {
			return err
		}
		if count >= clusters.MaxClusters {
			return &tenants.Error{
				Code: tenants.CodeFailedPrecondition, Reason: tenants.ReasonWrongState,
				Message: fmt.Sprintf("there are %d clusters beside the default one, at most %d may be", count, clusters.MaxClusters), Remedy: "remove one that holds no tenant",
			}
		}
		_, err := tx.Exec(ctx, `
			insert into clusters (name, urls, username, secret, api_key, ca_cert, fingerprint, product, version, cluster_uuid, cluster_name,
				verified_at, created_by, created_at, updated_at)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $14)`,
			c.Name, c.URLs, c.Username, s.sealer.Seal(clusterOwner(c.Name), c.Secret), c.APIKey, c.CACert, c.Fingerprint,
			c.Product, c.Version, c.ClusterUUID, clean(c.ClusterName), timeOrNull(c.VerifiedAt), c.CreatedBy, c.CreatedAt)
		if err != nil {
			return clusterConflict(err, c)
		}
		if stored, err = s.one(ctx, tx, c.Name, ""); err != nil {
			return err
		}
		return appendAudit(ctx, tx, a)
	})
	return stored, err
}

// clusterConflict names the constraint that a cluster's row broke.
func clusterConflict(err error, c *clusters.Cluster) error {
	switch {
	case violates(err, "clusters_pkey"):
		return clusters.ExistsError(c.Name)
	case violates(err, "clusters_uuid_key"):
		return clusters.TwiceError("another")
	}
	return err
}

// ChangeCluster implements clusters.Store. The secret is sealed anew, so that a
// changed SECRET reaches it; one that cannot be opened stays as it is unless
// another one is given.
func (s *Clusters) ChangeCluster(ctx context.Context, name string, a tenants.Audit, change func(*clusters.Cluster) error) (*clusters.Cluster, error) {
	var stored *clusters.Cluster
	err := s.db.inTx(ctx, func(tx pgx.Tx) error {
		c, err := s.one(ctx, tx, name, "for update")
		if err != nil {
			return err
		}
		unreadable := c.SecretUnreadable
		if err := change(c); err != nil {
			return err
		}
		var sealed []byte
		if c.Secret != "" || !unreadable {
			sealed = s.sealer.Seal(clusterOwner(name), c.Secret)
		}
		_, err = tx.Exec(ctx, `
			update clusters set urls = $2, username = $3, secret = coalesce($4, secret), api_key = $5, ca_cert = $6, fingerprint = $7,
				product = $8, version = $9, cluster_uuid = $10, cluster_name = $11, verified_at = $12, problem = $13, updated_at = $14, revision = default
			where name = $1`,
			name, c.URLs, c.Username, sealed, c.APIKey, c.CACert, c.Fingerprint,
			c.Product, c.Version, c.ClusterUUID, clean(c.ClusterName), timeOrNull(c.VerifiedAt), clean(c.Problem), c.UpdatedAt)
		if err != nil {
			return clusterConflict(err, c)
		}
		if stored, err = s.one(ctx, tx, name, ""); err != nil {
			return err
		}
		return appendAudit(ctx, tx, a)
	})
	return stored, err
}

// SaveVerdict implements clusters.Store. A cluster that was changed since it
// was read is left alone: the verdict is on its former values.
func (s *Clusters) SaveVerdict(ctx context.Context, c *clusters.Cluster) error {
	_, err := s.db.pool.Exec(ctx, `
		update clusters set product = $3, version = $4, cluster_uuid = $5, cluster_name = $6, verified_at = $7, problem = $8
		where name = $1 and revision = $2`,
		c.Name, c.Revision, c.Product, c.Version, c.ClusterUUID, clean(c.ClusterName), timeOrNull(c.VerifiedAt), clean(c.Problem))
	return failure(clusterConflict(err, c))
}

// DeleteCluster implements clusters.Store.
func (s *Clusters) DeleteCluster(ctx context.Context, name string, a tenants.Audit) error {
	return s.db.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := s.one(ctx, tx, name, "for update"); err != nil {
			return err
		}
		var living, repositories int
		err := tx.QueryRow(ctx, `
			select (select count(*) from tenants where cluster = $1 and purged_at is null),
				(select count(*) from backup_repositories where cluster = $1)`, name).Scan(&living, &repositories)
		if err != nil {
			return err
		}
		var why []string
		if living > 0 {
			why = append(why, fmt.Sprintf("%d tenants live there, deleted ones included", living))
		}
		if repositories > 0 {
			why = append(why, fmt.Sprintf("%d snapshot repositories belong to it", repositories))
		}
		if len(why) > 0 {
			return clusters.InUseError(name, why)
		}
		if _, err := tx.Exec(ctx, `delete from clusters where name = $1`, name); err != nil {
			return err
		}
		return appendAudit(ctx, tx, a)
	})
}

// Population implements clusters.Store.
func (s *Clusters) Population(ctx context.Context) (map[string]int, error) {
	rows, err := s.db.pool.Query(ctx, `select cluster, count(*) from tenants where purged_at is null group by cluster`)
	if err != nil {
		return nil, failure(err)
	}
	out := map[string]int{}
	var name string
	var count int
	_, err = pgx.ForEachRow(rows, []any{&name, &count}, func() error { out[name] = count; return nil })
	return out, failure(err)
}

// Residents implements clusters.Store.
func (s *Clusters) Residents(ctx context.Context, name string) ([]clusters.Resident, error) {
	rows, err := s.db.pool.Query(ctx, `select id, release, adopted_from from tenants where cluster = $1 and deleted_at is null`, name)
	if err != nil {
		return nil, failure(err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowToStructByPos[clusters.Resident])
	return out, failure(err)
}
