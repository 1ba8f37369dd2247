package backups_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/backups"
	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/internal/devstack/devtest"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/schema"
)

// What keeps a snapshot from being taken before a rollout is in its plan; and a
// tenant that joins when the snapshot was taken already gets its own before
// anything of it is touched.
func TestSnapshotsOfThoseWhoJoin(t *testing.T) {
	t.Parallel()
	b := setup(t, devtest.Engine(t))
	b.worker(b.engine)
	acme := b.tenant("0.8.1", 20)
	upgrades := upgrader.NewService(db.NewRollouts(b.db), b.engine, b.catalogue, nil).WithSnapshots(b.service)
	request := upgrader.Request{ToRelease: "0.8.2", Options: upgrader.Options{Snapshot: upgrader.SnapshotBefore, HoldSwitch: true}}
	refused := func(says string) {
		t.Helper()
		p, err := upgrades.Plan(b.ctx, request)
		require.NoError(t, err)
		require.Len(t, p.Refusals, 1)
		require.Equal(t, "snapshot_repository", p.Refusals[0].Code)
		require.Contains(t, p.Refusals[0].Message, says)
		require.Contains(t, p.Refusals[0].Remedy, "tms backup repo")
		_, err = upgrades.Start(b.ctx, request)
		require.ErrorContains(t, err, says)
		runs, err := b.service.Runs(b.ctx, backups.Filter{Kind: backups.RunSnapshot, Limit: 1})
		require.NoError(t, err)
		require.Empty(t, runs)
	}
	refused("before the rollout: there is no repository to write to")
	repo := b.repository(backups.KindFS)
	request.Options.SnapshotRepositories = []string{"elsewhere"}
	refused(`before the rollout: repository "elsewhere" is not registered`)
	request.Options.SnapshotRepositories = nil
	require.NoError(t, b.engine.DeleteRepository(b.ctx, repo.Name))
	refused("cluster default does not know repository " + repo.Name)
	require.NoError(t, b.engine.PutRepository(b.ctx, *repo))

	r, err := upgrades.Start(b.ctx, request)
	require.NoError(t, err)
	late := b.tenant("0.8.1", 20)
	joined := func(r *upgrader.Rollout) *upgrader.RolloutTenant {
		for i := range r.Tenants {
			if r.Tenants[i].TenantID == late.Name() {
				return &r.Tenants[i]
			}
		}
		return nil
	}
	b.rolloutIs(upgrades, r.ID, func(r *upgrader.Rollout) bool {
		one := joined(r)
		return one != nil && one.State == upgrader.TenantCompared
	})
	r, err = upgrades.Get(b.ctx, r.ID)
	require.NoError(t, err)
	own := joined(r).Record.Snapshot
	require.NotEmpty(t, own)
	require.NotEqual(t, r.Options.SnapshotName, own)
	run, err := b.service.Run(b.ctx, backups.RunSnapshot, own)
	require.NoError(t, err)
	require.Equal(t, backups.StateSuccess, run.State)
	require.Equal(t, []string{late.Name()}, run.Tenants)
	made, err := b.engine.Indices(b.ctx, "0820."+late.Name()+".*", "prod-0820."+late.Name()+".*")
	require.NoError(t, err)
	require.NotEmpty(t, made)
	for _, ix := range made { // the engine runs on this machine, by the same clock
		at, err := strconv.ParseInt(fmt.Sprint(schema.Flatten(ix.Settings)["creation_date"]), 10, 64)
		require.NoError(t, err)
		require.False(t, time.UnixMilli(at).Before(run.FinishedAt.Truncate(time.Millisecond)), "%s was made before the end of the snapshot", ix.Name)
	}
	again, err := b.service.BeginJoining(b.ctx, "test", r.ID, nil, late.Name())
	require.NoError(t, err)
	require.Equal(t, own, again, "asked again, it is the same")
	_, err = upgrades.Switch(b.ctx, upgrader.Command{RolloutID: r.ID})
	require.NoError(t, err)
	b.rollout(upgrades, r.ID, upgrader.RolloutComplete)
	_, err = upgrades.Finalize(b.ctx, upgrader.Command{RolloutID: r.ID})
	require.NoError(t, err, "both snapshots count")
	b.rollout(upgrades, r.ID, upgrader.RolloutFinalized)
	b.judge(acme, "0.8.2")
	b.judge(late, "0.8.2")
}

// A repository that was named for another cluster is not one for the tenant.
func TestJoiningGoesIntoItsCluster(t *testing.T) {
	t.Parallel()
	b := setup(t, devtest.Engine(t))
	b.twoHomes(map[string]string{"acme": "default", "beta": "eu"}, map[string]string{"home": "", "far": "eu", "far2": "eu"})
	for name, c := range map[string]struct {
		tenant       string
		repositories []string
		into, why    string
	}{
		"its own of several": {"beta", []string{"home", "far2"}, "far2", ""},
		"the only one":       {"acme", []string{"far"}, "home", ""},
		"too many to choose": {"beta", []string{"home"}, "", "there are 2 repositories to choose from"},
		"nobody":             {"gamma", nil, "", "is not registered"},
	} {
		id, err := b.service.BeginJoining(b.ctx, "test", "r "+name, c.repositories, c.tenant)
		if c.why != "" {
			require.ErrorContains(t, err, c.why, name)
			continue
		}
		require.NoError(t, err, name)
		r, err := b.service.Run(b.ctx, backups.RunSnapshot, id)
		require.NoError(t, err)
		require.Equal(t, c.into, r.Repository, name)
	}
}
