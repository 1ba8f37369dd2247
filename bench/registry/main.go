// Command registry measures the registry with few tenants against the same with
// many, side by side in one run: what a call costs must not depend on how many
// tenants there are. See docs/benchmarks.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/tracardi/tms/internal/devstack"
)

// config is what is measured, and for how long.
type config struct {
	small, large int
	rounds       int
	each         time.Duration
}

// aim is the largest ratio of the large registry's time to the small one's for
// reading.
const aim = 1.2

func main() {
	var c config
	flag.IntVar(&c.small, "small", 1_000, "tenants of the small registry")
	flag.IntVar(&c.large, "large", 100_000, "tenants of the large registry")
	flag.IntVar(&c.rounds, "rounds", 11, "interleaved rounds of every call")
	flag.DurationVar(&c.each, "benchtime", 200*time.Millisecond, "time for each call and registry in a round")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, c)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "registry:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, c config) (err error) {
	if c.small < minTenants || c.large < c.small || c.rounds < 1 || c.each <= 0 {
		return fmt.Errorf("small %d (at least %d), large %d, rounds %d and benchtime %s do not fit", c.small, minTenants, c.large, c.rounds, c.each)
	}
	dir, release, err := devstack.TemporaryDir("bench-registry")
	if err != nil {
		return err
	}
	defer release()
	postgres, err := devstack.StartPostgres(ctx, devstack.PostgresOptions{Dir: dir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, postgres.Stop()) }()
	var pair [2]*registry
	for i, n := range []int{c.small, c.large} {
		r, err := fill(ctx, postgres, n)
		if err != nil {
			return fmt.Errorf("registry of %d tenants: %w", n, err)
		}
		defer func() { err = errors.Join(err, r.close()) }()
		pair[i] = r
		fmt.Printf("%d tenants: %.1f s to write, %.2f s to load, %.1f MB of memory (%.0f MB per 100,000)\n",
			n, r.written.Seconds(), r.loaded.Seconds(), r.memory/1e6, r.memory/float64(n)*1e5/1e6)
	}
	fmt.Printf("%d rounds of %s per call and registry, %d cores, one caller, over gRPC; rows \"in memory\" without it\n", c.rounds, c.each, runtime.NumCPU())
	return measure(ctx, c, pair)
}

// measure prints a row for every call.
func measure(ctx context.Context, c config, pair [2]*registry) error {
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "call\tµs with %d\tµs with %d\tratio, median\tmin\tmax\taim\n", c.small, c.large)
	for _, one := range calls {
		var took [2][]float64
		var ratios []float64
		// A round of each warms connections, statements and caches up.
		for round := -1; round < c.rounds; round++ {
			var us [2]float64
			for i := range pair {
				side := i ^ (round & 1) // who begins alternates
				each, err := timeOf(ctx, c.each, pair[side], one)
				if err != nil {
					return fmt.Errorf("%s: %w", one.name, err)
				}
				us[side] = each
			}
			if round < 0 {
				continue
			}
			took[0], took[1] = append(took[0], us[0]), append(took[1], us[1])
			ratios = append(ratios, us[1]/us[0])
		}
		limit := ""
		if one.aimed {
			limit = fmt.Sprintf("≤ %.1f", aim)
		}
		fmt.Fprintf(t, "%s\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%s\n", one.name, median(took[0]), median(took[1]), median(ratios), slices.Min(ratios), slices.Max(ratios), limit)
	}
	return t.Flush()
}

// timeOf is the microseconds that a call takes, over at least the given time.
func timeOf(ctx context.Context, each time.Duration, r *registry, c call) (float64, error) {
	batch := 1
	for began, n := time.Now(), 0; ; {
		for range batch {
			if err := c.do(ctx, r); err != nil {
				return 0, err
			}
		}
		n += batch
		took := time.Since(began)
		if took >= each {
			return took.Seconds() * 1e6 / float64(n), nil
		}
		if took < each/100 {
			batch *= 2 // so that the clock does not count
		}
	}
}

func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}
