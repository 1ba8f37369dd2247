package upgrader

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tracardi/tms/upgrader/budget"
)

// noon is when the tests of commands take place.
var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// What every command does to a tenant in every state, one column per state in
// their order: L it is legal and changes something, a it is so already and
// nothing changes, - it is refused with the reason.
var verdicts = []struct {
	name    string
	command Command
	// planned prepared copying copied compared fenced verified | switched |
	// returning return_fenced return_verified | done failed cancelled rolled_back
	row string
}{
	{"cancel", Command{}, "LLLLLLL - --- - L a -"},
	{"cancel", Command{Undo: true}, "LLLLLLL L aaa - L a a"},
	{"retry", Command{}, "aaaaaaa a --- - L - -"},
	{"switch", Command{}, "LLLLLLL a --- - - - -"},
	{"rollback", Command{}, "------- L aaa - - - a"},
	{"finalize", Command{}, "------- L --- a - - -"},
	{"skip", Command{Reason: "moves next week"}, "LLLLLLL - --- - L L L"},
}

func TestEveryCommandInEveryState(t *testing.T) {
	t.Parallel()
	for _, c := range verdicts {
		row := strings.ReplaceAll(c.row, " ", "")
		require.Len(t, row, len(tenantStates), c.name)
		for i, state := range tenantStates {
			held := RolloutTenant{TenantID: "acme", State: state, Indices: 1}
			r := &Rollout{ID: "r1", Wish: WishRun, Tenants: []RolloutTenant{held}}
			r.State, _ = settle(r, noon)
			c.command.Tenants = []string{"acme"}
			err := applyCommand(r, c.name, c.command, noon)
			what := c.name + " " + string(state)
			switch row[i] {
			case 'L':
				require.NoError(t, err, what)
				require.NotEqual(t, held, r.Tenants[0], what)
				require.NoError(t, applyCommand(r, c.name, c.command, noon), "%s: the same again is no error", what)
			case 'a':
				require.NoError(t, err, what)
				require.Equal(t, held, r.Tenants[0], what)
			case '-':
				var refused *ServiceError
				require.ErrorAs(t, err, &refused, what)
				require.Equal(t, ReasonWrongState, refused.Reason, what)
				require.Contains(t, refused.Message, "no tenant of the chosen ones can be "+participles[c.name]+": it takes one", what)
				require.NotEmpty(t, refused.Remedy, what)
				require.Equal(t, held, r.Tenants[0], what)
			default:
				t.Fatalf("%s: %q", what, row[i])
			}
		}
	}
}

// Commands to the rollout as a whole, in every state of it.
func TestEveryCommandToARollout(t *testing.T) {
	t.Parallel()
	two := 2
	for _, c := range []struct {
		name, refusal string
		command       Command
		wish          Wish
	}{
		{"pause", "it has ended, there is nothing to pause", Command{}, WishPause},
		{"resume", "it has ended, there is nothing to resume", Command{}, WishRun},
		{"set", "it has ended, there is nothing to set", Command{Set: Settings{MaxTenants: &two}}, ""},
	} {
		for _, state := range []RolloutState{RolloutRunning, RolloutPaused, RolloutComplete, RolloutFailed, RolloutCancelled, RolloutRolledBack, RolloutFinalized} {
			r := &Rollout{ID: "r1", ToRelease: "0.8.2", State: state, Wish: WishRun, Options: Options{}.WithDefaults()}
			err := applyCommand(r, c.name, c.command, noon)
			if state.Ended() {
				require.ErrorContains(t, err, c.refusal, "%s %s", c.name, state)
				continue
			}
			require.NoError(t, err, "%s %s", c.name, state)
			require.NoError(t, applyCommand(r, c.name, c.command, noon), "the same again is no error")
			if c.wish != "" {
				require.Equal(t, c.wish, r.Wish)
			}
		}
		r := &Rollout{ID: "r1", State: RolloutRunning, Wish: WishCancel, Options: Options{}.WithDefaults()}
		require.ErrorContains(t, applyCommand(r, c.name, c.command, noon), "it is being cancelled", c.name)
	}
}

func TestSetOptions(t *testing.T) {
	t.Parallel()
	fresh := func() *Rollout {
		r := &Rollout{ID: "r1", ToRelease: "0.8.2", State: RolloutRunning, Wish: WishRun, Options: Options{}.WithDefaults()}
		for _, s := range tenantStates {
			r.Tenants = append(r.Tenants, RolloutTenant{TenantID: string(s), State: s, SwitchAllowed: true, NextAt: noon.Add(time.Hour)})
		}
		return r
	}
	r, rate, fence := fresh(), 50.0, 3*time.Second
	require.NoError(t, setOptions(r, Settings{RequestsPerSecond: &rate, FenceTimeout: &fence}, noon))
	require.InDelta(t, 50, r.Options.RequestsPerSecond, 0)
	require.Equal(t, fence, r.Options.FenceTimeout)
	require.Equal(t, DefaultMaxTenants, r.Options.MaxTenants, "what is not named stays")
	require.Equal(t, fresh().Tenants, r.Tenants)

	yes, no := true, false
	require.NoError(t, setOptions(r, Settings{HoldSwitch: &yes}, noon))
	for _, x := range r.Tenants {
		held := x.State.BeforeSwitch() && x.State != TenantFenced && x.State != TenantVerified
		require.Equal(t, !held, x.SwitchAllowed, x.State)
		require.Equal(t, held, x.NextAt.Equal(noon), "%s is told", x.State)
	}
	require.NoError(t, applyCommand(r, "switch", Command{Tenants: []string{"compared"}}, noon))
	require.True(t, r.Options.HoldSwitch, "one may pass, the others are held")
	require.NoError(t, setOptions(r, Settings{HoldSwitch: &no}, noon))
	for _, x := range r.Tenants {
		require.True(t, x.SwitchAllowed, x.State)
	}
	for field, wrong := range map[string]Settings{
		"options.max_tenants": {MaxTenants: new(int)}, "requests_per_second": {RequestsPerSecond: func() *float64 { v := -1.0; return &v }()},
		"options.fence_timeout": {FenceTimeout: func() *time.Duration { v := time.Hour; return &v }()},
	} {
		was := fresh()
		err := setOptions(was, wrong, noon)
		var refused *ServiceError
		require.ErrorAs(t, err, &refused)
		require.Equal(t, field, refused.Field)
		require.Equal(t, fresh(), was, "a wrong value changes nothing")
	}
}

// A command to a wave concerns its tenants and no others.
func TestCommandsToAWave(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := &Rollout{ID: "r1", Wish: WishRun, Options: Options{HoldSwitch: true}.WithDefaults()}
		for i := range rapid.IntRange(1, 12).Draw(t, "tenants") {
			r.Tenants = append(r.Tenants, RolloutTenant{
				TenantID: string(rune('a' + i)), Indices: 1, Wave: rapid.IntRange(1, 3).Draw(t, "wave"),
				State: rapid.SampledFrom([]TenantState{TenantSwitched, TenantCompared}).Draw(t, "state"),
			})
		}
		c := Command{Wave: rapid.IntRange(1, 4).Draw(t, "chosen")}
		if c.checkChoice(r) != nil {
			for _, x := range r.Tenants {
				require.NotEqual(t, c.Wave, x.Wave)
			}
			return
		}
		name := rapid.SampledFrom([]string{"rollback", "switch"}).Draw(t, "command")
		if applyCommand(r, name, c, noon) != nil {
			return
		}
		require.True(t, r.Options.HoldSwitch, "the others are held")
		for _, x := range r.Tenants {
			if x.Wave != c.Wave {
				require.Equal(t, IntentNone, x.Intent)
				require.False(t, x.SwitchAllowed)
				continue
			}
			require.Equal(t, name == "rollback" && x.State == TenantSwitched, x.Intent == IntentRollback)
			require.Equal(t, name == "switch" && x.State == TenantCompared, x.SwitchAllowed)
		}
	})
}

func TestExplain(t *testing.T) {
	t.Parallel()
	r := func() *Rollout {
		return &Rollout{State: RolloutRunning, Tenants: []RolloutTenant{
			{TenantID: "a", Cluster: "default", State: TenantCopying}, {TenantID: "b", Cluster: "default", State: TenantSwitched},
			{TenantID: "c", Cluster: "default", State: TenantFenced}, {TenantID: "d", Cluster: "eu", State: TenantCopying},
			{TenantID: "e", Cluster: "default", State: TenantCopied, Reason: "its own"}, {TenantID: "f", Cluster: "default", State: TenantPlanned},
		}}
	}
	x := r()
	explain(x, []budget.State{{Cluster: "default", Defaults: budget.Default()}}, nil)
	require.Equal(t, r(), x, "nothing is slowed")
	slow := budget.State{Cluster: "default", Defaults: budget.Default(), Throttle: budget.Throttle{Level: 0.5, Reason: "it burns"}, Allowance: budget.Allowance{DocumentsPerSecond: 70}}
	explain(x, []budget.State{slow, {Cluster: "eu", Defaults: budget.Default()}}, nil)
	require.Equal(t, "cluster default is slowed to 50% (70 documents per second): it burns", x.Reason)
	require.Equal(t, "slowed to 50% (70 documents per second): it burns", x.Tenants[0].Reason)
	for _, i := range []int{1, 2, 3, 5} {
		require.Empty(t, x.Tenants[i].Reason, x.Tenants[i].TenantID)
	}
	require.Equal(t, "its own", x.Tenants[4].Reason)

	x = r()
	explain(x, []budget.State{{Cluster: "default"}, {Cluster: "eu"}}, &budget.Stop{Reason: "fire", StoppedBy: "me", StoppedAt: noon})
	require.Equal(t, "all rollouts are stopped since 2026-07-01T12:00:00Z by me: fire (`tms upgrade resume-all` lets them go on)", x.Reason)
	require.Equal(t, "stopped: fire", x.Tenants[3].Reason)
	require.Equal(t, "stopped: fire", x.Tenants[5].Reason)
	require.Empty(t, x.Tenants[1].Reason)
}
