package upgrader

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// A search engine knows no leases. A request that an owner sent while it was
// the owner may arrive when it is not: it was frozen between its last look at
// the lease and the socket, or something on the way held the request back. So
// the engine itself is given a way to refuse: aliases that only exist for the
// present owner, and that the next one replaces before it does anything else.
//
//	tms.ROLLOUT.TENANT.EPOCH.INDEX   on a target: bulks go through it and demand that it is an alias
//	tms.ROLLOUT.TENANT.copy.INDEX    on a target: copy tasks write through it; it outlives owners, as the tasks do, until all are done
//	tms.ROLLOUT.TENANT.EPOCH.key     on an old index: deletions of indices demand that it is there
//
// The switch, forth or back, removes all of them in the call that moves the
// readers, and demands that they are there. What arrives later finds no alias.
//
// Creating an index late harms nothing: it is empty and under no alias that
// anybody reads.

// guardPrefix begins the name of every guard; no alias of Tracardi's does.
const guardPrefix = "tms."

// guard knows which aliases of its owner are in place. Safe for concurrent use.
type guard struct {
	prefix string // "tms.ROLLOUT.TENANT."
	epoch  int64  // of the owner that the aliases are named after
	home   string // old index that bears the key; "" before there is one
	// isTarget says whether an index is one of the tenant's targets.
	targets func(index string) bool

	mu   sync.Mutex
	held map[string]bool // aliases in place; nil before they were read
}

func (g *guard) owner() string                 { return g.prefix + strconv.FormatInt(g.epoch, 10) + "." }
func (g *guard) alias(index string) string     { return g.owner() + index }
func (g *guard) key() string                   { return g.owner() + "key" }
func (g *guard) copyAlias(index string) string { return g.prefix + "copy." + index }
func (g *guard) isTarget(index string) bool    { return g.targets != nil && g.targets(index) }

// underKey demands the key, and puts it back.
func (g *guard) underKey() []AliasAction {
	return []AliasAction{{Remove: true, MustExist: true, Index: g.home, Alias: g.key()}, {Index: g.home, Alias: g.key()}}
}

// settle has another old index bear the key, "" for none.
func (g *guard) settle(home string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.home = home
	delete(g.held, g.key())
}

func (g *guard) hold(alias string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held != nil {
		g.held[alias] = true
	}
}

// ensure puts an alias of the owner in place where it is not.
func (e *leasedEngine) ensure(ctx context.Context, alias, index string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.held == nil {
		there, err := e.Aliases(ctx, e.prefix+"*")
		if err != nil {
			return err
		}
		e.held = map[string]bool{}
		for a := range there {
			e.held[a] = true
		}
	}
	if e.held[alias] {
		return nil
	}
	if err := e.UpdateAliases(ctx, []AliasAction{{Index: index, Alias: alias}}); err != nil {
		return err
	}
	e.held[alias] = true
	return nil
}

// fenceOff replaces the guards of former owners by this one's. Once it has
// returned, nothing that they sent has any effect on the targets.
func (e *leasedEngine) fenceOff(ctx context.Context, epoch int64) error {
	there, err := e.Aliases(ctx, e.prefix+"*")
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.epoch, e.held = epoch, map[string]bool{}
	var actions []AliasAction
	for _, old := range sortedKeys(there) {
		rest := strings.TrimPrefix(old, e.prefix)
		former, name, _ := strings.Cut(rest, ".")
		if former == "copy" {
			e.held[old] = true
			continue
		}
		next := e.owner() + name
		for _, index := range there[old] {
			actions = append(actions, AliasAction{Index: index, Alias: next})
			if next != old {
				actions = append(actions, AliasAction{Remove: true, Index: index, Alias: old})
			}
		}
		e.held[next] = true
	}
	if len(actions) == 0 {
		return nil
	}
	return e.UpdateAliases(ctx, actions)
}

// dismiss lists what removes every guard of the tenant's rollout. With demand
// the removal of the present owner's is refused when they are gone.
func (e *leasedEngine) dismiss(ctx context.Context, demand bool) ([]AliasAction, error) {
	there, err := e.Aliases(ctx, e.prefix+"*")
	if err != nil {
		return nil, err
	}
	var actions []AliasAction
	for _, alias := range sortedKeys(there) {
		for _, index := range there[alias] {
			actions = append(actions, AliasAction{Remove: true, Index: index, Alias: alias, MustExist: demand})
		}
	}
	return actions, nil
}

// dismissCopies takes the guards of copy tasks away: one that is started by a call
// that was under way until now writes nothing any more.
func (e *leasedEngine) dismissCopies(ctx context.Context) error {
	there, err := e.Aliases(ctx, e.copyAlias("*"))
	if err != nil {
		return err
	}
	var actions []AliasAction
	for _, alias := range sortedKeys(there) {
		for _, index := range there[alias] {
			actions = append(actions, AliasAction{Remove: true, Index: index, Alias: alias})
		}
	}
	if len(actions) == 0 {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for alias := range there {
		delete(e.held, alias)
	}
	return e.UpdateAliases(ctx, actions)
}

// dismissed forgets what was in place.
func (g *guard) dismissed() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = nil
}

// fenceOff keeps out the former owners of the tenant, where there are any
// whose calls may yet arrive.
func (s *session) fenceOff(ctx context.Context) error {
	s.guard.targets = s.writesInto
	if len(s.t.Record.OldIndices) > 0 {
		s.guard.home = s.t.Record.OldIndices[0]
	}
	s.guard.epoch = s.t.Record.Guard
	if !s.lease.Takeover && s.t.Record.Guard != 0 {
		s.guard.alone = true
		return nil
	}
	if s.lease.Takeover {
		s.log.Info("taken over from an owner that did not give its lease back, or whose last call had no answer")
		if err := s.guard.fenceOff(ctx, s.lease.Epoch); err != nil {
			return err
		}
	}
	s.guard.epoch = s.lease.Epoch
	s.t.Record.Guard = s.lease.Epoch
	err := s.r.store.SaveTenant(ctx, s.lease, s.t)
	s.guard.alone = err == nil
	return err
}

// findHome gives the key to an old index that exists: the first one may have
// been deleted, and what is cancelled because of that must be undone.
func (s *session) findHome(ctx context.Context) error {
	if s.guard.home == "" {
		return nil
	}
	there, err := s.engine.Indices(ctx, s.t.Record.OldIndices...)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(there, func(ix Index) bool { return ix.Name == s.guard.home }) {
		return nil
	}
	home := ""
	if len(there) > 0 {
		home = there[0].Name
	}
	s.guard.settle(home)
	return nil
}

// writesInto says whether an index is one that the tenant's documents are on
// their way into, and that nobody else writes to yet.
func (s *session) writesInto(index string) bool {
	switch {
	case s.t.State.Returning():
		return s.isOld(index) || slices.Contains(s.t.Record.Return.Made, index)
	case s.t.State.BeforeSwitch(), s.t.State == TenantFailed: // a repair, a redrive
		return s.moveTo(index) != nil
	}
	return false
}

// moveAliases moves the readers, and takes every guard away in the same call:
// what of ours arrives later is refused. So is the call itself, when it arrives
// after another owner has taken over.
func (s *session) moveAliases(ctx context.Context, actions []AliasAction) error {
	guards, err := s.guard.dismiss(ctx, true)
	if err == nil && len(guards) == 0 && s.guard.home != "" {
		if err = s.guard.ensure(ctx, s.guard.key(), s.guard.home); err == nil {
			guards, err = s.guard.dismiss(ctx, true)
		}
	}
	if err == nil {
		err = s.engine.UpdateAliases(ctx, append(actions, guards...))
	}
	if err == nil {
		s.guard.dismissed()
	}
	return err
}

// visible are the aliases under which somebody may read an index.
func visible(aliases []string) (out []string) {
	for _, a := range aliases {
		if !strings.HasPrefix(a, guardPrefix) {
			out = append(out, a)
		}
	}
	return out
}

func withAlias(aliases map[string]struct{}, alias string) map[string]struct{} {
	out := maps.Clone(aliases)
	if out == nil {
		out = map[string]struct{}{}
	}
	out[alias] = struct{}{}
	return out
}
