package tenants

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// failing is a store that does not answer.
type failing struct {
	Store
	mu    sync.Mutex
	asked int
	up    bool
}

func (f *failing) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	return f.asked
}

func (f *failing) down() error {
	f.count()
	if f.up {
		return nil
	}
	return &Error{Code: CodeUnavailable, Reason: ReasonStoreUnavailable, Message: "down"}
}

func (f *failing) Tenant(_ context.Context, id string) (*Tenant, error) {
	if err := f.down(); err != nil {
		return nil, err
	}
	return nil, NotFoundError(id)
}

func (f *failing) Key(_ context.Context, id string) (*APIKey, error) {
	if err := f.down(); err != nil {
		return nil, err
	}
	return nil, KeyNotFoundError(id)
}

// Memory is believed for a while when the store does not answer, for keys
// much shorter than for tenants, and never for what it does not know.
func TestOutage(t *testing.T) {
	t.Parallel()
	store := &failing{}
	m := NewMirror(store, nil)
	m.putTenant(&Tenant{ID: "acme", Revision: 1})
	m.putKey(&APIKey{ID: "k"})
	ctx := t.Context()
	_, err := m.tenant(ctx, "acme")
	require.True(t, HasReason(err, ReasonStoreUnavailable), "never loaded: nothing is known")
	aged := func(age time.Duration) { // the last proof of life was so long ago
		m.born = time.Now().Add(-time.Hour)
		m.known.Store(int64(time.Hour - age))
		m.fresh.Store(m.known.Load() + int64(maxAge))
		m.outage.Store(0)
	}
	for age, want := range map[time.Duration][2]bool{
		0:                            {true, true},
		2 * time.Second:              {true, true},
		StaleKeys - time.Second:      {true, true},
		StaleKeys + time.Second:      {true, false},
		StaleTenants - time.Second:   {true, false},
		StaleTenants + 1*time.Second: {false, false},
	} {
		aged(age)
		x, err := m.tenant(ctx, "acme")
		require.Equal(t, want[0], err == nil && x != nil, "tenant after %s: %v", age, err)
		k, err := m.key(ctx, "k")
		require.Equal(t, want[1], err == nil && k != nil, "key after %s: %v", age, err)
		if age > maxAge {
			require.InDelta(t, age.Seconds(), m.Staleness().Seconds(), 1)
		} else {
			require.Zero(t, m.Staleness())
		}
	}
	aged(2 * time.Second)
	_, err = m.tenant(ctx, "unknown")
	require.True(t, HasReason(err, ReasonStoreUnavailable), "not knowing is neither yes nor no")

	before := store.count()
	for range 100 {
		_, err := m.tenant(ctx, "acme")
		require.NoError(t, err)
	}
	require.Less(t, store.count()-before, 5, "a store that does not answer is asked now and then")

	store.up = true
	aged(2 * time.Second)
	x, err := m.tenant(ctx, "acme")
	require.NoError(t, err)
	require.Nil(t, x, "a store that answers counts more than memory")
	require.Zero(t, m.Staleness())
}
