package elastic

import (
	"context"
	"net/http"
	"strconv"

	"github.com/elastic/go-elasticsearch/v8/esapi"
	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/upgrader"
)

// Stats implements upgrader.Engine. Closed indices are left out. A primary
// that is not started yet has no entry in Checkpoints and MaxSeqNo, so
// len(Checkpoints) < Primaries tells that the picture is not complete.
func (c *Client) Stats(ctx context.Context, patterns ...string) (map[string]upgrader.IndexStats, error) {
	op := "read statistics of " + described(patterns)
	if err := checkPatterns(op, patterns...); err != nil {
		return nil, err
	}
	out := make(map[string]upgrader.IndexStats)
	for _, part := range chunks(patterns) {
		var shards statsAnswer
		var sizes settingsAnswer
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() error { return c.do(ctx, call{op: op, request: statsRequest(part)}, &shards) })
		// Shards that are not assigned do not show in _stats; their numbers
		// are taken from the settings.
		g.Go(func() error { return c.do(ctx, call{op: op, request: shardCountRequest(part)}, &sizes) })
		if err := g.Wait(); err != nil {
			return nil, err
		}
		if err := shards.Shards.check(op); err != nil {
			return nil, err
		}
		for name, size := range sizes {
			s := shards.Indices[name].stats()
			s.Primaries = size.Settings.Index.Shards
			s.Replicas = size.Settings.Index.Replicas
			out[name] = s
		}
	}
	return out, nil
}

func statsRequest(patterns []string) func() esapi.Request {
	return fixed(request{
		method: http.MethodGet, path: "/" + joined(patterns) + "/_stats/docs,store",
		query: query("level", "shards", "ignore_unavailable", "true", "expand_wildcards", "open",
			"filter_path", "_shards,indices.*.primaries.docs.count,indices.*.primaries.store.size_in_bytes,"+
				"indices.*.shards.*.routing.primary,indices.*.shards.*.seq_no"),
	})
}

func shardCountRequest(patterns []string) func() esapi.Request {
	return fixed(request{
		method: http.MethodGet,
		path:   "/" + joined(patterns) + "/_settings/index.number_of_shards,index.number_of_replicas",
		query:  query("ignore_unavailable", "true", "expand_wildcards", "open"),
	})
}

type settingsAnswer map[string]struct {
	Settings struct {
		Index struct {
			Shards   int `json:"number_of_shards,string"`
			Replicas int `json:"number_of_replicas,string"`
		} `json:"index"`
	} `json:"settings"`
}

type statsAnswer struct {
	Shards  shardResult               `json:"_shards"`
	Indices map[string]indexStatsBody `json:"indices"`
}

type indexStatsBody struct {
	Primaries struct {
		Docs struct {
			Count int64 `json:"count"`
		} `json:"docs"`
		Store struct {
			Bytes int64 `json:"size_in_bytes"`
		} `json:"store"`
	} `json:"primaries"`
	Shards map[string][]struct {
		Routing struct {
			Primary bool `json:"primary"`
		} `json:"routing"`
		SeqNo *struct {
			Max    int64 `json:"max_seq_no"`
			Global int64 `json:"global_checkpoint"`
		} `json:"seq_no"`
	} `json:"shards"`
}

func (b indexStatsBody) stats() upgrader.IndexStats {
	s := upgrader.IndexStats{
		Docs:        b.Primaries.Docs.Count,
		Bytes:       b.Primaries.Store.Bytes,
		Checkpoints: make(map[int]int64, len(b.Shards)),
		MaxSeqNo:    make(map[int]int64, len(b.Shards)),
	}
	for number, copies := range b.Shards {
		n, err := strconv.Atoi(number)
		if err != nil {
			continue
		}
		for _, shard := range copies {
			if shard.Routing.Primary && shard.SeqNo != nil {
				s.Checkpoints[n] = shard.SeqNo.Global
				s.MaxSeqNo[n] = shard.SeqNo.Max
			}
		}
	}
	return s
}
