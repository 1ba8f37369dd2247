package upgrader

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader/budget"
	"github.com/tracardi/tms/upgrader/tenure"
)

// Rehearser carries rehearsals out. It is safe for concurrent use.
type Rehearser struct {
	store  RehearsalStore
	runner *Runner
}

// NewRehearser lets a runner's ways be rehearsed.
func NewRehearser(store RehearsalStore, r *Runner) *Rehearser {
	return &Rehearser{store: store, runner: r}
}

const (
	// removeTimeout bounds the removal of what a rehearsal has made.
	removeTimeout = time.Minute
	// removeBatch is how many indices go in one change of the cluster's state.
	removeBatch = 50
)

// Work does a rehearsal to its end. Any process may call it at any time; one
// that somebody else works on is no error.
func (r *Rehearser) Work(ctx context.Context, id string) error {
	ttl := r.runner.limits.LeaseTTL
	asked := time.Now()
	one, err := r.store.ClaimRehearsal(ctx, id, r.runner.owner, ttl)
	if err != nil || one == nil {
		return err
	}
	log := r.runner.log.With("rehearsal", one.ID, "tenant", one.TenantID, "attempt", one.Attempts)
	run := *r.runner
	engine, err := run.engines.For(ctx, one.Cluster)
	if err != nil {
		return r.book(ctx, one, err, log)
	}
	account := run.steward.Open(ctx, one.Cluster)
	defer account.Part()
	engine, one.Reason = &tidying{engine, account}, ""
	st := newStage(r.runner.store, r.store, one, run.owner)
	st.account = account
	run.store, run.snapshots, run.log = st, nil, log
	lease := &Lease{RolloutID: one.runID(), TenantID: one.TenantID, Cluster: one.Cluster, Owner: run.owner, Epoch: int64(one.Attempts), Until: asked.Add(ttl)}
	keeper := run.keep(ctx, lease)
	err = r.play(keeper.Context(), &run, engine, st, lease, keeper)
	lost := errors.Is(context.Cause(keeper.Context()), ErrLeaseLost) || errors.Is(err, ErrLeaseLost)
	if err == nil && !lost {
		one.Report.Phase = PhaseRemove
		err = timed(&one.Report, PhaseRemove, func() error { return r.remove(keeper.Context(), engine, one) })
	} else if rerr := r.removeAnyway(ctx, engine, one); rerr != nil {
		log.Warn("what the rehearsal has made is left to the sweep", "error", rerr)
	}
	keeper.Stop()
	if lost {
		log.Warn("rehearsal cancelled, or taken over by another worker")
		return nil
	}
	return r.book(ctx, one, err, log)
}

// removeAnyway removes what an attempt has made although its context has ended.
func (r *Rehearser) removeAnyway(ctx context.Context, engine Engine, one *Rehearsal) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return r.remove(ctx, engine, one)
}

// book stores what came of an attempt.
func (r *Rehearser) book(ctx context.Context, one *Rehearsal, err error, log *slog.Logger) error {
	now := r.runner.now()
	pause := time.Duration(0)
	one.Reason = ""
	var stopped *stoppedError
	switch {
	case err == nil:
		one.State, one.FinishedAt = RehearsalSucceeded, now
	case ctx.Err() != nil:
		one.Reason = "interrupted; another process goes on"
	case errors.As(err, &stopped):
		one.Reason, pause = err.Error(), time.Second
		one.Report.Stopped++
	case outcomeOf(err) == OutcomeFail || one.Attempts-one.Report.Stopped >= maxRehearsalAttempts:
		one.State, one.FinishedAt, one.Reason = RehearsalFailed, now, err.Error()
	default:
		one.Reason, pause = err.Error(), Backoff(one.Attempts+2)
	}
	log.Info("rehearsal turn ended", "state", one.State, "verdict", one.Report.Verdict, "documents", one.Report.Documents, "error", err)
	bctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return r.store.ReleaseRehearsal(bctx, one, r.runner.owner, pause)
}

// stoppedError ends a turn of a rehearsal while everything is to stop.
type stoppedError struct{ stop *budget.Stop }

func (e *stoppedError) Error() string { return e.stop.Sentence() }

// tidying is the engine for what only takes away: it has a place among the
// updates of the cluster's state, and waits for one unless everything is
// stopped.
type tidying struct {
	Engine
	account *budget.Account
}

// DeleteIndices implements Engine.
func (e *tidying) DeleteIndices(ctx context.Context, names ...string) error {
	if e.account.Stopped() != nil {
		defer e.account.CountUpdate()()
		return e.Engine.DeleteIndices(ctx, names...)
	}
	back, err := e.account.TakeUpdate(ctx)
	if err != nil {
		return err
	}
	defer back()
	return e.Engine.DeleteIndices(ctx, names...)
}

// play is the migration. An error means that it could not be carried out; what
// it showed is in the report.
func (r *Rehearser) play(ctx context.Context, run *Runner, engine Engine, st *stage, lease *Lease, k *tenure.Keeper) error {
	one := st.rehearsal
	s, err := r.session(ctx, run, engine, st, lease, k)
	if err != nil {
		return err
	}
	s.guard.account, s.guard.urgent = st.account, s.urgent
	if err := st.account.Resumed(ctx); err != nil { // its row was due, so nothing is stopped any more
		return err
	}
	for _, phase := range []struct {
		name string
		do   func(context.Context) error
	}{
		{PhasePrepare, s.createTargets},
		{PhaseCopy, func(ctx context.Context) error {
			o, err := s.copy(ctx)
			if err != nil || o == OutcomeDone {
				return err
			}
			return fmt.Errorf("copying ended early: %s", o)
		}},
		{PhaseCompare, func(ctx context.Context) error {
			return errors.Join(s.compare(ctx), s.checkSchemas(ctx))
		}},
	} {
		if stop := st.account.Stopped(); stop != nil {
			return &stoppedError{stop}
		}
		one.Report.Phase = phase.name
		if err := r.store.SaveRehearsal(ctx, one, st.owner); err != nil {
			return err
		}
		if err := timed(&one.Report, phase.name, func() error { return phase.do(ctx) }); err != nil {
			stop := st.account.Stopped()
			switch {
			case ctx.Err() == nil && stop != nil:
				return &stoppedError{stop}
			case ctx.Err() != nil || outcomeOf(err) != OutcomeFail:
				return err
			}
			one.Report.Problems = append(one.Report.Problems, tidied(err.Error(), one))
			break // the tenant would fail here
		}
	}
	s.sumUp(one, st)
	return nil
}

// session is a turn on a tenant whose targets are the rehearsal's own.
func (r *Rehearser) session(ctx context.Context, run *Runner, engine Engine, st *stage, lease *Lease, k *tenure.Keeper) (*session, error) {
	one := st.rehearsal
	fleet, err := run.store.Fleet(ctx, []string{one.TenantID})
	if err != nil {
		return nil, err
	}
	if len(fleet) == 0 {
		return nil, failf("tenant %s is not registered any more", one.TenantID)
	}
	l, err := newLayout(run.catalogue, fleet[0].Release, one.ToRelease)
	if err != nil {
		return nil, failf("%v", err)
	}
	l.shadow = one.shadow()
	view, err := lookAt(ctx, engine, fleet[0].Naming(), l.from.Prefix, l.from.Prefix)
	if err != nil {
		return nil, err
	}
	tp := planTenant(l, fleet[0].Naming(), view, st.rollout.CreatedAt, st.rollout.Options)
	if len(tp.refusals) > 0 {
		return nil, failf("%s", Wording("", "it cannot be carried out", "", tp.refusals))
	}
	part := sampleOf(engine, view.OldStats, one.Sample)
	guarded := newLeasedEngine(part, k, lease)
	s := run.session(lease, k, guarded)
	guarded.targets, guarded.epoch = func(index string) bool { return s.moveTo(index) != nil }, lease.Epoch
	s.rollout, s.l, s.aside = st.rollout, l, newQuarantine(nil)
	s.t = &RolloutTenant{RolloutID: lease.RolloutID, TenantID: one.TenantID, FromRelease: l.from.Version, State: TenantPlanned, SwitchAllowed: true, ByMethod: map[Method]int{}, Record: TenantRecord{AdoptedFrom: fleet[0].AdoptedFrom}}
	one.Report = RehearsalReport{
		FromRelease: l.from.Version, Path: l.versions(), Digests: l.digests(), Refusals: one.Report.Refusals, Notes: tp.Notes, Stopped: one.Report.Stopped,
		ByMethod: map[Method]int{}, Seconds: map[string]float64{}, Shards: tp.Shards, Indices: len(tp.Moves), Total: tp.Footprint.Docs,
	}
	moves := BeginMoves(tp.Moves)
	for i := range moves {
		m := &moves[i]
		one.Report.ByMethod[m.Method]++
		s.rehearse(m, part)
		s.moves = append(s.moves, m)
		for _, c := range m.Copies {
			if !c.Foreign {
				one.Report.Bytes += c.Bytes
			}
		}
	}
	s.t.Indices, st.tenant = len(s.moves), *s.t
	return s, nil
}

// rehearse adapts a move: clones would refuse writes of the tenant, and samples
// are no work for the engine's copy task, which knows no sequence numbers.
func (s *session) rehearse(m *Move, part *sampled) {
	if m.Method == MethodClone {
		m.Method, m.Light = MethodReindex, m.docs() <= lightDocs
	}
	for i := range m.Copies {
		if c := &m.Copies[i]; part.docs[c.Source] > 0 {
			c.State = CopyStreaming
		}
	}
	s.t.ByMethod[m.Method]++
}

// sumUp fills in what a rehearsal has shown.
func (s *session) sumUp(one *Rehearsal, st *stage) {
	r := &one.Report
	r.Documents, r.Compared = 0, 0
	for _, m := range s.moves {
		r.Compared += m.Documents
		for _, c := range m.Copies {
			r.Documents += c.Copied
		}
	}
	r.Findings, r.Quarantined = st.findings(), s.aside.counting()
	r.Notes = append(r.Notes, s.t.Record.Notes...)
	if r.Verdict = VerdictEqual; len(r.Problems) > 0 {
		r.Verdict = VerdictFails
	}
	// The copy of a sample takes as long as that of its documents; targets and
	// the fence cost the same for any number.
	scale := 1.0
	if r.Documents > 0 && r.Total > r.Documents {
		scale = float64(r.Total) / float64(r.Documents)
	}
	r.Estimate = r.Seconds[PhasePrepare] + scale*(r.Seconds[PhaseCopy]+r.Seconds[PhaseCompare])
}

func timed(r *RehearsalReport, phase string, do func() error) error {
	began := time.Now()
	err := do()
	r.Seconds[phase] = time.Since(began).Seconds()
	return err
}

// remove deletes everything that any attempt up to this one has made.
func (r *Rehearser) remove(ctx context.Context, engine Engine, one *Rehearsal) error {
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	there, err := engine.Indices(ctx, shadowPrefix+one.ID+"-*")
	if err != nil {
		return err
	}
	one.Report.Removed, err = drop(ctx, engine, there, func(id string, attempt int) bool { return id == one.ID && attempt <= one.Attempts })
	return err
}

// Sweep removes what rehearsals have left that nobody works on any more: their
// process has died. It returns how many indices these were.
func (r *Rehearser) Sweep(ctx context.Context) (int, error) {
	clusters, err := r.store.RehearsalClusters(ctx)
	if err != nil {
		return 0, err
	}
	sum := 0
	var failures []error
	for _, cluster := range clusters {
		n, err := r.sweep(ctx, cluster)
		if err != nil {
			failures = append(failures, fmt.Errorf("cluster %s: %w", cluster, err))
		}
		if sum += n; n > 0 {
			r.runner.log.Warn("removed what rehearsals had left", "cluster", cluster, "indices", n)
		}
	}
	return sum, errors.Join(failures...)
}

func (r *Rehearser) sweep(ctx context.Context, cluster string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	engine, err := r.runner.engines.For(ctx, cluster)
	if err != nil {
		return 0, err
	}
	// First the indices, then who lives: an attempt makes indices only after it
	// was claimed.
	there, err := engine.Indices(ctx, shadowPrefix+"*")
	if err != nil || len(there) == 0 {
		return 0, err
	}
	account := r.runner.steward.Open(ctx, cluster)
	defer account.Part()
	ids := map[string]bool{}
	for _, ix := range there {
		if id, _, ok := rehearsalOf(ix.Name); ok {
			ids[id] = true
		}
	}
	live, err := r.store.LiveAttempts(ctx, sortedKeys(ids))
	if err != nil {
		return 0, err
	}
	// Unknown ones belong to another TMS on the same cluster.
	return drop(ctx, &tidying{engine, account}, there, func(id string, attempt int) bool {
		now, known := live[id]
		return known && (now == 0 || attempt < now)
	})
}

// drop deletes indices by their exact names, and ends the copies into them.
func drop(ctx context.Context, engine Engine, there []Index, chosen func(id string, attempt int) bool) (int, error) {
	runs := map[string]bool{}
	var names []string
	for _, ix := range there {
		id, attempt, ok := rehearsalOf(ix.Name)
		if ok && chosen(id, attempt) {
			runs[(&Rehearsal{ID: id, Attempts: attempt}).runID()] = true
			names = append(names, ix.Name)
		}
	}
	for _, run := range slices.Sorted(maps.Keys(runs)) {
		tasks, err := engine.ReindexTasks(ctx, "tms:"+run+":")
		if err != nil {
			return 0, err
		}
		for _, t := range tasks {
			if err := engine.CancelTask(ctx, t.ID); err != nil {
				return 0, err
			}
		}
	}
	for some := range slices.Chunk(names, removeBatch) {
		if err := engine.DeleteIndices(ctx, some...); err != nil {
			return 0, err
		}
	}
	return len(names), nil
}

// realName is the name that a target would have in an upgrade.
func realName(target string) string {
	return shadowed.ReplaceAllString(target, "")
}

// advice about repairing belongs to a rollout, not to a rehearsal.
var advice = regexp.MustCompile(`; (see )?.tms upgrade (repair|quarantine|retry)[^;]*$`)

// tidied names targets as an upgrade would, and leaves out what only helps
// there.
func tidied(text string, one *Rehearsal) string {
	return advice.ReplaceAllString(strings.ReplaceAll(text, one.shadow(), ""), "")
}

// particular is what differs between the reasons of alike documents: quoted
// values and numbers.
var particular = regexp.MustCompile(`'[^']*'|"[^"]*"|\[[^\]]*\]|\d+`)

func kindOfReason(reason string) string {
	short := particular.ReplaceAllString(reason, "…")
	return short[:min(len(short), 200)]
}

// mostFrequent lists findings, those of most documents first.
func mostFrequent(sum map[[2]string]*Finding, most int) []Finding {
	out := make([]Finding, 0, len(sum))
	for _, f := range sum {
		out = append(out, *f)
	}
	slices.SortFunc(out, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Kind, b.Kind), strings.Compare(a.Reason, b.Reason))
	})
	return out[:min(len(out), most)]
}

// RehearsalDigests are the digests that a rehearsal of this way would have now.
func RehearsalDigests(c *releases.Catalogue, from, to string) ([]string, error) {
	l, err := newLayout(c, from, to)
	if err != nil {
		return nil, err
	}
	return l.digests(), nil
}
