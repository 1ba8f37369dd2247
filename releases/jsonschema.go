package releases

import (
	"maps"
	"slices"
	"strings"
)

// Schema returns the JSON Schema (2020-12) of release.yaml ("release") or of
// migration.yaml ("migration"), for editors; false for any other name. It is
// made of the tables that the loader goes by.
func Schema(file string) (map[string]any, bool) {
	s := map[string]any{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "additionalProperties": false}
	switch file {
	case "release":
		s["title"] = "release.yaml of a TMS release bundle"
		s["required"] = []string{"version", "prefix", "resources"}
		s["properties"] = map[string]any{
			"version":    pattern(versionPattern.String()),
			"prefix":     pattern(prefixPattern.String()),
			"previous":   pattern(versionPattern.String()),
			"production": typed("boolean"), "versioned_templates": typed("boolean"),
			"resources": map[string]any{
				"type": "object", "minProperties": 1, "propertyNames": map[string]any{"pattern": keyPattern.String()},
				"additionalProperties": but(record([]string{"base"}, map[string]any{
					"base": pattern(keyPattern.String()), "static": typed("boolean"), "mapping": typed("string"),
					"partitioning": enum(string(Monthly), string(Quarterly), string(Yearly)),
					"settings":     map[string]any{"type": "object", "propertyNames": map[string]any{"not": map[string]any{"const": "number_of_replicas"}}},
				}), map[string]any{"properties": map[string]any{"static": map[string]any{"const": true}}, "required": []string{"static", "partitioning"}}),
			},
		}
	case "migration":
		s["title"] = "migration.yaml of a TMS release bundle"
		s["required"] = []string{"from", "to"}
		s["properties"] = map[string]any{
			"from": pattern(versionPattern.String()), "to": pattern(versionPattern.String()),
			"unchanged": listOf(typed("string")), "new": listOf(typed("string")),
			"gone":  map[string]any{"type": "object", "additionalProperties": typed("string")},
			"steps": map[string]any{"type": "object", "additionalProperties": stepSchema()},
		}
	default:
		return nil, false
	}
	return s, true
}

func stepSchema() map[string]any {
	var ops []any
	for _, kind := range slices.Sorted(maps.Keys(opKeys)) {
		if kind == OpRoute {
			ops = append(ops, routeSchemas()...)
			continue
		}
		ops = append(ops, opSchema(kind))
	}
	document := map[string]any{"type": "object"}
	return record(nil, map[string]any{
		"from":      typed("string"),
		"transform": listOf(map[string]any{"oneOf": ops}),
		"drops":     listOf(record([]string{"field", "reason"}, map[string]any{"field": fieldPath, "reason": pattern(`\S`)})),
		"examples": listOf(oneOf(record([]string{"in"}, map[string]any{
			"name": typed("string"), "mode": enum(modes[1:]...), "in": document, "out": document, "dropped": typed("boolean"), "routed": typed("boolean"),
		}), "out", "dropped", "routed")),
	})
}

// opSchema is one operation, by the same table that the loader uses.
func opSchema(kind OpKind) map[string]any {
	props := map[string]any{
		"op":   map[string]any{"const": string(kind)},
		"when": conditionSchema(),
		"mode": enum(modes[1:]...),
	}
	required := []string{"op"}
	for _, k := range opKeys[kind] {
		name, needed := strings.CutSuffix(k, "*")
		if needed {
			required = append(required, name)
		}
		props[name] = keySchema(kind, name)
	}
	if kind == OpDropDocument {
		required = append(required, "when")
	}
	return record(required, props)
}

// routeSchemas are those of the two kinds of routes.
func routeSchemas() []any {
	op := map[string]any{"const": string(OpRoute)}
	return []any{
		record([]string{"op", "to", "when"}, map[string]any{"op": op, "to": pattern(keyPattern.String()), "when": conditionSchema()}),
		record([]string{"op", "by"}, map[string]any{"op": op, "by": fieldPath, "when": conditionSchema()}),
	}
}

func conditionSchema() map[string]any {
	return oneOf(record([]string{"field"}, map[string]any{"field": fieldPath, "is": enum(conditionTests...), "equals": map[string]any{"type": []string{"string", "number", "boolean"}}}), "is", "equals")
}

func keySchema(kind OpKind, name string) map[string]any {
	switch name {
	case "onto":
		if kind == OpCopy {
			return enum(OntoKeep, OntoReplace)
		}
		return enum(OntoKeep, OntoReplace, OntoDiscard)
	case "on_error":
		return map[string]any{"enum": []any{OnErrorKeep, OnErrorNull, OnErrorRemove, nil}}
	case "only":
		return enum(OnlyEmpty)
	case "value":
		return map[string]any{}
	case "values":
		return map[string]any{"type": "object", "minProperties": 1, "additionalProperties": map[string]any{"not": map[string]any{"type": "null"}}}
	case "under":
		list := listOf(oneName)
		list["minItems"], list["uniqueItems"] = 1, true
		return map[string]any{"anyOf": []any{oneName, list}}
	case "to":
		if kind == OpConvert {
			return enum(convertTargets...)
		}
		if kind == OpDate {
			return enum(dateFormats...)
		}
		if kind == OpRename {
			return oneName
		}
		return fieldPath
	case "field":
		return fieldPath
	case "from":
		if kind == OpDate {
			return enum(dateUnits[1:]...)
		}
		return fieldPath
	}
	return typed("string")
}

// Fields of documents.
var (
	oneName   = pattern(`^[^.]+$`)
	fieldPath = pattern(`^[^.]+(\.[^.]+)*$`)
)

// oneOf demands exactly one of some properties of a record.
func oneOf(r map[string]any, names ...string) map[string]any {
	choices := make([]any, len(names))
	for i, n := range names {
		choices[i] = map[string]any{"required": []string{n}}
	}
	r["oneOf"] = choices
	return r
}

// but forbids what a schema describes.
func but(r, forbidden map[string]any) map[string]any {
	r["not"] = forbidden
	return r
}

func typed(t string) map[string]any        { return map[string]any{"type": t} }
func pattern(p string) map[string]any      { return map[string]any{"type": "string", "pattern": p} }
func enum(values ...string) map[string]any { return map[string]any{"enum": values} }
func listOf(item map[string]any) map[string]any {
	return map[string]any{"type": "array", "items": item}
}

func record(required []string, props map[string]any) map[string]any {
	out := map[string]any{"type": "object", "additionalProperties": false, "properties": props}
	if len(required) > 0 {
		out["required"] = required
	}
	return out
}
