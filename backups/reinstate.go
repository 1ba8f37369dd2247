package backups

import (
	"context"
	"slices"

	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/naming"
)

// prove compares, and in place brings back what belongs to the indices.
func (s *session) prove(ctx context.Context) (move, error) {
	r := s.run.Restore
	// In place it is compared once: from reinstate on users write.
	if r.Beside != "" || r.Verified == nil {
		v, err := s.compare(ctx, r.Beside)
		if err != nil {
			return move{}, err
		}
		r.Verified = v
		if err := s.save(ctx); err != nil {
			return move{}, err
		}
	}
	if r.Beside != "" {
		if r.Remove {
			return to(StateDeleting)
		}
		return to(StateSuccess)
	}
	if err := s.reinstate(ctx); err != nil {
		return move{}, err
	}
	if !r.FencedAt.IsZero() {
		r.Fence = s.r.now().Sub(r.FencedAt)
	}
	return to(StateSuccess)
}

// reinstate brings templates and aliases back. Templates first: from the alias
// call on containers write.
func (s *session) reinstate(ctx context.Context) error {
	r := s.run.Restore
	m, err := s.manifest(ctx)
	if err != nil {
		return err
	}
	for _, name := range r.Plan.TemplatesRemoved {
		if err := s.engine.DeleteTemplate(ctx, name); err != nil {
			return err
		}
	}
	// One that the snapshot has caught behind a fence would keep closed what is
	// in use again.
	frozen := ""
	if own, err := s.r.catalogue.Get(releaseOf(m, s.r.catalogue)); err == nil {
		frozen = naming.FreezingTemplate(own, m.naming().In(own.Prefix))
		if err := s.engine.DeleteTemplate(ctx, frozen); err != nil {
			return err
		}
	}
	for _, t := range m.Templates {
		if t.Name != frozen && slices.Contains(r.Plan.Templates, t.Name) {
			if err := s.engine.PutTemplate(ctx, upgrader.Template{Name: t.Name, Raw: t.Raw}); err != nil {
				return err
			}
		}
	}
	if err := s.unblock(ctx, m); err != nil {
		return err
	}
	now, err := s.engine.Aliases(ctx, m.naming().AliasPatterns()...)
	if err != nil {
		return err
	}
	f := footprintOf(s.r.catalogue)
	for alias, on := range now {
		now[alias] = slices.DeleteFunc(slices.Clone(on), func(ix string) bool { return !f.owns(ix, m.naming()) })
	}
	return s.engine.UpdateAliases(ctx, r.Plan.stay(m, now).aliasActions(*r, now))
}

// unblock opens what was restored, but what refused writes by the record; and
// what readers are on in any case: the snapshot may have caught a fence.
func (s *session) unblock(ctx context.Context, m *Manifest) error {
	plan, release := s.run.Restore.Plan, releaseOf(m, s.r.catalogue)
	read := map[string]bool{}
	for _, on := range plan.Aliases {
		for _, name := range on {
			read[name] = true
		}
	}
	var names []string
	for _, ix := range plan.Indices {
		if rec := m.index(ix.Name); rec != nil && (!rec.Blocked || read[ix.Name] && rec.Release == release) {
			names = append(names, ix.As)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return s.engine.UnblockWrites(ctx, names...)
}

// releaseOf is the structure of the manifest's release: 0.8.1.2 is that of
// 0.8.1.
func releaseOf(m *Manifest, c Catalogue) string {
	r, err := c.Get(m.Release)
	if err != nil {
		return m.Release
	}
	return r.Version
}

// removeBeside takes away what a restore has put beside.
func (s *session) removeBeside(ctx context.Context) (move, error) {
	r := s.run.Restore
	if r.Beside == "" {
		return move{}, failf("a restore in place is not removed")
	}
	if err := s.engine.DeleteIndices(ctx, s.names(r.Beside)...); err != nil {
		return move{}, err
	}
	if r.Remove && r.Verified != nil {
		return to(StateSuccess) // a drill that succeeded
	}
	return to(StateDeleted)
}
