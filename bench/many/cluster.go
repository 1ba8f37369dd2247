package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/bench/usage"
	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/internal/demo/child"
	"github.com/tracardi/tms/internal/devstack"
	"github.com/tracardi/tms/internal/fleet"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/releases"
)

// The small releases: a few resources of real ones, one of every kind.
const (
	fromRelease, fromPrefix = "9.0.1", "901"
	toRelease, toPrefix     = "9.0.2", "902"
)

var resources = []string{"event", "rule", "bridge"}

// cluster is a private engine and a private Postgres.
type cluster struct {
	cfg       config
	stack     *devstack.Stack
	release   func()
	dir       string
	binary    string
	db        *db.DB
	catalogue *releases.Catalogue
}

func up(ctx context.Context, cfg config) (*cluster, error) {
	c := &cluster{cfg: cfg}
	dir, release, err := devstack.TemporaryDir("many")
	if err != nil {
		return c, err
	}
	c.dir, c.release = dir, release
	if c.binary, err = build(ctx, dir); err != nil {
		return c, err
	}
	c.stack, err = devstack.Up(ctx, devstack.Options{Dir: dir, Engine: devstack.EngineOptions{
		Heap: "2g", Settings: map[string]string{"cluster.max_shards_per_node": "30000"},
	}})
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
	return c, c.releases(ctx)
}

// releases saves the small releases, as an operator brings his own.
func (c *cluster) releases(ctx context.Context) error {
	library, err := releases.OpenLibrary(ctx, db.NewReleases(c.db), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	c.catalogue = library.Catalogue()
	all := c.catalogue.List()
	last := all[len(all)-1]
	for _, r := range []struct{ version, prefix string }{{fromRelease, fromPrefix}, {toRelease, toPrefix}} {
		draft := releases.NewDraft(r.version, r.prefix, last)
		draft.Resources = slices.DeleteFunc(draft.Resources, func(res releases.Resource) bool { return !slices.Contains(resources, res.Key) })
		files, err := draft.Files()
		if err != nil {
			return err
		}
		one, err := fs.Sub(files, ".")
		if err != nil {
			return err
		}
		bundle, err := releases.Pack(one, r.version)
		if err != nil {
			return err
		}
		if last, err = library.Save(ctx, bundle, "bench", "bench"); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) down() error {
	if c.db != nil {
		c.db.Close()
	}
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

// installs are under way at a time.
const installs = 4

// fill installs fresh tenants for a run.
func (c *cluster) fill(ctx context.Context, name string) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(installs)
	for i := range c.cfg.tenants {
		id := fmt.Sprintf("%s%03d", name, i)
		g.Go(func() error {
			t, err := fleet.New(fleet.Config{URL: c.stack.Engine.URL(), Catalogue: c.catalogue, Release: fromRelease, Tenant: id, Seed: uint64(i)})
			if err != nil {
				return err
			}
			if err := t.Install(gctx); err != nil {
				return err
			}
			return t.Fill(gctx, c.cfg.docs)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	_, err := c.db.Pool().Exec(ctx, `insert into tenants (id, install_token, release, cluster)
		select $1 || to_char(n, 'FM000'), '', $2, 'default' from generate_series(0, $3 - 1) n`, name, fromRelease, c.cfg.tenants)
	return err
}

// clear removes what a run's tenants have in the engine, so that the next run
// finds the same cluster. The registry forgets nobody.
func (c *cluster) clear(ctx context.Context, name string) error {
	for _, prefix := range []string{fromPrefix, toPrefix} {
		for _, mode := range []string{"", "prod-", "static-"} {
			if err := c.remove(ctx, "/"+mode+prefix+"."+name+"*?expand_wildcards=all"); err != nil {
				return err
			}
			if err := c.remove(ctx, "/_index_template/"+mode+"template."+prefix+"."+name+"*"); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *cluster) remove(ctx context.Context, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, c.stack.Engine.URL()+path, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if err := res.Body.Close(); err != nil {
		return err
	}
	if res.StatusCode >= 300 && res.StatusCode != http.StatusNotFound {
		return fmt.Errorf("DELETE %s: %s", path, res.Status)
	}
	return nil
}

// sample is what one run came to.
type sample struct {
	took, engine, own time.Duration
	others            time.Duration // CPU of everything else on the machine
	fence             time.Duration
}

// measure runs one rollout from the start command to the end of the last
// tenant.
func (c *cluster) measure(ctx context.Context, n int, r run) (s sample, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	name := fmt.Sprintf("run%d", n)
	if err := c.fill(ctx, name); err != nil {
		return s, err
	}
	keys := child.NewKeys()
	var servers []*child.Server
	defer func() {
		for _, one := range servers {
			one.Kill()
		}
	}()
	for i := range r.processes {
		one := child.Serve(child.Config{
			Binary: c.binary, DatabaseURL: c.stack.Postgres.DSN(), ElasticURLs: []string{c.stack.Engine.URL()}, Keys: keys,
			LogPath: filepath.Join(c.dir, fmt.Sprintf("serve-%d-%d.log", n, i)),
			Env:     []string{fmt.Sprintf("TMS_WORKERS=%d", c.cfg.workers)},
		})
		if err := one.Start(ctx); err != nil {
			return s, err
		}
		servers = append(servers, one)
	}
	if s, err = c.rollout(ctx, servers, name, r.kill); err != nil {
		return s, err
	}
	return s, c.clear(ctx, name)
}

func (c *cluster) rollout(ctx context.Context, servers []*child.Server, name string, kill bool) (s sample, err error) {
	conn, err := servers[0].Dial()
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	node := c.stack.Engine.Nodes()[0].PID()
	engine, machine := usage.ProcessCPU(node), usage.MachineCPU()
	spent := newSpending(servers)
	ids := make([]string, c.cfg.tenants)
	for i := range ids {
		ids[i] = fmt.Sprintf("%s%03d", name, i)
	}
	start := time.Now()
	ro, err := tmsv1.NewUpgradeServiceClient(conn).Start(ctx, &tmsv1.StartRolloutRequest{
		ToRelease: toRelease, Options: &tmsv1.RolloutOptions{Tenants: ids, MaxTenants: int32(c.cfg.atOnce)},
	})
	if err != nil {
		return s, err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return s, ctx.Err()
		case <-tick.C:
		}
		var state, why string
		var switched int
		var fence int64
		err := c.db.Pool().QueryRow(ctx, `
			select state, (select count(*) from rollout_tenants where rollout_id = id and state = 'switched'),
				(select coalesce(max(fence_us), 0) from rollout_tenants where rollout_id = id),
				coalesce((select max(reason) from rollout_tenants where rollout_id = id and state = 'failed'), '')
			from rollouts where id = $1`, ro.GetId()).Scan(&state, &switched, &fence, &why)
		if err != nil {
			return s, err
		}
		spent.look()
		if kill && switched >= c.cfg.tenants/4 {
			servers[len(servers)-1].Kill() // the other ones go on with its tenants
			kill = false
		}
		if state == "running" {
			continue
		}
		s = sample{took: time.Since(start), engine: usage.ProcessCPU(node) - engine, own: spent.sum(), fence: time.Duration(fence) * time.Microsecond}
		s.others = max(0, usage.MachineCPU()-machine-s.engine-s.own)
		if state != "complete" || switched != c.cfg.tenants || kill {
			return s, fmt.Errorf("rollout %s: %d of %d tenants switched: %s", state, switched, c.cfg.tenants, why)
		}
		return s, nil
	}
}

// spending is the CPU time of processes, some of which may end.
type spending struct {
	servers       []*child.Server
	begin, latest []time.Duration
}

func newSpending(servers []*child.Server) *spending {
	s := &spending{servers: servers, begin: make([]time.Duration, len(servers)), latest: make([]time.Duration, len(servers))}
	s.look()
	copy(s.begin, s.latest)
	return s
}

func (s *spending) look() {
	for i, one := range s.servers {
		s.latest[i] = max(s.latest[i], usage.ProcessCPU(one.PID()))
	}
}

func (s *spending) sum() (all time.Duration) {
	for i := range s.latest {
		all += s.latest[i] - s.begin[i]
	}
	return all
}
