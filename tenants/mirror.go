package tenants

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// How fresh the mirror is. A change by another process is seen at once, when
// its notification arrives; the bound is for connections that died silently.
const (
	// maxAge is how long after its last proof of life the mirror is believed:
	// a revoked key works nowhere longer than this.
	maxAge = time.Second
	// heartbeat leaves room for three beats within maxAge.
	heartbeat = maxAge / 4
	// storeTimeout bounds a single question to the store.
	storeTimeout = 2 * time.Second
	// reconnect is the pause after a lost subscription.
	reconnect = 200 * time.Millisecond
)

// Mirror holds all tenants and keys in memory, kept fresh by notifications.
// While it is not certain to be fresh, it asks the store instead; while that
// does not answer either, it answers from the past within narrow bounds, and
// Staleness says so. It is safe for concurrent use.
type Mirror struct {
	store Store
	log   *slog.Logger

	mu      sync.RWMutex
	tenants map[string]*Tenant
	keys    map[string]*APIKey

	born  time.Time
	fresh atomic.Int64 // until when, as nanoseconds since born; 0 never was
	known atomic.Int64 // last proof of life, as nanoseconds since born; 0 never was
	// outage is when the store was last asked in vain, as nanoseconds since
	// born; 0 when it answered since.
	outage atomic.Int64

	loaded     chan struct{} // closed after the first load
	loadedOnce sync.Once
}

// NewMirror returns an empty mirror; it asks the store until Run has loaded it.
func NewMirror(store Store, log *slog.Logger) *Mirror {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Mirror{store: store, log: log, tenants: map[string]*Tenant{}, keys: map[string]*APIKey{}, born: time.Now(), loaded: make(chan struct{})}
}

// Loaded is closed when the mirror has been loaded once.
func (m *Mirror) Loaded() <-chan struct{} { return m.loaded }

// Run keeps the mirror fresh until ctx ends.
func (m *Mirror) Run(ctx context.Context) {
	for ctx.Err() == nil {
		err := m.follow(ctx)
		m.fresh.Store(0)
		if ctx.Err() != nil {
			return
		}
		m.log.WarnContext(ctx, "registry notifications lost; asking the database for every check", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(reconnect):
		}
	}
}

func (m *Mirror) follow(ctx context.Context) error {
	sub, err := m.store.Subscribe(ctx)
	if err != nil {
		return err
	}
	defer sub.Close()
	began := time.Now()
	if err := m.load(ctx); err != nil {
		return err
	}
	m.believeFrom(began)
	m.loadedOnce.Do(func() { close(m.loaded) })
	for beat := began; ; {
		asked := time.Now()
		change, err := sub.Next(ctx, max(0, heartbeat-asked.Sub(beat)))
		if err != nil {
			return err
		}
		switch change.Kind {
		case ChangeNone:
			beat = asked
			m.believeFrom(asked)
		case ChangeTenant:
			err = m.reloadTenant(ctx, change.ID)
		case ChangeKey:
			err = m.reloadKey(ctx, change.ID)
		}
		if err != nil {
			return err
		}
	}
}

func (m *Mirror) believeFrom(t time.Time) {
	m.known.Store(int64(t.Sub(m.born)))
	m.fresh.Store(int64(t.Sub(m.born) + maxAge))
	m.outage.Store(0)
}

func (m *Mirror) isFresh() bool {
	return int64(time.Since(m.born)) < m.fresh.Load()
}

func (m *Mirror) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*storeTimeout)
	defer cancel()
	ts, err := m.store.AllTenants(ctx)
	if err != nil {
		return err
	}
	ks, err := m.store.Keys(ctx, time.Time{}, "", 0)
	if err != nil {
		return err
	}
	tenants, keys := make(map[string]*Tenant, len(ts)), make(map[string]*APIKey, len(ks))
	for _, t := range ts {
		tenants[t.ID] = t
	}
	for _, k := range ks {
		keys[k.ID] = k
	}
	m.mu.Lock()
	m.tenants, m.keys = tenants, keys
	m.mu.Unlock()
	return nil
}

func (m *Mirror) reloadTenant(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	t, err := m.store.Tenant(ctx, id)
	if HasReason(err, ReasonTenantNotFound) {
		m.mu.Lock()
		delete(m.tenants, id)
		m.mu.Unlock()
		return nil
	}
	if err != nil {
		return err
	}
	m.putTenant(t)
	return nil
}

func (m *Mirror) reloadKey(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	k, err := m.store.Key(ctx, id)
	if HasReason(err, ReasonKeyNotFound) {
		m.mu.Lock()
		delete(m.keys, id)
		m.mu.Unlock()
		return nil
	}
	if err != nil {
		return err
	}
	m.putKey(k)
	return nil
}

// putTenant takes in a tenant just written or read, unless a newer one is here.
func (m *Mirror) putTenant(t *Tenant) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.tenants[t.ID]; old == nil || old.Revision <= t.Revision {
		m.tenants[t.ID] = t.Clone()
	}
}

func (m *Mirror) putKey(k *APIKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	// Keys have no revision, but a revocation is never taken back.
	if old := m.keys[k.ID]; old == nil || old.RevokedAt.IsZero() || !k.RevokedAt.IsZero() {
		m.keys[k.ID] = k
	}
}
