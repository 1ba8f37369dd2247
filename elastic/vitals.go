package elastic

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/tracardi/tms/upgrader/budget"
)

var _ budget.VitalsSource = (*Client)(nil)

// Looking for the search latency.
const (
	probeSearches = 5  // the median of them counts
	probeHits     = 10 // documents that each returns, as a page in a GUI would
	// watermarkAge is how old the watermarks may be: they are settings, and the
	// answer that they come in is long.
	watermarkAge = time.Minute
)

// watermarkCache keeps the watermarks for a while.
type watermarkCache struct {
	mu sync.Mutex
	at time.Time
	w  map[string]string
}

func (c *Client) recentWatermarks(ctx context.Context) (map[string]string, error) {
	m := &c.marks
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.w != nil && time.Since(m.at) < watermarkAge {
		return m.w, nil
	}
	w, err := c.watermarks(ctx)
	if err == nil {
		m.w, m.at = w, time.Now()
	}
	return w, err
}

// nodeStats is what is looked at of one node.
type nodeStats struct {
	Name  string   `json:"name"`
	Roles []string `json:"roles"`
	JVM   struct {
		Mem struct {
			HeapUsedPercent int `json:"heap_used_percent"`
		} `json:"mem"`
	} `json:"jvm"`
	FS struct {
		Total struct {
			Size int64 `json:"total_in_bytes"`
			Free int64 `json:"available_in_bytes"`
		} `json:"total"`
	} `json:"fs"`
	ThreadPool map[string]struct {
		Rejected int64 `json:"rejected"`
	} `json:"thread_pool"`
}

// holdsData says whether the disk of the node counts: roles are "data", or
// tiers of it ("data_hot").
func (n nodeStats) holdsData() bool {
	return slices.ContainsFunc(n.Roles, func(r string) bool { return r == "data" || len(r) > 5 && r[:5] == "data_" })
}

// ClusterVitals implements upgrader.VitalsSource with two requests about the
// cluster and, given a probe, a few small searches.
func (c *Client) ClusterVitals(ctx context.Context, probe string) (budget.Vitals, error) {
	v := budget.Vitals{At: time.Now()}
	nodes, err := c.nodeStats(ctx)
	if err != nil {
		return v, err
	}
	for _, n := range nodes {
		v.RejectedSearches += n.ThreadPool["search"].Rejected
		v.RejectedWrites += n.ThreadPool["write"].Rejected
		if n.JVM.Mem.HeapUsedPercent > v.HeapPercent {
			v.HeapPercent, v.HeapNode = n.JVM.Mem.HeapUsedPercent, n.Name
		}
	}
	if err := c.fullestDisk(ctx, nodes, &v); err != nil {
		return v, err
	}
	var health struct {
		Pending int   `json:"number_of_pending_tasks"`
		Waiting int64 `json:"task_max_waiting_in_queue_millis"`
	}
	err = c.do(ctx, call{op: "read the pending tasks of the cluster", request: fixed(request{
		method: http.MethodGet, path: "/_cluster/health",
		query: query("filter_path", "number_of_pending_tasks,task_max_waiting_in_queue_millis"),
	})}, &health)
	if err != nil {
		return v, err
	}
	v.PendingTasks, v.PendingFor = health.Pending, time.Duration(health.Waiting)*time.Millisecond
	if probe != "" {
		v.Search = c.searchLatency(ctx, probe)
	}
	return v, nil
}

func (c *Client) nodeStats(ctx context.Context) (map[string]nodeStats, error) {
	var body struct {
		Nodes map[string]nodeStats `json:"nodes"`
	}
	err := c.do(ctx, call{op: "read the load of the nodes", request: fixed(request{
		method: http.MethodGet, path: "/_nodes/stats/jvm,fs,thread_pool", query: query("filter_path",
			"nodes.*.name,nodes.*.roles,nodes.*.jvm.mem.heap_used_percent,nodes.*.fs.total.*_in_bytes,nodes.*.thread_pool.search.rejected,nodes.*.thread_pool.write.rejected"),
	})}, &body)
	return body.Nodes, err
}

// fullestDisk finds the data node that is closest to the watermark at which the
// engine begins to move shards away, or, where there is but one node, at which
// it stops writing.
func (c *Client) fullestDisk(ctx context.Context, nodes map[string]nodeStats, v *budget.Vitals) error {
	w, err := c.recentWatermarks(ctx)
	if err != nil {
		return err
	}
	if w["threshold_enabled"] == "false" {
		return nil
	}
	data := 0
	for _, n := range nodes {
		if n.holdsData() {
			data++
		}
	}
	name := "high"
	if data == 1 && w["enable_for_single_data_node"] != "true" {
		name = "flood_stage"
	}
	worst := -1.0
	for _, n := range nodes {
		size := n.FS.Total.Size
		if !n.holdsData() || size <= 0 {
			continue
		}
		limit, err := watermark(w[name], w[name+".max_headroom"], size)
		if err != nil {
			return fmt.Errorf("cluster.routing.allocation.disk.watermark.%s: %w", name, err)
		}
		used := size - n.FS.Total.Free
		if full := float64(used) / float64(max(1, limit)); full > worst {
			worst = full
			v.DiskNode, v.DiskUsed, v.DiskLimit, v.Watermark = n.Name, used, limit, name
		}
	}
	return nil
}

// searchLatency is the median time of small searches; 0 when the index cannot
// be searched.
func (c *Client) searchLatency(ctx context.Context, index string) time.Duration {
	took := make([]time.Duration, 0, probeSearches)
	for range probeSearches {
		started := time.Now()
		var body struct {
			Shards struct {
				Successful int `json:"successful"`
			} `json:"_shards"`
		}
		err := c.do(ctx, call{op: "search " + index, once: true, request: fixed(request{
			method: http.MethodPost, path: "/" + index + "/_search",
			query: query("request_cache", "false", "ignore_unavailable", "true"),
			body:  fmt.Appendf(nil, `{"size":%d,"track_total_hits":false,"query":{"match_all":{}}}`, probeHits),
		})}, &body)
		if err != nil || body.Shards.Successful == 0 {
			return 0
		}
		took = append(took, time.Since(started))
	}
	slices.Sort(took)
	return took[len(took)/2]
}
