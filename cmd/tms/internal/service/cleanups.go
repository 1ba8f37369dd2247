package service

import (
	"log/slog"

	"github.com/tracardi/tms/backups"
	"github.com/tracardi/tms/cleanup"
	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/elastic"
)

// cleanups are the removal of versions, and the work on it.
type cleanups struct {
	service *cleanup.Service
	work    db.QueuePart
}

func cleanVersions(database *db.DB, registry *db.Registry, engine *elastic.Client, catalogue cleanup.Catalogue, kept *backups.Service, owner string, log *slog.Logger) cleanups {
	store := db.NewCleanups(database)
	service := cleanup.NewService(cleanup.Config{
		Engine: engine, Registry: registry, Catalogue: catalogue, Store: store, Snapshots: kept, Owner: owner, Log: log,
	})
	return cleanups{service, db.CleanupWork(store, service)}
}
