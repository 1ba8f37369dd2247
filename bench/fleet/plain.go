package main

import (
	"context"
	"fmt"
	"time"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader"
)

// plainLoop is the variant that imitates what users have today: one tenant and
// one index after the other, a copy task each, looked at every plainPoll.
const (
	plainLoop = "plain"
	plainPoll = 3 * time.Second
)

func (c *cluster) plain(ctx context.Context, plan *upgrader.Plan) error {
	to, err := c.catalogue.Get(toRelease)
	if err != nil {
		return err
	}
	b := bareRun{cluster: c, engine: c.engine}
	for _, t := range plan.Tenants {
		listing, err := c.engine.Indices(ctx, patterns(fromPrefix(c), t.TenantID)...)
		if err != nil {
			return err
		}
		for _, m := range upgrader.BeginMoves(t.Moves) {
			if err := c.plainMove(ctx, to, m); err != nil {
				return fmt.Errorf("plain loop, tenant %s: %w", t.TenantID, err)
			}
		}
		if err := b.templates(ctx, to, t.TenantID); err != nil {
			return err
		}
		if err := c.engine.UpdateAliases(ctx, bareAliases(listing, upgrader.BeginMoves(t.Moves))); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) plainMove(ctx context.Context, to *releases.Release, m upgrader.Move) error {
	res, _ := to.Resource(m.Resource)
	m.Light = true // nobody tunes the settings of a target for the copy
	if err := c.engine.CreateIndex(ctx, m.Target, bareBody(res, m)); err != nil {
		return err
	}
	for _, source := range m.Copies {
		if source.Docs == 0 {
			continue
		}
		script, params := to.Migration.Steps[m.Resource].Transform.Painless()
		id, err := c.engine.StartReindex(ctx, upgrader.Reindex{Source: source.Source, Target: m.Target, Script: script, Params: params, Slices: 1})
		if err != nil {
			return err
		}
		if err := c.plainEnd(ctx, id, source.Source); err != nil {
			return err
		}
	}
	return nil
}

// plainEnd looks at a task every plainPoll until it has ended.
func (c *cluster) plainEnd(ctx context.Context, id, source string) error {
	tick := time.NewTicker(plainPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		task, err := c.engine.ReindexTask(ctx, id)
		if err != nil {
			return err
		}
		if task.Err != "" || len(task.Failures) > 0 {
			return fmt.Errorf("copy of %s: %s, %d failures", source, task.Err, len(task.Failures))
		}
		if task.Completed {
			return nil
		}
	}
}
