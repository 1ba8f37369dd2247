package elastic

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tracardi/tms/upgrader"
)

// flattened is the type's name in releases and everywhere in TMS.
const flattened = "flattened"

// TranslateMapping returns the mapping as the engine spells it: fields of type
// flattened get the engine's type for that, EngineInfo.Flattened. flat_object
// knows no parameters, so ignore_above, null_value, depth_limit and the rest
// are left out there: OpenSearch then indexes values that Elasticsearch would
// have skipped, and null_value is lost to searches (never to _source).
//
// An engine without such a type is refused with an error that names every
// field concerned. The mapping given is not changed, and may
// be shared with the result.
func TranslateMapping(mapping map[string]any, info upgrader.EngineInfo) (map[string]any, error) {
	if info.Flattened == flattened {
		return mapping, nil
	}
	var refused []string
	out := rewrite(mapping, "", func(path string, field map[string]any) map[string]any {
		if field["type"] != flattened {
			return nil
		}
		if info.Flattened == "" {
			refused = append(refused, path)
			return nil
		}
		return map[string]any{"type": info.Flattened}
	})
	if len(refused) > 0 {
		slices.Sort(refused)
		return nil, fmt.Errorf("%s %s has no mapping type for flattened objects, which these fields need: %s; use Elasticsearch 7.17 or later, or OpenSearch 2.7 or later",
			info.Product, info.Version, strings.Join(refused, ", "))
	}
	return out, nil
}

// CanonicalMapping is the way back: the engine's type for flattened objects
// gets the name flattened again, so that mappings of one release compare equal
// whatever the engine. Parameters that TranslateMapping left out do not come
// back; compare with CanonicalMapping(TranslateMapping(m)), not with m.
func CanonicalMapping(mapping map[string]any, info upgrader.EngineInfo) map[string]any {
	if info.Flattened == flattened || info.Flattened == "" {
		return mapping
	}
	return rewrite(mapping, "", func(_ string, field map[string]any) map[string]any {
		if field["type"] != info.Flattened {
			return nil
		}
		renamed := maps.Clone(field)
		renamed["type"] = flattened
		return renamed
	})
}

// rewrite walks the fields below node's properties, multi-fields and dynamic
// templates, and replaces those for which visit returns a map. It returns
// a copy, as deep as fields go.
func rewrite(node map[string]any, path string, visit func(path string, field map[string]any) map[string]any) map[string]any {
	out := maps.Clone(node)
	for _, key := range []string{"properties", "fields"} {
		children, ok := node[key].(map[string]any)
		if !ok {
			continue
		}
		changed := maps.Clone(children)
		for name, child := range children {
			field, ok := child.(map[string]any)
			if !ok {
				continue
			}
			at := strings.TrimPrefix(path+"."+name, ".")
			if replaced := visit(at, field); replaced != nil {
				changed[name] = replaced
				continue
			}
			changed[name] = rewrite(field, at, visit)
		}
		out[key] = changed
	}
	if list, ok := node["dynamic_templates"].([]any); ok {
		out["dynamic_templates"] = rewriteTemplates(list, visit)
	}
	return out
}

// rewriteTemplates does the same for [{name: {"mapping": {…}}}].
func rewriteTemplates(list []any, visit func(string, map[string]any) map[string]any) []any {
	out := slices.Clone(list)
	for i, item := range list {
		named, ok := item.(map[string]any)
		if !ok {
			continue
		}
		renamed := maps.Clone(named)
		for name, rule := range named {
			r, ok := rule.(map[string]any)
			if !ok {
				continue
			}
			m, ok := r["mapping"].(map[string]any)
			if !ok {
				continue
			}
			r = maps.Clone(r)
			at := "dynamic template " + name
			if replaced := visit(at, m); replaced != nil {
				r["mapping"] = replaced
			} else {
				r["mapping"] = rewrite(m, at, visit)
			}
			renamed[name] = r
		}
		out[i] = renamed
	}
	return out
}
