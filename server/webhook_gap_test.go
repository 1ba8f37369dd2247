package server_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/internal/devstack/devtest"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// hooked is a server with one webhook and its receiver.
type hooked struct {
	*bundle
	*testing.T
	r      *receiver
	id     string
	secret string
}

func setupHook(t *testing.T, types ...string) *hooked {
	t.Helper()
	b := setupWith(t, options{dsn: devtest.Database(t, db.Migrate), secret: secret, networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	r := newReceiver(t)
	made, err := b.hooks.Create(b.admin(), &tmsv1.CreateWebhookRequest{Webhook: &tmsv1.Webhook{Url: r.URL, Types: types}})
	require.NoError(t, err)
	return &hooked{bundle: b, T: t, r: r, id: made.GetWebhook().GetId(), secret: made.GetSecret()}
}

// work is a turn on the webhook, now.
func (h *hooked) work() {
	h.T.Helper()
	_, err := db.NewEvents(h.db).Advance(h.T.Context())
	require.NoError(h.T, err)
	h.exec(`update webhooks set next_at = now()`)
	require.NoError(h.T, h.webhooks.Work(h.T.Context(), h.id))
}

func (h *hooked) exec(sql string) {
	h.T.Helper()
	_, err := h.db.Pool().Exec(h.T.Context(), sql)
	require.NoError(h.T, err)
}

func (h *hooked) hook() *tmsv1.Webhook {
	h.T.Helper()
	w, err := h.hooks.Get(h.admin(), &tmsv1.GetWebhookRequest{Id: h.id})
	require.NoError(h.T, err)
	return w
}

// Who was away for longer than events are kept is told what he missed, before
// anything else, even if he wants other types only.
func TestWebhookIsToldWhatItLost(t *testing.T) {
	t.Parallel()
	h := setupHook(t, "tenant.created")
	h.create("acme")
	h.work()
	h.r.answer(http.StatusInternalServerError)
	h.create("beta")
	h.create("gamma")
	h.work()
	h.exec(`delete from events where number <= 2`)
	h.exec(`update event_log set floor = 2`)
	h.work() // the marker is tried again like everything else
	h.exec(`delete from events where number <= 3`)
	h.exec(`update event_log set floor = 3`)
	h.r.answer(http.StatusOK)
	h.work() // and nothing is left behind it
	require.Zero(t, h.hook().GetPending())
	h.create("delta")
	h.work()
	require.Equal(t, "created acme, created beta, webhook.gap "+h.id+", webhook.gap "+h.id+", created delta", h.r.types(t, h.secret))
	var body struct {
		Number int64
		Data   struct{ From, To int64 }
	}
	require.NoError(t, json.Unmarshal([]byte(h.r.got[3].body), &body))
	require.Equal(t, []int64{2, 3, 3}, []int64{body.Data.From, body.Data.To, body.Number})
	require.Equal(t, "gap_2_3", h.r.got[3].header.Get("webhook-id"))
	gap := h.hook().GetGap()
	require.Equal(t, []int64{2, 3}, []int64{gap.GetFrom(), gap.GetTo()})
	trail, err := h.audit.List(h.admin(), &tmsv1.ListAuditRequest{Action: "webhook.gap"})
	require.NoError(t, err)
	require.Len(t, trail.GetRecords(), 1)
	require.Contains(t, h.log.String(), "webhook has lost events")
}

// verified says whether a delivery carries a signature by the secret.
func verified(t *testing.T, g received, secret string) bool {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	require.NoError(t, err)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(g.header.Get("webhook-id") + "." + g.header.Get("webhook-timestamp") + "." + g.body))
	for _, one := range strings.Fields(g.header.Get("webhook-signature")) {
		if one == "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) {
			return true
		}
	}
	return false
}

func TestWebhookSecretRotates(t *testing.T) {
	t.Parallel()
	h := setupHook(t)
	rotate := func(overlap *durationpb.Duration) *tmsv1.WebhookSecret {
		t.Helper()
		made, err := h.hooks.RotateSecret(h.admin(), &tmsv1.RotateWebhookSecretRequest{Id: h.id, Overlap: overlap})
		require.NoError(t, err)
		return made
	}
	signs := func(secrets ...string) []bool {
		t.Helper()
		d, err := h.hooks.Test(h.admin(), &tmsv1.TestWebhookRequest{Id: h.id})
		require.NoError(t, err)
		require.Empty(t, d.GetError())
		var out []bool
		for _, s := range secrets {
			out = append(out, verified(t, h.r.got[len(h.r.got)-1], s))
		}
		return out
	}
	second := rotate(nil)
	require.NotEqual(t, h.secret, second.GetSecret())
	require.WithinDuration(t, time.Now().Add(24*time.Hour), second.GetWebhook().GetOldSecretExpireTime().AsTime(), time.Minute)
	require.Equal(t, []bool{true, true}, signs(h.secret, second.GetSecret()), "both sign")
	h.clock.advance(24*time.Hour + time.Minute)
	require.Equal(t, []bool{false, true}, signs(h.secret, second.GetSecret()), "the overlap is over")
	third := rotate(durationpb.New(0))
	require.Nil(t, third.GetWebhook().GetOldSecretExpireTime())
	require.Equal(t, []bool{false, false, true}, signs(h.secret, second.GetSecret(), third.GetSecret()), "after a leak")
	_, err := h.hooks.RotateSecret(h.admin(), &tmsv1.RotateWebhookSecretRequest{Id: h.id, Overlap: durationpb.New(31 * 24 * time.Hour)})
	refused(t, err, codes.InvalidArgument, "INVALID_FIELD")
	_, err = h.hooks.RotateSecret(h.admin(), &tmsv1.RotateWebhookSecretRequest{Id: "nobody"})
	refused(t, err, codes.NotFound, "WEBHOOK_NOT_FOUND")
	trail, err := h.audit.List(h.admin(), &tmsv1.ListAuditRequest{Action: "webhook.rotate_secret"})
	require.NoError(t, err)
	require.Len(t, trail.GetRecords(), 2)
	for _, s := range []string{h.secret, second.GetSecret(), third.GetSecret()} {
		require.NotContains(t, h.log.String()+trail.String(), s)
	}
}

// The trail says what was changed, from what to what, and keeps the secrets of
// the receiver's that its address may hold.
func TestWebhookChangesAreAuditedInFull(t *testing.T) {
	t.Parallel()
	h := setupHook(t)
	off := false
	_, err := h.hooks.Update(h.admin(), &tmsv1.UpdateWebhookRequest{Webhook: &tmsv1.Webhook{
		Id: h.id, Etag: "*", Url: h.r.URL + "/secret?token=secret", Types: []string{"tenant.created"}, Enabled: &off,
	}})
	require.NoError(t, err)
	trail, err := h.audit.List(h.admin(), &tmsv1.ListAuditRequest{Action: "webhook.update"})
	require.NoError(t, err)
	require.Len(t, trail.GetRecords(), 1)
	require.Equal(t, map[string]any{
		"fields": []any{"enabled", "types", "url"},
		"before": map[string]any{"enabled": true, "types": []any{}, "url": h.r.URL + "/***"},
		"after":  map[string]any{"enabled": false, "types": []any{"tenant.created"}, "url": h.r.URL + "/***"},
	}, trail.GetRecords()[0].GetDetail().AsMap())
}
