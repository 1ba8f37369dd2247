package backups

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader/stream"
)

// RestoreOrder asks for a restore of one tenant.
type RestoreOrder struct {
	Snapshot string
	Tenant   string
	// Beside puts everything under names that begin with it: for a look.
	Beside string
	// Replace allows existing indices to be overwritten.
	Replace     bool
	Resources   []string // keys or bases; empty is everything
	NoRehearsal bool
	// Remove takes away what was put beside once it is proven.
	Remove    bool
	Drill     bool   // made to see whether it can be
	Policy    string // asks for it, "" for none
	RequestID string
}

// prefixPattern is what a prefix beside may look like.
var prefixPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{1,62}$`)

func (o RestoreOrder) check(c Catalogue) error {
	switch {
	case o.Tenant == "":
		return invalid("tenant", "name one; `tms backup show` lists those in the snapshot", "is empty")
	case o.Beside == "" && o.Remove:
		return invalid("remove", "say --beside too", "only what was restored beside can be removed")
	case o.Beside != "" && (o.Replace || o.NoRehearsal):
		return invalid("beside", "leave --replace and --no-rehearsal out", "nothing is replaced beside")
	case o.Beside == "":
		return nil
	case !prefixPattern.MatchString(o.Beside):
		return invalid("beside", "use 2 to 63 of a-z, 0-9 and -, beginning with a letter or digit", "%q is no prefix", short(o.Beside))
	}
	for _, r := range c.List() {
		for _, m := range modes {
			if o.Beside == string(m)+r.Prefix {
				return invalid("beside", "choose another prefix", "%q is what the indices of release %s begin with", o.Beside, r.Version)
			}
		}
	}
	return nil
}

// prepare finds snapshot and manifest, and plans.
func (s *Service) prepare(ctx context.Context, o RestoreOrder) (*Run, *Restore, []Refusal, error) {
	if err := o.check(s.catalogue); err != nil {
		return nil, nil, nil, err
	}
	snap, err := s.Run(ctx, RunSnapshot, o.Snapshot)
	if err != nil {
		return nil, nil, nil, err
	}
	if snap.State != StateSuccess {
		return nil, nil, nil, &Error{Reason: ReasonWrongState, Field: "snapshot", Message: fmt.Sprintf("%q is %s: only a successful snapshot is a backup", snap.ID, snap.State), Remedy: "choose another one, see `tms backup list`"}
	}
	found, err := s.store.Manifests(ctx, snap.ID, o.Tenant)
	if err != nil {
		return nil, nil, nil, err
	}
	if len(found) == 0 {
		return nil, nil, nil, notFound("tenant", "see `tms backup show "+snap.ID+"`", "%q is not in snapshot %s", short(o.Tenant), snap.ID)
	}
	r := &Restore{Snapshot: snap.ID, Tenant: o.Tenant, Beside: o.Beside, Replace: o.Replace, Resources: o.Resources, NoRehearsal: o.NoRehearsal, Remove: o.Remove, Drill: o.Drill}
	if err := knownResources(*r, &found[0]); err != nil {
		return nil, nil, nil, err
	}
	known, err := s.store.Select(ctx, Selection{Tenants: []string{o.Tenant}})
	if err != nil {
		return nil, nil, nil, err
	}
	if s, err = s.with(ctx, snap.Repository); err != nil {
		return nil, nil, nil, err
	}
	p, refusals, err := plan(ctx, s.engine, s.catalogue, *r, &found[0], known)
	if err != nil {
		return nil, nil, nil, engineError(err)
	}
	elsewhere, err := s.foreign(ctx, snap.Repository, known)
	if err != nil {
		return nil, nil, nil, err
	}
	r.Plan, refusals = p, append(refusals, elsewhere...)
	return snap, r, refusals, nil
}

// knownResources refuses names that mean nothing in the snapshot.
func knownResources(r Restore, m *Manifest) error {
	for _, name := range r.Resources {
		one := Restore{Resources: []string{name}}
		if !slices.ContainsFunc(m.Indices, func(rec IndexRecord) bool { return one.wants(rec.Name, rec.Resource) }) {
			known := map[string]bool{}
			for _, rec := range m.Indices {
				if rec.Resource != "" {
					known[rec.Resource] = true
				}
			}
			return invalid("resources", fmt.Sprintf("use some of %v", slices.Sorted(maps.Keys(known))), "%q is not in the snapshot", short(name))
		}
	}
	return nil
}

// Plan tells what a restore would do, and what stands in its way. It changes
// nothing.
func (s *Service) Plan(ctx context.Context, o RestoreOrder) (*Restore, []Refusal, error) {
	_, r, refusals, err := s.prepare(ctx, o)
	return r, refusals, err
}

// Restore begins a restore, or refuses it with all reasons.
func (s *Service) Restore(ctx context.Context, c tenants.Caller, o RestoreOrder) (*Run, error) {
	snap, r, refusals, err := s.prepare(ctx, o)
	if err != nil {
		return nil, err
	}
	if len(refusals) > 0 {
		return nil, refused("the restore cannot start", refusals)
	}
	now := s.now().UTC().Truncate(time.Microsecond)
	run := &Run{
		ID: NewRestoreID(now), Kind: RunRestore, State: StatePlanned, Repository: snap.Repository, Tenants: []string{o.Tenant},
		Policy: o.Policy, Restore: r, Progress: Progress{Shards: r.Plan.Shards, Bytes: r.Plan.Bytes}, CreatedBy: c.KeyID, CreatedAt: now,
	}
	detail := map[string]any{"snapshot": snap.ID, "tenant": o.Tenant, "beside": o.Beside, "replace": o.Replace, "resources": o.Resources}
	return s.store.CreateRun(ctx, run, o.RequestID, s.audit(c, "backup.restore", o.Tenant, detail))
}

// RemoveRestore removes what a restore has put beside. It is idempotent.
func (s *Service) RemoveRestore(ctx context.Context, c tenants.Caller, id string) (*Run, error) {
	run, err := s.Run(ctx, RunRestore, id)
	if err != nil || run.State == StateDeleted || run.State == StateDeleting {
		return run, err
	}
	switch {
	case run.Restore.Beside == "":
		return nil, &Error{Reason: ReasonWrongState, Field: "restore", Message: fmt.Sprintf("%q was in place: its indices are the tenant's", id), Remedy: "restore another snapshot over them, or purge the tenant"}
	case !run.State.Ended():
		return nil, &Error{Reason: ReasonWrongState, Field: "restore", Message: fmt.Sprintf("%q is still %s", id, run.State), Remedy: "wait for its end"}
	}
	return s.store.ChangeRun(ctx, id, s.audit(c, "backup.restore_removed", "backup/"+id, nil), func(r *Run) error {
		r.State, r.Reason, r.FinishedAt, r.Attempts = StateDeleting, "", time.Time{}, 0
		r.Restore.Remove = false
		return nil
	})
}

// Import finds snapshots that TMS has taken and that the store does not know,
// and reads their manifests out of the repository: so a lost database is
// rebuilt. It returns the names of those that came in.
func (s *Service) Import(ctx context.Context, c tenants.Caller, repository string) ([]string, error) {
	s, err := s.with(ctx, repository)
	if err != nil {
		return nil, err
	}
	all, err := s.engine.ListSnapshots(ctx, repository)
	if err != nil {
		return nil, engineError(err)
	}
	var fresh []string
	for _, found := range all {
		if found.Metadata["taken_by"] != takenBy || !IsSnapshotName(found.Name) {
			continue
		}
		if _, err := s.store.Run(ctx, found.Name); err == nil {
			continue
		} else if !errors.Is(err, ErrNotFound) {
			return fresh, err
		}
		added, err := s.importOne(ctx, c, repository, found)
		if err != nil {
			return fresh, engineError(err)
		}
		if added {
			fresh = append(fresh, found.Name)
		}
	}
	return fresh, nil
}

func (s *Service) importOne(ctx context.Context, c tenants.Caller, repository string, found EngineSnapshot) (bool, error) {
	run := &Run{
		ID: found.Name, Kind: RunSnapshot, State: importedState(found), Repository: repository,
		Snapshot:  &Snapshot{Releases: map[string]string{}, TakenFrom: found.From, TakenUntil: found.Until, Written: -1, Imported: true},
		Progress:  Progress{Shards: found.Shards, ShardsDone: found.Shards - found.Failed},
		CreatedBy: c.KeyID, CreatedAt: found.From, StartedAt: found.From, FinishedAt: found.Until,
	}
	if run.State == "" {
		return false, nil // somebody takes it right now
	}
	manifests, err := s.readManifests(ctx, repository, found)
	if err != nil {
		return false, err
	}
	for i := range manifests {
		m := &manifests[i]
		// The repository has what was read before the snapshot, not after.
		run.Tenants = append(run.Tenants, m.Tenant)
		run.Snapshot.Releases[m.Tenant] = m.Release
		run.Snapshot.Indices += len(m.Indices)
		run.Snapshot.Docs += m.Docs()
		run.Snapshot.Bytes += m.Bytes()
		for n := range m.Indices {
			m.Indices[n].Gone = true
		}
	}
	slices.Sort(run.Tenants)
	return s.store.ImportRun(ctx, run, manifests)
}

func importedState(found EngineSnapshot) State {
	switch {
	case found.State == EngineInProgress:
		return ""
	case found.State == EngineSuccess && found.Failed == 0:
		return StateSuccess
	case found.State == EngineFailed:
		return StateFailed
	}
	return StatePartial
}

// importLimit bounds the wait for the small index of the manifests.
const importLimit = time.Minute

// readManifests restores the index of the manifests under another name, reads
// and removes it.
func (s *Service) readManifests(ctx context.Context, repository string, found EngineSnapshot) ([]Manifest, error) {
	name := ManifestIndex(found.Name)
	if !slices.Contains(found.Indices, name) {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, importLimit)
	defer cancel()
	const prefix = "tms-import"
	as := besideName(prefix, name)
	if err := s.engine.DeleteIndices(ctx, as); err != nil {
		return nil, err
	}
	none := 0
	if err := s.engine.StartRestore(ctx, RestoreRequest{Repository: repository, Snapshot: found.Name, Indices: []string{name}, Prefix: prefix, Replicas: &none}); err != nil {
		return nil, err
	}
	defer func() {
		free, done := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer done()
		_ = s.engine.DeleteIndices(free, as) // a next import removes it first
	}()
	last, err := s.awaitOne(ctx, as)
	if err != nil {
		return nil, err
	}
	var out []Manifest
	err = eachDoc(ctx, s.engine, as, 0, last, func(d stream.Doc) error {
		var doc manifestDoc
		var m Manifest
		if err := json.Unmarshal(d.Source, &doc); err != nil {
			return fmt.Errorf("manifest of %s in %s: %w", d.ID, found.Name, err)
		}
		if doc.Format != manifestFormat {
			return fmt.Errorf("manifest of %s in %s has format %d, this TMS reads %d", d.ID, found.Name, doc.Format, manifestFormat)
		}
		if err := json.Unmarshal([]byte(doc.Manifest), &m); err != nil {
			return fmt.Errorf("manifest of %s in %s: %w", d.ID, found.Name, err)
		}
		out = append(out, m)
		return nil
	})
	return out, err
}

// awaitOne waits for the primary of an index of one shard and returns its
// highest sequence number.
func (s *Service) awaitOne(ctx context.Context, index string) (int64, error) {
	for {
		states, err := s.engine.IndexStates(ctx, index)
		if err != nil {
			return 0, err
		}
		if st := states[index]; len(st.Shards) == 1 && st.Shards[0].Failure != "" {
			return 0, &Error{Reason: ReasonRepository, Message: "manifests cannot be read: " + st.Shards[0].Failure}
		} else if len(st.Shards) == 1 && st.Shards[0].Started {
			break
		}
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-time.After(pollMin):
		}
	}
	stats, err := s.engine.Stats(ctx, index)
	if err != nil {
		return 0, err
	}
	return stats[index].MaxSeqNo[0], nil
}
