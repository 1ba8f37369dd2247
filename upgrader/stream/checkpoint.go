package stream

import (
	"maps"
	"slices"
)

// Checkpoint is the highest sequence number per shard up to which something was
// done with the documents of an index; -1, as well as a shard that is not in it,
// for nothing. It is stored as JSON.
type Checkpoint map[int]int64

// ShardsIn are the shards of a checkpoint, ascending.
func ShardsIn(m map[int]int64) []int { return slices.Sorted(maps.Keys(m)) }

// Never says that an index with these highest sequence numbers has never seen a
// write, a deletion included.
func Never(seq map[int]int64) bool {
	for _, n := range seq {
		if n >= 0 {
			return false
		}
	}
	return true
}

// Writes is the number of operations that an index with these highest sequence
// numbers has taken, deletions and updates included.
func Writes(seq map[int]int64) (n int64) {
	for _, last := range seq {
		n += last + 1
	}
	return n
}

// Beyond says whether now is past the checkpoint in any shard.
func Beyond(checkpoint Checkpoint, now map[int]int64) bool {
	for shard, n := range now {
		c, ok := checkpoint[shard]
		if !ok {
			c = -1
		}
		if n > c {
			return true
		}
	}
	return false
}

// At is the checkpoint of a shard, -1 when there is none.
func (c Checkpoint) At(shard int) int64 {
	if n, ok := c[shard]; ok {
		return n
	}
	return -1
}

// CheckpointOf is a checkpoint of its own, never nil, with the numbers that an
// engine has told.
func CheckpointOf(m map[int]int64) Checkpoint {
	out := make(Checkpoint, len(m))
	maps.Copy(out, m)
	return out
}
