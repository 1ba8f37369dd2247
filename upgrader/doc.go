// Package upgrader brings tenants from one release of Tracardi to another while
// they are in use, and back.
//
// Begin with rollout.go, which has the rows and their states, and machine.go,
// which decides from them without I/O and without a clock what comes next for a
// tenant (NextStep, NextState) and for the rollout (Summarize). advance.go does
// the same for waves, gate.go for whether a tenant may start. store.go and
// engine.go are what the package needs of Postgres and of the search cluster.
//
// Two parts act. The Service is for those who ask: plan.go and what stands
// around it (layout.go, method.go, clusters.go, waveplan.go) make a Plan, and
// service.go, steering.go and approve.go turn commands into wishes. The Runner
// is for workers: session.go has one worker's turn on one tenant, and a file for
// each step that a turn may take, in their order: prepare.go, copy.go (clone.go,
// sweep.go), catchup.go, compare.go, fence.go (reconcile.go, vanished.go),
// switch.go; then rollback.go with carry.go and wayback.go for the way back.
// lease.go and guard.go keep a worker that has lost its tenant from harm.
//
// What has been proven is looked at again by errands (errand.go: recheck.go,
// repair.go, redrive.go). A rehearsal (rehearsal_work.go) takes the same steps
// on a stage of its own. Everything that needs no rollout to be understood is in
// a package below this one: naming, schema, stream, verify, estimate, capacity,
// shardlimit, strategy, budget, tenure; report is on top of it.
package upgrader
