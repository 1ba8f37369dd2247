package fleet

import (
	"math/rand/v2"
	"strings"
	"time"
)

// shape builds one document so that a mapping accepts it. The same generator
// serves every release: each value is offered under the names that it had over
// the years and goes where the mapping has room for it.
type shape struct {
	mapping map[string]any
	doc     map[string]any
	rng     *rand.Rand
	at      time.Time
}

// put stores v under the first of the dotted paths that the mapping accepts;
// when there is none the release does not know such a value.
func (s *shape) put(v any, paths ...string) {
	for _, path := range paths {
		if accepts(s.mapping, splitPath(path), v) {
			store(s.doc, splitPath(path), v)
			return
		}
	}
}

// maybe is put in the given part of all documents.
func (s *shape) maybe(part float64, v any, paths ...string) {
	if s.rng.Float64() < part {
		s.put(v, paths...)
	}
}

// accepts says whether an object with this mapping may hold v under path.
func accepts(node map[string]any, path []string, v any) bool {
	if len(path) == 0 {
		if _, object := node["properties"]; !object || v == nil {
			return true
		}
		fields, isMap := v.(map[string]any)
		for name, field := range fields {
			if !accepts(node, []string{name}, field) {
				return false
			}
		}
		return isMap
	}
	if free(node) {
		return true
	}
	properties, _ := node["properties"].(map[string]any)
	child, ok := properties[path[0]].(map[string]any)
	return ok && accepts(child, path[1:], v)
}

// free says that a mapping node takes any content: flattened, not parsed, or
// explicitly dynamic without known properties.
func free(node map[string]any) bool {
	if enabled, ok := node["enabled"]; ok && isFalse(enabled) {
		return true
	}
	if node["type"] == "flattened" {
		return true
	}
	_, known := node["properties"]
	return dynamic(node) && !known
}

func dynamic(node map[string]any) bool {
	return node["dynamic"] == true || node["dynamic"] == "true"
}

func isFalse(v any) bool { return v == false || v == "false" }

func store(doc map[string]any, path []string, v any) {
	for _, name := range path[:len(path)-1] {
		child, ok := doc[name].(map[string]any)
		if !ok {
			child = map[string]any{}
			doc[name] = child
		}
		doc = child
	}
	doc[path[len(path)-1]] = v
}

// lookup returns the value under a dotted path.
func lookup(doc map[string]any, path string) (any, bool) {
	var v any = doc
	for name := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = m[name]; !ok {
			return nil, false
		}
	}
	return v, true
}

func (s *shape) pick(from ...string) string { return from[s.rng.IntN(len(from))] }

// uuid is a random identifier in the form that Tracardi uses.
func (s *shape) uuid() string {
	const digits = "0123456789abcdef"
	b := make([]byte, 36)
	for i := range b {
		b[i] = digits[s.rng.IntN(16)]
	}
	for _, i := range []int{8, 13, 18, 23} {
		b[i] = '-'
	}
	b[14] = '4'
	return string(b)
}

// later returns a moment up to the given time after the document's own, as
// Python's isoformat writes it: no zone, microseconds.
func (s *shape) later(within time.Duration) string {
	return s.at.Add(time.Duration(s.rng.Int64N(int64(within)))).Format("2006-01-02T15:04:05.000000")
}

func (s *shape) now() string { return s.at.Format("2006-01-02T15:04:05.000000") }

// money is an amount with two digits.
func (s *shape) money(limit int) float64 { return float64(s.rng.IntN(limit*100)) / 100 }

// numbers hands out identifiers that repeat, so that events share profiles.
func (s *shape) reference(kind string, of int) string {
	return kind + "-" + strings.Repeat("0", 3) + string(rune('a'+s.rng.IntN(min(of, 26))))
}

// putOdd stores v although the mapping may not know the field, when it is null
// below an object that the mapping knows: the engine takes that even where the
// mapping is strict.
func (s *shape) putOdd(path string, v any) {
	names := splitPath(path)
	if v == nil && len(names) > 1 && accepts(s.mapping, names[:len(names)-1], map[string]any{}) {
		store(s.doc, names, v)
		return
	}
	s.put(v, path)
}

func splitPath(path string) []string { return strings.Split(path, ".") }
