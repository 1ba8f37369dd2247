package upgrader

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader/budget"
	"github.com/tracardi/tms/upgrader/strategy"
)

// Reason is the machine-readable cause of a ServiceError.
type Reason string

// Reasons.
const (
	ReasonInvalid       Reason = "INVALID"           // a field is wrong
	ReasonNotFound      Reason = "ROLLOUT_NOT_FOUND" // no such rollout, or no such tenant in it
	ReasonRefused       Reason = "ROLLOUT_REFUSED"   // preconditions not met: see Refusals
	ReasonRequestReused Reason = "REQUEST_ID_REUSED" // see Request.RequestID
	ReasonWrongState    Reason = "WRONG_STATE"       // the command makes no sense now
	ReasonUnavailable   Reason = "UNAVAILABLE"       // search engine or database not reachable
)

// ServiceError is every error that Service returns on purpose.
type ServiceError struct {
	Reason   Reason
	Field    string
	Message  string // says what, with the value
	Remedy   string
	Refusals []Refusal
	Err      error
}

func (e *ServiceError) Error() string {
	return Wording(e.Field, e.Message, e.Remedy, e.Refusals)
}

// Wording is the text of an error that tells the field, what is wrong with it,
// all that stands in the way, each with its remedy, and the remedy of the whole;
// every part but message may be empty.
func Wording(field, message, remedy string, refusals []Refusal) string {
	s := message
	if field != "" {
		s = field + ": " + s
	}
	for _, r := range refusals {
		s += "; "
		if r.TenantID != "" {
			s += "tenant " + r.TenantID + ": "
		}
		s += r.Message
		if r.Remedy != "" {
			s += " (" + r.Remedy + ")"
		}
	}
	if remedy != "" {
		s += " (" + remedy + ")"
	}
	return s
}

func (e *ServiceError) Unwrap() error { return e.Err }

// Service is what operators ask for. It is safe for concurrent use; every
// command changes rows and returns, workers do the rest.
type Service struct {
	budgets    budget.Store // nil: nothing is slowed or stopped
	store      Store
	engines    Engines
	clusters   ClusterNames // nil: the default one only
	catalogue  *releases.Catalogue
	snapshots  Snapshots      // nil: none are taken
	rates      Rates          // nil: plans do not tell how long it takes, nor of disk
	rehearsals RehearsalStore // nil: there are none
	paces      Paces          // nil: nobody asks for progress
	seeds      string         // see WithSeeds; "" for none
	stall      time.Duration  // without a step, after which a tenant is said to be stalled
	gates      GateSources
	now        func() time.Time
	accepted   acceptance
}

// NewService wires a Service whose tenants all live in one cluster, unless
// WithEngines says more. now may be nil.
func NewService(store Store, engine Engine, catalogue *releases.Catalogue, now func() time.Time) *Service {
	if now == nil {
		now = time.Now
	}
	return &Service{store: store, engines: Only(engine), catalogue: catalogue, now: now}
}

// Request asks for a plan or a rollout.
type Request struct {
	ToRelease string
	Options   Options
	// RequestID makes Start idempotent: a second start with the same id
	// returns the first one's rollout, or ReasonRequestReused when it asks for
	// something else. Optional.
	RequestID string
	Caller    string

	rehearsal bool // rollouts that the tenants are in do not matter
}

func (r Request) validate() error {
	o := r.Options
	switch {
	case r.ToRelease == "":
		return &ServiceError{Reason: ReasonInvalid, Field: "to_release", Message: "is empty", Remedy: "name a release, see `tms release list`"}
	case o.Verify != VerifyCount && o.Verify != VerifySample && o.Verify != VerifyFull:
		return &ServiceError{Reason: ReasonInvalid, Field: "options.verify", Message: fmt.Sprintf("%q is not a level", o.Verify), Remedy: "use count, sample or full"}
	case o.Snapshot != "" && o.Snapshot != SnapshotBefore:
		return &ServiceError{Reason: ReasonInvalid, Field: "options.snapshot", Message: fmt.Sprintf("%q is unknown", o.Snapshot), Remedy: "use before, or leave it out"}
	case o.AllowQuarantine < 0 || o.AllowQuarantine > MaxQuarantine:
		return &ServiceError{Reason: ReasonInvalid, Field: "options.allow_quarantine", Message: fmt.Sprintf("%d is outside 0..%d", o.AllowQuarantine, MaxQuarantine), Remedy: "give a number of documents per tenant"}
	case o.MaxTenants < 1 || o.MaxTenants > MaxMaxTenants:
		return &ServiceError{Reason: ReasonInvalid, Field: "options.max_tenants", Message: fmt.Sprintf("%d is outside 1..%d", o.MaxTenants, MaxMaxTenants), Remedy: "give a number of tenants in flight"}
	case o.FinalizeAfter != 0 && (o.FinalizeAfter < strategy.MinFinalizeAfter || o.FinalizeAfter > strategy.MaxFinalizeAfter):
		return invalidRetention("options.finalize_after", o.FinalizeAfter)
	case o.FenceTimeout < 100*time.Millisecond || o.FenceTimeout > 10*time.Minute:
		return &ServiceError{Reason: ReasonInvalid, Field: "options.fence_timeout", Message: fmt.Sprintf("%s is outside 100ms..10m", o.FenceTimeout), Remedy: "give the longest time in which writes may be refused"}
	}
	return nil
}

// Plan computes what a rollout would do, refusals included; it writes nothing.
func (s *Service) Plan(ctx context.Context, req Request) (*Plan, error) {
	req.Options = req.Options.WithDefaults()
	if err := req.validate(); err != nil {
		return nil, err
	}
	target, err := s.catalogue.Get(req.ToRelease)
	if err != nil {
		return nil, &ServiceError{Reason: ReasonInvalid, Field: "to_release", Message: err.Error(), Remedy: "see `tms release list`", Err: err}
	}
	if err := checkMethods(req.Options.Methods, target); err != nil {
		return nil, err
	}
	if err := s.checkStrategy(req.Options); err != nil {
		return nil, err
	}
	fleet, err := s.store.Fleet(ctx, req.Options.Tenants)
	if err != nil {
		return nil, err
	}
	if req.rehearsal { // a tenant that waits in a rollout may be waiting for this
		for i := range fleet {
			fleet[i].ActiveRollout = ""
		}
	}
	p := newPlanner(s.catalogue, target, req.Options, ClusterView{Now: s.now()})
	p.plan.ToRelease = req.ToRelease // perhaps a later one of the same structure
	if fleet, err = s.inClusters(ctx, p, fleet); err != nil {
		return nil, err
	}
	fleet = p.except(fleet)
	p.fleet(fleet)
	if len(req.Options.Tenants) == 0 {
		p.plan.Behind = p.behind()
	}
	plan, err := s.planClusters(ctx, p, fleet)
	if err != nil {
		return nil, err
	}
	p.waves(fleet)
	p.total()
	if err := s.refuseSnapshots(ctx, plan); err != nil {
		return nil, err
	}
	return plan, s.refuseStopped(ctx, plan)
}

// Start plans and, when nothing is refused, stores the rollout and wakes the
// workers. Refusals come back as a ServiceError with ReasonRefused and leave
// nothing behind.
func (s *Service) Start(ctx context.Context, req Request) (*Rollout, error) {
	if r, err := s.repeated(ctx, req); r != nil || err != nil {
		return r, err
	}
	plan, err := s.Plan(ctx, req)
	if err != nil {
		return nil, err
	}
	if len(plan.Refusals) > 0 {
		return nil, &ServiceError{Reason: ReasonRefused, Message: fmt.Sprintf("the rollout to %s cannot start", req.ToRelease), Refusals: plan.Refusals}
	}
	now := s.now()
	r := &Rollout{
		ID: newRolloutID(now), ToRelease: plan.ToRelease, Options: plan.Options,
		State: RolloutRunning, Wish: WishRun, CreatedBy: req.Caller, CreatedAt: now, Waves: plan.Waves, Behind: plan.Behind,
	}
	moves := map[string][]PlannedMove{}
	for _, t := range plan.Excepted {
		r.Tenants = append(r.Tenants, exceptedTenant(r, t, now))
	}
	for _, tp := range plan.Tenants {
		r.Tenants = append(r.Tenants, newRolloutTenant(r, tp, now))
		moves[tp.TenantID] = tp.Moves
	}
	r.State, r.FinishedAt = settle(r, now)
	r.Claims, r.Retention = plan.claims(r.CreatedBy), newRetention(r)
	if err := s.beginSnapshot(ctx, r, plan); err != nil {
		return nil, err
	}
	if err := s.store.CreateRollout(ctx, r, moves, req.RequestID); err != nil {
		// The same call may have been made twice at once; one of them won.
		if first, again := s.repeated(ctx, req); first != nil || again != nil {
			return first, again
		}
		return nil, err
	}
	return s.Get(ctx, r.ID)
}

func newRolloutTenant(r *Rollout, tp TenantPlan, now time.Time) RolloutTenant {
	t := RolloutTenant{
		RolloutID: r.ID, TenantID: tp.TenantID, FromRelease: tp.FromRelease,
		State: TenantPlanned, SwitchAllowed: !r.Options.HoldSwitch, NextAt: now,
		Indices: len(tp.Moves), ByMethod: map[Method]int{}, Record: tp.Record,
		Wave: tp.Wave, Position: tp.Position, Waiting: len(tp.Path) > 1, NeedShards: tp.Shards, NeedBytes: tp.Footprint.Bytes,
	}
	t.Record.Notes = tp.Notes
	for _, m := range tp.Moves {
		t.ByMethod[m.Method]++
		for _, c := range m.Copies {
			if !c.Foreign {
				t.DocsTotal += c.Docs
				t.Record.Bytes += c.Bytes
			}
		}
	}
	if len(tp.Path) == 1 {
		t.State, t.Reason = TenantSwitched, "already on "+tp.FromRelease
		t.StartedAt, t.FinishedAt = now, now
		t.Proof = &Proof{Level: r.Options.Verify, Verdict: "nothing to do", TakenAt: now}
	}
	return t
}

// settle gives state and end of a rollout from those of its tenants.
func settle(r *Rollout, now time.Time) (RolloutState, time.Time) {
	s := Summarize(r.Wish, r.Tenants)
	if s == RolloutComplete && len(r.Missing) > 0 {
		s = RolloutFailed
	}
	if s.Ended() && r.owesDeletion() {
		s = underWay(r.Wish)
	}
	if s.Ended() {
		return s, now
	}
	return s, time.Time{}
}

func newRolloutID(now time.Time) string {
	return "r" + strings.ToLower(ulid.MustNew(ulid.Timestamp(now), ulid.DefaultEntropy()).String())
}

// Get returns a rollout with its tenants.
func (s *Service) Get(ctx context.Context, id string) (*Rollout, error) {
	r, err := s.store.Rollout(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return nil, &ServiceError{Reason: ReasonNotFound, Field: "rollout", Message: fmt.Sprintf("%q does not exist", id), Remedy: "see `tms upgrade list`", Err: err}
	}
	if err != nil {
		return nil, err
	}
	return r, s.explain(ctx, r)
}

// List returns rollouts, newest first, without their tenants' moves.
func (s *Service) List(ctx context.Context, f RolloutFilter) ([]*Rollout, error) {
	if err := s.knowClusters(ctx, f.Clusters); err != nil {
		return nil, err
	}
	return s.store.Rollouts(ctx, f)
}

// Moves returns the moves of one tenant, sorted by target.
func (s *Service) Moves(ctx context.Context, rollout, tenant string) ([]Move, error) {
	return s.store.Moves(ctx, rollout, tenant)
}

// Quarantine lists quarantined documents of a rollout, all tenants when
// tenant is "", after the cursor (the last one's index and id).
func (s *Service) Quarantine(ctx context.Context, f QuarantineFilter) ([]Quarantined, error) {
	if _, err := s.Get(ctx, f.RolloutID); err != nil {
		return nil, err
	}
	return s.store.Quarantine(ctx, f)
}

// Command is a change to a running rollout. It is idempotent: asking for what
// already is returns the rollout unchanged.
type Command struct {
	RolloutID string
	// Tenants narrows the command; empty means all of the rollout.
	Tenants []string
	Caller  string
	// AllowQuarantine, with Retry: the new limit; nil keeps the old one.
	AllowQuarantine *int
	// WithoutSnapshot, with Finalize, waives the snapshot of the old version.
	// It is in the audit trail.
	WithoutSnapshot bool
	// Wave narrows the command to one wave; 0 means all.
	Wave int
	// Reason, with Skip, says why.
	Reason string
	// Undo, with Cancel, also rolls back what is switched.
	Undo bool
	// Set, with Set, is what changes.
	Set Settings
}

// Pause lets running copies go on and starts nothing new; no tenant is left
// fenced.
func (s *Service) Pause(ctx context.Context, c Command) (*Rollout, error) {
	return s.command(ctx, "pause", c)
}

// Resume undoes Pause.
func (s *Service) Resume(ctx context.Context, c Command) (*Rollout, error) {
	return s.command(ctx, "resume", c)
}

// Cancel ends the rollout: what is not switched is undone, what is stays.
func (s *Service) Cancel(ctx context.Context, c Command) (*Rollout, error) {
	return s.command(ctx, "cancel", c)
}

// Retry lets failed tenants go on from where they stood.
func (s *Service) Retry(ctx context.Context, c Command) (*Rollout, error) {
	return s.command(ctx, "retry", c)
}

// Switch lets held tenants pass.
func (s *Service) Switch(ctx context.Context, c Command) (*Rollout, error) {
	return s.command(ctx, "switch", c)
}

// Rollback returns switched tenants to the old release.
func (s *Service) Rollback(ctx context.Context, c Command) (*Rollout, error) {
	return s.command(ctx, "rollback", c)
}

// Finalize deletes the old version of switched tenants, by exact names.
func (s *Service) Finalize(ctx context.Context, c Command) (*Rollout, error) {
	if err := s.requireSnapshots(ctx, c); err != nil {
		return nil, err
	}
	return s.command(ctx, "finalize", c)
}

func (s *Service) command(ctx context.Context, name string, c Command) (*Rollout, error) {
	if c.AllowQuarantine != nil && (*c.AllowQuarantine < 0 || *c.AllowQuarantine > MaxQuarantine) {
		return nil, &ServiceError{Reason: ReasonInvalid, Field: "allow_quarantine", Message: fmt.Sprintf("%d is outside 0..%d", *c.AllowQuarantine, MaxQuarantine), Remedy: "give a number of documents per tenant"}
	}
	now := s.now()
	said := name
	if c.WithoutSnapshot {
		said += ".without_snapshot"
	}
	var releases map[string]string
	if name == "rollback" || c.Undo {
		var err error
		if releases, err = s.releasesOf(ctx, c); err != nil {
			return nil, err
		}
	}
	err := s.store.ChangeRollout(ctx, c.RolloutID, c.Caller, said, func(r *Rollout) error {
		if err := s.movedOn(r, c, releases); err != nil {
			return err
		}
		if name == "skip" {
			r.exceptMissing(c, now)
		}
		if err := c.checkChoice(r); err != nil {
			return err
		}
		if err := applyCommand(r, name, c, now); err != nil {
			return err
		}
		r.State, r.FinishedAt = settle(r, now)
		return nil
	})
	if errors.Is(err, ErrNotFound) {
		_, err = s.Get(ctx, c.RolloutID)
	}
	if err != nil {
		return nil, err
	}
	return s.Get(ctx, c.RolloutID)
}

// releasesOf reads the releases that a command's tenants are on.
func (s *Service) releasesOf(ctx context.Context, c Command) (map[string]string, error) {
	r, err := s.Get(ctx, c.RolloutID)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, t := range r.Tenants {
		if t.State == TenantSwitched && c.concerns(t.TenantID) {
			ids = append(ids, t.TenantID)
		}
	}
	out := map[string]string{}
	if len(ids) == 0 {
		return out, nil // an empty list would mean the whole fleet
	}
	fleet, err := s.store.Fleet(ctx, ids)
	for _, t := range fleet {
		out[t.ID] = t.Release
	}
	return out, err
}

// movedOn refuses to roll tenants back that are on indices of another release
// than the rollout's by now: what was written there would not come back.
func (s *Service) movedOn(r *Rollout, c Command, on map[string]string) error {
	to, err := s.catalogue.Get(r.ToRelease)
	if err != nil || len(on) == 0 {
		return nil // its worker says so
	}
	var why []string
	for _, t := range r.Tenants {
		now, known := on[t.TenantID]
		if !known || t.State != TenantSwitched || t.Kind() == KindNone || !c.concerns(t.TenantID) {
			continue
		}
		if t.Kind() == KindMinor && now != r.ToRelease { // a later minor upgrade has the last word
			why = append(why, t.TenantID+" is on "+now)
			continue
		}
		if rel, err := s.catalogue.Get(now); err == nil && rel.Prefix != to.Prefix {
			why = append(why, t.TenantID+" is on "+now)
		}
	}
	if len(why) == 0 {
		return nil
	}
	return wrongState(r, "it brought its tenants to "+r.ToRelease+", but by now "+strings.Join(why, ", ")+"; roll back the rollout that brought them there first, or name the others with --tenant")
}
