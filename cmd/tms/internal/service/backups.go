package service

import (
	"context"
	"log/slog"

	"github.com/tracardi/tms/backups"
	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/elastic"
)

// keptBackups are snapshots and restores, and the work on them.
type keptBackups struct {
	service *backups.Service
	work    db.QueuePart
	// policies are what is due by the clock.
	policies db.QueuePart
}

func keepBackups(database *db.DB, engine *elastic.Client, where looked, catalogue backups.Catalogue, owner string, log *slog.Logger) keptBackups {
	store := db.NewBackups(database)
	runner := backups.NewRunner(store, engine, catalogue, owner, log).WithEngines(kept{where})
	service := backups.NewService(store, engine, catalogue, nil).WithEngines(kept{where})
	return keptBackups{service, db.BackupWork(store, runner), db.PolicyWork(store, backups.NewScheduler(service, log))}
}

// kept are the clusters as backups see them.
type kept struct{ looked }

// For implements backups.Engines.
func (k kept) For(ctx context.Context, cluster string) (backups.Engine, error) {
	c, err := k.Client(ctx, cluster)
	if err != nil {
		return nil, err
	}
	return c, nil
}
