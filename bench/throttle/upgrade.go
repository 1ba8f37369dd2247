package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/elastic"
	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/budget"
)

// The upgrade that is measured.
const (
	fromRelease = "0.8.1"
	toRelease   = "0.8.2"
	readerID    = "throttlereader"
)

// bench is a cluster with one tenant that is read and some that are upgraded,
// and one worker process.
type bench struct {
	cfg     config
	url     string
	db      *db.DB
	store   *db.Rollouts
	service *upgrader.Service
	budgets *budget.Service
	steward *budget.Steward
	queue   *db.Queue
	all     *releases.Catalogue
}

func open(ctx context.Context, cfg config, url, dsn string) (*bench, error) {
	b := &bench{cfg: cfg, url: url}
	var err error
	if b.all, err = releases.Builtin(); err != nil {
		return nil, err
	}
	if err := db.Migrate(ctx, dsn); err != nil {
		return nil, err
	}
	if b.db, err = db.Open(ctx, dsn); err != nil {
		return nil, err
	}
	engine, err := elastic.New(ctx, elastic.Config{URLs: []string{url}, Timeout: 2 * time.Minute})
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	b.store = db.NewRollouts(b.db)
	b.service = upgrader.NewService(b.store, engine, b.all, nil)
	b.budgets = budget.NewService(b.store)
	b.steward = budget.NewSteward(b.store, upgrader.VitalsOf(upgrader.Only(engine)), budget.Default(), "throttle", log)
	if err := b.steward.Begin(ctx, upgrader.DefaultCluster); err != nil {
		return nil, err
	}
	runner := upgrader.NewRunner(b.store, engine, b.all, "throttle", upgrader.Limits{}, log).WithSteward(b.steward)
	if b.queue, err = db.NewQueue(b.db, b.store, runner, log); err != nil {
		return nil, err
	}
	return b, b.install(ctx, readerID, 20_000)
}

func (b *bench) install(ctx context.Context, id string, docs int) error {
	t, err := fleet.New(fleet.Config{URL: b.url, Catalogue: b.all, Release: fromRelease, Tenant: id, Seed: 1, Months: b.cfg.months})
	if err != nil {
		return err
	}
	if err := errors.Join(t.Install(ctx), t.Fill(ctx, docs)); err != nil {
		return err
	}
	_, err = b.db.Pool().Exec(ctx, `insert into tenants (id, install_token, release, cluster) values ($1, '', $2, 'default')`, id, fromRelease)
	return err
}

// part is one part of the run: a budget, and a tenant that is upgraded under it.
type part struct {
	name   string
	tenant string
	change budget.Change
}

func (b *bench) parts() []part {
	off, slowdown := false, 1.5
	one := 1
	return []part{
		{"unlimited", "throttlefree", budget.Change{Adapt: &off}},
		{fmt.Sprintf("%.0f documents/s", b.cfg.perSecond), "throttlefixed", budget.Change{
			Adapt: &off, DocumentsPerSecond: &b.cfg.perSecond, StateUpdates: &b.cfg.updates, CopyTasks: &one,
		}},
		{"adapting, slowdown 1.5", "throttleadapt", budget.Change{SearchSlowdown: &slowdown}},
	}
}

// measure runs all parts, one after the other, on the same cluster.
func (b *bench) measure(ctx context.Context) (err error) {
	for _, p := range b.parts() {
		if err := b.install(ctx, p.tenant, b.cfg.docs); err != nil {
			return err
		}
	}
	if err := b.queue.Start(ctx); err != nil {
		return err
	}
	defer func() {
		sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		err = errors.Join(err, b.queue.Stop(sctx), b.steward.Close(sctx))
	}()
	r := &reader{url: b.url, alias: readerAlias(), every: time.Duration(float64(time.Second) / b.cfg.rate)}
	wait := func(ctx context.Context) (time.Duration, error) { return 0, pause(ctx, b.cfg.idle) }
	if _, err := r.during(ctx, "warm-up", wait); err != nil {
		return err
	}
	// Idle is measured before every part and after the last one: what else the
	// machine does changes within minutes.
	idle := sample{name: "idle"}
	rest := func() error {
		part, err := r.during(ctx, "idle", wait)
		idle.add(part)
		return err
	}
	var all []sample
	for _, p := range b.parts() {
		if err := rest(); err != nil {
			return err
		}
		if _, err := b.budgets.Set(ctx, budget.Command{Cluster: upgrader.DefaultCluster, Reset: true, Change: p.change, Caller: "throttle"}); err != nil {
			return err
		}
		s, err := r.during(ctx, p.name, func(ctx context.Context) (time.Duration, error) { return b.upgrade(ctx, p.tenant) })
		if err != nil {
			return err
		}
		all = append(all, s)
		fmt.Printf("%s: %s, load %s\n", p.name, s.took.Round(time.Second), load())
	}
	if err := rest(); err != nil {
		return err
	}
	report(append([]sample{idle}, all...), b.cfg.docs)
	return nil
}

// pause waits, or ends with ctx.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// readerAlias is the alias of the reader's events.
func readerAlias() string { return "prod-" + readerID + ".tracardi-event" }

func (b *bench) upgrade(ctx context.Context, tenant string) (time.Duration, error) {
	started := time.Now()
	r, err := b.service.Start(ctx, upgrader.Request{ToRelease: toRelease, Options: upgrader.Options{Tenants: []string{tenant}}, Caller: "throttle"})
	if err != nil {
		return 0, err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !r.State.Ended() {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-tick.C:
		}
		if r, err = b.service.Get(ctx, r.ID); err != nil {
			return 0, err
		}
	}
	if r.State != upgrader.RolloutComplete {
		return 0, fmt.Errorf("rollout %s is %s: %s", r.ID, r.State, r.Tenants[0].Reason)
	}
	return time.Since(started), nil
}
