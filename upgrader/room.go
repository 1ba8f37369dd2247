package upgrader

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tracardi/tms/upgrader/capacity"
	"github.com/tracardi/tms/upgrader/naming"
	"github.com/tracardi/tms/upgrader/shardlimit"
)

// Before a tenant is prepared it is looked again whether what it needs fits
// into its cluster: the plan is of the start, and others live there too. A
// tenant for which there is no room waits, and goes on by itself when old
// versions were finalized or removed, or the limit was raised.

// Gates that ask for room.
const (
	GateShardBudget  = "shard_budget"
	GateDiskHeadroom = "disk_headroom"
)

// RoomStore gives out room, one tenant after the other.
type RoomStore interface {
	// TakeRoom tells decide what tenants of the cluster that have passed the
	// gates are about to take, other than the lease's, and stores need as the
	// lease's when decide says that it fits. Who decides for a cluster waits
	// for all others who do.
	TakeRoom(ctx context.Context, l *Lease, need capacity.Need, decide func(others capacity.Need) bool) error
	// WantShards says that a rollout that may raise the shard limit of a
	// cluster needs that value of cluster.max_shards_per_node.
	WantShards(ctx context.Context, rollout, cluster string, wanted int) error
	// ShardClaims are what a rollout needs of shard limits, and what became of it.
	ShardClaims(ctx context.Context, rollout string) ([]shardlimit.Claim, error)
}

// roomAge is how old figures of a cluster may be that tenants are let in by.
// Those that others take meanwhile are counted as taken.
const roomAge = time.Second

// roomReader reads a cluster's figures for all tenants of a process. Safe for
// concurrent use.
type roomReader struct {
	mu    sync.Mutex
	rooms map[string]*roomReading
}

type roomReading struct {
	mu     sync.Mutex
	at     time.Time
	shards capacity.Shards
	disk   capacity.Disk
}

// read returns figures that are at most roomAge old. Who comes while they are
// read waits for them.
func (r *roomReader) read(ctx context.Context, cluster string, engine Engine) (capacity.Shards, capacity.Disk, error) {
	r.mu.Lock()
	if r.rooms == nil {
		r.rooms = map[string]*roomReading{}
	}
	x := r.rooms[cluster]
	if x == nil {
		x = &roomReading{}
		r.rooms[cluster] = x
	}
	r.mu.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	if time.Since(x.at) < roomAge {
		return x.shards, x.disk, nil
	}
	asked := time.Now()
	shards, err := engine.Shards(ctx)
	if err != nil {
		return capacity.Shards{}, capacity.Disk{}, err
	}
	var disk capacity.Disk
	if d, ok := engine.(Disks); ok {
		if disk, err = d.Disk(ctx); err != nil {
			return capacity.Shards{}, capacity.Disk{}, err
		}
	}
	x.at, x.shards, x.disk = asked, shards, disk
	return shards, disk, nil
}

// need is what the tenant's moves are about to take. Targets that stand already,
// because a worker has died while it made them or a rollback has left them, are
// replaced: their shards are among the open ones.
func (s *session) need(standing []Index) capacity.Need {
	var n capacity.Need
	for _, m := range s.moves {
		if m.State == MovePlanned && !slices.ContainsFunc(standing, func(ix Index) bool { return ix.Name == m.Target }) {
			n.Shards += shardsOf(s.l.resource(m.Resource)) * (1 + m.Replicas)
		}
		for _, c := range m.Copies {
			if c.State == CopyPlanned && m.Method != MethodClone && !c.Foreign {
				n.Bytes += c.Bytes * int64(1+m.Replicas)
			}
		}
	}
	return n
}

// roomFor are the gates shard_budget and disk_headroom: nothing of a tenant is
// made for which there is no room in its cluster.
func (s *session) roomFor(ctx context.Context) (Outcome, error) {
	standing, err := s.engine.Indices(ctx, s.naming().Patterns(s.l.to.Prefix, naming.Staging, naming.Production, naming.Static)...)
	if err != nil {
		return OutcomeRetry, err
	}
	need := s.need(standing)
	if need == (capacity.Need{}) {
		return OutcomeDone, nil
	}
	f := capacity.Room{Need: need}
	if f.Shards, f.Disk, err = s.r.room.read(ctx, s.lease.Cluster, s.guard.Engine); err != nil {
		return OutcomeRetry, fmt.Errorf("gate %s: %w", GateShardBudget, err)
	}
	claim, err := s.claim(ctx)
	if err != nil {
		return OutcomeRetry, err
	}
	if claim != nil {
		f.Raise = "TMS raises it"
	}
	var shards, disk string
	err = s.r.store.TakeRoom(ctx, s.lease, need, func(others capacity.Need) bool {
		f.Others = others
		shards, disk = f.LacksShards(), f.LacksDisk()
		return shards == "" && disk == ""
	})
	switch {
	case err != nil:
		return OutcomeRetry, err
	case shards != "":
		s.t.Reason = "gate " + GateShardBudget + ": " + shards
		if claim == nil {
			return OutcomeWait, nil
		}
		if more := f.Beyond(claim.Wanted); more > 0 {
			err = s.r.store.WantShards(ctx, s.lease.RolloutID, s.lease.Cluster, more)
		}
		return OutcomeWait, err
	case disk != "":
		s.t.Reason = "gate " + GateDiskHeadroom + ": " + disk
		return OutcomeWait, nil
	}
	s.t.Reason = ""
	return OutcomeDone, nil
}

// claim is what the rollout may ask of the shard limit of the tenant's cluster;
// nil when nothing, or not any more because somebody else has set it.
func (s *session) claim(ctx context.Context) (*shardlimit.Claim, error) {
	if !s.rollout.Options.RaiseShardLimit {
		return nil, nil //nolint:nilnil // none is a value
	}
	claims, err := s.r.store.ShardClaims(ctx, s.lease.RolloutID)
	if err != nil {
		return nil, err
	}
	for _, c := range claims {
		if c.Cluster == s.lease.Cluster && c.State != shardlimit.Left {
			return &c, nil
		}
	}
	return nil, nil //nolint:nilnil // none is a value
}

// noRoom says that the cluster has refused an index although the gate was open:
// somebody else was quicker.
type noRoom struct{ index, reason string }

func (e *noRoom) Error() string { return "index " + e.index + " cannot be created: " + e.reason }
