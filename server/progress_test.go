package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/tracardi/tms/db"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/upgrader"
)

// rolloutWatch is a watch of rollouts under test.
type rolloutWatch struct {
	*testing.T
	stream tmsv1.ProgressService_WatchClient
	token  string
}

func (b *bundle) watchRollouts(t *testing.T, token, only string) *rolloutWatch {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.admin(), time.Minute)
	t.Cleanup(cancel)
	stream, err := tmsv1.NewProgressServiceClient(b.conn).Watch(ctx, &tmsv1.WatchRolloutsRequest{ResumeToken: token, RolloutId: only})
	require.NoError(t, err)
	return &rolloutWatch{T: t, stream: stream}
}

// next is the next message of a kind; others but events are passed over.
func (w *rolloutWatch) next(kind string) *tmsv1.WatchRolloutsResponse {
	w.Helper()
	for {
		m, err := w.stream.Recv()
		require.NoError(w, err)
		if m.GetResumeToken() != "" {
			w.token = m.GetResumeToken()
		}
		if m.GetKind() == kind {
			return m
		}
		require.NotEqual(w, "event", m.GetKind(), "%v", m)
	}
}

func (w *rolloutWatch) event(typ string) *tmsv1.WatchRolloutsResponse {
	w.Helper()
	m := w.next("event")
	require.Equal(w, typ, m.GetEvent().GetType())
	return m
}

// Rollouts are followed as tenants are: what is there, what happens, and on
// from a token; who asks for one hears of no other.
func TestWatchRollouts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	store := db.NewRollouts(b.db)
	begin := func(id, tenant string) {
		now := time.Now()
		require.NoError(t, store.CreateRollout(b.Context(), &upgrader.Rollout{
			ID: id, ToRelease: "0.8.2", State: upgrader.RolloutRunning, Wish: upgrader.WishRun, CreatedBy: "test", CreatedAt: now, Options: upgrader.Options{}.WithDefaults(),
			Tenants: []upgrader.RolloutTenant{{RolloutID: id, TenantID: tenant, FromRelease: "0.8.1", State: upgrader.TenantPlanned, NextAt: now, DocsTotal: 10}},
		}, nil, ""))
	}
	change := func(id string, f func(*upgrader.Rollout)) {
		require.NoError(t, store.ChangeRollout(b.Context(), id, "test", "test", func(r *upgrader.Rollout) error { f(r); return nil }))
	}
	begin("r1", "acme")
	w := b.watchRollouts(t, "", "")
	present := w.next("present")
	require.Equal(t, "r1", present.GetRollout().GetId())
	require.Empty(t, present.GetRollout().GetTenants())
	require.EqualValues(t, 10, present.GetProgress().GetFleet().GetAmount().GetDocumentsTotal())
	w.next("synced")
	begin("r2", "beta")
	require.Equal(t, "r2", w.event("rollout.started").GetRollout().GetId())
	change("r1", func(r *upgrader.Rollout) { r.State, r.Wish = upgrader.RolloutPaused, upgrader.WishPause })
	paused := w.event("rollout.paused")
	require.Equal(t, "running", paused.GetEvent().GetData().GetFields()["previous_state"].GetStringValue())
	require.Equal(t, "paused", paused.GetRollout().GetState())
	token := w.token
	change("r2", func(r *upgrader.Rollout) { r.Tenants[0].State = upgrader.TenantFailed })
	require.Equal(t, "beta", w.event("rollout.tenant_failed").GetEvent().GetData().GetFields()["tenant"].GetStringValue())
	require.NotEmpty(t, w.next("progress").GetProgress().GetRolloutId())

	again := b.watchRollouts(t, token, "")
	again.event("rollout.tenant_failed")
	one := b.watchRollouts(t, "", "r1")
	require.Equal(t, "r1", one.next("present").GetRollout().GetId())
	one.next("synced")
	change("r2", func(r *upgrader.Rollout) { r.State, r.FinishedAt = upgrader.RolloutFailed, time.Now() })
	change("r1", func(r *upgrader.Rollout) { r.State, r.Wish = upgrader.RolloutRunning, upgrader.WishRun })
	require.Equal(t, "r1", one.event("rollout.resumed").GetRollout().GetId())
	foreign := b.watchRollouts(t, token, "r1")
	_, err := foreign.stream.Recv()
	refused(t, err, codes.InvalidArgument, "INVALID_PAGE_TOKEN")

	// Over REST a line is one message.
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, b.url+"/v1/rollouts:watch?rollout_id=r1", nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+adminKey)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	line, err := bufio.NewReader(res.Body).ReadBytes('\n')
	require.NoError(t, err)
	var said struct {
		Result struct {
			Kind    string
			Rollout struct{ ID string }
		}
	}
	require.NoError(t, json.Unmarshal(line, &said))
	require.Equal(t, "present", said.Result.Kind)
	require.Equal(t, "r1", said.Result.Rollout.ID)
}

// Progress and report of what a store holds.
func TestProgressAndReport(t *testing.T) {
	t.Parallel()
	b := setup(t)
	store := db.NewRollouts(b.db)
	now := time.Now()
	require.NoError(t, store.CreateRollout(b.Context(), &upgrader.Rollout{
		ID: "r1", ToRelease: "0.8.2", State: upgrader.RolloutRunning, Wish: upgrader.WishRun, CreatedBy: "somebody", CreatedAt: now, Options: upgrader.Options{}.WithDefaults(),
		Tenants: []upgrader.RolloutTenant{{RolloutID: "r1", TenantID: "acme", FromRelease: "0.8.1", State: upgrader.TenantCopying, NextAt: now, StartedAt: now.Add(-time.Hour), DocsTotal: 10}},
	}, nil, ""))
	lease, err := store.Acquire(b.Context(), "r1", "acme", "somewhere", time.Minute)
	require.NoError(t, err)
	require.NoError(t, store.SaveMoves(b.Context(), lease, upgrader.Move{
		Target: "0820.acme.x", State: upgrader.MoveCreated,
		Copies: []upgrader.Copy{{Source: "08x.acme.x", State: upgrader.CopyRunning, Docs: 10, Copied: 4, Bytes: 100, Pace: upgrader.Pace{Began: now.Add(-4 * time.Second), Moved: now}}},
	}))
	_, err = b.db.Pool().Exec(b.Context(), `update rollout_tenants set progressed_at = now() - interval '1 hour'`)
	require.NoError(t, err)
	client := tmsv1.NewProgressServiceClient(b.conn)
	p, err := client.Get(b.admin(), &tmsv1.GetProgressRequest{Id: "r1"})
	require.NoError(t, err)
	acme := p.GetTenants()[0]
	require.Contains(t, acme.GetStalled(), "without progress in state copying")
	require.InDelta(t, 3600, acme.GetIdleSeconds(), 60)
	require.EqualValues(t, 1, p.GetFleet().GetStalled())
	ix := acme.GetIndices()[0]
	require.EqualValues(t, 4, ix.GetAmount().GetDocuments())
	require.InDelta(t, 1, ix.GetAmount().GetDocumentsPerSecond(), 0.01)
	_, err = client.Get(b.admin(), &tmsv1.GetProgressRequest{Id: "nothing"})
	refused(t, err, codes.NotFound, "ROLLOUT_NOT_FOUND")

	report, err := client.Report(b.admin(), &tmsv1.GetRolloutReportRequest{Id: "r1", Format: "markdown"})
	require.NoError(t, err)
	require.False(t, report.GetFinal())
	require.Equal(t, "rollout.start", report.GetCommands()[0].GetAction())
	require.Equal(t, "somebody", report.GetCommands()[0].GetKeyId())
	require.Equal(t, "acme", report.GetExceptions()[0].GetTenantId())
	require.Contains(t, report.GetMarkdown(), "# Rollout r1 to 0.8.2")
	report, err = client.Report(b.admin(), &tmsv1.GetRolloutReportRequest{Id: "r1"})
	require.NoError(t, err)
	require.Empty(t, report.GetMarkdown())
}
