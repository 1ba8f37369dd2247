// Command many upgrades many small tenants through one, two and four `tms
// serve` processes, and through four of which one is killed, on one engine. See
// docs/benchmarks.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// config are the flags.
type config struct {
	tenants, docs, atOnce int
	workers               int
	runs                  []run
}

// run is one measurement.
type run struct {
	processes int
	kill      bool // one of them, when a quarter of the tenants is switched
}

func (r run) String() string {
	if r.kill {
		return fmt.Sprintf("%d, one killed", r.processes)
	}
	return strconv.Itoa(r.processes)
}

func parse(args []string) (config, error) {
	var c config
	var processes string
	f := flag.NewFlagSet("many", flag.ContinueOnError)
	f.IntVar(&c.tenants, "tenants", 200, "number of tenants of each run")
	f.IntVar(&c.docs, "docs", 60, "documents per tenant")
	f.IntVar(&c.atOnce, "max-tenants", 16, "tenants in flight at once, over all processes")
	f.IntVar(&c.workers, "workers", 2, "tenants that one process upgrades at once (TMS_WORKERS)")
	f.StringVar(&processes, "processes", "1,2,4,4k", "runs by their number of processes, comma separated; with a k one process is killed")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	if c.tenants < 4 || c.tenants > 999 || c.docs < 0 || c.atOnce < 1 || c.atOnce > 64 || c.workers < 1 || c.workers > 64 {
		return c, fmt.Errorf("tenants %d must be 4..999, docs %d not negative, max-tenants %d and workers %d 1..64", c.tenants, c.docs, c.atOnce, c.workers)
	}
	for _, text := range strings.Split(processes, ",") {
		number, kill := strings.CutSuffix(text, "k")
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 || n > 16 || kill && n < 2 {
			return c, fmt.Errorf("processes: %q is not a number from 1 to 16, or from 2 with a k", text)
		}
		c.runs = append(c.runs, run{n, kill})
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
		err = measure(ctx, cfg)
		stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "many:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, cfg config) (err error) {
	c, err := up(ctx, cfg)
	defer func() { err = errors.Join(err, c.down()) }()
	if err != nil {
		return err
	}
	fmt.Printf("%d tenants of %d documents, %d at once, %d in a process, %s\n\n", cfg.tenants, cfg.docs, cfg.atOnce, cfg.workers, c.stack.Engine.Kind())
	fmt.Println("| processes | s | tenants/s | engine CPU cores | TMS CPU cores | TMS CPU ms a tenant | CPU cores of everything else | longest fence |")
	fmt.Println("|---|---|---|---|---|---|---|---|")
	for i, r := range cfg.runs {
		s, err := c.measure(ctx, i, r)
		if err != nil {
			return fmt.Errorf("%s: %w", r, err)
		}
		fmt.Printf("| %s | %.1f | %.2f | %.2f | %.2f | %.0f | %.2f | %d ms |\n", r, s.took.Seconds(), float64(cfg.tenants)/s.took.Seconds(),
			s.engine.Seconds()/s.took.Seconds(), s.own.Seconds()/s.took.Seconds(), s.own.Seconds()*1000/float64(cfg.tenants), s.others.Seconds()/s.took.Seconds(), s.fence.Milliseconds())
	}
	return nil
}

// build compiles the program under test.
func build(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "tms")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/tms").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return binary, nil
}

// patience bounds one run.
const patience = 20 * time.Minute
