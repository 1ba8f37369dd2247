// Package service puts the parts together: it is `tms serve` without the
// command line.
package service

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/tracardi/tms/clusters"
	"github.com/tracardi/tms/cmd/tms/internal/config"
	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/elastic"
	"github.com/tracardi/tms/events"
	"github.com/tracardi/tms/hooks"
	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/server"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/budget"
	"github.com/tracardi/tms/upgrader/report"
)

// opaqueID names TMS in the engine's task list and slow log.
const opaqueID = "tms"

// mirrorWait bounds the wait for the first load of the registry: a process
// that has it answers its first checks from memory.
const mirrorWait = 10 * time.Second

// minClose is what remains for workers and connections in any case: leases
// are given back in one statement each.
const minClose = 3 * time.Second

// Run serves until ctx ends, then closes down in reverse order within the
// shutdown time-out. announce is called once, when both listeners are open.
// A search engine that does not answer keeps the process from being ready,
// not from starting: registry and keys work without it.
func Run(ctx context.Context, s config.Serve, log *slog.Logger, announce func(Addresses) error) (err error) {
	var done closers
	// The transport has taken its share of the time before the rest is closed.
	rest := max(s.ShutdownTimeout-server.ShutdownTimeout, minClose)
	defer func() { err = errors.Join(err, done.close(rest)) }()
	where := Addresses{}
	if s.DevMode {
		if where, err = startDev(ctx, &s, log, &done); err != nil {
			return err
		}
	}
	if err := s.Check(); err != nil {
		return err
	}
	database, err := openDatabase(ctx, s, log)
	if err != nil {
		return err
	}
	done.add("database", func(context.Context) error { database.Close(); return nil })
	parts, err := assemble(ctx, s, database, log, &done)
	if err != nil {
		return err
	}
	if err := secure(&parts, s.TLS, log); err != nil {
		return err
	}
	web, err := server.New(parts)
	if err != nil {
		return err
	}
	grpcListener, httpListener, err := listen(ctx, s)
	if err != nil {
		return err
	}
	where.GRPC, where.HTTP, where.TLS = dialable(grpcListener), dialable(httpListener), s.TLS.Cert != ""
	if !where.TLS && !s.DevMode && (beyond(grpcListener) || beyond(httpListener)) {
		log.Warn("API keys travel in plain text: set --tls-cert and --tls-key, or let a proxy encrypt what leaves the machine")
	}
	if err := announce(where); err != nil {
		return errors.Join(err, grpcListener.Close(), httpListener.Close())
	}
	log.Info("serving", "grpc", where.GRPC, "http", where.HTTP)
	defer log.Info("closing down")
	return web.Run(ctx, grpcListener, httpListener)
}

// openDatabase waits for Postgres, brings the schema up to date where that is
// asked for, and refuses to serve one that does not fit this binary.
func openDatabase(ctx context.Context, s config.Serve, log *slog.Logger) (*db.DB, error) {
	database, err := waitForDatabase(ctx, s.Database, log)
	if err != nil {
		return nil, err
	}
	if s.Migrate || s.DevMode {
		if err := db.Migrate(ctx, s.DatabaseURL); err != nil {
			database.Close()
			return nil, err
		}
	}
	if err := database.CheckVersion(ctx); err != nil {
		database.Close()
		return nil, fmt.Errorf("database: %w", err)
	}
	return database, nil
}

// waitForDatabase opens the database, patiently when it does not answer:
// Postgres often starts at the same time as we do.
func waitForDatabase(ctx context.Context, s config.Database, log *slog.Logger) (*db.DB, error) {
	const pause = 500 * time.Millisecond
	deadline := time.Now().Add(s.DatabaseWait)
	for first := true; ; first = false {
		database, err := db.Open(ctx, s.DatabaseURL)
		if err == nil || !tenants.HasReason(err, tenants.ReasonStoreUnavailable) || ctx.Err() != nil {
			return database, err
		}
		if time.Now().Add(pause).After(deadline) {
			return nil, fmt.Errorf("waited %s: %w", s.DatabaseWait, err)
		}
		if first {
			log.Warn("waiting for the database", "limit", s.DatabaseWait)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// assemble builds everything between the database and the transport, and
// starts what runs in the background.
func assemble(ctx context.Context, s config.Serve, database *db.DB, log *slog.Logger, done *closers) (server.Config, error) {
	library, err := releases.OpenLibrary(ctx, db.NewReleases(database), log)
	if err != nil {
		return server.Config{}, err
	}
	catalogue := library.Catalogue()
	background(ctx, done, "releases", library.Run)
	if s.DefaultRelease != "" {
		if _, err := catalogue.Get(s.DefaultRelease); err != nil {
			return server.Config{}, fmt.Errorf("--default-release (TMS_DEFAULT_RELEASE): %w", err)
		}
	}
	engine, err := elastic.New(ctx, elastic.Config{
		URLs: s.ElasticURLs, APIKey: s.ElasticAPIKey, CACert: s.ElasticCACert, OpaqueID: opaqueID, Logger: log,
	})
	if err != nil {
		return server.Config{}, fmt.Errorf("TMS_ELASTIC_URLS: %w", err)
	}
	done.add("search engine client", func(context.Context) error { engine.Close(); return nil })
	sealer, err := tenants.NewSealer(s.Secret, s.OldSecret)
	if err != nil {
		return server.Config{}, err
	}
	pages, err := tenants.NewPages(s.Secret, s.OldSecret)
	if err != nil {
		return server.Config{}, err
	}
	registry := db.NewRegistry(database, sealer)
	mirror := tenants.NewMirror(registry, log)
	keyring := tenants.NewKeyring(tenants.KeyringConfig{
		Store: registry, Mirror: mirror, Secret: s.Secret, OldSecrets: []string{s.OldSecret}, InstanceKey: s.InstanceKey, AdminKey: s.AdminKey, Logger: log,
	})
	background(ctx, done, "registry mirror", mirror.Run)
	background(ctx, done, "keyring", keyring.Run)
	if err := awaitMirror(ctx, mirror, log); err != nil {
		return server.Config{}, err
	}
	if s.OldSecret != "" {
		background(ctx, done, "resealing", reseal(database, sealer, log))
	}
	rollouts := db.NewRollouts(database)
	clusterStore := db.NewClusters(database, sealer)
	pool := openEngines(engine, clusterStore, log)
	done.add("clients of search clusters", func(context.Context) error { pool.Close(); return nil })
	named := clusters.NewService(clusters.Config{Store: clusterStore, Engines: pool, Catalogue: catalogue, Home: homeOf(s)})
	self := owner()
	kept := keepBackups(database, engine, looked{pool, named}, catalogue, self, log)
	steward, err := keepBudgets(ctx, s.Budget, rollouts, pool, self, log, done)
	if err != nil {
		return server.Config{}, err
	}
	networks, err := hooks.ParseNetworks(s.WebhookNetworks)
	if err != nil {
		return server.Config{}, fmt.Errorf("--webhook-allow-networks (TMS_WEBHOOK_ALLOW_NETWORKS): %w", err)
	}
	sender := hooks.NewSender(networks)
	done.add("webhook connections", func(context.Context) error { sender.Close(); return nil })
	gates := upgrader.GateSources{Probes: probes{sender}, Extend: upgrader.RehearsalFacts(db.NewRehearsals(database), catalogue)}
	runner := upgrader.NewRunner(rollouts, engine, catalogue, self, upgrader.Limits{Tenants: s.Workers, QuarantineDocs: s.QuarantineDocs, QuarantineBytes: s.QuarantineBytes, Stall: s.StallAfter}, log).WithSnapshots(kept.service).WithEngines(pool).WithSteward(steward).WithSeeds(s.SeedRepository).WithGates(gates)
	rehearsed := rehearse(database, runner)
	purgeStore := db.NewPurges(registry)
	purges := tenants.NewPurges(tenants.PurgesConfig{
		Store: purgeStore, Mirror: mirror, Clusters: pool, Prefixes: known{catalogue}.prefixes, Snapshots: kept.service, Pages: pages, Owner: self, Logger: log,
		Automatic: s.AutoPurge,
	})
	eventLog, webhookStore := db.NewEvents(database), db.NewWebhooks(database, sealer)
	webhooks := events.NewWebhooks(events.WebhooksConfig{Store: webhookStore, Log: eventLog, Sender: sender, Pages: pages, Owner: self, Logger: log})
	cleaned := cleanVersions(database, registry, looked{pool, named}, catalogue, kept.service, self, log)
	upgrades := upgrader.NewService(rollouts, engine, catalogue, nil).WithSnapshots(kept.service).WithSimulation(rollouts).WithBudgets(rollouts).WithGates(gates).WithEngines(pool).WithClusterNames(named).WithSeeds(s.SeedRepository).
		WithRehearsals(rehearsed.store).WithProgress(rollouts, s.StallAfter)
	queue, err := db.NewQueue(database, rollouts, runner, log, db.PurgeWork(purgeStore, purges), kept.work, kept.policies, db.WebhookWork(webhookStore, webhooks), cleaned.work,
		db.LimitWork(rollouts, upgrades.ShardKeeper(rollouts, log)), db.RetentionWork(rollouts, upgrades), rehearsed.work)
	if err != nil {
		return server.Config{}, err
	}
	if err := queue.Start(ctx); err != nil {
		return server.Config{}, err
	}
	done.add("queue", queue.Stop)
	registered := tenants.NewService(registry, mirror, known{catalogue}, pages, nil).WithPlaces(places{pool, named, s.Placement}, known{catalogue}.prefixes)
	feed := events.NewFeed(eventLog, log)
	background(ctx, done, "event feed", feed.Run)
	return server.Config{
		Tenants: registered, Purges: purges, Trail: tenants.NewTrail(registry, pages),
		Keys: tenants.NewKeys(registry, mirror, pages, nil), Auth: keyring, Pages: pages, RateLimit: s.RateLimit, StrangerLimit: s.StrangerLimit,
		Catalogue: catalogue, Library: library, Upgrades: upgrades, Verification: upgrades, Progress: upgrades, Reports: report.NewReporter(upgrades, rollouts), Rehearsals: upgrades,
		Fleet:    fleetOf(pool, named, registered, registry, rollouts, catalogue),
		Webhooks: webhooks,
		Watches:  events.NewWatches(events.WatchesConfig{Feed: feed, Registry: registered, Pages: pages}),
		Ready:    (&readiness{database: database, clusters: looked{pool, named}, log: log}).ready, DefaultRelease: s.DefaultRelease, Logger: log,
		Backups: kept.service, Cleanups: cleaned.service, Budgets: budget.NewService(rollouts),
		Clusters: named,
	}, nil
}

// awaitMirror waits for the first load. Without it the process serves too,
// only more slowly.
func awaitMirror(ctx context.Context, m *tenants.Mirror, log *slog.Logger) error {
	timer := time.NewTimer(mirrorWait)
	defer timer.Stop()
	select {
	case <-m.Loaded():
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		log.Warn("registry not loaded yet; asking the database for every check", "waited", mirrorWait)
	}
	return nil
}

// owner names this process in leases: machine and process for people, and
// something random because both come back after a restart of a container.
func owner() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), rand.Text()[:6])
}

func listen(ctx context.Context, s config.Serve) (grpcListener, httpListener net.Listener, err error) {
	var cfg net.ListenConfig
	if grpcListener, err = cfg.Listen(ctx, "tcp", s.GRPCAddr); err != nil {
		return nil, nil, fmt.Errorf("--grpc-addr (TMS_GRPC_ADDR): %w", err)
	}
	if httpListener, err = cfg.Listen(ctx, "tcp", s.HTTPAddr); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("--http-addr (TMS_HTTP_ADDR): %w", err), grpcListener.Close())
	}
	return grpcListener, httpListener, nil
}

// closers end what was begun, in reverse, under one deadline.
type closers struct {
	all []closer
}

type closer struct {
	name string
	end  func(context.Context) error
}

func (c *closers) add(name string, end func(context.Context) error) {
	c.all = append(c.all, closer{name, end})
}

// background runs f until close-down.
func background(ctx context.Context, done *closers, name string, f func(context.Context)) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { f(ctx) })
	done.add(name, func(context.Context) error { cancel(); running.Wait(); return nil })
}

// close ends all. One that does not end in time is named and left behind: the
// process is about to end anyway, and everything survives that.
func (c *closers) close(limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var failures []error
	for i := len(c.all) - 1; i >= 0; i-- {
		one := c.all[i]
		ended := make(chan error, 1)
		go func() { ended <- one.end(ctx) }()
		select {
		case err := <-ended:
			if err != nil {
				failures = append(failures, fmt.Errorf("close %s: %w", one.name, err))
			}
		case <-ctx.Done():
			failures = append(failures, fmt.Errorf("close %s: not done within %s", one.name, limit))
		}
	}
	return errors.Join(failures...)
}
