package backups

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/naming"
)

// SnapshotOrder asks for a snapshot.
type SnapshotOrder struct {
	// Repository may be "" when there is only one that can be written to.
	Repository string
	Selection  Selection
	Digest     bool // take digests of all documents: reads everything once
	Purpose    string
	// Policy asks for it, "" for none. Tenants that it names and that are
	// gone are left out.
	Policy string
	// RequestID makes Create idempotent. Optional.
	RequestID string
}

// Create asks for a snapshot; a worker takes it. The run's id is its name.
func (s *Service) Create(ctx context.Context, c tenants.Caller, o SnapshotOrder) (*Run, error) {
	repository, selected, err := s.source(ctx, o.Repository, o.Selection, o.Policy != "")
	if err != nil {
		return nil, err
	}
	now := s.now().UTC().Truncate(time.Microsecond)
	r := &Run{
		ID: NewSnapshotName(now), Kind: RunSnapshot, State: StatePlanned, Repository: repository.Name, Policy: o.Policy,
		Snapshot:  &Snapshot{Selection: o.Selection, Digest: o.Digest, Purpose: o.Purpose, Releases: map[string]string{}, Bytes: -1, Written: -1},
		CreatedBy: c.KeyID, CreatedAt: now,
	}
	for _, t := range selected {
		r.Tenants = append(r.Tenants, t.ID)
		r.Snapshot.Releases[t.ID] = t.Release
	}
	detail := map[string]any{"repository": repository.Name, "tenants": len(r.Tenants), "purpose": o.Purpose}
	return s.store.CreateRun(ctx, r, o.RequestID, s.audit(c, "backup.create", "backup/"+r.ID, detail))
}

// writable finds the repository to write to: that of the name, or else the only
// one of the cluster in which the tenants live; homes are their clusters.
func (s *Service) writable(ctx context.Context, name string, homes []string) (*Repository, error) {
	if name != "" {
		r, err := s.Repository(ctx, name)
		if err == nil && !r.Writable() {
			return nil, invalid("repository", "choose one that can be written to, see `tms backup repo list`", "%q is read-only", name)
		}
		return r, err
	}
	all, err := s.store.Repositories(ctx)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(r Repository) bool {
		return !r.Writable() || s.engines != nil && len(homes) > 0 && !slices.Contains(homes, r.Cluster)
	})
	if s.engines != nil && len(homes) > 1 {
		return nil, severalClusters(homes)
	}
	switch len(all) {
	case 0:
		return nil, invalid("repository", "register one with `tms backup repo add`", "there is no repository to write to")
	case 1:
		return &all[0], nil
	}
	return nil, invalid("repository", "name one, see `tms backup repo list`", "there are %d repositories to choose from", len(all))
}

// selected resolves a selection, which must find what it names, or, when some
// are enough, anything.
func (s *Service) selected(ctx context.Context, sel Selection, some bool) ([]Tenant, error) {
	narrowed := len(sel.Tenants) > 0 || len(sel.Labels) > 0 || sel.Rollout != ""
	switch {
	case !sel.All && !narrowed:
		return nil, invalid("selection", "name tenants, labels or a rollout, or say that you mean all", "selects nothing")
	case sel.All && narrowed:
		return nil, invalid("selection", "either all, or some", "selects all tenants and some at the same time")
	}
	if len(sel.Tenants) == 0 {
		sel.Tenants = nil
	}
	found, err := s.store.Select(ctx, sel)
	if err != nil {
		return nil, err
	}
	var unknown []string
	for _, id := range sel.Tenants {
		if !some && len(sel.Labels) == 0 && !slices.ContainsFunc(found, func(t Tenant) bool { return t.ID == id }) {
			unknown = append(unknown, id)
		}
	}
	switch len(unknown) {
	case 0:
	case 1:
		return nil, notFound("tenants", "see `tms tenant list`", "%q is not registered", short(unknown[0]))
	default:
		return nil, notFound("tenants", "see `tms tenant list`", "%q and %d more are not registered", short(unknown[0]), len(unknown)-1)
	}
	if len(found) == 0 {
		return nil, notFound("selection", "see `tms tenant list`", "no tenant matches")
	}
	return found, nil
}

// Run returns a snapshot or restore.
func (s *Service) Run(ctx context.Context, kind RunKind, id string) (*Run, error) {
	r, err := s.store.Run(ctx, id)
	if errors.Is(err, ErrNotFound) || err == nil && r.Kind != kind {
		return nil, notFound(string(kind), "see `tms backup list`", "%q does not exist", short(id))
	}
	return r, err
}

// Runs lists snapshots or restores, newest first.
func (s *Service) Runs(ctx context.Context, f Filter) ([]*Run, error) {
	return s.store.Runs(ctx, f)
}

// Manifests tells what is in a snapshot.
func (s *Service) Manifests(ctx context.Context, snapshot string, only ...string) ([]Manifest, error) {
	if _, err := s.Run(ctx, RunSnapshot, snapshot); err != nil {
		return nil, err
	}
	return s.store.Manifests(ctx, snapshot, only...)
}

// Delete deletes a snapshot, or stops one that runs. It is idempotent.
func (s *Service) Delete(ctx context.Context, c tenants.Caller, id string) (*Run, error) {
	run, err := s.Run(ctx, RunSnapshot, id)
	if err != nil || run.State == StateDeleted || run.State == StateDeleting {
		return run, err
	}
	if err := s.unused(ctx, id); err != nil {
		return nil, err
	}
	return s.store.ChangeRun(ctx, id, s.audit(c, "backup.delete", "backup/"+id, map[string]any{"state": run.State}), func(r *Run) error {
		r.State, r.Reason, r.FinishedAt, r.Attempts = StateDeleting, "", time.Time{}, 0
		return nil
	})
}

// unused refuses while a restore reads the snapshot.
func (s *Service) unused(ctx context.Context, snapshot string) error {
	reading, err := s.store.Runs(ctx, Filter{Kind: RunRestore, Limit: 1000, States: []State{StatePlanned, StateRehearsing, StateFenced, StateRunning, StateVerifying}})
	if err != nil {
		return err
	}
	for _, r := range reading {
		if r.Restore.Snapshot == snapshot {
			return &Error{Reason: ReasonWrongState, Field: "snapshot", Message: fmt.Sprintf("%q is being restored by %s", snapshot, r.ID), Remedy: "wait for its end"}
		}
	}
	return nil
}

// Verified names the newest snapshot that holds all of a tenant's indices as
// they are now, or as they were at since or later; "" when there is none. The
// engine is asked whether it still has it. It implements tenants.Snapshots.
func (s *Service) Verified(ctx context.Context, tenant string, since time.Time) (string, error) {
	names := naming.Tenant{ID: tenant}
	known, err := s.store.Select(ctx, Selection{Tenants: []string{tenant}})
	if err != nil {
		return "", err
	}
	if len(known) > 0 {
		names = known[0].naming()
	}
	if len(known) > 0 {
		if s, err = s.in(ctx, known[0].Cluster); err != nil {
			return "", err
		}
	}
	now, err := footprintOf(s.catalogue).look(ctx, s.engine, names)
	if err != nil {
		return "", engineError(err)
	}
	good, err := s.store.Runs(ctx, Filter{Kind: RunSnapshot, Tenant: tenant, States: []State{StateSuccess}, Limit: mostLooked})
	if err != nil {
		return "", err
	}
	doubts, err := s.store.Doubts(ctx)
	if err != nil {
		return "", err
	}
	for _, r := range good {
		if doubts[r.ID] != "" {
			continue
		}
		m, err := s.store.Manifests(ctx, r.ID, tenant)
		if err != nil {
			return "", err
		}
		if len(m) == 0 || m[0].Covers(now.indices, now.stats, since) != "" {
			continue
		}
		if ok, err := s.stands(ctx, r); err != nil || ok {
			return r.ID, err
		}
	}
	return "", nil
}

// mostLooked bounds how many snapshots are looked into for one answer.
const mostLooked = 100

// stands asks the engine whether a snapshot is there and complete.
func (s *Service) stands(ctx context.Context, r *Run) (bool, error) {
	s, err := s.with(ctx, r.Repository)
	if err != nil {
		return false, err
	}
	found, err := s.engine.Snapshot(ctx, r.Repository, r.ID)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, engineError(err)
	}
	return found.State == EngineSuccess && found.Failed == 0, nil
}

// Holds names the newest snapshot not older than since that holds all of these
// indices of a tenant; "" when there is none, and then why.
func (s *Service) Holds(ctx context.Context, tenant string, indices []string, since time.Time) (name, why string, err error) {
	good, err := s.store.Runs(ctx, Filter{Kind: RunSnapshot, Tenant: tenant, States: []State{StateSuccess}, Limit: mostLooked})
	if err != nil {
		return "", "", err
	}
	doubts, err := s.store.Doubts(ctx)
	if err != nil {
		return "", "", err
	}
	why = "there is no successful snapshot of it"
	for _, r := range good {
		m, err := s.store.Manifests(ctx, r.ID, tenant)
		if err != nil {
			return "", "", err
		}
		if len(m) == 0 {
			continue
		}
		if m[0].TakenAt.Before(since) {
			return "", fmt.Sprintf("the newest one, %s, is older than %s", r.ID, since.UTC().Format(time.RFC3339)), nil
		}
		if i := slices.IndexFunc(indices, func(ix string) bool { return m[0].index(ix) == nil }); i >= 0 {
			why = fmt.Sprintf("%s does not hold index %s", r.ID, indices[i])
			continue
		}
		if drill := doubts[r.ID]; drill != "" {
			why = fmt.Sprintf("the last drill of %s, %s, failed", r.ID, drill)
			continue
		}
		ok, err := s.stands(ctx, r)
		if err != nil || ok {
			return r.ID, "", err
		}
		why = "the engine does not have " + r.ID + " any more"
	}
	return "", why, nil
}

// SnapshotState implements upgrader.Snapshots.
func (s *Service) SnapshotState(ctx context.Context, name string) (upgrader.SnapshotState, error) {
	r, err := s.store.Run(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return upgrader.SnapshotState{Over: true, Text: "deleted"}, nil
	}
	if err != nil {
		return upgrader.SnapshotState{}, err
	}
	text := string(r.State)
	if r.Progress.Shards > 0 && !r.State.Ended() {
		text += fmt.Sprintf(", %d of %d shards", r.Progress.ShardsDone, r.Progress.Shards)
	}
	if r.Reason != "" {
		text += ": " + r.Reason
	}
	done := r.State == StateSuccess
	return upgrader.SnapshotState{Done: done, Over: !done && (r.State.Ended() || r.State == StateDeleting), Text: text}, nil
}
