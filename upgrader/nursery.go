package upgrader

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"github.com/tracardi/tms/releases"
)

// An engine makes one index per change of its cluster's state, and each takes
// it longer the more indices there are. A restore makes any number of them in
// a single change. So the empty indices of a release, one per resource, are
// kept in a snapshot, and targets are restored from it under their own names:
// see docs/adr/0022.

// Seeder snapshots empty indices and restores them under other names. The
// adapter lives in package elastic. Safe for concurrent use; calls are never
// repeated by themselves.
type Seeder interface {
	// Seeds tells about a snapshot of seeds. Without the snapshot, or the
	// repository, it is ErrNotFound.
	Seeds(ctx context.Context, repository, snapshot string) (SeedState, error)
	// TakeSeeds snapshots exactly these indices and waits for the end. A
	// snapshot of that name is ErrAlreadyExists.
	TakeSeeds(ctx context.Context, repository, snapshot string, indices []string) error
	// DropSeeds deletes a snapshot that came to nothing.
	DropSeeds(ctx context.Context, repository, snapshot string) error
	// Plant restores seeds and does not wait for their shards. Either all
	// indices appear or none. One that is there already is ErrAlreadyExists.
	Plant(ctx context.Context, p Planting) error
	// Growth tells which primaries of these indices have not started, and for
	// which of them the engine has given up; an index that is missing counts as
	// given up.
	Growth(ctx context.Context, names ...string) (waiting, failed []string, err error)
}

// SeedState is how far a snapshot of seeds is.
type SeedState string

// States.
const (
	SeedsReady  SeedState = "ready"
	SeedsMaking SeedState = "making"
	SeedsBroken SeedState = "broken"
)

// Planting makes indices out of seeds: what the pattern, a regular expression,
// matches of a seed's name is replaced.
type Planting struct {
	Repository, Snapshot string
	Seeds                []string
	Pattern, Replacement string
	// Settings replace those of the seeds; below "index".
	Settings map[string]any
}

const (
	seedPrefix = "tms-seed-"
	// seedPattern matches all of a seed's name but the base of its resource.
	seedPattern = `^` + seedPrefix + `[0-9a-f]+-`
	// nurseryMost bounds the making of a snapshot of seeds, which takes some
	// three seconds; nurseryRest is how long nobody tries again after it failed.
	nurseryMost = time.Minute
	nurseryRest = 5 * time.Minute
)

// WithSeeds has the runner restore empty targets from snapshots in the
// repository of that name, in whichever cluster has one and speaks Seeder.
// Elsewhere, and wherever that fails, they are created one by one.
func (r *Runner) WithSeeds(repository string) *Runner {
	if repository != "" {
		r.seeds = &nurseries{repository: repository, log: r.log, byCluster: map[string]*nursery{}}
	}
	return r
}

// nurseries has one nursery per cluster. Safe for concurrent use.
type nurseries struct {
	repository string
	log        *slog.Logger
	mu         sync.Mutex
	byCluster  map[string]*nursery
}

// of returns the nursery of a cluster; nil when its engine has none.
func (ns *nurseries) of(cluster string, e Engine) *nursery {
	if ns == nil {
		return nil
	}
	seeder, ok := e.(Seeder)
	if !ok {
		return nil
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	n := ns.byCluster[cluster]
	if n == nil || n.engine != e { // the cluster may have got another address
		n = &nursery{
			repository: ns.repository, engine: e, seeder: seeder, log: ns.log.With("cluster", cluster), now: time.Now,
			ready: map[string]bool{}, rest: map[string]time.Time{},
		}
		ns.byCluster[cluster] = n
	}
	return n
}

// nursery keeps snapshots of the empty indices of releases in one repository of
// one cluster. It is safe for concurrent use, and so are several processes with
// the same repository.
type nursery struct {
	repository string
	engine     Engine
	seeder     Seeder
	log        *slog.Logger
	now        func() time.Time

	making singleflight.Group
	mu     sync.Mutex
	ready  map[string]bool      // by snapshot
	rest   map[string]time.Time // by snapshot: not before
}

// bed is a snapshot of the seeds of one release on one engine.
type bed struct {
	snapshot, digest string
	release          *releases.Release
}

// seed is the name of the seed of a resource.
func (b bed) seed(r releases.Resource) string { return seedPrefix + b.digest + "-" + r.Base }

func (b bed) seeds() []string {
	names := make([]string, len(b.release.Resources))
	for i, r := range b.release.Resources {
		names[i] = b.seed(r)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// bedOf names the snapshot after all that its indices depend on: an index that
// an older engine has made stays one of the older engine's.
func bedOf(r *releases.Release, e EngineInfo) (bed, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, e.Product, e.Version, e.Flattened)
	for _, res := range r.Resources {
		body, err := json.Marshal([]any{res.Base, finalSettings(res, 0), res.Mapping}) // sorts keys
		if err != nil {
			return bed{}, err
		}
		sum.Write(body)
	}
	digest := hex.EncodeToString(sum.Sum(nil)[:6])
	return bed{snapshot: "tms-seeds-" + r.Version + "-" + digest, digest: digest, release: r}, nil
}

// bed returns the seeds of a release, made when there are none yet; ok is
// false when there are none to be had, which is logged and harms nothing.
func (n *nursery) bed(ctx context.Context, r *releases.Release) (b bed, ok bool) {
	info, err := n.engine.Info(ctx)
	if err != nil {
		return bed{}, false
	}
	if b, err = bedOf(r, info); err != nil {
		return bed{}, false
	}
	n.mu.Lock()
	ready, rest := n.ready[b.snapshot], n.rest[b.snapshot]
	n.mu.Unlock()
	if ready {
		return b, true
	}
	if n.now().Before(rest) {
		return b, false
	}
	made := n.making.DoChan(b.snapshot, func() (any, error) {
		mctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), nurseryMost)
		defer cancel()
		return nil, n.make(mctx, b)
	})
	select {
	case res := <-made:
		err = res.Err
	case <-ctx.Done():
		return b, false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil {
		n.rest[b.snapshot] = n.now().Add(nurseryRest)
		n.log.Warn("no snapshot of empty indices: targets are created one by one", "repository", n.repository, "snapshot", b.snapshot, "error", err)
		return b, false
	}
	n.ready[b.snapshot] = true
	return b, true
}

// forget has the next tenant look again whether the snapshot stands.
func (n *nursery) forget(b bed) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.ready, b.snapshot)
}

// make brings the snapshot about. Several processes may do so at once: the
// names are the same, one takes the snapshot, the others find it.
func (n *nursery) make(ctx context.Context, b bed) error {
	wait := newPoller(time.Second)
	for {
		state, err := n.seeder.Seeds(ctx, n.repository, b.snapshot)
		switch {
		case err == nil && state == SeedsReady:
			return n.clear(ctx, b)
		case err == nil && state == SeedsBroken:
			err = n.seeder.DropSeeds(ctx, n.repository, b.snapshot)
		case errors.Is(err, ErrNotFound):
			if err = n.sow(ctx, b); errors.Is(err, ErrAlreadyExists) {
				err = nil // another process was quicker
			}
		}
		if err != nil {
			return errors.Join(err, n.clear(ctx, b))
		}
		if err := wait.pause(ctx); err != nil {
			return err
		}
	}
}

// sow makes one empty index per resource and snapshots them.
func (n *nursery) sow(ctx context.Context, b bed) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(Limits{}.withDefaults().Creates)
	for _, r := range b.release.Resources {
		g.Go(func() error {
			err := n.engine.CreateIndex(gctx, b.seed(r), IndexBody{Settings: finalSettings(r, 0), Mappings: r.Mapping})
			if errors.Is(err, ErrAlreadyExists) {
				return nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if failed, err := n.grown(ctx, b.seeds()); err != nil || len(failed) > 0 {
		return errors.Join(err, fmt.Errorf("%d of the seeds did not start", len(failed)))
	}
	return n.seeder.TakeSeeds(ctx, n.repository, b.snapshot, b.seeds())
}

// clear deletes the indices that the snapshot was taken of.
func (n *nursery) clear(ctx context.Context, b bed) error {
	there, err := n.engine.Indices(ctx, b.seeds()...)
	if err != nil || len(there) == 0 {
		return err
	}
	names := make([]string, len(there))
	for i, ix := range there {
		names[i] = ix.Name
	}
	return n.engine.DeleteIndices(ctx, names...)
}

// grown waits until the primaries of indices have started, and returns the
// indices of which some never will.
func (n *nursery) grown(ctx context.Context, names []string) (failed []string, err error) {
	wait := newPoller(500 * time.Millisecond)
	for {
		waiting, failed, err := n.seeder.Growth(ctx, names...)
		if err != nil || len(waiting) == 0 {
			return failed, err
		}
		if err := wait.pause(ctx); err != nil {
			return nil, err
		}
	}
}
