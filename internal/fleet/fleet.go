// Package fleet is the outside world of TMS for the demo, the end-to-end tests
// and the benchmarks. It plays the three parties that TMS never sees: the
// installer of Tracardi (Tenant.Install, Fill, Awkward), its containers that
// keep writing (Writer), and an independent judge (Judge, Watcher) who compares
// what was acknowledged to the writers with what the engine holds.
//
// It shares nothing with the upgrader but the release catalogue: its own HTTP
// calls, its own rules for index names, its own comparison of documents. A
// mistake made in package elastic or upgrader must not be repeated here, or
// nobody would notice it.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/tracardi/tms/releases"
)

// Catalogue is what the harness needs from the release catalogue;
// *releases.Catalogue has it.
type Catalogue interface {
	Get(version string) (*releases.Release, error)
	ByPrefix(prefix string) (*releases.Release, error)
	// Path lists the releases after from up to and including to.
	Path(from, to string) ([]*releases.Release, error)
	List() []*releases.Release // oldest first
}

// Config describes one tenant of the simulated fleet.
type Config struct {
	URL       string // of the search engine
	Catalogue Catalogue
	Release   string // version that the tenant is installed with
	Tenant    string // id, the prefix of its index names
	// CodeName stands for the id in the names of Release, as in a single-tenant
	// installation that became a tenant.
	CodeName string
	// Seed makes documents and the choices of the writer repeatable.
	Seed uint64
	// Now decides which partition is the current one. Default time.Now.
	Now func() time.Time
	// Months is the number of monthly partitions, the current one included;
	// the others are the months before. Default 1, what a fresh tenant has.
	Months int
	// Only restricts the tenant to these resource keys, for quick tests; empty
	// is the complete layout.
	Only []string
	// Parallel is the number of requests in flight while installing. The
	// default 16 is where the creation of indices stops becoming faster.
	Parallel int
	// WatchInterval is the pause between two looks of a Watcher, default 50 ms.
	// A look costs the engine some milliseconds, so a fleet should share them.
	WatchInterval time.Duration
	Logger        *slog.Logger // default: discard
	Client        *http.Client // default: own connection pool
}

// Tenant is one tenant of the simulated fleet. Install, Fill, Awkward and
// Remove are called one after the other; a Writer and a Watcher may run beside
// each other and beside Judge's layout checks.
type Tenant struct {
	cfg     Config
	engine  *engine
	release *releases.Release
	months  []time.Time // first day of each month, oldest first; the last is the current one
	history *history
	log     *slog.Logger

	mu        sync.Mutex
	next      map[string]int // serial number of the next document, by resource key
	flattened string         // mapping type that the engine has for "flattened"
	found     findings       // what the writers noticed on their way
}

// New prepares a tenant; nothing is sent before Install.
func New(cfg Config) (*Tenant, error) {
	if cfg.Catalogue == nil {
		return nil, errors.New("fleet: Catalogue is not set: pass releases.Builtin()")
	}
	if cfg.Tenant == "" || cfg.URL == "" {
		return nil, fmt.Errorf("fleet: Tenant %q and URL %q must both be set", cfg.Tenant, cfg.URL)
	}
	release, err := cfg.Catalogue.Get(cfg.Release)
	if err != nil {
		return nil, fmt.Errorf("fleet: release %q of tenant %q: %w", cfg.Release, cfg.Tenant, err)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Months = max(cfg.Months, 1)
	if cfg.Parallel <= 0 {
		cfg.Parallel = 16
	}
	if cfg.WatchInterval <= 0 {
		cfg.WatchInterval = watchInterval
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Client == nil {
		cfg.Client = newHTTPClient(cfg.Parallel)
	}
	return &Tenant{
		cfg:     cfg,
		engine:  &engine{base: cfg.URL, client: cfg.Client},
		release: release,
		months:  monthsUntil(cfg.Now(), cfg.Months),
		history: newHistory(release.Version),
		log:     cfg.Logger.With("tenant", cfg.Tenant),
		next:    map[string]int{},
	}, nil
}

// Name is the tenant's id.
func (t *Tenant) Name() string { return t.cfg.Tenant }

// resources lists the resources of r that belong to this tenant: all of them,
// or those that Only names and, in later releases, their successors.
func (t *Tenant) resources(r *releases.Release) ([]releases.Resource, error) {
	if len(t.cfg.Only) == 0 {
		return r.Resources, nil
	}
	keys, err := t.successors(t.cfg.Only, r.Version)
	if err != nil {
		return nil, err
	}
	var kept []releases.Resource
	for _, res := range r.Resources {
		if slices.Contains(keys, res.Key) {
			kept = append(kept, res)
		}
	}
	return kept, nil
}

// successors follows resource keys of the tenant's first release to version.
func (t *Tenant) successors(keys []string, version string) ([]string, error) {
	if version == t.release.Version {
		return keys, nil
	}
	path, err := t.cfg.Catalogue.Path(t.release.Version, version)
	if err != nil {
		return nil, fmt.Errorf("way from release %s to %s: %w", t.release.Version, version, err)
	}
	for _, r := range path {
		var after []string
		for target, step := range r.Migration.Steps {
			if slices.Contains(keys, step.From) {
				after = append(after, target)
			}
		}
		// Static resources have no step and keep their key.
		for _, res := range r.Resources {
			if res.Static && slices.Contains(keys, res.Key) {
				after = append(after, res.Key)
			}
		}
		keys = after
	}
	return keys, nil
}

// Remove deletes every index and template of the tenant, of all versions.
func (t *Tenant) Remove(ctx context.Context) error {
	indices, err := t.engine.indexNames(ctx, "*."+t.cfg.Tenant+".tracardi-*", "*."+t.named(t.release.Prefix)+".tracardi-*")
	if err != nil {
		return fmt.Errorf("remove tenant %s: %w", t.cfg.Tenant, err)
	}
	// Forty names stay below the 4096 bytes of a request line.
	for chunk := range slices.Chunk(indices, 40) {
		if err := t.engine.deleteIndices(ctx, chunk); err != nil {
			return fmt.Errorf("remove tenant %s: %w", t.cfg.Tenant, err)
		}
	}
	for _, mode := range []Mode{Staging, Production} {
		for _, pattern := range []string{"template.*." + t.cfg.Tenant + ".tracardi-*", templateName("", t.release.Prefix, t.named(t.release.Prefix), "tracardi-*")} {
			status, err := t.engine.call(ctx, http.MethodDelete, "/_index_template/"+string(mode)+pattern, nil, nil)
			if err != nil && status != http.StatusNotFound {
				return fmt.Errorf("remove tenant %s: %w", t.cfg.Tenant, err)
			}
		}
	}
	return nil
}
