package upgrader_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/strategy"
)

// calendar is a clock that a test sets.
type calendar struct{ at atomic.Pointer[time.Time] }

func (c *calendar) set(text string) {
	at, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		panic(err)
	}
	c.at.Store(&at)
}

func (c *calendar) now() time.Time { return *c.at.Load() }

// waved starts a rollout whose gates are asked, and a process that goes by a
// calendar.
func (b *bundle) waved(c *calendar, o upgrader.Options, tenants ...*fleet.Tenant) *upgrader.Rollout {
	b.t.Helper()
	for _, t := range tenants {
		o.Tenants = append(o.Tenants, t.Name())
	}
	r, err := b.service.Start(b.t.Context(), upgrader.Request{ToRelease: "0.8.2", Caller: "test", Options: o})
	require.NoError(b.t, err)
	b.queue(upgrader.NewRunner(b.store, b.engine, b.catalogue, "worker", upgrader.Limits{}, b.log).WithCalendar(c.now))
	return r
}

// operations that indices have taken.
func (b *bundle) operations(patterns ...string) (n int64) {
	b.t.Helper()
	stats, err := b.engine.Stats(b.t.Context(), patterns...)
	require.NoError(b.t, err)
	for _, one := range stats {
		for _, last := range one.MaxSeqNo {
			n += last + 1
		}
	}
	return n
}

// A tenant waits until its window opens, and begins there. When the window
// closes before it is switched, it catches up until the next one.
func TestWindowsAreKept(t *testing.T) {
	long(t)
	t.Parallel()
	b := setup(t)
	tenant := b.tenant("0.8.1", 1)
	require.NoError(t, tenant.Fill(t.Context(), 50))
	clock := &calendar{}
	clock.set("2026-11-23 12:00")
	s := &strategy.File{Windows: []strategy.Window{{From: "22:00", To: "23:00"}}, FenceOutside: strategy.FenceWait}
	r := b.waved(clock, upgrader.Options{Strategy: s, HoldSwitch: true}, tenant)

	r = b.until(r.ID, func(r *upgrader.Rollout) bool { return r.Tenants[0].Reason != "" })
	require.Equal(t, "gate in_window: no maintenance window is open; the next one begins 2026-11-23 22:00:00 UTC", r.Tenants[0].Reason)
	require.Empty(t, b.names("0820."+tenant.Name()+".*"), "nothing is made outside of the window")

	clock.set("2026-11-23 22:30")
	b.until(r.ID, func(r *upgrader.Rollout) bool { return strings.Contains(r.Tenants[0].Reason, "tms upgrade switch") })

	// It may be switched from now on, but the window has closed. What is written
	// is carried over meanwhile, and refused to nobody.
	clock.set("2026-11-23 23:30")
	_, err := b.service.Switch(t.Context(), upgrader.Command{RolloutID: r.ID, Caller: "test"})
	require.NoError(t, err)
	writer := tenant.StartWriter(t.Context(), fleet.WriterConfig{Rate: 50, Bulk: 5})
	r = b.until(r.ID, func(r *upgrader.Rollout) bool {
		return r.Tenants[0].Reason == "waiting for a maintenance window before its writes are refused"
	})
	require.NoError(t, writer.Wait(t.Context(), func(s fleet.WriterStats) bool { return s.Acknowledged > 100 }))
	before := b.operations("0820."+tenant.Name()+".*", "prod-0820."+tenant.Name()+".*")
	r = b.until(r.ID, func(*upgrader.Rollout) bool {
		return b.operations("0820."+tenant.Name()+".*", "prod-0820."+tenant.Name()+".*") > before
	})
	require.Equal(t, upgrader.TenantCompared, r.Tenants[0].State)
	require.Zero(t, r.Tenants[0].FenceTries)

	clock.set("2026-11-24 22:10")
	r = b.ended(r.ID)
	require.NoError(t, writer.Stop())
	require.Equal(t, upgrader.RolloutComplete, r.State, describe(r))
	b.judge(tenant, r, "0.8.2")
}

// With `inactive: wait` a suspended tenant waits, holds up nobody, and goes when
// it is activated.
func TestSuspendedTenantsWait(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first, second := b.tenant("0.8.1", 1), b.tenant("0.8.1", 1)
	require.NoError(t, first.Fill(t.Context(), 50))
	suspend := func(on bool) {
		t.Helper()
		_, err := b.pool.Exec(t.Context(), `update tenants set suspended = $2 where id = $1`, first.Name(), on)
		require.NoError(t, err)
	}
	suspend(true)
	clock := &calendar{}
	clock.set("2026-11-23 12:00")
	r := b.waved(clock, upgrader.Options{Strategy: &strategy.File{Inactive: strategy.InactiveWait}, MaxTenants: 1}, first, second)
	of := func(r *upgrader.Rollout, name string) upgrader.RolloutTenant {
		for _, one := range r.Tenants {
			if one.TenantID == name {
				return one
			}
		}
		return upgrader.RolloutTenant{}
	}
	r = b.until(r.ID, func(r *upgrader.Rollout) bool {
		// The reason is that of the last look, and the next one is due.
		return of(r, second.Name()).State == upgrader.TenantSwitched && strings.Contains(of(r, first.Name()).Reason, "gate "+upgrader.GateTenantActive)
	})
	waits := of(r, first.Name())
	require.Equal(t, upgrader.TenantPlanned, waits.State)
	require.Contains(t, waits.Reason, "gate tenant_active: the tenant is suspended")
	require.Contains(t, waits.Reason, "tms tenant update "+first.Name())
	require.Equal(t, upgrader.RolloutRunning, r.State)
	suspend(false)
	r = b.ended(r.ID)
	require.Equal(t, upgrader.RolloutComplete, r.State, describe(r))
	b.judge(first, r, "0.8.2")
}
