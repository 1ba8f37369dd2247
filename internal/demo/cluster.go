package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"time"
)

const (
	limitSetting = "cluster.max_shards_per_node"
	// defaultLimit is what every engine ships with.
	defaultLimit = 1000
	// spare is the part of a raised limit that stays free: the writers' next
	// month makes indices too.
	spare = 0.1
)

// cluster is the operator's own access to the search engine: it looks at the
// shard limit and raises it. TMS itself never changes a cluster's settings.
type cluster struct {
	url    string
	client *http.Client
}

// seedRepository is the snapshot repository that TMS is told to keep the empty
// indices of the new release in.
const seedRepository = "demo"

// addRepository registers a snapshot repository in a directory.
func (c *cluster) addRepository(ctx context.Context, name, dir string) error {
	body := map[string]any{"type": "fs", "settings": map[string]any{"location": filepath.Join(dir, name)}}
	return c.call(ctx, http.MethodPut, "/_snapshot/"+name, body, nil)
}

func newCluster(url string) *cluster {
	return &cluster{url: url, client: &http.Client{Timeout: 30 * time.Second}}
}

// shards tells how many are open and how many may be.
func (c *cluster) shards(ctx context.Context) (open, limit int, err error) {
	var health struct {
		Active       int `json:"active_shards"`
		Initializing int `json:"initializing_shards"`
		Unassigned   int `json:"unassigned_shards"`
		Nodes        int `json:"number_of_data_nodes"`
	}
	if err := c.call(ctx, http.MethodGet, "/_cluster/health", nil, &health); err != nil {
		return 0, 0, err
	}
	var settings map[string]map[string]any
	if err := c.call(ctx, http.MethodGet, "/_cluster/settings?flat_settings", nil, &settings); err != nil {
		return 0, 0, err
	}
	perNode := defaultLimit
	for _, kind := range []string{"persistent", "transient"} { // the last one wins
		if text, ok := settings[kind][limitSetting].(string); ok {
			if perNode, err = strconv.Atoi(text); err != nil {
				return 0, 0, fmt.Errorf("setting %s: %w", limitSetting, err)
			}
		}
	}
	return health.Active + health.Initializing + health.Unassigned, perNode * max(health.Nodes, 1), nil
}

// raise sets the limit per node so that needed shards fit with some to spare,
// and returns it.
func (c *cluster) raise(ctx context.Context, needed int) (int, error) {
	limit := (int(float64(needed)*(1+spare)) + 99) / 100 * 100
	body := map[string]any{"persistent": map[string]any{limitSetting: limit}}
	return limit, c.call(ctx, http.MethodPut, "/_cluster/settings", body, nil)
}

func (c *cluster) call(ctx context.Context, method, path string, in, out any) (err error) {
	raw, err := json.Marshal(in)
	if err != nil {
		return err
	}
	var body io.Reader
	if in != nil {
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s: %d: %s", method, path, resp.StatusCode, answer)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}
