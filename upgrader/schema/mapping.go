package schema

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
)

// CompareMapping says how an index's mapping differs from the one that the
// release wants; nil when it holds what is wanted. Fields that dynamic
// objects have learned from documents are no difference. The error names at
// most a handful of fields.
func CompareMapping(want, have map[string]any) error {
	var diffs []string
	compareObject(want, have, "", dynamicOf(want, "true"), &diffs)
	return differences("mapping", diffs)
}

// differences makes an error of a list of differences.
func differences(what string, diffs []string) error {
	if len(diffs) == 0 {
		return nil
	}
	sort.Strings(diffs)
	const most = 5
	if n := len(diffs); n > most {
		diffs = append(diffs[:most:most], fmt.Sprintf("and %d more", n-most))
	}
	return fmt.Errorf("%s differs: %s", what, strings.Join(diffs, "; "))
}

func dynamicOf(m map[string]any, inherited string) string {
	if v, ok := m["dynamic"]; ok {
		return fmt.Sprint(v)
	}
	return inherited
}

func compareObject(want, have map[string]any, at, dynamic string, diffs *[]string) {
	for k, w := range want {
		if k == "properties" || k == "_meta" {
			continue
		}
		h, ok := have[k]
		if !ok && k == "type" && fmt.Sprint(w) == "object" {
			continue // the engine leaves it out where there are properties
		}
		if !ok || !sameValue(w, h) {
			*diffs = append(*diffs, fmt.Sprintf("%s: %s is %v, wanted %v", cmp.Or(at, "root"), k, orMissing(h, ok), w))
		}
	}
	for k, h := range have {
		if _, ok := want[k]; !ok && k != "properties" && k != "_meta" && !(k == "type" && fmt.Sprint(h) == "object") {
			*diffs = append(*diffs, fmt.Sprintf("%s: %s is %v, not wanted", cmp.Or(at, "root"), k, h))
		}
	}
	wp, _ := want["properties"].(map[string]any)
	hp, _ := have["properties"].(map[string]any)
	for k, w := range wp {
		path := strings.TrimPrefix(at+"."+k, ".")
		h, ok := hp[k].(map[string]any)
		if !ok {
			*diffs = append(*diffs, path+" is missing")
			continue
		}
		wm, _ := w.(map[string]any)
		compareObject(wm, h, path, dynamicOf(wm, dynamic), diffs)
	}
	if dynamic == "strict" {
		for k := range hp {
			if _, ok := wp[k]; !ok {
				*diffs = append(*diffs, strings.TrimPrefix(at+"."+k, ".")+" is not wanted")
			}
		}
	}
}

func orMissing(v any, ok bool) any {
	if !ok {
		return "missing"
	}
	return v
}

// sameValue compares parameters: engines render true as "true" and 2000 as
// "2000" in places.
func sameValue(a, b any) bool {
	ma, oka := a.(map[string]any)
	mb, okb := b.(map[string]any)
	if oka && okb {
		if len(ma) != len(mb) {
			return false
		}
		for k, v := range ma {
			if w, ok := mb[k]; !ok || !sameValue(v, w) {
				return false
			}
		}
		return true
	}
	return fmt.Sprint(a) == fmt.Sprint(b)
}

// Hash identifies the wanted mapping in a proof.
func Hash(m map[string]any) string {
	b, err := json.Marshal(m) // sorts keys
	if err != nil {
		return "unknown: " + err.Error() // a mapping is JSON by construction
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// FieldOf returns the dotted path of a field of a mapping that has a type, the
// first by name; "" when there is none.
func FieldOf(m map[string]any, typ string) string { return fieldBelow(m, typ, "") }

func fieldBelow(m map[string]any, typ, at string) string {
	if m["type"] == typ {
		return at
	}
	for _, under := range []string{"properties", "fields"} {
		props, _ := m[under].(map[string]any)
		for _, k := range slices.Sorted(maps.Keys(props)) {
			sub, _ := props[k].(map[string]any)
			if f := fieldBelow(sub, typ, strings.TrimPrefix(at+"."+k, ".")); f != "" {
				return f
			}
		}
	}
	return ""
}
