package elastic

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/capacity"
)

// identity is what the cluster said about itself.
type identity struct {
	upgrader.EngineInfo
	capability Capability
}

// identify returns the cluster's identity, asking only the first time.
func (c *Client) identify(ctx context.Context) (*identity, error) {
	if id := c.detected.Load(); id != nil {
		return id, nil
	}
	return c.detect(ctx)
}

// detect asks the cluster who it is and remembers the answer. Callers that
// come together ask together, which does no harm.
func (c *Client) detect(ctx context.Context) (*identity, error) {
	const op = "ask the search engine for its version"
	res, err := c.perform(ctx, call{op: op, request: fixed(request{method: http.MethodGet, path: "/"})})
	if err != nil {
		return nil, err
	}
	var root struct {
		ClusterName string `json:"cluster_name"`
		ClusterUUID string `json:"cluster_uuid"`
		Tagline     string `json:"tagline"`
		Version     struct {
			Number       string `json:"number"`
			Distribution string `json:"distribution"`
		} `json:"version"`
	}
	if err := decode(op, res.body, &root); err != nil {
		return nil, err
	}
	id := &identity{EngineInfo: upgrader.EngineInfo{
		Product: Elasticsearch, Version: root.Version.Number,
		ClusterUUID: root.ClusterUUID, ClusterName: root.ClusterName,
	}}
	if root.Version.Distribution == OpenSearch || strings.Contains(root.Tagline, "OpenSearch") {
		id.Product = OpenSearch
	}
	if id.Product == OpenSearch && root.Version.Number == "7.10.2" {
		return nil, errors.New("this OpenSearch claims to be version 7.10.2; set compatibility.override_main_response_version to false in the cluster")
	}
	if id.capability, err = CapabilityOf(id.Product, id.Version); err != nil {
		return nil, err
	}
	id.Flattened = id.capability.Flattened
	if id.capability.FlattenedUnsure {
		has, err := c.hasType(ctx, id.Flattened)
		if err != nil {
			return nil, err
		}
		if !has {
			id.Flattened = ""
		}
	}
	c.detected.Store(id)
	return id, nil
}

// hasType says whether a mapping type exists, by having the engine put
// together a template with it, which stores nothing.
func (c *Client) hasType(ctx context.Context, name string) (bool, error) {
	body := fmt.Sprintf(`{"index_patterns":["tms-simulated-*"],"template":{"mappings":{"properties":{"f":{"type":%q}}}}}`, name)
	_, err := c.perform(ctx, call{
		op:      "ask the search engine for the mapping type " + name,
		request: fixed(request{method: http.MethodPost, path: "/_index_template/_simulate", body: []byte(body)}),
	})
	var e *upgrader.EngineError
	if errors.As(err, &e) && e.Status == http.StatusBadRequest {
		return false, nil
	}
	return err == nil, err
}

// Info implements upgrader.Engine. It always asks: nodes come and go, and the
// cluster itself may be upgraded.
func (c *Client) Info(ctx context.Context) (upgrader.EngineInfo, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	id, err := c.detect(ctx)
	if err != nil {
		return upgrader.EngineInfo{}, err
	}
	h, err := c.Health(ctx)
	if err != nil {
		return upgrader.EngineInfo{}, err
	}
	info := id.EngineInfo
	info.DataNodes = h.DataNodes
	return info, nil
}

// Ping says whether the cluster answers at all.
func (c *Client) Ping(ctx context.Context) error {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	_, err := c.perform(ctx, call{
		op: "ping the search engine", request: fixed(request{method: http.MethodGet, path: "/"}),
	})
	return err
}

// Health is the cluster's own verdict on itself.
type Health struct {
	Status       string `json:"status"` // green, yellow, red
	Nodes        int    `json:"number_of_nodes"`
	DataNodes    int    `json:"number_of_data_nodes"`
	Active       int    `json:"active_shards"` // of open indices; relocating ones are among them
	Initializing int    `json:"initializing_shards"`
	Relocating   int    `json:"relocating_shards"`
	Unassigned   int    `json:"unassigned_shards"`
	PendingTasks int    `json:"number_of_pending_tasks"`
}

// Health reports on the open indices of the cluster.
func (c *Client) Health(ctx context.Context) (Health, error) {
	var h Health
	err := c.do(ctx, call{op: "read the cluster's health", request: func() esapi.Request {
		return esapi.ClusterHealthRequest{ExpandWildcards: "open,hidden", MasterTimeout: c.engineTimeout(ctx)}
	}}, &h)
	return h, err
}

// Shards implements upgrader.Engine.
func (c *Client) Shards(ctx context.Context) (capacity.Shards, error) {
	const op = "read the cluster's shard limit"
	var settings map[string]struct {
		Cluster struct {
			// Once the setting is changed, Elasticsearch 7.17 still lists an
			// object here among the defaults: that of the setting's child
			// max_shards_per_node.frozen, which only x-pack uses.
			Max any `json:"max_shards_per_node"`
		} `json:"cluster"`
	}
	err := c.do(ctx, call{op: op, request: func() esapi.Request {
		return esapi.ClusterGetSettingsRequest{
			IncludeDefaults: ptr(true), FilterPath: []string{"*.cluster.max_shards_per_node"},
		}
	}}, &settings)
	if err != nil {
		return capacity.Shards{}, err
	}
	h, err := c.Health(ctx)
	if err != nil {
		return capacity.Shards{}, err
	}
	b := capacity.Shards{
		// A relocating shard is one shard: it counts as active, and the copy
		// being made of it is not counted by the limit.
		Open:      h.Active + h.Initializing + h.Unassigned,
		DataNodes: h.DataNodes,
	}
	for level, from := range map[string]string{"defaults": "default", "persistent": "persistent", "transient": "transient"} {
		s, ok := settings[level]
		text, isText := s.Cluster.Max.(string)
		if !ok || !isText || outranks(b.SettingsFrom, from) {
			continue
		}
		if b.MaxPerNode, err = strconv.Atoi(text); err != nil {
			return capacity.Shards{}, fmt.Errorf("%s: cluster.max_shards_per_node is %q, want a number", op, text)
		}
		b.SettingsFrom = from
	}
	if b.SettingsFrom == "" {
		return capacity.Shards{}, fmt.Errorf("%s: the cluster does not tell cluster.max_shards_per_node", op)
	}
	return b, nil
}

// outranks says whether settings of level a win over those of level b.
func outranks(a, b string) bool {
	rank := map[string]int{"default": 1, "persistent": 2, "transient": 3}
	return rank[a] > rank[b]
}

// PutClusterSetting sets a persistent cluster setting; a nil value resets it.
func (c *Client) PutClusterSetting(ctx context.Context, key string, value any) error {
	op := "set cluster setting " + key
	body, err := marshal(op, map[string]any{"persistent": map[string]any{key: value}})
	if err != nil {
		return err
	}
	return c.change(ctx, op, fixed(request{method: http.MethodPut, path: "/_cluster/settings", body: body}))
}

// change performs an idempotent cluster-state update and checks that the
// cluster acknowledged it.
func (c *Client) change(ctx context.Context, op string, req func() esapi.Request) error {
	var ack acknowledgement
	if err := c.do(ctx, call{op: op, request: req}, &ack); err != nil {
		return err
	}
	return ack.check(op)
}
