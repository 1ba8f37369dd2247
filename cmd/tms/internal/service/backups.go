package service

import (
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

func keepBackups(database *db.DB, engine *elastic.Client, catalogue backups.Catalogue, owner string, log *slog.Logger) keptBackups {
	store := db.NewBackups(database)
	runner := backups.NewRunner(store, engine, catalogue, owner, log)
	service := backups.NewService(store, engine, catalogue, nil)
	return keptBackups{service, db.BackupWork(store, runner), db.PolicyWork(store, backups.NewScheduler(service, log))}
}
