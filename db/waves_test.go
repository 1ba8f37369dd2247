package db_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/strategy"
)

// waved is a rollout of two waves; everybody waits.
func waved(id string, first, second []string) *upgrader.Rollout {
	r := newRollout(id, append(append([]string{}, first...), second...)...)
	for i := range r.Tenants {
		t := &r.Tenants[i]
		t.Wave, t.Position, t.Waiting, t.NeedShards, t.NeedBytes = 1, i+1, true, 7, 100
		if i >= len(first) {
			t.Wave, t.Position = 2, i+1-len(first)
		}
	}
	r.Waves = []upgrader.Wave{
		{Number: 1, Name: "canary", State: upgrader.WaveOpen, Rule: strategy.Rule{Between: strategy.Between{Approval: true}, FailureBudget: strategy.FailureBudget{Tolerate: "0", Then: strategy.ThenStop}}},
		{Number: 2, Name: "rest", State: upgrader.WavePending},
	}
	return r
}

func TestWavesRoundTrip(t *testing.T) {
	t.Parallel()
	_, store := rollouts(t, "acme", "beta", "gamma")
	require.NoError(t, store.CreateRollout(t.Context(), waved("r1", []string{"acme"}, []string{"beta", "gamma"}), nil, ""))
	r, err := store.Rollout(t.Context(), "r1")
	require.NoError(t, err)
	require.Len(t, r.Waves, 2)
	require.Equal(t, upgrader.WaveTally{Tenants: 2, Waiting: 2}, r.Waves[1].Tally)
	require.True(t, r.Waves[0].Rule.Between.Approval)
	require.Equal(t, strategy.ThenStop, r.Waves[0].Rule.FailureBudget.Then)
	work, err := store.Due(t.Context(), 10)
	require.NoError(t, err)
	require.Empty(t, work, "who waits is in no queue")
	_, err = store.Acquire(t.Context(), "r1", "acme", "one", time.Minute)
	require.ErrorIs(t, err, upgrader.ErrConflict)
	ids, err := store.Conducted(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"r1"}, ids)

	v, err := store.View(t.Context(), "r1")
	require.NoError(t, err)
	require.Equal(t, []upgrader.Candidate{{TenantID: "acme", Cluster: "default", Wave: 1, Position: 1, NeedShards: 7, NeedBytes: 100, Registered: "active"}}, v.Candidates, "those of the open wave only")

	at := time.Now().Truncate(time.Microsecond)
	require.NoError(t, store.Conduct(t.Context(), "r1", func(v *upgrader.View) *upgrader.Decision {
		w := v.Rollout.Waves[1]
		w.Reason = "later"
		w.SoakUntil = at
		return &upgrader.Decision{
			LetIn: []string{"acme"}, Except: map[string]string{"gamma": "gone"}, Waves: []upgrader.Wave{w},
			WaveReasons: map[upgrader.WaveHome]string{{Wave: 2, Cluster: "default"}: "gate wave_open: later"}, Events: []string{"let acme in"},
		}
	}))
	r, err = store.Rollout(t.Context(), "r1")
	require.NoError(t, err)
	require.False(t, r.Tenants[0].Waiting)
	require.Equal(t, "gate wave_open: later", r.Tenants[1].Reason)
	require.Equal(t, upgrader.TenantCancelled, r.Tenants[2].State)
	require.Equal(t, "gone", r.Tenants[2].Excepted)
	require.True(t, at.Equal(r.Waves[1].SoakUntil))
	require.Equal(t, 1, r.Waves[1].Tally.Tenants, "excepted ones do not count")
	v, err = store.View(t.Context(), "r1")
	require.NoError(t, err)
	require.Equal(t, map[string]upgrader.ClusterLoad{"default": {InFlight: 1, ReservedShards: 7, ReservedBytes: 100}}, v.Loads)
	_, err = store.Acquire(t.Context(), "r1", "acme", "one", time.Minute)
	require.NoError(t, err)
}

func TestChecksAreOneProcesss(t *testing.T) {
	t.Parallel()
	_, store := rollouts(t, "acme")
	r := waved("r1", []string{"acme"}, nil)
	r.Waves[0].State = upgrader.WaveChecking
	require.NoError(t, store.CreateRollout(t.Context(), r, nil, ""))
	mine, err := store.ClaimChecks(t.Context(), "r1", 1, time.Minute)
	require.NoError(t, err)
	require.True(t, mine)
	mine, err = store.ClaimChecks(t.Context(), "r1", 1, time.Minute)
	require.NoError(t, err)
	require.False(t, mine)
	require.NoError(t, store.SaveChecks(t.Context(), "r1", 1, []upgrader.CheckResult{{Name: "x", OK: true, Text: "fine", At: time.Now().UTC()}}))
	got, err := store.Rollout(t.Context(), "r1")
	require.NoError(t, err)
	require.Len(t, got.Waves[0].Checks, 1)
	mine, err = store.ClaimChecks(t.Context(), "r1", 1, time.Minute)
	require.NoError(t, err)
	require.True(t, mine, "the right was given back")
}

// A rollout of the whole fleet is not complete while a tenant is outside that
// came into being, and fails with one that cannot join.
func TestUniform(t *testing.T) {
	t.Parallel()
	d, store := rollouts(t, "acme")
	r := waved("r1", []string{"acme"}, nil)
	r.Behind, r.Tenants[0].Waiting = []string{"0.8.0", "0.8.0.*", "0.8.1", "0.8.1.*"}, false
	require.NoError(t, store.CreateRollout(t.Context(), r, nil, ""))
	lease, err := store.Acquire(t.Context(), "r1", "acme", "one", time.Minute)
	require.NoError(t, err)
	_, x, err := store.Load(t.Context(), "r1", "acme")
	require.NoError(t, err)
	_, err = d.Pool().Exec(t.Context(), `insert into tenants (id, install_token, release, cluster) values ('late', '', '0.8.1.4', 'default'), ('new', '', '0.8.2', 'default')`)
	require.NoError(t, err)
	x.State = upgrader.TenantSwitched
	require.NoError(t, store.MarkSwitched(t.Context(), lease, x, "0.8.2"))
	got, err := store.Rollout(t.Context(), "r1")
	require.NoError(t, err)
	require.Equal(t, upgrader.RolloutRunning, got.State)
	v, err := store.View(t.Context(), "r1")
	require.NoError(t, err)
	require.Len(t, v.Outsiders, 1)
	require.Equal(t, "late", v.Outsiders[0].ID)

	missing := []upgrader.MissingTenant{{TenantID: "late", Release: "0.8.1.4", Reason: "no indices"}}
	require.NoError(t, store.Conduct(t.Context(), "r1", func(*upgrader.View) *upgrader.Decision {
		return &upgrader.Decision{Missing: missing, SetMissing: true}
	}))
	got, err = store.Rollout(t.Context(), "r1")
	require.NoError(t, err)
	require.Equal(t, upgrader.RolloutFailed, got.State)
	require.Equal(t, missing, got.Missing)
	require.Equal(t, upgrader.WaveDone, got.Waves[0].State)
	require.Contains(t, got.Reason, "late")

	catalogue, err := releases.Builtin()
	require.NoError(t, err)
	service := upgrader.NewService(store, nil, catalogue, nil)
	got, err = service.Skip(t.Context(), upgrader.Command{RolloutID: "r1", Tenants: []string{"late"}, Reason: "has no indices yet"})
	require.NoError(t, err)
	require.Equal(t, upgrader.RolloutComplete, got.State, "it is excepted now")
	require.Empty(t, got.Reason)
	require.Empty(t, got.Missing)
	require.Equal(t, "has no indices yet", got.Tenants[1].Excepted)
}

// Tenants that cannot join do not hide those that can, however many they are.
func TestOutsidersThatCanJoinComeFirst(t *testing.T) {
	t.Parallel()
	d, store := rollouts(t, "acme")
	r := waved("r1", []string{"acme"}, nil)
	r.Behind = []string{"0.8.1"}
	require.NoError(t, store.CreateRollout(t.Context(), r, nil, ""))
	var missing []upgrader.MissingTenant
	for i := range upgrader.MostCandidates + 2 {
		id := fmt.Sprintf("late%03d", i)
		_, err := d.Pool().Exec(t.Context(), `insert into tenants (id, install_token, release, cluster) values ($1, '', '0.8.1', 'default')`, id)
		require.NoError(t, err)
		missing = append(missing, upgrader.MissingTenant{TenantID: id, Release: "0.8.1", Reason: "no indices"})
	}
	require.NoError(t, store.Conduct(t.Context(), "r1", func(*upgrader.View) *upgrader.Decision {
		return &upgrader.Decision{Missing: missing, SetMissing: true}
	}))
	_, err := d.Pool().Exec(t.Context(), `insert into tenants (id, install_token, release, cluster) values ('zebra', '', '0.8.1', 'default')`)
	require.NoError(t, err)
	_, err = d.Pool().Exec(t.Context(), `update tenants set release = '0.8.2' where id = 'late001'`)
	require.NoError(t, err)
	v, err := store.View(t.Context(), "r1")
	require.NoError(t, err)
	require.Len(t, v.Outsiders, upgrader.MostCandidates)
	require.Equal(t, "zebra", v.Outsiders[0].ID)
	require.Len(t, v.StillMissing, len(missing)-1)
	require.NotContains(t, v.StillMissing, "late001")
}
