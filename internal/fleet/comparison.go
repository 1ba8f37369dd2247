package fleet

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
)

// difference names the first field in which two decoded JSON values differ, ""
// when they mean the same. Numbers are compared by value: what passes through
// a script of the engine comes back as 1.0E-7 or 12.0.
func difference(path string, want, have any) string {
	switch w := want.(type) {
	case map[string]any:
		h, ok := have.(map[string]any)
		if !ok {
			return differs(path, want, have)
		}
		for _, key := range slices.Sorted(maps.Keys(w)) {
			v, ok := h[key]
			if !ok {
				return fmt.Sprintf("%s is missing, expected %s", join(path, key), brief(w[key]))
			}
			if d := difference(join(path, key), w[key], v); d != "" {
				return d
			}
		}
		for _, key := range slices.Sorted(maps.Keys(h)) {
			if _, ok := w[key]; !ok {
				return fmt.Sprintf("%s is %s, expected no such field", join(path, key), brief(h[key]))
			}
		}
		return ""
	case []any:
		h, ok := have.([]any)
		if !ok || len(h) != len(w) {
			return differs(path, want, have)
		}
		for i := range w {
			if d := difference(path+"["+strconv.Itoa(i)+"]", w[i], h[i]); d != "" {
				return d
			}
		}
		return ""
	case json.Number:
		if h, ok := have.(json.Number); ok && sameNumber(w, h) {
			return ""
		}
		return differs(path, want, have)
	default:
		if want == have {
			return ""
		}
		return differs(path, want, have)
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func differs(path string, want, have any) string {
	return fmt.Sprintf("%s is %s, expected %s", path, brief(have), brief(want))
}

// brief renders a value short enough for a report.
func brief(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	if len(raw) > 80 {
		return string(raw[:80]) + "…"
	}
	return string(raw)
}

// sameNumber compares integers exactly and everything else as the engine's
// script language holds it, as a double.
func sameNumber(a, b json.Number) bool {
	if a == b {
		return true
	}
	x, ok1 := new(big.Int).SetString(a.String(), 10)
	y, ok2 := new(big.Int).SetString(b.String(), 10)
	if ok1 && ok2 {
		return x.Cmp(y) == 0
	}
	f, err1 := a.Float64()
	g, err2 := b.Float64()
	return err1 == nil && err2 == nil && f == g
}
