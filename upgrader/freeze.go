package upgrader

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader/naming"
	"github.com/tracardi/tms/upgrader/stream"
)

// frozenPriority is above every template's that Tracardi or an operator puts.
const frozenPriority = 1 << 30

// freezing is the template that keeps a version closed whose other templates are
// ts: every partition that those may yet make refuses writes, and no alias shows
// it. It outranks them: that is one change of the cluster's state instead of one
// for each, and they stay as they were, also when a container puts them again.
func (s *session) freezing(r *releases.Release, ts []Template) Template {
	priority := int64(frozenPriority)
	t := Template{
		Name:     s.freezingName(r),
		Priority: &priority,
		Body:     IndexBody{Settings: map[string]any{"blocks": map[string]any{"write": true}}},
	}
	for _, one := range ts {
		t.Patterns = append(t.Patterns, one.Patterns...)
	}
	return t
}

func (s *session) freezingName(r *releases.Release) string {
	return naming.FreezingTemplate(r, s.naming().In(r.Prefix))
}

// freeze makes partitions that a version's templates may yet create refuse
// writes, and keeps them out of sight: between the block and the switch, and
// after it, a container of the version that meets a new month must be refused
// like everywhere else.
func (s *session) freeze(ctx context.Context, r *releases.Release, ts []Template) error {
	if len(ts) == 0 {
		return nil
	}
	if err := s.giveWay(ctx); err != nil {
		return err
	}
	return s.engine.PutTemplate(ctx, s.freezing(r, ts))
}

// openUp has a version take writes again that was blocked and frozen. What
// writers wait for comes first.
func (s *session) openUp(ctx context.Context, r *releases.Release, patterns []string) error {
	there, err := s.engine.Indices(ctx, patterns...)
	if err != nil {
		return err
	}
	// Also those whose settings say nothing: a worker may have died while it
	// lifted a block that was not whole (see elastic.Client.UnblockWrites).
	var names []string
	for _, ix := range there {
		if !s.stub(r, ix) {
			names = append(names, ix.Name)
		}
	}
	if len(names) > 0 {
		if err := s.engine.UnblockWrites(ctx, names...); err != nil {
			return err
		}
	}
	if err := s.engine.DeleteTemplate(ctx, s.freezingName(r)); err != nil {
		return err
	}
	there, err = s.engine.Indices(ctx, patterns...)
	if err != nil {
		return err
	}
	written, err := s.removeStubs(ctx, slices.DeleteFunc(there, func(ix Index) bool { return !s.stub(r, ix) }))
	if err != nil || len(written) == 0 {
		return err
	}
	// Somebody has opened and filled them: readers must see that.
	var show []AliasAction
	for _, name := range written {
		n, _ := naming.Parse(name)
		show = append(show, AliasAction{Index: name, Alias: n.Alias()})
	}
	if err := s.engine.UpdateAliases(ctx, show); err != nil {
		return err
	}
	return s.engine.UnblockWrites(ctx, written...)
}

// stub says that an index looks like one that a write has made through the
// freezing template of a release, and that refused it. An installer that finds
// it may have given it a mapping.
func (s *session) stub(r *releases.Release, ix Index) bool {
	n, ok := naming.Parse(ix.Name)
	_, known := resourceByBase(r, n)
	back := s.t.Record.Return
	ours := s.isOld(ix.Name) || s.moveTo(ix.Name) != nil || back != nil && slices.Contains(back.Made, ix.Name)
	return ok && known && !ours && ix.WriteBlocked && len(visible(ix.Aliases)) == 0
}

// unmapped says that nobody has given an index a field.
func unmapped(ix Index) bool {
	fields, _ := ix.Mapping["properties"].(map[string]any)
	return ix.WriteBlocked && len(fields) == 0 && len(visible(ix.Aliases)) == 0
}

// removeStubs deletes those of the stubs that have never taken a write: the next
// one makes the partition as its release wants it. It returns the others.
func (s *session) removeStubs(ctx context.Context, stubs []Index) (written []string, err error) {
	if len(stubs) == 0 {
		return nil, nil
	}
	var names []string
	for _, ix := range stubs {
		names = append(names, ix.Name)
	}
	stats, err := s.stats(ctx, names...)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if st := stats[name]; st.Primaries == 0 || len(st.MaxSeqNo) < st.Primaries {
			return nil, fmt.Errorf("index %s does not tell yet whether it has taken a write", name)
		}
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		if stream.Never(stats[name].MaxSeqNo) {
			return false
		}
		written = append(written, name)
		return true
	})
	s.log.Info("partitions that refused writes have made are removed", "indices", names)
	return written, s.deleteUnread(ctx, names)
}

// isStub looks at one index of the old version.
func (s *session) isStub(ctx context.Context, name string) (bool, error) {
	there, err := s.engine.Indices(ctx, name)
	return err == nil && slices.ContainsFunc(there, func(ix Index) bool { return s.stub(s.l.from, ix) }), err
}

func (s *session) eachTemplate(ctx context.Context, ts []Template, do func(context.Context, Template) error) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.r.limits.Creates)
	for _, t := range ts {
		if err := s.giveWay(ctx); err != nil {
			return errors.Join(err, g.Wait())
		}
		g.Go(func() error { return do(gctx, t) })
	}
	return g.Wait()
}

// closed is how an index of a template is made that refuses writes and has no
// alias.
func closed(t Template) IndexBody {
	settings := map[string]any{}
	for k, v := range t.Body.Settings {
		if k == "index" { // engines nest the settings of a template below it
			if sub, ok := v.(map[string]any); ok {
				for k, v := range sub {
					settings[k] = v
				}
			}
			continue
		}
		settings[k] = v
	}
	settings["blocks"] = map[string]any{"write": true}
	return IndexBody{Settings: settings, Mappings: t.Body.Mappings}
}
