package service

import (
	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/upgrader"
)

// rehearsals are played upgrades, and the work on them.
type rehearsals struct {
	store *db.Rehearsals
	work  db.QueuePart
}

func rehearse(database *db.DB, runner *upgrader.Runner) rehearsals {
	store := db.NewRehearsals(database)
	return rehearsals{store, db.RehearsalWork(store, upgrader.NewRehearser(store, runner))}
}
