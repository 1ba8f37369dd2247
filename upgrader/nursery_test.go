package upgrader_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/backups"
	"github.com/tracardi/tms/elastic"
	"github.com/tracardi/tms/internal/devstack/devtest"
	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/upgrader"
)

// countingEngine notes the names of indices that are created one by one.
type countingEngine struct {
	upgrader.Engine
	mu      sync.Mutex
	created []string
}

func (e *countingEngine) CreateIndex(ctx context.Context, name string, body upgrader.IndexBody) error {
	e.mu.Lock()
	e.created = append(e.created, name)
	e.mu.Unlock()
	return e.Engine.CreateIndex(ctx, name, body)
}

// of a tenant's targets those that are in no partition: of the others few
// share theirs.
func (e *countingEngine) of(tenant string) (names []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, name := range e.created {
		n, _ := upgrader.ParseIndexName(name)
		if n.Tenant == tenant && n.Partition == "" && n.Mode != upgrader.Static {
			names = append(names, name)
		}
	}
	return names
}

// oddSeeder gives answers that no engine gives on demand.
type oddSeeder struct {
	upgrader.Seeder
	plant  func(context.Context, upgrader.Planting) error
	growth func(names []string) (waiting, failed []string)
	taken  func() // a snapshot is about to be taken
}

func (s *oddSeeder) Plant(ctx context.Context, p upgrader.Planting) error {
	if s.plant != nil {
		return s.plant(ctx, p)
	}
	return s.Seeder.Plant(ctx, p)
}

func (s *oddSeeder) Growth(ctx context.Context, names ...string) (waiting, failed []string, err error) {
	waiting, failed, err = s.Seeder.Growth(ctx, names...)
	if s.growth != nil && err == nil {
		w, f := s.growth(names)
		waiting, failed = append(waiting, w...), append(failed, f...)
	}
	return waiting, failed, err
}

func (s *oddSeeder) TakeSeeds(ctx context.Context, repository, snapshot string, indices []string) error {
	if s.taken != nil {
		s.taken()
	}
	return s.Seeder.TakeSeeds(ctx, repository, snapshot, indices)
}

// repository registers one for the test.
func (b *bundle) repository() string {
	b.t.Helper()
	client := b.engine.(*elastic.Client)
	nodes, err := client.Nodes(b.t.Context())
	require.NoError(b.t, err)
	name := devtest.Prefix(b.t)
	require.NoError(b.t, client.PutRepository(b.t.Context(), backups.Repository{Name: name, Kind: backups.KindFS, Settings: map[string]string{"location": nodes[0].PathRepo[0] + "/" + name}}))
	b.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		found, err := client.ListSnapshots(ctx, name)
		require.NoError(b.t, err)
		for _, s := range found {
			require.NoError(b.t, client.DeleteSnapshot(ctx, name, s.Name))
		}
		require.NoError(b.t, client.DeleteRepository(ctx, name))
	})
	return name
}

// seeding is an engine that keeps seeds.
type seeding struct {
	upgrader.Engine
	upgrader.Seeder
}

// planted works on a rollout with seeds until it ends.
func (b *bundle) planted(e upgrader.Engine, s upgrader.Seeder, repository string, r *upgrader.Rollout) {
	b.t.Helper()
	runner := upgrader.NewRunner(b.store, &seeding{e, s}, b.catalogue, "gardener", upgrader.Limits{}, b.log).WithSeeds(repository)
	for _, x := range r.Tenants {
		r = b.work(runner, r.ID, x.TenantID)
	}
	require.Equal(b.t, upgrader.RolloutComplete, r.State, describe(r))
}

// Targets come out of a snapshot, in one change of the cluster's state for all
// that share mode and partition, and are as good as created ones.
func TestTargetsComeFromSeeds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	repository := b.repository()
	client := b.engine.(*elastic.Client)
	e := &countingEngine{Engine: b.engine}
	for range 2 { // the second tenant finds the seeds
		tenant := b.tenant("0.8.1", 3)
		require.NoError(t, tenant.Fill(t.Context(), 3000))
		writer := tenant.StartWriter(t.Context(), fleet.WriterConfig{Rate: 50, Bulk: 5})
		r := b.start("0.8.2", upgrader.Options{}, tenant)
		b.planted(e, client, repository, r)
		require.NoError(t, writer.Stop())
		b.judge(tenant, r, "0.8.2")
		require.Empty(t, e.of(tenant.Name()), "created one by one")
	}
	found, err := client.ListSnapshots(t.Context(), repository)
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.Equal(t, backups.EngineSuccess, found[0].State)
	left, err := b.engine.Indices(t.Context(), found[0].Indices...)
	require.NoError(t, err)
	require.Empty(t, left, "indices that the snapshot was taken of")
}

// Whatever goes wrong with seeds, the tenant is upgraded.
func TestSeedsThatFail(t *testing.T) {
	long(t)
	t.Parallel()
	for _, x := range []struct {
		name string
		odd  func(b *bundle, s *oddSeeder, repository *string)
	}{
		{"no such repository", func(_ *bundle, _ *oddSeeder, repository *string) { *repository = "missing-" + *repository }},
		{"restore refused", func(_ *bundle, s *oddSeeder, _ *string) {
			s.plant = func(context.Context, upgrader.Planting) error { return errors.New("no") }
		}},
		{"snapshot deleted meanwhile", func(b *bundle, s *oddSeeder, repository *string) {
			s.plant = func(ctx context.Context, p upgrader.Planting) error {
				return errors.Join(s.DropSeeds(ctx, *repository, p.Snapshot), s.Seeder.Plant(ctx, p))
			}
		}},
		{"shards given up", func(_ *bundle, s *oddSeeder, _ *string) {
			s.growth = func(names []string) (waiting, failed []string) {
				return nil, slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.Contains(n, "profile") || strings.HasPrefix(n, "tms-seed") })
			}
		}},
		{"an answer that is lost", func(_ *bundle, s *oddSeeder, _ *string) {
			s.plant = func(ctx context.Context, p upgrader.Planting) error {
				return errors.Join(s.Seeder.Plant(ctx, p), errors.New("no answer"))
			}
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			repository := b.repository()
			tenant := b.tenant("0.8.1", 1)
			require.NoError(t, tenant.Fill(t.Context(), 200))
			r := b.start("0.8.2", upgrader.Options{}, tenant)
			s := &oddSeeder{Seeder: b.engine.(*elastic.Client)}
			x.odd(b, s, &repository)
			b.planted(b.engine, s, repository, r)
			b.judge(tenant, r, "0.8.2")
		})
	}
}

// A worker dies after its restore, before it has noted that; another one, with
// another nursery that makes the same snapshot at the same time, goes on.
func TestWorkerDiesAfterPlanting(t *testing.T) {
	long(t)
	t.Parallel()
	b := setup(t)
	repository := b.repository()
	client := b.engine.(*elastic.Client)
	tenant, other := b.tenant("0.8.1", 1), b.tenant("0.8.1", 1)
	require.NoError(t, tenant.Fill(t.Context(), 200))
	r := b.start("0.8.2", upgrader.Options{}, tenant, other)

	limits := upgrader.Limits{LeaseTTL: 500 * time.Millisecond}
	ctx, die := context.WithCancel(t.Context())
	defer die()
	taken := make(chan struct{})
	mortal := &oddSeeder{Seeder: client, taken: sync.OnceFunc(func() { close(taken) })}
	mortal.plant = func(ctx context.Context, p upgrader.Planting) error {
		err := client.Plant(ctx, p)
		die()
		return errors.Join(err, ctx.Err())
	}
	var g sync.WaitGroup
	g.Go(func() {
		_ = upgrader.NewRunner(b.store, &seeding{b.engine, mortal}, b.catalogue, "mortal", limits, b.log).WithSeeds(repository).Work(ctx, r.ID, tenant.Name())
	})
	heir := upgrader.NewRunner(b.store, b.engine, b.catalogue, "heir", limits, b.log).WithSeeds(repository)
	<-taken
	require.NoError(t, heir.Work(t.Context(), r.ID, other.Name()))
	g.Wait()
	b.due(t.Context(), r.ID, tenant.Name())
	r = b.work(heir, r.ID, tenant.Name())
	require.Equal(t, upgrader.RolloutComplete, r.State, describe(r))
	b.judge(tenant, r, "0.8.2")
}
