package releases

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// readOp reads one operation; false when it was refused.
func readOp(d *document, n *yaml.Node, what string) (Op, bool) {
	before := len(d.problems.list)
	var kind *yaml.Node
	for _, e := range d.entries(n, what+": operation") {
		if e.name == "op" {
			kind = e.value
		}
	}
	op := Op{}
	if kind != nil {
		op.Kind = OpKind(d.text(kind, "op"))
	}
	keys, known := opKeys[op.Kind]
	if !known {
		d.problem(n, "%s: unknown operation %q; known are %s%s", what, op.Kind, opNames(), meant(string(op.Kind), strings.Split(opNames(), ", ")))
		return op, false
	}
	what += ": " + string(op.Kind)
	allowed := []string{"op", "when", "mode"}
	for _, k := range keys {
		allowed = append(allowed, strings.TrimSuffix(k, "*"))
	}
	f := d.fields(n, what, allowed...)
	for _, k := range keys {
		if name, required := strings.CutSuffix(k, "*"); required && f[name] == nil {
			d.problem(n, "%s needs %s", what, name)
		}
	}
	op.read(d, f, what)
	if len(d.problems.list) > before {
		return op, false
	}
	if err := op.Validate(); err != nil {
		d.problem(n, "%s: %v", strings.TrimSuffix(what, ": "+string(op.Kind)), err)
		return op, false
	}
	return op, true
}

// read fills in what the file says.
func (o *Op) read(d *document, f map[string]*yaml.Node, what string) {
	o.From, o.To, o.Field = d.text(f["from"], "from"), d.text(f["to"], "to"), d.text(f["field"], "field")
	o.Onto, o.Only, o.Reason = d.text(f["onto"], "onto"), d.text(f["only"], "only"), d.text(f["reason"], "reason")
	if e := f["on_error"]; e != nil {
		o.OnError = e.Value // null without quotes is YAML's null and means the same here
	}
	o.By, o.Script, o.Mode = d.text(f["by"], "by"), d.text(f["script"], "script"), d.text(f["mode"], "mode")
	if v := f["values"]; v != nil {
		o.Values = map[string]any{}
		for _, e := range d.entries(v, what+": values") {
			o.Values[e.name] = d.value(e.value, "values")
		}
	}
	if v := f["value"]; v != nil {
		o.Value = d.value(v, "value")
	}
	if u := f["under"]; u != nil && u.Kind == yaml.ScalarNode {
		o.Under = []string{u.Value}
	} else {
		for _, e := range d.items(u, "under") {
			o.Under = append(o.Under, d.text(e, "under"))
		}
	}
	if w := f["when"]; w != nil {
		g := d.fields(w, what+": when", "field", "is", "equals")
		o.When = &Condition{Field: d.text(g["field"], "field"), Is: d.text(g["is"], "is")}
		if e := g["equals"]; e != nil {
			o.When.Equals = d.value(e, "equals")
		}
	}
}
