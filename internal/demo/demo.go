// Package demo is `tms demo`: it brings up real servers, makes a fleet of
// tenants in them, upgrades it with TMS while it is written to, and checks from
// outside that nothing was lost.
//
// TMS runs as child processes of the same program and is talked to over gRPC
// and by its own commands, as an operator would. What happens to the tenants
// is judged by package fleet, which shares nothing with the upgrader.
package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"

	"github.com/tracardi/tms/internal/demo/child"
	"github.com/tracardi/tms/internal/devstack"
	"github.com/tracardi/tms/internal/fleet"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// stackLimit includes fetching the engine's jars on a new machine.
const stackLimit = 20 * time.Minute

// shortLivedDocs is the number of documents up to which an engine whose JVM
// does not optimise much is through sooner.
const shortLivedDocs = 100_000

// demo is one run.
type demo struct {
	Options
	*narrator
	stack    *devstack.Stack
	server   *child.Server
	conn     *grpc.ClientConn
	upgrades tmsv1.UpgradeServiceClient
	cluster  *cluster
	tenants  []*fleet.Tenant
	awkward  int // documents per tenant that cannot reach the new release
	undo     []func() error
}

// Run carries the demonstration out. The error is nil only if every tenant was
// upgraded and its judge found nothing wrong. When ctx ends, everything that
// was started is stopped.
func Run(ctx context.Context, o Options) (err error) {
	if err := o.Check(); err != nil {
		return err
	}
	if o.Binary == "" {
		if o.Binary, err = os.Executable(); err != nil {
			return fmt.Errorf("find the running program: %w", err)
		}
	}
	d := &demo{Options: o, narrator: newNarrator(o.Out)}
	defer func() { err = errors.Join(err, d.cleanUp()) }()
	if err := d.bringUp(ctx); err != nil {
		return err
	}
	if err := d.makeFleet(ctx); err != nil {
		return err
	}
	outcome, err := d.upgradeUnderWrites(ctx)
	if err != nil {
		return err
	}
	failed := d.tell(outcome)
	if o.Keep {
		d.lookAround(ctx, outcome.rollout)
	}
	return failed
}

// bringUp starts Postgres, the search engine and TMS.
func (d *demo) bringUp(ctx context.Context) error {
	dir, err := d.directory()
	if err != nil {
		return err
	}
	d.title("Servers")
	d.say("starting PostgreSQL and the search engine in %s\n(the first time on a machine this fetches the engine's jars)", dir)
	began := time.Now()
	starting, cancel := context.WithTimeout(ctx, stackLimit)
	defer cancel()
	d.stack, err = devstack.Up(starting, devstack.Options{Dir: dir, Engine: d.engineOptions()})
	if err != nil {
		return err
	}
	d.atEnd(d.stack.Stop)
	d.cluster = newCluster(d.stack.Engine.URL())
	d.say("PostgreSQL is up on a private socket, %s on %s (%s)", d.stack.Engine.Kind(), d.stack.Engine.URL(), took(time.Since(began)))
	if err := d.cluster.addRepository(ctx, seedRepository, d.stack.Engine.SnapshotDir()); err != nil {
		return err
	}
	began = time.Now()
	d.server = child.Serve(child.Config{
		Binary: d.Binary, DatabaseURL: d.stack.Postgres.DSN(), ElasticURLs: d.stack.Engine.URLs(),
		Keys: child.NewKeys(), LogPath: filepath.Join(dir, "tms.log"), Env: []string{"TMS_SEED_REPOSITORY=" + seedRepository},
	})
	if err := d.server.Start(ctx); err != nil {
		return err
	}
	d.atEnd(d.server.Stop)
	if d.conn, err = d.server.Dial(); err != nil {
		return err
	}
	d.atEnd(d.conn.Close)
	d.upgrades = tmsv1.NewUpgradeServiceClient(d.conn)
	d.say("tms serve listens on %s (gRPC) and http://%s (%s)", d.server.GRPC(), d.server.HTTP(), took(time.Since(began)))
	return nil
}

// engineOptions fits the engine to the size of the fleet.
func (d *demo) engineOptions() devstack.EngineOptions {
	o := devstack.EngineOptions{
		Kind: devstack.EngineKind(d.Engine),
		// In a minute of life half of the machine would go into optimising code.
		ShortLived: d.Docs*d.Tenants <= shortLivedDocs,
		Heap:       "1g",
	}
	switch { // 1400 shards of five tenants leave nothing of 1 GB
	case d.Tenants > 40:
		o.Heap = "4g"
	case d.Tenants > 3 || d.Docs*d.Tenants > shortLivedDocs:
		o.Heap = "2g"
	}
	return o
}

// directory is where the servers keep their data.
func (d *demo) directory() (string, error) {
	if d.Dir != "" {
		dir, err := filepath.Abs(d.Dir)
		if err == nil {
			err = os.MkdirAll(dir, 0o755)
		}
		if err != nil {
			return "", fmt.Errorf("--dir: %w", err)
		}
		return dir, nil
	}
	dir, release, err := devstack.MemoryDir("demo")
	if err != nil {
		return "", err
	}
	d.atEnd(func() error { release(); return nil })
	return dir, nil
}

func (d *demo) atEnd(f func() error) { d.undo = append(d.undo, f) }

// cleanUp ends what was started, in reverse.
func (d *demo) cleanUp() error {
	var failures []error
	for i := len(d.undo) - 1; i >= 0; i-- {
		failures = append(failures, d.undo[i]())
	}
	return errors.Join(failures...)
}

// lookAround tells where everything is, and waits.
func (d *demo) lookAround(ctx context.Context, rollout string) {
	d.title("Everything is left running: look around, Ctrl-C ends it")
	env := d.server.ClientEnv()
	d.print(fmt.Sprintf(`
  REST            http://%[1]s
  gRPC            %[2]s
  search engine   %[3]s
  PostgreSQL      %[4]s
  log of TMS      %[5]s

Copy into another terminal:
  export %[6]s
  export %[7]s

and then, for instance:
  %[8]s tenant list
  %[8]s upgrade show %[9]s
  %[8]s upgrade quarantine %[9]s
  %[8]s upgrade rollback %[9]s     # back to %[10]s, until it is finalized
  %[8]s upgrade finalize %[9]s     # deletes the indices of %[10]s
  curl -s '%[3]s/_cat/aliases/%[11]s.*?v'
  psql '%[4]s'

`, d.server.HTTP(), d.server.GRPC(), d.stack.Engine.URL(), d.stack.Postgres.DSN(), d.server.LogPath(),
		env[0], env[1], d.Binary, rollout, d.From, d.tenants[0].Name()))
	select {
	case <-ctx.Done():
		d.say("stopping everything")
	case <-d.server.Exited():
		d.say("tms serve has ended by itself:\n%s", d.server.LogTail(10))
	}
}
