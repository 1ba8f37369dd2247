package upgrader

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// No command makes a rollout complete that tenants are missing from; leaving
// them out with a reason does.
func TestMissingTenants(t *testing.T) {
	t.Parallel()
	fresh := func() *Rollout {
		r := &Rollout{ID: "r1", ToRelease: "0.8.2", State: RolloutFailed, Wish: WishRun, Options: Options{}.WithDefaults(), Tenants: []RolloutTenant{
			{TenantID: "acme", State: TenantSwitched, Indices: 1}, {TenantID: "gone", State: TenantCancelled, Excepted: "deleted"},
		}, Missing: []MissingTenant{{TenantID: "empty", Release: "0.8.1", Reason: "no indices"}, {TenantID: "odd", Reason: "no release"}}}
		r.Reason = r.NotUniform()
		return r
	}
	does := func(r *Rollout, name string, c Command) error {
		if name == "skip" {
			r.exceptMissing(c, noon)
		}
		err := applyCommand(r, name, c, noon)
		if err == nil {
			r.State, r.FinishedAt = settle(r, noon)
		}
		return err
	}
	r := fresh()
	require.Contains(t, r.Reason, "not every tenant is on 0.8.2; tenant empty: no indices; tenant odd: no release; ")
	require.Contains(t, r.Reason, "`tms upgrade skip r1 --tenant empty --reason WHY`")
	require.NoError(t, does(r, "retry", Command{}))
	require.Equal(t, RolloutFailed, r.State)
	require.ErrorContains(t, does(r, "cancel", Command{}), "there is nothing to cancel")
	require.Equal(t, WishRun, r.Wish)

	require.NoError(t, does(r, "skip", Command{Tenants: []string{"empty"}, Reason: "never installed"}))
	require.Equal(t, RolloutFailed, r.State, "odd is still missing")
	require.NotContains(t, r.Reason, "no indices")
	require.NoError(t, does(r, "skip", Command{Tenants: []string{"odd"}, Reason: "moves away"}))
	require.Equal(t, RolloutComplete, r.State)
	require.Empty(t, r.Reason)
	require.Empty(t, r.Missing)
	require.Equal(t, "never installed", r.Tenants[2].Excepted)
	require.Equal(t, "0.8.1", r.Tenants[2].FromRelease)
	require.NoError(t, does(r, "skip", Command{Tenants: []string{"odd"}, Reason: "again"}), "the same again is no error")
	require.Equal(t, "moves away", r.Tenants[3].Excepted)
}

// A rollout that has ended otherwise is not called cancelled afterwards.
func TestCancelOfWhatHasEnded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		states  []TenantState
		wish    Wish
		refused bool
		is      RolloutState
	}{
		"complete, one was left out": {[]TenantState{TenantSwitched, TenantCancelled}, WishRun, true, RolloutComplete},
		"one failed":                 {[]TenantState{TenantSwitched, TenantFailed}, WishRun, false, RolloutRunning},
		"cancelled":                  {[]TenantState{TenantCancelled, TenantCancelled}, WishRun, false, RolloutCancelled},
		"cancelled before":           {[]TenantState{TenantSwitched, TenantCancelled}, WishCancel, false, RolloutCancelled},
	} {
		r := &Rollout{ID: "r1", Wish: c.wish, Options: Options{}.WithDefaults()}
		for i, s := range c.states {
			r.Tenants = append(r.Tenants, RolloutTenant{TenantID: string(rune('a' + i)), State: s, Indices: 1})
			if s == TenantCancelled && c.refused {
				r.Tenants[i].Excepted = "why"
			}
		}
		r.State, _ = settle(r, noon)
		err := applyCommand(r, "cancel", Command{}, noon)
		require.Equal(t, c.refused, err != nil, "%s: %v", name, err)
		r.State, _ = settle(r, noon)
		require.Equal(t, c.is, r.State, name)
	}
}

// Nobody was about to start in a cluster, so it was not asked: that is no reason
// for anybody to wait, and whoever is a candidate by now starts at the next look.
func TestUnaskedCluster(t *testing.T) {
	t.Parallel()
	view := func() *View {
		ro := &Rollout{ID: "r1", Wish: WishRun, State: RolloutRunning, Options: Options{}.WithDefaults(), Waves: []Wave{{Number: 1, Name: "all", State: WaveOpen, Tally: WaveTally{Tenants: 1, Waiting: 1}}}}
		return &View{Rollout: ro, Candidates: []Candidate{{TenantID: "acme", Cluster: "default", Wave: 1, Registered: "active"}}, Waiting: map[int][]string{1: {"default"}}}
	}
	require.Nil(t, decide(view(), admission{clusters: map[string]ClusterFacts{"default": {Unasked: true}}}))
	d := decide(view(), admission{clusters: map[string]ClusterFacts{"default": {}}})
	require.Equal(t, []string{"acme"}, d.LetIn)
}
