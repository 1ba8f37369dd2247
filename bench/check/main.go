// Command check measures what Tracardi containers ask TMS for every request of
// theirs against the least that gRPC and net/http can do. It builds the
// benchmark of package server and runs it several times, so that the two sides
// of each ratio alternate and share a process, a moment and a machine. See
// docs/benchmarks.md.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// contest is one ratio: of the base's time per request to ours, so that 1
// means no overhead and 0.5 half the throughput.
type contest struct {
	name, base, ours string
	aim              float64 // 0 for none, where the base does less than any service must
}

var contests = []contest{
	{"Check over gRPC / empty RPC with the same interceptors", "grpc/empty", "grpc/check", 0.8},
	{"Check over gRPC / empty RPC without interceptors", "grpc/bare", "grpc/check", 0},
	{"GET /tenant/{id} / bare net/http handler", "http/bare", "http/tenant", 0.6},
}

func main() {
	rounds := flag.Int("rounds", 5, "runs of the whole benchmark")
	each := flag.Duration("benchtime", 2*time.Second, "time for each of its four parts")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *rounds, *each)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "check:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, rounds int, each time.Duration) (err error) {
	if rounds < 1 || each <= 0 {
		return fmt.Errorf("rounds %d and benchtime %s must be positive", rounds, each)
	}
	dir, err := os.MkdirTemp("", "tms-bench-check")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	binary := filepath.Join(dir, "server.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, "github.com/tracardi/tms/server")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build the benchmark of package server: %w", err)
	}
	fmt.Printf("%d rounds of %s for each part, %d cores; server and clients in one process\n", rounds, each, runtime.NumCPU())
	var all []map[string]float64
	for i := range rounds {
		found, err := once(ctx, binary, dir, each)
		if err != nil {
			return err
		}
		all = append(all, found)
		fmt.Printf("round %d ", i+1)
		for _, c := range contests {
			fmt.Printf("  %s %.1f µs, %s %.1f µs", c.base, found[c.base]/1000, c.ours, found[c.ours]/1000)
		}
		fmt.Println()
	}
	for _, c := range contests {
		c.print(all)
	}
	return nil
}

// once runs the benchmark and returns nanoseconds per request by its part.
func once(ctx context.Context, binary, dir string, each time.Duration) (map[string]float64, error) {
	cmd := exec.CommandContext(ctx, binary, "-test.run", "^$", "-test.bench", "^BenchmarkCheck$", "-test.benchtime", each.String())
	cmd.Dir = dir
	// An interrupted run stops its servers before it ends.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("benchmark of package server: %w\n%s", err, out)
	}
	found := parse(out)
	for _, c := range contests {
		if found[c.base] == 0 || found[c.ours] == 0 {
			return nil, fmt.Errorf("benchmark of package server: no figure for %s or %s in\n%s", c.base, c.ours, out)
		}
	}
	return found, nil
}

// parse reads lines such as "BenchmarkCheck/grpc/empty-2  12345  98765 ns/op".
func parse(out []byte) map[string]float64 {
	found := map[string]float64{}
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		name, rest, ok := strings.Cut(lines.Text(), "\t")
		name, isOurs := strings.CutPrefix(strings.TrimSpace(name), "BenchmarkCheck/")
		fields := strings.Fields(rest)
		unit := slices.Index(fields, "ns/op")
		if !ok || !isOurs || unit < 1 {
			continue
		}
		if i := strings.LastIndexByte(name, '-'); i > 0 { // GOMAXPROCS
			name = name[:i]
		}
		if v, err := strconv.ParseFloat(fields[unit-1], 64); err == nil {
			found[name] = v
		}
	}
	return found
}

func (c contest) print(all []map[string]float64) {
	var ratios []float64
	for _, found := range all {
		ratios = append(ratios, found[c.base]/found[c.ours])
	}
	sorted := slices.Sorted(slices.Values(ratios))
	aim := "no aim"
	if c.aim > 0 {
		aim = fmt.Sprintf("aim %.1f", c.aim)
	}
	fmt.Printf("%s: median %.2f, min %.2f, max %.2f (%s), rounds", c.name, median(sorted), sorted[0], sorted[len(sorted)-1], aim)
	for _, r := range ratios {
		fmt.Printf(" %.2f", r)
	}
	fmt.Println()
}

// median of sorted values, of which there is at least one.
func median(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
