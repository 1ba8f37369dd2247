// Command throttle measures what a reader of one tenant notices of the upgrade
// of another one: idle, unlimited, with documents per second, and adapting to
// the search latency. See docs/benchmarks.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/tracardi/tms/internal/devstack"
)

type config struct {
	docs, months int
	rate         float64 // searches a second
	perSecond    float64 // documents per second when throttled
	updates      int     // cluster-state updates in flight when throttled
	idle         time.Duration
	heap         string
}

func parse(args []string) (config, error) {
	var c config
	f := flag.NewFlagSet("throttle", flag.ContinueOnError)
	f.IntVar(&c.docs, "docs", 60_000, "documents of each upgraded tenant")
	f.IntVar(&c.months, "months", 3, "monthly partitions per partitioned resource")
	f.Float64Var(&c.rate, "searches", 20, "searches per second of the reader")
	f.Float64Var(&c.perSecond, "documents-per-second", 2_000, "budget of the throttled upgrade")
	f.IntVar(&c.updates, "state-updates", 1, "budget of the throttled upgrade")
	f.DurationVar(&c.idle, "idle", 30*time.Second, "how long the reader is measured alone")
	f.StringVar(&c.heap, "heap", "1g", "heap of the engine")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	if c.docs < 1 || c.months < 1 || c.rate <= 0 || c.perSecond <= 0 || c.updates < 1 || c.idle < time.Second {
		return c, fmt.Errorf("docs %d, months %d, state-updates %d must be at least 1, searches %g and documents-per-second %g positive, idle %s at least 1s",
			c.docs, c.months, c.updates, c.rate, c.perSecond, c.idle)
	}
	return c, nil
}

func main() {
	cfg, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		err = run(ctx, cfg)
		stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "throttle:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, cfg config) (err error) {
	dir, release, err := devstack.TemporaryDir("throttle")
	if err != nil {
		return err
	}
	defer release()
	stack, err := devstack.Up(ctx, devstack.Options{Dir: dir, Engine: devstack.EngineOptions{
		Heap: cfg.heap, Settings: map[string]string{"cluster.max_shards_per_node": "20000"},
	}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stack.Stop()) }()
	b, err := open(ctx, cfg, stack.Engine.URL(), stack.Postgres.DSN())
	if err != nil {
		return err
	}
	defer b.db.Close()
	fmt.Printf("%d documents per tenant, %g searches a second, %s, %d cores, load before: %s\n",
		cfg.docs, cfg.rate, stack.Engine.Kind(), runtime.NumCPU(), load())
	return b.measure(ctx)
}

// load is the machine's load average, as far as it tells.
func load() string {
	raw, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	var one, five, fifteen string
	if _, err := fmt.Sscan(string(raw), &one, &five, &fifteen); err != nil {
		return "unknown"
	}
	return one + " " + five + " " + fifteen
}
