// Package shardlimit raises cluster.max_shards_per_node while rollouts have both
// versions stand, and puts it back.
//
// That is owed from the moment at which somebody asks for it, whatever dies
// meanwhile: what was there before is stored before it is changed, and any
// process goes on from the row. A Limit is such a row, and a Claim what one
// rollout needs of it. Limit and Claim decide, without I/O and without a clock; a
// Keeper acts, between the Store, which is Postgres, and an Engine.
package shardlimit
