package db

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/capacity"
	"github.com/tracardi/tms/upgrader/shardlimit"
)

// roomLock is the first key of the advisory lock under which room in a cluster
// is given out; the second one is made of its name.
const roomLock = 0x746d7303

// TakeRoom implements upgrader.RoomStore. Shards of tenants that have just been
// created count on for the time of the trigger: figures may be older than they
// are. Bytes count until they are copied.
func (r *Rollouts) TakeRoom(ctx context.Context, l *upgrader.Lease, need capacity.Need, decide func(others capacity.Need) bool) error {
	return r.owned(ctx, l, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock($1, hashtext($2))`, int32(roomLock), l.Cluster); err != nil {
			return err
		}
		var others capacity.Need
		err := tx.QueryRow(ctx, `
			select coalesce(sum(reserved_shards) filter (where reserved_until > now()), 0),
				coalesce(sum(reserved_bytes * greatest(0, 1 - documents::float8 / greatest(docs_total, 1))) filter (where state in ('planned', 'prepared', 'copying')), 0)::bigint
			from rollout_tenants
			where cluster = $1 and (working or reserved_until > now()) and reserved_until is not null and (rollout_id, tenant_id) <> ($2, $3)`,
			l.Cluster, l.RolloutID, l.TenantID).Scan(&others.Shards, &others.Bytes)
		if err != nil || !decide(others) {
			return err
		}
		_, err = tx.Exec(ctx, `
			update rollout_tenants set reserved_shards = $3, reserved_bytes = $4, reserved_until = 'infinity'
			where rollout_id = $1 and tenant_id = $2`, l.RolloutID, l.TenantID, need.Shards, need.Bytes)
		return err
	})
}

// ShardClaims implements upgrader.RoomStore.
func (r *Rollouts) ShardClaims(ctx context.Context, rollout string) ([]shardlimit.Claim, error) {
	found, err := claims(ctx, r.db.pool, `c.rollout_id = $1`, rollout)
	return found, failure(err)
}
