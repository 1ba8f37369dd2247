package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/tracardi/tms/backups"
	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/elastic"
	"github.com/tracardi/tms/internal/devstack"
	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
)

const (
	repository = "bench"
	tenant     = "tenant000" // that is restored
	prefix     = "look"
	poll       = 10 * time.Millisecond
)

// fleet is a cluster with tenants, a snapshot of few and one of all of them.
type fleet struct {
	cfg          config
	engine       *elastic.Client
	db           *db.DB
	queue        *db.Queue
	service      *backups.Service
	small, large string // snapshots
}

func build(ctx context.Context, c config, stack *devstack.Stack) (*fleet, error) {
	catalogue, err := releases.Builtin()
	if err != nil {
		return nil, err
	}
	f := &fleet{cfg: c}
	if f.engine, err = elastic.New(ctx, elastic.Config{URLs: stack.Engine.URLs()}); err != nil {
		return nil, err
	}
	if err := db.Migrate(ctx, stack.Postgres.DSN()); err != nil {
		return nil, err
	}
	if f.db, err = db.Open(ctx, stack.Postgres.DSN()); err != nil {
		return nil, err
	}
	store, rollouts := db.NewBackups(f.db), db.NewRollouts(f.db)
	f.service = backups.NewService(store, f.engine, catalogue, nil)
	work := db.BackupWork(store, backups.NewRunner(store, f.engine, catalogue, "bench", nil))
	log := slog.New(slog.DiscardHandler)
	if f.queue, err = db.NewQueue(f.db, rollouts, upgrader.NewRunner(rollouts, f.engine, catalogue, "bench", upgrader.Limits{}, log), log, work); err != nil {
		return nil, err
	}
	if err := f.queue.Start(ctx); err != nil {
		return nil, err
	}
	var ids []string
	for i := range c.many {
		id := fmt.Sprintf("tenant%03d", i)
		if err := f.install(ctx, id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	_, err = f.service.PutRepository(ctx, tenants.Caller{}, backups.Repository{Name: repository, Kind: backups.KindFS, Settings: map[string]string{"location": stack.Engine.SnapshotDir() + "/bench"}})
	if err != nil {
		return nil, err
	}
	if f.small, err = f.snapshot(ctx, ids[:c.few]); err != nil {
		return nil, err
	}
	f.large, err = f.snapshot(ctx, ids)
	return f, err
}

func (f *fleet) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = f.queue.Stop(ctx)
	f.db.Close()
	f.engine.Close()
}

func (f *fleet) install(ctx context.Context, id string) error {
	if _, err := f.db.Pool().Exec(ctx, `insert into tenants (id, install_token, release, cluster) values ($1, '', '0.8.1', 'default')`, id); err != nil {
		return err
	}
	for i := range f.cfg.indices {
		name := fmt.Sprintf("08x.%s.tracardi-event-2026-%d", id, i+1)
		if err := f.engine.CreateIndex(ctx, name, upgrader.IndexBody{Settings: map[string]any{"number_of_shards": "1", "number_of_replicas": "0"}}); err != nil {
			return err
		}
		var ops []upgrader.BulkOp
		for n := range f.cfg.docs {
			ops = append(ops, upgrader.BulkOp{Index: name, ID: fmt.Sprint(n), Source: []byte(`{"text":"` + strings.Repeat("x", 200) + `"}`)})
		}
		if _, err := f.engine.Bulk(ctx, ops); err != nil {
			return err
		}
	}
	return nil
}

func (f *fleet) snapshot(ctx context.Context, ids []string) (string, error) {
	r, err := f.service.Create(ctx, tenants.Caller{}, backups.SnapshotOrder{Selection: backups.Selection{Tenants: ids}})
	if err != nil {
		return "", err
	}
	return r.ID, f.await(ctx, backups.RunSnapshot, r.ID)
}

func (f *fleet) await(ctx context.Context, kind backups.RunKind, id string) error {
	for {
		r, err := f.service.Run(ctx, kind, id)
		switch {
		case err != nil:
			return err
		case r.State == backups.StateSuccess || r.State == backups.StateDeleted:
			return nil
		case r.State.Ended():
			return fmt.Errorf("%s is %s: %s", id, r.State, r.Reason)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(poll):
		}
	}
}

// restore is the time from the command to the proof.
func (f *fleet) restore(ctx context.Context, snapshot string) (time.Duration, error) {
	began := time.Now()
	r, err := f.service.Restore(ctx, tenants.Caller{}, backups.RestoreOrder{Snapshot: snapshot, Tenant: tenant, Beside: prefix})
	if err != nil {
		return 0, err
	}
	if err := f.await(ctx, backups.RunRestore, r.ID); err != nil {
		return 0, err
	}
	took := time.Since(began)
	if _, err := f.service.RemoveRestore(ctx, tenants.Caller{}, r.ID); err != nil {
		return 0, err
	}
	return took, f.await(ctx, backups.RunRestore, r.ID)
}

// bare is the engine's own call, until every primary is active.
func (f *fleet) bare(ctx context.Context) (time.Duration, error) {
	var names, as []string
	for i := range f.cfg.indices {
		name := fmt.Sprintf("08x.%s.tracardi-event-2026-%d", tenant, i+1)
		names, as = append(names, name), append(as, prefix+"."+name)
	}
	began := time.Now()
	if err := f.engine.StartRestore(ctx, backups.RestoreRequest{Repository: repository, Snapshot: f.large, Indices: names, Prefix: prefix, Replicas: new(int)}); err != nil {
		return 0, err
	}
	for {
		states, err := f.engine.IndexStates(ctx, as...)
		if err != nil {
			return 0, err
		}
		started := 0
		for _, s := range states {
			for _, shard := range s.Shards {
				if shard.Started {
					started++
				}
			}
		}
		if started == len(as) {
			break
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(poll):
		}
	}
	took := time.Since(began)
	return took, f.engine.DeleteIndices(ctx, as...)
}
