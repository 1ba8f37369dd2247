package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/internal/devstack/devtest"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/tenants"
)

// followed is a watch under test.
type followed struct {
	*testing.T
	stream tmsv1.EventService_WatchTenantsClient
	token  string
	end    context.CancelFunc
}

func (b *bundle) watch(t *testing.T, credential string, r *tmsv1.WatchTenantsRequest) *followed {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.as(credential), time.Minute)
	t.Cleanup(cancel)
	stream, err := b.events.WatchTenants(ctx, r)
	require.NoError(t, err)
	return &followed{T: t, stream: stream, end: cancel}
}

// next returns the next message that is no bookmark.
func (f *followed) next() *tmsv1.WatchTenantsResponse {
	f.Helper()
	for {
		m, err := f.stream.Recv()
		require.NoError(f, err)
		if m.GetResumeToken() != "" {
			f.token = m.GetResumeToken()
		}
		if m.GetKind() != "bookmark" {
			return m
		}
	}
}

// expect takes messages in a short form: kind, or type of the event, and id;
// "-" in front when the tenant does not match.
func (f *followed) expect(want ...string) {
	f.Helper()
	for _, w := range want {
		m := f.next()
		got := m.GetKind() + " " + m.GetTenant().GetId()
		if m.GetKind() == "event" {
			got = strings.TrimPrefix(m.GetEvent().GetType(), "tenant.") + " " + m.GetEvent().GetSubject()
			require.Equal(f, m.GetEvent().GetSubject(), m.GetTenant().GetId())
			require.WithinDuration(f, time.Now(), m.GetEvent().GetTime().AsTime(), time.Minute)
			require.NotContains(f, m.GetEvent().GetData().GetFields(), "revision")
			if !m.GetMatches() {
				got = "-" + got
			}
		}
		require.Equal(f, w, strings.TrimSpace(got), "%v", m)
		require.Empty(f, m.GetTenant().GetInstallToken())
	}
}

// refused reads to the end of the stream, which has a reason.
func (f *followed) refused(code codes.Code, reason string) {
	f.Helper()
	for {
		if _, err := f.stream.Recv(); err != nil {
			refused(f.T, err, code, reason)
			return
		}
	}
}

func (b *bundle) update(t *testing.T, tenant *tmsv1.Tenant, fields ...string) {
	t.Helper()
	tenant.Etag = "*"
	_, err := b.tenants.Update(b.admin(), &tmsv1.UpdateTenantRequest{Tenant: tenant, UpdateMask: &fieldmaskpb.FieldMask{Paths: fields}})
	require.NoError(t, err)
}

func TestWatchTellsTheWholeLifeOfTenants(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create("acme")
	b.create("beta")
	w := b.watch(t, adminKey, &tmsv1.WatchTenantsRequest{})
	w.expect("present acme", "present beta", "synced")
	b.create("gamma")
	w.expect("created gamma")
	b.update(t, &tmsv1.Tenant{Id: "acme", DisplayName: "Acme", Email: "a@b.example"}, "display_name", "email")
	changed := w.next()
	require.Equal(t, "tenant.updated", changed.GetEvent().GetType())
	require.Equal(t, []any{"display_name", "email"}, changed.GetEvent().GetData().GetFields()["fields"].GetListValue().AsSlice())
	require.Equal(t, changed.GetTenant().GetEtag(), changed.GetEvent().GetData().GetFields()["etag"].GetStringValue())
	require.NotContains(t, changed.GetEvent().String(), "a@b.example", "events hold nothing of the customer's")
	b.update(t, &tmsv1.Tenant{Id: "acme", State: "suspended", Release: "0.8.2"}, "state", "release")
	w.expect("suspended acme", "release_changed acme")
	b.update(t, &tmsv1.Tenant{Id: "acme", State: "active"}, "state")
	w.expect("activated acme")

	// The clock: nobody calls anything.
	b.update(t, &tmsv1.Tenant{Id: "beta", ExpireTime: timestamppb.New(time.Now().Add(300 * time.Millisecond))}, "expire_time")
	w.expect("updated beta", "expired beta")
	b.update(t, &tmsv1.Tenant{Id: "beta"}, "expire_time")
	w.expect("activated beta", "updated beta")

	_, err := b.tenants.Delete(b.admin(), &tmsv1.DeleteTenantRequest{Id: "acme", Etag: "*"})
	require.NoError(t, err)
	w.expect("-deleted acme")
	_, err = b.tenants.Undelete(b.admin(), &tmsv1.UndeleteTenantRequest{Id: "acme"})
	require.NoError(t, err)
	w.expect("undeleted acme")
	before := w.token
	_, err = b.tenants.Delete(b.admin(), &tmsv1.DeleteTenantRequest{Id: "gamma", Etag: "*"})
	require.NoError(t, err)
	w.expect("-deleted gamma")
	op, err := b.tenants.Purge(b.admin(), &tmsv1.PurgeTenantRequest{Id: "gamma", WithoutSnapshot: true})
	require.NoError(t, err)
	require.NoError(t, b.purges.Work(t.Context(), op.GetId()))
	b.create("delta") // who was told that gamma does not count hears no more of it
	w.expect("created delta")

	// What was missed, from the token on, and of all with show_deleted.
	w.end()
	again := b.watch(t, adminKey, &tmsv1.WatchTenantsRequest{ResumeToken: before})
	again.expect("-deleted gamma", "created delta")
	all := b.watch(t, adminKey, &tmsv1.WatchTenantsRequest{ShowDeleted: true})
	all.expect("present acme", "present beta", "present delta", "synced")
	other := b.watch(t, adminKey, &tmsv1.WatchTenantsRequest{ResumeToken: before, Filter: "state:active"})
	other.refused(codes.InvalidArgument, "INVALID_PAGE_TOKEN")
	b.watch(t, adminKey, &tmsv1.WatchTenantsRequest{Filter: "nonsense"}).refused(codes.InvalidArgument, "INVALID_FIELD")
}

func TestWatchFiltersAndRestrictedKeys(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create("acme")
	b.create("beta")
	gold := b.watch(t, adminKey, &tmsv1.WatchTenantsRequest{Filter: "label.tier:gold"})
	gold.expect("synced")
	made, err := b.keys.Create(b.admin(), &tmsv1.CreateApiKeyRequest{DisplayName: "one", Role: "viewer", Tenants: []string{"beta", "gamma"}})
	require.NoError(t, err)
	own := b.watch(t, made.GetSecret(), &tmsv1.WatchTenantsRequest{})
	own.expect("present beta", "synced")
	b.update(t, &tmsv1.Tenant{Id: "acme", Labels: map[string]string{"tier": "gold"}}, "labels")
	gold.expect("updated acme")
	b.update(t, &tmsv1.Tenant{Id: "beta", DisplayName: "x"}, "display_name")
	b.update(t, &tmsv1.Tenant{Id: "acme", Labels: map[string]string{"tier": "tin"}}, "labels")
	gold.expect("-updated acme")
	b.create("gamma")
	own.expect("updated beta", "created gamma")
	// Who goes on later is told what no longer matches, known to him or not.
	token := gold.token
	b.update(t, &tmsv1.Tenant{Id: "beta", DisplayName: "y"}, "display_name")
	b.watch(t, adminKey, &tmsv1.WatchTenantsRequest{Filter: "label.tier:gold", ResumeToken: token}).expect("-created gamma", "-updated beta")
}

func TestWatchEndsWithItsKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id, key := b.key(tenants.RoleInstance)
	streams := []*followed{b.watch(t, key, &tmsv1.WatchTenantsRequest{}), b.watch(t, b.token(key), &tmsv1.WatchTenantsRequest{})}
	short, err := b.keys.Create(b.admin(), &tmsv1.CreateApiKeyRequest{DisplayName: "short", Role: "viewer"})
	require.NoError(t, err)
	expires := b.watch(t, short.GetSecret(), &tmsv1.WatchTenantsRequest{})
	for _, s := range append(streams, expires) {
		s.expect("synced")
	}
	_, err = b.keys.Revoke(b.admin(), &tmsv1.RevokeApiKeyRequest{Id: id})
	require.NoError(t, err)
	began := time.Now()
	for _, s := range streams {
		s.refused(codes.Unauthenticated, "KEY_REVOKED")
	}
	require.Less(t, time.Since(began), 2*time.Second) // 0.2 s, with room for a busy machine
	_, err = b.keys.Rotate(b.admin(), &tmsv1.RotateApiKeyRequest{Id: short.GetApiKey().GetId(), Overlap: durationpb.New(0)})
	require.NoError(t, err)
	expires.refused(codes.Unauthenticated, "KEY_EXPIRED")
}

func TestWatchEndsWithTheProcess(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := b.watch(t, adminKey, &tmsv1.WatchTenantsRequest{})
	w.expect("synced")
	b.stop()
	w.refused(codes.Unavailable, "SERVER_UNAVAILABLE")
}

func TestWatchBookmarksAndOldTokens(t *testing.T) {
	t.Parallel()
	b := setupWith(t, options{dsn: devtest.Database(t, db.Migrate), secret: secret, bookmark: 20 * time.Millisecond})
	w := b.watch(t, adminKey, &tmsv1.WatchTenantsRequest{Filter: "state:suspended"})
	w.expect("synced")
	first := w.token
	b.create("acme") // nobody that this watch is about
	require.Eventually(t, func() bool {
		m, err := w.stream.Recv()
		require.NoError(t, err)
		require.Equal(t, "bookmark", m.GetKind())
		return m.GetResumeToken() != first
	}, patience, time.Microsecond, "a bookmark passes what does not concern")
	_, err := b.db.Pool().Exec(t.Context(), `update event_log set floor = head`)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, err := b.watch(t, adminKey, &tmsv1.WatchTenantsRequest{Filter: "state:suspended", ResumeToken: first}).stream.Recv()
		return err != nil && reasonOf(err) == "WATCH_TOKEN_TOO_OLD"
	}, patience, tick)
}

func TestWatchCutsWhoTakesNothing(t *testing.T) {
	t.Parallel()
	b := setupWith(t, options{dsn: devtest.Database(t, db.Migrate), secret: secret, stall: 200 * time.Millisecond})
	large, err := structpb.NewStruct(map[string]any{"x": strings.Repeat("x", 15<<10)})
	require.NoError(t, err)
	for i := range 40 {
		_, err := b.tenants.Create(b.admin(), &tmsv1.CreateTenantRequest{Tenant: &tmsv1.Tenant{Id: fmt.Sprintf("tenant%d", i), Release: "0.8.1", Attributes: large}})
		require.NoError(t, err)
	}
	w := b.watch(t, adminKey, &tmsv1.WatchTenantsRequest{})
	require.Eventually(t, func() bool { return strings.Contains(b.log.String(), "took no message") }, patience, tick)
	w.refused(codes.ResourceExhausted, "WATCH_TOO_SLOW")
}

func TestWatchIsBounded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, key := b.key(tenants.RoleViewer)
	for range 100 {
		b.watch(t, key, &tmsv1.WatchTenantsRequest{}).expect("synced")
	}
	b.watch(t, key, &tmsv1.WatchTenantsRequest{}).refused(codes.ResourceExhausted, "WATCH_TOO_MANY")
	b.watch(t, adminKey, &tmsv1.WatchTenantsRequest{}).expect("synced")
}

func TestWatchOverREST(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create("acme")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url+"/v1/tenants:watch?filter=state:active", http.NoBody)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+adminKey)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	next := func() map[string]any {
		require.True(t, lines.Scan(), "%v", lines.Err())
		var m struct{ Result map[string]any }
		require.NoError(t, json.Unmarshal(lines.Bytes(), &m))
		return m.Result
	}
	require.Equal(t, "present", next()["kind"])
	require.Equal(t, "synced", next()["kind"])
	b.create("beta")
	require.Equal(t, "tenant.created", next()["event"].(map[string]any)["type"])
}
