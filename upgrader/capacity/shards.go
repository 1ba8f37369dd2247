package capacity

// Shards is a cluster's limit on open shards and its use.
type Shards struct {
	Open         int // primaries and replicas of open indices, unassigned included
	MaxPerNode   int // cluster.max_shards_per_node in force
	DataNodes    int
	SettingsFrom string // "default", "persistent" or "transient": where MaxPerNode comes from
}

// Limit is the number of shards at which the cluster refuses new indices.
func (b Shards) Limit() int { return b.MaxPerNode * b.DataNodes }

// PerNode is the value of cluster.max_shards_per_node that so many shards on so
// many data nodes need.
func PerNode(shards, nodes int) int { return (shards + nodes - 1) / max(1, nodes) }

// ShardForecast is the use of a cluster's shard limit by a rollout. Now, New,
// Peak and Limit count shards of the whole cluster, replicas included.
type ShardForecast struct {
	Now, New, Peak, Limit int
	MaxPerNode, DataNodes int
	// Needed is the value of cluster.max_shards_per_node that would do.
	Needed int
	// Raise is the level at which TMS will raise the setting to Needed; "" when
	// it will not.
	Raise string
	// Level is where a change of the setting would count.
	Level string
}

// SetPeak takes over how many shards are open at most, and what that needs.
func (f *ShardForecast) SetPeak(shards int) {
	f.Peak = shards
	if f.DataNodes > 0 {
		f.Needed = PerNode(shards, f.DataNodes)
	}
}

// Plus adds what adds up. The setting in force and the one needed are those of
// the cluster with less room: numbers of nodes' limits have no sum.
func (f ShardForecast) Plus(o ShardForecast) ShardForecast {
	tight := f
	if o.Limit-o.Peak < f.Limit-f.Peak {
		tight = o
	}
	return ShardForecast{
		Now: f.Now + o.Now, New: f.New + o.New, Peak: f.Peak + o.Peak, Limit: f.Limit + o.Limit, DataNodes: f.DataNodes + o.DataNodes,
		MaxPerNode: tight.MaxPerNode, Needed: tight.Needed, Raise: tight.Raise, Level: tight.Level,
	}
}
