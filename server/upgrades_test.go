package server_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
)

func sampleRollout() *upgrader.Rollout {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return &upgrader.Rollout{
		ID: "r1", ToRelease: "0.8.2", State: upgrader.RolloutRunning, Revision: 1, CreatedAt: start,
		Tenants: []upgrader.RolloutTenant{
			{
				TenantID: "acme", FromRelease: "0.8.1", State: upgrader.TenantSwitched, Indices: 76, Documents: 12,
				ByMethod: map[upgrader.Method]int{upgrader.MethodMerge: 2}, Fence: 123456 * time.Microsecond,
				Proof:     &upgrader.Proof{Level: upgrader.VerifyFull, Verdict: "equal", Documents: 12},
				StartedAt: start, FinishedAt: start.Add(2500 * time.Millisecond),
			},
			{TenantID: "beta", FromRelease: "0.8.1", State: upgrader.TenantFailed, Reason: "disk full", Retriable: true},
		},
	}
}

func TestRolloutOverTheWire(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.upgrades.set(func(s *scriptedUpgrades) { s.rollout = sampleRollout() })
	n := int32(5)
	r, err := b.rollouts.Start(b.admin(), &tmsv1.StartRolloutRequest{ToRelease: "0.8.2", RequestId: "q", Options: &tmsv1.RolloutOptions{
		Tenants: []string{"acme"}, Verify: "sample", AllowQuarantine: n, FenceTimeout: durationpb.New(time.Second),
	}})
	require.NoError(t, err)
	b.upgrades.set(func(s *scriptedUpgrades) {
		require.Equal(t, upgrader.Request{ToRelease: "0.8.2", RequestID: "q", Caller: "env-admin", Options: upgrader.Options{
			Tenants: []string{"acme"}, Verify: upgrader.VerifySample, AllowQuarantine: 5, FenceTimeout: time.Second,
		}}, s.asked)
	})
	acme, beta := r.GetTenants()[0], r.GetTenants()[1]
	require.Equal(t, "0.8.2", acme.GetRelease())
	require.InDelta(t, 123.456, acme.GetFenceMs(), 0)
	require.InDelta(t, 2.5, acme.GetSeconds(), 0)
	require.Equal(t, "equal", acme.GetVerification().GetVerdict())
	require.Equal(t, "0.8.1", beta.GetRelease())
	require.Nil(t, beta.GetVerification())

	full, err := b.rollouts.Get(b.admin(), &tmsv1.GetRolloutRequest{Id: "r1", View: "full"})
	require.NoError(t, err)
	require.Equal(t, "create", full.GetTenants()[0].GetMoves()[0].GetMethod())
	plan, err := b.rollouts.Plan(b.admin(), &tmsv1.PlanRolloutRequest{ToRelease: "0.8.2"})
	require.NoError(t, err)
	require.EqualValues(t, 7, plan.GetTenants()[0].GetMoves()[0].GetTotal())
	require.EqualValues(t, 1, plan.GetTenants()[0].GetIndices())
	require.EqualValues(t, 7, plan.GetTenants()[0].GetDocuments())
	require.EqualValues(t, 1, plan.GetTenants()[0].GetByMethod()["merge"])
	require.Equal(t, "2 months into their quarter", plan.GetMethods()[0].GetReason())
	require.EqualValues(t, 7, plan.GetMethods()[0].GetDocuments())
	require.EqualValues(t, 192, plan.GetShards().GetPeak())
	require.Equal(t, "shard_limit", plan.GetRefusals()[0].GetCode())

	page, err := b.rollouts.List(b.admin(), &tmsv1.ListRolloutsRequest{PageSize: 2})
	require.NoError(t, err)
	require.Len(t, page.GetRollouts(), 2)
	page, err = b.rollouts.List(b.admin(), &tmsv1.ListRolloutsRequest{PageSize: 2, PageToken: page.GetNextPageToken()})
	require.NoError(t, err)
	require.Equal(t, "r1", page.GetRollouts()[0].GetId())
	require.Empty(t, page.GetNextPageToken())
}

func TestCommandsReachTheirMethod(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.upgrades.set(func(s *scriptedUpgrades) { s.rollout = sampleRollout() })
	all := []string{"pause", "resume", "cancel", "retry", "switch", "rollback", "finalize"}
	for _, name := range all {
		r := b.http("POST", "/v1/rollouts/r1:"+name, adminKey, `{}`)
		require.Equal(t, 200, r.code, "%s: %s", name, r.body)
	}
	for body, set := range map[string]func(upgrader.Command) bool{
		`{"max_tenants": 2}`:         func(c upgrader.Command) bool { return *c.Set.MaxTenants == 2 && c.Set.HoldSwitch == nil },
		`{"requests_per_second": 0}`: func(c upgrader.Command) bool { return *c.Set.RequestsPerSecond == 0 && c.Set.MaxTenants == nil },
		`{"hold_switch": false, "fence_timeout": "2s"}`: func(c upgrader.Command) bool {
			return !*c.Set.HoldSwitch && *c.Set.FenceTimeout == 2*time.Second
		},
	} {
		r := b.http("POST", "/v1/rollouts/r1:set", adminKey, body)
		require.Equal(t, 200, r.code, r.body)
		b.upgrades.set(func(s *scriptedUpgrades) { require.True(t, set(s.command), body) })
	}
	require.Equal(t, 200, b.http("POST", "/v1/rollouts/r1:skip", adminKey, `{"tenants": ["beta"], "reason": "r"}`).code)
	require.Equal(t, 400, b.http("POST", "/v1/rollouts/r1:skip", adminKey, `{"tenants": ["beta"]}`).code, "without a reason")
	require.Equal(t, 200, b.http("POST", "/v1/rollouts/r1:cancel", adminKey, `{"undo": true}`).code)
	b.upgrades.set(func(s *scriptedUpgrades) {
		require.True(t, s.command.Undo)
		s.commands = s.commands[:len(all)]
	})
	r := b.http("POST", "/v1/rollouts/r1:retry", adminKey, `{"tenants": ["beta"], "allow_quarantine": 0}`)
	require.Equal(t, 200, r.code, r.body)
	b.upgrades.set(func(s *scriptedUpgrades) {
		require.Equal(t, append(all, "retry"), s.commands)
		require.Equal(t, []string{"beta"}, s.command.Tenants)
		require.NotNil(t, s.command.AllowQuarantine)
		require.Equal(t, "env-admin", s.command.Caller)
		s.err = &upgrader.ServiceError{Reason: upgrader.ReasonRefused, Message: "cannot", Refusals: []upgrader.Refusal{{Code: "shard_limit", TenantID: "acme", Message: "m", Remedy: "r"}}}
	})
	_, err := b.rollouts.Pause(b.admin(), &tmsv1.PauseRolloutRequest{Id: "r1"})
	st := refused(t, err, codes.FailedPrecondition, "ROLLOUT_REFUSED")
	require.Equal(t, "shard_limit", st.Details()[1].(*errdetails.PreconditionFailure).GetViolations()[0].GetType())

	b.upgrades.set(func(s *scriptedUpgrades) { s.err = errors.New("dial tcp: password=hunter2") })
	_, err = b.rollouts.Pause(b.admin(), &tmsv1.PauseRolloutRequest{Id: "r1"})
	require.NotContains(t, refused(t, err, codes.Internal, "INTERNAL").Message(), "hunter2")
}

func TestQuarantinePages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.upgrades.set(func(s *scriptedUpgrades) {
		for _, id := range []string{"1", "2", "3"} {
			s.docs = append(s.docs, upgrader.Quarantined{TenantID: "acme", Index: "i", ID: id, Kind: upgrader.QuarantineRefused, Source: []byte(`{}`)})
		}
	})
	var seen []string
	r := &tmsv1.ListQuarantineRequest{Id: "r1", PageSize: 2}
	for {
		page, err := b.rollouts.ListQuarantine(b.admin(), r)
		require.NoError(t, err)
		for _, d := range page.GetDocuments() {
			seen = append(seen, d.GetDocumentId())
		}
		if r.PageToken = page.GetNextPageToken(); r.PageToken == "" {
			break
		}
	}
	require.Equal(t, []string{"1", "2", "3"}, seen)
	require.Equal(t, 200, b.http("GET", "/v1/rollouts/r1/quarantine", adminKey, "").code)
}

func TestWatchShowsEveryRevisionAndEnds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.upgrades.set(func(s *scriptedUpgrades) { s.rollout = sampleRollout() })
	stream, err := b.rollouts.Watch(b.admin(), &tmsv1.WatchRolloutRequest{Id: "r1"})
	require.NoError(t, err)
	first, err := stream.Recv()
	require.NoError(t, err)
	require.Equal(t, "running", first.GetState())
	b.upgrades.set(func(s *scriptedUpgrades) {
		done := sampleRollout()
		done.State, done.Revision = upgrader.RolloutComplete, 9
		s.rollout = done
	})
	last, err := stream.Recv()
	require.NoError(t, err)
	require.EqualValues(t, 9, last.GetRevision())
	_, err = stream.Recv()
	require.ErrorContains(t, err, "EOF")

	// REST streams the same, one line per revision.
	r := b.http("GET", "/v1/rollouts/r1:watch", adminKey, "")
	require.Equal(t, 200, r.code)
	require.Equal(t, "complete", r.json(t)["result"].(map[string]any)["state"])

	_, viewer := b.key(tenants.RoleInstance)
	stream, err = b.rollouts.Watch(b.as(viewer), &tmsv1.WatchRolloutRequest{Id: "r1"})
	require.NoError(t, err)
	_, err = stream.Recv()
	refused(t, err, codes.PermissionDenied, "ROLE_NOT_ALLOWED")
	stream, err = b.rollouts.Watch(b.admin(), &tmsv1.WatchRolloutRequest{})
	require.NoError(t, err)
	_, err = stream.Recv()
	refused(t, err, codes.InvalidArgument, "INVALID_FIELD")
}

// A watcher of a rollout that runs for hours must not hold up a shutdown.
func TestShutdownEndsWatchers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.upgrades.set(func(s *scriptedUpgrades) { s.rollout = sampleRollout() })
	ctx := metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+adminKey)
	stream, err := b.rollouts.Watch(ctx, &tmsv1.WatchRolloutRequest{Id: "r1"})
	require.NoError(t, err)
	_, err = stream.Recv()
	require.NoError(t, err)
	// setup's cleanup stops the server and asserts that it ends well.
}
