// Command restore measures the restore of one tenant out of a snapshot of few
// tenants against the same out of a snapshot of many, interleaved in one run,
// and against the bare restore call: it must cost what the tenant costs, not
// what the fleet costs. See docs/benchmarks.md.
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
	"text/tabwriter"
	"time"

	"github.com/tracardi/tms/internal/devstack"
)

// config is what is measured.
type config struct {
	few, many     int // tenants in the snapshot
	indices, docs int // per tenant
	rounds        int
}

// aim is the largest ratio of the large fleet's time to the small one's.
const aim = 1.3

func main() {
	var c config
	flag.IntVar(&c.few, "few", 2, "tenants in the small snapshot")
	flag.IntVar(&c.many, "many", 40, "tenants in the large snapshot")
	flag.IntVar(&c.indices, "indices", 12, "indices of each tenant")
	flag.IntVar(&c.docs, "docs", 200, "documents in each index")
	flag.IntVar(&c.rounds, "rounds", 7, "interleaved rounds")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, c)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "restore:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, c config) (err error) {
	if c.few < 1 || c.many < c.few || c.indices < 1 || c.docs < 1 || c.rounds < 1 {
		return fmt.Errorf("few %d, many %d, indices %d, docs %d, rounds %d do not fit", c.few, c.many, c.indices, c.docs, c.rounds)
	}
	dir, release, err := devstack.TemporaryDir("bench-restore")
	if err != nil {
		return err
	}
	defer release()
	stack, err := devstack.Up(ctx, devstack.Options{Dir: dir, Engine: devstack.EngineOptions{Settings: map[string]string{"cluster.max_shards_per_node": "20000"}}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stack.Stop()) }()
	f, err := build(ctx, c, stack)
	if err != nil {
		return err
	}
	defer f.close()
	way := []struct {
		name string
		do   func(context.Context) (time.Duration, error)
		took []time.Duration
	}{
		{name: fmt.Sprintf("bare restore call, of %d", c.many), do: f.bare},
		{name: fmt.Sprintf("tms, of %d", c.few), do: func(ctx context.Context) (time.Duration, error) { return f.restore(ctx, f.small) }},
		{name: fmt.Sprintf("tms, of %d", c.many), do: func(ctx context.Context) (time.Duration, error) { return f.restore(ctx, f.large) }},
	}
	for round := range c.rounds + 1 {
		for i := range way {
			took, err := way[i].do(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", way[i].name, err)
			}
			if round > 0 { // the first warms up
				way[i].took = append(way[i].took, took)
			}
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "restore of one tenant (%d indices of %d documents)\tmedian\tfastest\n", c.indices, c.docs)
	for i := range way {
		slices.Sort(way[i].took)
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", way[i].name, middle(way[i].took).Round(time.Millisecond), way[i].took[0].Round(time.Millisecond))
	}
	ratio := float64(middle(way[2].took)) / float64(middle(way[1].took))
	_, _ = fmt.Fprintf(w, "many to few\t%.2f\taim %.2f\n", ratio, aim)
	_, _ = fmt.Fprintf(w, "tms to bare, of %d\t%.2f\t\n", c.many, float64(middle(way[2].took))/float64(middle(way[0].took)))
	if err := w.Flush(); err != nil {
		return err
	}
	if ratio > aim {
		return fmt.Errorf("out of %d tenants it takes %.2f times as long as out of %d, at most %.2f is aimed at", c.many, ratio, c.few, aim)
	}
	return nil
}

func middle(sorted []time.Duration) time.Duration { return sorted[len(sorted)/2] }
