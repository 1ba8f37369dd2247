package upgrader_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/naming"
)

// write tries to write a document, as a container does that knows the name of
// the index, and returns the status.
func (b *bundle) write(index, id string) int {
	b.t.Helper()
	res, err := b.engine.Bulk(b.t.Context(), []upgrader.BulkOp{{Index: index, ID: id, Source: json.RawMessage(`{"id":"` + id + `","type":"new-month"}`)}})
	require.NoError(b.t, err)
	return res[0].Status
}

// one reads an index that must be there, or nil.
func (b *bundle) one(index string) *upgrader.Index {
	b.t.Helper()
	there, err := b.engine.Indices(b.t.Context(), index)
	require.NoError(b.t, err)
	if len(there) == 0 {
		return nil
	}
	return &there[0]
}

// born says that a partition is as the template of its release makes it.
func (b *bundle) born(index string, alias string) {
	b.t.Helper()
	ix := b.one(index)
	require.NotNil(b.t, ix, index)
	require.NotEmpty(b.t, ix.Mapping["properties"], index)
	require.False(b.t, ix.WriteBlocked, index)
	require.Contains(b.t, ix.Aliases, alias, index)
}

// templatesOf are the names of a version's templates of a tenant.
func (b *bundle) templatesOf(prefix string, t *fleet.Tenant) (all []upgrader.Template, frozen bool) {
	b.t.Helper()
	there, err := b.engine.Templates(b.t.Context(), "template."+prefix+"."+t.Name()+".*")
	require.NoError(b.t, err)
	for _, one := range there {
		if strings.Contains(one.Name, "tms-frozen") {
			frozen = true
			continue
		}
		all = append(all, one)
	}
	return all, frozen
}

// Months that begin while a version is closed: whoever writes there is refused,
// even with the version's own templates put again, and nothing of it is left
// when the version is open once more.
func TestFrozenVersion(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.catalogue = b.catalogue.Restrict("rule", "event")
	b.service = upgrader.NewService(b.store, b.engine, b.catalogue, nil)
	tenant := b.tenant("0.8.1", 1)
	require.NoError(t, tenant.Fill(t.Context(), 50))
	b.worker(b.engine)
	old, fresh, alias := "08x."+tenant.Name()+".tracardi-event-2031-", "0820."+tenant.Name()+".tracardi-event-2031-", tenant.Name()+".tracardi-event"
	r := b.run("0.8.2", upgrader.Options{}, tenant)
	require.Equal(t, 403, b.write(old+"1", "late"))
	require.Equal(t, 403, b.write(old+"2", "late"))
	theirs, frozen := b.templatesOf("08x", tenant)
	require.True(t, frozen)
	require.NotEmpty(t, theirs)
	for _, one := range theirs { // an old container starts
		one.Body = upgrader.IndexBody{}
		require.NoError(t, b.engine.PutTemplate(t.Context(), one))
	}
	require.Equal(t, 403, b.write(old+"3", "late"))
	require.Empty(t, b.one(old+"3").Aliases)
	require.NoError(t, b.engine.PutMapping(t.Context(), map[string]any{"properties": map[string]any{"id": map[string]any{"type": "keyword"}}}, old+"3"))
	require.Equal(t, 201, b.write(fresh+"1", "new"))

	_, err := b.service.Rollback(t.Context(), upgrader.Command{RolloutID: r.ID, Caller: "test"})
	require.NoError(t, err)
	b.until(r.ID, func(r *upgrader.Rollout) bool { return r.State == upgrader.RolloutRolledBack })
	require.Equal(t, []string{"new"}, b.has(old+"1", "new", "late"))
	b.born(old+"1", alias)
	require.Nil(t, b.one(old+"2"), "made by a refused write")
	require.Nil(t, b.one(old+"3"), "made by a refused write")
	_, frozen = b.templatesOf("08x", tenant)
	require.False(t, frozen)
	require.Equal(t, 201, b.write(old+"2", "welcome"))
	b.born(old+"2", alias)
	require.Equal(t, 403, b.write(fresh+"4", "early"))
	require.Empty(t, b.one(fresh+"4").Aliases)

	r = b.run("0.8.2", upgrader.Options{}, tenant)
	require.Equal(t, []string{"new"}, b.has(fresh+"1", "new"))
	require.Equal(t, []string{"welcome"}, b.has(fresh+"2", "welcome"))
	require.Nil(t, b.one(fresh+"4"))
	require.Equal(t, 201, b.write(fresh+"4", "welcome"))
	b.born(fresh+"4", alias)
	require.Equal(t, 403, b.write(old+"5", "late"))
	_, err = b.service.Finalize(t.Context(), upgrader.Command{RolloutID: r.ID, Caller: "test"})
	require.NoError(t, err)
	b.until(r.ID, func(r *upgrader.Rollout) bool { return r.State == upgrader.RolloutFinalized })
	require.Nil(t, b.one(old+"5"))
	left, frozen := b.templatesOf("08x", tenant)
	require.Empty(t, left)
	require.False(t, frozen)
}

// deathWhileLifting has a worker's fence fail, and stops the worker when it has
// lifted half of it.
type deathWhileLifting struct {
	upgrader.Engine
	die    context.CancelFunc
	failed atomic.Bool
}

func (e *deathWhileLifting) BlockWrites(ctx context.Context, patterns ...string) ([]string, error) {
	if e.failed.CompareAndSwap(false, true) {
		return nil, errDead
	}
	return e.Engine.BlockWrites(ctx, patterns...)
}

func (e *deathWhileLifting) DeleteTemplate(ctx context.Context, name string) error {
	err := e.Engine.DeleteTemplate(ctx, name)
	if e.failed.Load() && naming.Freezes(name) {
		e.die()
		return errDead
	}
	return err
}

// A worker dies while it lifts a fence: the old version is blocked and no more
// frozen. Whoever goes on closes it whole before the switch.
func TestDeathWhileTheFenceIsLifted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.catalogue = b.catalogue.Restrict("rule", "event")
	b.service = upgrader.NewService(b.store, b.engine, b.catalogue, nil)
	tenant := b.tenant("0.8.1", 1)
	require.NoError(t, tenant.Fill(t.Context(), 30))
	r := b.start("0.8.2", upgrader.Options{}, tenant)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	limits := upgrader.Limits{LeaseTTL: 400 * time.Millisecond}
	mortal := upgrader.NewRunner(b.store, &deathWhileLifting{Engine: b.engine, die: cancel}, b.catalogue, "mortal", limits, b.log)
	for ctx.Err() == nil {
		b.due(ctx, r.ID, tenant.Name())
		_ = mortal.Work(ctx, r.ID, tenant.Name())
	}
	r, err := b.service.Get(t.Context(), r.ID)
	require.NoError(t, err)
	require.Equal(t, upgrader.TenantFenced, r.Tenants[0].State, r.Tenants[0].Reason)
	require.False(t, r.Tenants[0].Record.BlockedAt.IsZero())
	_, frozen := b.templatesOf("08x", tenant)
	require.False(t, frozen)

	r = b.work(upgrader.NewRunner(b.store, b.engine, b.catalogue, "worker", limits, b.log), r.ID, tenant.Name())
	require.Equal(t, upgrader.TenantSwitched, r.Tenants[0].State, describe(r))
	require.Equal(t, 403, b.write("08x."+tenant.Name()+".tracardi-event-2031-1", "late"))
	require.Equal(t, 201, b.write("0820."+tenant.Name()+".tracardi-event-2031-1", "new"))
	b.born("0820."+tenant.Name()+".tracardi-event-2031-1", tenant.Name()+".tracardi-event")
}
