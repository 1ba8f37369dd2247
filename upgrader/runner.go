package upgrader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader/budget"
	"github.com/tracardi/tms/upgrader/tenure"
)

// Limits of one worker. The zero value of a field means its default.
type Limits struct {
	// LeaseTTL is how long a dead worker's tenant stays unattended.
	LeaseTTL time.Duration
	// Creates is the number of index creations, or of changes to templates,
	// that one tenant has in flight: the engine's master does some 25 a second
	// however many are asked for.
	Creates int
	// Tasks is the number of engine copy tasks of one tenant in flight.
	Tasks int
	// Streams is the number of small copies of one tenant in flight.
	Streams int
	// StreamDocs is the number of documents up to which a copy goes through
	// TMS instead of an engine task: for few documents the task's bookkeeping
	// (an entry in .tasks, polling) costs more than the documents.
	StreamDocs int64
	// Poll is the longest pause between looks at a running task.
	Poll time.Duration
	// Stall is how long a copy task may copy nothing before it is cancelled
	// and started again.
	Stall time.Duration
	// Tenants is the number of tenants that one process works on at once; the
	// rollout's own limit is over all processes.
	Tenants int
	// QuarantineDocs is the number of documents that a rollout may keep aside,
	// QuarantineBytes the size of each.
	QuarantineDocs, QuarantineBytes int
}

// Defaults of Limits: where more did not make an upgrade faster on two cores
// (see docs/benchmarks.md). Streams mostly wait for new shards to start.
const (
	DefaultCreates = 16
	DefaultTasks   = 3
	DefaultStreams = 16
)

func (l Limits) withDefaults() Limits {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&l.Creates, DefaultCreates)
	def(&l.Tasks, DefaultTasks)
	def(&l.Streams, DefaultStreams)
	def(&l.Tenants, DefaultTenants)
	def(&l.QuarantineDocs, MaxQuarantinePerRollout)
	def(&l.QuarantineBytes, MaxQuarantinedBytes)
	if l.LeaseTTL == 0 {
		l.LeaseTTL = 6 * time.Second
	}
	if l.StreamDocs == 0 {
		l.StreamDocs = 2_000
	}
	if l.Poll == 0 {
		l.Poll = time.Second
	}
	if l.Stall == 0 {
		l.Stall = DefaultStall
	}
	return l
}

// DefaultTenants is the number of tenants that one process works on at once:
// as many as a rollout may have in flight.
const DefaultTenants = MaxMaxTenants

// lightDocs is the number of documents up to which a target is created with
// its final settings: restoring relaxed ones costs a cluster-state update.
const lightDocs = 20_000

// Runner carries out steps. One Runner serves a process; Work may be called
// concurrently for different tenants.
type Runner struct {
	store     Store
	engines   Engines
	catalogue *releases.Catalogue
	owner     string
	snapshots Snapshots       // nil: no rollout waits for any
	steward   *budget.Steward // nil: nothing is limited
	seeds     *nurseries      // nil: targets are created one by one
	gates     GateSources
	tried     *attempts
	limits    Limits
	log       *slog.Logger
	now       func() time.Time
	calendar  func() time.Time // that windows and soak times go by
	room      *roomReader
}

// NewRunner wires a Runner whose tenants all live in one cluster, unless
// WithEngines says more; owner names the process in leases.
func NewRunner(store Store, engine Engine, c *releases.Catalogue, owner string, limits Limits, log *slog.Logger) *Runner {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Runner{store: store, engines: Only(engine), catalogue: c, owner: owner, limits: limits.withDefaults(), log: log, now: time.Now, calendar: time.Now, room: &roomReader{}, tried: &attempts{}}
}

// Tenants is the number of tenants that it works on at once.
func (r *Runner) Tenants() int { return r.limits.Tenants }

// Work acquires a tenant of a rollout and works on it until it has nothing to
// do, has to wait, or ctx ends. A tenant that somebody else works on is no
// error.
func (r *Runner) Work(ctx context.Context, rollout, tenant string) error {
	lease, err := r.store.Acquire(ctx, rollout, tenant, r.owner, r.limits.LeaseTTL)
	if errors.Is(err, ErrConflict) || errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	engine, err := r.engines.For(ctx, lease.Cluster)
	if err != nil {
		return r.turnAway(ctx, lease, err)
	}
	keeper := r.keep(ctx, lease)
	guarded := newLeasedEngine(engine, keeper, lease)
	s := r.session(lease, keeper, guarded)
	defer s.budgeted(ctx)()
	next, err := s.run(keeper.Context())
	keeper.Stop()
	if errors.Is(context.Cause(keeper.Context()), ErrLeaseLost) || errors.Is(err, ErrLeaseLost) {
		r.log.Warn("tenant taken over by another worker", "rollout", rollout, "tenant", tenant)
		return nil
	}
	// The lease goes back even when ctx has ended, so that another process
	// need not wait for it to expire.
	rctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	commands := int64(-1)
	if s.t != nil {
		commands = s.t.Commands
	}
	// Whom this owner has taken over from without getting so far as to fence
	// them off is left to the next one.
	unclean := guarded.unanswered.Load() || lease.Takeover && !guarded.alone
	return errors.Join(err, r.store.Release(rctx, lease, next, commands, unclean))
}

// turnAway gives a tenant back whose cluster cannot be found, and says why in
// its row.
func (r *Runner) turnAway(ctx context.Context, lease *Lease, cause error) error {
	next := r.now().Add(holdPause)
	_, t, err := r.store.Load(ctx, lease.RolloutID, lease.TenantID)
	if err == nil {
		t.Reason, t.NextAt = "cluster "+lease.Cluster+": "+cause.Error(), next
		err = r.store.SaveTenant(ctx, lease, t)
	}
	r.log.Warn("cluster of a tenant not found", "rollout", lease.RolloutID, "tenant", lease.TenantID, "cluster", lease.Cluster, "error", cause)
	rctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	return errors.Join(err, r.store.Release(rctx, lease, next, -1, lease.Takeover))
}

// session begins a turn on what a lease is for.
func (r *Runner) session(l *Lease, k *tenure.Keeper, guarded *leasedEngine) *session {
	return &session{
		r: r, lease: l, keeper: k, guard: guarded, engine: guarded, nursery: r.seeds.of(l.Cluster, guarded.Engine),
		hot: map[string]bool{}, swept: map[string][]string{}, open: map[string]bool{}, wrote: map[string]int64{},
		log: r.log.With("rollout", l.RolloutID, "tenant", l.TenantID, "epoch", l.Epoch),
	}
}

// failure is an error that time does not heal.
type failure struct {
	message   string
	retriable bool // `tms upgrade retry` may help after the remedy
}

func (f *failure) Error() string { return f.message }

func failf(format string, args ...any) error {
	return &failure{message: fmt.Sprintf(format, args...), retriable: true}
}

// outcomeOf sorts an error into what it means for the tenant.
func outcomeOf(err error) Outcome {
	var f *failure
	var e *EngineError
	switch {
	case err == nil:
		return OutcomeDone
	case errors.As(err, &f):
		return OutcomeFail
	case errors.As(err, &e) && !e.Retryable():
		return OutcomeFail
	}
	return OutcomeRetry
}

// WithSteward has a runner keep to the budgets of the clusters.
func (r *Runner) WithSteward(s *budget.Steward) *Runner {
	r.steward = s
	return r
}
