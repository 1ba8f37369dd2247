package elastic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/tracardi/tms/backups"
	"github.com/tracardi/tms/upgrader"
)

var _ backups.Engine = (*Client)(nil)

// Nodes implements backups.Snapshots: data nodes and those that may be elected
// master, sorted by name.
func (c *Client) Nodes(ctx context.Context) ([]backups.Node, error) {
	var body struct {
		Nodes map[string]struct {
			Name     string   `json:"name"`
			Roles    []string `json:"roles"`
			Settings struct {
				Path struct {
					Repo list `json:"repo"`
				} `json:"path"`
			} `json:"settings"`
			Plugins []struct {
				Name string `json:"name"`
			} `json:"plugins"`
			Modules []struct {
				Name string `json:"name"`
			} `json:"modules"`
		} `json:"nodes"`
	}
	err := c.do(ctx, call{op: "read the nodes of the cluster", request: fixed(request{
		method: http.MethodGet, path: "/_nodes/settings,plugins",
		query: query("filter_path", "nodes.*.name,nodes.*.roles,nodes.*.settings.path.repo,nodes.*.plugins.name,nodes.*.modules.name"),
	})}, &body)
	if err != nil {
		return nil, err
	}
	var out []backups.Node
	for id, n := range body.Nodes {
		if !usesRepositories(n.Roles) {
			continue
		}
		node := backups.Node{ID: id, Name: n.Name, PathRepo: n.Settings.Path.Repo}
		for _, p := range append(n.Plugins, n.Modules...) {
			node.Plugins = append(node.Plugins, p.Name)
		}
		out = append(out, node)
	}
	slices.SortFunc(out, func(a, b backups.Node) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// usesRepositories says whether a node with these roles touches repositories.
func usesRepositories(roles []string) bool {
	return len(roles) == 0 || slices.ContainsFunc(roles, func(r string) bool {
		return strings.HasPrefix(r, "data") || r == "master" || r == "cluster_manager"
	})
}

// list is a setting that is one text or several.
type list []string

// UnmarshalJSON takes both forms.
func (l *list) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*l = list{one}
		return nil
	}
	var many []string
	if err := json.Unmarshal(b, &many); err != nil {
		return err
	}
	*l = many
	return nil
}

// PutRepository implements backups.Snapshots.
func (c *Client) PutRepository(ctx context.Context, r backups.Repository) error {
	op := "register snapshot repository " + r.Name
	if err := checkNames(op, r.Name); err != nil {
		return err
	}
	settings := map[string]any{}
	for k, v := range r.Settings {
		settings[k] = v
	}
	if r.ReadOnly {
		settings["readonly"] = true
	}
	body, err := marshal(op, map[string]any{"type": r.Kind, "settings": settings})
	if err != nil {
		return err
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	limit := c.engineLimit(ctx)
	return c.change(ctx, op, fixed(request{
		method: http.MethodPut, path: "/_snapshot/" + r.Name, body: body,
		query: query("verify", "false", "timeout", limit, "master_timeout", limit),
	}))
}

// DeleteRepository implements backups.Snapshots.
func (c *Client) DeleteRepository(ctx context.Context, name string) error {
	op := "forget snapshot repository " + name
	if err := checkNames(op, name); err != nil {
		return err
	}
	err := c.change(ctx, op, fixed(request{method: http.MethodDelete, path: "/_snapshot/" + name}))
	if is404(err, repositoryMissing) {
		return nil
	}
	return busy(err)
}

// Types of the engine's exceptions around snapshots.
const (
	repositoryMissing = "repository_missing_exception"
	snapshotMissing   = "snapshot_missing_exception"
	snapshotBadName   = "invalid_snapshot_name_exception"
	snapshotBusy      = "concurrent_snapshot_execution_exception"
	restoreRefused    = "snapshot_restore_exception"
	verifyFailed      = "repository_verification_exception"
)

// Repositories implements backups.Snapshots, sorted by name.
func (c *Client) Repositories(ctx context.Context) ([]backups.Repository, error) {
	var body map[string]struct {
		Type     string         `json:"type"`
		Settings map[string]any `json:"settings"`
	}
	err := c.do(ctx, call{op: "list snapshot repositories", request: fixed(request{method: http.MethodGet, path: "/_snapshot"})}, &body)
	if err != nil {
		return nil, err
	}
	var out []backups.Repository
	for name, b := range body {
		r := backups.Repository{Name: name, Kind: backups.Kind(b.Type), Settings: map[string]string{}}
		for k, v := range b.Settings {
			r.Settings[k] = fmt.Sprint(v)
		}
		r.ReadOnly = r.Settings["readonly"] == "true"
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b backups.Repository) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// VerifyRepository implements backups.Snapshots.
func (c *Client) VerifyRepository(ctx context.Context, name string) ([]string, error) {
	op := "verify snapshot repository " + name
	if err := checkNames(op, name); err != nil {
		return nil, err
	}
	var body struct {
		Nodes map[string]struct {
			Name string `json:"name"`
		} `json:"nodes"`
	}
	// Not repeated: a failure is the answer that was asked for.
	err := c.do(ctx, call{op: op, once: true, request: fixed(request{method: http.MethodPost, path: "/_snapshot/" + name + "/_verify"})}, &body)
	if err != nil {
		return nil, c.verifyError(ctx, err)
	}
	var names []string
	for _, n := range body.Nodes {
		names = append(names, n.Name)
	}
	slices.Sort(names)
	return names, nil
}

// nodeComplaint is how the engine names a node that could not verify:
// [[node id, 'exception: text']].
var nodeComplaint = regexp.MustCompile(`\[([A-Za-z0-9_-]{22}), '([^']*)'`)

// verifyError tells which nodes could not.
func (c *Client) verifyError(ctx context.Context, err error) error {
	var e *upgrader.EngineError
	if !errors.As(err, &e) || e.Status == 0 || e.Status == http.StatusNotFound && e.Type == repositoryMissing {
		if is404(err, repositoryMissing) {
			return fmt.Errorf("%w: %w", backups.ErrNotFound, err)
		}
		return err
	}
	if e.Type != verifyFailed && !strings.HasPrefix(e.Type, "repository_") {
		return err
	}
	v := &backups.VerifyError{Nodes: map[string]string{}, Message: e.Reason}
	complaints := nodeComplaint.FindAllStringSubmatch(e.Reason, -1)
	if len(complaints) == 0 {
		return v
	}
	nodes, nerr := c.Nodes(ctx)
	for _, m := range complaints {
		name := m[1]
		if i := slices.IndexFunc(nodes, func(n backups.Node) bool { return n.ID == m[1] }); nerr == nil && i >= 0 {
			name = nodes[i].Name
		}
		v.Nodes[name] = m[2]
	}
	return v
}

// busy adds the sentinel to refusals that only time heals.
func busy(err error) error {
	var e *upgrader.EngineError
	if errors.As(err, &e) && (e.Type == snapshotBusy || strings.Contains(e.Reason, "snapshot is currently") || strings.Contains(e.Reason, "currently used")) {
		return fmt.Errorf("%w: %w", backups.ErrBusy, err)
	}
	return err
}
