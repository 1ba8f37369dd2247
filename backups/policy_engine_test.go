package backups_test

import (
	"context"
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
	"github.com/tracardi/tms/upgrader"
)

// scheduled starts the queue of one process, policies included.
func (b *bundle) scheduled() {
	b.t.Helper()
	runner := backups.NewRunner(b.store, b.engine, b.catalogue, "worker-"+b.t.Name(), b.log)
	rollouts := db.NewRollouts(b.db)
	upgrades := upgrader.NewRunner(rollouts, b.engine, b.catalogue, "upgrades", upgrader.Limits{}, b.log)
	q, err := db.NewQueue(b.db, rollouts, upgrades, b.log, db.BackupWork(b.store, runner), db.PolicyWork(b.store, backups.NewScheduler(b.service, b.log)))
	require.NoError(b.t, err)
	require.NoError(b.t, q.Start(b.ctx))
	b.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(b.t, q.Stop(ctx))
	})
}

// policyUntil waits until a policy is as wanted.
func (b *bundle) policyUntil(name string, wanted func(*backups.Policy) bool) *backups.Policy {
	b.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		p, err := b.service.Policy(b.ctx, name)
		require.NoError(b.t, err)
		if wanted(p) {
			return p
		}
		select {
		case <-b.ctx.Done():
			b.t.Fatalf("policy %s did not get there: %+v", name, p)
		case <-tick.C:
		}
	}
}

// missed makes a policy due since a day.
func (b *bundle) missed(name string) {
	b.t.Helper()
	_, err := b.store.ChangePolicy(b.ctx, name, nil, func(p *backups.Policy) error {
		p.NextAt = time.Now().Add(-24 * time.Hour)
		return nil
	})
	require.NoError(b.t, err)
}

// TestPolicy: of many hourly runs that were missed one is made, by whichever
// of three processes; it is drilled; retention leaves what it must.
func TestPolicy(t *testing.T) {
	t.Parallel()
	b := setup(t, devtest.Engine(t))
	repo := b.repository(backups.KindFS)
	acme, globex := b.tenant("0.8.1", 40), b.tenant("0.8.1", 20)
	// Registered and not installed: nothing of it can be drilled.
	empty := devtest.Prefix(t)
	_, err := b.db.Pool().Exec(b.ctx, `insert into tenants (id, install_token, release, cluster) values ($1, '', '0.8.1', 'default')`, empty)
	require.NoError(t, err)
	all := only(acme, globex)
	all.Tenants = append(all.Tenants, empty)
	_, err = b.service.CreatePolicy(b.ctx, caller, backups.Policy{Name: "hourly", Schedule: "@hourly", Selection: all, Drill: true, Digest: true, Retention: backups.Retention{Max: 1}})
	require.NoError(t, err)
	_, err = b.service.CreatePolicy(b.ctx, caller, backups.Policy{Name: "hourly", Schedule: "@daily", Selection: only(acme)})
	require.True(t, backups.HasReason(err, backups.ReasonWrongState), "%v", err)
	err = b.service.RemoveRepository(b.ctx, caller, repo.Name)
	require.True(t, backups.HasReason(err, backups.ReasonWrongState), "a policy writes into it: %v", err)
	b.missed("hourly")
	for range 3 {
		b.scheduled()
	}
	p := b.policyUntil("hourly", func(p *backups.Policy) bool { return p.LastSuccess != nil && p.LastDrill != nil })
	require.True(t, p.LastDrill.OK, p.LastDrill.Reason)
	require.True(t, p.NextAt.After(time.Now()), p.NextAt)
	made := b.madeBy("hourly")
	require.Len(t, made, 1, "missed runs are caught up by one")
	require.Equal(t, "policy hourly", made[0].Snapshot.Purpose)
	drilled := p.LastDrill.Tenant

	// The next drill is the other tenant's, and the first snapshot goes. A
	// tenant that is gone is left out, and named.
	for _, set := range []string{`deleted_at = now(), purge_at = now()`, `purge_started_at = now()`, `purged_at = now()`} {
		_, err = b.db.Pool().Exec(b.ctx, `update tenants set `+set+` where id = $1`, empty)
		require.NoError(t, err)
	}
	second, err := b.service.RunPolicy(b.ctx, caller, "hourly", "again")
	require.NoError(t, err)
	p = b.policyUntil("hourly", func(p *backups.Policy) bool {
		return p.LastSuccess.Run == second.ID && p.LastDrill.Tenant != drilled && p.LastSweep != nil
	})
	require.True(t, p.LastDrill.OK, p.LastDrill.Reason)
	require.Contains(t, p.LastSuccess.Reason, "without "+empty)
	b.until(backups.RunSnapshot, made[0].ID, func(r *backups.Run) bool { return r.State == backups.StateDeleted })
	require.Equal(t, []string{second.ID}, names(b.madeBy("hourly")))
	require.NotContains(t, b.must("GET", "/_cat/indices?h=index", ""), "tms-drill-"+acme.Name())

	// One that holds less may not push the last good one of globex out.
	p.Selection = only(acme)
	_, err = b.service.UpdatePolicy(b.ctx, caller, *p)
	require.NoError(t, err)
	_, err = b.service.UpdatePolicy(b.ctx, caller, *p)
	require.True(t, backups.HasReason(err, backups.ReasonWrongState), "the etag is old: %v", err)
	third, err := b.service.RunPolicy(b.ctx, caller, "hourly", "and again")
	require.NoError(t, err)
	p = b.policyUntil("hourly", func(p *backups.Policy) bool { return p.LastSweep != nil && len(p.LastSweep.Held) > 0 })
	require.Contains(t, p.LastSweep.Held[0], "the last good one of tenant "+globex.Name())
	require.Equal(t, []string{third.ID, second.ID}, names(b.madeBy("hourly")))

	require.NoError(t, b.service.DeletePolicy(b.ctx, caller, "hourly"))
	require.Equal(t, backups.StateSuccess, b.until(backups.RunSnapshot, third.ID, ended).State, "snapshots outlive their policy")
}

// madeBy lists the snapshots of a policy that are not gone, newest first.
func (b *bundle) madeBy(policy string) []*backups.Run {
	b.t.Helper()
	found, err := b.store.Runs(b.ctx, backups.Filter{Kind: backups.RunSnapshot, Policy: policy, Limit: 100, States: []backups.State{
		backups.StatePlanned, backups.StatePrepared, backups.StateRunning, backups.StateVerifying, backups.StateSuccess, backups.StatePartial, backups.StateFailed,
	}})
	require.NoError(b.t, err)
	return found
}

func names(runs []*backups.Run) (out []string) {
	for _, r := range runs {
		out = append(out, r.ID)
	}
	return out
}

// TestDrillFindsCorruption: a file of the repository rots; snapshots are taken
// as if nothing were, and the drill tells. Retention keeps the older one.
func TestDrillFindsCorruption(t *testing.T) {
	t.Parallel()
	for _, kind := range []devstack.EngineKind{devstack.Elasticsearch717, devstack.OpenSearch219} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			drillCorruption(t, devtest.EngineOf(t, kind))
		})
	}
}

func drillCorruption(t *testing.T, url string) {
	b := setup(t, url)
	b.scheduled()
	repo := b.repository(backups.KindFS)
	acme := b.tenant("0.8.1", 60)
	_, err := b.service.CreatePolicy(b.ctx, caller, backups.Policy{Name: "yearly", Schedule: "0 0 1 1 *", Repository: repo.Name, Selection: only(acme)})
	require.NoError(t, err)
	older, snap := b.runPolicy("yearly"), b.runPolicy("yearly")
	_, err = b.service.Drill(b.ctx, caller, backups.DrillOrder{Tenant: "nobody-known"})
	require.True(t, backups.HasReason(err, backups.ReasonRefused), "%v", err)
	drill, err := b.service.Drill(b.ctx, caller, backups.DrillOrder{Tenant: acme.Name()})
	require.NoError(t, err)
	drill = b.until(backups.RunRestore, drill.ID, ended)
	require.Equal(t, backups.StateSuccess, drill.State, drill.Reason)
	require.Equal(t, snap.ID, drill.Restore.Snapshot)
	require.Positive(t, drill.Restore.Verified.Docs)

	require.Positive(t, rot(t, repo.Settings["location"]))
	drill, err = b.service.Drill(b.ctx, caller, backups.DrillOrder{Tenant: acme.Name()})
	require.NoError(t, err)
	drill = b.until(backups.RunRestore, drill.ID, ended)
	require.Equal(t, backups.StateFailed, drill.State)
	t.Log(drill.Reason)
	require.NotContains(t, b.must("GET", "/_cat/indices?h=index", ""), drill.Restore.Beside, "nothing stays behind")
	b.judge(acme, "0.8.1")
	all, err := b.store.Runs(b.ctx, backups.Filter{Kind: backups.RunRestore, Drills: true, Tenant: acme.Name(), Limit: 10})
	require.NoError(t, err)
	require.Len(t, all, 2, "both outcomes are kept")

	// The newest one is in doubt: one more than max stays.
	_, err = b.store.ChangePolicy(b.ctx, "yearly", nil, func(p *backups.Policy) error {
		p.Retention.Max, p.RetainAt, p.LastSweep = 1, time.Now(), nil
		return nil
	})
	require.NoError(t, err)
	b.policyUntil("yearly", func(p *backups.Policy) bool { return p.LastSweep != nil })
	require.Equal(t, []string{snap.ID, older.ID}, names(b.madeBy("yearly")))
}

// runPolicy takes a snapshot by a policy, which must succeed and be noted.
func (b *bundle) runPolicy(name string) *backups.Run {
	b.t.Helper()
	r, err := b.service.RunPolicy(b.ctx, caller, name, "")
	require.NoError(b.t, err)
	b.policyUntil(name, func(p *backups.Policy) bool { return p.LastSuccess != nil && p.LastSuccess.Run == r.ID })
	return b.until(backups.RunSnapshot, r.ID, ended)
}

// rot flips a byte in the middle of every file of data in a repository, and
// counts them.
func rot(t *testing.T, location string) (n int) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(location, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasPrefix(d.Name(), "__") {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil || len(raw) == 0 {
			return err
		}
		raw[len(raw)/2] ^= 0xff
		n++
		return os.WriteFile(path, raw, 0o600)
	}))
	return n
}
