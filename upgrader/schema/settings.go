package schema

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// CompareSettings says which of the wanted index settings an index does not
// have; nil when it has all. Settings that are not wanted are not looked at.
func CompareSettings(want, have map[string]any) error {
	w, h := Flatten(want), Flatten(have)
	var diffs []string
	for k, v := range w {
		if h[k] != v {
			diffs = append(diffs, fmt.Sprintf("%s is %q, wanted %q", k, h[k], v))
		}
	}
	return differences("settings", diffs)
}

// Flatten gives settings by their dotted names, and their values as text.
func Flatten(settings map[string]any) map[string]string {
	out := map[string]string{}
	flattenBelow(settings, "", out)
	return out
}

func flattenBelow(m map[string]any, at string, into map[string]string) {
	for k, v := range m {
		path := strings.TrimPrefix(at+"."+k, ".")
		if sub, ok := v.(map[string]any); ok {
			flattenBelow(sub, path, into)
			continue
		}
		into[path] = fmt.Sprint(v)
	}
}

// Settings of an index by what a clone does with them. Prefixes end in a dot.
var (
	// engineMade are written by the engine for every index anew, or say how a
	// cloned one came to be.
	engineMade = []string{"uuid", "creation_date", "creation_date_string", "provided_name", "version.", "history.", "resize.", "shrink.", "routing_partition_size", "number_of_routing_shards", "routing.allocation.initial_recovery.", "routing.allocation.include._tier_preference", "replication.type", "soft_deletes."}
	// changeable are those that an index may get after it was made.
	changeable = []string{"refresh_interval", "number_of_replicas", "auto_expand_replicas", "blocks.", "max_", "mapping.total_fields.limit", "mapping.depth.limit", "mapping.nested_", "mapping.field_name_length.limit", "mapping.dimension_fields.limit", "routing.allocation.", "routing.rebalance.", "translog.", "merge.", "search.", "indexing.", "priority", "hidden", "lifecycle.", "default_pipeline", "final_pipeline", "query.default_field", "gc_deletes", "highlight.", "analyze.", "unassigned."}
)

func settingIn(list []string, key string) bool {
	return slices.ContainsFunc(list, func(p string) bool {
		return key == p || (strings.HasSuffix(p, ".") || strings.HasSuffix(p, "_")) && strings.HasPrefix(key, p)
	})
}

// CloneSettings are those that a clone of an index must be given so that it has
// what is wanted and nothing else of its source's own: by dotted names, nil for
// the engine's default. An error names a setting that differs and cannot be
// changed.
func CloneSettings(want, have map[string]any) (map[string]any, error) {
	w, h := Flatten(want), Flatten(have)
	out := map[string]any{"blocks.write": nil}
	for _, k := range slices.Sorted(maps.Keys(w)) {
		switch {
		case settingIn(changeable, k):
			out[k] = w[k]
		case h[k] == w[k] || k == "number_of_shards" && h[k] == "" && w[k] == "1":
		default:
			return nil, fmt.Errorf("setting %s is %q, wanted %q", k, h[k], w[k])
		}
	}
	for _, k := range slices.Sorted(maps.Keys(h)) {
		_, wanted := w[k]
		switch {
		case wanted || settingIn(engineMade, k) || k == "number_of_shards" && h[k] == "1":
		case settingIn(changeable, k):
			out[k] = nil
		default:
			return nil, fmt.Errorf("setting %s is %q and not wanted", k, h[k])
		}
	}
	return out, nil
}
