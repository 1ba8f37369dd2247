// Command scale plans and schedules a fleet that exists on paper: real
// Postgres, real planner, real store, and an engine that answers for ten
// thousand tenants. See docs/benchmarks.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/internal/devstack"
	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/naming"
)

const fromRelease, toRelease = "0.8.1", "0.8.2"

func main() {
	tenants := flag.Int("tenants", 10_000, "number of tenants")
	months := flag.Int("months", 1, "monthly partitions per partitioned resource")
	steps := flag.Int("steps", 200, "turns of a worker on a tenant that are measured")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *tenants, *months, *steps)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, tenants, months, steps int) (err error) {
	if tenants < 1 || months < 1 || months > 24 || steps < 1 {
		return fmt.Errorf("tenants %d and steps %d must be positive, months %d 1..24", tenants, steps, months)
	}
	dir, release, err := devstack.TemporaryDir("scale")
	if err != nil {
		return err
	}
	defer release()
	pg, err := devstack.StartPostgres(ctx, devstack.PostgresOptions{Dir: dir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pg.Stop()) }()
	if err := db.Migrate(ctx, pg.DSN()); err != nil {
		return err
	}
	d, err := db.Open(ctx, pg.DSN())
	if err != nil {
		return err
	}
	defer d.Close()
	_, err = d.Pool().Exec(ctx, `insert into tenants (id, install_token, release, cluster)
		select 'tenant' || to_char(n, 'FM000000'), '', $2, 'default' from generate_series(1, $1) n`, tenants, fromRelease)
	if err != nil {
		return err
	}
	catalogue, err := releases.Builtin()
	if err != nil {
		return err
	}
	from, err := catalogue.Get(fromRelease)
	if err != nil {
		return err
	}
	store := db.NewRollouts(d)
	service := upgrader.NewService(store, &paperEngine{release: from, months: lastMonths(months)}, catalogue, nil)
	moves, err := plan(ctx, service)
	if err != nil {
		return err
	}
	return schedule(ctx, store, moves, steps)
}

// lastMonths are the partitions of this month and those before it.
func lastMonths(n int) []string {
	now := time.Now().UTC()
	out := make([]string, n)
	for i := range out {
		out[i] = naming.PartitionAt(releases.Monthly, time.Date(now.Year(), now.Month()-time.Month(n-1-i), 1, 0, 0, 0, 0, time.UTC))
	}
	return out
}

// plan measures a plan of the whole fleet, and returns what it would move.
func plan(ctx context.Context, s *upgrader.Service) (map[string][]upgrader.PlannedMove, error) {
	debug.FreeOSMemory()
	before := cpu()
	start := time.Now()
	p, err := s.Plan(ctx, upgrader.Request{ToRelease: toRelease})
	if err != nil {
		return nil, err
	}
	took, used := time.Since(start), cpu()-before
	if len(p.Refusals) > 0 {
		return nil, fmt.Errorf("refused: %+v", p.Refusals[0])
	}
	moves, targets, sources := map[string][]upgrader.PlannedMove{}, 0, 0
	for _, t := range p.Tenants {
		moves[t.TenantID] = t.Moves
		targets += len(t.Moves)
		for _, m := range t.Moves {
			sources += len(m.Copies)
		}
	}
	peak := peakMemory()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fmt.Printf("plan: %d tenants, %d sources, %d targets in %.2f s, %.2f s of CPU; %d MB of memory at most, %d MB of them the plan\n",
		len(p.Tenants), sources, targets, took.Seconds(), used.Seconds(), peak>>20, m.HeapAlloc>>20)
	runtime.KeepAlive(p)
	return moves, nil
}

// schedule measures what one turn of a worker on one tenant asks of Postgres,
// in fleets of growing size.
func schedule(ctx context.Context, store *db.Rollouts, planned map[string][]upgrader.PlannedMove, steps int) error {
	fmt.Println("\none turn on one tenant: wake up, lease, load, store tenant and moves, give back")
	for _, size := range []int{10, len(planned) / 10, len(planned)} {
		if size < 1 {
			continue
		}
		r := paperRollout(size)
		start := time.Now()
		if err := store.CreateRollout(ctx, r, planned, ""); err != nil {
			return err
		}
		created := time.Since(start)
		took, err := turns(ctx, store, r, steps)
		if err != nil {
			return err
		}
		fmt.Printf("%6d tenants, ms a turn:", size)
		for _, name := range slices.Sorted(maps.Keys(took)) {
			fmt.Printf(" %s %.2f,", name, took[name].Seconds()*1000/float64(steps))
		}
		fmt.Printf(" rollout stored in %.2f s\n", created.Seconds())
		if err := end(ctx, store, r.ID); err != nil {
			return err
		}
	}
	return nil
}

func paperRollout(size int) *upgrader.Rollout {
	now := time.Now()
	r := &upgrader.Rollout{
		ID: fmt.Sprintf("scale%d", size), ToRelease: toRelease, State: upgrader.RolloutRunning, Wish: upgrader.WishRun,
		Options: upgrader.Options{MaxTenants: 4}.WithDefaults(), CreatedBy: "scale", CreatedAt: now,
	}
	for i := range size {
		r.Tenants = append(r.Tenants, upgrader.RolloutTenant{
			RolloutID: r.ID, TenantID: fmt.Sprintf("tenant%06d", i+1), FromRelease: fromRelease, State: upgrader.TenantPlanned,
			SwitchAllowed: true, NextAt: now, ByMethod: map[upgrader.Method]int{}, DocsTotal: int64(i % 1000),
		})
	}
	return r
}

// turns is the time that Postgres takes for the turns of workers, by question.
func turns(ctx context.Context, store *db.Rollouts, r *upgrader.Rollout, steps int) (map[string]time.Duration, error) {
	spent := map[string]time.Duration{}
	var l *upgrader.Lease
	var t *upgrader.RolloutTenant
	var due []upgrader.Work
	for i := range steps {
		for _, q := range []struct {
			name string
			ask  func() error
		}{
			{"due", func() (err error) { due, err = store.Due(ctx, 4); return err }},
			{"lease", func() (err error) {
				if len(due) == 0 {
					return errors.New("no tenant is due")
				}
				l, err = store.Acquire(ctx, r.ID, due[0].TenantID, "scale", 10*time.Second)
				return err
			}},
			{"load", func() (err error) { _, t, err = store.Load(ctx, r.ID, l.TenantID); return err }},
			{"store tenant", func() error { t.State = upgrader.TenantPrepared; return store.SaveTenant(ctx, l, t) }},
			{"store moves", func() error {
				return store.SaveMoves(ctx, l, upgrader.Move{Target: fmt.Sprintf("target-%d", i)})
			}},
			{"give back", func() error { return store.Release(ctx, l, time.Now(), -1, false) }},
		} {
			start := time.Now()
			if err := q.ask(); err != nil {
				return nil, fmt.Errorf("%s: %w", q.name, err)
			}
			spent[q.name] += time.Since(start)
		}
	}
	return spent, nil
}

// end takes the tenants out of a rollout, so that the next one may have them.
func end(ctx context.Context, store *db.Rollouts, id string) error {
	return store.ChangeRollout(ctx, id, "scale", "cancel", func(r *upgrader.Rollout) error {
		for i := range r.Tenants {
			r.Tenants[i].State = upgrader.TenantCancelled
		}
		r.State = upgrader.RolloutCancelled
		return nil
	})
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peakMemory is the most memory that this process has had resident, in bytes.
func peakMemory() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return u.Maxrss << 10 // kilobytes on Linux
}
