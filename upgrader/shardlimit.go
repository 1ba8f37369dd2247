package upgrader

import (
	"fmt"
	"slices"
)

// A rollout may ask TMS to raise cluster.max_shards_per_node while both
// versions stand, and to put it back. That is owed from the moment at which
// somebody asks for it, whatever dies meanwhile: what was there before is stored
// before it is changed, and any process goes on from the row. This file decides,
// without I/O and without a clock; ShardKeeper acts.

// ShardSettings are cluster.max_shards_per_node at each level; nil where it is
// not set.
type ShardSettings struct {
	Persistent, Transient *int
	Default               int
}

// Levels of a cluster setting. A transient one wins, and is lost when all of
// the cluster restarts.
const (
	LevelPersistent = "persistent"
	LevelTransient  = "transient"
)

func (s ShardSettings) at(level string) *int {
	if level == LevelTransient {
		return s.Transient
	}
	return s.Persistent
}

// inForce is the value that counts, and the level at which a change of it
// would count.
func (s ShardSettings) inForce() (value int, level string) {
	switch {
	case s.Transient != nil:
		return *s.Transient, LevelTransient
	case s.Persistent != nil:
		return *s.Persistent, LevelPersistent
	}
	return s.Default, LevelPersistent
}

// LimitState is where the raise of a shard limit stands.
type LimitState string

// States of a raised shard limit. The last two are ends.
const (
	LimitWanted    LimitState = "wanted"    // nothing is changed; it may be high enough
	LimitRaising   LimitState = "raising"   // what was before is stored; the engine is asked
	LimitRaised    LimitState = "raised"    // owed: to be put back
	LimitRestoring LimitState = "restoring" // the engine is asked to put it back
	LimitRestored  LimitState = "restored"  // as before
	LimitLeft      LimitState = "left"      // somebody else has changed it meanwhile: theirs stays
)

// Open says that something is owed.
func (s LimitState) Open() bool { return s != LimitRestored && s != LimitLeft }

// ShardLimit is the raised limit of one cluster.
type ShardLimit struct {
	Cluster string     `json:"cluster"`
	State   LimitState `json:"state"`
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

// ShardClaim is what one rollout needs of a cluster's shard limit.
type ShardClaim struct {
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
	State    LimitState `json:"state"`
	Level    string     `json:"level,omitempty"`
	Before   int        `json:"before,omitempty"`
	RaisedTo int        `json:"raised_to,omitempty"`
	Text     string     `json:"text,omitempty"`
}

// concerned says that what happens to the limit concerns the claim.
func (c ShardClaim) concerned() bool {
	return c.State.Open() || c.Active && c.State == LimitRestored && c.Wanted > 0
}

// limitView is what a decision needs to know of cluster and rollouts.
type limitView struct {
	settings ShardSettings
	open     int
	nodes    int
	wanted   int // value that the active rollouts need together; 0: none
	reserve  int // shards that the calendar brings to those that have ended
}

// wantedOf is the value of the setting that all active claims need together. A
// rollout that was planned while another one had not made its indices yet did
// not count these.
func wantedOf(claims []ShardClaim) (wanted, reserve int) {
	open, added, nodes := 0, 0, 0
	for _, c := range claims {
		if c.State == LimitLeft {
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
		wanted = max(wanted, perNode(open+added, nodes))
	}
	return wanted, reserve
}

// perNode is the value of cluster.max_shards_per_node that so many shards need.
func perNode(shards, nodes int) int { return (shards + nodes - 1) / max(1, nodes) }

// limitStep is what to do next for a limit.
type limitStep struct {
	next ShardLimit
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
func (l ShardLimit) step(v limitView) limitStep {
	switch l.State {
	case LimitRaising:
		return l.raising(v)
	case LimitRaised:
		return l.raised(v)
	case LimitRestoring:
		return l.restoring(v)
	}
	return l.wanted(v)
}

func (l ShardLimit) wanted(v limitView) limitStep {
	now, level := v.settings.inForce()
	switch {
	case v.wanted == 0 && l.State == LimitWanted:
		return limitStep{next: ShardLimit{Cluster: l.Cluster, State: LimitRestored, Before: now, Text: "cluster.max_shards_per_node was not changed"}}
	case v.wanted == 0:
		return limitStep{next: l}
	case now >= v.wanted:
		return limitStep{next: ShardLimit{Cluster: l.Cluster, State: LimitWanted, Before: now,
			Text: fmt.Sprintf("cluster.max_shards_per_node is %d, which is enough: %d are needed", now, v.wanted)}}
	}
	former := v.settings.at(level)
	return limitStep{again: true, next: ShardLimit{
		Cluster: l.Cluster, State: LimitRaising, Level: level, Former: former, Expect: former, Before: now, RaisedTo: v.wanted, OpenBefore: v.open,
		Text: fmt.Sprintf("cluster.max_shards_per_node is being raised from %d to %d", now, v.wanted),
	}}
}

func (l ShardLimit) raising(v limitView) limitStep {
	there := v.settings.at(l.Level)
	switch {
	case same(there, &l.RaisedTo): // by a process that died before it could say so
		return limitStep{next: l.standing(), did: didRaise, again: true}
	case !same(there, l.Expect):
		return l.leave(v)
	case v.wanted == 0 && same(l.Expect, l.Former):
		l.State, l.Text = LimitRestored, "cluster.max_shards_per_node was not changed"
		return limitStep{next: l}
	case v.wanted > l.RaisedTo: // more since; stored before it is put
		l.RaisedTo = v.wanted
		return limitStep{next: l, again: true}
	}
	return limitStep{next: l.standing(), put: true, value: &l.RaisedTo, did: didRaise, again: true}
}

func (l ShardLimit) standing() ShardLimit {
	l.State, l.Expect = LimitRaised, nil
	l.Text = fmt.Sprintf("cluster.max_shards_per_node (%s) is %d; it was %d, and is put back when no rollout needs it", l.Level, l.RaisedTo, l.Before)
	return l
}

func (l ShardLimit) raised(v limitView) limitStep {
	there := v.settings.at(l.Level)
	switch {
	case there == nil && l.Level == LevelTransient:
		// The cluster has restarted: transient settings are gone, the former
		// one too.
		l.State, l.Text = LimitRestored, "the cluster has restarted and lost its transient settings: there is nothing to put back"
		if v.wanted > 0 {
			l.State = LimitWanted
		}
		return limitStep{next: l, again: v.wanted > 0}
	case !same(there, &l.RaisedTo):
		return l.leave(v)
	case v.wanted > l.RaisedTo:
		was := l.RaisedTo
		l.State, l.Expect, l.RaisedTo = LimitRaising, &was, v.wanted
		return limitStep{next: l, again: true}
	case v.wanted > 0:
		return limitStep{next: l.standing()}
	case !l.fits(v):
		l.Text = fmt.Sprintf("cluster.max_shards_per_node (%s) stays %d instead of %d for now: %d shards are open and %d more come with the calendar, but it would allow %d; it is put back when old versions are finalized",
			l.Level, l.RaisedTo, l.Before, v.open, v.reserve, l.Before*v.nodes)
		return limitStep{next: l}
	}
	l.State = LimitRestoring
	return limitStep{next: l, again: true}
}

// fits says whether the former limit would do again: with what the calendar is
// about to add, or because no more shards are open than before.
func (l ShardLimit) fits(v limitView) bool {
	return v.open+v.reserve <= l.Before*v.nodes || v.open <= l.OpenBefore
}

func (l ShardLimit) restoring(v limitView) limitStep {
	there := v.settings.at(l.Level)
	back := l
	back.State, back.Text = LimitRestored, fmt.Sprintf("cluster.max_shards_per_node is %d again", l.Before)
	switch {
	case same(there, l.Former):
		return limitStep{next: back, did: didRestore}
	case !same(there, &l.RaisedTo):
		return l.leave(v)
	case v.wanted > 0 || !l.fits(v):
		return limitStep{next: l.standing(), again: true}
	}
	return limitStep{next: back, put: true, value: l.Former, did: didRestore}
}

// leave respects what somebody else has put there.
func (l ShardLimit) leave(v limitView) limitStep {
	now, _ := v.settings.inForce()
	l.State, l.Expect = LimitLeft, nil
	l.Text = fmt.Sprintf("somebody has set cluster.max_shards_per_node to %d meanwhile: it stays so; it was %d before the rollout", now, l.Before)
	return limitStep{next: l, did: didLeave}
}

func same(a, b *int) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}

// tell writes what became of the limit into the claims that it concerns.
func (l ShardLimit) tell(claims []ShardClaim) []ShardClaim {
	out := slices.Clone(claims)
	for i := range out {
		c := &out[i]
		if !c.concerned() {
			continue
		}
		if c.Wanted == 0 {
			c.State, c.Text = LimitRestored, "not needed: it fits"
			continue
		}
		c.State, c.Level, c.Before, c.RaisedTo, c.Text = l.State, l.Level, l.Before, l.RaisedTo, l.Text
	}
	return out
}
