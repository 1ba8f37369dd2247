package shardlimit

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func num(n int) *int { return &n }

// One row per arrow of a limit.
func TestShardLimitSteps(t *testing.T) {
	t.Parallel()
	raised := Limit{State: Raised, Level: LevelPersistent, Former: nil, Before: 1000, RaisedTo: 1200, OpenBefore: 900}
	raising := Limit{State: Raising, Level: LevelPersistent, Former: nil, Expect: nil, Before: 1000, RaisedTo: 1200, OpenBefore: 900}
	restoring := raised
	restoring.State = Restoring
	growing := raising
	growing.Expect, growing.RaisedTo = num(1200), 1300
	byTransient := raised
	byTransient.Level, byTransient.Former = LevelTransient, num(1000)
	at := func(persistent *int) Settings { return Settings{Persistent: persistent, Default: 1000} }
	for name, c := range map[string]struct {
		l     Limit
		v     view
		state State
		put   bool
		value *int
		did   string
		again bool
	}{
		"needed: what is there is stored first": {Limit{State: Restored}, view{settings: at(nil), wanted: 1200}, Raising, false, nil, "", true},
		"high enough":                           {Limit{State: Restored}, view{settings: at(num(1500)), wanted: 1200}, Wanted, false, nil, "", false},
		"nobody needs it":                       {Limit{State: Restored}, view{settings: at(nil)}, Restored, false, nil, "", false},
		"nobody needs it any more":              {Limit{State: Wanted}, view{settings: at(nil)}, Restored, false, nil, "", false},
		"a new rollout after an operator":       {Limit{State: Left}, view{settings: at(num(1100)), wanted: 1200}, Raising, false, nil, "", true},

		"put":                             {raising, view{settings: at(nil), wanted: 1200}, Raised, true, num(1200), didRaise, true},
		"put by one that died":            {raising, view{settings: at(num(1200)), wanted: 1200}, Raised, false, nil, didRaise, true},
		"an operator was quicker":         {raising, view{settings: at(num(1100)), wanted: 1200}, Left, false, nil, didLeave, false},
		"the rollout ended before":        {raising, view{settings: at(nil)}, Restored, false, nil, "", false},
		"more is needed before it is put": {raising, view{settings: at(nil), wanted: 1250}, Raising, false, nil, "", true},
		"put once more":                   {growing, view{settings: at(num(1200)), wanted: 1300}, Raised, true, num(1300), didRaise, true},

		"in use":                     {raised, view{settings: at(num(1200)), wanted: 1200, open: 1100, nodes: 1}, Raised, false, nil, "", false},
		"two rollouts":               {raised, view{settings: at(num(1200)), wanted: 1300, open: 1100, nodes: 1}, Raising, false, nil, "", true},
		"an operator changed it":     {raised, view{settings: at(num(1400)), wanted: 1200, nodes: 1}, Left, false, nil, didLeave, false},
		"an operator reset it":       {raised, view{settings: at(nil), wanted: 1200, nodes: 1}, Left, false, nil, didLeave, false},
		"over, both versions stand":  {raised, view{settings: at(num(1200)), open: 1100, nodes: 1}, Raised, false, nil, "", false},
		"over, the calendar is near": {raised, view{settings: at(num(1200)), open: 990, reserve: 20, nodes: 1}, Raised, false, nil, "", false},
		"over, and it fits":          {raised, view{settings: at(num(1200)), open: 950, reserve: 20, nodes: 1}, Restoring, false, nil, "", true},
		"over, no more than before":  {raised, view{settings: at(num(1200)), open: 900, reserve: 200, nodes: 1}, Restoring, false, nil, "", true},
		"transient: all restarted":   {byTransient, view{settings: at(nil), nodes: 1}, Restored, false, nil, "", false},
		"transient: still needed":    {byTransient, view{settings: at(nil), wanted: 1200, nodes: 1}, Wanted, false, nil, "", true},

		"put back":                      {restoring, view{settings: at(num(1200)), open: 900, nodes: 1}, Restored, true, nil, didRestore, false},
		"put back by one that died":     {restoring, view{settings: at(nil), open: 900, nodes: 1}, Restored, false, nil, didRestore, false},
		"needed again":                  {restoring, view{settings: at(num(1200)), open: 900, wanted: 1200, nodes: 1}, Raised, false, nil, "", true},
		"an operator came in between":   {restoring, view{settings: at(num(1100)), open: 900, nodes: 1}, Left, false, nil, didLeave, false},
		"somebody needs more meanwhile": {restoring, view{settings: at(num(1200)), open: 1150, nodes: 1}, Raised, false, nil, "", true},
	} {
		got := c.l.step(c.v)
		require.Equal(t, c.state, got.next.State, name)
		require.Equal(t, c.put, got.put, name)
		require.True(t, same(c.value, got.value), name)
		require.Equal(t, c.did, got.did, name)
		require.Equal(t, c.again, got.again, name)
	}
	first := Limit{State: Restored}.step(view{settings: Settings{Persistent: num(800), Transient: num(900)}, wanted: 1200})
	require.Equal(t, LevelTransient, first.next.Level, "the level that is in force")
	require.Equal(t, 900, *first.next.Former)
}

// Whoever dies at whatever point, and whatever an operator does: when no
// rollout needs the limit and its shards are gone, it is what it was before, or
// what the operator has set.
func TestShardLimitComesBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		former := rapid.SampledFrom([]*int{nil, num(1000), num(700)}).Draw(t, "former")
		cluster := Settings{Persistent: former, Default: 1000}
		operator := false
		l := Limit{State: Restored}
		v := view{nodes: 1, open: 600}
		look := func(dies bool) bool {
			v.settings = cluster
			s := l.step(v)
			if s.put {
				cluster.Persistent = s.value
			}
			if dies {
				return false // what was put is there, that it was put is not stored
			}
			l = s.next
			return s.again
		}
		for range rapid.IntRange(1, 30).Draw(t, "events") {
			switch rapid.IntRange(0, 4).Draw(t, "event") {
			case 0:
				v.wanted = rapid.SampledFrom([]int{0, 1100, 1200, 1300}).Draw(t, "wanted")
			case 1:
				v.open = rapid.IntRange(500, 1300).Draw(t, "open")
			case 2:
				if rapid.IntRange(0, 5).Draw(t, "operator") == 0 {
					cluster.Persistent, operator = num(5000), true
				}
			default:
				look(rapid.Bool().Draw(t, "dies"))
			}
		}
		v.wanted, v.open = 0, 600
		for n := 0; look(false); n++ {
			require.Less(t, n, mostSteps)
		}
		require.False(t, l.State.Open(), "%+v", l)
		switch {
		case operator:
			require.True(t, same(cluster.Persistent, num(5000)) || same(cluster.Persistent, former) && l.State != Left, "%+v %v", l, cluster.Persistent)
		default:
			require.True(t, same(former, cluster.Persistent), "%+v", l)
		}
	})
}

// Rollouts that were planned at the same time do not count each other's
// indices: together they need more than each of them.
func TestWantedOfSeveral(t *testing.T) {
	t.Parallel()
	one := Claim{Wanted: 1100, Open: 900, Added: 200, Nodes: 1, Reserve: 10, Active: true, State: Raised}
	for name, c := range map[string]struct {
		claims  []Claim
		wanted  int
		reserve int
	}{
		"none":                         {nil, 0, 0},
		"one":                          {[]Claim{one}, 1100, 10},
		"two at once":                  {[]Claim{one, one}, 1300, 20},
		"one has ended":                {[]Claim{one, func() Claim { c := one; c.Active = false; return c }()}, 1100, 20},
		"one was told to leave it":     {[]Claim{one, func() Claim { c := one; c.State = Left; return c }()}, 1100, 10},
		"one fits as it is":            {[]Claim{func() Claim { c := one; c.Wanted = 0; return c }()}, 0, 10},
		"found to be more at a gate":   {[]Claim{func() Claim { c := one; c.Wanted = 1150; return c }()}, 1150, 10},
		"with three nodes, rounded up": {[]Claim{{Wanted: 400, Open: 1000, Added: 201, Nodes: 3, Active: true, State: Wanted}}, 401, 0},
	} {
		wanted, reserve := wantedOf(c.claims)
		require.Equal(t, c.wanted, wanted, name)
		require.Equal(t, c.reserve, reserve, name)
	}
}
