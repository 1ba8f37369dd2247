package shardlimit

import (
	"fmt"
	"slices"

	"github.com/tracardi/tms/upgrader/capacity"
)

// Settings are cluster.max_shards_per_node at each level; nil where it is
// not set.
type Settings struct {
	Persistent, Transient *int
	Default               int
}

// Levels of a cluster setting. A transient one wins, and is lost when all of
// the cluster restarts.
const (
	LevelPersistent = "persistent"
	LevelTransient  = "transient"
)

func (s Settings) at(level string) *int {
	if level == LevelTransient {
		return s.Transient
	}
	return s.Persistent
}

// inForce is the value that counts, and the level at which a change of it
// would count.
func (s Settings) inForce() (value int, level string) {
	switch {
	case s.Transient != nil:
		return *s.Transient, LevelTransient
	case s.Persistent != nil:
		return *s.Persistent, LevelPersistent
	}
	return s.Default, LevelPersistent
}

// State is where the raise of a shard limit stands.
type State string

// States of a raised shard limit. The last two are ends.
const (
	Wanted    State = "wanted"    // nothing is changed; it may be high enough
	Raising   State = "raising"   // what was before is stored; the engine is asked
	Raised    State = "raised"    // owed: to be put back
	Restoring State = "restoring" // the engine is asked to put it back
	Restored  State = "restored"  // as before
	Left      State = "left"      // somebody else has changed it meanwhile: theirs stays
)

// Open says that something is owed: the row has to be looked at again.
func (s State) Open() bool { return s != Restored && s != Left }

// Limit is the raised limit of one cluster.
type Limit struct {
	Cluster string `json:"cluster"`
	State   State  `json:"state"`
	// Level is where it is changed: that which was in force.
	Level string `json:"level,omitempty"`
	// Former is what stood there; nil for nothing. Before was in force.
	Former *int `json:"former,omitempty"`
	Before int  `json:"before,omitempty"`
	// RaisedTo is what TMS has put there, or is about to; Expect is what must
	// be there for it to do so.
	RaisedTo int  `json:"raised_to,omitempty"`
	Expect   *int `json:"expect,omitempty"`
	// OpenBefore is the number of open shards before the first raise.
	OpenBefore int    `json:"open_before,omitempty"`
	Text       string `json:"text,omitempty"` // where it stands, in words
}

// Claim is what one rollout needs of a cluster's shard limit.
type Claim struct {
	RolloutID string `json:"-"`
	Cluster   string `json:"cluster"`
	Caller    string `json:"caller"`
	// Wanted is the value of cluster.max_shards_per_node that it needs, as
	// planned or as found since; 0 when it fits.
	Wanted int `json:"wanted"`
	// Open, Added and Nodes are of the plan: open shards, those that the
	// rollout adds at most, data nodes. Reserve are those of Added that the
	// calendar brings, which come again.
	Open    int `json:"open"`
	Added   int `json:"added"`
	Reserve int `json:"reserve"`
	Nodes   int `json:"nodes"`
	// Active says that the rollout may yet create indices. Not stored.
	Active bool `json:"-"`
	// What became of it.
	State    State  `json:"state"`
	Level    string `json:"level,omitempty"`
	Before   int    `json:"before,omitempty"`
	RaisedTo int    `json:"raised_to,omitempty"`
	Text     string `json:"text,omitempty"`
}

// concerned says that what happens to the limit concerns the claim.
func (c Claim) concerned() bool {
	return c.State.Open() || c.Active && c.State == Restored && c.Wanted > 0
}

// view is what a decision needs to know of cluster and rollouts.
type view struct {
	settings Settings
	open     int
	nodes    int
	wanted   int // value that the active rollouts need together; 0: none
	reserve  int // shards that the calendar brings to those that have ended
}

// wantedOf is the value of the setting that all active claims need together. A
// rollout that was planned while another one had not made its indices yet did
// not count these.
func wantedOf(claims []Claim) (wanted, reserve int) {
	open, added, nodes := 0, 0, 0
	for _, c := range claims {
		if c.State == Left {
			continue
		}
		reserve += c.Reserve
		if !c.Active || c.Wanted == 0 {
			continue
		}
		if nodes == 0 {
			open, nodes = c.Open, c.Nodes
		}
		open, nodes = min(open, c.Open), min(nodes, c.Nodes)
		added += c.Added
		wanted = max(wanted, c.Wanted)
	}
	if nodes > 0 {
		wanted = max(wanted, capacity.PerNode(open+added, nodes))
	}
	return wanted, reserve
}

// step is what to do next for a limit.
type step struct {
	next Limit
	// put says that value goes to next.Level before next is stored.
	put   bool
	value *int
	// did is what the step has changed in the cluster, for the audit trail.
	did string
	// again: look again at once.
	again bool
}

// What steps do to a cluster, as the audit trail calls it.
const (
	didRaise   = "shard_limit.raise"
	didRestore = "shard_limit.restore"
	didLeave   = "shard_limit.leave"
)

// step decides. What TMS is about to put is always stored in a step before.
func (l Limit) step(v view) step {
	switch l.State {
	case Raising:
		return l.raising(v)
	case Raised:
		return l.raised(v)
	case Restoring:
		return l.restoring(v)
	}
	return l.wanted(v)
}

func (l Limit) wanted(v view) step {
	now, level := v.settings.inForce()
	switch {
	case v.wanted == 0 && l.State == Wanted:
		return step{next: Limit{Cluster: l.Cluster, State: Restored, Before: now, Text: "cluster.max_shards_per_node was not changed"}}
	case v.wanted == 0:
		return step{next: l}
	case now >= v.wanted:
		return step{next: Limit{Cluster: l.Cluster, State: Wanted, Before: now,
			Text: fmt.Sprintf("cluster.max_shards_per_node is %d, which is enough: %d are needed", now, v.wanted)}}
	}
	former := v.settings.at(level)
	return step{again: true, next: Limit{
		Cluster: l.Cluster, State: Raising, Level: level, Former: former, Expect: former, Before: now, RaisedTo: v.wanted, OpenBefore: v.open,
		Text: fmt.Sprintf("cluster.max_shards_per_node is being raised from %d to %d", now, v.wanted),
	}}
}

func (l Limit) raising(v view) step {
	there := v.settings.at(l.Level)
	switch {
	case same(there, &l.RaisedTo): // by a process that died before it could say so
		return step{next: l.standing(), did: didRaise, again: true}
	case !same(there, l.Expect):
		return l.leave(v)
	case v.wanted == 0 && same(l.Expect, l.Former):
		l.State, l.Text = Restored, "cluster.max_shards_per_node was not changed"
		return step{next: l}
	case v.wanted > l.RaisedTo: // more since; stored before it is put
		l.RaisedTo = v.wanted
		return step{next: l, again: true}
	}
	return step{next: l.standing(), put: true, value: &l.RaisedTo, did: didRaise, again: true}
}

func (l Limit) standing() Limit {
	l.State, l.Expect = Raised, nil
	l.Text = fmt.Sprintf("cluster.max_shards_per_node (%s) is %d; it was %d, and is put back when no rollout needs it", l.Level, l.RaisedTo, l.Before)
	return l
}

func (l Limit) raised(v view) step {
	there := v.settings.at(l.Level)
	switch {
	case there == nil && l.Level == LevelTransient:
		// The cluster has restarted: transient settings are gone, the former
		// one too.
		l.State, l.Text = Restored, "the cluster has restarted and lost its transient settings: there is nothing to put back"
		if v.wanted > 0 {
			l.State = Wanted
		}
		return step{next: l, again: v.wanted > 0}
	case !same(there, &l.RaisedTo):
		return l.leave(v)
	case v.wanted > l.RaisedTo:
		was := l.RaisedTo
		l.State, l.Expect, l.RaisedTo = Raising, &was, v.wanted
		return step{next: l, again: true}
	case v.wanted > 0:
		return step{next: l.standing()}
	case !l.fits(v):
		l.Text = fmt.Sprintf("cluster.max_shards_per_node (%s) stays %d instead of %d for now: %d shards are open and %d more come with the calendar, but it would allow %d; it is put back when old versions are finalized",
			l.Level, l.RaisedTo, l.Before, v.open, v.reserve, l.Before*v.nodes)
		return step{next: l}
	}
	l.State = Restoring
	return step{next: l, again: true}
}

// fits says whether the former limit would do again: with what the calendar is
// about to add, or because no more shards are open than before.
func (l Limit) fits(v view) bool {
	return v.open+v.reserve <= l.Before*v.nodes || v.open <= l.OpenBefore
}

func (l Limit) restoring(v view) step {
	there := v.settings.at(l.Level)
	back := l
	back.State, back.Text = Restored, fmt.Sprintf("cluster.max_shards_per_node is %d again", l.Before)
	switch {
	case same(there, l.Former):
		return step{next: back, did: didRestore}
	case !same(there, &l.RaisedTo):
		return l.leave(v)
	case v.wanted > 0 || !l.fits(v):
		return step{next: l.standing(), again: true}
	}
	return step{next: back, put: true, value: l.Former, did: didRestore}
}

// leave respects what somebody else has put there.
func (l Limit) leave(v view) step {
	now, _ := v.settings.inForce()
	l.State, l.Expect = Left, nil
	l.Text = fmt.Sprintf("somebody has set cluster.max_shards_per_node to %d meanwhile: it stays so; it was %d before the rollout", now, l.Before)
	return step{next: l, did: didLeave}
}

func same(a, b *int) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}

// tell writes what became of the limit into the claims that it concerns.
func (l Limit) tell(claims []Claim) []Claim {
	out := slices.Clone(claims)
	for i := range out {
		c := &out[i]
		if !c.concerned() {
			continue
		}
		if c.Wanted == 0 {
			c.State, c.Text = Restored, "not needed: it fits"
			continue
		}
		c.State, c.Level, c.Before, c.RaisedTo, c.Text = l.State, l.Level, l.Before, l.RaisedTo, l.Text
	}
	return out
}
