package fleet

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"
)

// watchInterval is how often a Watcher looks unless Config says otherwise. A
// switch is one update of the cluster state, so that no interval is too long to
// miss what lasts.
const watchInterval = 50 * time.Millisecond

// Watcher looks at a tenant's aliases again and again while it is upgraded.
type Watcher struct {
	tenant  *Tenant
	cancel  context.CancelFunc
	done    chan struct{}
	looked  chan struct{} // one token per look, for Wait
	samples atomic.Int64
	found   findings
	seen    []string // versions in the order in which the aliases pointed to them; owned by run
}

// WatchResult is what a Watcher saw.
type WatchResult struct {
	Samples int64 `json:"samples"`
	// Releases lists the prefixes that the aliases pointed to, in order.
	Releases      []string      `json:"releases"`
	Discrepancies []Discrepancy `json:"discrepancies,omitempty"`
	Found         int           `json:"found"`
}

// Watch starts a Watcher. Every alias that exists at the first look must stay,
// point to exactly one version at every later look, and to the same as all
// others. An engine that does not answer is no finding.
func (t *Tenant) Watch(ctx context.Context) *Watcher {
	ctx, cancel := context.WithCancel(ctx)
	w := &Watcher{tenant: t, cancel: cancel, done: make(chan struct{}), looked: make(chan struct{})}
	go w.run(ctx)
	return w
}

// Wait returns after n more looks, the last of which began after the call.
func (w *Watcher) Wait(ctx context.Context, n int) error {
	for range n + 1 { // the look under way may have begun before
		select {
		case w.looked <- struct{}{}:
		case <-w.done:
			return fmt.Errorf("watcher of %s was stopped", w.tenant.cfg.Tenant)
		case <-ctx.Done():
			return fmt.Errorf("watcher of %s: %w", w.tenant.cfg.Tenant, ctx.Err())
		}
	}
	return nil
}

// Stop ends the watching and returns what was seen.
func (w *Watcher) Stop() WatchResult {
	w.cancel()
	<-w.done
	named, total := w.found.list()
	return WatchResult{Samples: w.samples.Load(), Releases: w.seen, Discrepancies: named, Found: total}
}

func (w *Watcher) run(ctx context.Context) {
	defer close(w.done)
	ticker := time.NewTicker(w.tenant.cfg.WatchInterval)
	defer ticker.Stop()
	first := map[string]bool{}
	for {
		aliases, err := w.tenant.engine.aliases(ctx, w.tenant.aliasPatterns()...)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			w.tenant.log.Debug("watcher cannot read the aliases", "error", err)
		default:
			if len(first) == 0 {
				for alias := range aliases {
					first[alias] = true
				}
			}
			w.look(first, aliases)
			w.samples.Add(1)
			select {
			case <-w.looked:
			default:
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// look judges one sample, which is one state of the cluster.
func (w *Watcher) look(first map[string]bool, aliases map[string][]string) {
	for _, alias := range slices.Sorted(maps.Keys(first)) {
		if len(aliases[alias]) == 0 {
			w.found.add(Discrepancy{Alias, alias, "", "points to nothing"})
		}
	}
	all := map[string]bool{}
	for _, alias := range slices.Sorted(maps.Keys(aliases)) {
		own := map[string]bool{}
		for _, index := range aliases[alias] {
			prefix := w.tenant.prefixOf(index, aliasMode(alias))
			own[prefix], all[prefix] = true, true
		}
		if len(own) > 1 {
			w.found.add(Discrepancy{Alias, alias, "", fmt.Sprintf("points to %d versions at once: %v", len(own), aliases[alias])})
		}
	}
	switch prefixes := slices.Sorted(maps.Keys(all)); {
	case len(prefixes) > 1:
		w.found.add(Discrepancy{Alias, w.tenant.cfg.Tenant, "", fmt.Sprintf("the aliases point to versions %v at the same time", prefixes)})
	case len(prefixes) == 1 && (len(w.seen) == 0 || w.seen[len(w.seen)-1] != prefixes[0]):
		w.seen = append(w.seen, prefixes[0])
	}
}
