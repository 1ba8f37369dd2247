package upgrader

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader/naming"
)

// An engine makes one index per change of its cluster's state, and each takes
// it longer the more indices there are. A restore makes any number of them in
// a single change. So the targets of one tenant, while they are empty, are kept
// in a snapshot, and those of others are restored from it under their own
// names: see docs/adr/0022.

// Seeder snapshots empty indices and restores them under other names. The
// adapter lives in package elastic. Safe for concurrent use; calls are never
// repeated by themselves.
type Seeder interface {
	// Moulds lists the complete snapshots whose names begin with prefix. No
	// such repository is ErrNotFound.
	Moulds(ctx context.Context, repository, prefix string) ([]Mould, error)
	// TakeMould snapshots exactly these indices and waits for the end.
	TakeMould(ctx context.Context, repository, snapshot string, indices []string) error
	// DropMould deletes a snapshot.
	DropMould(ctx context.Context, repository, snapshot string) error
	// Plant restores indices under other names and does not wait for their
	// shards. Either all appear or none.
	Plant(ctx context.Context, p Planting) error
	// Growth waits a while for the primaries of indices. It tells which have
	// not started then, and for which of them the engine has given up; an index
	// that is missing counts as given up.
	Growth(ctx context.Context, names ...string) (waiting, failed []string, err error)
}

// Mould is a snapshot of the empty targets of a tenant.
type Mould struct {
	Snapshot string
	Indices  []string
}

// Planting makes indices out of a mould: what the pattern, a regular
// expression, matches of a name is replaced.
type Planting struct {
	Repository, Snapshot string
	Indices              []string
	Pattern, Replacement string
	// Settings replace those of the mould; below "index".
	Settings map[string]any
}

const (
	// mouldPrefix begins the names of snapshots of empty targets.
	mouldPrefix = "tms-seeds-"
	// mostMoulds bounds how many of them are made per release and engine.
	mostMoulds = 16
	// nurseryRest is how long nobody looks, or makes one, again after that has
	// failed; nurseryFresh how long what was seen is believed.
	nurseryRest  = 5 * time.Minute
	nurseryFresh = 15 * time.Second
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
		n = &nursery{repository: ns.repository, engine: e, seeder: seeder, log: ns.log.With("cluster", cluster), now: time.Now, beds: map[string]*bed{}}
		ns.byCluster[cluster] = n
	}
	return n
}

// nursery knows the moulds in one repository of one cluster. It is safe for
// concurrent use, and so are several processes with the same repository.
type nursery struct {
	repository string
	engine     Engine
	seeder     Seeder
	log        *slog.Logger
	now        func() time.Time

	mu   sync.Mutex
	beds map[string]*bed // by prefix of the snapshots
}

// bed are the moulds of one release on one engine.
type bed struct {
	prefix string
	// turn is held by whoever looks for a mould or makes one: the first tenants
	// of a rollout begin together, and one mould does for all of them.
	turn chan struct{}

	// Under turn:
	moulds []Mould
	looked time.Time
	rest   time.Time // not before
}

// bed returns the moulds of a release. They are named after all that the
// indices depend on: an index that an older engine has made stays one of the
// older engine's.
func (n *nursery) bed(ctx context.Context, r *releases.Release) (*bed, error) {
	info, err := n.engine.Info(ctx)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	fmt.Fprintln(sum, info.Product, info.Version, info.Flattened)
	for _, res := range r.Resources {
		body, err := json.Marshal([]any{res.Base, finalSettings(res, 0), res.Mapping}) // sorts keys
		if err != nil {
			return nil, err
		}
		sum.Write(body)
	}
	prefix := mouldPrefix + r.Version + "-" + hex.EncodeToString(sum.Sum(nil)[:6]) + "-"
	n.mu.Lock()
	defer n.mu.Unlock()
	b := n.beds[prefix]
	if b == nil {
		b = &bed{prefix: prefix, turn: make(chan struct{}, 1)}
		n.beds[prefix] = b
	}
	return b, nil
}

// look returns the mould that covers most of the names that a tenant needs,
// given without their tenant, and whether making another one is wanted. The
// caller has the turn.
func (n *nursery) look(ctx context.Context, b *bed, need []string) (m Mould, make bool) {
	now := n.now()
	if now.Before(b.rest) {
		return Mould{}, false
	}
	best, covered := b.best(need)
	if covered < len(need) && now.Sub(b.looked) > nurseryFresh {
		moulds, err := n.seeder.Moulds(ctx, n.repository, b.prefix)
		if err != nil {
			n.rest(b, "moulds cannot be listed", err)
			return Mould{}, false
		}
		b.moulds, b.looked = moulds, now
		best, covered = b.best(need)
	}
	if covered*4 < len(need)*3 && len(b.moulds) < mostMoulds {
		return Mould{}, true
	}
	return best, false
}

// rest has everybody create indices one by one for a while. The caller has the
// turn.
func (n *nursery) rest(b *bed, why string, err error) {
	b.moulds, b.looked, b.rest = nil, time.Time{}, n.now().Add(nurseryRest)
	n.log.Warn("no snapshot of empty indices: targets are created one by one", "why", why, "repository", n.repository, "error", err)
}

// best is the mould with most of the names, and how many of them it has.
func (b *bed) best(need []string) (best Mould, covered int) {
	for _, m := range b.moulds {
		n := 0
		for _, ix := range m.Indices {
			if slices.Contains(need, kindOf(ix)) {
				n++
			}
		}
		if n > covered {
			best, covered = m, n
		}
	}
	return best, covered
}

// forget drops a mould that is no longer there.
func (b *bed) forget(snapshot string) {
	b.moulds = slices.DeleteFunc(slices.Clone(b.moulds), func(m Mould) bool { return m.Snapshot == snapshot })
	b.looked = time.Time{}
}

// take waits for the turn.
func (b *bed) take(ctx context.Context) error {
	select {
	case b.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (b *bed) give() { <-b.turn }

// name of a new mould.
func (b *bed) name(now time.Time) string {
	return b.prefix + strings.ToLower(ulid.MustNew(ulid.Timestamp(now), ulid.DefaultEntropy()).String())
}

// kindOf is the name of an index without its tenant.
func kindOf(index string) string {
	n, _ := naming.Parse(index)
	n.Tenant = "*"
	return n.String()
}
