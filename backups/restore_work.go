package backups

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tracardi/tms/upgrader"
)

// planAgain plans at the moment of doing: what stood when the restore was
// asked for may have changed.
func (s *session) planAgain(ctx context.Context) (move, error) {
	r := s.run.Restore
	m, err := s.manifest(ctx)
	if err != nil {
		return move{}, err
	}
	known, err := s.r.store.Select(ctx, Selection{Tenants: []string{r.Tenant}})
	if err != nil {
		return move{}, err
	}
	plan, refusals, err := plan(ctx, s.engine, s.r.catalogue, *r, m, known)
	if err != nil {
		return move{}, err
	}
	if len(refusals) > 0 {
		return move{}, refused("the restore cannot start", refusals)
	}
	r.Plan = plan
	s.run.StartedAt, s.run.Progress = s.r.now(), Progress{Shards: plan.Shards, Bytes: plan.Bytes}
	switch {
	case r.rehearses(plan):
		return to(StateRehearsing)
	case len(plan.replaced())+len(plan.Aside) > 0:
		return to(StateFenced)
	}
	return to(StateRunning)
}

// plan reads what stands and decides what a restore would do.
func plan(ctx context.Context, e Engine, c Catalogue, r Restore, m *Manifest, known []Tenant) (RestorePlan, []Refusal, error) {
	f := footprintOf(c)
	now, err := f.look(ctx, e, m.naming())
	if err != nil {
		return RestorePlan{}, nil, err
	}
	if r.Beside != "" {
		found, err := e.Indices(ctx, r.Beside+".*")
		if err != nil {
			return RestorePlan{}, nil, err
		}
		now.indices = append(now.indices, found...)
	}
	budget, err := e.Shards(ctx)
	if err != nil {
		return RestorePlan{}, nil, err
	}
	p := planRestore(r, m, now)
	var t *Tenant
	if len(known) > 0 {
		t = &known[0]
		p.FromRelease = t.Release
	}
	return p, p.refusals(r, t, budget), nil
}

func (s *session) manifest(ctx context.Context) (*Manifest, error) {
	r := s.run.Restore
	found, err := s.r.store.Manifests(ctx, r.Snapshot, r.Tenant)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, failf("snapshot %s has no record of tenant %s any more", r.Snapshot, r.Tenant)
	}
	return &found[0], nil
}

// rehearse reads the snapshot to its end beside everything, compares, and
// removes it again: only then anything is overwritten.
func (s *session) rehearse(ctx context.Context) (move, error) {
	r := s.run.Restore
	none := 0
	if err := s.bring(ctx, s.run.ID, &none); err != nil {
		return move{}, err
	}
	v, err := s.compare(ctx, s.run.ID)
	if err != nil {
		return move{}, err
	}
	if err := s.engine.DeleteIndices(ctx, s.names(s.run.ID)...); err != nil {
		return move{}, err
	}
	r.Rehearsed, r.Starts, r.OrphanedAt = v, 0, time.Time{}
	s.run.Progress.ShardsDone = 0
	return to(StateFenced)
}

// names are those under which the indices of the plan stand with a prefix.
func (s *session) names(prefix string) []string {
	var out []string
	for _, ix := range s.run.Restore.Plan.Indices {
		if prefix == "" {
			out = append(out, ix.Name)
		} else {
			out = append(out, besideName(prefix, ix.Name))
		}
	}
	return out
}

// clearWay has what will be overwritten refuse writes, and closes it: closed
// indices keep their names, so that no late write makes one anew.
func (s *session) clearWay(ctx context.Context) (move, error) {
	r := s.run.Restore
	if r.FencedAt.IsZero() {
		r.FencedAt = s.r.now()
		if err := s.save(ctx); err != nil {
			return move{}, err
		}
	}
	states, err := s.engine.IndexStates(ctx, append(r.Plan.replaced(), r.Plan.Aside...)...)
	if err != nil {
		return move{}, err
	}
	aside := slices.DeleteFunc(slices.Clone(r.Plan.Aside), func(name string) bool {
		st, exists := states[name]
		return !exists || st.Closed // takes no write as it is
	})
	var open, reshaped []string
	for _, ix := range r.Plan.Indices {
		st, exists := states[ix.As]
		switch {
		case !exists || st.Closed:
		case len(st.Shards) != ix.Shards: // the engine overwrites like with like only
			reshaped = append(reshaped, ix.As)
		default:
			open = append(open, ix.As)
		}
	}
	fenced := slices.Concat(open, reshaped, aside)
	if len(fenced) > 0 {
		if _, err := s.engine.BlockWrites(ctx, fenced...); err != nil {
			return move{}, err
		}
	}
	if len(open) > 0 {
		if err := s.engine.CloseIndices(ctx, open...); err != nil {
			return move{}, err
		}
	}
	if len(reshaped) > 0 {
		if err := s.engine.DeleteIndices(ctx, reshaped...); err != nil {
			return move{}, err
		}
	}
	return to(StateRunning)
}

// reopen undoes clearWay as far as nothing was deleted.
func (s *session) reopen(ctx context.Context) error {
	r := s.run.Restore
	states, err := s.engine.IndexStates(ctx, r.Plan.replaced()...)
	if err != nil {
		return err
	}
	var closed, blocked []string
	for _, ix := range r.Plan.Indices {
		st, exists := states[ix.As]
		if exists && st.Closed {
			closed = append(closed, ix.As)
		}
		if exists && !ix.WasBlocked {
			blocked = append(blocked, ix.As)
		}
	}
	if len(closed) > 0 {
		if err := s.engine.OpenIndices(ctx, closed...); err != nil {
			return err
		}
	}
	if blocked = append(blocked, r.Plan.Aside...); len(blocked) > 0 {
		return s.engine.UnblockWrites(ctx, blocked...)
	}
	return nil
}

// restore has the engine bring the indices back.
func (s *session) restore(ctx context.Context) (move, error) {
	r := s.run.Restore
	began := s.r.now()
	var replicas *int
	if r.Beside != "" {
		replicas = new(int) // a look needs no copies
	}
	err := s.bring(ctx, r.Beside, replicas)
	r.Engine += s.r.now().Sub(began)
	if err != nil {
		return move{}, err
	}
	return to(StateVerifying)
}

// bring asks the engine for what is not there yet, and waits until every
// primary is active. It can be called at any time: what a worker before has
// begun is found by the names of the indices.
func (s *session) bring(ctx context.Context, prefix string, replicas *int) error {
	pause, saved := pollMin, s.r.now()
	for {
		wanted, err := s.look(ctx, prefix)
		if err != nil {
			return err
		}
		switch {
		case len(wanted.ask) > 0:
			if err := s.ask(ctx, prefix, wanted.ask, replicas); err != nil {
				return err
			}
		case wanted.again != nil:
			if err := s.bringAgain(ctx, wanted); err != nil {
				return err
			}
		case wanted.done:
			return nil
		}
		if s.r.now().Sub(saved) >= saveEvery {
			if err := s.save(ctx); err != nil {
				return err
			}
			saved = s.r.now()
		}
		if err := s.pauseFor(ctx, pause); err != nil {
			return err
		}
		pause = min(pause*3/2, pollMax/2)
	}
}

// missing is what a look at a restore has found.
type missing struct {
	ask   []string // names in the snapshot that the engine has to be asked for
	again []string // names as they stand that have to be begun again
	why   string
	done  bool
}

// look sorts the indices of the plan by what is to be done about them.
func (s *session) look(ctx context.Context, prefix string) (missing, error) {
	r := s.run.Restore
	names := s.names(prefix)
	states, err := s.engine.IndexStates(ctx, names...)
	if err != nil {
		return missing{}, err
	}
	var m missing
	var orphaned []string
	started, pending := 0, 0
	for i, ix := range r.Plan.Indices {
		st, exists := states[names[i]]
		if !exists || st.Closed {
			m.ask = append(m.ask, ix.Name)
			continue
		}
		for _, shard := range st.Shards {
			switch {
			case shard.Started:
				started++
				continue
			case shard.Failure != "":
				m.again, m.why = append(m.again, names[i]), fmt.Sprintf("shard %d of %s: %s", shard.Shard, names[i], shard.Failure)
			case shard.Orphaned:
				orphaned = append(orphaned, names[i])
			}
			pending++
		}
		if len(st.Shards) == 0 {
			pending++ // not routed yet
		}
	}
	s.run.Progress.Shards, s.run.Progress.ShardsDone = r.Plan.Shards, started
	m.again = slices.Compact(m.again)
	switch {
	case len(orphaned) == 0:
		r.OrphanedAt = time.Time{}
	case r.OrphanedAt.IsZero():
		r.OrphanedAt = s.r.now()
	case s.r.now().Sub(r.OrphanedAt) > orphanGrace:
		m.again, m.why = append(m.again, slices.Compact(orphaned)...), "the engine no longer restores "+orphaned[0]+", as after a restart"
	}
	m.done = pending == 0 && len(m.ask) == 0
	return m, nil
}

// ask starts the restore of indices that are not there, or closed.
func (s *session) ask(ctx context.Context, prefix string, names []string, replicas *int) error {
	// In place containers know the names: nothing may be written before all is
	// there, compared, and under its aliases.
	err := s.engine.StartRestore(ctx, RestoreRequest{
		Repository: s.run.Repository, Snapshot: s.run.Restore.Snapshot, Indices: names, Prefix: prefix, Replicas: replicas, Blocked: prefix == "",
	})
	if errors.Is(err, ErrExists) && prefix == "" {
		// A write came between a deletion and now, and has made an index.
		return errors.Join(err, s.engine.CloseIndices(ctx, names...))
	}
	return err
}

// bringAgain removes what the engine has given up on, so that it is asked for
// anew; not without end.
func (s *session) bringAgain(ctx context.Context, m missing) error {
	r := s.run.Restore
	if r.Starts++; r.Starts >= maxStarts {
		return failf("the engine could not restore: %s", m.why)
	}
	s.run.Notes = append(s.run.Notes, "begun again: "+m.why)
	r.OrphanedAt = time.Time{}
	if err := s.save(ctx); err != nil {
		return err
	}
	return s.engine.DeleteIndices(ctx, m.again...)
}

// compare holds what was restored against the snapshot's record.
func (s *session) compare(ctx context.Context, prefix string) (*Verification, error) {
	m, err := s.manifest(ctx)
	if err != nil {
		return nil, err
	}
	names := s.names(prefix)
	if err := s.engine.Refresh(ctx, names...); err != nil {
		return nil, err
	}
	found, err := s.engine.Indices(ctx, names...)
	if err != nil {
		return nil, err
	}
	stats, err := s.engine.Stats(ctx, names...)
	if err != nil {
		return nil, err
	}
	have := map[string]upgrader.Index{}
	for _, ix := range found {
		have[ix.Name] = ix
	}
	v := &Verification{At: s.r.now()}
	for i, ix := range s.run.Restore.Plan.Indices {
		rec, is := m.index(ix.Name), have[names[i]]
		if rec == nil || is.Name == "" {
			return nil, failf("index %s is not there after the restore", names[i])
		}
		if why := rec.Compare(mark(is, stats[is.Name])); why != "" {
			return nil, failf("index %s is not what was saved: %s", names[i], why)
		}
		if maps.Equal(rec.Before.MaxSeqNo, stats[is.Name].MaxSeqNo) { // the digest's moment
			if err := s.compareDigest(ctx, *rec, is.Name, v); err != nil {
				return nil, err
			}
		}
		v.Indices++
		v.Docs += stats[is.Name].Docs
		if !rec.Quiet() {
			v.Moving++
		}
	}
	return v, nil
}

func (s *session) compareDigest(ctx context.Context, rec IndexRecord, name string, v *Verification) error {
	if rec.Digest == "" {
		return nil
	}
	got, err := digest(ctx, s.engine, name, rec.Before.MaxSeqNo)
	if err != nil {
		return err
	}
	if got != rec.Digest {
		return failf("index %s is not what was saved: the digest of its documents is %s, the record says %s", name, got, rec.Digest)
	}
	v.Digested++
	return nil
}
