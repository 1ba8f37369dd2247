package releases

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// What an operation writes is compared with the type that the target's mapping
// gives the field, as far as that is certain without documents: a value that the
// engine would refuse is found here and not in quarantine.

// convertKinds are the narrowest mapping types of what a conversion makes: a
// field that cannot hold these cannot hold any of it.
var convertKinds = map[string]string{"string": "keyword", "integer": "byte", "float": "half_float", "boolean": "boolean"}

// held is what an operation leaves in a field, as far as it is certain.
type held struct {
	at     *yaml.Node
	kind   string // a mapping type, "" when it is not certain
	values []any  // that are written down
	date   string // form of dates, as Op.To
}

// heldAt is what a path holds at this point; at is the operation that asks.
func (c *stepCheck) heldAt(path string, at *yaml.Node) held {
	if h, ok := c.held[path]; ok {
		return h
	}
	return held{at: at, kind: typeAt(c.from, path)}
}

// reshaped looks at an operation that makes another form of a value.
func (c *stepCheck) reshaped(op Op, at *yaml.Node) {
	h := held{at: at}
	switch op.Kind {
	case OpConvert:
		h.kind = convertKinds[op.To]
	case OpSplit, OpJoin:
		h.kind = "keyword"
	case OpMap:
		for _, old := range slices.Sorted(maps.Keys(op.Values)) {
			h.values = append(h.values, op.Values[old])
		}
	case OpDate:
		h.date = op.To
	}
	if op.When != nil || op.Mode != "" {
		h.kind = "" // others stay as they are
	}
	c.held[op.Field] = h
}

// holds refuses, at the end of a step, what a field of the target cannot hold.
func (c *stepCheck) holds(path string, h held) {
	if lenient(c.to, path) {
		return
	}
	c.fits(path, h.kind, h.at)
	c.literals(path, h.at, h.values...)
	if h.date != "" {
		c.dateForm(path, h.date, h.at)
	}
}

// circle refuses a move that leads a value back to where one before it took
// it: meant as a swap it changes nothing, or loses one of the two.
func (c *stepCheck) circle(op Op, from, to string, at *yaml.Node) {
	if op.When != nil || op.Mode != "" {
		return
	}
	for _, m := range c.moves {
		if m.from == to && m.to == from {
			c.doc.problem(at, "step %s: moves %s to %s, and line %d has moved %s to %s: to swap two fields move the first one aside, and from there at the end", c.key, from, to, m.line, to, from)
			return
		}
	}
	c.moves = append(c.moves, movedField{from, to, at.Line})
}

// fits refuses a value of one mapping type in a field of another.
func (c *stepCheck) fits(path, kind string, at *yaml.Node) {
	if target := typeAt(c.to, path); !typeHolds(target, kind) {
		c.doc.problem(at, "step %s: %s would hold what is of type %s, and is of type %s in the target, which cannot hold it: convert or map it, or change the mapping", c.key, path, kind, target)
	}
}

// literals refuses values that are written down and that the field cannot hold.
func (c *stepCheck) literals(path string, at *yaml.Node, values ...any) {
	target := typeAt(c.to, path)
	for _, v := range values {
		if list, ok := v.([]any); ok {
			c.literals(path, at, list...)
		} else if !literalFits(target, parameter(c.to, path, "format"), v) {
			c.doc.problem(at, "step %s: %s would hold %s, and is of type %s in the target, which cannot hold it: state another value, or change the mapping", c.key, path, Canonical(nil, v), target)
		}
	}
}

// dateForm refuses a date in a form that the field's format does not read, or
// reads as another moment.
func (c *stepCheck) dateForm(path, form string, at *yaml.Node) {
	target, format := typeAt(c.to, path), parameter(c.to, path, "format")
	epoch := form == DateEpochSecond || form == DateEpochMillis
	switch {
	case target == "boolean", widths[target] > 0 && !epoch:
		c.fits(path, "keyword", at)
	case target != "date" && target != "date_nanos" || format != "":
	case form == DateTime:
		c.doc.problem(at, "step %s: %s would hold dates with a space, which a date field without a format of its own refuses: write to: %s, or give it a format", c.key, path, DateISO)
	case form == DateEpochSecond:
		c.doc.problem(at, "step %s: %s would hold seconds, which a date field without a format of its own reads as milliseconds: write to: %s, or give it the format %s", c.key, path, DateEpochMillis, DateEpochSecond)
	}
}

// literalFits tells whether a field of a type takes a value; what is not known
// here is left to the engine.
func literalFits(target, format string, v any) bool {
	switch v := v.(type) {
	case bool:
		return widths[target] == 0 && target != "date" && target != "date_nanos" && target != "ip"
	case json.Number:
		return target != "boolean"
	case string:
		switch {
		case target == "boolean":
			return v == "true" || v == "false" || v == ""
		case widths[target] > 0:
			_, err := strconv.ParseFloat(v, 64)
			return err == nil
		case target == "ip":
			_, err := netip.ParseAddr(v)
			return err == nil
		case (target == "date" || target == "date_nanos") && format == "":
			return v != "" && strings.Trim(v, "0123456789-:.+TZ") == ""
		}
	}
	return true
}

// parameter is a parameter of a field of a mapping as text, "" without it.
func parameter(mapping map[string]any, path, name string) string {
	if v, ok := fieldAt(mapping, path)[name]; ok {
		return fmt.Sprint(v)
	}
	return ""
}

// lenient fields take documents with values that they cannot hold.
func lenient(mapping map[string]any, path string) bool {
	return parameter(mapping, path, "ignore_malformed") == "true"
}
