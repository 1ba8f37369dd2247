package e2e

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// A process is killed while a receiver is thinking about its delivery: another
// one delivers the same event again, and then what is behind it.
func TestWebhookOutlivesItsProcess(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.env = []string{"TMS_WEBHOOK_ALLOW_NETWORKS=127.0.0.0/8"}
	b.serve(2)
	type attempt struct{ id, body string }
	got := make(chan attempt, 100)
	thinking := make(chan struct{})
	first := make(chan struct{}, 1)
	first <- struct{}{}
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what is cut off fails the test by its content
		got <- attempt{r.Header.Get("webhook-id"), string(body)}
		select {
		case <-first:
			<-thinking
		default:
		}
	}))
	t.Cleanup(receiver.Close)
	t.Cleanup(func() { close(thinking) })
	next := func() attempt {
		t.Helper()
		select {
		case a := <-got:
			return a
		case <-b.ctx.Done():
			t.Fatal("nothing was delivered")
			return attempt{}
		}
	}
	made := b.tms("webhook", "create", "--url", receiver.URL, "-o", "json")
	require.Zero(t, made.code, made.stderr)
	hook := &tmsv1.WebhookSecret{}
	require.NoError(t, protojson.Unmarshal([]byte(made.stdout), hook))
	b.register("acme", "0.8.1")
	b.register("beta", "0.8.1")
	before := next()
	require.Contains(t, before.body, "acme")

	// Who has the lease is the one that waits for the answer.
	conn, err := pgx.Connect(b.ctx, b.database)
	require.NoError(t, err)
	defer func() { _ = conn.Close(b.ctx) }()
	var owner string
	require.NoError(t, conn.QueryRow(b.ctx, `select lease_owner from webhooks`).Scan(&owner))
	killed := false
	for i, s := range b.servers {
		if strings.Contains(owner, "-"+strconv.Itoa(s.PID())+"-") {
			s.Kill()
			b.servers = append(b.servers[:i:i], b.servers[i+1:]...)
			killed = true
			break
		}
	}
	require.True(t, killed, owner)
	// Its lease would end in two minutes; the test has no time for them.
	_, err = conn.Exec(b.ctx, `update webhooks set lease_until = now()`)
	require.NoError(t, err)
	require.Equal(t, before, next(), "the same event with the same id")
	require.Contains(t, next().body, "beta")
	require.Eventually(t, func() bool {
		shown := b.tms("webhook", "get", hook.GetWebhook().GetId(), "-o", "json")
		w := &tmsv1.Webhook{}
		require.NoError(t, protojson.Unmarshal([]byte(shown.stdout), w), shown.stderr)
		return w.GetPending() == 0 && w.GetFailures() == 0
	}, time.Minute, 100*time.Millisecond)
}
