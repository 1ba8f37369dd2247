// Package budget bounds what all work together, in all processes, asks of one
// cluster: tenants in work, copy tasks, updates of the cluster's state, and
// documents per second.
//
// A Budget is what the environment says and operators have set. Adapt looks at
// the Vitals of the cluster and makes a Throttle of them, as congestion control
// does: halved under pressure, given back in steps. What both leave is an
// Allowance. The Store, which is Postgres, shares it among processes; a Steward
// asks for this process's share and hands it out from memory, so that a step
// costs no round trip. The Service is for operators, and has the kill switch.
package budget
