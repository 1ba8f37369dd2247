package backups

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/tracardi/tms/upgrader"
)

// How runs are worked on.
const (
	// LeaseTTL is how long a dead worker's run stays unattended.
	LeaseTTL = 6 * time.Second
	// MaxAttempts at one state before the run fails: with the pauses between
	// them some fifteen minutes, longer than a restart of a cluster.
	MaxAttempts = 40
	maxPause    = 30 * time.Second
	firstPause  = 250 * time.Millisecond
	// maxStarts is how often the engine is asked for the same snapshot or
	// restore after it has forgotten it.
	maxStarts = 4
	// pollMin and pollMax bound the pause between looks at the engine's work.
	pollMin = 100 * time.Millisecond
	pollMax = 2 * time.Second
	// orphanGrace is how long primaries may be unassigned for another reason
	// than the restore before it is begun again: after a restart the engine
	// first looks for what is on its disks.
	orphanGrace = 15 * time.Second
)

// Runner carries out runs. One Runner serves a process; Work may be called
// concurrently for different runs.
type Runner struct {
	store     Store
	engine    Engine
	engines   Engines // nil: there is one cluster
	catalogue Catalogue
	owner     string
	log       *slog.Logger
	now       func() time.Time
}

// NewRunner wires a Runner; owner names the process in leases.
func NewRunner(store Store, engine Engine, c Catalogue, owner string, log *slog.Logger) *Runner {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Runner{store: store, engine: engine, catalogue: c, owner: owner, log: log, now: time.Now}
}

// Work acquires a run and works on it until it ends, has to wait, or ctx ends.
// A run that somebody else works on is no error.
func (r *Runner) Work(ctx context.Context, id string) error {
	lease, err := r.store.Acquire(ctx, id, r.owner, LeaseTTL)
	if errors.Is(err, ErrConflict) || errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	engine, err := r.engineOf(ctx, id)
	if err != nil {
		free, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		return errors.Join(err, r.store.Release(free, lease, r.now().Add(pollMax)))
	}
	k := keep(ctx, r.store, lease, LeaseTTL)
	s := &session{r: r, lease: lease, engine: &leasedEngine{Engine: engine, keeper: k}, log: r.log.With("run", id, "epoch", lease.Epoch)}
	next, err := s.work(k.Context())
	k.Stop()
	if errors.Is(context.Cause(k.Context()), ErrLeaseLost) || errors.Is(err, ErrLeaseLost) {
		r.log.Warn("run taken over by another worker", "run", id)
		return nil
	}
	// The lease goes back even when ctx has ended, so that another process
	// need not wait for it to expire.
	free, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	return errors.Join(err, r.store.Release(free, lease, next))
}

// session is one worker's turn on one run.
type session struct {
	r      *Runner
	lease  *Lease
	engine Engine
	run    *Run
	log    *slog.Logger
}

// move is the outcome of a step: the state it leads to, or "" to stay and look
// again after a pause.
type move struct {
	to    State
	pause time.Duration
}

func to(s State) (move, error) { return move{to: s}, nil }

func (s *session) work(ctx context.Context) (next time.Time, err error) {
	if s.run, err = s.r.store.Run(ctx, s.lease.Run); err != nil {
		return s.r.now(), err
	}
	for !s.run.State.Ended() {
		m, err := s.step(ctx)
		if ctx.Err() != nil {
			return s.r.now(), context.Cause(ctx)
		}
		if errors.Is(err, ErrLeaseLost) {
			return s.r.now(), err
		}
		if errors.Is(err, ErrConflict) { // a command came between
			return s.r.now(), nil
		}
		pause, err := s.book(ctx, m, err)
		if errors.Is(err, ErrConflict) {
			return s.r.now(), nil
		}
		if err != nil || pause > 0 {
			return s.r.now().Add(pause), err
		}
	}
	return s.r.now(), nil
}

// step does what the run's state asks for.
func (s *session) step(ctx context.Context) (move, error) {
	steps := snapshotSteps
	if s.run.Kind == RunRestore {
		steps = restoreSteps
	}
	do, ok := steps[s.run.State]
	if !ok {
		return move{}, failf("state %q is unknown", s.run.State)
	}
	return do(s, ctx)
}

// What each state asks for.
var (
	snapshotSteps = map[State]func(*session, context.Context) (move, error){
		StatePlanned:   (*session).record,
		StatePrepared:  (*session).start,
		StateRunning:   (*session).follow,
		StateVerifying: (*session).settle,
		StateDeleting:  (*session).deleteSnapshot,
	}
	restoreSteps = map[State]func(*session, context.Context) (move, error){
		StatePlanned:    (*session).planAgain,
		StateRehearsing: (*session).rehearse,
		StateFenced:     (*session).clearWay,
		StateRunning:    (*session).restore,
		StateVerifying:  (*session).prove,
		StateDeleting:   (*session).removeBeside,
	}
)

// book brings the run's row up to date after a step, and says how long to
// pause.
func (s *session) book(ctx context.Context, m move, err error) (time.Duration, error) {
	before := s.run.State
	var pause time.Duration
	switch {
	case err == nil && m.to != "":
		s.run.State, s.run.Attempts, s.run.Reason = m.to, 0, s.endReason(m.to)
		if m.to == StatePartial || m.to == StateFailed {
			s.tidy(ctx)
		}
	case err == nil:
		s.run.Attempts, pause = 0, max(m.pause, pollMin)
	case errors.Is(err, ErrBusy):
		// Somebody else's work on the repository: patience, not attempts.
		s.run.Reason, pause = err.Error(), pollMax
	case lasting(err) || s.run.Attempts+1 >= MaxAttempts:
		s.fail(ctx, err)
	default:
		s.run.Attempts++
		s.run.Reason, pause = err.Error(), backoff(s.run.Attempts)
	}
	if s.run.State.Ended() && s.run.FinishedAt.IsZero() {
		s.run.FinishedAt = s.r.now()
	}
	if before != s.run.State || err != nil {
		s.log.Info("backup step", "from", before, "to", s.run.State, "error", err)
	}
	if s.run.State == StateSuccess && before == StateVerifying && s.wholeTenant() {
		return pause, s.r.store.MarkRestored(ctx, s.lease, s.run, s.run.Restore.Plan.ToRelease)
	}
	return pause, s.r.store.SaveRun(ctx, s.lease, s.run)
}

// wholeTenant says whether the registry's release follows from this run.
func (s *session) wholeTenant() bool {
	return s.run.Kind == RunRestore && s.run.Restore.Beside == "" && len(s.run.Restore.Resources) == 0
}

// endReason keeps the reason of a run that did not end well.
func (s *session) endReason(to State) string {
	if to == StatePartial || to == StateFailed {
		return s.run.Reason
	}
	return ""
}

// fail ends the run; what a restore has fenced is opened again.
func (s *session) fail(ctx context.Context, err error) {
	s.run.Reason = err.Error()
	if s.run.Kind == RunRestore && s.run.State == StateFenced {
		if uerr := s.reopen(ctx); uerr != nil {
			// Somebody's writes are refused: it is not over yet.
			s.run.Attempts, s.run.Reason = MaxAttempts-2, errors.Join(err, uerr).Error()
			return
		}
	}
	s.tidy(ctx)
	s.run.State = StateFailed
}

// tidy removes what a failed run alone has made. What cannot be removed now is
// named to the operator.
func (s *session) tidy(ctx context.Context) {
	var names []string
	switch r := s.run.Restore; {
	case s.run.Kind == RunSnapshot:
		names = []string{ManifestIndex(s.run.ID)}
	case s.run.State == StateRehearsing:
		names = s.names(s.run.ID)
	case r.Remove:
		names = s.names(r.Beside)
	}
	if len(names) == 0 {
		return
	}
	if err := s.engine.DeleteIndices(ctx, names...); err != nil {
		s.run.Notes = append(s.run.Notes, "not removed: "+names[0]+": "+err.Error())
	}
}

// lasting says that time does not heal an error.
func lasting(err error) bool {
	var f *failure
	var e *upgrader.EngineError
	var known *Error
	switch {
	case errors.As(err, &f), errors.As(err, &known):
		return true
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrExists):
		return false
	case errors.As(err, &e):
		return !e.Retryable() && e.Type != "snapshot_restore_exception"
	}
	return false
}

// backoff grows from a quarter of a second to half a minute.
func backoff(attempts int) time.Duration {
	return min(firstPause<<min(attempts, 10), maxPause)
}

// pause sleeps between two looks; it grows with the time already waited.
func (s *session) pauseFor(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// save stores progress in the middle of a step; ErrConflict when a command has
// changed the run meanwhile.
func (s *session) save(ctx context.Context) error {
	return s.r.store.SaveRun(ctx, s.lease, s.run)
}
