package elastic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tracardi/tms/backups"
	"github.com/tracardi/tms/upgrader"
)

// listTimeout is for calls for which the engine reads the repository: a file
// per snapshot, or per shard.
const listTimeout = 2 * time.Minute

func snapshotPath(op, repository, name string) (string, error) {
	if err := checkNames(op, repository, name); err != nil {
		return "", err
	}
	return "/_snapshot/" + repository + "/" + name, nil
}

// StartSnapshot implements backups.Snapshots. It is never repeated.
func (c *Client) StartSnapshot(ctx context.Context, r backups.SnapshotRequest) error {
	op := "start snapshot " + r.Name + " in " + r.Repository
	take, err := snapshotRequest(op, r, false)
	if err != nil {
		return err
	}
	err = c.do(ctx, call{op: op, once: true, request: fixed(take)}, nil)
	var e *upgrader.EngineError
	switch {
	case errors.As(err, &e) && e.Type == snapshotBadName && strings.Contains(e.Reason, "same name"):
		return fmt.Errorf("%w: %w", backups.ErrExists, err)
	case errors.As(err, &e) && e.Status == http.StatusNotFound:
		return fmt.Errorf("%w: %w", backups.ErrNotFound, err)
	}
	return busy(err)
}

// snapshotRequest takes a snapshot of exactly these indices: one that is
// missing, or a shard that fails, fails all of it.
func snapshotRequest(op string, r backups.SnapshotRequest, wait bool) (request, error) {
	path, err := snapshotPath(op, r.Repository, r.Name)
	if err != nil {
		return request{}, err
	}
	if err := checkNames(op, r.Indices...); err != nil {
		return request{}, err
	}
	body, err := marshal(op, map[string]any{
		"indices": r.Indices, "ignore_unavailable": false, "include_global_state": false, "partial": false, "metadata": r.Metadata,
	})
	return request{method: http.MethodPut, path: path, query: query("wait_for_completion", strconv.FormatBool(wait)), body: body}, err
}

// described by GET _snapshot.
type snapshotBody struct {
	Snapshot string          `json:"snapshot"`
	State    string          `json:"state"`
	Reason   string          `json:"reason"`
	Indices  []string        `json:"indices"`
	Metadata json.RawMessage `json:"metadata"`
	From     int64           `json:"start_time_in_millis"`
	Until    int64           `json:"end_time_in_millis"`
	Shards   struct {
		Total  int `json:"total"`
		Failed int `json:"failed"`
	} `json:"shards"`
	Failures []struct {
		Index  string `json:"index"`
		Shard  int    `json:"shard_id"`
		Node   string `json:"node_id"`
		Reason string `json:"reason"`
	} `json:"failures"`
}

func (b snapshotBody) described() backups.EngineSnapshot {
	s := backups.EngineSnapshot{
		Name: b.Snapshot, State: b.State, Reason: b.Reason, Indices: b.Indices, From: time.UnixMilli(b.From).UTC(),
		Shards: b.Shards.Total, Failed: b.Shards.Failed,
	}
	if b.Until > 0 {
		s.Until = time.UnixMilli(b.Until).UTC()
	}
	_ = json.Unmarshal(b.Metadata, &s.Metadata) // others' metadata may be anything
	for i, f := range b.Failures {
		if i == maxFailures {
			break
		}
		s.Failures = append(s.Failures, shortened(fmt.Sprintf("%s shard %d: %s", f.Index, f.Shard, f.Reason)))
	}
	return s
}

// maxFailures of one snapshot that are told.
const maxFailures = 5

// Snapshot implements backups.Snapshots.
func (c *Client) Snapshot(ctx context.Context, repository, name string) (backups.EngineSnapshot, error) {
	op := "look for snapshot " + name + " in " + repository
	path, err := snapshotPath(op, repository, name)
	if err != nil {
		return backups.EngineSnapshot{}, err
	}
	found, err := c.snapshots(ctx, op, path)
	if err != nil {
		return backups.EngineSnapshot{}, err
	}
	for _, s := range found {
		if s.Name == name {
			return s, nil
		}
	}
	return backups.EngineSnapshot{}, fmt.Errorf("%s: %w", op, backups.ErrNotFound)
}

// ListSnapshots implements backups.Snapshots.
func (c *Client) ListSnapshots(ctx context.Context, repository string) ([]backups.EngineSnapshot, error) {
	op := "list snapshots of " + repository
	if err := checkNames(op, repository); err != nil {
		return nil, err
	}
	return c.snapshots(ctx, op, "/_snapshot/"+repository+"/_all")
}

func (c *Client) snapshots(ctx context.Context, op, path string) ([]backups.EngineSnapshot, error) {
	ctx, cancel := c.patient(ctx)
	defer cancel()
	var body struct {
		Snapshots []snapshotBody `json:"snapshots"`
		// Some versions group by repository.
		Responses []struct {
			Snapshots []snapshotBody `json:"snapshots"`
			Error     *exception     `json:"error"`
		} `json:"responses"`
		Failures map[string]exception `json:"failures"`
	}
	err := c.do(ctx, call{op: op, request: fixed(request{method: http.MethodGet, path: path})}, &body)
	if is404(err, snapshotMissing) || is404(err, repositoryMissing) {
		return nil, fmt.Errorf("%w: %w", backups.ErrNotFound, err)
	}
	if err != nil {
		return nil, err
	}
	for _, r := range body.Responses {
		if r.Error != nil {
			body.Failures = map[string]exception{"": *r.Error}
		}
		body.Snapshots = append(body.Snapshots, r.Snapshots...)
	}
	for _, f := range body.Failures {
		kind, reason := f.words()
		e := &upgrader.EngineError{Op: op, Status: http.StatusInternalServerError, Type: kind, Reason: reason}
		if kind == repositoryMissing || kind == snapshotMissing {
			e.Status = http.StatusNotFound
			return nil, fmt.Errorf("%w: %w", backups.ErrNotFound, e)
		}
		return nil, e
	}
	out := make([]backups.EngineSnapshot, len(body.Snapshots))
	for i, s := range body.Snapshots {
		out[i] = s.described()
	}
	return out, nil
}

// SnapshotProgress implements backups.Snapshots.
func (c *Client) SnapshotProgress(ctx context.Context, repository, name string) (backups.Progress, error) {
	op := "read progress of snapshot " + name
	var p backups.Progress
	path, err := snapshotPath(op, repository, name)
	if err != nil {
		return p, err
	}
	ctx, cancel := c.patient(ctx)
	defer cancel()
	var body struct {
		Snapshots []struct {
			Shards struct {
				Done  int `json:"done"`
				Total int `json:"total"`
			} `json:"shards_stats"`
			Stats struct {
				Incremental struct {
					Bytes int64 `json:"size_in_bytes"`
				} `json:"incremental"`
				Processed struct {
					Bytes int64 `json:"size_in_bytes"`
				} `json:"processed"`
			} `json:"stats"`
		} `json:"snapshots"`
	}
	err = c.do(ctx, call{op: op, request: fixed(request{
		method: http.MethodGet, path: path + "/_status",
		query: query("filter_path", "snapshots.shards_stats,snapshots.stats"),
	})}, &body)
	if is404(err, snapshotMissing) || is404(err, repositoryMissing) || err == nil && len(body.Snapshots) == 0 {
		return p, fmt.Errorf("%s: %w", op, backups.ErrNotFound)
	}
	if err != nil {
		return p, err
	}
	s := body.Snapshots[0]
	p = backups.Progress{Shards: s.Shards.Total, ShardsDone: s.Shards.Done, Bytes: s.Stats.Incremental.Bytes, BytesDone: s.Stats.Processed.Bytes}
	if p.ShardsDone == p.Shards { // the engine leaves processed out at the end
		p.BytesDone = p.Bytes
	}
	return p, nil
}

// DeleteSnapshot implements backups.Snapshots.
func (c *Client) DeleteSnapshot(ctx context.Context, repository, name string) error {
	op := "delete snapshot " + name + " of " + repository
	path, err := snapshotPath(op, repository, name)
	if err != nil {
		return err
	}
	ctx, cancel := c.patient(ctx)
	defer cancel()
	err = c.change(ctx, op, fixed(request{
		method: http.MethodDelete, path: path, query: query("master_timeout", c.engineLimit(ctx)),
	}))
	if is404(err, snapshotMissing) {
		return nil
	}
	return busy(err)
}
