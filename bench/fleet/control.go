package main

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/tracardi/tms/bench/usage"
)

// control is what running the upgrade, apart from the engine's work, has cost.
type control struct {
	steps    int64         // steps of tenants
	executed time.Duration // that Postgres spent on carrying statements out
	postgres time.Duration // that, and what it spent on taking them in and on commits, the benchmark's question for the end included
	memory   int64         // most resident bytes of this process
}

// controlMeter measures a run of TMS: before and after it.
type controlMeter struct {
	c      *cluster
	before time.Duration
	steps  atomic.Int64
}

func (c *cluster) controlMeter(ctx context.Context) (*controlMeter, error) {
	before, err := c.activeTime(ctx)
	if err != nil {
		return nil, err
	}
	usage.ResetPeak()
	_, err = c.db.Pool().Exec(ctx, `select pg_stat_statements_reset()`)
	return &controlMeter{c: c, before: before}, err
}

func (m *controlMeter) end(ctx context.Context) (control, error) {
	memory := usage.Peak()
	after, err := m.c.activeTime(ctx)
	if err != nil {
		return control{}, err
	}
	executed, err := m.c.executionTime(ctx)
	return control{m.steps.Load(), executed, max(0, after-m.before), memory}, err
}

// activeTime is how long Postgres has spent on statements of this database.
// Sessions tell when they have been idle for a while: new ones ask, and the
// figures are settled when they stop growing.
func (c *cluster) activeTime(ctx context.Context) (time.Duration, error) {
	tick := time.NewTicker(1500 * time.Millisecond) // sessions report once a second at most
	defer tick.Stop()
	for last := -1.0; ; {
		var ms float64
		err := c.db.Pool().QueryRow(ctx, `select active_time from pg_stat_database where datname = current_database()`).Scan(&ms)
		if err != nil {
			return 0, err
		}
		if ms-last < 1 {
			return time.Duration(ms * float64(time.Millisecond)), nil
		}
		last = ms
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-tick.C:
		}
	}
}

// executionTime is how long Postgres has carried out statements, but those of
// the benchmark, since its statistics were reset.
func (c *cluster) executionTime(ctx context.Context) (time.Duration, error) {
	var ms float64
	err := c.db.Pool().QueryRow(ctx, `select coalesce(sum(s.total_exec_time + s.total_plan_time), 0)
		from pg_stat_statements s join pg_database d on d.oid = s.dbid
		where d.datname = current_database() and s.query not like '%/* benchmark */%' and s.query not like '%pg_stat_%'`).Scan(&ms)
	return time.Duration(ms * float64(time.Millisecond)), err
}

// printControl writes what control has cost, medians of the runs.
func (r *results) printControl(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "variant\tsteps\tPostgres ms a step: statements\twith commits\tmemory MB at most")
	for _, v := range r.variants[1:] {
		var steps, statements, perStep, memory []float64
		for _, s := range r.samples[v] {
			steps, memory = append(steps, float64(s.control.steps)), append(memory, float64(s.control.memory)/(1<<20))
			statements = append(statements, s.control.executed.Seconds()*1000/float64(max(1, s.control.steps)))
			perStep = append(perStep, s.control.postgres.Seconds()*1000/float64(max(1, s.control.steps)))
		}
		fmt.Fprintf(t, "%s\t%.0f\t%.2f\t%.2f\t%.0f\n", v, median(steps), median(statements), median(perStep), median(memory))
	}
	_ = t.Flush()
}
