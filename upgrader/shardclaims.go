package upgrader

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/tracardi/tms/upgrader/shardlimit"
)

// ShardKeeper keeps the shard limits of the service's clusters, which have to be
// engines whose limit TMS can change.
func (s *Service) ShardKeeper(store shardlimit.Store, log *slog.Logger) *shardlimit.Keeper {
	return shardlimit.NewKeeper(store, func(ctx context.Context, cluster string) (shardlimit.Engine, error) {
		found, err := s.engines.For(ctx, cluster)
		if err != nil {
			return nil, fmt.Errorf("cluster %s: %w", cluster, err)
		}
		engine, ok := found.(shardlimit.Engine)
		if !ok {
			return nil, fmt.Errorf("that of cluster %s cannot be changed by TMS", cluster)
		}
		return engine, nil
	}, log)
}

// claims are what a rollout of a plan needs of the shard limits.
func (p *Plan) claims(caller string) []shardlimit.Claim {
	if !p.Options.RaiseShardLimit {
		return nil
	}
	var out []shardlimit.Claim
	for _, part := range p.Clusters {
		f := part.Shards
		if f.New == 0 {
			continue
		}
		c := shardlimit.Claim{
			Cluster: part.Cluster, Caller: caller, State: shardlimit.Wanted, Open: f.Now, Nodes: f.DataNodes,
			Added: f.Peak - f.Now, Reserve: part.Forecast.CalendarShards,
		}
		if f.Raise != "" {
			c.Wanted = f.Needed
		}
		out = append(out, c)
	}
	return out
}
