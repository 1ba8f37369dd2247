package schema

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// OnlyAdds says why a mapping is more than another one with fields added
// whose absence in existing documents is certain; "" when it is that.
func OnlyAdds(want, have map[string]any) string {
	common, bad := common(want, have, "", dynamicOf(have, "true"))
	if bad != "" {
		return bad
	}
	if err := CompareMapping(common, have); err != nil {
		return err.Error()
	}
	return ""
}

// common leaves out of want what have lacks and may get.
func common(want, have map[string]any, at, dynamic string) (out map[string]any, bad string) {
	wp, _ := want["properties"].(map[string]any)
	if len(wp) == 0 {
		return want, ""
	}
	hp, _ := have["properties"].(map[string]any)
	kept := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(wp)) {
		path := strings.TrimPrefix(at+"."+name, ".")
		field, _ := wp[name].(map[string]any)
		old, there := hp[name].(map[string]any)
		switch {
		case !there && dynamic != "strict" && dynamic != "true":
			return nil, fmt.Sprintf("field %s is added where documents may hold it unindexed already (dynamic is %s)", path, dynamic)
		case !there && findKey(field, "null_value"):
			return nil, fmt.Sprintf("field %s is added and indexes nulls, which documents may hold", path)
		case !there:
			continue
		}
		if kept[name], bad = common(field, old, path, dynamicOf(old, dynamic)); bad != "" {
			return nil, bad
		}
	}
	out = maps.Clone(want)
	out["properties"] = kept
	// A strict parent refuses what it does not know: what is in it beyond the
	// wanted fields is a difference, which CompareMapping finds.
	return out, ""
}

// findKey says whether a mapping has a parameter anywhere.
func findKey(m map[string]any, key string) bool {
	if _, ok := m[key]; ok {
		return true
	}
	for _, v := range m {
		if sub, ok := v.(map[string]any); ok && findKey(sub, key) {
			return true
		}
	}
	return false
}
