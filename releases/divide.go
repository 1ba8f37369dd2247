package releases

import "strings"

// These, too, have their twins among the Painless functions.

func lift(n any, path, under []string) {
	switch n := n.(type) {
	case []any:
		for _, e := range n {
			lift(e, path, under)
		}
	case map[string]any:
		k := path[0]
		if len(path) > 1 {
			lift(n[k], path[1:], under)
			return
		}
		o, ok := n[k].(map[string]any)
		if !ok {
			return
		}
		if hasOther(o, under) {
			return
		}
		for _, u := range under {
			if v := o[u]; v != nil {
				n[k] = v
				return
			}
		}
		delete(n, k)
	}
}

// hasOther tells whether an object has a value under another name: it then
// cannot be replaced by one of them without a loss.
func hasOther(o map[string]any, under []string) bool {
	known := map[string]bool{}
	for _, u := range under {
		known[u] = true
	}
	for k, v := range o {
		if !known[k] && !hollow(v) {
			return true
		}
	}
	return false
}

// divide splits text into a list, or joins a list into text.
func divide(n any, path []string, by string, joining bool) {
	switch n := n.(type) {
	case []any:
		for _, e := range n {
			divide(e, path, by, joining)
		}
	case map[string]any:
		k := path[0]
		if len(path) > 1 {
			divide(n[k], path[1:], by, joining)
			return
		}
		switch v := n[k].(type) {
		case string:
			if !joining {
				n[k] = split(v, by)
			}
		case []any:
			if t := joined(v, by); joining && t != nil {
				n[k] = t
			}
		}
	}
}

func split(s, by string) []any {
	parts := strings.Split(s, by)
	out := make([]any, len(parts))
	for i, p := range parts {
		out[i] = p
	}
	return out
}

// joined returns nil for a list that holds more than single values.
func joined(l []any, by string) any {
	parts := make([]string, 0, len(l))
	for _, e := range l {
		if e == nil {
			continue
		}
		t, ok := toText(scalar(e)).(string)
		if !ok {
			return nil
		}
		parts = append(parts, t)
	}
	return strings.Join(parts, by)
}

func mapped(v any, values map[string]any) any {
	t, ok := toText(v).(string)
	if !ok {
		return nil
	}
	return dup(values[t])
}
