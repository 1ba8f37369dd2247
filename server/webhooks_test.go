package server_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/events"
	"github.com/tracardi/tms/internal/devstack/devtest"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// receiver is somebody else's endpoint.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	got    []received
}

type received struct {
	header http.Header
	body   string
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{status: http.StatusNoContent}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got = append(r.got, received{q.Header, string(body)})
		w.Header().Set("Location", "http://127.0.0.1:1/")
		w.WriteHeader(r.status)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

// types lists what came, in order, and checks every signature as
// standardwebhooks.com says.
func (r *receiver) types(t *testing.T, secret string) string {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	require.NoError(t, err)
	var out []string
	for _, g := range r.got {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(g.header.Get("webhook-id") + "." + g.header.Get("webhook-timestamp") + "." + g.body))
		require.Equal(t, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)), g.header.Get("webhook-signature"))
		var body struct{ Type, Subject string }
		require.NoError(t, json.Unmarshal([]byte(g.body), &body))
		out = append(out, strings.TrimPrefix(body.Type, "tenant.")+" "+body.Subject)
	}
	return strings.Join(out, ", ")
}

func TestWebhooksDeliverInOrderAndAgain(t *testing.T) {
	t.Parallel()
	b := setupWith(t, options{dsn: devtest.Database(t, db.Migrate), secret: secret, networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	r := newReceiver(t)
	log := db.NewEvents(b.db)
	work := func(id string) {
		t.Helper()
		_, err := log.Advance(t.Context())
		require.NoError(t, err)
		_, err = b.db.Pool().Exec(t.Context(), `update webhooks set next_at = now()`)
		require.NoError(t, err)
		require.NoError(t, b.webhooks.Work(t.Context(), id))
	}
	b.create("before")
	_, err := log.Advance(t.Context())
	require.NoError(t, err)
	made, err := b.hooks.Create(b.admin(), &tmsv1.CreateWebhookRequest{Webhook: &tmsv1.Webhook{Url: r.URL + "/hook", Types: []string{"tenant.created", "tenant.deleted"}}})
	require.NoError(t, err)
	id, key := made.GetWebhook().GetId(), made.GetSecret()
	require.True(t, made.GetWebhook().GetEnabled())
	b.create("acme")
	b.update(t, &tmsv1.Tenant{Id: "acme", DisplayName: "x"}, "display_name") // not asked for
	b.create("beta")
	work(id)
	require.Equal(t, "created acme, created beta", r.types(t, key))

	// It fails, and the order stands still until it does not.
	r.answer(http.StatusFound)
	_, err = b.tenants.Delete(b.admin(), &tmsv1.DeleteTenantRequest{Id: "acme", Etag: "*"})
	require.NoError(t, err)
	b.create("gamma")
	work(id)
	work(id)
	failing, err := b.hooks.Get(b.admin(), &tmsv1.GetWebhookRequest{Id: id})
	require.NoError(t, err)
	require.EqualValues(t, 2, failing.GetFailures())
	require.EqualValues(t, 2, failing.GetPending())
	require.Contains(t, failing.GetLastError(), "redirects are not followed")
	require.True(t, failing.GetRetryTime().AsTime().After(time.Now()))
	r.answer(http.StatusOK)
	work(id)
	require.Equal(t, "created acme, created beta, deleted acme, deleted acme, deleted acme, created gamma", r.types(t, key))
	r.mu.Lock()
	require.Equal(t, r.got[2].header.Get("webhook-id"), r.got[4].header.Get("webhook-id"), "receivers know repetitions by it")
	r.mu.Unlock()
	page, err := b.hooks.ListDeliveries(b.admin(), &tmsv1.ListWebhookDeliveriesRequest{Id: id, Failed: true, PageSize: 1})
	require.NoError(t, err)
	require.EqualValues(t, 302, page.GetDeliveries()[0].GetStatus())
	require.EqualValues(t, 2, page.GetDeliveries()[0].GetAttempt())
	require.NotEmpty(t, page.GetNextPageToken())

	// Days of failure end it; enabling takes it up where it stopped.
	r.answer(http.StatusInternalServerError)
	b.create("delta")
	work(id)
	b.clock.advance(events.DisableAfter)
	work(id)
	off, err := b.hooks.Get(b.admin(), &tmsv1.GetWebhookRequest{Id: id})
	require.NoError(t, err)
	require.False(t, off.GetEnabled())
	require.Contains(t, off.GetReason(), "every attempt has failed since")
	r.answer(http.StatusOK)
	on := true
	_, err = b.hooks.Update(b.admin(), &tmsv1.UpdateWebhookRequest{Webhook: &tmsv1.Webhook{Id: id, Etag: off.GetEtag(), Enabled: &on}})
	require.NoError(t, err)
	work(id)
	require.True(t, strings.HasSuffix(r.types(t, key), "created delta"))

	test, err := b.hooks.Test(b.admin(), &tmsv1.TestWebhookRequest{Id: id})
	require.NoError(t, err)
	require.EqualValues(t, 200, test.GetStatus())
	require.Empty(t, test.GetError())
	require.True(t, strings.HasSuffix(r.types(t, key), "webhook.test "+id))
	_, err = b.hooks.Delete(b.admin(), &tmsv1.DeleteWebhookRequest{Id: id})
	require.NoError(t, err)
	_, err = b.hooks.Get(b.admin(), &tmsv1.GetWebhookRequest{Id: id})
	refused(t, err, codes.NotFound, "WEBHOOK_NOT_FOUND")
	trail, err := b.audit.List(b.admin(), &tmsv1.ListAuditRequest{Action: "webhook."})
	require.NoError(t, err)
	require.Len(t, trail.GetRecords(), 4) // created, disabled, enabled, deleted
	require.NotContains(t, b.log.String()+trail.String(), key)
}

func TestWebhooksGoNowhereForbidden(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := newReceiver(t)
	for _, url := range []string{r.URL, "https://127.0.0.1/", "https://[::1]/", "https://[::ffff:10.0.0.1]/", "https://169.254.169.254/", "https://localhost/", "ftp://example.com/", "https://u:p@example.com/", "x"} {
		_, err := b.hooks.Create(b.admin(), &tmsv1.CreateWebhookRequest{Webhook: &tmsv1.Webhook{Url: url}})
		refused(t, err, codes.InvalidArgument, "INVALID_FIELD")
	}
	made, err := b.hooks.Create(b.admin(), &tmsv1.CreateWebhookRequest{Webhook: &tmsv1.Webhook{Url: "https://example.com/"}})
	require.NoError(t, err)
	// What is refused for its form is refused when it is dialled, too.
	_, err = b.db.Pool().Exec(t.Context(), `update webhooks set url = $1`, r.URL)
	require.NoError(t, err)
	test, err := b.hooks.Test(b.admin(), &tmsv1.TestWebhookRequest{Id: made.GetWebhook().GetId()})
	require.NoError(t, err)
	assert.Contains(t, test.GetError(), "TMS_WEBHOOK_ALLOW_NETWORKS")
	assert.Empty(t, r.got)
	_, err = b.hooks.Update(b.admin(), &tmsv1.UpdateWebhookRequest{Webhook: &tmsv1.Webhook{Id: made.GetWebhook().GetId(), Etag: "*", Types: []string{"nonsense"}}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"types"}}})
	refused(t, err, codes.InvalidArgument, "INVALID_FIELD")
}
