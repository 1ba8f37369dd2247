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
	"github.com/tracardi/tms/upgrader/naming"
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

// of a tenant's targets.
func (e *countingEngine) of(tenant string) (names []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, name := range e.created {
		if n, _ := naming.Parse(name); n.Tenant == tenant {
			names = append(names, name)
		}
	}
	return names
}

// oddSeeder gives answers that no engine gives on demand.
type oddSeeder struct {
	upgrader.Seeder
	plant  func(context.Context, upgrader.Planting) error
	growth func(names []string) (failed []string)
	take   func() error
	look   func() // before moulds are listed
}

func (s *oddSeeder) Moulds(ctx context.Context, repository, prefix string) ([]upgrader.Mould, error) {
	if s.look != nil {
		s.look()
	}
	return s.Seeder.Moulds(ctx, repository, prefix)
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
		failed = append(failed, s.growth(names)...)
	}
	return waiting, failed, err
}

func (s *oddSeeder) TakeMould(ctx context.Context, repository, snapshot string, indices []string) error {
	if s.take != nil {
		if err := s.take(); err != nil {
			return err
		}
	}
	return s.Seeder.TakeMould(ctx, repository, snapshot, indices)
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

// seeded is a worker with seeds.
func (b *bundle) seeded(e upgrader.Engine, s upgrader.Seeder, repository string) *upgrader.Runner {
	limits := upgrader.Limits{LeaseTTL: time.Second}
	return upgrader.NewRunner(b.store, &seeding{e, s}, b.catalogue, "gardener", limits, b.log).WithSeeds(repository)
}

// mould upgrades a tenant whose empty targets are kept.
func (b *bundle) mould(repository string) {
	b.t.Helper()
	tenant := b.tenant("0.8.1", 1)
	r := b.start("0.8.2", upgrader.Options{Verify: upgrader.VerifyCount}, tenant)
	r = b.work(b.seeded(b.engine, b.engine.(*elastic.Client), repository), r.ID, tenant.Name())
	require.Equal(b.t, upgrader.RolloutComplete, r.State, describe(r))
}

// The targets of one tenant are created; those of all others come out of a
// snapshot of them, in one change of the cluster's state, and are as good.
func TestTargetsComeFromSeeds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	repository := b.repository()
	client := b.engine.(*elastic.Client)
	e := &countingEngine{Engine: b.engine}
	runner := b.seeded(e, client, repository)
	var fleetOf []*fleet.Tenant
	for range 3 {
		tenant := b.tenant("0.8.1", 3)
		require.NoError(t, tenant.Fill(t.Context(), 3000))
		fleetOf = append(fleetOf, tenant)
	}
	writer := fleetOf[1].StartWriter(t.Context(), fleet.WriterConfig{Rate: 50, Bulk: 5})
	r := b.start("0.8.2", upgrader.Options{}, fleetOf...)
	var g sync.WaitGroup
	for _, tenant := range fleetOf {
		g.Go(func() { b.work(runner, r.ID, tenant.Name()) })
	}
	g.Wait()
	require.NoError(t, writer.Stop())
	r = b.ended(r.ID)
	require.Equal(t, upgrader.RolloutComplete, r.State, describe(r))
	created := 0
	for _, tenant := range fleetOf {
		b.judge(tenant, r, "0.8.2")
		if len(e.of(tenant.Name())) > 0 {
			created++
		}
	}
	require.Equal(t, 1, created, "tenants whose targets were created one by one: %v", e.created)
	found, err := client.ListSnapshots(t.Context(), repository)
	require.NoError(t, err)
	require.Len(t, found, 1)
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
		{"snapshot refused", func(_ *bundle, s *oddSeeder, _ *string) { s.take = func() error { return errors.New("no") } }},
		{"restore refused", func(b *bundle, s *oddSeeder, repository *string) {
			b.mould(*repository)
			s.plant = func(context.Context, upgrader.Planting) error { return errors.New("no") }
		}},
		{"snapshot deleted meanwhile", func(b *bundle, s *oddSeeder, repository *string) {
			b.mould(*repository)
			s.plant = func(ctx context.Context, p upgrader.Planting) error {
				if err := s.DropMould(ctx, p.Repository, p.Snapshot); err != nil {
					return err
				}
				err := s.Seeder.Plant(ctx, p)
				require.ErrorIs(b.t, err, upgrader.ErrNotFound)
				return err
			}
		}},
		{"shards given up", func(b *bundle, s *oddSeeder, repository *string) {
			b.mould(*repository)
			s.growth = func(names []string) []string {
				return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.Contains(n, "profile") })
			}
		}},
		{"an answer that is lost", func(b *bundle, s *oddSeeder, repository *string) {
			b.mould(*repository)
			s.plant = func(ctx context.Context, p upgrader.Planting) error {
				return errors.Join(s.Seeder.Plant(ctx, p), errors.New("no answer"))
			}
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			repository := b.repository()
			s := &oddSeeder{Seeder: b.engine.(*elastic.Client)}
			x.odd(b, s, &repository)
			tenant := b.tenant("0.8.1", 1)
			require.NoError(t, tenant.Fill(t.Context(), 200))
			r := b.start("0.8.2", upgrader.Options{}, tenant)
			r = b.work(b.seeded(b.engine, s, repository), r.ID, tenant.Name())
			require.Equal(t, upgrader.RolloutComplete, r.State, describe(r))
			b.judge(tenant, r, "0.8.2")
		})
	}
}

// A worker dies between its restore and its record of it, or between a
// snapshot and that; another one goes on.
func TestWorkerDiesPlanting(t *testing.T) {
	long(t)
	t.Parallel()
	b := setup(t)
	repository := b.repository()
	client := b.engine.(*elastic.Client)
	heir := b.seeded(b.engine, client, repository)
	for _, moment := range []string{"snapshot", "restore"} {
		ctx, die := context.WithCancel(t.Context())
		died := false
		mortal := &oddSeeder{Seeder: client}
		if moment == "snapshot" {
			mortal.take = func() error { died = true; die(); return nil }
		} else {
			mortal.plant = func(ctx context.Context, p upgrader.Planting) error {
				err := client.Plant(ctx, p)
				died = true
				die()
				return errors.Join(err, ctx.Err())
			}
		}
		tenant := b.tenant("0.8.1", 1)
		require.NoError(t, tenant.Fill(t.Context(), 200))
		r := b.start("0.8.2", upgrader.Options{}, tenant)
		_ = b.seeded(b.engine, mortal, repository).Work(ctx, r.ID, tenant.Name())
		die()
		require.True(t, died, moment)
		r = b.work(heir, r.ID, tenant.Name())
		require.Equal(t, upgrader.RolloutComplete, r.State, "%s: %s", moment, describe(r))
		b.judge(tenant, r, "0.8.2")
	}
}
