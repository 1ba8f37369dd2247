package schema

import (
	"maps"
	"slices"
	"strings"

	"github.com/tracardi/tms/releases"
)

// Dynamic objects (traits, properties) learn their fields from documents: each
// new one is a change of the cluster's state that the document waits for,
// behind every index that is being created. A target that is made with the
// fields that its sources have learned needs none of them, and takes every
// document that its sources took.

// WithLearned adds to a target's mapping, below its dynamic objects, what all
// sources that know a field have learned alike. Fields that the transform
// touches are left to the documents. The mapping given is not changed.
func WithLearned(want map[string]any, t releases.Transform, sources []map[string]any) map[string]any {
	if t.Opaque() || len(sources) == 0 {
		return want
	}
	touched := map[string]bool{}
	for _, op := range t.Ops {
		for _, path := range []string{op.Field, op.From, op.To} {
			if path != "" {
				touched[path] = true
			}
		}
	}
	return learn(want, sources, "", dynamicOf(want, "true"), touched)
}

func learn(want map[string]any, sources []map[string]any, at, dynamic string, touched map[string]bool) map[string]any {
	if want["enabled"] == false || want["type"] != nil && want["type"] != "object" {
		return want
	}
	props, _ := want["properties"].(map[string]any)
	out := maps.Clone(props)
	if out == nil {
		out = map[string]any{}
	}
	below := map[string][]map[string]any{} // what the sources have under each name
	for _, src := range sources {
		children, _ := src["properties"].(map[string]any)
		for name, v := range children {
			if field, ok := v.(map[string]any); ok {
				below[name] = append(below[name], field)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(below)) {
		path := strings.TrimPrefix(at+"."+name, ".")
		known, there := props[name].(map[string]any)
		switch {
		case there:
			out[name] = learn(known, below[name], path, dynamicOf(known, dynamic), touched)
		case dynamic != "true" || overlaps(touched, path):
		default:
			if field := agreed(below[name]); field != nil {
				out[name] = field
			}
		}
	}
	if len(out) == 0 {
		return want
	}
	whole := maps.Clone(want)
	whole["properties"] = out
	return whole
}

// agreed is what several mappings of a field have in common; nil when they
// contradict each other.
func agreed(fields []map[string]any) map[string]any {
	first := fields[0]
	if _, object := first["properties"]; !object {
		for _, f := range fields[1:] {
			if !sameValue(first, f) {
				return nil
			}
		}
		return first
	}
	for _, f := range fields {
		if f["properties"] == nil {
			return nil
		}
	}
	out := learn(map[string]any{}, fields, "", "true", nil)
	if out["properties"] == nil {
		return nil
	}
	return out
}

// overlaps says whether a path is, holds or is held by one of the paths.
func overlaps(paths map[string]bool, path string) bool {
	for p := range paths {
		if p == path || strings.HasPrefix(p, path+".") || strings.HasPrefix(path, p+".") {
			return true
		}
	}
	return false
}
