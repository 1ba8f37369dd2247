// Command fence measures how long writes to a tenant are refused, on the way
// forth and on the way back, with a steady writer at work. See
// docs/benchmarks.md.
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
	"slices"
	"syscall"
	"time"

	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/elastic"
	"github.com/tracardi/tms/internal/devstack"
	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader"
)

// The upgrade that is measured.
const (
	fromRelease = "0.8.1"
	toRelease   = "0.8.2"
	tenantID    = "fencebench"
)

type config struct {
	docs, months, rounds int
	warmup               int
	rate                 float64
	heap                 string
}

func parse(args []string) (config, error) {
	var c config
	f := flag.NewFlagSet("fence", flag.ContinueOnError)
	f.IntVar(&c.docs, "docs", 100_000, "documents of the tenant")
	f.IntVar(&c.months, "months", 3, "monthly partitions per partitioned resource")
	f.IntVar(&c.rounds, "rounds", 10, "times forth and back")
	f.IntVar(&c.warmup, "warmup", 1, "rounds before those, which warm the engine up and do not count")
	f.Float64Var(&c.rate, "rate", 50, "writes per second")
	f.StringVar(&c.heap, "heap", "1g", "heap of the engine")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	if c.docs < 0 || c.months < 1 || c.rounds < 1 || c.warmup < 0 || c.rate <= 0 {
		return c, fmt.Errorf("docs %d and warmup %d must not be negative, months %d and rounds %d at least 1, rate %g positive", c.docs, c.warmup, c.months, c.rounds, c.rate)
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
		fmt.Fprintln(os.Stderr, "fence:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, cfg config) (err error) {
	dir, release, err := devstack.TemporaryDir("fence")
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
	b := &bench{cfg: cfg, url: stack.Engine.URL(), parts: make(chan string, 16)}
	if err := b.open(ctx, stack.Postgres.DSN()); err != nil {
		return err
	}
	defer b.db.Close()
	fmt.Printf("%d documents, %g writes a second, %s, %d cores\n", cfg.docs, cfg.rate, stack.Engine.Kind(), runtime.NumCPU())
	return b.measure(ctx)
}

// bench is one tenant and one worker process.
type bench struct {
	cfg     config
	url     string
	db      *db.DB
	store   *db.Rollouts
	service *upgrader.Service
	queue   *db.Queue
	tenant  *fleet.Tenant
	parts   chan string // where the time behind a fence went, as the log has it
}

func (b *bench) open(ctx context.Context, dsn string) error {
	catalogue, err := releases.Builtin()
	if err != nil {
		return err
	}
	if err := db.Migrate(ctx, dsn); err != nil {
		return err
	}
	if b.db, err = db.Open(ctx, dsn); err != nil {
		return err
	}
	engine, err := elastic.New(ctx, elastic.Config{URLs: []string{b.url}, Timeout: 2 * time.Minute})
	if err != nil {
		return err
	}
	log := slog.New(&laps{Handler: slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}), bench: b})
	b.store = db.NewRollouts(b.db)
	b.service = upgrader.NewService(b.store, engine, catalogue, nil)
	if b.queue, err = db.NewQueue(b.db, b.store, upgrader.NewRunner(b.store, engine, catalogue, "fence", upgrader.Limits{}, log), log); err != nil {
		return err
	}
	b.tenant, err = fleet.New(fleet.Config{URL: b.url, Catalogue: catalogue, Release: fromRelease, Tenant: tenantID, Seed: 1, Months: b.cfg.months})
	if err != nil {
		return err
	}
	if err := errors.Join(b.tenant.Install(ctx), b.tenant.Fill(ctx, b.cfg.docs)); err != nil {
		return err
	}
	_, err = b.db.Pool().Exec(ctx, `insert into tenants (id, install_token, release, cluster) values ($1, '', $2, 'default')`, tenantID, fromRelease)
	return err
}

// measure goes forth and back, and has the tenant judged in the end.
func (b *bench) measure(ctx context.Context) (err error) {
	if err := b.queue.Start(ctx); err != nil {
		return err
	}
	defer func() {
		sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		err = errors.Join(err, b.queue.Stop(sctx))
	}()
	writer := b.tenant.StartWriter(ctx, fleet.WriterConfig{Rate: b.cfg.rate})
	var forth, back []time.Duration
	aside := map[fleet.Document]struct{}{}
	for round := range b.cfg.warmup + b.cfg.rounds {
		started := time.Now()
		f, w, id, err := b.round(ctx, writer)
		if err != nil {
			return err
		}
		if round >= b.cfg.warmup {
			forth, back = append(forth, f), append(back, w)
		}
		fmt.Printf("round %d  forth %4d ms  back %4d ms  (%.0f s)\n", round+1-b.cfg.warmup, f.Milliseconds(), w.Milliseconds(), time.Since(started).Seconds())
		b.explain()
		docs, err := b.service.Quarantine(ctx, upgrader.QuarantineFilter{RolloutID: id, WithoutSource: true})
		if err != nil {
			return err
		}
		for _, d := range docs {
			aside[fleet.Document{Index: d.Index, ID: d.ID}] = struct{}{}
		}
	}
	if err := writer.Stop(); err != nil {
		return err
	}
	show("forth", forth)
	show("back", back)
	stats := writer.Stats()
	fmt.Printf("writer: %d acknowledged, %d attempts refused, longest gap %d ms\n", stats.Acknowledged, stats.Refused, stats.LongestGap.Milliseconds())
	report, err := b.tenant.Judge(ctx, fleet.Expect{Release: fromRelease, NotCarried: aside})
	if err != nil {
		return err
	}
	fmt.Println(report)
	if !report.OK() {
		return errors.New("the tenant is not as it must be")
	}
	return nil
}

// round goes forth and back once, with writes to the new version in between.
func (b *bench) round(ctx context.Context, writer *fleet.Writer) (forth, back time.Duration, id string, err error) {
	r, err := b.service.Start(ctx, upgrader.Request{ToRelease: toRelease, Caller: "bench"})
	if err != nil {
		return 0, 0, "", err
	}
	if r, err = b.ended(ctx, r.ID, upgrader.RolloutComplete); err != nil {
		return 0, 0, "", err
	}
	forth = r.Tenants[0].Fence
	var from int64
	for _, enough := range []func(fleet.WriterStats) bool{
		func(s fleet.WriterStats) bool { from = s.Acknowledged; return s.Release == toRelease },
		func(s fleet.WriterStats) bool { return s.Acknowledged > from+int64(5*b.cfg.rate) },
	} {
		if err := writer.Wait(ctx, enough); err != nil {
			return 0, 0, "", err
		}
	}
	if _, err := b.service.Rollback(ctx, upgrader.Command{RolloutID: r.ID, Caller: "bench"}); err != nil {
		return 0, 0, "", err
	}
	if r, err = b.ended(ctx, r.ID, upgrader.RolloutRolledBack); err != nil {
		return 0, 0, "", err
	}
	return forth, r.Tenants[0].Record.Return.Fence, r.ID, nil
}

func (b *bench) ended(ctx context.Context, id string, want upgrader.RolloutState) (*upgrader.Rollout, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		r, err := b.service.Get(ctx, id)
		switch {
		case err != nil:
			return nil, err
		case r.State == want:
			return r, nil
		case r.State.Ended() && r.State != upgrader.RolloutComplete:
			return nil, fmt.Errorf("rollout is %s: %s", r.State, r.Tenants[0].Reason)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}

// show prints what a handful of fences have in common; of fewer than a hundred
// the 99th percentile is the longest.
func show(way string, fences []time.Duration) {
	slices.Sort(fences)
	at := func(p float64) int64 { return fences[min(len(fences)-1, int(p*float64(len(fences))))].Milliseconds() }
	fmt.Printf("%-6s median %d ms, p99 %d ms (of %d)\n", way, at(0.5), at(0.99), len(fences))
}
