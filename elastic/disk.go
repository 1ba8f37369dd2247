package elastic

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/capacity"
)

var _ upgrader.Disks = (*Client)(nil)

// Disk implements upgrader.Disks. With several data nodes the low watermark
// counts: past it a node gets no more shards. A single one is spared that by
// default, and is stopped by the flood stage.
func (c *Client) Disk(ctx context.Context) (capacity.Disk, error) {
	const op = "read the disk use of the data nodes"
	var b capacity.Disk
	var rows []struct {
		Total number `json:"disk.total"`
		Used  number `json:"disk.used"`
	}
	err := c.do(ctx, call{op: op, request: fixed(request{
		method: http.MethodGet, path: "/_cat/allocation", query: query("format", "json", "bytes", "b", "h", "node,disk.total,disk.used"),
	})}, &rows)
	if err != nil {
		return b, err
	}
	w, err := c.watermarks(ctx)
	if err != nil {
		return b, err
	}
	nodes := 0
	for _, r := range rows {
		if r.Total > 0 { // not the row of unassigned shards
			nodes++
		}
	}
	name := "low"
	if nodes == 1 && w["enable_for_single_data_node"] != "true" {
		name = "flood_stage"
	}
	for _, r := range rows {
		b.Total += int64(r.Total)
		b.Used += int64(r.Used)
		if w["threshold_enabled"] == "false" || r.Total == 0 {
			continue
		}
		at, err := watermark(w[name], w[name+".max_headroom"], int64(r.Total))
		if err != nil {
			return b, fmt.Errorf("%s: cluster.routing.allocation.disk.watermark.%s: %w", op, name, err)
		}
		b.Limit += at
		b.Watermark = name
	}
	return b, nil
}

// watermarks are the settings in force, without the path in front.
func (c *Client) watermarks(ctx context.Context) (map[string]string, error) {
	var settings map[string]map[string]any
	err := c.do(ctx, call{op: "read the disk watermarks", request: func() esapi.Request {
		return esapi.ClusterGetSettingsRequest{IncludeDefaults: ptr(true), FlatSettings: ptr(true)}
	}}, &settings)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, level := range []string{"defaults", "persistent", "transient"} {
		for key, v := range settings[level] {
			if name, ok := strings.CutPrefix(key, "cluster.routing.allocation.disk."); ok {
				out[strings.TrimPrefix(name, "watermark.")] = fmt.Sprint(v)
			}
		}
	}
	return out, nil
}

// watermark is the use at which a disk reaches it: "85%" and "0.85" of the
// disk, of which headroom may leave less free, or, as "50gb", what must be
// free.
func watermark(text, headroom string, total int64) (int64, error) {
	share, isPercent := strings.CutSuffix(text, "%")
	if v, err := strconv.ParseFloat(share, 64); err == nil {
		if isPercent {
			v /= 100
		}
		at := int64(math.Round(v * float64(total)))
		if free, err := byteSize(headroom); err == nil && free > 0 {
			at = max(at, total-free)
		}
		return at, nil
	}
	free, err := byteSize(text)
	return max(0, total-free), err
}

// byteSize reads the engine's notation, "200GB"; powers of 1024 as there.
func byteSize(text string) (int64, error) {
	units := []struct {
		suffix string
		bytes  float64
	}{{"pb", 1 << 50}, {"tb", 1 << 40}, {"gb", 1 << 30}, {"mb", 1 << 20}, {"kb", 1 << 10}, {"b", 1}}
	lower := strings.ToLower(strings.TrimSpace(text))
	for _, u := range units {
		if digits, ok := strings.CutSuffix(lower, u.suffix); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
			return int64(v * u.bytes), err
		}
	}
	return 0, fmt.Errorf("%q is no size", text)
}
