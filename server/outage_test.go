package server_test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/internal/devstack"
	"github.com/tracardi/tms/internal/devstack/devtest"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/tenants"
)

// With Postgres gone, what Tracardi asks is answered from memory and says how
// old it is; writes are refused as unavailable; and all is well when it is back.
func TestPostgresStopsUnderARunningServer(t *testing.T) {
	t.Parallel()
	pg, err := devstack.StartPostgres(t.Context(), devstack.PostgresOptions{Dir: t.TempDir(), MaxConnections: 60})
	require.NoError(t, err)
	t.Cleanup(func() { _ = pg.Stop() })
	require.NoError(t, db.Migrate(t.Context(), pg.DSN()))
	b := setupOn(t, pg.DSN(), 0)
	b.create("acme")
	_, viewer := b.key(tenants.RoleViewer)
	token := b.token(instanceKey)
	pg.Kill()

	require.Eventually(t, func() bool {
		r := b.http("GET", "/tenant/acme", token, "")
		return r.code == http.StatusOK && r.header.Get("Tms-Stale-Seconds") != ""
	}, 20*time.Second, 20*time.Millisecond, "the server notices and goes on answering")
	var header, trailer metadata.MD
	checked, err := b.tenants.Check(b.as(viewer), &tmsv1.CheckTenantRequest{Id: "acme"}, grpc.Header(&header), grpc.Trailer(&trailer))
	require.NoError(t, err)
	require.True(t, checked.GetAllowed())
	for _, md := range []metadata.MD{header, trailer} {
		seconds, err := strconv.Atoi(md.Get("tms-stale-seconds")[0])
		require.NoError(t, err)
		require.Positive(t, seconds)
	}
	require.Equal(t, 200, b.http("GET", "/api-key/"+instanceKey, "", "").code)
	got := b.http("GET", "/v1/tenants/acme", viewer, "")
	require.Equal(t, 200, got.code, got.body)
	require.NotEmpty(t, got.header.Get("Tms-Stale-Seconds"))
	require.Equal(t, 503, b.http("GET", "/tenant/nobody", token, "").code, "a tenant may have been made meanwhile")

	_, err = b.tenants.Create(b.admin(), &tmsv1.CreateTenantRequest{Tenant: &tmsv1.Tenant{Id: "beta", Release: "0.8.1"}})
	refused(t, err, codes.Unavailable, "DATABASE_UNAVAILABLE")
	_, err = b.tenants.List(b.admin(), &tmsv1.ListTenantsRequest{})
	refused(t, err, codes.Unavailable, "DATABASE_UNAVAILABLE")
	require.Equal(t, 503, b.http("POST", "/tenant", token, `{"id": "beta"}`).code)
	require.Equal(t, 503, b.http("GET", "/readyz", "", "").code)

	require.NoError(t, pg.Start(t.Context()))
	require.Eventually(t, func() bool {
		_, err := b.tenants.Create(b.admin(), &tmsv1.CreateTenantRequest{Tenant: &tmsv1.Tenant{Id: "beta", Release: "0.8.1"}, RequestId: "after the outage"})
		require.Contains(t, []codes.Code{codes.OK, codes.Unavailable}, status.Code(err), "%v", err)
		return err == nil
	}, 20*time.Second, 50*time.Millisecond)
	require.Eventually(t, func() bool {
		r := b.http("GET", "/tenant/beta", token, "")
		return r.code == http.StatusOK && r.header.Get("Tms-Stale-Seconds") == ""
	}, 20*time.Second, 20*time.Millisecond)
}

// Two servers on one database: a key that one revokes, the other refuses
// within a second.
func TestRevocationIsSeenEverywhereWithinASecond(t *testing.T) {
	t.Parallel()
	one := setup(t)
	two := setupOn(t, one.dsn, 0)
	id, key := one.key(tenants.RoleInstance)
	check := func() error {
		_, err := two.tenants.Check(two.as(key), &tmsv1.CheckTenantRequest{Id: "acme"})
		return err
	}
	require.Eventually(t, func() bool { return check() == nil }, 10*time.Second, 5*time.Millisecond)
	token := two.token(key)
	// No notification comes through any more, and nobody is told so.
	_, err := one.db.Pool().Exec(t.Context(), `alter table api_keys disable trigger api_keys_notify`)
	require.NoError(t, err)
	_, err = one.db.Pool().Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and query ilike '%listen tms_registry%' and pid <> pg_backend_pid()`)
	require.NoError(t, err)
	_, err = one.db.Pool().Exec(t.Context(), `alter table api_keys enable trigger api_keys_notify`)
	require.NoError(t, err)
	_, err = one.keys.Revoke(one.admin(), &tmsv1.RevokeApiKeyRequest{Id: id})
	require.NoError(t, err)
	revoked := time.Now()
	require.Eventually(t, func() bool {
		began := time.Now()
		err := check()
		if err == nil {
			// A call that begins later than that is refused, however slow the
			// machine is.
			assert.Less(t, began.Sub(revoked), time.Second)
		}
		return err != nil
	}, 10*time.Second, time.Millisecond)
	refused(t, check(), codes.Unauthenticated, "KEY_REVOKED")
	_, err = two.tenants.Check(two.as(token), &tmsv1.CheckTenantRequest{Id: "acme"})
	refused(t, err, codes.Unauthenticated, "KEY_REVOKED")
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	one := setup(t)
	b := setupOn(t, one.dsn, 2)
	_, key := one.key(tenants.RoleViewer)
	limited := func() (reply, bool) {
		r := b.http("GET", "/v1/tenants", key, "")
		return r, r.code == http.StatusTooManyRequests
	}
	var r reply
	require.Eventually(t, func() (ok bool) { r, ok = limited(); return ok }, 10*time.Second, time.Millisecond)
	require.Contains(t, r.body, "RATE_LIMITED")
	require.Contains(t, r.body, "retry_delay")
	wait, err := strconv.Atoi(r.header.Get("Retry-After"))
	require.NoError(t, err)
	require.Positive(t, wait)
	_, err = b.tenants.List(b.as(key), &tmsv1.ListTenantsRequest{})
	refused(t, err, codes.ResourceExhausted, "RATE_LIMITED")
	_, err = b.tenants.Check(b.as(key), &tmsv1.CheckTenantRequest{Id: "acme"})
	require.NoError(t, err, "what memory answers is allowed more often")
	require.Equal(t, 200, b.http("GET", "/v1/releases", adminKey, "").code, "another key is not concerned")
}

// Who guesses keys is slowed down; a valid key from the same address is not.
func TestStrangersAreLimited(t *testing.T) {
	t.Parallel()
	b := setupWith(t, options{dsn: devtest.Database(t, db.Migrate), secret: secret, strangers: 2})
	for _, path := range []string{"/v1/tenants", "/tenants", "/api-key/guess"} {
		require.Eventually(t, func() bool {
			r := b.http("GET", path, "guess", "")
			return r.code == http.StatusTooManyRequests && r.header.Get("Retry-After") != ""
		}, patience, time.Millisecond, path)
	}
	_, err := b.tenants.List(b.admin(), &tmsv1.ListTenantsRequest{})
	require.NoError(t, err)
}

// With notifications it is a matter of milliseconds; the key's tokens die with
// it, and rotation without overlap acts like revocation.
func TestRevocationIsNotified(t *testing.T) {
	t.Parallel()
	one := setup(t)
	two := setupOn(t, one.dsn, 0)
	for reason, end := range map[string]func(id string) error{
		"KEY_REVOKED": func(id string) error {
			_, err := one.keys.Revoke(one.admin(), &tmsv1.RevokeApiKeyRequest{Id: id})
			return err
		},
		"KEY_EXPIRED": func(id string) error {
			_, err := one.keys.Rotate(one.admin(), &tmsv1.RotateApiKeyRequest{Id: id, Overlap: durationpb.New(0)})
			return err
		},
	} {
		id, key := one.key(tenants.RoleInstance)
		var token string
		require.Eventually(t, func() bool {
			r := two.http("GET", "/api-key/"+key, "", "")
			return r.code == http.StatusOK && json.Unmarshal([]byte(r.body), &token) == nil
		}, patience, tick)
		for _, credential := range []string{key, token} {
			_, err := two.tenants.Check(two.as(credential), &tmsv1.CheckTenantRequest{Id: "acme"})
			require.NoError(t, err)
		}
		require.NoError(t, end(id))
		ended := time.Now()
		for _, credential := range []string{key, token} {
			require.Eventually(t, func() bool {
				began := time.Now()
				_, err := two.tenants.Check(two.as(credential), &tmsv1.CheckTenantRequest{Id: "acme"})
				if err == nil {
					assert.Less(t, began.Sub(ended), time.Second)
					return false
				}
				return reasonOf(err) == reason
			}, patience, time.Millisecond)
		}
	}
}
