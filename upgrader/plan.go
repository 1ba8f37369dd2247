package upgrader

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
	"unique"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader/capacity"
	"github.com/tracardi/tms/upgrader/naming"
	"github.com/tracardi/tms/upgrader/schema"
	"github.com/tracardi/tms/upgrader/shardlimit"
	"github.com/tracardi/tms/upgrader/stream"
)

// planner turns views of the cluster into a Plan. It does no I/O.
type planner struct {
	catalogue *releases.Catalogue
	target    *releases.Release
	view      ClusterView
	plan      *Plan
}

func newPlanner(c *releases.Catalogue, target *releases.Release, o Options, v ClusterView) *planner {
	return &planner{catalogue: c, target: target, view: v, plan: &Plan{ToRelease: target.Version, Options: o}}
}

func (p *planner) refuse(tenant, code, message, remedy string) {
	p.plan.Refusals = append(p.plan.Refusals, Refusal{Code: code, TenantID: tenant, Message: message, Remedy: remedy})
}

// fleet checks which tenants were asked for and which may be planned.
func (p *planner) fleet(fleet []FleetTenant) {
	known := map[string]bool{}
	for _, t := range fleet {
		known[t.ID] = true
	}
	for _, t := range p.plan.Excepted {
		known[t.ID] = true
	}
	for _, id := range p.plan.Elsewhere {
		known[id] = true
	}
	for _, id := range p.plan.Options.Tenants {
		if !known[id] {
			p.refuse(id, "tenant_unknown", fmt.Sprintf("tenant %q is not registered", id), "register it with `tms tenant create "+id+" --release VERSION`")
		}
	}
	if len(fleet) == 0 && len(p.plan.Excepted) == 0 {
		p.nobody()
	}
	for _, t := range fleet {
		if t.Release == "" {
			p.refuse(t.ID, "release_unset", "the registry does not say which release the tenant is on", "set it with `tms tenant update "+t.ID+" --release VERSION`")
			continue
		}
		if _, err := wayBetween(p.catalogue, t.Release, p.plan.ToRelease); err != nil {
			p.refuse(t.ID, "no_path", err.Error(), "choose a release that comes after "+t.Release+"; going back is `tms upgrade rollback`")
		}
		if t.ActiveRollout != "" {
			p.refuse(t.ID, "rollout_active", "the tenant is part of rollout "+t.ActiveRollout+", which has not ended", "wait for it, or `tms upgrade cancel "+t.ActiveRollout+"`")
		}
	}
}

// candidates are the tenants whose indices must be looked at.
func (p *planner) candidates(fleet []FleetTenant) []FleetTenant {
	var out []FleetTenant
	for _, t := range fleet {
		kind, err := wayBetween(p.catalogue, t.Release, p.plan.ToRelease)
		switch {
		case err != nil || t.ActiveRollout != "":
		case kind == KindNone:
			p.plan.Tenants = append(p.plan.Tenants, TenantPlan{TenantID: t.ID, FromRelease: t.Release, Path: []string{t.Release}, Notes: []string{"already on " + t.Release}})
		default:
			out = append(out, t)
		}
	}
	return out
}

// tenant plans one tenant.
func (p *planner) tenant(t FleetTenant, v TenantView) {
	l, err := newLayout(p.catalogue, t.Release, p.target.Version)
	if err != nil {
		p.refuse(t.ID, "no_path", err.Error(), "see `tms release list`")
		return
	}
	if l.from.Prefix == l.to.Prefix {
		p.minorPlan(t, l, v)
		return
	}
	tp := planTenant(l, t.Naming(), v, p.view.Now, p.plan.Options)
	p.plan.Refusals = append(p.plan.Refusals, tp.refusals...)
	p.flattened(t.ID, l)
	// A rollback returns to exactly what the registry says now; the release to
	// reach may be a later one of its structure.
	tp.FromRelease, tp.Path[0], tp.Path[len(tp.Path)-1] = t.Release, t.Release, p.plan.ToRelease
	p.plan.Tenants = append(p.plan.Tenants, tp.TenantPlan)
}

// flattened refuses a layout that the engine cannot hold, once per rollout.
func (p *planner) flattened(tenant string, l *layout) {
	if p.view.Info.Flattened != "" || p.view.Info.Product == "" {
		return
	}
	for _, r := range l.to.Resources {
		if field := schema.FieldOf(r.Mapping, "flattened"); field != "" {
			p.refuse(tenant, "flattened_unsupported",
				fmt.Sprintf("%s %s has no mapping type for flattened objects, which resource %s needs in field %s", p.view.Info.Product, p.view.Info.Version, r.Key, field),
				"use Elasticsearch with x-pack (the default distribution) or OpenSearch 2.7 or later")
			return
		}
	}
}

// finish adds what concerns the fleet as a whole and sorts.
func (p *planner) finish(at capacity.Situation) *Plan {
	s := capacity.ShardForecast{Now: p.view.Shards.Open, MaxPerNode: p.view.Shards.MaxPerNode, DataNodes: p.view.Shards.DataNodes, Limit: p.view.Shards.Limit()}
	for _, t := range p.plan.Tenants {
		s.New += t.Shards
	}
	p.simulate(at)
	s.SetPeak(p.plan.Forecast.ShardsPeak)
	s.Level = shardlimit.LevelPersistent
	if p.view.Shards.SettingsFrom == shardlimit.LevelTransient {
		s.Level = shardlimit.LevelTransient
	}
	p.plan.Shards = s
	slices.SortFunc(p.plan.Tenants, func(a, b TenantPlan) int { return strings.Compare(a.TenantID, b.TenantID) })
	slices.SortStableFunc(p.plan.Refusals, func(a, b Refusal) int { return strings.Compare(a.TenantID, b.TenantID) })
	return p.plan
}

// tenantPlan is a TenantPlan under construction.
type tenantPlan struct {
	TenantPlan
	refusals []Refusal
	l        *layout
	view     TenantView
	now      time.Time
	moves    map[string]*Move
}

func planTenant(l *layout, tenant naming.Tenant, v TenantView, now time.Time, o Options) *tenantPlan {
	tp := &tenantPlan{l: l, view: v, now: now, moves: map[string]*Move{}}
	tp.TenantID, tp.FromRelease, tp.Path = tenant.ID, l.from.Version, l.versions()
	tp.Record.AdoptedFrom = tenant.AdoptedFrom
	if len(v.Old) == 0 {
		tp.refuse("tenant_without_indices",
			fmt.Sprintf("the cluster holds no index of release %s for it (%s)", l.from.Version, strings.Join(tenant.Patterns(l.from.Prefix, naming.Modes...), ", ")),
			"correct the release with `tms tenant update "+tenant.ID+" --release VERSION`, or install the tenant first")
		return tp
	}
	tp.sources()
	tp.today()
	tp.fileByDate()
	tp.statics()
	tp.obstacles()
	tp.record()
	tp.notes()
	tp.routes()
	f := facts{l: l, now: now, options: o, source: v.old()}
	tp.Moves = make([]PlannedMove, 0, len(tp.moves))
	for _, name := range sortedKeys(tp.moves) {
		m := *tp.moves[name]
		if err := f.choose(&m); err != nil {
			tp.refuse("method_impossible", err.Error(), "leave --method out for "+m.Resource+", or choose another one")
		}
		tp.Moves = append(tp.Moves, m.planned())
		tp.Shards += shardsOf(l.resource(m.Resource)) * (1 + m.Replicas)
	}
	tp.footprint()
	return tp
}

func (tp *tenantPlan) refuse(code, message, remedy string) {
	tp.refusals = append(tp.refusals, Refusal{Code: code, TenantID: tp.TenantID, Message: message, Remedy: remedy})
}

func (tp *tenantPlan) note(format string, args ...any) {
	tp.Notes = append(tp.Notes, unique.Make(fmt.Sprintf(format, args...)).Value())
}

// sources turns every index of the old version into a part of a move.
func (tp *tenantPlan) sources() {
	for _, ix := range tp.view.Old {
		n, ok := naming.Parse(ix.Name)
		if !ok || n.Mode == naming.Static {
			continue // no step migrates static resources, the installer fills them
		}
		res, ok := tp.l.sourceOf(n)
		if !ok {
			tp.note("index %s (%d documents) belongs to no resource of %s and stays as it is", ix.Name, tp.view.OldStats[ix.Name].Docs, tp.l.from.Version)
			continue
		}
		st, seen := tp.view.OldStats[ix.Name]
		if !seen {
			tp.refuse("index_closed", fmt.Sprintf("index %s is closed or has no active primary", ix.Name), "open it, or delete it when it is not needed")
			continue
		}
		if !slices.Contains(ix.Aliases, n.Alias()) {
			tp.note("index %s is not under its alias %s: its %d documents become visible in %s", ix.Name, n.Alias(), st.Docs, tp.l.to.Version)
		}
		tp.source(n, res, ix, st)
	}
}

// source adds one source index to the moves of its target resources.
func (tp *tenantPlan) source(n naming.IndexName, res releases.Resource, ix Index, st IndexStats) {
	targets := tp.l.targetsOf(res.Key)
	for _, t := range targets {
		part, err := naming.TargetPartition(n.Partition, t.Partitioning, tp.now)
		if err != nil {
			tp.refuse("partition_invalid", fmt.Sprintf("index %s: %v", ix.Name, err), "rename the index by reindexing it into a valid partition, or delete it")
			continue
		}
		m := tp.move(n.Mode, t, part)
		m.Replicas = max(m.Replicas, st.Replicas)
		m.Copies = append(m.Copies, Copy{
			Source: ix.Name, Resource: res.Key, State: CopyPlanned,
			Docs: st.Docs, Bytes: st.Bytes, Shards: st.Primaries, Planned: stream.Writes(st.MaxSeqNo),
		})
	}
}

// move returns the move of a target, making it when it is new.
func (tp *tenantPlan) move(m naming.Mode, r releases.Resource, partition string) *Move {
	name := tp.l.name(tp.TenantID, m, r, partition).String()
	mv := tp.moves[name]
	if mv == nil {
		mv = &Move{Target: name, Resource: r.Key, Mode: m, Partition: partition, State: MovePlanned}
		tp.moves[name] = mv
	}
	return mv
}

// today makes sure that every resource of the new version exists, with the
// partition that its installer would make today: its check of a tenant looks
// for them, and the first write must not create them.
func (tp *tenantPlan) today() {
	for _, r := range tp.l.to.Resources {
		if r.Static {
			continue
		}
		for _, m := range naming.ModesOf(r) {
			mv := tp.move(m, r, naming.PartitionAt(r.Partitioning, tp.now))
			mv.Replicas = max(mv.Replicas, tp.replicas(m))
		}
	}
}

// replicas is what the operator gave the old version's indices of a mode.
func (tp *tenantPlan) replicas(m naming.Mode) int {
	most := 0
	for _, ix := range tp.view.Old {
		if n, ok := naming.Parse(ix.Name); ok && n.Mode == m {
			most = max(most, tp.view.OldStats[ix.Name].Replicas)
		}
	}
	return most
}

// statics adds the empty static indices of the new version.
func (tp *tenantPlan) statics() {
	for _, r := range tp.l.to.Resources {
		if !r.Static {
			continue
		}
		name := tp.l.name(tp.TenantID, naming.Static, r, "").String()
		if i := slices.IndexFunc(tp.view.New, func(ix Index) bool { return ix.Name == name }); i >= 0 && schema.CompareMapping(r.Mapping, tp.view.New[i].Mapping) == nil {
			continue // the new release's installer was here, and right
		}
		mv := tp.move(naming.Static, r, "")
		mv.Replicas = max(mv.Replicas, tp.replicas(naming.Static))
	}
}

// obstacles looks at what already stands under the new version's names.
func (tp *tenantPlan) obstacles() {
	var left []string
	var leftDocs int64
	for _, ix := range tp.view.New {
		n, ok := naming.Parse(ix.Name)
		if !ok || n.Mode == naming.Static {
			continue
		}
		if aliases := visible(ix.Aliases); len(aliases) > 0 {
			tp.refuse("target_in_use",
				fmt.Sprintf("index %s of %s already stands under alias %s: readers see it", ix.Name, tp.l.to.Version, strings.Join(aliases, ", ")),
				"when the tenant really is on "+tp.l.to.Version+" say so with `tms tenant update "+tp.TenantID+" --release "+tp.l.to.Version+"`; otherwise remove the alias from it")
			continue
		}
		st, open := tp.view.NewStats[ix.Name]
		if !open || len(st.MaxSeqNo) < st.Primaries {
			tp.refuse("index_closed", fmt.Sprintf("index %s of %s stands in the way and is closed or has no active primary: what it holds cannot be told", ix.Name, tp.l.to.Version), "open it, or delete it when it is not needed")
			continue
		}
		docs := st.Docs
		own := tp.view.Own[ix.Name] || ix.WriteBlocked && len(tp.view.Own) > 0
		if own && tp.onlyCopy(ix, n) && docs > MaxQuarantine {
			tp.refuse("target_has_documents",
				fmt.Sprintf("index %s holds %d documents that only %s knows, left by a rollback, and cannot be taken over: its mapping or settings are not those of %s", ix.Name, docs, tp.l.to.Version, tp.l.to.Version),
				fmt.Sprintf("make it as %s wants it, or copy its documents elsewhere and delete it; up to %d documents would be kept in quarantine", tp.l.to.Version, MaxQuarantine))
			continue
		}
		if own {
			left, leftDocs = append(left, ix.Name), leftDocs+docs
			continue
		}
		if docs > MaxQuarantine {
			tp.refuse("target_has_documents",
				fmt.Sprintf("index %s of %s exists already, with %d documents that TMS did not put there", ix.Name, tp.l.to.Version, docs),
				fmt.Sprintf("delete it when it is not needed; up to %d documents would be kept in quarantine", MaxQuarantine))
			continue
		}
		tp.note("index %s stands in the way (%d documents, not under an alias): it is replaced, its documents are kept in quarantine", ix.Name, docs)
	}
	if len(left) > 0 {
		tp.note("left from an earlier rollout (%d documents in all), to be replaced, or taken over where they hold what only %s knows: %s", leftDocs, tp.l.to.Version, someOf(left))
	}
}

// onlyCopy says that an index in the way is neither taken over nor copied anew.
func (tp *tenantPlan) onlyCopy(ix Index, n naming.IndexName) bool {
	res, ok := resourceByBase(tp.l.to, n)
	return ok && !tp.l.fed(res.Key) && !tp.l.keeps(ix, n, tp.view.NewStats[ix.Name])
}

// record remembers what stands now.
func (tp *tenantPlan) record() {
	tp.Record.OldIndices = make([]string, 0, len(tp.view.Old))
	for _, ix := range tp.view.Old {
		if n, ok := naming.Parse(ix.Name); ok && n.Mode != naming.Static {
			if _, ok := tp.l.sourceOf(n); ok {
				tp.Record.OldIndices = append(tp.Record.OldIndices, ix.Name)
			}
		}
	}
	sort.Strings(tp.Record.OldIndices)
}

// notes tells what will not survive.
func (tp *tenantPlan) notes() {
	for _, key := range sortedKeys(tp.l.gone) {
		tp.note("resource %s has no successor: %s", key, tp.l.gone[key])
	}
	if unseen := tp.l.opaque(); len(unseen) > 0 {
		tp.note("raw Painless makes the documents of %s: the proof will say that all are there, not what they hold", strings.Join(unseen, ", "))
	}
	for _, key := range sortedKeys(tp.l.lineages) {
		for _, d := range tp.l.lineages[key].drops {
			tp.note("%s: field %s is dropped: %s", key, d.Field, d.Reason)
		}
	}
}

// sortCopies puts the sources of a merge into order, the oldest first.
func sortCopies(m *Move) {
	sort.Slice(m.Copies, func(i, j int) bool { return copyBefore(m.Copies[i], m.Copies[j]) })
}

// copyBefore orders the sources of a merge from the oldest to the newest.
func copyBefore(a, b Copy) bool {
	na, _ := naming.Parse(a.Source)
	nb, _ := naming.Parse(b.Source)
	if ka, kb := naming.PartitionStart(na.Partition), naming.PartitionStart(nb.Partition); ka != kb {
		return ka < kb
	}
	return a.Source < b.Source
}

// shardsOf is the number of primaries that a resource's index gets.
func shardsOf(r releases.Resource) int {
	switch v := r.Settings["number_of_shards"].(type) {
	case int:
		return v
	case float64:
		return int(v)
	case string:
		if n, err := strconv.Atoi(v); err == nil {
			return n
		}
	}
	return 1 // the engine's default since 7.0
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}
