// Command verify measures the full comparison of a copy against the speed at
// which the engine can scroll both sides, side by side in one run. See
// docs/benchmarks.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"slices"
	"syscall"
	"time"

	"github.com/tracardi/tms/elastic"
	"github.com/tracardi/tms/internal/devstack"
	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/stream"
	"github.com/tracardi/tms/upgrader/verify"
)

// config are the flags.
type config struct {
	docs, rounds int
	url, profile string
}

func main() {
	var c config
	flag.IntVar(&c.docs, "docs", 200_000, "documents per side")
	flag.IntVar(&c.rounds, "rounds", 3, "measured rounds, after one that is not")
	flag.StringVar(&c.url, "url", "", "engine to use; default starts one")
	flag.StringVar(&c.profile, "cpuprofile", "", "write a CPU profile of all comparisons to this file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, c)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "verify:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, c config) (err error) {
	if c.docs < 1 || c.rounds < 1 {
		return fmt.Errorf("docs %d and rounds %d must be at least 1", c.docs, c.rounds)
	}
	if c.url == "" {
		dir, release, err := devstack.TemporaryDir("bench-verify")
		if err != nil {
			return err
		}
		defer release()
		e, err := devstack.StartEngine(ctx, devstack.EngineOptions{Dir: dir, Heap: "2g"})
		if err != nil {
			return err
		}
		defer func() { _ = e.Stop() }() // nobody needs the data
		c.url = e.URL()
	}
	b, err := newBench(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.remove(context.WithoutCancel(ctx))) }()
	if err := b.fill(ctx); err != nil {
		return err
	}
	return b.measure(ctx)
}

// pair is a source, a target, and what makes the one of the other.
type pair struct {
	name      string
	target    string
	transform releases.Transform
}

type bench struct {
	config
	engine *elastic.Client
	source string
	pairs  []pair
	bytes  int64
}

func newBench(ctx context.Context, c config) (*bench, error) {
	engine, err := elastic.New(ctx, elastic.Config{URLs: []string{c.url}, Timeout: 2 * time.Minute})
	if err != nil {
		return nil, err
	}
	catalogue, err := releases.Builtin()
	if err != nil {
		return nil, err
	}
	to, err := catalogue.Get("0.8.2")
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("tms-bench-verify-%d", os.Getpid())
	return &bench{config: c, engine: engine, source: name + "-source", pairs: []pair{
		{name: "unchanged", target: name + "-unchanged"},
		{name: "transformed", target: name + "-transformed", transform: to.Migration.Steps["event"].Transform},
	}}, nil
}

func (b *bench) names() []string {
	all := []string{b.source}
	for _, p := range b.pairs {
		all = append(all, p.target)
	}
	return all
}

func (b *bench) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return b.engine.DeleteIndices(ctx, b.names()...)
}

// measure alternates between scrolling and comparing.
func (b *bench) measure(ctx context.Context) error {
	stats, err := b.engine.Stats(ctx, b.names()...)
	if err != nil {
		return err
	}
	fmt.Printf("%d documents of %d bytes per side, %d cores\n", b.docs, b.bytes/int64(b.docs), runtime.NumCPU())
	if b.profile != "" {
		f, err := os.Create(b.profile)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	for _, p := range b.pairs {
		var scrolls, compares []float64
		for round := range b.rounds + 1 {
			start := time.Now()
			if err := b.scrollBoth(ctx, p); err != nil {
				return err
			}
			scroll := time.Since(start)
			start = time.Now()
			if err := b.compare(ctx, p, stats); err != nil {
				return err
			}
			compare := time.Since(start)
			if round == 0 {
				continue
			}
			scrolls, compares = append(scrolls, scroll.Seconds()), append(compares, compare.Seconds())
			fmt.Printf("%-12s round %d: scroll both sides %6.2f s, compare %6.2f s\n", p.name, round, scroll.Seconds(), compare.Seconds())
		}
		s, c := median(scrolls), median(compares)
		fmt.Printf("%-12s %.2f of the speed of scrolling (medians %.2f s and %.2f s, %.0f documents/s of both sides)\n", p.name, s/c, s, c, 2*float64(b.docs)/c)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fmt.Printf("memory of the comparison: %d MB from the system\n", m.Sys>>20)
	return nil
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

// compare is what a rollout does at level full.
func (b *bench) compare(ctx context.Context, p pair, stats map[string]upgrader.IndexStats) error {
	source := verify.Side{Index: b.source, To: stats[b.source].MaxSeqNo}
	if !p.transform.Empty() {
		canonical := p.transform.Canonicaliser()
		source.Canonical = func(dst []byte, d stream.Doc) ([]byte, error) { return canonical(dst, d.Source) }
	}
	c := verify.Comparison{Engine: b.engine, Target: verify.Side{Index: p.target, To: stats[p.target].MaxSeqNo}, Sources: []verify.Side{source}, Written: p.transform.Empty()}
	sums, err := c.Run(ctx)
	if err != nil {
		return err
	}
	if s, t := sums.Source(), sums.Target(); !s.Equal(t) || s.Count != int64(b.docs) {
		return fmt.Errorf("%s: the digests %s and %s are not those of two equal sides of %d documents", p.name, s, t, b.docs)
	}
	return nil
}
