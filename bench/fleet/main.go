// Command fleet measures the upgrade of a fleet by TMS against a bare loop of
// the engine calls that no upgrade can do without, side by side in one run.
// See docs/benchmarks.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tracardi/tms/bench/usage"
	"github.com/tracardi/tms/internal/devstack"
	"github.com/tracardi/tms/upgrader"
)

// config are the flags.
type config struct {
	tenants, docs, months, rounds, warmup int
	only, verify                          []string
	breakdown, plain                      bool
	profile, heap                         string
	nodes                                 int
	limits                                upgrader.Limits
	settings                              map[string]string // of the engine's nodes
}

func parse(args []string) (config, error) {
	var c config
	var only, verify string
	f := flag.NewFlagSet("fleet", flag.ContinueOnError)
	f.IntVar(&c.tenants, "tenants", 10, "number of tenants")
	f.IntVar(&c.docs, "docs", 300, "documents per tenant")
	f.IntVar(&c.months, "months", 3, "monthly partitions per partitioned resource")
	f.IntVar(&c.rounds, "rounds", 3, "measured runs of each variant")
	f.IntVar(&c.warmup, "warmup", 1, "unmeasured runs of each variant before")
	f.StringVar(&only, "only", "", "restrict the layout to these resource keys, comma separated")
	f.StringVar(&verify, "verify", "count,full,full+seeds", "verification levels to measure, comma separated; with +seeds empty targets come out of a snapshot")
	f.BoolVar(&c.breakdown, "breakdown", false, "one more run per level, in which every call is noted, and a table of where the time goes")
	f.BoolVar(&c.plain, "plain", false, "also one run of a plain script: one copy task after the other, looked at every 3 s")
	f.StringVar(&c.profile, "cpuprofile", "", "write a CPU profile of the measured TMS runs to this file")
	f.StringVar(&c.heap, "heap", "2g", "heap of a node of the engine; 50 tenants need more")
	f.IntVar(&c.nodes, "nodes", 1, "nodes of the engine; 50 tenants need two where a process may open no more than 20,000 files")
	f.IntVar(&c.limits.Creates, "creates", 0, "upgrader.Limits.Creates; 0 is the default")
	f.IntVar(&c.limits.Tasks, "tasks", 0, "upgrader.Limits.Tasks; 0 is the default")
	f.IntVar(&c.limits.Streams, "streams", 0, "upgrader.Limits.Streams; 0 is the default")
	f.Int64Var(&c.limits.StreamDocs, "stream-docs", 0, "upgrader.Limits.StreamDocs; 0 is the default")
	c.settings = map[string]string{"cluster.max_shards_per_node": "20000"}
	f.Func("engine-setting", "node setting of the engine, name=value; may be repeated", func(s string) error {
		name, value, ok := strings.Cut(s, "=")
		if !ok {
			return fmt.Errorf("%q is not name=value", s)
		}
		c.settings[name] = value
		return nil
	})
	if err := f.Parse(args); err != nil {
		return c, err
	}
	if only != "" {
		c.only = strings.Split(only, ",")
	}
	c.verify = strings.Split(verify, ",")
	if c.tenants < 1 || c.tenants > 99 || c.docs < 0 || c.months < 1 || c.rounds < 0 || c.warmup < 0 {
		return c, fmt.Errorf("tenants %d must be 1..99, months %d at least 1, docs %d, rounds %d and warmup %d not negative", c.tenants, c.months, c.docs, c.rounds, c.warmup)
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
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

const bareLoop = "bare"

func run(ctx context.Context, cfg config) (err error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	started := time.Now()
	c, err := up(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.down()) }()
	plan, err := c.plan(ctx)
	if err != nil {
		return err
	}
	describe(cfg, plan, c.stack.Engine.Kind(), time.Since(started))
	r := &results{variants: []string{bareLoop}, samples: map[string][]sample{}}
	for _, v := range cfg.verify {
		r.variants = append(r.variants, "tms "+v)
	}
	for i := range cfg.warmup + cfg.rounds {
		// The order is turned round from one round to the next.
		order := slices.Clone(r.variants)
		if i%2 == 1 {
			slices.Reverse(order)
		}
		for _, v := range order {
			s, err := c.measure(ctx, v, plan, i >= cfg.warmup)
			if err != nil {
				return fmt.Errorf("%s: %w", v, err)
			}
			if i >= cfg.warmup {
				r.add(v, s)
				fmt.Printf("round %d  %-10s %6.2f s\n", i-cfg.warmup+1, v, s.took.Seconds())
			}
		}
	}
	if cfg.plain {
		s, err := c.measure(ctx, plainLoop, plan, false)
		if err != nil {
			return fmt.Errorf("%s: %w", plainLoop, err)
		}
		fmt.Printf("plain loop    %6.2f s\n", s.took.Seconds())
	}
	if cfg.rounds > 0 {
		fmt.Println()
		r.print(os.Stdout)
		fmt.Println()
		r.printControl(os.Stdout)
	}
	return c.breakdowns(ctx, plan)
}

func describe(cfg config, plan *upgrader.Plan, engine devstack.EngineKind, took time.Duration) {
	indices, filled, docs := 0, 0, int64(0)
	for _, t := range plan.Tenants {
		indices += len(t.Moves)
		for _, m := range t.Moves {
			for _, c := range m.Copies {
				docs += c.Docs
				if c.Docs > 0 {
					filled++
				}
			}
		}
	}
	fmt.Printf("%d tenants, %s -> %s: %d target indices, %d sources with %d documents; %s, %d cores; filled in %.0f s\n",
		cfg.tenants, fromRelease, toRelease, indices, filled, docs, engine, runtime.NumCPU(), took.Seconds())
}

// engineCPU is what all nodes of the engine have used.
func (c *cluster) engineCPU() (used time.Duration) {
	for _, n := range c.stack.Engine.Nodes() {
		used += usage.ProcessCPU(n.PID())
	}
	return used
}

// measure runs one variant on the fleet and takes the fleet back.
func (c *cluster) measure(ctx context.Context, variant string, plan *upgrader.Plan, profile bool) (s sample, err error) {
	runtime.GC()
	own, engine := usage.OwnCPU(), c.engineCPU()
	if level, ok := strings.CutPrefix(variant, "tms "); ok {
		var f finished
		stop, perr := c.startProfile(profile)
		if perr != nil {
			return s, perr
		}
		f, err = c.upgrade(ctx, level, nil)
		stop()
		s.took = f.took
		if len(f.fences) > 0 {
			s.fence = slices.Max(f.fences)
		}
		s.control = f.control
	} else {
		start := time.Now()
		if variant == plainLoop {
			err = c.plain(ctx, plan)
		} else {
			err = c.bare(ctx, plan, nil)
		}
		s.took = time.Since(start)
	}
	s.own, s.engine = usage.OwnCPU()-own, c.engineCPU()-engine
	if err == nil {
		err = c.complete(ctx, plan)
	}
	if err == nil {
		err = c.reset(ctx)
	}
	return s, err
}

// startProfile profiles one run; a later run replaces the file.
func (c *cluster) startProfile(wanted bool) (stop func(), err error) {
	if c.cfg.profile == "" || !wanted {
		return func() {}, nil
	}
	f, err := os.Create(c.cfg.profile)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close()
	}, nil
}

// breakdowns runs every variant once more with a meter.
func (c *cluster) breakdowns(ctx context.Context, plan *upgrader.Plan) error {
	if !c.cfg.breakdown {
		return nil
	}
	var ids []string
	for _, t := range c.tenants {
		ids = append(ids, t.id)
	}
	for _, level := range append([]string{bareLoop}, c.cfg.verify...) {
		m := newMeter(ids)
		start := time.Now()
		var err error
		if level == bareLoop {
			err = c.bare(ctx, plan, m)
		} else {
			_, err = c.upgrade(ctx, level, m)
		}
		if err != nil {
			return err
		}
		fmt.Printf("\nwhere the time goes, %s, %.2f s in all\n\n", level, time.Since(start).Seconds())
		printBreakdown(os.Stdout, m)
		if err := c.reset(ctx); err != nil {
			return err
		}
	}
	return nil
}
