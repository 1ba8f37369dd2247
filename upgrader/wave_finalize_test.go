package upgrader_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/shardlimit"
	"github.com/tracardi/tms/upgrader/strategy"
)

// shelf says of every tenant whether a snapshot holds its old version.
type shelf struct{ empty atomic.Bool }

func (*shelf) BeginBefore(context.Context, string, string, []string, []string) (map[string]string, error) {
	return nil, errors.New("takes none")
}

func (*shelf) RefuseBefore(context.Context, []string, []string) ([]upgrader.Refusal, error) {
	return nil, nil
}

func (*shelf) BeginJoining(context.Context, string, string, []string, string) (string, error) {
	return "", errors.New("takes none")
}

func (*shelf) SnapshotState(context.Context, string) (upgrader.SnapshotState, error) {
	return upgrader.SnapshotState{Done: true}, nil
}

func (s *shelf) Holds(context.Context, string, []string, time.Time) (name, why string, err error) {
	if s.empty.Load() {
		return "", "none was taken", nil
	}
	return "nightly", "", nil
}

// finalizeWaves: three waves fit only because each is finalized before the next;
// one of which no snapshot holds the old version waits for it, or for a waiver.
func (c *cramped) finalizeWaves() {
	t := c.t
	t.Helper()
	c.limit(shardlimit.LevelTransient, 400)
	var names []string
	for range 3 {
		one := c.bundle.tenant("0.8.1", 1)
		require.NoError(t, one.Fill(t.Context(), 20))
		names = append(names, one.Name())
	}
	s := &strategy.File{
		Canary: &strategy.Wave{Size: "1"}, Waves: []strategy.Wave{{Size: "1"}, {Size: "rest", Between: &strategy.Between{Finalize: true}}},
		Between: strategy.Between{Finalize: true}, FinalizeAfter: "2d",
	}
	request := upgrader.Request{ToRelease: "0.8.2", Caller: "test", Options: upgrader.Options{Tenants: names, Strategy: s}}
	roomy, err := c.service.Plan(t.Context(), request)
	require.NoError(t, err)
	require.Empty(t, roomy.Refusals)
	most := roomy.Forecast.ShardsPeak
	require.Less(t, most, roomy.Shards.Now+roomy.Shards.New)
	require.NoError(t, c.client.SetShardLimit(t.Context(), shardlimit.LevelTransient, &most))

	plain := request
	plain.Options.Strategy = &strategy.File{Canary: s.Canary, Waves: s.Waves[:1]}
	refused, err := c.service.Plan(t.Context(), plain)
	require.NoError(t, err)
	require.Equal(t, "shard_limit", refused.Refusals[0].Code)
	require.Contains(t, refused.Refusals[0].Remedy, "--finalize-waves")

	snapshots := &shelf{}
	snapshots.empty.Store(true)
	c.service.WithSnapshots(snapshots)
	r, err := c.service.Start(t.Context(), request)
	require.NoError(t, err)
	require.Equal(t, 48*time.Hour, r.Options.FinalizeAfter)
	c.queue(upgrader.NewRunner(c.store, c.engine, c.catalogue, "finalizing", upgrader.Limits{}, c.log).WithSnapshots(snapshots))

	// The first wave is upgraded and keeps its old version: the next one waits.
	r = c.until(r.ID, func(r *upgrader.Rollout) bool { return r.Waves[0].Reason != "" })
	require.Equal(t, upgrader.WaveFinalizing, r.Waves[0].State)
	require.Contains(t, r.Waves[0].Reason, "no snapshot holds its old version: none was taken")
	// At first its gate knows only that the canary is being finalized, not yet what keeps it.
	waits := "gate canary_done: the canary is being finalized: tenant " + inWave(r, 1).TenantID
	second := c.until(r.ID, func(r *upgrader.Rollout) bool {
		return strings.Contains(inWave(r, 2).Reason, waits) && inWave(r, 1).Reason == ""
	})
	require.Contains(t, inWave(second, 2).Reason, "tms upgrade finalize "+r.ID+" --wave 1")
	require.Equal(t, upgrader.WavePending, second.Waves[1].State)

	_, err = c.service.Finalize(t.Context(), upgrader.Command{RolloutID: r.ID, Wave: 1, Caller: "test"})
	var known *upgrader.ServiceError
	require.ErrorAs(t, err, &known)
	require.Len(t, known.Refusals, 1)
	_, err = c.service.Finalize(t.Context(), upgrader.Command{RolloutID: r.ID, Wave: 1, WithoutSnapshot: true, Caller: "test"})
	require.NoError(t, err)
	c.until(r.ID, func(r *upgrader.Rollout) bool { return r.Waves[0].State == upgrader.WaveDone })
	snapshots.empty.Store(false)
	r = c.ended(r.ID)
	require.Equal(t, upgrader.RolloutFinalized, r.State, describe(r))
	for i := range r.Tenants {
		left, err := c.engine.Indices(t.Context(), r.Tenants[i].Record.OldIndices...)
		require.NoError(t, err)
		require.Empty(t, left)
	}
	require.NoError(t, c.client.SetShardLimit(t.Context(), shardlimit.LevelTransient, nil))
}

// inWave is the first tenant of a wave.
func inWave(r *upgrader.Rollout, wave int) *upgrader.RolloutTenant {
	for i := range r.Tenants {
		if r.Tenants[i].Wave == wave {
			return &r.Tenants[i]
		}
	}
	return &upgrader.RolloutTenant{}
}
