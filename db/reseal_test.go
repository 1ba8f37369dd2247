package db_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/clusters"
	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/events"
	"github.com/tracardi/tms/tenants"
)

// After resealing nothing needs the old secret any more, and nothing else has
// changed: no etag, no event, no notification.
func TestResealLeavesNothingUnderTheOldSecret(t *testing.T) {
	t.Parallel()
	b := setupRegistry(t) // with the secret that will be the old one
	sealer := func(secrets ...string) *tenants.Sealer {
		t.Helper()
		s, err := tenants.NewSealer(secrets[0], secrets[1:]...)
		require.NoError(t, err)
		return s
	}
	const before, after = "a secret of the test", "another secret of the test"
	for i := range 3 {
		x := sample(fmt.Sprintf("acme%d", i))
		x.InstallToken = fmt.Sprintf("token %d", i)
		b.create(t, x)
	}
	lost := b.create(t, sample("lost"))
	_, err := b.db.Pool().Exec(t.Context(), `update tenants set install_token = $1 where id = 'lost'`, sealer("a third one").Seal("lost", "x"))
	require.NoError(t, err)
	hooks := db.NewWebhooks(b.db, sealer(before))
	w := &events.Webhook{ID: "wh1", URL: "https://example.com/", Secret: "whsec_YQ==", Enabled: true, CreatedBy: "x", CreatedAt: time.Now()}
	_, err = hooks.CreateWebhook(t.Context(), w, audit("webhook.create", "webhook/wh1"))
	require.NoError(t, err)
	_, err = hooks.ChangeWebhook(t.Context(), "wh1", audit("webhook.rotate_secret", "webhook/wh1"), func(w *events.Webhook) error {
		w.Secret, w.OldSecret, w.OldSecretUntil = "whsec_Yg==", w.Secret, time.Now().Add(time.Hour)
		return nil
	})
	require.NoError(t, err)
	far := &clusters.Cluster{Name: "far", URLs: []string{"https://far:9200"}, Username: "tms", Secret: "password", CreatedAt: time.Now()}
	stored, err := db.NewClusters(b.db, sealer(before)).CreateCluster(t.Context(), far, audit("cluster.add", "cluster/far"))
	require.NoError(t, err)
	head, err := db.NewEvents(b.db).Advance(t.Context())
	require.NoError(t, err)
	was, err := b.store.Tenant(t.Context(), "acme1")
	require.NoError(t, err)
	sub, err := b.store.Subscribe(t.Context())
	require.NoError(t, err)
	defer sub.Close()

	done, err := db.Reseal(t.Context(), b.db, sealer(after, before))
	require.NoError(t, err)
	require.Equal(t, db.Resealed{Tenants: 3, Webhooks: 2, Clusters: 1, Unreadable: 1}, done)
	again, err := db.Reseal(t.Context(), b.db, sealer(after, before))
	require.NoError(t, err)
	require.Equal(t, db.Resealed{Unreadable: 1}, again)

	now, err := db.NewRegistry(b.db, sealer(after)).Tenant(t.Context(), "acme1")
	require.NoError(t, err)
	require.Equal(t, "token 1", now.InstallToken)
	require.Equal(t, was.Revision, now.Revision)
	require.Equal(t, was.UpdatedAt, now.UpdatedAt)
	hook, err := db.NewWebhooks(b.db, sealer(after)).Webhook(t.Context(), "wh1")
	require.NoError(t, err)
	require.Equal(t, []string{"whsec_Yg==", "whsec_YQ=="}, []string{hook.Secret, hook.OldSecret})
	sealed, err := db.NewClusters(b.db, sealer(after)).Cluster(t.Context(), "far")
	require.NoError(t, err)
	require.Equal(t, "password", sealed.Secret)
	require.Equal(t, stored.Etag(), sealed.Etag())
	unread, err := db.NewClusters(b.db, sealer(before)).Cluster(t.Context(), "far")
	require.NoError(t, err)
	require.True(t, unread.SecretUnreadable)
	require.Empty(t, unread.Secret)
	newest, err := db.NewEvents(b.db).Advance(t.Context())
	require.NoError(t, err)
	require.Equal(t, head.Newest, newest.Newest)

	// The next change of a tenant is told as ever, and is the first to be.
	_, err = b.store.ChangeTenant(t.Context(), lost.ID, false, audit("tenant.update", lost.ID), func(x *tenants.Tenant) error {
		x.DisplayName = "changed"
		return nil
	})
	require.NoError(t, err)
	c, err := sub.Next(t.Context(), time.Minute)
	require.NoError(t, err)
	require.Equal(t, tenants.Change{Kind: tenants.ChangeTenant, ID: lost.ID}, c)
}
