// Command robustness has TMS upgrade a fleet, forth and back, while everything
// around it fails: processes are killed and frozen, Postgres and the engine
// crash, connections break, calls are refused or arrive late, operators
// meddle. Writers keep writing and readers keep looking; a model says
// afterwards whether anything got lost. See docs/robustness.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(command(os.Args[1:])) }

// command runs and returns the exit code: 0 nothing found, 1 something found
// or the run itself failed, 2 bad usage.
func command(args []string) int {
	opts, err := parse(args, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(os.Stderr, "robustness:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	report, err := run(ctx, opts, newJournal(os.Stdout))
	if report != nil {
		fmt.Print(report)
		if opts.report != "" {
			err = errors.Join(err, report.write(opts.report))
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "robustness:", err)
		return 1
	}
	if len(report.Findings) > 0 {
		return 1
	}
	return 0
}
