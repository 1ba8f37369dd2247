//go:build cgo

package source

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	treesitter "github.com/tree-sitter/go-tree-sitter"
	grammar "github.com/tree-sitter/tree-sitter-python/bindings/go"
)

// python is a Python file, parsed. Nothing of it is ever executed: values are
// read where they are written down as literals.
type python struct {
	text []byte
	tree *treesitter.Tree
}

func parsePython(text []byte) (*python, error) {
	parser := treesitter.NewParser()
	defer parser.Close()
	if err := parser.SetLanguage(treesitter.NewLanguage(grammar.Language())); err != nil {
		return nil, fmt.Errorf("python grammar: %w", err)
	}
	p := &python{text: text, tree: parser.Parse(text, nil)}
	if p.tree == nil {
		return nil, errors.New("the Python parser gave up")
	}
	if bad := p.first(p.tree.RootNode(), func(n *treesitter.Node) bool { return n.IsError() || n.IsMissing() }); bad != nil {
		defer p.tree.Close()
		return nil, fmt.Errorf("line %d is no Python that this program knows", bad.StartPosition().Row+1)
	}
	return p, nil
}

func (p *python) close() { p.tree.Close() }

func (p *python) source(n *treesitter.Node) string { return n.Utf8Text(p.text) }

// first is the first node, from the top, that is wanted; nil for none.
func (p *python) first(n *treesitter.Node, wanted func(*treesitter.Node) bool) *treesitter.Node {
	if wanted(n) {
		return n
	}
	for i := range n.ChildCount() {
		if found := p.first(n.Child(i), wanted); found != nil {
			return found
		}
	}
	return nil
}

// assigned is the right side of the first assignment to a name, nil for none.
func (p *python) assigned(name string) *treesitter.Node {
	n := p.first(p.tree.RootNode(), func(n *treesitter.Node) bool {
		return n.Kind() == "assignment" && n.ChildByFieldName("right") != nil && p.source(n.ChildByFieldName("left")) == name
	})
	if n == nil {
		return nil
	}
	return n.ChildByFieldName("right")
}

// value reads a literal: string, bool, int64 or nil (None). false for anything
// that would have to be executed.
func (p *python) value(n *treesitter.Node) (any, bool) {
	switch n.Kind() {
	case "string":
		return p.text1(n)
	case "true", "false":
		return n.Kind() == "true", true
	case "none":
		return nil, true
	case "integer":
		i, err := strconv.ParseInt(p.source(n), 0, 64)
		return i, err == nil
	}
	return nil, false
}

// text1 is a string without interpolation and escapes.
func (p *python) text1(n *treesitter.Node) (any, bool) {
	out := ""
	for i := range n.NamedChildCount() {
		switch c := n.NamedChild(i); c.Kind() {
		case "string_start":
			if strings.ContainsAny(p.source(c), "fFbB") {
				return nil, false
			}
		case "string_content":
			if c.NamedChildCount() > 0 {
				return nil, false
			}
			out += p.source(c)
		case "string_end":
		default:
			return nil, false
		}
	}
	return out, true
}

// fallback is what a setting is when the environment says nothing: the last
// literal of env.get('NAME', literal) or env['NAME'] if … else literal.
func (p *python) fallback(name string) (string, bool) {
	n := p.assigned(name)
	if n == nil {
		return "", false
	}
	switch n.Kind() {
	case "call":
		args := n.ChildByFieldName("arguments")
		if args == nil || args.NamedChildCount() < 2 {
			return "", false
		}
		n = args.NamedChild(args.NamedChildCount() - 1)
	case "conditional_expression":
		n = n.NamedChild(n.NamedChildCount() - 1)
	}
	v, ok := p.value(n)
	s, isText := v.(string)
	return s, ok && isText
}

// table reads {"key": Call(name=value, …)}. Values that are attributes of
// other objects come as reference.
func (p *python) table(name, call string) (rows []row, err error) {
	n := p.assigned(name)
	if n == nil || n.Kind() != "dictionary" {
		return nil, fmt.Errorf("no %s = {…} in it", name)
	}
	for i := range n.NamedChildCount() {
		pair := n.NamedChild(i)
		if pair.Kind() == "comment" {
			continue
		}
		line := pair.StartPosition().Row + 1
		if pair.Kind() != "pair" {
			return nil, fmt.Errorf("line %d: an entry of %s is not \"key\": %s(…)", line, name, call)
		}
		key, ok := p.value(pair.ChildByFieldName("key"))
		text, isText := key.(string)
		made := pair.ChildByFieldName("value")
		if !ok || !isText || made.Kind() != "call" || p.source(made.ChildByFieldName("function")) != call {
			return nil, fmt.Errorf("line %d: an entry of %s is not \"key\": %s(…)", line, name, call)
		}
		r := row{key: text, line: int(line), args: map[string]any{}}
		if err := p.arguments(made.ChildByFieldName("arguments"), &r); err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func (p *python) arguments(n *treesitter.Node, r *row) error {
	for i := range n.NamedChildCount() {
		a := n.NamedChild(i)
		if a.Kind() == "comment" {
			continue
		}
		if a.Kind() != "keyword_argument" {
			return fmt.Errorf("line %d: %s has an argument without a name", r.line, r.key)
		}
		name, v := p.source(a.ChildByFieldName("name")), a.ChildByFieldName("value")
		if v.Kind() == "attribute" {
			r.args[name] = reference(p.source(v.ChildByFieldName("attribute")))
			continue
		}
		value, ok := p.value(v)
		if !ok {
			return fmt.Errorf("line %d: %s of %s is %s, which would have to be executed", r.line, name, r.key, p.source(v))
		}
		r.args[name] = value
	}
	return nil
}

// each calls f for every node below n, n included.
func (p *python) each(n *treesitter.Node, f func(*treesitter.Node)) {
	f(n)
	for i := range n.ChildCount() {
		p.each(n.Child(i), f)
	}
}

// texts are the literal texts that are assigned to a name, anywhere in the file.
func (p *python) texts(name string) (out []string) {
	p.each(p.tree.RootNode(), func(n *treesitter.Node) {
		if n.Kind() != "assignment" || n.ChildByFieldName("right") == nil || p.source(n.ChildByFieldName("left")) != name {
			return
		}
		if v, ok := p.value(n.ChildByFieldName("right")); ok {
			if s, isText := v.(string); isText {
				out = append(out, s)
			}
		}
	})
	return out
}

// literalInterpolation is the line of the first formatted text that formats a
// number which is written down, 0 for none: the braces were meant for a regular
// expression.
func (p *python) literalInterpolation() int {
	n := p.first(p.tree.RootNode(), func(n *treesitter.Node) bool {
		return n.Kind() == "interpolation" && n.NamedChildCount() == 1 && n.NamedChild(0).Kind() == "integer"
	})
	if n == nil {
		return 0
	}
	return int(n.StartPosition().Row) + 1
}

// chosenFor reads {("from", "to"): "name", …}.
func (p *python) chosenFor(name, from, to string) (string, bool) {
	table := p.assigned(name)
	if table == nil || table.Kind() != "dictionary" {
		return "", false
	}
	for i := range table.NamedChildCount() {
		pair := table.NamedChild(i)
		if pair.Kind() != "pair" {
			continue
		}
		key, value := pair.ChildByFieldName("key"), pair.ChildByFieldName("value")
		if key.Kind() != "tuple" || key.NamedChildCount() != 2 {
			continue
		}
		a, _ := p.value(key.NamedChild(0))
		b, _ := p.value(key.NamedChild(1))
		if v, ok := p.value(value); ok && a == from && b == to {
			s, isText := v.(string)
			return s, isText
		}
	}
	return "", false
}

// keyword is the literal text of a keyword argument of a call: setup(version=…).
func (p *python) keyword(call, name string) (string, bool) {
	n := p.first(p.tree.RootNode(), func(n *treesitter.Node) bool {
		if n.Kind() != "keyword_argument" || p.source(n.ChildByFieldName("name")) != name {
			return false
		}
		made := n.Parent().Parent()
		return made != nil && made.Kind() == "call" && p.source(made.ChildByFieldName("function")) == call
	})
	if n == nil {
		return "", false
	}
	v, ok := p.value(n.ChildByFieldName("value"))
	s, isText := v.(string)
	return s, ok && isText
}
