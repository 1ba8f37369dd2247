package db_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/tenants"
)

type anyRelease struct{}

func (anyRelease) KnownRelease(string) error { return nil }

// process is what one tms process holds of the registry.
type process struct {
	mirror  *tenants.Mirror
	service *tenants.Service
	keys    *tenants.Keys
	ring    *tenants.Keyring
}

// start runs a process on the store; it stops with the test or by stop.
func (b *registryBundle) start(t *testing.T, store tenants.Store) (p *process, stop func()) {
	t.Helper()
	m := tenants.NewMirror(store, nil)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { m.Run(ctx) })
	stop = func() { cancel(); running.Wait() }
	t.Cleanup(stop)
	select {
	case <-m.Loaded():
	case <-time.After(20 * time.Second):
		t.Fatal("mirror not loaded")
	}
	return &process{
		mirror: m, service: tenants.NewService(store, m, anyRelease{}, nil, nil), keys: tenants.NewKeys(store, m, nil, nil),
		ring: tenants.NewKeyring(tenants.KeyringConfig{Store: store, Mirror: m, Secret: "s", AdminKey: "admin"}),
	}, stop
}

// within waits for a condition for at most the time a change may take to be
// seen everywhere, with room for a busy machine.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, 5*time.Second, 2*time.Millisecond, what)
}

func TestChangesReachOtherProcesses(t *testing.T) {
	t.Parallel()
	b := setupRegistry(t)
	ctx := t.Context()
	one, _ := b.start(t, b.store)
	two, _ := b.start(t, b.store)
	caller := tenants.Caller{KeyID: "tester", Role: tenants.RoleAdmin}
	allowed := func(p *process) bool {
		v, err := p.service.Check(ctx, "acme")
		require.NoError(t, err)
		return v.Allowed
	}
	_, err := one.service.Create(ctx, caller, tenants.CreateRequest{Tenant: &tenants.Tenant{ID: "acme", Release: "0.8.1"}})
	require.NoError(t, err)
	require.True(t, allowed(one), "who wrote sees it at once")
	within(t, "creation", func() bool { return allowed(two) })
	_, err = two.service.Delete(ctx, caller, tenants.EventRequest{ID: "acme", Etag: tenants.AnyEtag})
	require.NoError(t, err)
	require.False(t, allowed(two))
	within(t, "deletion", func() bool { return !allowed(one) })
	// A change by anything that writes to the table is seen, too.
	_, err = b.db.Pool().Exec(ctx, `update tenants set deleted_at = null, purge_at = null, release = '0.8.2'`)
	require.NoError(t, err)
	within(t, "foreign change", func() bool {
		v, err := one.service.Check(ctx, "acme")
		return err == nil && v.Allowed && v.Tenant.Release == "0.8.2"
	})
	_, err = b.db.Pool().Exec(ctx, `update tenants set deleted_at = now(), purge_at = now(), purge_started_at = now()`)
	require.NoError(t, err)
	_, err = b.db.Pool().Exec(ctx, `update tenants set purged_at = now(), display_name = '', email = '', domain = '', gui_url = '', labels = '{}', attributes = null, install_token = ''`)
	require.NoError(t, err)
	_, err = b.db.Pool().Exec(ctx, `delete from tenants`)
	require.NoError(t, err)
	within(t, "purge", func() bool { return !allowed(one) && !allowed(two) })

	k, secret, err := one.keys.Create(ctx, caller, tenants.KeyRequest{Name: "test", Role: tenants.RoleViewer})
	require.NoError(t, err)
	within(t, "key", func() bool { _, err := two.ring.Authenticate(ctx, secret); return err == nil })
	_, err = one.keys.Revoke(ctx, caller, k.ID)
	require.NoError(t, err)
	within(t, "revocation", func() bool {
		_, err := two.ring.Authenticate(ctx, secret)
		return tenants.HasReason(err, tenants.ReasonKeyRevoked)
	})
}

// silent is a store whose notifications never arrive, like those of a
// connection that died without anybody noticing.
type silent struct{ tenants.Store }

func (s silent) Subscribe(context.Context) (tenants.Subscription, error) { return mute{}, nil }

type mute struct{}

func (mute) Next(ctx context.Context, _ time.Duration) (tenants.Change, error) {
	<-ctx.Done()
	return tenants.Change{}, ctx.Err()
}
func (mute) Close() {}

func TestStaleMirrorIsNotBelieved(t *testing.T) {
	t.Parallel()
	b := setupRegistry(t)
	b.create(t, sample("acme"))
	p, _ := b.start(t, silent{b.store})
	_, err := b.db.Pool().Exec(t.Context(), `update tenants set suspended = true`)
	require.NoError(t, err)
	within(t, "suspension without notification", func() bool {
		v, err := p.service.Check(t.Context(), "acme")
		return err == nil && v.Reason == "suspended"
	})
}

func TestNobodyIsServedWithoutTheDatabaseForLong(t *testing.T) {
	t.Parallel()
	b := setupRegistry(t)
	b.create(t, sample("acme"))
	p, stop := b.start(t, b.store)
	v, err := p.service.Check(t.Context(), "acme")
	require.NoError(t, err)
	require.True(t, v.Allowed)
	stop() // no fresh mirror any more
	b.db.Close()
	v, err = p.service.Check(t.Context(), "acme")
	require.Error(t, err)
	require.False(t, v.Allowed)
	_, err = p.ring.Authenticate(t.Context(), "tms_abcdefghijkl_x")
	require.Error(t, err)
	require.False(t, tenants.HasReason(err, tenants.ReasonKeyUnknown), "not knowing is not a no")
	_, err = p.ring.Authenticate(t.Context(), "admin")
	require.NoError(t, err, "keys from the environment need no database")
}
