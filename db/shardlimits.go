package db

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/shardlimit"
)

var _ shardlimit.Store = (*Rollouts)(nil)

// claimActive says of a claim c whether its rollout may yet create indices.
const claimActive = `exists (select from rollout_tenants t where t.rollout_id = c.rollout_id and t.working
	and t.state not in ('switched', 'done', 'failed', 'cancelled', 'rolled_back'))`

// claimConcerned are claims that are not over, or that begin again.
const claimConcerned = `(c.state not in ('restored', 'left')
	or c.state = 'restored' and (c.body->>'wanted')::int > 0 and ` + claimActive + `)`

// insertClaims stores what a new rollout needs of shard limits.
func insertClaims(ctx context.Context, tx pgx.Tx, ro *upgrader.Rollout) error {
	for _, c := range ro.Claims {
		if err := insertClaim(ctx, tx, ro, c); err != nil {
			return err
		}
	}
	return nil
}

func insertClaim(ctx context.Context, tx pgx.Tx, ro *upgrader.Rollout, c shardlimit.Claim) error {
	fresh, err := json.Marshal(shardlimit.Limit{Cluster: c.Cluster, State: shardlimit.Restored})
	if err != nil {
		return fmt.Errorf("shard limit of cluster %s: %w", c.Cluster, err)
	}
	body, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("claim of rollout %s: %w", ro.ID, err)
	}
	_, err = tx.Exec(ctx, `
		insert into shard_limits (cluster, state, body) values ($1, $2, $3)
		on conflict (cluster) do update set next_at = now()`, c.Cluster, shardlimit.Restored, fresh)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `insert into shard_claims (rollout_id, cluster, state, body) values ($1, $2, $3, $4)`, ro.ID, c.Cluster, c.State, body)
	return err
}

// addClaims reads the claims of rollouts that have one.
func (r *Rollouts) addClaims(ctx context.Context, byID map[string]*upgrader.Rollout) error {
	var ids []string
	for id, ro := range byID {
		if ro.Options.RaiseShardLimit {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	claims, err := claims(ctx, r.db.pool, `c.rollout_id = any($1)`, ids)
	for _, c := range claims {
		byID[c.RolloutID].Claims = append(byID[c.RolloutID].Claims, c)
	}
	return failure(err)
}

func claims(ctx context.Context, q querier, where string, args ...any) ([]shardlimit.Claim, error) {
	rows, err := q.Query(ctx, `select c.rollout_id, c.state, c.body, `+claimActive+` from shard_claims c where `+where+` order by c.rollout_id, c.cluster`, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (shardlimit.Claim, error) {
		var c shardlimit.Claim
		var id string
		var state shardlimit.State
		var raw []byte
		var active bool
		if err := row.Scan(&id, &state, &raw, &active); err != nil {
			return c, err
		}
		err := json.Unmarshal(raw, &c)
		c.RolloutID, c.State, c.Active = id, state, active
		return c, err
	})
}

// ChangeLimit implements shardlimit.Store. The row is locked while the
// engine is asked, so that nobody else asks it for something different; a
// process that is stopped in between loses its transaction.
func (r *Rollouts) ChangeLimit(ctx context.Context, cluster string, decide func(context.Context, shardlimit.Limit, []shardlimit.Claim) (shardlimit.Change, error)) error {
	return r.db.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `set local idle_in_transaction_session_timeout = '60s'`); err != nil {
			return err
		}
		var raw []byte
		err := tx.QueryRow(ctx, `select body from shard_limits where cluster = $1 for update skip locked`, cluster).Scan(&raw)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // somebody else is at it
		}
		if err != nil {
			return err
		}
		var l shardlimit.Limit
		if err := json.Unmarshal(raw, &l); err != nil {
			return fmt.Errorf("shard limit of cluster %s: %w", cluster, err)
		}
		concerned, err := claims(ctx, tx, `c.cluster = $1 and `+claimConcerned, cluster)
		if err != nil {
			return err
		}
		change, err := decide(ctx, l, concerned)
		if err != nil {
			return err
		}
		return saveLimit(ctx, tx, change)
	})
}

func saveLimit(ctx context.Context, tx pgx.Tx, ch shardlimit.Change) error {
	body, err := json.Marshal(ch.Limit)
	if err != nil {
		return fmt.Errorf("shard limit of cluster %s: %w", ch.Limit.Cluster, err)
	}
	_, err = tx.Exec(ctx, `update shard_limits set state = $2, body = $3, next_at = now() + $4 where cluster = $1`, ch.Limit.Cluster, ch.Limit.State, body, ch.Pause)
	if err != nil {
		return err
	}
	var rollouts []string
	for _, c := range ch.Claims {
		raw, err := json.Marshal(c)
		if err != nil {
			return fmt.Errorf("claim of rollout %s: %w", c.RolloutID, err)
		}
		tag, err := tx.Exec(ctx, `update shard_claims set state = $3, body = $4 where rollout_id = $1 and cluster = $2 and (state, body) is distinct from ($3, $4::jsonb)`, c.RolloutID, c.Cluster, c.State, raw)
		if err != nil {
			return err
		}
		if tag.RowsAffected() > 0 { // watchers look at the revision
			if _, err := tx.Exec(ctx, `update rollouts set revision = revision + 1 where id = $1`, c.RolloutID); err != nil {
				return err
			}
		}
		rollouts = append(rollouts, c.RolloutID)
	}
	if ch.Did == "" {
		return nil
	}
	caller := ""
	if len(ch.Claims) > 0 {
		caller = ch.Claims[len(ch.Claims)-1].Caller
	}
	return appendAudit(ctx, tx, tenants.Audit{
		At: time.Now(), Caller: tenants.Caller{KeyID: caller}, Action: ch.Did, Subject: "cluster/" + ch.Limit.Cluster,
		Detail: map[string]any{
			"setting": "cluster.max_shards_per_node", "level": ch.Limit.Level, "before": ch.Limit.Before, "raised_to": ch.Limit.RaisedTo, "rollouts": rollouts,
		},
	})
}

// WantShards implements upgrader.RoomStore.
func (r *Rollouts) WantShards(ctx context.Context, rollout, cluster string, wanted int) error {
	return r.db.inTx(ctx, func(tx pgx.Tx) error {
		// The limit's row comes first, as everywhere. Who asks while it is being
		// changed asks again.
		var there string
		err := tx.QueryRow(ctx, `select cluster from shard_limits where cluster = $1 for update skip locked`, cluster).Scan(&there)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `
			update shard_claims set body = jsonb_set(body, '{wanted}', to_jsonb($3::int))
			where rollout_id = $1 and cluster = $2 and state <> 'left' and (body->>'wanted')::int < $3`, rollout, cluster, wanted)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		_, err = tx.Exec(ctx, `update shard_limits set next_at = now() where cluster = $1`, cluster)
		return err
	})
}

// dueLimits are the clusters whose limit is to be looked at.
func (r *Rollouts) dueLimits(ctx context.Context) ([]string, error) {
	rows, err := r.db.pool.Query(ctx, `
		select l.cluster from shard_limits l
		where l.next_at <= now() and (l.state not in ('restored', 'left') or exists (select from shard_claims c where c.cluster = l.cluster and `+claimConcerned+`))`)
	if err != nil {
		return nil, failure(err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return out, failure(err)
}

type limitTurn struct{}

func (limitTurn) name() string { return "shard_limit" }

// LimitWork lets a Queue raise shard limits and put them back.
func LimitWork(store *Rollouts, keeper *shardlimit.Keeper) QueuePart {
	return turns[limitTurn]{
		due:  func(ctx context.Context, _ *Queue) ([]string, error) { return store.dueLimits(ctx) },
		work: keeper.Work,
	}.part()
}
