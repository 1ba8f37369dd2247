// Package capacity is the arithmetic of what a cluster can hold: shards below its
// limit, and disk below the engine's watermark. It has no I/O and no clock, and
// knows no index.
//
// Before a rollout, a Situation plays it through: Forecast says what it needs at
// most and how many tenants fit at once, Waves what each wave adds. While it
// runs, Room decides whether one more tenant fits, beside those that were let in
// and have not taken theirs yet. Shards count replicas; disk is in bytes,
// replicas included.
package capacity
