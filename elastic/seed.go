package elastic

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/tracardi/tms/backups"
	"github.com/tracardi/tms/upgrader"
)

var _ upgrader.Seeder = (*Client)(nil)

// Seeds implements upgrader.Seeder.
func (c *Client) Seeds(ctx context.Context, repository, snapshot string) (upgrader.SeedState, error) {
	s, err := c.Snapshot(ctx, repository, snapshot)
	if errors.Is(err, backups.ErrNotFound) {
		return "", fmt.Errorf("%w: %w", upgrader.ErrNotFound, err)
	}
	if err != nil {
		return "", err
	}
	switch s.State {
	case backups.EngineSuccess:
		return upgrader.SeedsReady, nil
	case backups.EnginePartial, backups.EngineFailed:
		return upgrader.SeedsBroken, nil
	}
	return upgrader.SeedsMaking, nil
}

// TakeSeeds implements upgrader.Seeder.
func (c *Client) TakeSeeds(ctx context.Context, repository, snapshot string, indices []string) error {
	op := "snapshot empty indices as " + snapshot + " in " + repository
	path, err := snapshotPath(op, repository, snapshot)
	if err != nil {
		return err
	}
	if err := checkNames(op, indices...); err != nil {
		return err
	}
	body, err := marshal(op, map[string]any{
		"indices": indices, "ignore_unavailable": false, "include_global_state": false, "partial": false,
		"metadata": map[string]any{"tms": "empty indices, restored into the targets of upgrades; may be deleted when no upgrade runs"},
	})
	if err != nil {
		return err
	}
	ctx, cancel := patient(ctx)
	defer cancel()
	var done struct {
		Snapshot snapshotBody `json:"snapshot"`
	}
	err = c.do(ctx, call{op: op, once: true, request: fixed(request{
		method: http.MethodPut, path: path, query: query("wait_for_completion", "true"), body: body,
	})}, &done)
	var e *upgrader.EngineError
	switch {
	case errors.As(err, &e) && e.Type == snapshotBadName && strings.Contains(e.Reason, "same name"):
		return fmt.Errorf("%w: %w", upgrader.ErrAlreadyExists, err)
	case err != nil:
		return err
	case done.Snapshot.State != backups.EngineSuccess:
		return fmt.Errorf("%s: ended as %s %s", op, done.Snapshot.State, done.Snapshot.Reason)
	}
	return nil
}

// DropSeeds implements upgrader.Seeder.
func (c *Client) DropSeeds(ctx context.Context, repository, snapshot string) error {
	err := c.DeleteSnapshot(ctx, repository, snapshot)
	if errors.Is(err, backups.ErrNotFound) {
		return nil
	}
	return err
}

// Plant implements upgrader.Seeder.
func (c *Client) Plant(ctx context.Context, p upgrader.Planting) error {
	op := fmt.Sprintf("restore %d empty indices as %s", len(p.Seeds), p.Replacement)
	path, err := snapshotPath(op, p.Repository, p.Snapshot)
	if err != nil {
		return err
	}
	if err := checkNames(op, p.Seeds...); err != nil {
		return err
	}
	settings := make(map[string]any, len(p.Settings))
	for k, v := range p.Settings {
		settings["index."+k] = v
	}
	body, err := marshal(op, map[string]any{
		"indices": p.Seeds, "ignore_unavailable": false, "include_global_state": false, "include_aliases": false,
		"rename_pattern": p.Pattern, "rename_replacement": p.Replacement, "index_settings": settings,
	})
	if err != nil {
		return err
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	err = c.do(ctx, call{op: op, once: true, request: fixed(request{
		method: http.MethodPost, path: path + "/_restore", query: query("wait_for_completion", "false", "master_timeout", c.engineLimit(ctx)), body: body,
	})}, nil)
	var e *upgrader.EngineError
	switch {
	case errors.As(err, &e) && e.Type == restoreRefused && strings.Contains(e.Reason, "same name already exists"):
		return fmt.Errorf("%w: %w", upgrader.ErrAlreadyExists, err)
	case errors.As(err, &e) && (e.Type == snapshotMissing || e.Type == restoreRefused && strings.Contains(e.Reason, "snapshot does not exist")),
		is404(err, repositoryMissing), is404(err, "index_not_found_exception"):
		return fmt.Errorf("%w: %w", upgrader.ErrNotFound, err)
	}
	return err
}

// Growth implements upgrader.Seeder.
func (c *Client) Growth(ctx context.Context, names ...string) (waiting, failed []string, err error) {
	states, err := c.IndexStates(ctx, names...)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		s, there := states[name]
		switch {
		case !there || s.Closed || slices.ContainsFunc(s.Shards, func(x backups.ShardState) bool { return x.Failure != "" || x.Orphaned }):
			failed = append(failed, name)
		case len(s.Shards) == 0 || slices.ContainsFunc(s.Shards, func(x backups.ShardState) bool { return !x.Started }):
			waiting = append(waiting, name)
		}
	}
	return waiting, failed, nil
}
