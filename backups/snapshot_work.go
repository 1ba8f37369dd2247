package backups

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/upgrader"
)

const (
	// looksInFlight is how many tenants are read at once.
	looksInFlight = 4
	// manifestsPerBulk keeps a request at a few megabytes: a tenant's
	// templates and records are some 300 KB.
	manifestsPerBulk = 10
	// maxMetadata is the engines' bound on a snapshot's metadata, in bytes.
	maxMetadata = 1024
	// sizeShards is up to how many shards the engine is asked what a finished
	// snapshot has written: it reads a file per shard for the answer.
	sizeShards = 2_000
	// saveEvery bounds how often progress is written.
	saveEvery = time.Second
)

// record writes down what is about to be saved, and puts the manifests where
// the snapshot takes them along.
func (s *session) record(ctx context.Context) (move, error) {
	selected, err := s.r.store.Select(ctx, Selection{Tenants: s.run.Tenants})
	if err != nil {
		return move{}, err
	}
	if len(selected) < len(s.run.Tenants) {
		return move{}, failf("%d of %d tenants were purged since the snapshot was asked for", len(s.run.Tenants)-len(selected), len(s.run.Tenants))
	}
	manifests, closed, err := s.readAll(ctx, selected)
	if err != nil {
		return move{}, err
	}
	info := s.run.Snapshot
	info.Indices, info.Docs, info.Bytes, info.Written = 0, 0, 0, -1
	info.Releases, s.run.Notes, s.run.Progress = map[string]string{}, nil, Progress{}
	for _, name := range closed {
		s.run.Notes = append(s.run.Notes, "index "+name+" is closed and not in the snapshot; open it, or delete it when it is not needed")
	}
	for i := range manifests {
		m := &manifests[i]
		info.Releases[m.Tenant] = m.Release
		info.Indices += len(m.Indices)
		info.Docs += m.Docs()
		info.Bytes += m.Bytes()
		for _, r := range m.Indices {
			s.run.Progress.Shards += r.Shards
		}
		if len(m.Indices) == 0 {
			s.run.Notes = append(s.run.Notes, "tenant "+m.Tenant+" has no indices")
		}
	}
	if info.Indices == 0 {
		return move{}, failf("none of the tenants has an index: there is nothing to save")
	}
	if err := s.r.store.SaveManifests(ctx, s.lease, manifests); err != nil {
		return move{}, err
	}
	if err := s.putManifestIndex(ctx, manifests); err != nil {
		return move{}, err
	}
	return to(StatePrepared)
}

// readAll reads tenants side by side, and lists what of them is closed. While a
// primary is not active it is an error, before any document is read: time heals
// that, or the run fails, and a policy shows it.
func (s *session) readAll(ctx context.Context, selected []Tenant) (all []Manifest, closed []string, err error) {
	all = make([]Manifest, len(selected))
	unready, shut := make([]string, len(selected)), make([][]string, len(selected))
	f := footprintOf(s.r.catalogue)
	err = each(ctx, len(selected), func(ctx context.Context, i int) error {
		now, err := s.lookComplete(ctx, f, selected[i])
		if err == nil {
			unready[i], shut[i] = now.incomplete(), now.closed()
			all[i] = now.manifest(s.run.ID, selected[i], s.r.catalogue, s.r.now())
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if unready = slices.DeleteFunc(unready, func(n string) bool { return n == "" }); len(unready) > 0 {
		return nil, nil, fmt.Errorf("waits for a primary shard of %s", strings.Join(unready, ", "))
	}
	if s.run.Snapshot.Digest {
		err = each(ctx, len(all), func(ctx context.Context, i int) error { return all[i].addDigests(ctx, s.engine) })
	}
	return all, slices.Concat(shut...), err
}

// startTries is how often a tenant is looked at, a second apart, while some of its
// primaries start: a rollout makes indices all the time, but not of one tenant.
const startTries = 30

func (s *session) lookComplete(ctx context.Context, f footprint, t Tenant) (now standing, err error) {
	for range startTries {
		if now, err = f.look(ctx, s.engine, t.naming()); err != nil || now.incomplete() == "" {
			return now, err
		}
		if err := s.pauseFor(ctx, time.Second); err != nil {
			return now, err
		}
	}
	return now, nil
}

// each does something for every tenant, a few at a time.
func each(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(looksInFlight)
	for i := range n {
		g.Go(func() error { return do(ctx, i) })
	}
	return g.Wait()
}

// addDigests reads all documents. An index that is written to at the time has
// no digest: what was read is of no single moment.
func (m *Manifest) addDigests(ctx context.Context, e Engine) error {
	var names []string
	for i := range m.Indices {
		r := &m.Indices[i]
		if r.Moving {
			continue
		}
		var err error
		if r.Digest, err = digest(ctx, e, r.Name, r.Before.MaxSeqNo); err != nil {
			return err
		}
		names = append(names, r.Name)
	}
	if len(names) == 0 {
		return nil
	}
	now, err := e.Stats(ctx, names...)
	if err != nil {
		return err
	}
	for i := range m.Indices {
		if r := &m.Indices[i]; !maps.Equal(now[r.Name].MaxSeqNo, r.Before.MaxSeqNo) {
			r.Digest = ""
		}
	}
	return nil
}

// manifestDoc is a manifest as a document of the index that carries it. The
// engine looks into none of it.
type manifestDoc struct {
	Format   int    `json:"format"`
	Tenant   string `json:"tenant"`
	Release  string `json:"release"`
	Manifest string `json:"manifest"` // JSON
}

// manifestFormat is the version of manifestDoc and Manifest.
const manifestFormat = 1

// putManifestIndex makes the index anew: what an earlier attempt left may be
// of another moment.
func (s *session) putManifestIndex(ctx context.Context, manifests []Manifest) error {
	name := ManifestIndex(s.run.ID)
	if err := s.engine.DeleteIndices(ctx, name); err != nil {
		return err
	}
	err := s.engine.CreateIndex(ctx, name, upgrader.IndexBody{
		Settings: map[string]any{"number_of_shards": "1", "number_of_replicas": "0"},
		Mappings: map[string]any{"enabled": false},
	})
	if err != nil {
		return err
	}
	for batch := range slices.Chunk(manifests, manifestsPerBulk) {
		var ops []upgrader.BulkOp
		for i := range batch {
			raw, err := json.Marshal(&batch[i])
			if err != nil {
				return fmt.Errorf("manifest of %s: %w", batch[i].Tenant, err)
			}
			doc, err := json.Marshal(manifestDoc{manifestFormat, batch[i].Tenant, batch[i].Release, string(raw)})
			if err != nil {
				return fmt.Errorf("manifest of %s: %w", batch[i].Tenant, err)
			}
			ops = append(ops, upgrader.BulkOp{Index: name, ID: batch[i].Tenant, Source: doc})
		}
		results, err := s.engine.Bulk(ctx, ops)
		if err != nil {
			return err
		}
		for i, res := range results {
			if !res.OK {
				return fmt.Errorf("manifest of %s: %s", ops[i].ID, res.Reason)
			}
		}
	}
	return nil
}

// metadata says to whoever finds the snapshot what is in it. The list of
// tenants is left out where it does not fit; the manifests have it.
func (s *session) metadata() map[string]any {
	count := map[string]int{}
	for _, release := range s.run.Snapshot.Releases {
		count[release]++
	}
	all := map[string]any{
		"taken_by": takenBy, "format": manifestFormat, "manifests": ManifestIndex(s.run.ID),
		"tenant_count": len(s.run.Tenants), "releases": count, "tenants": s.run.Tenants,
	}
	for _, spare := range []string{"tenants", "releases"} {
		if raw, err := json.Marshal(all); err == nil && len(raw) <= maxMetadata {
			break
		}
		delete(all, spare)
	}
	return all
}

// takenBy marks our snapshots in their metadata.
const takenBy = "tms"

// start asks the engine for the snapshot, unless a worker before has.
func (s *session) start(ctx context.Context) (move, error) {
	_, err := s.engine.Snapshot(ctx, s.run.Repository, s.run.ID)
	if err == nil {
		return to(StateRunning)
	}
	if !errors.Is(err, ErrNotFound) {
		return move{}, err
	}
	if s.run.Snapshot.Starts >= maxStarts {
		return move{}, failf("the engine was asked %d times and forgot the snapshot each time; look for restarts of its master node", s.run.Snapshot.Starts)
	}
	manifests, err := s.r.store.Manifests(ctx, s.run.ID)
	if err != nil {
		return move{}, err
	}
	names := []string{ManifestIndex(s.run.ID)}
	for i := range manifests {
		for _, r := range manifests[i].Indices {
			names = append(names, r.Name)
		}
	}
	s.run.Snapshot.Starts++
	if s.run.StartedAt.IsZero() {
		s.run.StartedAt = s.r.now()
	}
	err = s.engine.StartSnapshot(ctx, SnapshotRequest{Repository: s.run.Repository, Name: s.run.ID, Indices: names, Metadata: s.metadata()})
	switch {
	case errors.Is(err, ErrExists), err == nil:
		return to(StateRunning)
	case errors.Is(err, ErrBusy):
		s.run.Snapshot.Starts--
	case errors.Is(err, ErrNotFound) && strings.Contains(err.Error(), "index_not_found"):
		// An index went since it was recorded: record again.
		s.run.Reason = err.Error()
		return to(StatePlanned)
	}
	return move{}, err
}

// follow waits for the engine.
func (s *session) follow(ctx context.Context) (move, error) {
	pause, saved := pollMin, s.r.now()
	for {
		found, err := s.engine.Snapshot(ctx, s.run.Repository, s.run.ID)
		if errors.Is(err, ErrNotFound) {
			s.run.Notes = append(s.run.Notes, "the engine forgot the running snapshot, it was begun again")
			return to(StatePrepared)
		}
		if err != nil {
			return move{}, err
		}
		if found.State != EngineInProgress {
			return s.engineEnded(found)
		}
		if p, err := s.engine.SnapshotProgress(ctx, s.run.Repository, s.run.ID); err == nil {
			s.run.Progress = p
		}
		if s.r.now().Sub(saved) >= saveEvery {
			if err := s.save(ctx); err != nil {
				return move{}, err
			}
			saved = s.r.now()
		}
		if err := s.pauseFor(ctx, pause); err != nil {
			return move{}, err
		}
		pause = min(pause*3/2, pollMax)
	}
}

func (s *session) engineEnded(found EngineSnapshot) (move, error) {
	info := s.run.Snapshot
	info.TakenFrom, info.TakenUntil = found.From, found.Until
	s.run.Progress.Shards, s.run.Progress.ShardsDone = found.Shards, found.Shards-found.Failed
	switch {
	case found.State == EngineSuccess && found.Failed == 0:
		return to(StateVerifying)
	case found.State == EnginePartial || found.State == EngineSuccess:
		s.run.Reason = engineSays(found, fmt.Sprintf("%d of %d shards are missing", found.Failed, found.Shards))
		return to(StatePartial)
	default:
		s.run.Reason = engineSays(found, "the engine says "+found.State)
		return to(StateFailed)
	}
}

func engineSays(found EngineSnapshot, text string) string {
	if found.Reason != "" {
		text += ": " + found.Reason
	}
	if len(found.Failures) > 0 {
		text += ": " + strings.Join(found.Failures, "; ")
	}
	return text
}

// settle checks that the snapshot holds what was recorded, and reads the other
// end of the span in which it was taken.
func (s *session) settle(ctx context.Context) (move, error) {
	found, err := s.engine.Snapshot(ctx, s.run.Repository, s.run.ID)
	if err != nil {
		return move{}, err
	}
	manifests, err := s.r.store.Manifests(ctx, s.run.ID)
	if err != nil {
		return move{}, err
	}
	held := map[string]bool{}
	for _, name := range found.Indices {
		held[name] = true
	}
	f := footprintOf(s.r.catalogue)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(looksInFlight)
	for i := range manifests {
		m := &manifests[i]
		for _, r := range m.Indices {
			if !held[r.Name] {
				_ = g.Wait()
				return move{}, failf("the snapshot does not hold index %s", r.Name)
			}
		}
		g.Go(func() error { return m.close(gctx, s.engine, f, s.run.Attempts+1 >= MaxAttempts) })
	}
	if err := g.Wait(); err != nil {
		return move{}, err
	}
	info := s.run.Snapshot
	info.Docs = 0
	for i := range manifests {
		info.Docs += manifests[i].Docs()
	}
	if found.Shards <= sizeShards {
		if p, err := s.engine.SnapshotProgress(ctx, s.run.Repository, s.run.ID); err == nil {
			info.Written = p.Bytes
			s.run.Progress = p
		}
	}
	if err := s.r.store.SaveManifests(ctx, s.lease, manifests); err != nil {
		return move{}, err
	}
	if err := s.engine.DeleteIndices(ctx, ManifestIndex(s.run.ID)); err != nil {
		return move{}, err
	}
	return to(StateSuccess)
}

// close reads where the indices stand after the snapshot.
// While a primary of theirs is not active it is an error, but at the last attempt.
func (m *Manifest) close(ctx context.Context, e Engine, f footprint, last bool) error {
	now, err := f.look(ctx, e, m.naming())
	if err != nil {
		return err
	}
	for i := range m.Indices {
		r := &m.Indices[i]
		ix := now.find(r.Name)
		if ix == nil || ix.UUID != r.UUID {
			r.Gone = true
			continue
		}
		if st, open := now.stats[r.Name]; !open || len(st.MaxSeqNo) < max(st.Primaries, r.Shards) {
			if open && !last {
				return fmt.Errorf("waits for a primary shard of %s", r.Name)
			}
			r.Gone = true // where it stands now says nothing of the snapshot, which is whole
			continue
		}
		r.After = mark(*ix, now.stats[r.Name])
	}
	return nil
}

// deleteSnapshot removes a snapshot, or stops one that runs.
func (s *session) deleteSnapshot(ctx context.Context) (move, error) {
	if err := s.engine.DeleteSnapshot(ctx, s.run.Repository, s.run.ID); err != nil {
		return move{}, err
	}
	if err := s.engine.DeleteIndices(ctx, ManifestIndex(s.run.ID)); err != nil {
		return move{}, err
	}
	return to(StateDeleted)
}
