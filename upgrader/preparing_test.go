package upgrader_test

import (
	"context"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/upgrader"
)

// deathBeforeBlock kills a worker that has prepared its fence and not closed it.
type deathBeforeBlock struct {
	upgrader.Engine
	die context.CancelFunc
}

func (e *deathBeforeBlock) AwaitQuiet(context.Context, time.Duration) error {
	e.die()
	return errDead
}

// A worker dies with its fence prepared, and another tenant takes the place
// behind it. Nothing of the preparation is forgotten: the old version makes
// months again, whatever the operator wants next.
func TestDeathWhileTheFenceIsPrepared(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.catalogue = b.catalogue.Restrict("rule", "session")
	b.service = upgrader.NewService(b.store, b.engine, b.catalogue, nil)
	tenant, other := b.tenant("0.8.1", 1), b.tenant("0.8.1", 1)
	templates := func() []upgrader.Template {
		all, err := b.engine.Templates(t.Context(), "template.08x."+tenant.Name()+".*")
		require.NoError(t, err)
		require.NotEmpty(t, all)
		for i := range all {
			all[i].Raw = nil // its members come in any order
		}
		return all
	}
	before := templates()
	r := b.start("0.8.2", upgrader.Options{}, tenant)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	limits := upgrader.Limits{LeaseTTL: 400 * time.Millisecond}
	mortal := upgrader.NewRunner(b.store, &deathBeforeBlock{b.engine, cancel}, b.catalogue, "mortal", limits, b.log)
	for ctx.Err() == nil {
		b.due(ctx, r.ID, tenant.Name())
		_ = mortal.Work(ctx, r.ID, tenant.Name())
	}
	state := func() upgrader.RolloutTenant {
		got, err := b.service.Get(t.Context(), r.ID)
		require.NoError(t, err)
		return got.Tenants[0]
	}
	require.Equal(t, upgrader.TenantFenced, state().State, state().Reason)
	require.False(t, reflect.DeepEqual(before, templates()), "the old version is frozen")
	month := "08x." + tenant.Name() + ".tracardi-session-2031-1"
	require.Equal(t, 403, b.write(month, "1"))

	second := b.start("0.8.2", upgrader.Options{}, other)
	_, err := b.pool.Exec(t.Context(), `update rollout_tenants set state = 'fenced', lease_until = now() + interval '1 hour' where rollout_id = $1`, second.ID)
	require.NoError(t, err)
	runner := upgrader.NewRunner(b.store, b.engine, b.catalogue, "worker", limits, b.log)
	b.due(t.Context(), r.ID, tenant.Name())
	turn := make(chan error, 1)
	go func() { turn <- runner.Work(t.Context(), r.ID, tenant.Name()) }()
	b.until(r.ID, func(r *upgrader.Rollout) bool { // it waits for the place, and holds nobody back
		x := r.Tenants[0]
		return !x.State.Fenced() && x.Record.FencedAt.IsZero() && x.Record.QuietAt.IsZero()
	})
	_, err = b.service.Cancel(t.Context(), upgrader.Command{RolloutID: r.ID})
	require.NoError(t, err)
	require.NoError(t, <-turn)
	r = b.work(runner, r.ID, tenant.Name())
	require.Equal(t, upgrader.TenantCancelled, r.Tenants[0].State, describe(r))
	require.True(t, reflect.DeepEqual(before, templates()), "the old version is as before")
	require.Nil(t, b.one(month), "made by a refused write")
	b.bulk(upgrader.BulkOp{Index: month, ID: "1", Source: json.RawMessage(`{"id":"1"}`)})
	b.born(month, tenant.Name()+".tracardi-session")
}
