package upgrader_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
)

// rehearsing adds rehearsals to a bundle.
func (b *bundle) rehearsing() (*db.Rehearsals, *upgrader.Rehearser) {
	store := db.NewRehearsals(b.db)
	b.service.WithRehearsals(store)
	runner := upgrader.NewRunner(b.store, b.engine, b.catalogue, "rehearser", upgrader.Limits{StreamDocs: 300}, b.log)
	return store, upgrader.NewRehearser(store, runner)
}

func (b *bundle) rehearse(r *upgrader.Rehearser, tenant string, sample int) *upgrader.Rehearsal {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 2*time.Minute)
	defer cancel()
	one, err := b.service.Rehearse(ctx, upgrader.RehearsalRequest{TenantID: tenant, ToRelease: "0.8.2", Sample: sample, Caller: "test"})
	require.NoError(b.t, err)
	require.NoError(b.t, r.Work(ctx, one.ID))
	one, err = b.service.Rehearsal(ctx, one.ID)
	require.NoError(b.t, err)
	return one
}

// names of all indices that match, with their aliases.
func (b *bundle) names(patterns ...string) []string {
	b.t.Helper()
	found, err := b.engine.Indices(b.t.Context(), patterns...)
	require.NoError(b.t, err)
	var out []string
	for _, ix := range found {
		out = append(out, ix.Name+" "+strings.Join(ix.Aliases, ","))
	}
	return out
}

// made lists what rehearsals of one id have made and not removed.
func (b *bundle) made(id string) []string { return b.names("tms~rehearsal~" + id + "-*") }

// A rehearsal finds what the upgrade finds, and leaves no trace.
func TestRehearsal(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, rehearser := b.rehearsing()
	tenant := b.tenant("0.8.1", 2)
	require.NoError(t, tenant.Fill(t.Context(), 1500))
	odd, err := tenant.Awkward(t.Context(), true)
	require.NoError(t, err)
	require.NotEmpty(t, odd)
	name := tenant.Name()
	var everything []string
	for _, prefix := range []string{"08x.", "0820."} {
		for _, mode := range []string{"", "prod-", "static-"} {
			everything = append(everything, mode+prefix+name+".*")
		}
	}
	before := b.names(everything...)

	whole := b.rehearse(rehearser, name, 0)
	require.Equal(t, upgrader.RehearsalSucceeded, whole.State, whole.Reason)
	require.Equal(t, upgrader.VerdictEqual, whole.Report.Verdict, "%v", whole.Report.Problems)
	require.Positive(t, whole.Report.Quarantined)
	require.NotEmpty(t, whole.Report.Findings)
	require.Positive(t, whole.Report.Compared)
	require.Positive(t, whole.Report.Estimate)
	require.Equal(t, whole.Report.Indices, whole.Report.Removed)
	require.Empty(t, b.made(whole.ID))
	require.Equal(t, before, b.names(everything...), "the tenant is as it was")
	for _, f := range whole.Report.Findings {
		require.NotContains(t, f.Index, "~")
	}

	part := b.rehearse(rehearser, name, 40)
	require.Equal(t, upgrader.VerdictEqual, part.Report.Verdict, "%v", part.Report.Problems)
	require.Less(t, part.Report.Documents, whole.Report.Documents/2)
	require.Positive(t, part.Report.Documents)
	require.Equal(t, whole.Report.Total, part.Report.Total)
	require.Empty(t, b.made(part.ID))

	// The upgrade itself comes to the same. It waits for a rehearsal that says so:
	// the newest was of a release that was defined otherwise.
	store := db.NewRehearsals(b.db)
	runner := upgrader.NewRunner(b.store, b.engine, b.catalogue, "worker", upgrader.Limits{}, b.log).
		WithGates(upgrader.GateSources{Extend: upgrader.RehearsalFacts(store, b.catalogue)})
	b.queue(runner)
	_, err = b.pool.Exec(t.Context(), `update operations set report = jsonb_set(report, '{digests}', '["of another definition"]') where id = $1`, part.ID)
	require.NoError(t, err)
	begun, err := b.service.Start(t.Context(), upgrader.Request{ // not b.start, which asks no gate
		ToRelease: "0.8.2", Caller: "test",
		Options: upgrader.Options{Tenants: []string{name}, AllowQuarantine: whole.Report.Quarantined, RequireRehearsal: true},
	})
	require.NoError(t, err)
	id := begun.ID
	b.until(id, func(r *upgrader.Rollout) bool {
		return strings.Contains(r.Tenants[0].Reason, "gate rehearsed: the release was defined anew")
	})
	b.rehearse(rehearser, name, 40)
	r := b.ended(id)
	require.Equal(t, upgrader.RolloutComplete, r.State, describe(r))
	require.Equal(t, whole.Report.Quarantined, r.Tenants[0].Quarantined)
	_, err = b.service.Rehearse(t.Context(), upgrader.RehearsalRequest{TenantID: name, ToRelease: "0.8.2"})
	var refused *upgrader.ServiceError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "nothing_to_rehearse", refused.Refusals[0].Code)
}

// What a dead worker has left is removed by the next one, or by the sweep; a
// cancelled rehearsal stops and is not taken up again.
func TestRehearsalOfTheDead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	store, rehearser := b.rehearsing()
	tenant := b.tenant("0.8.1", 1)
	require.NoError(t, tenant.Fill(t.Context(), 50))
	ctx := t.Context()
	one, err := b.service.Rehearse(ctx, upgrader.RehearsalRequest{TenantID: tenant.Name(), ToRelease: "0.8.2", Caller: "test"})
	require.NoError(t, err)
	again, err := b.service.Rehearse(ctx, upgrader.RehearsalRequest{TenantID: tenant.Name(), ToRelease: "0.8.2", Caller: "test"})
	require.NoError(t, err)
	require.Equal(t, one.ID, again.ID, "asked for twice, begun once")
	_, err = b.service.Rehearse(ctx, upgrader.RehearsalRequest{TenantID: tenant.Name(), ToRelease: "0.8.2", Sample: 3})
	require.ErrorContains(t, err, "runs already")

	// A worker takes it, makes an index and is gone.
	dead, err := store.ClaimRehearsal(ctx, one.ID, "dead", time.Minute)
	require.NoError(t, err)
	require.Equal(t, 1, dead.Attempts)
	left := "tms~rehearsal~" + one.ID + "-1~0820." + tenant.Name() + ".tracardi-rule"
	require.NoError(t, b.engine.CreateIndex(ctx, left, upgrader.IndexBody{}))
	_, err = rehearser.Sweep(ctx)
	require.NoError(t, err)
	require.Len(t, b.made(one.ID), 1, "its claim still lives")
	require.NoError(t, rehearser.Work(ctx, one.ID), "taken: nothing is done")

	_, err = b.pool.Exec(ctx, `update operations set lease_until = now() where id = $1`, one.ID)
	require.NoError(t, err)
	require.NoError(t, rehearser.Work(ctx, one.ID))
	done, err := b.service.Rehearsal(ctx, one.ID)
	require.NoError(t, err)
	require.Equal(t, upgrader.VerdictEqual, done.Report.Verdict, done.Reason)
	require.Equal(t, 2, done.Attempts)
	require.Empty(t, b.made(one.ID))
	require.ErrorIs(t, store.ExtendRehearsal(ctx, one.ID, "dead", time.Minute), upgrader.ErrLeaseLost)

	// It wakes up and makes another one: the sweep finds that.
	require.NoError(t, b.engine.CreateIndex(ctx, left, upgrader.IndexBody{}))
	_, err = rehearser.Sweep(ctx)
	require.NoError(t, err)
	require.Empty(t, b.made(one.ID))

	another, err := b.service.Rehearse(ctx, upgrader.RehearsalRequest{TenantID: tenant.Name(), ToRelease: "0.8.2", Caller: "test"})
	require.NoError(t, err)
	sealer, err := tenants.NewSealer("secret of the test")
	require.NoError(t, err)
	purges := db.NewPurges(db.NewRegistry(b.db, sealer))
	_, err = purges.BeginPurge(ctx, &tenants.Operation{ID: "purge", Kind: tenants.KindPurge, TenantID: tenant.Name(), State: tenants.OperationRunning}, true, tenants.Audit{}, func(*tenants.Tenant) error { return nil })
	require.ErrorContains(t, err, "is being rehearsed")
	cancelled, err := b.service.CancelRehearsal(ctx, another.ID, "test")
	require.NoError(t, err)
	require.Equal(t, upgrader.RehearsalFailed, cancelled.State)
	require.Contains(t, cancelled.Reason, "cancelled by test")
	require.NoError(t, rehearser.Work(ctx, another.ID))
	all, err := b.service.Rehearsals(ctx, tenant.Name(), "", 10)
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, another.ID, all[0].ID)
	require.True(t, slices.ContainsFunc(all, func(r *upgrader.Rehearsal) bool { return r.ID == one.ID }))

	// Progress is estimated from the rehearsal while nothing was upgraded.
	samples, err := b.store.Samples(ctx, upgrader.DefaultCluster, "r0")
	require.NoError(t, err)
	require.Len(t, samples, 1)
	rate, err := b.store.CopyRate(ctx, upgrader.DefaultCluster)
	require.NoError(t, err)
	require.True(t, rate.Rehearsed)
	require.Equal(t, 1, rate.Tenants)
	require.Equal(t, samples[0].Took, rate.Typical)
	_, _, err = purges.ErasePurged(ctx, tenant.Name())
	require.NoError(t, err)
	all, err = b.service.Rehearsals(ctx, tenant.Name(), "", 10)
	require.NoError(t, err)
	require.Empty(t, all[1].Report.Findings, "nothing of a purged tenant stays")
}
