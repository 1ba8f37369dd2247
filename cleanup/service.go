package cleanup

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/naming"
)

// Kind is the kind of operation that removes a version.
const Kind = "version.cleanup"

// SnapshotAge is how old a snapshot may be that makes a cleanup safe. Nobody
// writes to a version that nobody uses, so age says more about the repository
// than about the documents: a week-old snapshot has been seen by drills.
const SnapshotAge = 7 * 24 * time.Hour

// Config is what a Service is made of.
type Config struct {
	Engine Engine // of the only cluster; not used with Clusters
	// Clusters finds the engines of several; nil: there is one.
	Clusters  Clusters
	Registry  Registry
	Catalogue Catalogue
	Store     Store
	Snapshots Snapshots // nil: every run needs the waiver
	// Owner names this process in leases.
	Owner string
	// Turn is how many indices one turn may delete, 0 for standardTurn; Pause
	// is between turns, 0 for standardPause.
	Turn  int
	Pause time.Duration
	Now   func() time.Time // nil is time.Now
	Log   *slog.Logger     // nil discards
	// cluster is the one that Engine belongs to.
	cluster string
}

// Service plans, starts and does cleanups. It is safe for concurrent use.
type Service struct{ c Config }

// NewService wires a Service.
func NewService(c Config) *Service {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Turn == 0 {
		c.Turn = standardTurn
	}
	if c.Pause == 0 {
		c.Pause = standardPause
	}
	return &Service{c}
}

// Request names what to remove.
type Request struct {
	// Version is a release, "0.8.1", or the prefix of its index names, "08x".
	Version string
	Tenants []string // none means all
	// Cluster to remove it from; "" is that of the tenants, or the only one.
	Cluster string
	// WithoutSnapshot waives the snapshot. It is in the audit trail.
	WithoutSnapshot bool
	// Digest, in Run, is that of the plan that was looked at; "" plans anew.
	Digest string
}

// Plan lists what a run would delete and all that stands in its way. It
// writes nothing.
func (s *Service) Plan(ctx context.Context, r Request) (*Plan, error) {
	release, err := s.release(r.Version)
	if err != nil {
		return nil, err
	}
	for _, id := range r.Tenants {
		if err := tenants.ValidateID(id); err != nil {
			return nil, err
		}
	}
	cluster, err := s.whereTo(ctx, r)
	if err != nil {
		return nil, err
	}
	if s, err = s.in(ctx, cluster); err != nil {
		return nil, err
	}
	only := slices.Compact(slices.Sorted(slices.Values(r.Tenants)))
	p, err := s.plan(ctx, release, only)
	if err != nil {
		return nil, err
	}
	return p, s.requireSnapshots(ctx, p, r.WithoutSnapshot)
}

func (s *Service) release(version string) (*releases.Release, error) {
	if r, err := s.c.Catalogue.Get(version); err == nil {
		return r, nil
	}
	if r, err := s.c.Catalogue.ByPrefix(version); err == nil {
		return r, nil
	}
	return nil, &tenants.Error{
		Code: tenants.CodeInvalid, Reason: tenants.ReasonUnknownRelease, Field: "version",
		Message: fmt.Sprintf("%.32q is neither a release nor the prefix of one", version), Remedy: "see `tms release list`",
	}
}

// plan looks, without regard to snapshots.
func (s *Service) plan(ctx context.Context, release *releases.Release, only []string) (*Plan, error) {
	v := &view{catalogue: s.c.Catalogue, release: release}
	var err error
	// Claims are read first and the registry last: a rollout that ends
	// meanwhile is seen as at work, and a tenant as it is.
	if v.claims, err = s.c.Store.Claims(ctx); err != nil {
		return nil, err
	}
	adopted, err := s.adopted(ctx)
	if err != nil {
		return nil, err
	}
	if v.land, err = s.survey(ctx, release, adopted, only); err != nil {
		return nil, err
	}
	if v.statics, err = s.statics(ctx, release.Prefix, adopted, only); err != nil {
		return nil, err
	}
	all, err := s.c.Registry.AllTenants(ctx)
	if err != nil {
		return nil, fmt.Errorf("list registered tenants: %w", err)
	}
	v.entries = map[string]*tenants.Tenant{}
	for _, t := range all {
		if s.resident(t) {
			v.entries[t.ID] = t
		}
	}
	vitals, err := s.c.Engine.Vitals(ctx)
	if err != nil {
		return nil, err
	}
	p := v.judge(s.c.cluster, only)
	p.Nodes = vitals.Nodes
	return p, nil
}

// adopted are the tenants whose indices of one release stand under another
// name: they were single-tenant installations.
func (s *Service) adopted(ctx context.Context) ([]naming.Tenant, error) {
	all, err := s.c.Registry.AllTenants(ctx)
	if err != nil {
		return nil, fmt.Errorf("list registered tenants: %w", err)
	}
	var out []naming.Tenant
	for _, t := range all {
		if t.AdoptedFrom != "" && s.resident(t) {
			out = append(out, naming.Tenant{ID: t.ID, AdoptedFrom: t.AdoptedFrom})
		}
	}
	return out, nil
}

// namesIn are the names under which tenants' indices of a release stand; ""
// stands for all.
func namesIn(prefix string, adopted []naming.Tenant, only []string) []string {
	if len(only) == 0 {
		return []string{""}
	}
	var out []string
	for _, id := range only {
		n := naming.Tenant{ID: id}
		if i := slices.IndexFunc(adopted, func(a naming.Tenant) bool { return a.ID == id }); i >= 0 {
			n = adopted[i]
		}
		out = append(out, n.In(prefix))
	}
	return out
}

// survey finds all of a version.
func (s *Service) survey(ctx context.Context, r *releases.Release, adopted []naming.Tenant, only []string) (land, error) {
	var wanted []string
	names := namesIn(r.Prefix, adopted, only)
	for _, name := range names {
		wanted = append(wanted, patterns(r.Prefix, name, allModes...)...)
	}
	indices, err := s.c.Engine.Standing(ctx, wanted...)
	if err != nil {
		return nil, err
	}
	var templates []upgrader.Template
	for _, name := range names {
		for _, m := range allModes {
			pattern := r.TemplateName(string(m), name, "*")
			if name == "" {
				pattern = strings.TrimSuffix(r.TemplateName(string(m), "", ""), "..") + ".*"
			}
			found, err := s.c.Engine.Templates(ctx, pattern)
			if err != nil {
				return nil, err
			}
			templates = append(templates, found...)
		}
	}
	return settle(r, adopted, indices, templates), nil
}

// statics finds the static indices of all other versions.
func (s *Service) statics(ctx context.Context, but string, adopted []naming.Tenant, only []string) (map[string][]string, error) {
	var wanted []string
	for _, r := range s.c.Catalogue.List() {
		if r.Prefix == but {
			continue
		}
		for _, name := range namesIn(r.Prefix, adopted, only) {
			wanted = append(wanted, patterns(r.Prefix, name, naming.Static)...)
		}
	}
	found, err := s.c.Engine.Standing(ctx, wanted...)
	if err != nil {
		return nil, err
	}
	out := make(map[string][]string, len(found))
	for _, ix := range found {
		out[ix.Name] = ix.Aliases
	}
	return out, nil
}

// requireSnapshots names the snapshot of each tenant, or refuses.
func (s *Service) requireSnapshots(ctx context.Context, p *Plan, waived bool) error {
	if waived {
		return nil
	}
	for i := range p.Tenants {
		t := &p.Tenants[i]
		if len(t.Indices) == 0 {
			continue
		}
		why := "this TMS takes no snapshots"
		if s.c.Snapshots != nil {
			var err error
			if t.Snapshot, why, err = s.c.Snapshots.Holds(ctx, t.Tenant, t.names(), s.c.Now().Add(-SnapshotAge)); err != nil {
				return err
			}
		}
		if t.Snapshot == "" {
			p.refuse("snapshot_missing", t.Tenant, "take one with `tms backup create --tenant "+t.Tenant+"`, or waive it with --without-snapshot; the waiver is audited", "no snapshot of the last 7 days holds the version: %s", why)
		}
	}
	return nil
}

// Run starts the cleanup, or returns the one that runs with the same digest.
// What was deleted can only come back from a snapshot.
func (s *Service) Run(ctx context.Context, c tenants.Caller, r Request) (*tenants.Operation, *Plan, error) {
	p, err := s.Plan(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case len(p.Refusals) > 0:
		return nil, p, &Error{Reason: ReasonRefused, Message: "version " + p.Version + " cannot be removed", Refusals: p.Refusals}
	case len(p.Tenants) == 0:
		return nil, p, &Error{Reason: ReasonRefused, Message: "nothing of version " + p.Version + " is there to remove", Refusals: []upgrader.Refusal{{
			Code: "nothing_there", Message: "no registered tenant holds an index or a template of version " + p.Version, Remedy: "see `tms tenant discover`",
		}}}
	case r.Digest != "" && r.Digest != p.Digest:
		return nil, p, &Error{
			Reason: ReasonChanged, Message: fmt.Sprintf("the cluster is not as planned any more: digest %.32q was given, it is %s now", r.Digest, p.Digest),
			Remedy: "look at the new plan with `tms cleanup plan`",
		}
	}
	now := s.c.Now().UTC().Truncate(time.Microsecond)
	op := &tenants.Operation{
		ID: strings.ToLower(rand.Text()), Kind: Kind, Version: p.Version, State: tenants.OperationRunning,
		WithoutSnapshot: r.WithoutSnapshot, CreatedBy: c.KeyID, CreatedAt: now, UpdatedAt: now,
	}
	a := tenants.Audit{At: now, Caller: c, Action: "version.cleanup", Subject: "release/" + p.Version, Detail: map[string]any{
		"operation": op.ID, "digest": p.Digest, "what": p.summary(), "without_snapshot": r.WithoutSnapshot, "tenants": p.Only,
	}}
	op, err = s.c.Store.Begin(ctx, op, p, a)
	return op, p, err
}
