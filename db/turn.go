package db

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
)

// Most kinds of work look alike to the queue: there are rows that say what is to
// be done, who may do it and when, and a turn on one of them is woken by its id.

// kind is one of them. River tells jobs apart by the type of their arguments, so
// that each kind is a type of its own.
type kind interface{ name() string }

// turnArgs wakes one turn on a row.
type turnArgs[K kind] struct {
	ID   string `json:"id"`
	Slot int64  `json:"slot"` // unix time in units of freshness
}

func turnOn[K kind](id string) river.JobArgs { return turnArgs[K]{ID: id, Slot: slot()} }

// Kind implements river.JobArgs.
func (turnArgs[K]) Kind() string {
	var k K
	return k.name()
}

// InsertOpts implements river.JobArgsWithInsertOpts.
func (turnArgs[K]) InsertOpts() river.InsertOpts { return oncePerArgs() }

// turns is how one kind of work is found and done.
type turns[K kind] struct {
	// due are the ids of rows that wait without a living owner, some of them
	// where there are many.
	due func(ctx context.Context, q *Queue) ([]string, error)
	// work does one turn.
	work func(ctx context.Context, id string) error
	// limit bounds a turn: 0 as all jobs of the queue, less than 0 not at all.
	limit time.Duration
	// wake is where the store of the rows keeps its way to wake a turn in the
	// transaction that makes one due; nil where it has none.
	wake *func(ctx context.Context, tx pgx.Tx, id string) error
}

func (t turns[K]) part() QueuePart {
	return QueuePart{
		register: func(ws *river.Workers, log *slog.Logger) error {
			return addWorker(ws, &turnWorker[K]{turns: t, log: log})
		},
		attach: func(q *Queue) {
			if t.wake != nil {
				*t.wake = func(ctx context.Context, tx pgx.Tx, id string) error { return q.wake(ctx, tx, turnOn[K](id)) }
			}
		},
		due: func(ctx context.Context, q *Queue) error {
			ids, err := t.due(ctx, q)
			if err != nil {
				return fmt.Errorf("%s: %w", turnArgs[K]{}.Kind(), err)
			}
			return q.wakeAll(ctx, ids, turnOn[K])
		},
	}
}

type turnWorker[K kind] struct {
	river.WorkerDefaults[turnArgs[K]]
	turns[K]
	log *slog.Logger
}

// Timeout implements river.Worker.
func (w *turnWorker[K]) Timeout(*river.Job[turnArgs[K]]) time.Duration { return w.limit }

// Work implements river.Worker. Errors are logged and not returned: the row says
// when to try again. A job that an older version has made may have its id under
// another name; whoever looks for what is due wakes the row once more.
func (w *turnWorker[K]) Work(ctx context.Context, job *river.Job[turnArgs[K]]) error {
	if job.Args.ID == "" {
		return nil
	}
	if err := w.work(ctx, job.Args.ID); err != nil && ctx.Err() == nil {
		w.log.Warn("turn ended early", "kind", job.Kind, "id", job.Args.ID, "error", err)
	}
	return nil
}
