package schema

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Gap is what an index's mapping lacks of the one that a release wants.
type Gap struct {
	// Missing are fields, and the dynamic of objects, that a mapping can be
	// given in place.
	Missing []string
	// Conflicts are differences that it cannot.
	Conflicts []string
}

// GapOf compares mappings for a change in place: what is wanted and not
// there can be added, what is there and different cannot be changed. What only
// the index has does no harm.
func GapOf(want, have map[string]any) Gap {
	var g Gap
	g.object(want, have, "")
	slices.Sort(g.Missing)
	slices.Sort(g.Conflicts)
	return g
}

func (g *Gap) object(want, have map[string]any, at string) {
	for k, w := range want {
		h, ok := have[k]
		switch {
		case k == "properties" || k == "_meta":
		case k == "fields":
			g.multiFields(w, h, at)
		case !ok && k == "type" && fmt.Sprint(w) == "object", ok && sameValue(w, h):
		case k == "dynamic":
			g.Missing = append(g.Missing, cmp.Or(at, "root")+" (dynamic: "+fmt.Sprint(w)+")")
		default:
			g.Conflicts = append(g.Conflicts, fmt.Sprintf("field %s: %s is %v, wanted %v", cmp.Or(at, "root"), k, orMissing(h, ok), w))
		}
	}
	for k, h := range have {
		if _, ok := want[k]; !ok && at != "" && !slices.Contains([]string{"properties", "fields", "_meta", "dynamic"}, k) && !(k == "type" && fmt.Sprint(h) == "object") {
			g.Conflicts = append(g.Conflicts, fmt.Sprintf("field %s: %s is %v, not wanted", at, k, h))
		}
	}
	wp, _ := want["properties"].(map[string]any)
	hp, _ := have["properties"].(map[string]any)
	for k, w := range wp {
		path := strings.TrimPrefix(at+"."+k, ".")
		h, ok := hp[k].(map[string]any)
		if !ok {
			g.Missing = append(g.Missing, path)
			continue
		}
		wm, _ := w.(map[string]any)
		g.object(wm, h, path)
	}
}

// multiFields can be added to a field that has others.
func (g *Gap) multiFields(want, have any, at string) {
	w, _ := want.(map[string]any)
	h, _ := have.(map[string]any)
	for k, v := range w {
		path := at + "." + k
		there, ok := h[k].(map[string]any)
		if !ok {
			g.Missing = append(g.Missing, path)
			continue
		}
		wm, _ := v.(map[string]any)
		g.object(wm, there, path)
	}
}
