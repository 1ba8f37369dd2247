// Package db keeps everything in Postgres: the registry, rollouts and the
// queue that wakes workers. It implements the stores of the domains.
//
// Begin with db.go (the pool, its deadlines, the migrations) and the tables in
// migrations/. There is a file per store, named after what it keeps. Those of
// rollouts are the heart: rollouts.go reads and changes them, rollouts_work.go
// has what a worker does under its lease, waves*.go and conductor.go have what
// moves waves on, quarantine.go and verification.go what workers find. A change
// that needs a lease names its epoch, and is upgrader.ErrLeaseLost (or that of
// its domain) when somebody else has it by now.
//
// queue.go puts River to work: a job carries names, and who may do what is
// decided by leases in our own rows. Each domain adds a QueuePart, most of them
// made of turns (turn.go). failure.go makes errors of Postgres into those of the domains, and
// says which are worth another try. Stores are safe for concurrent use; each call
// makes its changes in one transaction, bounded by the deadline of its context and
// by the statement timeout of the pool.
package db
