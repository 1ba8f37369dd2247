package db

import (
	"context"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"github.com/tracardi/tms/tenants"
)

// purgeArgs is a wake-up for one purge. As with rollouts, the operation's own
// row says what is to be done, who may do it and when.
type purgeArgs struct {
	Operation string `json:"operation"`
	Slot      int64  `json:"slot"` // unix time in units of freshness
}

func purgeWake(id string) river.JobArgs { return purgeArgs{Operation: id, Slot: slot()} }

// Kind implements river.JobArgs.
func (purgeArgs) Kind() string { return "tenant_purge" }

// InsertOpts implements river.JobArgsWithInsertOpts.
func (purgeArgs) InsertOpts() river.InsertOpts { return oncePerArgs() }

// purgesAtATime bounds how many automatic purges begin at one look.
const purgesAtATime = 10

// purgeWorker makes one attempt at a purge.
type purgeWorker struct {
	river.WorkerDefaults[purgeArgs]
	purges *tenants.Purges
	log    *slog.Logger
}

// Work implements river.Worker. Errors are logged and not returned: the
// operation's own row says when to try again.
func (w *purgeWorker) Work(ctx context.Context, job *river.Job[purgeArgs]) error {
	if err := w.purges.Work(ctx, job.Args.Operation); err != nil && ctx.Err() == nil {
		w.log.Warn("purge not complete yet", "operation", job.Args.Operation, "error", err)
	}
	return nil
}

// QueuePart adds a kind of work to a Queue.
type QueuePart struct {
	register func(*river.Workers, *slog.Logger) error
	attach   func(*Queue)
	// due inserts jobs for what waits without a living owner.
	due func(ctx context.Context, q *Queue) error
}

// PurgeWork lets a Queue wake and do purges.
func PurgeWork(store *Purges, purges *tenants.Purges) QueuePart {
	return QueuePart{
		register: func(ws *river.Workers, log *slog.Logger) error {
			return addWorker(ws, &purgeWorker{purges: purges, log: log})
		},
		attach: func(q *Queue) { store.wake = q.insertPurge },
		due: func(ctx context.Context, q *Queue) error {
			if err := beginDue(ctx, store, purges, q.log); err != nil {
				return err
			}
			ids, err := dueOperations(ctx, store.registry.db.pool, tenants.KindPurge, workers)
			if err != nil {
				return err
			}
			return q.wakeAll(ctx, ids, purgeWake)
		},
	}
}

// beginDue starts the purges whose time has come: a few at a time, the rest at
// the next look. One that cannot be started holds up nothing else.
func beginDue(ctx context.Context, store *Purges, purges *tenants.Purges, log *slog.Logger) error {
	if !purges.Automatic() {
		return nil
	}
	ids, err := store.dueTenants(ctx, purgesAtATime)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := purges.BeginDue(ctx, id); err != nil {
			log.Warn("due purge not begun", "tenant", id, "error", err)
		}
	}
	return nil
}

func (q *Queue) insertPurge(ctx context.Context, tx pgx.Tx, id string) error {
	return q.wake(ctx, tx, purgeWake(id))
}
