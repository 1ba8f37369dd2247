package releases

import "slices"

// verdict is what a mapping says about a field.
type verdict int

const (
	refused verdict = iota // strict: a document with a value there is refused
	leaf                   // one value, or a list of values
	object                 // mapped object
	hash                   // flattened: an object, not looked into
	free                   // anything: not looked into, or mapped on arrival
)

func (v verdict) String() string {
	return [...]string{"not known to a strict mapping", "a single value", "an object", "a flattened object", "anything"}[v]
}

// takes tells whether a value that is stored as the source says can be stored
// as the target says. What is not certain is allowed: the engine has the last
// word on each document.
func (v verdict) takes(source verdict) bool {
	switch {
	case v == refused:
		return false
	case v == free || source == free || v == source:
		return true
	}
	return v != leaf && source != leaf
}

// lookup finds a dotted path in a mapping.
func lookup(mapping map[string]any, path string) verdict {
	node, strict := mapping, false
	for i, name := range names(path) {
		if mode := node["dynamic"]; mode != nil {
			strict = mode == "strict"
		}
		if i > 0 {
			switch classify(node) {
			case leaf:
				return refused // the name of a multi-field at most, never a value of its own
			case hash, free:
				return free
			}
		}
		props, _ := node["properties"].(map[string]any)
		next, ok := props[name].(map[string]any)
		if !ok {
			if strict {
				return refused
			}
			return free
		}
		node = next
	}
	return classify(node)
}

func classify(node map[string]any) verdict {
	_, nested := node["properties"]
	switch kind, _ := node["type"].(string); {
	case node["enabled"] == false:
		return free
	case kind == "flattened" || kind == "flat_object":
		return hash
	case nested || kind == "object" || kind == "nested" || kind == "":
		return object
	case kind == "geo_point" || kind == "geo_shape" || kind == "join":
		return free // take objects as well as single values
	}
	return leaf
}

// fieldsOf lists every field of a mapping that holds values, sorted: leaves,
// flattened objects, and objects without known members.
func fieldsOf(mapping map[string]any, parent string) []string {
	var out []string
	props, _ := mapping["properties"].(map[string]any)
	for name, v := range props {
		node, _ := v.(map[string]any)
		path := join(parent, name)
		if inner, _ := node["properties"].(map[string]any); len(inner) > 0 && classify(node) == object {
			out = append(out, fieldsOf(node, path)...)
			continue
		}
		out = append(out, path)
	}
	slices.Sort(out)
	return out
}

// typeAt is the mapping type of a field, "" when it has none of its own.
func typeAt(mapping map[string]any, path string) string {
	kind, _ := fieldAt(mapping, path)["type"].(string)
	return kind
}

// fieldAt is what a mapping says about a field; nil when it says nothing.
func fieldAt(mapping map[string]any, path string) map[string]any {
	node := mapping
	for _, name := range names(path) {
		props, _ := node["properties"].(map[string]any)
		next, ok := props[name].(map[string]any)
		if !ok {
			return nil
		}
		node = next
	}
	return node
}

// mappingTypes are those of Elasticsearch 7.10 to 9 and OpenSearch 1 to 3, with
// their own plugins.
var mappingTypes = []string{
	"aggregate_metric_double", "alias", "annotated_text", "binary", "boolean", "byte", "completion", "constant_keyword", "counted_keyword",
	"date", "date_nanos", "date_range", "dense_vector", "derived", "double", "double_range", "flat_object", "flattened", "float", "float_range",
	"geo_point", "geo_shape", "half_float", "histogram", "icu_collation_keyword", "integer", "integer_range", "ip", "ip_range", "join", "keyword",
	"knn_vector", "long", "long_range", "match_only_text", "murmur3", "nested", "object", "passthrough", "percolator", "point", "rank_feature",
	"rank_features", "rank_vectors", "scaled_float", "search_as_you_type", "semantic", "semantic_text", "shape", "short", "sparse_vector",
	"star_tree", "text", "token_count", "unsigned_long", "version", "wildcard", "xy_point", "xy_shape",
}

// widths orders the whole numbers and the floating ones by what they hold.
var widths = map[string]int{"byte": 1, "short": 2, "integer": 3, "long": 4, "unsigned_long": 5, "half_float": 6, "float": 7, "scaled_float": 7, "double": 8}

// typeHolds tells whether every value of a field of one type can be stored in
// one of another. Text takes every single value; of what is not known here the
// engine has the last word on each document.
func typeHolds(target, source string) bool {
	text := func(t string) bool {
		return t == "keyword" || t == "text" || t == "constant_keyword" || t == "wildcard" || t == "match_only_text"
	}
	a, b := widths[source], widths[target]
	switch {
	case target == source || target == "" || source == "" || text(target):
		return true
	case a > 0 && b > 0:
		return b >= a
	case text(source) && (b > 0 || target == "boolean" || target == "date" || target == "date_nanos" || target == "ip"):
		return false
	case source == "boolean" && (b > 0 || target == "date"), a > 0 && target == "boolean", source == "date" && (target == "boolean" || target == "ip" || b > 0 && b < 4):
		return false
	}
	return true
}
