package releases

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// OpKind names what an Op does.
type OpKind string

// The operations. Package documentation and docs/releases.md define them.
const (
	OpMove         OpKind = "move"
	OpCopy         OpKind = "copy"
	OpRename       OpKind = "rename"
	OpSet          OpKind = "set"
	OpDefault      OpKind = "default"
	OpRemove       OpKind = "remove"
	OpWrap         OpKind = "wrap"
	OpConvert      OpKind = "convert"
	OpUnwrap       OpKind = "unwrap"
	OpSplit        OpKind = "split"
	OpJoin         OpKind = "join"
	OpMap          OpKind = "map"
	OpDate         OpKind = "date"
	OpPainless     OpKind = "painless"
	OpDropDocument OpKind = "drop_document"
	OpRoute        OpKind = "route"
)

// Values of Op.Onto: what happens when the target of a move, copy or rename
// holds a value (null counts as none).
const (
	OntoKeep    = "keep"    // neither is touched: a strict mapping then refuses the document, so nothing is lost unseen
	OntoReplace = "replace" // the moved value wins
	OntoDiscard = "discard" // the existing value wins, the moved one is removed
)

// Values of Op.OnError: what happens to a value that cannot be converted.
const (
	OnErrorKeep   = "keep"   // it stays as it is
	OnErrorNull   = "null"   // null takes its place
	OnErrorRemove = "remove" // its key, or its place in a list, is removed
)

// Values of Op.Only.
const OnlyEmpty = "empty"

// Values of Op.Mode; "" is both.
const (
	InStaging    = "staging"
	InProduction = "production"
)

// Values of Op.To of a date, and, for what numbers mean, of Op.From (the two
// epochs only).
const (
	DateISO         = "iso"          // 2023-02-01T10:00:00.000Z
	DateDay         = "date"         // 2023-02-01
	DateTime        = "datetime"     // 2023-02-01 10:00:00
	DateEpochSecond = "epoch_second" // whole seconds since 1970
	DateEpochMillis = "epoch_millis"
)

// Op is one operation of a Transform. Which fields it uses depends on Kind.
type Op struct {
	Kind  OpKind   `yaml:"op"`
	From  string   `yaml:"from"`  // move, copy: dotted path; date: what numbers are, "" for no dates
	To    string   `yaml:"to"`    // move, copy: dotted path; rename: a name; route: key of a resource; convert: string, integer, float, boolean; date: a format
	Field string   `yaml:"field"` // all but move, copy, drop_document, route and painless: dotted path
	Under []string `yaml:"under"` // wrap: the names that get the value; unwrap: those it is taken from, the first that has one
	// Value (set, default) is nil, bool, string, json.Number, []any or
	// map[string]any.
	Value   any    `yaml:"value"`
	Onto    string `yaml:"onto"`     // move, copy, rename; "" is OntoKeep
	OnError string `yaml:"on_error"` // convert, map, date; "" is OnErrorKeep
	By      string `yaml:"by"`       // split, join: what stands between the parts; route: dotted path of the date that says the partition
	// Values (map) has the new value, never null, by the text of the old one.
	Values map[string]any `yaml:"values"`
	// Script (painless) works on ctx._source; it must not return.
	Script string `yaml:"script"`
	Mode   string `yaml:"mode"` // where the operation is done; "" is everywhere
	// Only (remove): OnlyEmpty removes the field only when nothing is lost:
	// it is null, {} or [], or holds nothing but such values.
	Only   string     `yaml:"only"`
	Reason string     `yaml:"reason"` // drop_document
	When   *Condition `yaml:"when"`   // nil is always; drop_document and route to a resource must have one
	// Arriving (route) is set by the loader where documents come in: those leave
	// for which the condition does not hold.
	Arriving bool `yaml:"-"`
	// inherited operations stand in front of a step's own: what documents that
	// are routed to it have had before.
	inherited bool
	// filing (route by a date) says what partitions there are, see Into.
	filing *Filing
}

// Values of Condition.Is. A field that is missing and one that is null are
// both absent.
const (
	IsPresent = "present"
	IsAbsent  = "absent"
	IsString  = "string"
	IsNumber  = "number"
	IsBoolean = "boolean"
	IsObject  = "object"
	IsList    = "list"
)

// Condition is a test of one field of the document, from its root. Exactly one
// of Is and Equals is set. A path that leads through a list holds when any
// element satisfies it.
type Condition struct {
	Field string `yaml:"field"`
	Is    string `yaml:"is"`
	// Equals is a bool, string or json.Number. Numbers are equal by value (1
	// and 1.0), a list is equal when any of its elements is.
	Equals any `yaml:"equals"`
}

// opKeys are the YAML keys of each operation beside op and when; those with
// an asterisk are required.
var opKeys = map[OpKind][]string{
	OpMove:         {"from*", "to*", "onto"},
	OpCopy:         {"from*", "to*", "onto"},
	OpRename:       {"field*", "to*", "onto"},
	OpSet:          {"field*", "value*"},
	OpDefault:      {"field*", "value*"},
	OpRemove:       {"field*", "only"},
	OpWrap:         {"field*", "under*"},
	OpConvert:      {"field*", "to*", "on_error"},
	OpUnwrap:       {"field*", "under*"},
	OpSplit:        {"field*", "by*"},
	OpJoin:         {"field*", "by*"},
	OpMap:          {"field*", "values*", "on_error"},
	OpDate:         {"field*", "to*", "from", "on_error"},
	OpDropDocument: {"reason*"},
	OpRoute:        {"to", "by"},
	OpPainless:     {"script*", "reason"},
}

var (
	convertTargets = []string{"string", "integer", "float", "boolean"}
	dateFormats    = []string{DateISO, DateDay, DateTime, DateEpochSecond, DateEpochMillis}
	dateUnits      = []string{"", DateEpochSecond, DateEpochMillis}
	modes          = []string{"", InStaging, InProduction}
	conditionTests = []string{IsPresent, IsAbsent, IsString, IsNumber, IsBoolean, IsObject, IsList}
)

func opNames() string {
	names := make([]string, 0, len(opKeys))
	for k := range opKeys {
		names = append(names, string(k))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// Validate says what is wrong with the operation itself, without regard to
// any mapping.
func (o Op) Validate() error {
	if _, ok := opKeys[o.Kind]; !ok {
		return fmt.Errorf("unknown operation %q; known are %s", o.Kind, opNames())
	}
	var err error
	switch o.Kind {
	case OpMove, OpCopy:
		err = o.validateMove()
	case OpRename:
		if err = validPath("field", o.Field); err == nil && (validPath("to", o.To) != nil || strings.Contains(o.To, ".")) {
			err = fmt.Errorf("to %q must be a single name; use move to change the parent", o.To)
		} else if err == nil && lastName(o.Field) == o.To {
			err = fmt.Errorf("field %s is renamed to itself", o.Field)
		}
	case OpDropDocument:
		if o.When == nil || o.Reason == "" {
			err = fmt.Errorf("drop_document needs a condition (when) and a reason")
		}
	case OpPainless:
		err = o.validateScript()
	case OpRoute:
		err = o.validateRoute()
	default:
		err = validPath("field", o.Field)
	}
	for _, check := range []func() error{o.validateChoices, o.validateUnder, o.validateValue, o.When.validate} {
		if err == nil {
			err = check()
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", o.Kind, err)
	}
	return nil
}

func (o Op) validateMove() error {
	if err := validPath("from", o.From); err != nil {
		return err
	}
	if err := validPath("to", o.To); err != nil {
		return err
	}
	if within(o.From, o.To) || within(o.To, o.From) {
		return fmt.Errorf("one of %s and %s holds the other; use wrap to put a value into an object", o.From, o.To)
	}
	return nil
}

func (o Op) validateChoices() error {
	choices := []struct {
		name, value string
		kinds       []OpKind
		allowed     []string
	}{
		{"onto", o.Onto, []OpKind{OpMove, OpRename}, []string{"", OntoKeep, OntoReplace, OntoDiscard}},
		{"onto", o.Onto, []OpKind{OpCopy}, []string{"", OntoKeep, OntoReplace}},
		{"on_error", o.OnError, []OpKind{OpConvert, OpMap, OpDate}, []string{"", OnErrorKeep, OnErrorNull, OnErrorRemove}},
		{"to", o.To, []OpKind{OpConvert}, convertTargets},
		{"to", o.To, []OpKind{OpDate}, dateFormats},
		{"from", o.From, []OpKind{OpDate}, dateUnits},
		{"mode", o.Mode, []OpKind{o.Kind}, modes},
		{"only", o.Only, []OpKind{OpRemove}, []string{"", OnlyEmpty}},
	}
	for _, c := range choices {
		if slices.Contains(c.kinds, o.Kind) && !slices.Contains(c.allowed, c.value) {
			return fmt.Errorf("unknown %s %q; known are %s", c.name, c.value, strings.TrimPrefix(strings.Join(c.allowed, ", "), ", "))
		}
	}
	return nil
}

func (o Op) validateUnder() error {
	if o.Kind != OpWrap && o.Kind != OpUnwrap {
		return nil
	}
	if len(o.Under) == 0 {
		return fmt.Errorf("under needs at least one name")
	}
	for i, name := range o.Under {
		if name == "" || strings.Contains(name, ".") || slices.Contains(o.Under[:i], name) {
			return fmt.Errorf("under: %q must be a name without dots, stated once", name)
		}
	}
	return nil
}

func (o Op) validateValue() error {
	switch o.Kind {
	case OpSet, OpDefault:
		return validJSON(o.Value)
	case OpSplit, OpJoin:
		if o.By == "" && o.Kind == OpSplit || !utf8.ValidString(o.By) {
			return fmt.Errorf("by %q must be valid text, and not empty for a split", o.By)
		}
	case OpMap:
		if len(o.Values) == 0 {
			return fmt.Errorf("values needs at least one entry")
		}
		for old, v := range o.Values {
			if v == nil || !utf8.ValidString(old) {
				return fmt.Errorf("values: %q needs a value that is not null; use on_error to get rid of what is not listed", old)
			}
			if err := validJSON(v); err != nil {
				return err
			}
		}
	}
	return nil
}

// returns finds the word in a script. In a text or a comment it is refused
// too, which costs an author nothing.
var returns = regexp.MustCompile(`\breturn\b`)

func (o Op) validateScript() error {
	switch {
	case strings.TrimSpace(o.Script) == "":
		return fmt.Errorf("script must not be empty")
	case !utf8.ValidString(o.Script):
		return fmt.Errorf("script is not valid UTF-8")
	case returns.MatchString(o.Script):
		return fmt.Errorf("script must not return: operations may follow it; use if and else, and ctx.op = 'noop' to drop the document")
	}
	return nil
}

func (c *Condition) validate() error {
	if c == nil {
		return nil
	}
	if err := validPath("when: field", c.Field); err != nil {
		return err
	}
	if (c.Is == "") == (c.Equals == nil) {
		return fmt.Errorf("when: state one of is and equals; a field that is null is absent")
	}
	if c.Is != "" {
		if !slices.Contains(conditionTests, c.Is) {
			return fmt.Errorf("when: unknown test %q; known are %s", c.Is, strings.Join(conditionTests, ", "))
		}
		return nil
	}
	switch c.Equals.(type) {
	case bool, string, json.Number:
		return validJSON(c.Equals)
	}
	return fmt.Errorf("when: equals must be text, a number, true or false, not %T", c.Equals)
}

func validPath(what, path string) error {
	if path == "" || slices.Contains(strings.Split(path, "."), "") {
		return fmt.Errorf("%s %q is not a path of names joined by dots", what, path)
	}
	return nil
}

func validJSON(v any) error {
	switch v := v.(type) {
	case nil, bool:
		return nil
	case string:
		if !utf8.ValidString(v) {
			return fmt.Errorf("value %q is not valid UTF-8", v)
		}
		return nil
	case json.Number:
		if !json.Valid([]byte(v)) {
			return fmt.Errorf("value %q is not a JSON number", v)
		}
		return nil
	case []any:
		for _, e := range v {
			if err := validJSON(e); err != nil {
				return err
			}
		}
		return nil
	case map[string]any:
		for _, e := range v {
			if err := validJSON(e); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("value of type %T: it must be nil, bool, string, json.Number, []any or map[string]any", v)
}

// within tells whether path is parent or lies below it.
func within(path, parent string) bool {
	return path == parent || strings.HasPrefix(path, parent+".")
}

func lastName(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

func parentOf(path string) string {
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		return path[:i]
	}
	return ""
}

func join(parent, name string) string {
	if parent == "" {
		return name
	}
	return parent + "." + name
}
