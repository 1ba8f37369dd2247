// Package backups keeps the way back: snapshot repositories, snapshots of
// tenants and fleets, and restores that are proven.
//
// Snapshots are the search engine's own. What the engine does not know about
// them stands in a Manifest per tenant: release, exact indices with counts,
// sequence numbers and mapping, aliases, templates. Manifests are kept in the
// store and, as documents of a small index, inside the snapshot itself, so
// that a lost database can be rebuilt from the repository (Service.Import).
//
// Work outlives calls: a Run is a row that any process may take over. Next
// decides without I/O what a run does next; the Runner does it under a lease.
// Every step can be repeated: a snapshot is found again by its name, a restore
// by the names of its indices.
//
// Begin with run.go, which decides, and runner.go, which acts (snapshot_work.go,
// restore_work.go); service*.go take requests, ports.go is what is needed of
// others, scheduler.go and policy.go make snapshots without being asked.
//
// It is a pure domain: no SQL, no HTTP, no gRPC.
package backups
