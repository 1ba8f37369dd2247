// Package stream reads documents of an index in the order in which they were
// written.
//
// Every write takes a sequence number in its shard. A Checkpoint says up to which
// numbers something was done, so that whoever goes on reads what lies behind:
// ReadShard, ReadAhead and ReadAll page through a window of numbers at a time,
// without any state in the engine. What a Pager answers is what was refreshed.
package stream
