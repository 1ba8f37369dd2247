package upgrader_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/elastic"
	"github.com/tracardi/tms/internal/devstack"
	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/capacity"
	"github.com/tracardi/tms/upgrader/shardlimit"
)

// cramped is TMS on an engine of its own, whose shard limit a test may change.
type cramped struct {
	*bundle
	client *elastic.Client
}

func setupCramped(t *testing.T) *cramped {
	t.Helper()
	engine, err := devstack.StartEngine(t.Context(), devstack.EngineOptions{Dir: t.TempDir(), Heap: "512m", ShortLived: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, engine.Stop()) })
	b := setupOn(t, engine.URL())
	client, ok := b.engine.(*elastic.Client)
	require.True(t, ok)
	return &cramped{b, client}
}

// limit sets cluster.max_shards_per_node to so many more than are open.
func (c *cramped) limit(level string, more int) int {
	c.t.Helper()
	now, err := c.client.Shards(c.t.Context())
	require.NoError(c.t, err)
	n := now.Open + more
	require.NoError(c.t, c.client.SetShardLimit(c.t.Context(), level, &n))
	return n
}

func (c *cramped) settings() shardlimit.Settings {
	c.t.Helper()
	s, err := c.client.ShardSettings(c.t.Context())
	require.NoError(c.t, err)
	return s
}

// keeping lets a queue raise limits and delete old versions.
func (c *cramped) keeping() []db.QueuePart {
	return []db.QueuePart{db.LimitWork(c.store, c.service.ShardKeeper(c.store, c.log)), db.RetentionWork(c.store, c.service)}
}

// due waits until a rollout's retention is announced, and has its time come.
func (c *cramped) due(rollout string) {
	c.t.Helper()
	c.look(rollout)
	c.until(rollout, func(r *upgrader.Rollout) bool { return r.Retention.State == upgrader.RetentionScheduled })
	_, err := c.pool.Exec(c.t.Context(), `
		update rollout_retentions set next_at = now(), body = jsonb_set(body, '{due_at}', to_jsonb(now() - interval '1 minute')) where rollout_id = $1`, rollout)
	require.NoError(c.t, err)
}

func (c *cramped) look(rollout string) {
	c.t.Helper()
	_, err := c.pool.Exec(c.t.Context(), `update shard_limits set next_at = now()`)
	require.NoError(c.t, err)
	_, err = c.pool.Exec(c.t.Context(), `update rollout_retentions set next_at = now() where rollout_id = $1`, rollout)
	require.NoError(c.t, err)
}

func (c *cramped) claim(r *upgrader.Rollout) shardlimit.Claim {
	c.t.Helper()
	require.Len(c.t, r.Claims, 1)
	return r.Claims[0]
}

// waitForRoom: a tenant for which there is no room waits with the sentence, and
// goes on by itself when there is room again.
func (c *cramped) waitForRoom() {
	t := c.t
	t.Helper()
	one := c.bundle.tenant("0.8.1", 1)
	former := c.limit(shardlimit.LevelTransient, 200)
	r := c.start("0.8.2", upgrader.Options{}, one)
	c.limit(shardlimit.LevelTransient, 3) // somebody else's indices would do the same
	c.worker(c.engine)
	r = c.until(r.ID, func(r *upgrader.Rollout) bool { return r.Tenants[0].Reason != "" })
	require.Equal(t, upgrader.TenantPlanned, r.Tenants[0].State)
	require.Contains(t, r.Tenants[0].Reason, "gate shard_budget: ")
	require.Contains(t, r.Tenants[0].Reason, "more would be over the limit of")
	made, err := c.engine.Indices(t.Context(), "0820."+one.Name()+".*")
	require.NoError(t, err)
	require.Empty(t, made, "nothing is made for which there is no room")
	require.NoError(t, c.client.SetShardLimit(t.Context(), shardlimit.LevelTransient, &former))
	r = c.ended(r.ID)
	require.Equal(t, upgrader.RolloutComplete, r.State, describe(r))
	require.NoError(t, c.client.SetShardLimit(t.Context(), shardlimit.LevelTransient, nil))
}

// Tenants wait for room. A rollout that does not fit has the limit raised, deletes its old versions
// when their time has come, and then the limit is what it was.
func TestRaisedLimitAndRetention(t *testing.T) {
	long(t)
	t.Parallel()
	c := setupCramped(t)
	c.waitForRoom()
	tenants := []*fleet.Tenant{c.bundle.tenant("0.8.1", 1), c.bundle.tenant("0.8.1", 1)}
	for _, one := range tenants {
		require.NoError(t, one.Fill(t.Context(), 50))
	}
	before := c.limit(shardlimit.LevelPersistent, 20)
	options := upgrader.Options{Tenants: []string{tenants[0].Name(), tenants[1].Name()}}
	refused, err := c.service.Plan(t.Context(), upgrader.Request{ToRelease: "0.8.2", Options: options})
	require.NoError(t, err)
	require.Equal(t, "shard_limit", refused.Refusals[0].Code)
	require.Contains(t, refused.Refusals[0].Remedy, "--raise-shard-limit")
	options.RaiseShardLimit, options.FinalizeAfter = true, 48*time.Hour
	plan, err := c.service.Plan(t.Context(), upgrader.Request{ToRelease: "0.8.2", Options: options})
	require.NoError(t, err)
	require.Empty(t, plan.Refusals)
	require.Equal(t, shardlimit.LevelPersistent, plan.Shards.Raise)

	r, err := c.service.Start(t.Context(), upgrader.Request{ToRelease: "0.8.2", Options: options, Caller: "test"})
	require.NoError(t, err)
	require.Equal(t, before, *c.settings().Persistent, "nobody works yet")
	// A process that dies between its record and the engine, and one that goes
	// on from there.
	dead := c.service.ShardKeeper(dying{c.store}, c.log)
	require.ErrorIs(t, dead.Work(t.Context(), upgrader.DefaultCluster), errKilled)
	require.NotEqual(t, before, *c.settings().Persistent, "the engine has it, our row does not know")
	c.worker(c.engine, c.keeping()...)
	r = c.ended(r.ID)
	require.Equal(t, upgrader.RolloutComplete, r.State, describe(r))
	raised := *c.settings().Persistent
	require.Equal(t, plan.Shards.Needed, raised)

	// Both versions stand, which does not fit into the former limit.
	c.look(r.ID)
	r = c.until(r.ID, func(r *upgrader.Rollout) bool {
		return c.claim(r).State == shardlimit.Raised && r.Retention.State == upgrader.RetentionScheduled
	})
	require.Equal(t, raised, *c.settings().Persistent)
	require.Equal(t, before, c.claim(r).Before)
	require.Contains(t, r.Retention.Text(r), "the old version of 2 tenants is deleted at")

	// Kept, then after all; and one of the tenants goes back.
	_, err = c.service.Retain(t.Context(), r.ID, 0, "test")
	require.NoError(t, err)
	_, err = c.service.Rollback(t.Context(), upgrader.Command{RolloutID: r.ID, Tenants: []string{tenants[1].Name()}, Caller: "test"})
	require.NoError(t, err)
	r = c.until(r.ID, func(r *upgrader.Rollout) bool { return r.State == upgrader.RolloutRolledBack })
	require.Equal(t, upgrader.RetentionKept, r.Retention.State)
	_, err = c.service.Retain(t.Context(), r.ID, 24*time.Hour, "test")
	require.NoError(t, err)
	c.due(r.ID)
	r = c.until(r.ID, func(r *upgrader.Rollout) bool {
		c.look(r.ID)
		return r.Retention.State == upgrader.RetentionDone
	})
	require.Equal(t, []upgrader.TenantState{upgrader.TenantFinalized, upgrader.TenantRolledBack}, statesOf(r, tenants))
	left, err := c.engine.Indices(t.Context(), "08x."+tenants[0].Name()+".*", "prod-08x."+tenants[0].Name()+".*")
	require.NoError(t, err)
	require.Empty(t, left)

	// The indices of 0.8.2 that the rollback has left go by a cleanup; here by
	// hand. Then the former limit does.
	indices, err := c.engine.Indices(t.Context(), "0820."+tenants[1].Name()+".*", "prod-0820."+tenants[1].Name()+".*")
	require.NoError(t, err)
	for _, ix := range indices {
		require.NoError(t, c.engine.DeleteIndices(t.Context(), ix.Name))
	}
	r = c.until(r.ID, func(r *upgrader.Rollout) bool {
		c.look(r.ID)
		return c.claim(r).State == shardlimit.Restored
	})
	require.Equal(t, before, *c.settings().Persistent, c.claim(r).Text)
	(&cramped{setupOn(t, c.url), c.client}).finalizeWaves()
	var did []string
	rows, err := c.pool.Query(t.Context(), `select action from audit where subject = 'cluster/default' order by id`)
	require.NoError(t, err)
	for rows.Next() {
		var action string
		require.NoError(t, rows.Scan(&action))
		did = append(did, action)
	}
	require.NoError(t, rows.Err())
	require.Equal(t, []string{"shard_limit.raise", "shard_limit.restore"}, did)
	var told int
	require.NoError(t, c.pool.QueryRow(t.Context(), `select count(*) from events where subject = $1 and type = $2`, r.ID, upgrader.EventFinalizeScheduled).Scan(&told))
	require.Positive(t, told)
}

func statesOf(r *upgrader.Rollout, tenants []*fleet.Tenant) []upgrader.TenantState {
	out := make([]upgrader.TenantState, len(tenants))
	for i, one := range tenants {
		for _, t := range r.Tenants {
			if t.TenantID == one.Name() {
				out[i] = t.State
			}
		}
	}
	return out
}

// Room is given out once: of two tenants that look at the same figures only one
// gets the last of it.
func TestRoomIsGivenOutOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var ids []string
	r := &upgrader.Rollout{ID: "r1", ToRelease: "0.8.2", State: upgrader.RolloutRunning, Wish: upgrader.WishRun, Options: upgrader.Options{}.WithDefaults(), CreatedAt: time.Now()}
	for n := range 2 {
		id := fmt.Sprintf("tenant%d", n)
		b.register(id, "0.8.1")
		ids = append(ids, id)
		r.Tenants = append(r.Tenants, upgrader.RolloutTenant{RolloutID: r.ID, TenantID: id, FromRelease: "0.8.1", State: upgrader.TenantPlanned, NextAt: time.Now().Add(-time.Second), DocsTotal: 100})
	}
	require.NoError(t, b.store.CreateRollout(t.Context(), r, nil, ""))
	lease := func(id string) *upgrader.Lease {
		l, err := b.store.Acquire(t.Context(), r.ID, id, "test", time.Minute)
		require.NoError(t, err)
		return l
	}
	first, second := lease(ids[0]), lease(ids[1])
	take := func(l *upgrader.Lease) (others capacity.Need, got bool) {
		require.NoError(t, b.store.TakeRoom(t.Context(), l, capacity.Need{Shards: 60, Bytes: 1000}, func(o capacity.Need) bool {
			others, got = o, o.Shards+60 <= 100
			return got
		}))
		return others, got
	}
	_, got := take(first)
	require.True(t, got)
	_, got = take(first) // once more, after a death
	require.True(t, got)
	others, got := take(second)
	require.False(t, got)
	require.Equal(t, capacity.Need{Shards: 60, Bytes: 1000}, others)

	// The first has made its indices and copied half: its shards are in the
	// figures soon, its documents count for half.
	_, x, err := b.store.Load(t.Context(), r.ID, ids[0])
	require.NoError(t, err)
	x.State, x.Documents = upgrader.TenantCopying, 50
	require.NoError(t, b.store.SaveTenant(t.Context(), first, x))
	others, _ = take(second)
	require.Equal(t, capacity.Need{Shards: 60, Bytes: 500}, others)
	_, err = b.pool.Exec(t.Context(), `update rollout_tenants set reserved_until = now() where tenant_id = $1`, ids[0])
	require.NoError(t, err)
	others, got = take(second)
	require.True(t, got)
	require.Zero(t, others.Shards)
}

var errKilled = fmt.Errorf("killed")

// dying is the store of a process that is killed right after the engine has
// answered: what came of it is not stored.
type dying struct{ shardlimit.Store }

func (d dying) ChangeLimit(ctx context.Context, cluster string, decide func(context.Context, shardlimit.Limit, []shardlimit.Claim) (shardlimit.Change, error)) error {
	return d.Store.ChangeLimit(ctx, cluster, func(ctx context.Context, l shardlimit.Limit, claims []shardlimit.Claim) (shardlimit.Change, error) {
		ch, err := decide(ctx, l, claims)
		if err == nil && l.State == shardlimit.Raising {
			err = errKilled
		}
		return ch, err
	})
}
