package db

import (
	"context"
	"log/slog"

	"github.com/tracardi/tms/tenants"
)

type purgeTurn struct{}

func (purgeTurn) name() string { return "tenant_purge" }

// purgesAtATime bounds how many automatic purges begin at one look.
const purgesAtATime = 10

// PurgeWork lets a Queue wake and do purges.
func PurgeWork(store *Purges, purges *tenants.Purges) QueuePart {
	return turns[purgeTurn]{
		due: func(ctx context.Context, q *Queue) ([]string, error) {
			if err := beginDue(ctx, store, purges, q.log); err != nil {
				return nil, err
			}
			return dueOperations(ctx, store.registry.db.pool, tenants.KindPurge, workers)
		},
		work: purges.Work, wake: &store.wake,
	}.part()
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
