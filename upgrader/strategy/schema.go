package strategy

type jsonObject = map[string]any

// Schema is the JSON Schema (2020-12) of a strategy file, for editors.
func Schema() map[string]any {
	s := closedObject(jsonObject{
		"canary":         jsonObject{"description": "the first wave", "oneOf": []any{size(), ref("wave")}},
		"waves":          jsonObject{"description": "the waves after it; whoever is in none forms the last one", "type": "array", "maxItems": maxWaves, "items": jsonObject{"oneOf": []any{size(), ref("wave")}}},
		"between":        ref("between"),
		"failure_budget": ref("failure_budget"),
		"windows":        jsonObject{"description": "when tenants may start; none is always", "type": "array", "maxItems": maxWindows, "items": ref("window")},
		"fence_outside":  oneOf("whether a tenant in work may be fenced outside of the windows", FenceAllow, FenceWait),
		"order":          oneOf("within a wave, by documents", OrderLargeFirst, OrderSmallFirst),
		"priority_label": jsonObject{"type": "string", "description": "label that comes before size: lower numbers first"},
		"inactive":       oneOf("what happens to suspended and expired tenants", InactiveUpgrade, InactiveWait, InactiveExcept),
		"finalize_after": jsonObject{"type": "string", "pattern": `^\d+d$|^([0-9.]+(ms|s|m|h))+$`, "description": "how long old versions are kept after the last tenant was switched: 7d"},
	})
	s["$schema"], s["title"] = "https://json-schema.org/draft/2020-12/schema", "strategy of a rollout"
	s["$defs"] = jsonObject{
		"wave": closedObject(jsonObject{
			"name": text("shown instead of the number"), "size": size(), "label": text("name=value"),
			"tenants": jsonObject{"type": "array", "items": jsonObject{"type": "string"}}, "between": ref("between"), "failure_budget": ref("failure_budget"),
		}),
		"between": closedObject(jsonObject{
			"soak": text("time span: 30m"), "check_for": text("how long checks are repeated until all pass; 5m"), "approval": jsonObject{"type": "boolean"},
			"finalize":         jsonObject{"type": "boolean", "description": "delete the old versions of the wave before the next one opens"},
			"without_snapshot": jsonObject{"type": "boolean", "description": "with finalize: although no snapshot holds them; audited"},
			"checks":           jsonObject{"type": "array", "maxItems": maxChecks, "items": ref("check")},
		}),
		"check": closedObject(jsonObject{
			"name": text("shown"),
			"http": closedObject(jsonObject{
				"url": text("with {tenant} and {label:NAME}"), "contains": text("of the answer"),
				"status": jsonObject{"type": "array", "items": jsonObject{"type": "integer", "minimum": 100, "maximum": 599}},
			}, "url"),
			"query": closedObject(jsonObject{
				"alias": text("without the tenant: tracardi-event"), "environment": oneOf("", "production", "staging"),
				"match": jsonObject{"type": "object", "description": "the engine's query"}, "at_least": jsonObject{"type": "integer", "minimum": 0}, "at_most": jsonObject{"type": "integer", "minimum": 0},
			}, "alias"),
			"webhook": closedObject(jsonObject{"url": text("asked by POST; answers {\"open\": true}")}, "url"),
		}),
		"failure_budget": closedObject(jsonObject{
			"tolerate": jsonObject{"description": "tenants of the wave that may fail", "type": []string{"string", "integer"}, "pattern": `^\d+%?$`},
			"then":     oneOf("what happens when more do", string(ThenPause), string(ThenStop), string(ThenContinue)),
		}),
		"window": closedObject(jsonObject{
			"days": jsonObject{"type": "array", "items": jsonObject{"type": "string"}, "description": "mon, or mon-fri; none is every day"},
			"from": text("22:00"), "to": text("04:00, of the next day when not after from"), "zone": text("Europe/Warsaw; UTC"),
		}, "from", "to"),
	}
	return s
}

func closedObject(properties jsonObject, required ...string) jsonObject {
	o := jsonObject{"type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		o["required"] = required
	}
	return o
}

func ref(name string) jsonObject { return jsonObject{"$ref": "#/$defs/" + name} }

func text(description string) jsonObject {
	return jsonObject{"type": "string", "description": description}
}

func oneOf(description string, values ...string) jsonObject {
	return jsonObject{"enum": values, "description": description}
}

// size is a number of tenants, a part, or the rest.
func size() jsonObject {
	return jsonObject{"type": []string{"string", "integer"}, "pattern": `^(\d+%?|rest)$`, "description": "tenants: 5, 10%, or rest"}
}
