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
}

func keepBackups(database *db.DB, engine *elastic.Client, catalogue backups.Catalogue, owner string, log *slog.Logger) keptBackups {
	store := db.NewBackups(database)
	runner := backups.NewRunner(store, engine, catalogue, owner, log)
	return keptBackups{backups.NewService(store, engine, catalogue, nil), db.BackupWork(store, runner)}
}
