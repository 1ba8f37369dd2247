package backups_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/backups"
	"github.com/tracardi/tms/internal/devstack/devtest"
)

// oddStore loses the first attempts to say that a tenant was restored.
type oddStore struct {
	backups.Store
	lose atomic.Int64
	lost func() // after each
}

func (s *oddStore) MarkRestored(ctx context.Context, l *backups.Lease, r *backups.Run, release string) error {
	if s.lose.Add(-1) >= 0 {
		s.lost()
		return errors.New("the database has no answer")
	}
	return s.Store.MarkRestored(ctx, l, r, release)
}

// status sends a document to an index and returns the answer's status.
func (b *bundle) status(index, id string) int {
	req, err := http.NewRequestWithContext(b.ctx, http.MethodPut, b.url+"/"+index+"/_doc/"+id+"?refresh=true", strings.NewReader(`{"id":"`+id+`","name":"late"}`))
	require.NoError(b.t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(b.t, err)
	require.NoError(b.t, resp.Body.Close())
	return resp.StatusCode
}

// A restore in place lets nobody write before it has compared; when users write
// and a worker has to say once more that it was done, that is no difference.
func TestWritesWhileRestoredInPlace(t *testing.T) {
	t.Parallel()
	b := setup(t, devtest.Engine(t))
	store := &oddStore{Store: b.store}
	acme := b.tenant("0.8.1", 200)
	rule := "08x." + acme.Name() + ".tracardi-rule"
	store.lose.Store(2)
	store.lost = func() {
		require.Equal(t, http.StatusCreated, b.status(rule, "user-"+time.Now().Format("150405.000000")))
	}
	b.workerWith(store, b.engine)
	repo := b.repository(backups.KindFS)
	snap := b.snapshot(repo.Name, backups.SnapshotOrder{Selection: only(acme), Digest: true})

	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	tries := make(chan int, 1)
	go func() { // a container that knows the name
		n := 0
		defer func() { tries <- n }()
		for ctx.Err() == nil {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url+"/"+rule+"/_update/none", strings.NewReader(`{"doc":{},"upsert":{"name":"container"}}`))
			if err != nil {
				return
			}
			req.Header.Set("Content-Type", "application/json")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				continue
			}
			n++
			_ = resp.Body.Close()
		}
	}()
	back := b.restore(backups.RestoreOrder{Snapshot: snap.ID, Tenant: acme.Name(), Replace: true})
	cancel()
	require.Positive(t, <-tries)
	require.Negative(t, store.lose.Load())
	require.NotNil(t, back.Restore.Verified)
	require.Equal(t, http.StatusCreated, b.status(rule, "after"))
}

// The snapshot has caught the tenant behind a fence: what readers are on takes
// writes after a restore, this month and the next.
func TestRestoreOfWhatWasFenced(t *testing.T) {
	t.Parallel()
	b := setup(t, devtest.Engine(t))
	acme := b.tenant("0.8.1", 50)
	b.must("PUT", "/08x."+acme.Name()+".*/_settings", `{"index.blocks.write":true}`)
	b.worker(b.engine)
	repo := b.repository(backups.KindFS)
	snap := b.snapshot(repo.Name, backups.SnapshotOrder{Selection: only(acme)})
	manifests, err := b.store.Manifests(b.ctx, snap.ID)
	require.NoError(t, err)
	for i := range manifests[0].Indices { // recorded before the fence
		manifests[0].Indices[i].Blocked = false
	}
	b.rewrite(snap.ID, manifests)
	b.restore(backups.RestoreOrder{Snapshot: snap.ID, Tenant: acme.Name(), Replace: true})
	require.Equal(t, http.StatusCreated, b.status("08x."+acme.Name()+".tracardi-rule", "after"))
}

// This month's partition came after the snapshot: it stays in use.
func TestRestoreLeavesLaterPartitions(t *testing.T) {
	t.Parallel()
	b := setup(t, devtest.Engine(t))
	b.worker(b.engine)
	repo := b.repository(backups.KindFS)
	acme := b.tenant("0.8.1", 50)
	snap := b.snapshot(repo.Name, backups.SnapshotOrder{Selection: only(acme)})
	later := "08x." + acme.Name() + ".tracardi-event-2031-1"
	require.Equal(t, http.StatusCreated, b.status(later, "new"))
	alias := acme.Name() + ".tracardi-event"
	require.Contains(t, b.must("GET", "/_alias/"+alias, ""), later)
	b.restore(backups.RestoreOrder{Snapshot: snap.ID, Tenant: acme.Name(), Replace: true})
	require.Contains(t, b.must("GET", "/_alias/"+alias, ""), later)
	require.Equal(t, http.StatusCreated, b.status(later, "newer"))
}

// What is closed cannot be held against a record: the snapshot says so, and is
// restored without it.
func TestClosedIndexInASnapshot(t *testing.T) {
	t.Parallel()
	b := setup(t, devtest.Engine(t))
	b.worker(b.engine)
	repo := b.repository(backups.KindFS)
	acme := b.tenant("0.8.1", 50)
	rule := "08x." + acme.Name() + ".tracardi-rule"
	b.must("POST", "/"+rule+"/_close", "")
	snap := b.snapshot(repo.Name, backups.SnapshotOrder{Selection: only(acme), Digest: true})
	require.Contains(t, strings.Join(snap.Notes, "\n"), rule+" is closed")
	_, why, err := b.service.Holds(b.ctx, acme.Name(), []string{rule}, time.Time{})
	require.NoError(t, err)
	require.Contains(t, why, rule)
	drill, err := b.service.Drill(b.ctx, caller, backups.DrillOrder{Tenant: acme.Name(), Snapshot: snap.ID})
	require.NoError(t, err)
	require.Equal(t, backups.StateSuccess, b.until(backups.RunRestore, drill.ID, ended).State)
}
