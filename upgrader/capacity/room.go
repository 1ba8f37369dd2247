package capacity

import "fmt"

// Need is what a tenant is about to take of its cluster.
type Need struct {
	Shards int   // of indices that are not created yet, replicas included
	Bytes  int64 // of documents that are not copied yet, replicas included
}

// Room are what it is decided by whether a tenant fits into its cluster.
type Room struct {
	Shards Shards
	Disk   Disk // Limit 0: the engine watches no disk
	// Need is the tenant's; Others have been let in and are about to take theirs.
	Need, Others Need
	// Raise says what TMS does about the shard limit; "" when nothing.
	Raise string
}

// LacksShards is "" when there are shards enough, otherwise a sentence why not
// and what helps.
func (r Room) LacksShards() string {
	limit, sum := r.Shards.Limit(), r.Shards.Open+r.Others.Shards+r.Need.Shards
	if r.Need.Shards == 0 || sum <= limit {
		return ""
	}
	help := fmt.Sprintf("finalize other tenants, add data nodes, or set cluster.max_shards_per_node to %d", PerNode(sum, r.Shards.DataNodes))
	if r.Raise != "" {
		help = r.Raise
	}
	return fmt.Sprintf("%d shards are open and %d are about to be created for others; %d more would be over the limit of %d; %s",
		r.Shards.Open, r.Others.Shards, r.Need.Shards, limit, help)
}

// LacksDisk is for disk what LacksShards is for shards.
func (r Room) LacksDisk() string {
	if r.Disk.Limit == 0 || r.Need.Bytes == 0 || r.Disk.Used+r.Others.Bytes+r.Need.Bytes <= r.Disk.Limit {
		return ""
	}
	return fmt.Sprintf("%s of disk are used and %s are about to be for others; %s more would be over the watermark %s at %s; finalize other tenants, or add disk",
		sizeText(r.Disk.Used), sizeText(r.Others.Bytes), sizeText(r.Need.Bytes), r.Disk.Watermark, sizeText(r.Disk.Limit))
}

// Beyond is the value of cluster.max_shards_per_node to ask for when wanted was
// asked for, is in force and does not do; 0 for none. What others are about to
// take shows soon in what is open, and is not counted twice.
func (r Room) Beyond(wanted int) int {
	if r.Shards.MaxPerNode < wanted || r.Shards.Open+r.Need.Shards <= r.Shards.Limit() {
		return 0
	}
	return PerNode(r.Shards.Open+r.Need.Shards, r.Shards.DataNodes)
}
