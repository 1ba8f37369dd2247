package elastic

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/tracardi/tms/backups"
	"github.com/tracardi/tms/upgrader"
)

var _ upgrader.Seeder = (*Client)(nil)

// Moulds implements upgrader.Seeder.
func (c *Client) Moulds(ctx context.Context, repository, prefix string) ([]upgrader.Mould, error) {
	op := "look for snapshots " + prefix + "* in " + repository
	if err := checkNames(op, repository, prefix+"x"); err != nil {
		return nil, err
	}
	found, err := c.snapshots(ctx, op, "/_snapshot/"+repository+"/"+prefix+"*")
	switch {
	case is404(err, snapshotMissing): // no name matches
		return nil, nil
	case errors.Is(err, backups.ErrNotFound):
		return nil, fmt.Errorf("%w: %w", upgrader.ErrNotFound, err)
	}
	var out []upgrader.Mould
	for _, s := range found {
		if s.State == backups.EngineSuccess && len(s.Indices) > 0 {
			out = append(out, upgrader.Mould{Snapshot: s.Name, Indices: s.Indices})
		}
	}
	return out, err
}

// TakeMould implements upgrader.Seeder.
func (c *Client) TakeMould(ctx context.Context, repository, snapshot string, indices []string) error {
	op := "snapshot empty indices as " + snapshot + " in " + repository
	take, err := snapshotRequest(op, backups.SnapshotRequest{
		Repository: repository, Name: snapshot, Indices: indices,
		Metadata: map[string]any{"tms": "empty indices, restored into the targets of upgrades; may be deleted when no upgrade runs"},
	}, true)
	if err != nil {
		return err
	}
	ctx, cancel := c.patient(ctx)
	defer cancel()
	var done struct {
		Snapshot snapshotBody `json:"snapshot"`
	}
	err = c.do(ctx, call{op: op, once: true, request: fixed(take)}, &done)
	if err != nil {
		return err
	}
	if done.Snapshot.State != backups.EngineSuccess {
		return fmt.Errorf("%s: ended as %s %s", op, done.Snapshot.State, done.Snapshot.Reason)
	}
	return nil
}

// DropMould implements upgrader.Seeder.
func (c *Client) DropMould(ctx context.Context, repository, snapshot string) error {
	err := c.DeleteSnapshot(ctx, repository, snapshot)
	if errors.Is(err, backups.ErrNotFound) {
		return nil
	}
	return err
}

// Plant implements upgrader.Seeder.
func (c *Client) Plant(ctx context.Context, p upgrader.Planting) error {
	op := fmt.Sprintf("restore %d empty indices from %s", len(p.Indices), p.Snapshot)
	settings := make(map[string]any, len(p.Settings))
	for k, v := range p.Settings {
		settings["index."+k] = v
	}
	restore, err := restoreRequest(op, p.Repository, p.Snapshot, p.Indices, map[string]any{
		"rename_pattern": p.Pattern, "rename_replacement": p.Replacement, "index_settings": settings,
	})
	if err != nil {
		return err
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	restore.query.Set("master_timeout", c.engineLimit(ctx))
	err = c.do(ctx, call{op: op, once: true, request: fixed(restore)}, nil)
	if notInSnapshot(err) {
		return fmt.Errorf("%w: %w", upgrader.ErrNotFound, err)
	}
	return err
}

// growthWait is how long the engine itself waits for primaries before the state
// of every shard is read, which costs it more than the shards do.
const growthWait = 5 * time.Second

// Growth implements upgrader.Seeder.
func (c *Client) Growth(ctx context.Context, names ...string) (waiting, failed []string, err error) {
	up, err := c.primariesUp(ctx, names)
	if err != nil || up {
		return nil, nil, err
	}
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

// primariesUp waits a while until the primaries of indices are active, and says
// whether they are.
func (c *Client) primariesUp(ctx context.Context, names []string) (bool, error) {
	for _, part := range chunks(names) {
		var h struct {
			TimedOut bool `json:"timed_out"`
		}
		err := c.do(ctx, call{op: "wait for the primaries of " + described(part), accept: []int{http.StatusRequestTimeout}, request: func() esapi.Request {
			return esapi.ClusterHealthRequest{
				Index: part, WaitForStatus: "yellow", Timeout: growthWait, MasterTimeout: c.engineTimeout(ctx),
			}
		}}, &h)
		if err != nil || h.TimedOut {
			return false, err
		}
	}
	return true, nil
}
