package upgrader

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func num(n int) *int { return &n }

// One row per arrow of a limit.
func TestShardLimitSteps(t *testing.T) {
	t.Parallel()
	raised := ShardLimit{State: LimitRaised, Level: LevelPersistent, Former: nil, Before: 1000, RaisedTo: 1200, OpenBefore: 900}
	raising := ShardLimit{State: LimitRaising, Level: LevelPersistent, Former: nil, Expect: nil, Before: 1000, RaisedTo: 1200, OpenBefore: 900}
	restoring := raised
	restoring.State = LimitRestoring
	growing := raising
	growing.Expect, growing.RaisedTo = num(1200), 1300
	byTransient := raised
	byTransient.Level, byTransient.Former = LevelTransient, num(1000)
	at := func(persistent *int) ShardSettings { return ShardSettings{Persistent: persistent, Default: 1000} }
	for name, c := range map[string]struct {
		l     ShardLimit
		v     limitView
		state LimitState
		put   bool
		value *int
		did   string
		again bool
	}{
		"needed: what is there is stored first": {ShardLimit{State: LimitRestored}, limitView{settings: at(nil), wanted: 1200}, LimitRaising, false, nil, "", true},
		"high enough":                           {ShardLimit{State: LimitRestored}, limitView{settings: at(num(1500)), wanted: 1200}, LimitWanted, false, nil, "", false},
		"nobody needs it":                       {ShardLimit{State: LimitRestored}, limitView{settings: at(nil)}, LimitRestored, false, nil, "", false},
		"nobody needs it any more":              {ShardLimit{State: LimitWanted}, limitView{settings: at(nil)}, LimitRestored, false, nil, "", false},
		"a new rollout after an operator":       {ShardLimit{State: LimitLeft}, limitView{settings: at(num(1100)), wanted: 1200}, LimitRaising, false, nil, "", true},

		"put":                             {raising, limitView{settings: at(nil), wanted: 1200}, LimitRaised, true, num(1200), didRaise, true},
		"put by one that died":            {raising, limitView{settings: at(num(1200)), wanted: 1200}, LimitRaised, false, nil, didRaise, true},
		"an operator was quicker":         {raising, limitView{settings: at(num(1100)), wanted: 1200}, LimitLeft, false, nil, didLeave, false},
		"the rollout ended before":        {raising, limitView{settings: at(nil)}, LimitRestored, false, nil, "", false},
		"more is needed before it is put": {raising, limitView{settings: at(nil), wanted: 1250}, LimitRaising, false, nil, "", true},
		"put once more":                   {growing, limitView{settings: at(num(1200)), wanted: 1300}, LimitRaised, true, num(1300), didRaise, true},

		"in use":                     {raised, limitView{settings: at(num(1200)), wanted: 1200, open: 1100, nodes: 1}, LimitRaised, false, nil, "", false},
		"two rollouts":               {raised, limitView{settings: at(num(1200)), wanted: 1300, open: 1100, nodes: 1}, LimitRaising, false, nil, "", true},
		"an operator changed it":     {raised, limitView{settings: at(num(1400)), wanted: 1200, nodes: 1}, LimitLeft, false, nil, didLeave, false},
		"an operator reset it":       {raised, limitView{settings: at(nil), wanted: 1200, nodes: 1}, LimitLeft, false, nil, didLeave, false},
		"over, both versions stand":  {raised, limitView{settings: at(num(1200)), open: 1100, nodes: 1}, LimitRaised, false, nil, "", false},
		"over, the calendar is near": {raised, limitView{settings: at(num(1200)), open: 990, reserve: 20, nodes: 1}, LimitRaised, false, nil, "", false},
		"over, and it fits":          {raised, limitView{settings: at(num(1200)), open: 950, reserve: 20, nodes: 1}, LimitRestoring, false, nil, "", true},
		"over, no more than before":  {raised, limitView{settings: at(num(1200)), open: 900, reserve: 200, nodes: 1}, LimitRestoring, false, nil, "", true},
		"transient: all restarted":   {byTransient, limitView{settings: at(nil), nodes: 1}, LimitRestored, false, nil, "", false},
		"transient: still needed":    {byTransient, limitView{settings: at(nil), wanted: 1200, nodes: 1}, LimitWanted, false, nil, "", true},

		"put back":                      {restoring, limitView{settings: at(num(1200)), open: 900, nodes: 1}, LimitRestored, true, nil, didRestore, false},
		"put back by one that died":     {restoring, limitView{settings: at(nil), open: 900, nodes: 1}, LimitRestored, false, nil, didRestore, false},
		"needed again":                  {restoring, limitView{settings: at(num(1200)), open: 900, wanted: 1200, nodes: 1}, LimitRaised, false, nil, "", true},
		"an operator came in between":   {restoring, limitView{settings: at(num(1100)), open: 900, nodes: 1}, LimitLeft, false, nil, didLeave, false},
		"somebody needs more meanwhile": {restoring, limitView{settings: at(num(1200)), open: 1150, nodes: 1}, LimitRaised, false, nil, "", true},
	} {
		got := c.l.step(c.v)
		require.Equal(t, c.state, got.next.State, name)
		require.Equal(t, c.put, got.put, name)
		require.True(t, same(c.value, got.value), name)
		require.Equal(t, c.did, got.did, name)
		require.Equal(t, c.again, got.again, name)
	}
	first := ShardLimit{State: LimitRestored}.step(limitView{settings: ShardSettings{Persistent: num(800), Transient: num(900)}, wanted: 1200})
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
		cluster := ShardSettings{Persistent: former, Default: 1000}
		operator := false
		l := ShardLimit{State: LimitRestored}
		v := limitView{nodes: 1, open: 600}
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
			require.Less(t, n, mostLimitSteps)
		}
		require.False(t, l.State.Open(), "%+v", l)
		switch {
		case operator:
			require.True(t, same(cluster.Persistent, num(5000)) || same(cluster.Persistent, former) && l.State != LimitLeft, "%+v %v", l, cluster.Persistent)
		default:
			require.True(t, same(former, cluster.Persistent), "%+v", l)
		}
	})
}

// Rollouts that were planned at the same time do not count each other's
// indices: together they need more than each of them.
func TestWantedOfSeveral(t *testing.T) {
	t.Parallel()
	one := ShardClaim{Wanted: 1100, Open: 900, Added: 200, Nodes: 1, Reserve: 10, Active: true, State: LimitRaised}
	for name, c := range map[string]struct {
		claims  []ShardClaim
		wanted  int
		reserve int
	}{
		"none":                         {nil, 0, 0},
		"one":                          {[]ShardClaim{one}, 1100, 10},
		"two at once":                  {[]ShardClaim{one, one}, 1300, 20},
		"one has ended":                {[]ShardClaim{one, func() ShardClaim { c := one; c.Active = false; return c }()}, 1100, 20},
		"one was told to leave it":     {[]ShardClaim{one, func() ShardClaim { c := one; c.State = LimitLeft; return c }()}, 1100, 10},
		"one fits as it is":            {[]ShardClaim{func() ShardClaim { c := one; c.Wanted = 0; return c }()}, 0, 10},
		"found to be more at a gate":   {[]ShardClaim{func() ShardClaim { c := one; c.Wanted = 1150; return c }()}, 1150, 10},
		"with three nodes, rounded up": {[]ShardClaim{{Wanted: 400, Open: 1000, Added: 201, Nodes: 3, Active: true, State: LimitWanted}}, 401, 0},
	} {
		wanted, reserve := wantedOf(c.claims)
		require.Equal(t, c.wanted, wanted, name)
		require.Equal(t, c.reserve, reserve, name)
	}
}

// The sentences of the gates for room.
func TestRoomGates(t *testing.T) {
	t.Parallel()
	full := RoomFacts{Shards: ShardBudget{Open: 950, MaxPerNode: 1000, DataNodes: 1}, Need: Need{Shards: 104}}
	for name, c := range map[string]struct {
		f    RoomFacts
		has  []string
		open bool
	}{
		"room":                {RoomFacts{Shards: ShardBudget{Open: 800, MaxPerNode: 1000, DataNodes: 1}, Need: Need{Shards: 104}}, nil, true},
		"exactly":             {RoomFacts{Shards: ShardBudget{Open: 896, MaxPerNode: 1000, DataNodes: 1}, Need: Need{Shards: 104}}, nil, true},
		"nothing is needed":   {RoomFacts{Shards: ShardBudget{Open: 1100, MaxPerNode: 1000, DataNodes: 1}}, nil, true},
		"no room":             {full, []string{"950 shards are open", "104 more", "limit of 1000", "max_shards_per_node to 1054"}, false},
		"others were quicker": {RoomFacts{Shards: ShardBudget{Open: 800, MaxPerNode: 1000, DataNodes: 1}, Others: Need{Shards: 104}, Need: Need{Shards: 104}}, []string{"104 are about to be created"}, false},
		"it is being raised":  {func() RoomFacts { f := full; f.Raise = "TMS raises it"; return f }(), []string{"TMS raises it"}, false},
	} {
		got := ShardRoom(c.f)
		require.Equal(t, c.open, got == "", name)
		for _, part := range c.has {
			require.Contains(t, got, part, name)
		}
	}
	// A rollout asks for more than planned only when that was not enough.
	require.Zero(t, full.more(nil))
	require.Zero(t, full.more(&ShardClaim{Wanted: 1100}), "it is on its way")
	require.Equal(t, 1054, full.more(&ShardClaim{Wanted: 1000}))
	busy := full
	busy.Shards.Open, busy.Others.Shards = 800, 200
	require.Zero(t, busy.more(&ShardClaim{}), "others are about to show")

	disk := RoomFacts{Disk: DiskBudget{Total: 100e9, Used: 80e9, Limit: 90e9, Watermark: "low"}, Need: Need{Bytes: 8e9}}
	require.Empty(t, DiskRoom(disk))
	disk.Others.Bytes = 3e9
	require.Equal(t, "80.0 GB of disk are used and 3.0 GB are about to be for others; 8.0 GB more would be over the watermark low at 90.0 GB; finalize other tenants, or add disk", DiskRoom(disk))
	disk.Disk.Limit = 0
	require.Empty(t, DiskRoom(disk), "the engine watches no disk")
}
