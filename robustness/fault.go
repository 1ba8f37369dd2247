package main

import (
	"context"
	"fmt"
	"time"
)

// target says what a fault hits; only one fault at a time hits the same thing.
type target string

const (
	hitsProcess  target = "process"
	hitsLink     target = "link" // the connections of one process
	hitsNode     target = "node"
	hitsPostgres target = "postgres"
	hitsCluster  target = "cluster" // settings of the whole cluster
	hitsRollout  target = "rollout" // commands
)

// fault is something that goes wrong, or somebody who meddles.
type fault struct {
	name, what        string
	hits              target
	weight            int
	shortest, longest time.Duration // how long it lasts
	// excuse says that a tenant may fail because of it, and that the operator
	// has to retry afterwards.
	excuse bool
	// inflict makes it happen and returns what ends it. Both are called once;
	// heal gets a context of its own.
	inflict func(context.Context, *site, strike) (heal func(context.Context) error, err error)
}

// thing names what a strike hits. Any node down is the whole engine's trouble.
func (f fault) thing(n int) string {
	if f.hits == hitsProcess || f.hits == hitsLink {
		return fmt.Sprint(f.hits, n)
	}
	return string(f.hits)
}

// catalogue lists the faults. Those of lease length and beyond are as long as
// they are because upgrader.Limits.LeaseTTL is 6 s.
var catalogue []fault

func init() { // the functions refer to the catalogue
	const second = time.Second
	catalogue = []fault{
		{"kill", "kill -9 of a TMS process, started again", hitsProcess, 12, 0, 2 * second, false, killProcess},
		{"stop", "SIGSTOP of a TMS process for longer than its leases live", hitsProcess, 6, 5 * second, 12 * second, false, stopProcess},
		{"late", "changes of a TMS process that is then frozen reach the engine after its leases ran out", hitsProcess, 6, 8 * second, 12 * second, false, lateChanges},
		{"clock", "the clock of a TMS process jumps, by seconds or hours, and back", hitsProcess, 4, 2 * second, 12 * second, false, jumpClock},
		{"postgres-kill", "kill -9 of all of Postgres, started again", hitsPostgres, 2, 0, 4 * second, false, killPostgres},
		{"postgres-restart", "Postgres restarted in order", hitsPostgres, 1, 0, 0, false, restartPostgres},
		{"node-kill", "kill -9 of an engine node, started again", hitsNode, 2, 0, 3 * second, false, killNode},
		{"node-pause", "an engine node answers nothing for a while", hitsNode, 2, second, 8 * second, false, pauseNode},
		{"cut-engine", "connections of a TMS process to the engine are reset, refused or swallow everything", hitsLink, 4, second / 2, 9 * second, false, cutEngine},
		{"cut-postgres", "the same to Postgres", hitsLink, 4, second / 2, 9 * second, false, cutPostgres},
		{"slow-engine", "answers of the engine to a TMS process come up to a second late", hitsLink, 3, 2 * second, 8 * second, false, slowEngine},
		{"slow-postgres", "answers of Postgres to a TMS process come up to half a second late", hitsLink, 2, 2 * second, 8 * second, false, slowPostgres},
		{"reject", "every third call of a TMS process is answered 429", hitsLink, 3, second, 6 * second, false, reject},
		{"unavailable", "every third call of a TMS process is answered 503, carried out or not", hitsLink, 3, second, 6 * second, false, unavailable},
		{"shards", "no shard more fits into the cluster", hitsCluster, 1, 2 * second, 5 * second, true, fillShardBudget},
		{"watermark", "the disk is full by the engine's watermarks: indices become read-only", hitsCluster, 1, 10 * second, 14 * second, false, raiseWatermark},
		{"second", "another rollout is started for the same tenants", hitsRollout, 2, 0, 0, true, secondRollout},
		{"operator", "pause, resume, cancel, retry, switch or rollback, whatever comes to mind", hitsRollout, 4, 0, 0, true, meddle},
	}
}

func faultByName(name string) fault {
	for _, f := range catalogue {
		if f.name == name {
			return f
		}
	}
	panic("no fault is called " + name) // names come out of chosen
}

// nothing heals a fault that leaves nothing behind.
func nothing(context.Context) error { return nil }
