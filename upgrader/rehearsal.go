package upgrader

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A rehearsal is the migration of one tenant, carried out by the same code on
// the same engine, into indices that are made for it and removed afterwards.
// They are under no alias that anybody reads, and their names match neither a
// tenant's patterns nor those of a template. Of the tenant nothing is changed:
// no block, no template, no alias, no row of a rollout.

// RehearsalState is where a rehearsal stands.
type RehearsalState string

// States of a rehearsal; all but the first are ends.
const (
	RehearsalRunning   RehearsalState = "running"
	RehearsalSucceeded RehearsalState = "succeeded" // carried out; Report.Verdict says what came of it
	RehearsalFailed    RehearsalState = "failed"    // could not be carried out, or was cancelled
)

// Verdicts of a rehearsal.
const (
	// VerdictEqual: every document arrived as it should, or is among the
	// quarantined, and mappings and settings are as the release wants them.
	VerdictEqual = "equal"
	// VerdictFails: an upgrade would fail, see RehearsalReport.Problems.
	VerdictFails = "fails"
)

// Rehearsal is an upgrade of one tenant that was tried out, or is being, with
// what came of it.
type Rehearsal struct {
	ID        string
	TenantID  string
	Cluster   string // where the tenant lives
	ToRelease string
	Sample    int // documents per source index; 0 for all
	State     RehearsalState
	Reason    string // why it failed, or why the last attempt did
	Attempts  int    // workers that have begun with it
	CreatedBy string
	CreatedAt time.Time
	// FinishedAt is zero while it runs.
	FinishedAt time.Time
	Report     RehearsalReport
}

// RehearsalReport is what a rehearsal found, so far while it runs. Times are in
// seconds.
type RehearsalReport struct {
	FromRelease string   `json:"from_release,omitempty"`
	Path        []string `json:"path,omitempty"`
	Digests     []string `json:"digests,omitempty"` // of the releases' definitions
	Phase       string   `json:"phase,omitempty"`
	Verdict     string   `json:"verdict,omitempty"`
	Indices     int      `json:"indices,omitempty"`
	Shards      int      `json:"shards,omitempty"` // of the targets, replicas included
	// ByMethod is how a rollout would fill the targets. Clones are rehearsed as
	// copies: a clone refuses the writes of its source for a moment.
	ByMethod map[Method]int `json:"by_method,omitempty"`
	// Documents were copied, Compared on both sides; Total are there.
	Documents int64              `json:"documents"`
	Compared  int64              `json:"compared"`
	Total     int64              `json:"total"`
	Bytes     int64              `json:"bytes"`             // of the sources' primaries
	Seconds   map[string]float64 `json:"seconds,omitempty"` // by phase
	// Quarantined counts those that count against Options.AllowQuarantine.
	Quarantined int       `json:"quarantined"`
	Findings    []Finding `json:"findings,omitempty"`
	// Problems are why an upgrade would fail.
	Problems []string `json:"problems,omitempty"`
	// Refusals are what a rollout of the tenant would be refused with now.
	Refusals []Refusal `json:"refusals,omitempty"`
	Notes    []string  `json:"notes,omitempty"`
	// Estimate is how long the tenant's upgrade takes by these measurements.
	Estimate float64 `json:"estimate,omitempty"`
	Removed  int     `json:"removed"` // indices that were made and removed
	// Stopped counts the attempts that the kill switch ended.
	Stopped int `json:"stopped,omitempty"`
}

// Finding is a kind of documents that did not arrive.
type Finding struct {
	Kind   string `json:"kind"` // a QuarantineKind, or a MismatchKind
	Reason string `json:"reason"`
	Count  int64  `json:"count"`
	// Index and ID name one of them.
	Index string `json:"index"`
	ID    string `json:"id"`
}

// Phases of a rehearsal, in this order.
const (
	PhasePrepare = "prepare"
	PhaseCopy    = "copy"
	PhaseCompare = "compare"
	PhaseRemove  = "remove"
)

// Bounds of rehearsals.
const (
	// MaxRehearsals run at a time, of all tenants.
	MaxRehearsals = 4
	// maxRehearsalAttempts is how many workers may die over one of them.
	maxRehearsalAttempts = 5
	maxFindings          = 100
	// RehearsalAge is how old a rehearsal may be that a gate accepts.
	RehearsalAge = 7 * 24 * time.Hour
)

// RehearsalStore keeps rehearsals. Every method is one transaction and safe for
// concurrent use; ErrNotFound when there is no such rehearsal.
type RehearsalStore interface {
	// BeginRehearsal stores one and wakes a worker. One that runs for the
	// tenant already is returned instead; too many at once are ErrConflict.
	BeginRehearsal(ctx context.Context, r *Rehearsal) (*Rehearsal, error)
	// Rehearsal returns one, ended or not.
	Rehearsal(ctx context.Context, id string) (*Rehearsal, error)
	// Rehearsals returns up to limit of a tenant ("": of all), newest first,
	// older than the one with the id before ("": from the newest).
	Rehearsals(ctx context.Context, tenant, before string, limit int) ([]*Rehearsal, error)
	// ClaimRehearsal makes owner the only one who works on it; nil when it is
	// not due, not running or taken. While everything is stopped, or no further
	// tenant begins in its cluster, it says so in the rehearsal's reason.
	ClaimRehearsal(ctx context.Context, id, owner string, ttl time.Duration) (*Rehearsal, error)
	// ExtendRehearsal renews a claim; ErrLeaseLost when it is lost, or when the
	// rehearsal was cancelled.
	ExtendRehearsal(ctx context.Context, id, owner string, ttl time.Duration) error
	// SaveRehearsal stores report and reason of one that runs.
	SaveRehearsal(ctx context.Context, r *Rehearsal, owner string) error
	// ReleaseRehearsal stores state, reason and report and ends the claim; one
	// that still runs is due again after pause.
	ReleaseRehearsal(ctx context.Context, r *Rehearsal, owner string, pause time.Duration) error
	// CancelRehearsal fails one that runs, with the reason.
	CancelRehearsal(ctx context.Context, id, caller, reason string) error
	// LiveAttempts tells, of those of the rehearsals that this store knows, the
	// attempt with a living claim, 0 for none.
	LiveAttempts(ctx context.Context, ids []string) (map[string]int, error)
	// WaitingRehearsals are the tenants of a rollout that have not begun, with
	// their newest rehearsal to its release.
	WaitingRehearsals(ctx context.Context, rollout string) ([]WaitingRehearsal, error)
	// RehearsalClusters are those that were rehearsed in lately: where a dead
	// rehearsal may have left something.
	RehearsalClusters(ctx context.Context) ([]string, error)
}

// shadowPrefix begins the name of everything that a rehearsal makes. A tilde is
// in no id of a tenant and in no pattern that Tracardi puts.
const shadowPrefix = "tms~rehearsal~"

// runID names one attempt of a rehearsal.
func (r *Rehearsal) runID() string { return r.ID + "-" + strconv.Itoa(r.Attempts) }

// shadow stands in front of the names of an attempt's targets.
func (r *Rehearsal) shadow() string { return shadowPrefix + r.runID() + "~" }

var shadowed = regexp.MustCompile(`^` + shadowPrefix + `([a-z0-9]+)-(\d+)~`)

// rehearsalOf says of which attempt an index is.
func rehearsalOf(index string) (id string, attempt int, ok bool) {
	m := shadowed.FindStringSubmatch(index)
	if m == nil {
		return "", 0, false
	}
	attempt, err := strconv.Atoi(m[2])
	return m[1], attempt, err == nil
}

func newRehearsalID() string { return strings.ToLower(rand.Text()[:12]) }

// RehearsalRequest asks for a rehearsal; Caller is the id of a key.
type RehearsalRequest struct {
	TenantID, ToRelease string
	Sample              int // documents per source index; 0 for all
	Caller              string
}

// hindering are the refusals of a plan that keep a rehearsal from being carried
// out. What else stands in the way of a rollout is part of its report.
var hindering = map[string]bool{
	"tenant_unknown": true, "release_unset": true, "no_path": true, "tenant_without_indices": true, "index_closed": true,
	"partition_invalid": true, "flattened_unsupported": true, "index_refused": true, "script_refused": true, "shard_limit": true, "disk_headroom": true,
	"cluster_unavailable": true, "stopped_all": true, "route_unseen": true, "route_into_nothing": true,
}

// Rehearse begins a rehearsal, or refuses it with all reasons.
func (s *Service) Rehearse(ctx context.Context, req RehearsalRequest) (*Rehearsal, error) {
	switch {
	case s.rehearsals == nil:
		return nil, &ServiceError{Reason: ReasonUnavailable, Message: "this process keeps no rehearsals"}
	case req.TenantID == "":
		return nil, &ServiceError{Reason: ReasonInvalid, Field: "tenant_id", Message: "is empty", Remedy: "name a tenant"}
	case req.Sample < 0:
		return nil, &ServiceError{Reason: ReasonInvalid, Field: "sample", Message: fmt.Sprintf("%d is negative", req.Sample), Remedy: "give a number of documents per index, or 0 for all"}
	}
	plan, err := s.Plan(ctx, Request{ToRelease: req.ToRelease, Options: Options{Tenants: []string{req.TenantID}}, Caller: req.Caller, rehearsal: true})
	if err != nil {
		return nil, err
	}
	var why []Refusal
	for _, r := range plan.Refusals {
		if hindering[r.Code] && (r.Code != "disk_headroom" || req.Sample == 0) {
			why = append(why, r)
		}
	}
	switch {
	case len(why) > 0:
	case len(plan.Tenants) != 1:
		why = plan.Refusals
	case len(plan.Tenants[0].Moves) == 0:
		why = append(why, Refusal{Code: "nothing_to_rehearse", TenantID: req.TenantID, Message: "no data moves on the way to " + plan.ToRelease, Remedy: "start the rollout"})
	}
	if len(why) > 0 {
		return nil, &ServiceError{Reason: ReasonRefused, Message: "the upgrade of " + req.TenantID + " to " + req.ToRelease + " cannot be rehearsed", Refusals: why}
	}
	fleet, err := s.store.Fleet(ctx, []string{req.TenantID})
	if err != nil {
		return nil, err
	}
	r := &Rehearsal{
		ID: newRehearsalID(), TenantID: req.TenantID, Cluster: homeOf(fleet), ToRelease: plan.ToRelease, Sample: req.Sample,
		State: RehearsalRunning, CreatedBy: req.Caller, CreatedAt: s.now(),
		Report: RehearsalReport{FromRelease: plan.Tenants[0].FromRelease, Path: plan.Tenants[0].Path, Refusals: plan.Refusals},
	}
	begun, err := s.rehearsals.BeginRehearsal(ctx, r)
	switch {
	case errors.Is(err, ErrConflict):
		return nil, &ServiceError{Reason: ReasonRefused, Message: fmt.Sprintf("%d rehearsals run already", MaxRehearsals), Remedy: "wait for the end of one: `tms upgrade rehearsals`", Err: err}
	case err != nil:
		return nil, err
	case begun.ID != r.ID && (begun.ToRelease != r.ToRelease || begun.Sample != r.Sample):
		return nil, &ServiceError{Reason: ReasonWrongState, Message: fmt.Sprintf("rehearsal %s of tenant %s to %s runs already", begun.ID, begun.TenantID, begun.ToRelease), Remedy: "wait for its end, or cancel it: `tms upgrade rehearsals --cancel " + begun.ID + "`"}
	}
	return begun, nil
}

// homeOf is the cluster of the only tenant of a list.
func homeOf(fleet []FleetTenant) string {
	if len(fleet) == 0 || fleet[0].Cluster == "" {
		return DefaultCluster
	}
	return fleet[0].Cluster
}

// WithRehearsals lets the service begin and show rehearsals, which are kept there.
func (s *Service) WithRehearsals(store RehearsalStore) *Service {
	s.rehearsals = store
	return s
}

// Rehearsal returns one.
func (s *Service) Rehearsal(ctx context.Context, id string) (*Rehearsal, error) {
	r, err := s.rehearsals.Rehearsal(ctx, id)
	return r, noRehearsal(id, err)
}

// Rehearsals returns those of a tenant ("": of all), newest first.
func (s *Service) Rehearsals(ctx context.Context, tenant, before string, limit int) ([]*Rehearsal, error) {
	return s.rehearsals.Rehearsals(ctx, tenant, before, limit)
}

// CancelRehearsal ends one that runs. What it has made is removed at once by
// its worker, or by the sweep when that has died.
func (s *Service) CancelRehearsal(ctx context.Context, id, caller string) (*Rehearsal, error) {
	r, err := s.Rehearsal(ctx, id)
	if err != nil {
		return nil, err
	}
	if r.State == RehearsalRunning {
		if err := s.rehearsals.CancelRehearsal(ctx, id, caller, "cancelled by "+caller); err != nil {
			return nil, noRehearsal(id, err)
		}
	}
	return s.Rehearsal(ctx, id)
}

func noRehearsal(id string, err error) error {
	if errors.Is(err, ErrNotFound) {
		return &ServiceError{Reason: ReasonNotFound, Field: "id", Message: fmt.Sprintf("rehearsal %.64q does not exist", id), Remedy: "see `tms upgrade rehearsals`", Err: err}
	}
	return err
}
