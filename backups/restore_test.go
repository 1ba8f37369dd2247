package backups_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/backups"
	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/internal/devstack"
	"github.com/tracardi/tms/internal/devstack/devtest"
	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/upgrader"
)

// TestSnapshotAndRestore takes a snapshot of two tenants while one is written
// to, and brings one back: beside, in place over damage, and from nothing.
func TestSnapshotAndRestore(t *testing.T) {
	t.Parallel()
	// Tenants of 0.8.1 need flattened fields, which 7.10 OSS has not.
	for _, kind := range []devstack.EngineKind{devstack.Elasticsearch717, devstack.OpenSearch219} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			roundTrip(t, devtest.EngineOf(t, kind))
		})
	}
}

func roundTrip(t *testing.T, url string) {
	b := setup(t, url)
	b.worker(b.engine)
	repo := b.repository(backups.KindFS)
	acme, other := b.tenant("0.8.1", 300), b.tenant("0.8.2", 60)
	writer := other.StartWriter(b.ctx, fleet.WriterConfig{Rate: 50, Bulk: 5, Seed: 2})
	snap := b.snapshot(repo.Name, backups.SnapshotOrder{Selection: only(acme, other), Digest: true})
	require.NoError(t, writer.Stop())
	require.Equal(t, "0.8.1", snap.Snapshot.Releases[acme.Name()])
	require.Positive(t, snap.Snapshot.Docs)
	require.NotContains(t, b.must("GET", "/_cat/indices?h=index", ""), backups.ManifestIndex(snap.ID))

	// A purge may rely on it for whom nothing was written since.
	b.verified(acme, snap.ID)
	b.verified(other, "")

	// Beside, for a look.
	look := b.restore(backups.RestoreOrder{Snapshot: snap.ID, Tenant: other.Name(), Beside: "look-" + other.Name()})
	require.Equal(t, len(look.Restore.Plan.Indices), look.Restore.Verified.Indices)
	require.Contains(t, b.must("GET", "/_cat/indices?h=index", ""), "look-"+other.Name()+".0820."+other.Name()+".")
	_, err := b.service.RemoveRestore(b.ctx, caller, look.ID)
	require.NoError(t, err)
	b.until(backups.RunRestore, look.ID, func(r *backups.Run) bool { return r.State == backups.StateDeleted })
	require.NotContains(t, b.must("GET", "/_cat/indices?h=index", ""), "look-"+other.Name())
	b.judge(other, "0.8.2")

	// In place: refused without --replace, then over damage.
	_, err = b.service.Restore(b.ctx, caller, backups.RestoreOrder{Snapshot: snap.ID, Tenant: acme.Name()})
	require.True(t, backups.HasReason(err, backups.ReasonRefused), "%v", err)
	require.ErrorContains(t, err, "would be overwritten")
	b.must("POST", "/08x."+acme.Name()+".*/_delete_by_query?refresh=true&conflicts=proceed", `{"query":{"match_all":{}}}`)
	b.verified(acme, "")
	back := b.restore(backups.RestoreOrder{Snapshot: snap.ID, Tenant: acme.Name(), Replace: true})
	require.NotNil(t, back.Restore.Rehearsed)
	require.Equal(t, back.Restore.Verified.Indices, back.Restore.Verified.Digested, "nobody wrote to acme")
	b.judge(acme, "0.8.1")
	b.judge(other, "0.8.2")

	// From nothing.
	require.NoError(t, acme.Remove(b.ctx))
	again := b.restore(backups.RestoreOrder{Snapshot: snap.ID, Tenant: acme.Name()})
	require.Nil(t, again.Restore.Rehearsed, "nothing is replaced")
	b.judge(acme, "0.8.1")

	// Gone.
	_, err = b.service.Delete(b.ctx, caller, snap.ID)
	require.NoError(t, err)
	b.until(backups.RunSnapshot, snap.ID, func(r *backups.Run) bool { return r.State == backups.StateDeleted })
	require.False(t, strings.Contains(b.must("GET", "/_snapshot/"+repo.Name+"/_all", ""), snap.ID))
}

// verified asks for the snapshot that a purge could rely on.
func (b *bundle) verified(t *fleet.Tenant, want string) {
	b.t.Helper()
	name, err := b.service.Verified(b.ctx, t.Name(), time.Time{})
	require.NoError(b.t, err)
	require.Equal(b.t, want, name)
}

// TestBackToBeforeAnUpgrade upgrades behind a snapshot, deletes the old version
// because the snapshot holds it, and brings it back out of the snapshot.
func TestBackToBeforeAnUpgrade(t *testing.T) {
	t.Parallel()
	b := setup(t, devtest.Engine(t))
	b.worker(b.engine)
	repo := b.repository(backups.KindFS)
	acme := b.tenant("0.8.1", 100)
	upgrades := upgrader.NewService(db.NewRollouts(b.db), b.engine, b.catalogue, nil).WithSnapshots(b.service)
	_, err := upgrades.Start(b.ctx, upgrader.Request{ToRelease: "0.8.2", Options: upgrader.Options{Snapshot: "after"}})
	require.ErrorContains(t, err, "options.snapshot")
	without, err := upgrades.Start(b.ctx, upgrader.Request{ToRelease: "0.8.2", Options: upgrader.Options{HoldSwitch: true}})
	require.NoError(t, err)
	_, err = b.service.Restore(b.ctx, caller, backups.RestoreOrder{Snapshot: b.snapshot(repo.Name, backups.SnapshotOrder{Selection: only(acme)}).ID, Tenant: acme.Name(), Replace: true})
	require.True(t, backups.HasReason(err, backups.ReasonRefused), "a rollout works on it: %v", err)
	_, err = upgrades.Cancel(b.ctx, upgrader.Command{RolloutID: without.ID})
	require.NoError(t, err)
	b.rollout(upgrades, without.ID, upgrader.RolloutCancelled)

	r, err := upgrades.Start(b.ctx, upgrader.Request{ToRelease: "0.8.2", Options: upgrader.Options{Snapshot: upgrader.SnapshotBefore}})
	require.NoError(t, err)
	require.NotEmpty(t, r.Options.SnapshotName)
	b.rollout(upgrades, r.ID, upgrader.RolloutComplete)
	b.judge(acme, "0.8.2")
	snap, err := b.service.Run(b.ctx, backups.RunSnapshot, r.Options.SnapshotName)
	require.NoError(t, err)
	require.Equal(t, backups.StateSuccess, snap.State)

	// A second opinion: without a snapshot the old version stays.
	none := upgrader.NewService(db.NewRollouts(b.db), b.engine, b.catalogue, nil).WithSnapshots(nothing{b.service})
	_, err = none.Finalize(b.ctx, upgrader.Command{RolloutID: r.ID})
	require.ErrorContains(t, err, "no snapshot holds its old version")
	_, err = upgrades.Finalize(b.ctx, upgrader.Command{RolloutID: r.ID})
	require.NoError(t, err)
	b.rollout(upgrades, r.ID, upgrader.RolloutFinalized)

	planned, refusals, err := b.service.Plan(b.ctx, backups.RestoreOrder{Snapshot: snap.ID, Tenant: acme.Name(), Replace: true})
	require.NoError(t, err)
	require.Empty(t, refusals)
	require.Equal(t, "0.8.2", planned.Plan.FromRelease)
	require.NotEmpty(t, planned.Plan.Aside)
	b.restore(backups.RestoreOrder{Snapshot: snap.ID, Tenant: acme.Name(), Replace: true})
	b.judge(acme, "0.8.1")
	var release string
	require.NoError(t, b.db.Pool().QueryRow(b.ctx, `select release from tenants where id = $1`, acme.Name()).Scan(&release))
	require.Equal(t, "0.8.1", release)
}

// nothing is a store of snapshots that holds none.
type nothing struct{ *backups.Service }

func (nothing) Holds(context.Context, string, []string, time.Time) (name, why string, err error) {
	return "", "there is none", nil
}

func (b *bundle) rollout(s *upgrader.Service, id string, state upgrader.RolloutState) {
	b.t.Helper()
	b.rolloutIs(s, id, func(r *upgrader.Rollout) bool { return r.State == state })
}

// rolloutIs waits until a rollout is as wanted; it must not fail.
func (b *bundle) rolloutIs(s *upgrader.Service, id string, wanted func(*upgrader.Rollout) bool) {
	b.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		r, err := s.Get(b.ctx, id)
		require.NoError(b.t, err)
		if wanted(r) {
			return
		}
		require.NotEqual(b.t, upgrader.RolloutFailed, r.State, "%+v", r.Tenants)
		select {
		case <-b.ctx.Done():
			b.t.Fatalf("rollout is %s: %+v", r.State, r.Tenants)
		case <-tick.C:
		}
	}
}

// TestDamagedRepository: a file that is damaged is found before anything of the
// tenant is overwritten.
func TestDamagedRepository(t *testing.T) {
	t.Parallel()
	b := setup(t, devtest.Engine(t))
	b.worker(b.engine)
	repo := b.repository(backups.KindFS)
	acme := b.tenant("0.8.1", 100)
	snap := b.snapshot(repo.Name, backups.SnapshotOrder{Selection: only(acme)})
	damaged := 0
	require.NoError(t, filepath.WalkDir(repo.Settings["location"]+"/indices", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasPrefix(d.Name(), "__") {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for i := range raw {
			raw[i] ^= 0xff
		}
		damaged++
		return os.WriteFile(path, raw, 0o600)
	}))
	require.Positive(t, damaged)
	r, err := b.service.Restore(b.ctx, caller, backups.RestoreOrder{Snapshot: snap.ID, Tenant: acme.Name(), Replace: true})
	require.NoError(t, err)
	r = b.until(backups.RunRestore, r.ID, ended)
	require.Equal(t, backups.StateFailed, r.State)
	require.Contains(t, r.Reason, "the engine could not restore")
	require.Nil(t, r.Restore.Rehearsed)
	require.True(t, r.Restore.FencedAt.IsZero(), "writes were never refused")
	require.NotContains(t, b.must("GET", "/_cat/indices?h=index", ""), r.ID)
	b.judge(acme, "0.8.1")
}

// TestOneOfFifty restores one tenant out of a snapshot of fifty; nobody else's
// index is touched. A database that was lost is rebuilt from the repository.
// On the oldest engine.
func TestOneOfFifty(t *testing.T) {
	t.Parallel()
	b := setup(t, devtest.EngineOf(t, devstack.Elasticsearch710))
	b.worker(b.engine)
	repo := b.repository(backups.KindFS)
	var fleet backups.Selection
	for i := range 50 {
		id := fmt.Sprintf("%s%02d", repo.Name, i) // removed with the repository's name
		for _, index := range []string{"08x." + id + ".tracardi-rule", "prod-08x." + id + ".tracardi-rule"} {
			alias := strings.Replace(index, "08x.", "", 1)
			b.must("PUT", "/"+index, `{"settings":{"number_of_shards":1,"number_of_replicas":0},"aliases":{"`+alias+`":{}}}`)
			b.must("PUT", "/"+index+"/_doc/1?refresh=true", `{"id":"1","of":"`+id+`"}`)
		}
		_, err := b.db.Pool().Exec(b.ctx, `insert into tenants (id, install_token, release, cluster, labels) values ($1, '', '0.8.1', 'default', '{"tier":"gold"}')`, id)
		require.NoError(t, err)
		fleet.Tenants = append(fleet.Tenants, id)
	}
	snap := b.snapshot(repo.Name, backups.SnapshotOrder{Selection: backups.Selection{Labels: map[string]string{"tier": "gold"}}, Digest: true})
	require.Equal(t, fleet.Tenants, snap.Tenants)
	require.Equal(t, 100, snap.Snapshot.Indices)

	one := fleet.Tenants[7]
	b.must("POST", "/08x."+one+".tracardi-rule/_update/1?refresh=true", `{"doc":{"of":"nobody"}}`)
	others := func() map[string]upgrader.IndexStats {
		all, err := b.engine.Stats(b.ctx, "08x."+repo.Name+"*", "prod-08x."+repo.Name+"*")
		require.NoError(t, err)
		for name := range all {
			if strings.Contains(name, one) {
				delete(all, name)
			}
		}
		return all
	}
	before := others()
	require.Len(t, before, 98)
	r := b.restore(backups.RestoreOrder{Snapshot: snap.ID, Tenant: one, Replace: true})
	require.Equal(t, 2, r.Restore.Verified.Digested)
	require.Contains(t, b.must("GET", "/"+one+".tracardi-rule/_doc/1", ""), `"of":"`+one+`"`)
	require.Equal(t, before, others())

	// Another installation on the same repository.
	lost := setup(t, b.url)
	_, err := lost.service.PutRepository(b.ctx, caller, backups.Repository{Name: repo.Name, Kind: repo.Kind, Settings: repo.Settings})
	require.NoError(t, err)
	found, err := lost.service.Import(b.ctx, caller, repo.Name)
	require.NoError(t, err)
	require.Equal(t, []string{snap.ID}, found)
	lost.worker(lost.engine)
	look := lost.restore(backups.RestoreOrder{Snapshot: snap.ID, Tenant: one, Beside: "look-" + repo.Name, Remove: true})
	require.Equal(t, 2, look.Restore.Verified.Digested)
	require.NotContains(t, b.must("GET", "/_cat/indices?h=index", ""), "look-"+repo.Name)
	again, err := lost.service.Import(b.ctx, caller, repo.Name)
	require.NoError(t, err)
	require.Empty(t, again)
}

// TestEngineRestartsInTheMiddle kills the only node while it writes a snapshot,
// and while it restores one.
func TestEngineRestartsInTheMiddle(t *testing.T) {
	t.Parallel()
	engine, err := devstack.StartEngine(t.Context(), devstack.EngineOptions{Dir: t.TempDir(), Heap: "512m", ShortLived: true})
	require.NoError(t, err)
	t.Cleanup(func() { _ = engine.Stop() })
	b := setup(t, engine.URL())
	b.worker(b.engine)
	name := devtest.Prefix(t)
	_, err = b.service.PutRepository(b.ctx, caller, backups.Repository{Name: name, Kind: backups.KindFS, Settings: map[string]string{
		"location": engine.SnapshotDir() + "/slow", "max_snapshot_bytes_per_sec": "250kb", "max_restore_bytes_per_sec": "60kb",
	}})
	require.NoError(t, err)
	acme := b.tenant("0.8.1", 1500)
	restart := func() {
		engine.Nodes()[0].Kill()
		require.NoError(t, engine.Nodes()[0].Start(b.ctx))
	}
	snap, err := b.service.Create(b.ctx, caller, backups.SnapshotOrder{Selection: only(acme)})
	require.NoError(t, err)
	b.until(backups.RunSnapshot, snap.ID, func(r *backups.Run) bool { return r.State == backups.StateRunning && r.Progress.ShardsDone > 0 })
	restart()
	snap = b.until(backups.RunSnapshot, snap.ID, ended)
	require.Equal(t, backups.StateSuccess, snap.State, snap.Reason)
	t.Log(snap.Notes)

	r, err := b.service.Restore(b.ctx, caller, backups.RestoreOrder{Snapshot: snap.ID, Tenant: acme.Name(), Replace: true, NoRehearsal: true})
	require.NoError(t, err)
	// Few bytes, three seconds: whether progress is seen meanwhile is chance.
	b.until(backups.RunRestore, r.ID, func(r *backups.Run) bool { return r.State == backups.StateRunning })
	restart()
	r = b.until(backups.RunRestore, r.ID, ended)
	require.Equal(t, backups.StateSuccess, r.State, r.Reason)
	t.Log(r.Notes)
	b.judge(acme, "0.8.1")
}
