package cli_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/cmd/tms/internal/cli"
)

// Every command of webhooks against a real service, whose queue delivers.
func TestWebhookCommands(t *testing.T) {
	t.Parallel()
	b := setupWith(t, "TMS_WEBHOOK_ALLOW_NETWORKS", "127.0.0.0/8")
	got := make(chan string, 100)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var e struct{ Type, Subject string }
		_ = json.Unmarshal(body, &e) // a wrong body fails the test by its empty type
		got <- e.Type + " " + e.Subject
	}))
	t.Cleanup(receiver.Close)
	next := func() string {
		t.Helper()
		select {
		case one := <-got:
			return one
		case <-time.After(startLimit):
			t.Fatal("nothing was delivered")
			return ""
		}
	}

	forbidden := run(t, b.client, "webhook", "create", "--url", "http://10.0.0.1/")
	require.Equal(t, 2, forbidden.code)
	require.Contains(t, forbidden.err, "TMS_WEBHOOK_ALLOW_NETWORKS")
	require.Equal(t, 2, run(t, b.client, "webhook", "create").code)
	var made struct {
		Secret  string
		Webhook struct{ ID, Etag string }
	}
	run(t, b.client, "webhook", "create", "--url", receiver.URL, "--name", "ours", "--type", "tenant.created", "-o", "json").decode(t, &made)
	id := made.Webhook.ID
	require.NotEmpty(t, id)
	require.True(t, strings.HasPrefix(made.Secret, "whsec_"))

	test := run(t, b.client, "webhook", "test", id)
	require.Zero(t, test.code, test.err)
	require.Contains(t, test.out, "200")
	require.Equal(t, "webhook.test "+id, next())
	require.Zero(t, run(t, b.client, "tenant", "create", "acme", "--release", "0.8.1").code)
	require.Equal(t, "tenant.created acme", next())

	list := run(t, b.client, "webhook", "list")
	require.Contains(t, list.out, id)
	require.Contains(t, list.out, "enabled")
	rotated := run(t, b.client, "webhook", "rotate", id, "--overlap", "2h")
	require.Zero(t, rotated.code, rotated.err)
	require.Contains(t, rotated.out, "whsec_")
	require.Contains(t, rotated.out, "former secret signs until")
	shown := run(t, b.client, "webhook", "get", id)
	require.Contains(t, shown.out, "former secret signs until")
	require.NotContains(t, shown.out, "whsec_")

	nothing := run(t, b.client, "webhook", "update", id)
	require.Equal(t, 2, nothing.code)
	stale := run(t, b.client, "webhook", "update", id, "--name", "x", "--etag", made.Webhook.Etag)
	require.Equal(t, 1, stale.code)
	require.Contains(t, stale.err, "etag")
	off := run(t, b.client, "webhook", "update", id, "--enabled=false")
	require.Zero(t, off.code, off.err)
	require.Contains(t, off.out, "disabled")

	// What went out is in the record; the delivery may still be on its way there.
	require.Eventually(t, func() bool {
		var all []map[string]any
		run(t, b.client, "webhook", "deliveries", id, "-o", "json").decode(t, &all)
		return len(all) == 1 && all[0]["type"] == "tenant.created" && all[0]["subject"] == "acme"
	}, startLimit, 50*time.Millisecond)
	require.NotContains(t, run(t, b.client, "webhook", "deliveries", id, "--failed").out, "acme")

	receiver.Close()
	failed := run(t, b.client, "webhook", "test", id)
	require.Equal(t, 1, failed.code)
	require.Contains(t, failed.err, "not delivered")
	require.Zero(t, run(t, b.client, "webhook", "delete", id).code)
	gone := run(t, b.client, "webhook", "get", id)
	require.Equal(t, 1, gone.code)
	require.Contains(t, gone.err, "tms webhook list")
	require.NotContains(t, b.logs.String(), made.Secret)
}

func TestTenantWatchCommand(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.Zero(t, run(t, b.client, "tenant", "create", "acme", "--release", "0.8.1", "--label", "tier=gold").code)
	once := run(t, b.client, "tenant", "watch", "--once")
	require.Zero(t, once.code, once.err)
	require.Equal(t, []string{"present  acme  active  0.8.1", "synced"}, strings.Split(strings.TrimSpace(once.out), "\n"))
	wrong := run(t, b.client, "tenant", "watch", "--filter", "nonsense")
	require.Equal(t, 2, wrong.code)

	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	out, in := io.Pipe()
	ended := make(chan int, 1)
	errs := &syncBuffer{}
	go func(ctx context.Context, in *io.PipeWriter) { // both variables are used again below
		ended <- cli.Run(ctx, []string{"tenant", "watch", "--filter", "label.tier:gold", "-o", "json"}, in, errs, b.client.lookup)
		_ = in.Close()
	}(ctx, in)
	lines := bufio.NewScanner(out)
	type message struct {
		Kind        string
		ResumeToken string `json:"resume_token"`
		Event       struct{ Type, Subject string }
	}
	next := func() (m message) {
		t.Helper()
		require.True(t, lines.Scan(), "the watch ended: %s", errs)
		require.NoError(t, json.Unmarshal(lines.Bytes(), &m))
		return m
	}
	require.Equal(t, "present", next().Kind)
	synced := next()
	require.Equal(t, "synced", synced.Kind)
	require.Zero(t, run(t, b.client, "tenant", "create", "beta", "--release", "0.8.1").code)
	require.Zero(t, run(t, b.client, "tenant", "update", "acme", "--state", "suspended").code)
	heard := next()
	require.Equal(t, "tenant.suspended acme", heard.Event.Type+" "+heard.Event.Subject)
	cancel()
	require.NotZero(t, <-ended, "an interrupted watch is not done")

	// What happened meanwhile comes with the token; a wrong one is refused.
	ctx, cancel = context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	out, in = io.Pipe()
	go func() {
		cli.Run(ctx, []string{"tenant", "watch", "--resume", synced.ResumeToken, "--filter", "label.tier:gold"}, in, errs, b.client.lookup)
		_ = in.Close()
	}()
	lines = bufio.NewScanner(out)
	require.True(t, lines.Scan(), "%s", errs)
	for !strings.Contains(lines.Text(), "tenant.suspended  acme") {
		require.True(t, lines.Scan(), "%s", errs)
	}
	require.Contains(t, lines.Text(), "active -> suspended")
	altered := run(t, b.client, "tenant", "watch", "--once", "--resume", synced.ResumeToken)
	require.Equal(t, 2, altered.code)
	require.Contains(t, altered.err, "resume_token")
}
