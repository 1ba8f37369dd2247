package upgrader

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"
)

// freeze makes partitions that the old version's templates may yet create
// refuse writes, and keeps them out of sight: between the block and the
// switch, and after it, an old container that meets a new month must be
// refused like everywhere else.
func (s *session) freeze(ctx context.Context) error {
	return s.eachTemplate(ctx, s.oldTemplates, func(ctx context.Context, t Template) error {
		return s.engine.PutTemplate(ctx, frozen(t))
	})
}

// thaw puts the old version's templates back as they were.
func (s *session) thaw(ctx context.Context) error {
	return s.eachTemplate(ctx, s.oldTemplates, func(ctx context.Context, t Template) error {
		t.Body = IndexBody{}
		return s.engine.PutTemplate(ctx, t)
	})
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

// frozen is a template whose indices refuse writes and have no alias.
func frozen(t Template) Template {
	out := Template{Name: t.Name, Patterns: t.Patterns, Priority: t.Priority}
	settings := map[string]any{"blocks": map[string]any{"write": true}}
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
	out.Body = IndexBody{Settings: settings, Mappings: t.Body.Mappings}
	return out
}
