package db

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"

	"github.com/tracardi/tms/upgrader"
)

// The queue only wakes: a job carries names, what is to be done stands in our
// own rows, and who may do it is decided by their leases. A job lost, doubled
// or late therefore harms nothing.
const (
	// lookEvery is how often every process looks for tenants that are due and
	// have no living owner: it bounds how long a dead worker goes unnoticed
	// beyond its lease.
	lookEvery = time.Second
	// jobTimeout ends a turn on one tenant; the tenant is due again at once.
	jobTimeout = time.Hour
	// freshness of a wake-up: one that was handed to a process which died is
	// repeated after that time, because River would rescue it much later.
	freshness = 5 * time.Second
	// workers per process for work that is not a turn on a tenant, and of how
	// many things one look for due ones wakes.
	workers = 64
)

// tenantArgs is a wake-up for one tenant of a rollout.
type tenantArgs struct {
	Rollout string `json:"rollout"`
	Tenant  string `json:"tenant"`
	Epoch   int64  `json:"epoch"`
	Slot    int64  `json:"slot"` // unix time in units of freshness
}

// Kind implements river.JobArgs.
func (tenantArgs) Kind() string { return "rollout_tenant" }

// InsertOpts implements river.JobArgsWithInsertOpts.
func (tenantArgs) InsertOpts() river.InsertOpts {
	opts := oncePerArgs()
	opts.Queue = tenantQueue
	return opts
}

// tenantQueue has the turns on tenants, which last: they must not keep short
// work waiting, whatever a process is allowed of them.
const tenantQueue = "tenants"

// oncePerArgs inserts a job once and tries it once: its own row says when to
// look again.
func oncePerArgs() river.InsertOpts {
	return river.InsertOpts{MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning,
		rivertype.JobStateRetryable, rivertype.JobStateScheduled,
	}}}
}

// Queue distributes tenants of rollouts over the processes.
type Queue struct {
	store  *Rollouts
	client *river.Client[pgx.Tx]
	log    *slog.Logger
	cancel context.CancelFunc
	done   sync.WaitGroup
	kick   chan struct{}
	parts  []QueuePart
}

// QueuePart adds a kind of work to a Queue.
type QueuePart struct {
	register func(*river.Workers, *slog.Logger) error
	attach   func(*Queue)
	// due inserts jobs for what waits without a living owner.
	due func(ctx context.Context, q *Queue) error
}

// NewQueue makes store wake workers, and, with a runner, works itself; parts
// add other kinds of work. Call Start to begin.
func NewQueue(d *DB, store *Rollouts, runner *upgrader.Runner, log *slog.Logger, parts ...QueuePart) (*Queue, error) {
	q := &Queue{store: store, log: log, kick: make(chan struct{}, 1), parts: parts}
	cfg := &river.Config{
		Logger:                      slog.New(quiet{log.Handler()}),
		JobTimeout:                  jobTimeout,
		FetchCooldown:               20 * time.Millisecond,
		FetchPollInterval:           500 * time.Millisecond,
		CompletedJobRetentionPeriod: 10 * time.Minute,
		DiscardedJobRetentionPeriod: time.Hour,
		Hooks:                       []rivertype.Hook{&dueNow{}},
	}
	if runner != nil {
		ws := river.NewWorkers()
		if err := addWorker(ws, &tenantWorker{runner: runner, queue: q}); err != nil {
			return nil, err
		}
		if err := addWorker(ws, &conductor{runner: runner, log: log}); err != nil {
			return nil, err
		}
		for _, p := range parts {
			if err := p.register(ws, log); err != nil {
				return nil, err
			}
		}
		cfg.Workers = ws
		cfg.Queues = map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: workers}, tenantQueue: {MaxWorkers: runner.Tenants()}}
	}
	client, err := river.NewClient(riverpgxv5.New(d.pool), cfg)
	if err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	q.client = client
	store.wake, store.conduct = q.insert, q.conduct
	for _, p := range parts {
		p.attach(q)
	}
	return q, nil
}

func (q *Queue) insert(ctx context.Context, tx pgx.Tx, work []upgrader.Work) error {
	jobs := make([]river.JobArgs, len(work))
	for i, w := range work {
		jobs[i] = tenantArgs{Rollout: w.RolloutID, Tenant: w.TenantID, Epoch: w.Epoch, Slot: slot()}
	}
	return q.wake(ctx, tx, jobs...)
}

// slot is the stretch of time that a wake-up made now belongs to.
func slot() int64 { return time.Now().Unix() / int64(freshness/time.Second) }

// wake inserts wake-ups of any kind as part of a transaction.
func (q *Queue) wake(ctx context.Context, tx pgx.Tx, jobs ...river.JobArgs) error {
	params := make([]river.InsertManyParams, len(jobs))
	for i, job := range jobs {
		params[i] = river.InsertManyParams{Args: job}
	}
	_, err := q.client.InsertManyTx(ctx, tx, params)
	return err
}

// dueNow has a wake-up due by whoever's clock: River notes ours, and compares it
// with the database's, which may be behind. An InsertOpts.ScheduledAt would not
// do: what it names is looked at every five seconds only.
type dueNow struct{ river.HookDefaults }

// InsertBegin implements rivertype.HookInsertBegin.
func (*dueNow) InsertBegin(_ context.Context, job *rivertype.JobInsertParams) error {
	if job.State == rivertype.JobStateAvailable {
		long := time.Unix(0, 0)
		job.ScheduledAt = &long
	}
	return nil
}

// wakeAll inserts a wake-up for each id, all or none.
func (q *Queue) wakeAll(ctx context.Context, ids []string, job func(id string) river.JobArgs) error {
	if len(ids) == 0 {
		return nil
	}
	jobs := make([]river.JobArgs, len(ids))
	for i, id := range ids {
		jobs[i] = job(id)
	}
	return q.store.db.inTx(ctx, func(tx pgx.Tx) error { return q.wake(ctx, tx, jobs...) })
}

// addWorker registers the worker of one kind of job.
func addWorker[T river.JobArgs](ws *river.Workers, w river.Worker[T]) error {
	if err := river.AddWorkerSafely(ws, w); err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	return nil
}

// Start begins to work and to look for tenants without a living owner.
func (q *Queue) Start(ctx context.Context) error {
	if err := q.client.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	ctx, q.cancel = context.WithCancel(context.WithoutCancel(ctx))
	q.done.Go(func() { q.look(ctx) })
	return nil
}

// Stop ends running work at its next instruction and waits, until ctx ends.
// Nothing is lost: leases are given back.
func (q *Queue) Stop(ctx context.Context) error {
	if q.cancel == nil {
		return nil
	}
	q.cancel()
	err := q.client.StopAndCancel(ctx)
	q.done.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// look wakes tenants that are due: at every tick, and when a turn has ended.
func (q *Queue) look(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-q.kick:
		}
		err := q.wakeDue(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			q.log.Warn("cannot look for due tenants", "error", err)
		}
		failing = err != nil
	}
}

func (q *Queue) wakeDue(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, p := range q.parts {
		if err := p.due(ctx, q); err != nil {
			return err
		}
	}
	if err := q.conductAll(ctx); err != nil {
		return err
	}
	work, err := q.store.Due(ctx, workers)
	if err != nil || len(work) == 0 {
		return err
	}
	return q.store.db.inTx(ctx, func(tx pgx.Tx) error { return q.insert(ctx, tx, work) })
}

// tenantWorker is a turn on one tenant.
type tenantWorker struct {
	river.WorkerDefaults[tenantArgs]
	runner *upgrader.Runner
	queue  *Queue
}

// Work implements river.Worker. Errors are logged and not returned: the
// tenant's own row says when to try again.
func (w *tenantWorker) Work(ctx context.Context, job *river.Job[tenantArgs]) error {
	err := w.runner.Work(ctx, job.Args.Rollout, job.Args.Tenant)
	if err != nil && ctx.Err() == nil {
		w.queue.log.Warn("turn ended early", "rollout", job.Args.Rollout, "tenant", job.Args.Tenant, "error", err)
	}
	select {
	case w.queue.kick <- struct{}{}:
	default:
	}
	return nil
}

// quiet keeps River's own messages below warnings out of the log.
type quiet struct{ slog.Handler }

func (q quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && q.Handler.Enabled(ctx, l)
}

// WithAttrs and WithGroup keep the filter around the handler.
func (q quiet) WithAttrs(a []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(a)} }

// WithGroup implements slog.Handler.
func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name)} }

// queueLock is the advisory lock under which River's tables are migrated:
// "tms" in ASCII, and what it is for.
const queueLock = 0x746d7301

// migrateQueue brings River's tables to the version that this binary needs.
func migrateQueue(ctx context.Context, dsn string) error {
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return fmt.Errorf("migrate queue: %w", failure(err))
	}
	defer pool.Close()
	// Processes that start at the same time wait for each other; the lock goes
	// with its connection.
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("migrate queue: %w", failure(err))
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, `select pg_advisory_lock($1)`, queueLock); err != nil {
		return fmt.Errorf("migrate queue: %w", failure(err))
	}
	m, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("migrate queue: %w", err)
	}
	if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("migrate queue: %w", failure(err))
	}
	return nil
}
