package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/elastic"
	"github.com/tracardi/tms/internal/devstack"
	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/naming"
)

// The upgrade that is measured.
const (
	fromRelease = "0.8.1"
	toRelease   = "0.8.2"
)

// cluster is a private engine and a private Postgres with a filled fleet.
// Every run works on the same tenants: reset takes them back to the state in
// which they were filled, so that all runs copy the same segments.
type cluster struct {
	cfg       config
	stack     *devstack.Stack
	release   func()
	db        *db.DB
	engine    *elastic.Client
	catalogue *releases.Catalogue
	log       *slog.Logger
	tenants   []*tenant
	http      *http.Client
}

// tenant is one tenant and what it looked like before the first run.
type tenant struct {
	id  string
	old []upgrader.Index
}

// up starts the servers and fills the fleet.
func up(ctx context.Context, cfg config, log *slog.Logger) (c *cluster, err error) {
	c = &cluster{cfg: cfg, log: log, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.down())
		}
	}()
	if c.catalogue, err = releases.Builtin(); err != nil {
		return c, err
	}
	if len(cfg.only) > 0 {
		c.catalogue = c.catalogue.Restrict(cfg.only...)
	}
	dir, release, err := devstack.TemporaryDir("bench")
	if err != nil {
		return c, err
	}
	c.release = release
	c.stack, err = devstack.Up(ctx, devstack.Options{Dir: dir, Engine: devstack.EngineOptions{
		Heap: cfg.heap, Nodes: cfg.nodes, Settings: cfg.settings,
	}, Postgres: devstack.PostgresOptions{Settings: map[string]string{"shared_preload_libraries": "pg_stat_statements"}}})
	if err != nil {
		return c, err
	}
	dsn := c.stack.Postgres.DSN()
	if err := db.Migrate(ctx, dsn); err != nil {
		return c, err
	}
	if c.db, err = db.Open(ctx, dsn); err != nil {
		return c, err
	}
	if _, err = c.db.Pool().Exec(ctx, `create extension pg_stat_statements`); err != nil {
		return c, err
	}
	c.engine, err = elastic.New(ctx, elastic.Config{URLs: []string{c.stack.Engine.URL()}, Timeout: 2 * time.Minute})
	if err != nil {
		return c, err
	}
	return c, c.fill(ctx)
}

func (c *cluster) down() error {
	if c.db != nil {
		c.db.Close()
	}
	c.http.CloseIdleConnections()
	var err error
	if c.stack != nil {
		for _, n := range c.stack.Engine.Nodes() {
			n.Kill() // nobody needs the data
		}
		err = c.stack.Stop()
	}
	if c.release != nil {
		c.release()
	}
	return err
}

// fill installs and fills the tenants, and waits until the engine has nothing
// left to do for them.
func (c *cluster) fill(ctx context.Context) error {
	for i := range c.cfg.tenants {
		id := fmt.Sprintf("bench%02d", i)
		t, err := fleet.New(fleet.Config{
			URL: c.stack.Engine.URL(), Catalogue: c.catalogue, Release: fromRelease, Tenant: id,
			Seed: uint64(i), Months: c.cfg.months, Parallel: upgradeCreates,
		})
		if err != nil {
			return err
		}
		if err := t.Install(ctx); err != nil {
			return err
		}
		if err := t.Fill(ctx, c.cfg.docs); err != nil {
			return err
		}
		if _, err := c.db.Pool().Exec(ctx, `insert into tenants (id, install_token, release, cluster) values ($1, '', $2, 'default')`, id, fromRelease); err != nil {
			return fmt.Errorf("register tenant %s: %w", id, err)
		}
		c.tenants = append(c.tenants, &tenant{id: id})
	}
	if err := c.settle(ctx); err != nil {
		return err
	}
	for _, t := range c.tenants {
		if err := c.remember(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// settle makes everything searchable and durable, and merges it, so that no
// background work of filling falls into a run.
func (c *cluster) settle(ctx context.Context) error {
	for _, path := range []string{"/_refresh", "/_forcemerge?max_num_segments=4", "/_flush"} {
		if err := c.post(ctx, path, nil, nil); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) remember(ctx context.Context, t *tenant) error {
	var err error
	t.old, err = c.engine.Indices(ctx, patterns(fromPrefix(c), t.id)...)
	return err
}

// reset takes every tenant back to where it was after fill.
func (c *cluster) reset(ctx context.Context) error {
	for _, t := range c.tenants {
		if err := c.resetTenant(ctx, t); err != nil {
			return fmt.Errorf("reset tenant %s: %w", t.id, err)
		}
	}
	_, err := c.db.Pool().Exec(ctx, `update tenants set release = $1`, fromRelease)
	return err
}

func (c *cluster) resetTenant(ctx context.Context, t *tenant) error {
	if err := c.removeNew(ctx, t); err != nil {
		return err
	}
	var blocked []string
	var aliases []upgrader.AliasAction
	now, err := c.engine.Indices(ctx, patterns(fromPrefix(c), t.id)...)
	if err != nil {
		return err
	}
	if len(now) != len(t.old) {
		return fmt.Errorf("%d indices of %s stand, %d stood", len(now), fromRelease, len(t.old))
	}
	for i, ix := range now {
		if ix.WriteBlocked {
			blocked = append(blocked, ix.Name)
		}
		for _, a := range t.old[i].Aliases {
			aliases = append(aliases, upgrader.AliasAction{Index: ix.Name, Alias: a})
		}
	}
	if len(blocked) > 0 {
		if err := c.engine.UnblockWrites(ctx, blocked...); err != nil {
			return err
		}
	}
	if err := c.engine.UpdateAliases(ctx, aliases); err != nil {
		return err
	}
	from, err := c.catalogue.Get(fromRelease)
	if err != nil {
		return err
	}
	return c.engine.DeleteTemplate(ctx, naming.FreezingTemplate(from, t.id))
}

// removeNew deletes what a run has made.
func (c *cluster) removeNew(ctx context.Context, t *tenant) error {
	made, err := c.engine.Indices(ctx, patterns(toPrefix(c), t.id)...)
	if err != nil {
		return err
	}
	var names []string
	for _, ix := range made {
		names = append(names, ix.Name)
	}
	for part := range slices.Chunk(names, 50) {
		if err := c.engine.DeleteIndices(ctx, part...); err != nil {
			return err
		}
	}
	for _, m := range []naming.Mode{naming.Staging, naming.Production} {
		ts, err := c.engine.Templates(ctx, naming.IndexName{Mode: m, Prefix: toPrefix(c), Tenant: t.id, Base: "*"}.Template())
		if err != nil {
			return err
		}
		for _, tpl := range ts {
			if err := c.engine.DeleteTemplate(ctx, tpl.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// patterns match all indices of one version of a tenant.
func patterns(prefix, id string) []string {
	var out []string
	for _, m := range []naming.Mode{naming.Staging, naming.Production, naming.Static} {
		out = append(out, naming.IndexName{Mode: m, Prefix: prefix, Tenant: id, Base: "*"}.String())
	}
	return out
}

func fromPrefix(c *cluster) string { return c.prefix(fromRelease) }
func toPrefix(c *cluster) string   { return c.prefix(toRelease) }

func (c *cluster) prefix(version string) string {
	r, err := c.catalogue.Get(version)
	if err != nil {
		panic(err) // built in, and used to fill the fleet before
	}
	return r.Prefix
}
