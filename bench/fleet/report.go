package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// sample is one measured run.
type sample struct {
	took   time.Duration
	fence  time.Duration // longest of the run; 0 for the bare loop
	own    time.Duration // CPU of this process
	engine time.Duration // CPU of the engine

	control control // of TMS only
}

// results are the samples of each variant, by round.
type results struct {
	variants []string // the first is the base
	samples  map[string][]sample
}

func (r *results) add(variant string, s sample) { r.samples[variant] = append(r.samples[variant], s) }

func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	if len(s) == 0 {
		return 0
	}
	if len(s)%2 == 1 {
		return s[len(s)/2]
	}
	return (s[len(s)/2-1] + s[len(s)/2]) / 2
}

// print writes the table of runs, then that of ratios pair by pair.
func (r *results) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "variant\tseconds: median\tmin\tmax\tlongest fence ms\tCPU s: this process\tengine")
	for _, v := range r.variants {
		var took, own, engine []float64
		var fence time.Duration
		for _, s := range r.samples[v] {
			took, own, engine = append(took, s.took.Seconds()), append(own, s.own.Seconds()), append(engine, s.engine.Seconds())
			fence = max(fence, s.fence)
		}
		fmt.Fprintf(t, "%s\t%.2f\t%.2f\t%.2f\t%d\t%.2f\t%.2f\n", v, median(took), slices.Min(took), slices.Max(took), fence.Milliseconds(), median(own), median(engine))
	}
	_ = t.Flush()
	base := r.samples[r.variants[0]]
	for _, v := range r.variants[1:] {
		var ratios []float64
		for i, s := range r.samples[v] {
			ratios = append(ratios, s.took.Seconds()/base[i].took.Seconds())
		}
		fmt.Fprintf(w, "%s / %s: median %.2f, pairs", v, r.variants[0], median(ratios))
		for _, x := range ratios {
			fmt.Fprintf(w, " %.2f", x)
		}
		fmt.Fprintln(w)
	}
}

// printBreakdown writes where the time of one run went, per tenant.
func printBreakdown(w io.Writer, m *meter) {
	n := len(m.tenants)
	per := func(d time.Duration) float64 { return d.Seconds() * 1000 / float64(n) }
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "step\tms per tenant\tengine in flight\tonly Postgres\tneither\t")
	steps := m.breakdown()
	for _, s := range steps {
		fmt.Fprintf(t, "%s\t%.0f\t%.0f\t%.0f\t%.0f\t\n", s.step, per(s.wall), per(s.engine), per(s.store), per(s.wall-s.engine-s.store))
	}
	_ = t.Flush()
	fmt.Fprintln(w)
	fmt.Fprintln(t, "step\toperation\tcalls per tenant\tms per tenant\tms per call\tlongest ms\t")
	for _, s := range steps {
		for _, o := range s.ops {
			fmt.Fprintf(t, "%s\t%s\t%.1f\t%.0f\t%.1f\t%.0f\t\n", s.step, o.op, float64(o.calls)/float64(n), per(o.sum),
				o.sum.Seconds()*1000/float64(o.calls), o.longest.Seconds()*1000)
		}
	}
	_ = t.Flush()
}
