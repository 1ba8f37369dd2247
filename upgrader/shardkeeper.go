package upgrader

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// LimitEngine is what a ShardKeeper needs from a cluster.
type LimitEngine interface {
	// Shards tells how many shards are open and how many data nodes there are.
	Shards(ctx context.Context) (ShardBudget, error)
	// ShardSettings reads cluster.max_shards_per_node at each level.
	ShardSettings(ctx context.Context) (ShardSettings, error)
	// SetShardLimit sets cluster.max_shards_per_node at a level; nil resets it.
	SetShardLimit(ctx context.Context, level string, value *int) error
}

// LimitChange is what came of a look at a limit.
type LimitChange struct {
	Limit  ShardLimit
	Claims []ShardClaim
	// Did is the action for the audit trail; "" for none.
	Did string
	// Pause until the next look.
	Pause time.Duration
}

// LimitStore keeps raised limits.
type LimitStore interface {
	// ChangeLimit locks the limit of a cluster, has decide look at it and at
	// the claims that it concerns, and stores what that returns, in one
	// transaction. It does nothing when somebody else holds the lock.
	ChangeLimit(ctx context.Context, cluster string, decide func(context.Context, ShardLimit, []ShardClaim) (LimitChange, error)) error
}

// ShardKeeper raises shard limits that rollouts need, and puts them back. Any
// number of processes may run one. Safe for concurrent use.
type ShardKeeper struct {
	store   LimitStore
	engines Engines
	log     *slog.Logger
}

// NewShardKeeper wires a ShardKeeper; the engines must be LimitEngines.
func NewShardKeeper(store LimitStore, engines Engines, log *slog.Logger) *ShardKeeper {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &ShardKeeper{store: store, engines: engines, log: log}
}

// ShardKeeper is one for the clusters of the service.
func (s *Service) ShardKeeper(store LimitStore, log *slog.Logger) *ShardKeeper {
	return NewShardKeeper(store, s.engines, log)
}

const (
	// limitPause is how often a raised limit is looked at: for an operator who
	// has changed it, and for the end of the rollouts that need it.
	limitPause = 5 * time.Second
	// limitCalls bounds all calls of one look, which hold the limit's row.
	limitCalls = 20 * time.Second
	// mostLimitSteps bounds the steps of one turn: from wanted to restored it
	// takes six.
	mostLimitSteps = 8
)

// Work does for the limit of a cluster what is to be done now.
func (k *ShardKeeper) Work(ctx context.Context, cluster string) error {
	found, err := k.engines.For(ctx, cluster)
	if err != nil {
		return fmt.Errorf("shard limit of cluster %s: %w", cluster, err)
	}
	engine, ok := found.(LimitEngine)
	if !ok {
		return fmt.Errorf("the shard limit of cluster %s cannot be changed by TMS", cluster)
	}
	for range mostLimitSteps {
		again := false
		err := k.store.ChangeLimit(ctx, cluster, func(ctx context.Context, l ShardLimit, claims []ShardClaim) (LimitChange, error) {
			ctx, cancel := context.WithTimeout(ctx, limitCalls)
			defer cancel()
			step, err := decideLimit(ctx, engine, l, claims)
			if err != nil {
				return LimitChange{}, err
			}
			if step.put {
				if err := engine.SetShardLimit(ctx, step.next.Level, step.value); err != nil {
					return LimitChange{}, err
				}
			}
			if step.did != "" {
				k.log.Info("shard limit", "cluster", cluster, "did", step.did, "before", step.next.Before, "raised_to", step.next.RaisedTo)
			}
			again = step.again
			return LimitChange{Limit: step.next, Claims: step.next.tell(claims), Did: step.did, Pause: limitPause}, nil
		})
		if err != nil || !again {
			return err
		}
	}
	return nil
}

func decideLimit(ctx context.Context, engine LimitEngine, l ShardLimit, claims []ShardClaim) (limitStep, error) {
	settings, err := engine.ShardSettings(ctx)
	if err != nil {
		return limitStep{}, err
	}
	budget, err := engine.Shards(ctx)
	if err != nil {
		return limitStep{}, err
	}
	v := limitView{settings: settings, open: budget.Open, nodes: budget.DataNodes}
	v.wanted, v.reserve = wantedOf(claims)
	return l.step(v), nil
}

// claims are what a rollout of a plan needs of the shard limits.
func (p *Plan) claims(caller string) []ShardClaim {
	if !p.Options.RaiseShardLimit {
		return nil
	}
	var out []ShardClaim
	for _, part := range p.Clusters {
		f := part.Shards
		if f.New == 0 {
			continue
		}
		c := ShardClaim{
			Cluster: part.Cluster, Caller: caller, State: LimitWanted, Open: f.Now, Nodes: f.DataNodes,
			Added: f.Peak - f.Now, Reserve: part.Forecast.CalendarShards,
		}
		if f.Raise != "" {
			c.Wanted = f.Needed
		}
		out = append(out, c)
	}
	return out
}
