package main

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// options are the flags.
type options struct {
	seed      uint64
	length    time.Duration // of the faults, calm times not counted
	kills     int           // instead of length: until so many processes were killed
	round     time.Duration
	processes int
	tenants   int
	docs      int
	months    int
	rate      float64 // writes per second and tenant
	nodes     int
	faults    []string
	full      bool
	binary    string
	report    string
	keep      bool
}

// parse reads the flags. The error of a bad value names flag, value and what
// would do.
func parse(args []string, out io.Writer) (options, error) {
	var o options
	var faults string
	f := flag.NewFlagSet("robustness", flag.ContinueOnError)
	f.SetOutput(out)
	f.Uint64Var(&o.seed, "seed", 0, "makes the choices of a run those of an earlier one; 0 takes a new seed")
	f.DurationVar(&o.length, "length", 3*time.Minute, "how long things go wrong, in all")
	f.IntVar(&o.kills, "kills", 0, "instead of --length: go on until so many TMS processes were killed; the only fault then, unless --faults says more")
	f.DurationVar(&o.round, "round", 25*time.Second, "how long things go wrong in one rollout at most, before the model is asked")
	f.IntVar(&o.processes, "processes", 3, "tms serve processes")
	f.IntVar(&o.tenants, "tenants", 3, "tenants")
	f.IntVar(&o.docs, "docs", 1200, "documents per tenant at the beginning")
	f.IntVar(&o.months, "months", 2, "monthly partitions")
	f.Float64Var(&o.rate, "rate", 25, "writes per second and tenant")
	f.IntVar(&o.nodes, "nodes", 1, "engine nodes, 1 or 3")
	f.StringVar(&faults, "faults", "all", "what may go wrong, comma-separated, see below; a name after - is left out")
	f.BoolVar(&o.full, "full-layout", false, "tenants with every resource instead of one of each kind")
	f.StringVar(&o.binary, "binary", "", "tms program to test; default: built from this tree")
	f.StringVar(&o.report, "report", "", "write the report as JSON to this file")
	f.BoolVar(&o.keep, "keep", false, "keep the directory with logs and histories even when nothing was found")
	f.Usage = func() {
		fmt.Fprintln(out, "usage: robustness [flags]")
		f.PrintDefaults()
		fmt.Fprintln(out, "faults:")
		for _, one := range catalogue {
			fmt.Fprintf(out, "  %-17s %s\n", one.name, one.what)
		}
	}
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q: everything is a flag", f.Arg(0))
	}
	if o.kills > 0 && faults == "all" {
		faults = "kill"
	}
	var err error
	if o.faults, err = chooseFaults(faults); err != nil {
		return o, err
	}
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	if o.binary != "" && slices.Contains(o.faults, "clock") {
		if faults != "all" {
			return o, fmt.Errorf("--faults %s with --binary %s: the clock of a program that is built already cannot be set; leave clock out, or --binary", faults, o.binary)
		}
		o.faults = slices.DeleteFunc(o.faults, func(f string) bool { return f == "clock" })
	}
	return o, o.check()
}

func (o options) check() error {
	switch {
	case o.nodes != 1 && o.nodes != 3:
		return fmt.Errorf("--nodes %d: take 1 or 3", o.nodes)
	case o.processes < 1 || o.processes > 8:
		return fmt.Errorf("--processes %d: take 1 to 8", o.processes)
	case o.tenants < 1 || o.tenants > 20:
		return fmt.Errorf("--tenants %d: take 1 to 20", o.tenants)
	case o.docs < 1 || o.months < 1 || o.rate <= 0:
		return fmt.Errorf("--docs %d, --months %d and --rate %g must be positive", o.docs, o.months, o.rate)
	case o.kills < 0 || o.round < time.Second || o.length < 0:
		return fmt.Errorf("--kills %d must not be negative, --length %s neither, --round %s at least 1s", o.kills, o.length, o.round)
	}
	return nil
}

// chooseFaults reads "all", "kill,stop" or "all,-watermark".
func chooseFaults(text string) ([]string, error) {
	var chosen []string
	for word := range strings.SplitSeq(text, ",") {
		word = strings.TrimSpace(word)
		name, without := strings.CutPrefix(word, "-")
		switch known := slices.IndexFunc(catalogue, func(f fault) bool { return f.name == name }); {
		case word == "" || word == "none":
		case word == "all":
			for _, f := range catalogue {
				chosen = append(chosen, f.name)
			}
		case known < 0:
			return nil, fmt.Errorf("--faults: %q is none; the faults are %s", name, strings.Join(faultNames(), ", "))
		case without:
			chosen = slices.DeleteFunc(chosen, func(c string) bool { return c == name })
		default:
			chosen = append(chosen, name)
		}
	}
	slices.Sort(chosen)
	return slices.Compact(chosen), nil
}

func faultNames() []string {
	names := make([]string, len(catalogue))
	for i, f := range catalogue {
		names[i] = f.name
	}
	return names
}
