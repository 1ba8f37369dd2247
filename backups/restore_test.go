package backups_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/backups"
	"github.com/tracardi/tms/internal/devstack/devtest"
	"github.com/tracardi/tms/internal/fleet"
)

// TestSnapshotAndRestore takes a snapshot of two tenants while one is written
// to, and brings one back: beside, in place over damage, and from nothing.
func TestSnapshotAndRestore(t *testing.T) {
	t.Parallel()
	b := setup(t, devtest.Engine(t))
	b.worker(b.engine)
	repo := b.repository(backups.KindFS)
	acme, other := b.tenant("0.8.1", 300), b.tenant("0.8.2", 60)
	writer := other.StartWriter(b.ctx, fleet.WriterConfig{Rate: 50, Bulk: 5, Seed: 2})
	snap := b.snapshot(repo.Name, backups.SnapshotOrder{Selection: only(acme, other), Digest: true})
	require.NoError(t, writer.Stop())
	require.Equal(t, "0.8.1", snap.Snapshot.Releases[acme.Name()])
	require.Positive(t, snap.Snapshot.Docs)
	require.NotContains(t, b.must("GET", "/_cat/indices?h=index", ""), backups.ManifestIndex(snap.ID))

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
