package releases

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// CompareVersions orders versions by their numbers: 0.8.2 is before 0.8.10.
func CompareVersions(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(as), len(bs)) {
		x, y := "0", "0"
		if i < len(as) {
			x = as[i]
		}
		if i < len(bs) {
			y = bs[i]
		}
		m, errm := strconv.Atoi(x)
		n, errn := strconv.Atoi(y)
		c := cmp.Compare(m, n)
		if errm != nil || errn != nil {
			c = strings.Compare(x, y)
		}
		if c != 0 {
			return c
		}
	}
	return 0
}

// NormalSettings writes index settings as a release has them: nested below
// "index", leaves as text, without replicas and without what an engine adds by
// itself.
func NormalSettings(settings map[string]any) map[string]any {
	out := map[string]any{}
	var add func(path string, v any)
	add = func(path string, v any) {
		if m, ok := v.(map[string]any); ok {
			for k, e := range m {
				add(join(path, k), e)
			}
			return
		}
		path = strings.TrimPrefix(path, "index.")
		for _, own := range []string{"number_of_replicas", "creation_date", "uuid", "version", "provided_name", "blocks", "routing", "resize", "history"} {
			if within(path, own) {
				return
			}
		}
		put(out, names(path), fmt.Sprint(v), false)
	}
	add("", settings)
	if out["number_of_shards"] == nil {
		out["number_of_shards"] = "1" // the engine's default since 7.0
	}
	return out
}

// NormalMapping writes a mapping as an engine shows it: "dynamic" as text, no
// "type" beside properties, nothing that is the default.
func NormalMapping(mapping map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range mapping {
		switch k {
		case "properties":
			if props := normalProperties(v); len(props) > 0 {
				out[k] = props
			}
		case "dynamic":
			out[k] = fmt.Sprint(v)
		case "enabled", "index":
			if fmt.Sprint(v) != "true" {
				out[k] = v
			}
		default:
			out[k] = v
		}
	}
	return out
}

func normalProperties(v any) map[string]any {
	out := map[string]any{}
	props, _ := v.(map[string]any)
	for name, field := range props {
		m, _ := field.(map[string]any)
		n := NormalMapping(m)
		if n["properties"] != nil && n["type"] == "object" {
			delete(n, "type")
		}
		if n["properties"] == nil && n["type"] == nil {
			n["type"] = "object"
		}
		out[name] = n
	}
	return out
}
