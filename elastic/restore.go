package elastic

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/tracardi/tms/backups"
	"github.com/tracardi/tms/upgrader"
)

// lifecycle are settings that must not come back with a restored index: the
// engine would move, or delete, by an old policy what has just been saved.
var lifecycle = []string{"index.lifecycle.*", "index.plugins.index_state_management.*", "index.opendistro.index_state_management.*"}

// StartRestore implements backups.Snapshots. It is never repeated; all indices
// appear at once or none.
func (c *Client) StartRestore(ctx context.Context, r backups.RestoreRequest) error {
	op := "start restore of " + described(r.Indices) + " from " + r.Snapshot
	content := map[string]any{"ignore_index_settings": lifecycle}
	if r.Prefix != "" {
		content["rename_pattern"], content["rename_replacement"] = "^(.+)$", r.Prefix+".$1"
	}
	settings := map[string]any{}
	if r.Replicas != nil {
		settings["index.number_of_replicas"] = *r.Replicas
	}
	if r.Blocked {
		settings["index.blocks.write"] = true
	}
	if len(settings) > 0 {
		content["index_settings"] = settings
	}
	restore, err := restoreRequest(op, r.Repository, r.Snapshot, r.Indices, content)
	if err != nil {
		return err
	}
	err = c.do(ctx, call{op: op, once: true, request: fixed(restore)}, nil)
	var e *upgrader.EngineError
	switch {
	case errors.As(err, &e) && e.Type == restoreRefused && strings.Contains(e.Reason, "same name already exists"):
		return fmt.Errorf("%w: %w", backups.ErrExists, err)
	case notInSnapshot(err):
		return fmt.Errorf("%w: %w", backups.ErrNotFound, err)
	}
	return busy(err)
}

// restoreRequest restores exactly these indices, without their aliases and
// anything of the cluster, and does not wait; more says under which names and
// settings.
func restoreRequest(op, repository, snapshot string, indices []string, more map[string]any) (request, error) {
	path, err := snapshotPath(op, repository, snapshot)
	if err != nil {
		return request{}, err
	}
	if err := checkNames(op, indices...); err != nil {
		return request{}, err
	}
	content := map[string]any{"indices": indices, "ignore_unavailable": false, "include_global_state": false, "include_aliases": false}
	maps.Copy(content, more)
	body, err := marshal(op, content)
	return request{method: http.MethodPost, path: path + "/_restore", query: query("wait_for_completion", "false"), body: body}, err
}

// notInSnapshot says whether repository, snapshot or index of a restore is not
// there.
func notInSnapshot(err error) bool {
	var e *upgrader.EngineError
	return errors.As(err, &e) && (e.Type == snapshotMissing || e.Type == restoreRefused && strings.Contains(e.Reason, "snapshot does not exist")) ||
		is404(err, repositoryMissing) || is404(err, "index_not_found_exception")
}

// CloseIndices implements backups.Snapshots.
func (c *Client) CloseIndices(ctx context.Context, names ...string) error {
	return c.openOrClose(ctx, "close", names)
}

// OpenIndices implements backups.Snapshots.
func (c *Client) OpenIndices(ctx context.Context, names ...string) error {
	return c.openOrClose(ctx, "open", names)
}

func (c *Client) openOrClose(ctx context.Context, verb string, names []string) error {
	op := verb + " indices " + described(names)
	if err := checkNames(op, names...); err != nil {
		return err
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	for _, part := range chunks(names) {
		limit := c.engineLimit(ctx)
		err := c.change(ctx, op, fixed(request{
			method: http.MethodPost, path: "/" + joined(part) + "/_" + verb,
			query: query("wait_for_active_shards", "0", "ignore_unavailable", "true", "expand_wildcards", "none", "timeout", limit, "master_timeout", limit),
		}))
		if err != nil {
			return err
		}
	}
	return nil
}

// Reasons for which a shard of an index that is being restored is unassigned.
var restoring = []string{"NEW_INDEX_RESTORED", "EXISTING_INDEX_RESTORED", "INDEX_CREATED"}

// IndexStates implements backups.Snapshots.
func (c *Client) IndexStates(ctx context.Context, names ...string) (map[string]backups.IndexState, error) {
	op := "read the shards of " + described(names)
	if err := checkNames(op, names...); err != nil {
		return nil, err
	}
	out := map[string]backups.IndexState{}
	for _, part := range chunks(names) {
		var body stateBody
		err := c.do(ctx, call{op: op, request: fixed(request{
			method: http.MethodGet, path: "/_cluster/state/metadata,routing_table/" + joined(part),
			query: query("ignore_unavailable", "true", "expand_wildcards", "open,closed", "filter_path",
				"metadata.indices.*.state,routing_table.indices.*.shards.*.shard,routing_table.indices.*.shards.*.state,routing_table.indices.*.shards.*.primary,"+
					"routing_table.indices.*.shards.*.unassigned_info.reason,routing_table.indices.*.shards.*.unassigned_info.details"),
		})}, &body)
		if err != nil {
			return nil, err
		}
		body.addTo(out)
	}
	return out, nil
}

// stateBody is the part of the cluster's state that tells where shards are.
type stateBody struct {
	Metadata struct {
		Indices map[string]struct {
			State string `json:"state"`
		} `json:"indices"`
	} `json:"metadata"`
	Routing struct {
		Indices map[string]struct {
			Shards map[string][]shardBody `json:"shards"`
		} `json:"indices"`
	} `json:"routing_table"`
}

type shardBody struct {
	Shard   int    `json:"shard"`
	State   string `json:"state"`
	Primary bool   `json:"primary"`
	Why     struct {
		Reason  string `json:"reason"`
		Details string `json:"details"`
	} `json:"unassigned_info"`
}

func (b stateBody) addTo(out map[string]backups.IndexState) {
	for name, m := range b.Metadata.Indices {
		s := backups.IndexState{Closed: m.State == "close"}
		for _, copies := range b.Routing.Indices[name].Shards {
			for _, shard := range copies {
				if shard.Primary {
					s.Shards = append(s.Shards, shard.state())
				}
			}
		}
		slices.SortFunc(s.Shards, func(a, b backups.ShardState) int { return a.Shard - b.Shard })
		out[name] = s
	}
}

func (b shardBody) state() backups.ShardState {
	s := backups.ShardState{Shard: b.Shard, Started: b.State == "STARTED" || b.State == "RELOCATING"}
	if b.State != "UNASSIGNED" {
		return s
	}
	switch {
	case b.Why.Reason == "ALLOCATION_FAILED":
		s.Failure = shortened(b.Why.Reason + ": " + b.Why.Details)
	case !slices.Contains(restoring, b.Why.Reason):
		s.Orphaned = true
	}
	return s
}
