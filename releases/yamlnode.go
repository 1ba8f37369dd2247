package releases

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// document is one YAML (or JSON) file, read into nodes so that every problem
// can name its line.
type document struct {
	file     string
	root     *yaml.Node // nil when the file could not be read
	problems *problems
}

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): `)

func readDocument(fsys fs.FS, file string, p *problems) *document {
	d := &document{file: file, problems: p}
	raw, err := fs.ReadFile(fsys, file)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			p.add(file, 0, "the file is missing")
		} else {
			p.add(file, 0, "cannot be read: %v", err)
		}
		return d
	}
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	var n yaml.Node
	if err := dec.Decode(&n); err != nil {
		line, text := 0, err.Error()
		if m := yamlLine.FindStringSubmatch(text); m != nil {
			line, _ = strconv.Atoi(m[1])
			text = strings.TrimPrefix(text, m[0])
		}
		if errors.Is(err, io.EOF) {
			text = "the file is empty"
		}
		p.add(file, line, "%s", text)
		return d
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		p.add(file, 0, "more than one YAML document in a file; only the first would be read")
	}
	d.root = n.Content[0]
	return d
}

func (d *document) problem(n *yaml.Node, format string, args ...any) {
	line := 0
	if n != nil {
		line = n.Line
	}
	d.problems.add(d.file, line, format, args...)
}

// entry is a key of a YAML mapping with its value.
type entry struct {
	name       string
	key, value *yaml.Node
}

// entries returns the members of a mapping in the order of the file. what
// names the thing for messages. Duplicate keys are reported and left out.
func (d *document) entries(n *yaml.Node, what string) []entry {
	if n == nil || n.Tag == "!!null" {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		d.problem(n, "%s must be a mapping of names to values", what)
		return nil
	}
	var out []entry
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode || k.Value == "<<" {
			d.problem(k, "%s: keys must be plain names", what)
			continue
		}
		if line, dup := seen[k.Value]; dup {
			d.problem(k, "%s: %q is stated twice, first in line %d", what, k.Value, line)
			continue
		}
		seen[k.Value] = k.Line
		out = append(out, entry{name: k.Value, key: k, value: v})
	}
	return out
}

// fields is entries for a mapping with a fixed set of keys.
func (d *document) fields(n *yaml.Node, what string, allowed ...string) map[string]*yaml.Node {
	out := map[string]*yaml.Node{}
	for _, e := range d.entries(n, what) {
		if !slices.Contains(allowed, e.name) {
			d.problem(e.key, "%s: unknown key %q; known are %s%s", what, e.name, strings.Join(allowed, ", "), meant(e.name, allowed))
			continue
		}
		out[e.name] = e.value
	}
	return out
}

// text returns a scalar as it is written, so that 080 stays 080.
func (d *document) text(n *yaml.Node, what string) string {
	if n == nil || n.Tag == "!!null" {
		return ""
	}
	if n.Kind != yaml.ScalarNode {
		d.problem(n, "%s must be a single value", what)
		return ""
	}
	return n.Value
}

func (d *document) boolean(n *yaml.Node, what string) bool {
	if n == nil {
		return false
	}
	var b bool
	if n.Tag != "!!bool" || n.Decode(&b) != nil {
		d.problem(n, "%s must be true or false, not %q", what, n.Value)
	}
	return b
}

func (d *document) items(n *yaml.Node, what string) []*yaml.Node {
	if n == nil || n.Tag == "!!null" {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		d.problem(n, "%s must be a list", what)
		return nil
	}
	return n.Content
}

// value turns a node into the value encoding/json would give with UseNumber:
// nil, bool, string, json.Number, []any, map[string]any.
func (d *document) value(n *yaml.Node, what string) any {
	switch n.Kind {
	case yaml.MappingNode:
		out := map[string]any{}
		for _, e := range d.entries(n, what) {
			out[e.name] = d.value(e.value, what+"."+e.name)
		}
		return out
	case yaml.SequenceNode:
		out := []any{}
		for _, c := range n.Content {
			out = append(out, d.value(c, what))
		}
		return out
	case yaml.ScalarNode:
		return d.scalar(n, what)
	}
	d.problem(n, "%s: anchors and aliases are not supported", what)
	return nil
}

func (d *document) scalar(n *yaml.Node, what string) any {
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool":
		return d.boolean(n, what)
	case "!!int", "!!float":
		if !json.Valid([]byte(n.Value)) {
			d.problem(n, "%s: %q is not a number in JSON; write it in plain decimal, or in quotes if it is text", what, n.Value)
			return nil
		}
		return json.Number(n.Value)
	}
	return n.Value
}
