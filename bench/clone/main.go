// Command clone measures what a clone costs as an upgrade makes it (block,
// clone, lift the block, mapping, wait for the shards), for an index and for
// one of ten times the documents. See docs/benchmarks.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/tracardi/tms/elastic"
	"github.com/tracardi/tms/internal/devstack"
	"github.com/tracardi/tms/upgrader"
)

func main() {
	docs := flag.Int("docs", 20_000, "documents of the smaller index")
	rounds := flag.Int("rounds", 7, "clones of each")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *docs, *rounds)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "clone:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, docs, rounds int) (err error) {
	if docs < 1 || rounds < 1 {
		return fmt.Errorf("documents %d and rounds %d must be positive", docs, rounds)
	}
	dir, release, err := devstack.TemporaryDir("clone")
	if err != nil {
		return err
	}
	defer release()
	engine, err := devstack.StartEngine(ctx, devstack.EngineOptions{Dir: dir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Stop()) }()
	c, err := elastic.New(ctx, elastic.Config{URLs: []string{engine.URL()}, Timeout: time.Minute})
	if err != nil {
		return err
	}
	defer c.Close()
	sources := []string{"small", "large"}
	for i, n := range []int{docs, 10 * docs} {
		if err := fill(ctx, c, sources[i], n); err != nil {
			return err
		}
	}
	times := map[string][]time.Duration{}
	for i := range rounds + 1 {
		for _, s := range sources {
			took, err := clone(ctx, c, s, fmt.Sprintf("%s-%d", s, i))
			if err != nil {
				return err
			}
			if i > 0 { // the first warms up
				times[s] = append(times[s], took)
			}
		}
	}
	for _, s := range sources {
		slices.Sort(times[s])
	}
	small, large := times["small"][rounds/2], times["large"][rounds/2]
	fmt.Printf("%d documents: median %d ms; %d documents: median %d ms; ratio %.2f\n",
		docs, small.Milliseconds(), 10*docs, large.Milliseconds(), large.Seconds()/small.Seconds())
	return nil
}

var mapping = map[string]any{"dynamic": "strict", "properties": map[string]any{
	"message": map[string]any{"type": "text"}, "level": map[string]any{"type": "keyword"}, "n": map[string]any{"type": "long"},
}}

func fill(ctx context.Context, c *elastic.Client, index string, n int) error {
	err := c.CreateIndex(ctx, index, upgrader.IndexBody{Mappings: mapping, Settings: map[string]any{"number_of_shards": 3, "number_of_replicas": 0, "refresh_interval": "-1"}})
	if err != nil {
		return err
	}
	for from := 0; from < n; from += 5_000 {
		ops := make([]upgrader.BulkOp, 0, 5_000)
		for i := from; i < min(n, from+5_000); i++ {
			ops = append(ops, upgrader.BulkOp{Index: index, ID: fmt.Sprint(i), Source: fmt.Appendf(nil,
				`{"message":"event %d was taken and passed on to workflow %d, which ended as it should","level":"info","n":%d}`, i, i%97, i)})
		}
		results, err := c.Bulk(ctx, ops)
		if err != nil {
			return err
		}
		for _, r := range results {
			if !r.OK {
				return fmt.Errorf("fill %s: %s: %s", index, r.Type, r.Reason)
			}
		}
	}
	return c.Refresh(ctx, index)
}

// clone makes a clone as package upgrader does and waits for its shards.
func clone(ctx context.Context, c *elastic.Client, source, target string) (time.Duration, error) {
	start := time.Now()
	if _, err := c.BlockWrites(ctx, source); err != nil {
		return 0, err
	}
	err := c.Clone(ctx, source, target, map[string]any{"blocks.write": nil, "refresh_interval": "30s"})
	if err := errors.Join(err, c.UnblockWrites(ctx, source)); err != nil {
		return 0, err
	}
	if err := c.PutMapping(ctx, mapping, target); err != nil {
		return 0, err
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		stats, err := c.Stats(ctx, target)
		if err != nil {
			return 0, err
		}
		if s := stats[target]; s.Primaries > 0 && len(s.Checkpoints) == s.Primaries {
			return time.Since(start), c.DeleteIndices(ctx, target)
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-tick.C:
		}
	}
}
