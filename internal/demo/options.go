package demo

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/tracardi/tms/internal/devstack"
	"github.com/tracardi/tms/releases"
)

// Limits of the options: what one machine can be asked to hold.
const (
	maxTenants = 200
	maxDocs    = 1_000_000
	maxMonths  = 24
)

// Options says how large the demonstration is. Default has values for all.
type Options struct {
	Tenants int     // size of the fleet
	Docs    int     // documents per tenant before the upgrade
	From    string  // release that the fleet starts with
	To      string  // release to reach
	Months  int     // monthly partitions, the current one included
	Rate    float64 // writes per second and tenant while the fleet is upgraded
	Seed    uint64  // of documents and of the writers' choices
	Awkward bool    // also documents that upgrade scripts stumble over
	Keep    bool    // leave everything running until interrupted
	Dir     string  // data of the servers, kept; "" is a temporary directory
	Engine  string  // kind of the search engine, "" for the default
	// Binary is the tms program that is run; "" is the running one.
	Binary string
	Out    io.Writer // narration
	Err    io.Writer // error output of child processes
}

// Default is the demonstration without any option: a minute or two on an idle
// machine with two cores.
func Default() Options {
	return Options{Tenants: 5, Docs: 2000, From: "0.8.1", To: "0.8.2", Months: 3, Rate: 20, Seed: 1, Out: os.Stdout, Err: os.Stderr}
}

// Check names every option that is out of range.
func (o Options) Check() error {
	var wrong []error
	number := func(name string, v, least, most int) {
		if v < least || v > most {
			wrong = append(wrong, fmt.Errorf("--%s %d is outside %d..%d", name, v, least, most))
		}
	}
	number("tenants", o.Tenants, 1, maxTenants)
	number("docs", o.Docs, 0, maxDocs)
	number("months", o.Months, 1, maxMonths)
	if o.Rate < 0 || o.Rate > 10_000 {
		wrong = append(wrong, fmt.Errorf("--rate %g is outside 0..10000 writes a second and tenant", o.Rate))
	}
	if _, err := devstack.ParseEngineKind(o.Engine); err != nil {
		wrong = append(wrong, fmt.Errorf("--engine: %w", err))
	}
	catalogue, err := releases.Builtin()
	if err != nil {
		return fmt.Errorf("built-in releases: %w", err)
	}
	switch path, err := catalogue.Path(o.From, o.To); {
	case err != nil:
		wrong = append(wrong, fmt.Errorf("--from %s --to %s: %w", o.From, o.To, err))
	case len(path) == 0:
		wrong = append(wrong, fmt.Errorf("--from %s --to %s: nothing to upgrade: choose a later release", o.From, o.To))
	}
	if o.Dir != "" {
		entries, err := os.ReadDir(o.Dir)
		switch {
		case errors.Is(err, os.ErrNotExist):
		case err != nil:
			wrong = append(wrong, fmt.Errorf("--dir: %w", err))
		case len(entries) > 0:
			wrong = append(wrong, fmt.Errorf("--dir %s is not empty: give a new directory, so that nothing of an earlier run is counted", o.Dir))
		}
	}
	return errors.Join(wrong...)
}
