package tenants

import (
	"context"
	"fmt"
	"time"
)

// How long memory is believed while the store does not answer. A store that
// answers is always asked instead: lost notifications alone make nothing stale.
const (
	// StaleTenants bounds answers about tenants: a failover of Postgres takes
	// a minute, and Tracardi stands still without an answer.
	StaleTenants = 5 * time.Minute
	// StaleKeys bounds the use of stored API keys. While Postgres is down
	// nobody can revoke one, but this process may only be cut off from it, and
	// then a revocation waits for this long. Keys from the environment
	// (API_KEY, TMS_ADMIN_KEY) do not depend on the store.
	StaleKeys = 30 * time.Second
	// probeInterval is how often a store that does not answer is asked again;
	// the calls between are answered from memory without waiting.
	probeInterval = 500 * time.Millisecond
)

// Staleness is how old the answers from memory are: 0 while the mirror is
// fresh or the store answers.
func (m *Mirror) Staleness() time.Duration {
	if m.outage.Load() == 0 || m.isFresh() {
		return 0
	}
	return m.age()
}

// age is the time since memory was last known to be right.
func (m *Mirror) age() time.Duration {
	return time.Since(m.born) - time.Duration(m.known.Load())
}

// tenant returns a registered tenant or nil. The result is shared.
func (m *Mirror) tenant(ctx context.Context, id string) (*Tenant, error) {
	remembered := func() *Tenant {
		m.mu.RLock()
		defer m.mu.RUnlock()
		return m.tenants[id]
	}
	return recall(ctx, m, StaleTenants, remembered, func(ctx context.Context) (*Tenant, error) {
		t, err := m.store.Tenant(ctx, id)
		if HasReason(err, ReasonTenantNotFound) {
			return nil, nil //nolint:nilnil // nobody of that name is an answer
		}
		return t, err
	})
}

// key returns a key or nil. The result is shared.
func (m *Mirror) key(ctx context.Context, id string) (*APIKey, error) {
	remembered := func() *APIKey {
		m.mu.RLock()
		defer m.mu.RUnlock()
		return m.keys[id]
	}
	return recall(ctx, m, StaleKeys, remembered, func(ctx context.Context) (*APIKey, error) {
		k, err := m.store.Key(ctx, id)
		if HasReason(err, ReasonKeyNotFound) {
			return nil, nil //nolint:nilnil // as above
		}
		return k, err
	})
}

// recall answers from fresh memory, else from the store, else from memory that
// is no older than bound and knows what is asked for.
func recall[T any](ctx context.Context, m *Mirror, bound time.Duration, remembered func() *T, ask func(context.Context) (*T, error)) (*T, error) {
	if m.isFresh() {
		return remembered(), nil
	}
	var err error
	if m.mayProbe() {
		probe, cancel := context.WithTimeout(ctx, storeTimeout)
		defer cancel()
		var found *T
		if found, err = ask(probe); err == nil {
			m.outage.Store(0)
			return found, nil
		}
		if !HasReason(err, ReasonStoreUnavailable) || ctx.Err() != nil {
			return nil, err
		}
		m.outage.Store(max(1, int64(time.Since(m.born))))
	}
	if found := remembered(); found != nil && m.known.Load() != 0 && m.age() <= bound {
		return found, nil
	}
	if err != nil {
		return nil, err
	}
	return nil, &Error{
		Code: CodeUnavailable, Reason: ReasonStoreUnavailable, Message: fmt.Sprintf("the database does not answer, and memory is believed for no more than %s", bound),
		Remedy: "try again; if it stays so, check DATABASE_URL and Postgres", RetryAfter: time.Second,
	}
}

// mayProbe says whether the caller should ask the store: always while it
// answers, and one caller per interval while it does not.
func (m *Mirror) mayProbe() bool {
	last := m.outage.Load()
	if last == 0 {
		return true
	}
	now := int64(time.Since(m.born))
	return now-last >= int64(probeInterval) && m.outage.CompareAndSwap(last, now)
}
