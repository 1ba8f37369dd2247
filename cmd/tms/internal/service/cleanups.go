package service

import (
	"context"
	"log/slog"

	"github.com/tracardi/tms/backups"
	"github.com/tracardi/tms/cleanup"
	"github.com/tracardi/tms/db"
)

// cleanups are the removal of versions, and the work on it.
type cleanups struct {
	service *cleanup.Service
	work    db.QueuePart
}

func cleanVersions(database *db.DB, registry *db.Registry, where looked, catalogue cleanup.Catalogue, kept *backups.Service, owner string, log *slog.Logger) cleanups {
	store := db.NewCleanups(database)
	service := cleanup.NewService(cleanup.Config{
		Clusters: cleaned{where}, Registry: registry, Catalogue: catalogue, Store: store, Snapshots: kept, Owner: owner, Log: log,
	})
	return cleanups{service, db.CleanupWork(store, service)}
}

// cleaned are the clusters as cleanups see them.
type cleaned struct{ looked }

// Engine implements cleanup.Clusters.
func (c cleaned) Engine(ctx context.Context, cluster string) (cleanup.Engine, error) {
	client, err := c.Client(ctx, cluster)
	if err != nil {
		return nil, err
	}
	return client, nil
}
