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

// kindAt is a mapping type, "" when it is not certain, and the operation that
// has put a value of it somewhere.
type kindAt struct {
	kind string
	at   *yaml.Node
}

// kindOf is the mapping type of what a path holds at this point, "" when that
// is not certain.
func (c *stepCheck) kindOf(path string) string {
	if k, ok := c.kinds[path]; ok {
		return k.kind
	}
	return typeAt(c.from, path)
}

// reshaped looks at an operation that makes another form of a value.
func (c *stepCheck) reshaped(op Op, at *yaml.Node) {
	kind := ""
	switch op.Kind {
	case OpConvert:
		kind = convertKinds[op.To]
	case OpSplit, OpJoin:
		kind = "keyword"
	case OpMap:
		for _, old := range slices.Sorted(maps.Keys(op.Values)) {
			c.literals(op.Field, at, op.Values[old])
		}
	case OpDate:
		c.dateForm(op, at)
	}
	if op.When != nil || op.Mode != "" {
		kind = "" // others stay as they are
	}
	c.kinds[op.Field] = kindAt{kind, at}
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
	if target := typeAt(c.to, path); !lenient(c.to, path) && !typeHolds(target, kind) {
		c.doc.problem(at, "step %s: %s would hold what is of type %s, and is of type %s in the target, which cannot hold it: convert or map it, or change the mapping", c.key, path, kind, target)
	}
}

// literals refuses values that are written down and that the field cannot hold.
func (c *stepCheck) literals(path string, at *yaml.Node, values ...any) {
	target := typeAt(c.to, path)
	if target == "" || lenient(c.to, path) {
		return
	}
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
func (c *stepCheck) dateForm(op Op, at *yaml.Node) {
	target, format := typeAt(c.to, op.Field), parameter(c.to, op.Field, "format")
	epoch := op.To == DateEpochSecond || op.To == DateEpochMillis
	switch {
	case lenient(c.to, op.Field):
	case target == "boolean", widths[target] > 0 && !epoch:
		c.fits(op.Field, "keyword", at)
	case target != "date" && target != "date_nanos" || format != "":
	case op.To == DateTime:
		c.doc.problem(at, "step %s: %s would hold dates with a space, which a date field without a format of its own refuses: write to: %s, or give it a format", c.key, op.Field, DateISO)
	case op.To == DateEpochSecond:
		c.doc.problem(at, "step %s: %s would hold seconds, which a date field without a format of its own reads as milliseconds: write to: %s, or give it the format %s", c.key, op.Field, DateEpochMillis, DateEpochSecond)
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
