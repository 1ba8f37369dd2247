package shardlimit

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/tracardi/tms/upgrader/capacity"
)

// Engine is what a Keeper needs from a cluster.
type Engine interface {
	// Shards tells how many shards are open and how many data nodes there are.
	Shards(ctx context.Context) (capacity.Shards, error)
	// ShardSettings reads cluster.max_shards_per_node at each level.
	ShardSettings(ctx context.Context) (Settings, error)
	// SetShardLimit sets cluster.max_shards_per_node at a level; nil resets it.
	SetShardLimit(ctx context.Context, level string, value *int) error
}

// Engines finds the cluster of a name. An error says which cluster it
// speaks of; it is tried again later.
type Engines func(ctx context.Context, cluster string) (Engine, error)

// Change is what came of a look at a limit.
type Change struct {
	Limit  Limit
	Claims []Claim
	// Did is the action for the audit trail; "" for none.
	Did string
	// Pause until the next look.
	Pause time.Duration
}

// Store keeps raised limits and claims to them. Safe for concurrent use.
type Store interface {
	// ChangeLimit locks the limit of a cluster, has decide look at it and at
	// the claims that it concerns, and stores what that returns, in one
	// transaction. It does nothing when somebody else holds the lock.
	ChangeLimit(ctx context.Context, cluster string, decide func(context.Context, Limit, []Claim) (Change, error)) error
}

// Keeper raises shard limits that rollouts need, and puts them back. Any
// number of processes may run one. Safe for concurrent use.
type Keeper struct {
	store   Store
	engines Engines
	log     *slog.Logger
}

// NewKeeper wires a Keeper; nil logs nothing.
func NewKeeper(store Store, engines Engines, log *slog.Logger) *Keeper {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Keeper{store: store, engines: engines, log: log}
}

const (
	// pause is how often a raised limit is looked at: for an operator who
	// has changed it, and for the end of the rollouts that need it.
	pause = 5 * time.Second
	// patience bounds all calls of one look, which hold the limit's row.
	patience = 20 * time.Second
	// mostSteps bounds the steps of one turn: from wanted to restored it
	// takes six.
	mostSteps = 8
)

// Work does for the limit of a cluster what is to be done now, which may be
// nothing. Whatever it was about to do when it fails, the next one goes on from
// what is stored.
func (k *Keeper) Work(ctx context.Context, cluster string) error {
	engine, err := k.engines(ctx, cluster)
	if err != nil {
		return fmt.Errorf("shard limit: %w", err)
	}
	for range mostSteps {
		again := false
		err := k.store.ChangeLimit(ctx, cluster, func(ctx context.Context, l Limit, claims []Claim) (Change, error) {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			step, err := decide(ctx, engine, l, claims)
			if err != nil {
				return Change{}, err
			}
			if step.put {
				if err := engine.SetShardLimit(ctx, step.next.Level, step.value); err != nil {
					return Change{}, err
				}
			}
			if step.did != "" {
				k.log.Info("shard limit", "cluster", cluster, "did", step.did, "before", step.next.Before, "raised_to", step.next.RaisedTo)
			}
			again = step.again
			return Change{Limit: step.next, Claims: step.next.tell(claims), Did: step.did, Pause: pause}, nil
		})
		if err != nil || !again {
			return err
		}
	}
	return nil
}

func decide(ctx context.Context, engine Engine, l Limit, claims []Claim) (step, error) {
	settings, err := engine.ShardSettings(ctx)
	if err != nil {
		return step{}, err
	}
	budget, err := engine.Shards(ctx)
	if err != nil {
		return step{}, err
	}
	v := view{settings: settings, open: budget.Open, nodes: budget.DataNodes}
	v.wanted, v.reserve = wantedOf(claims)
	return l.step(v), nil
}
