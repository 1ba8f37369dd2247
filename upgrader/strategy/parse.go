package strategy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Error lists everything that is wrong with a strategy.
type Error struct{ Problems []Problem }

func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "; ")
}

// Parse reads a strategy file, YAML or JSON. Unknown keys and wrong
// values are an *Error that names their lines.
func Parse(text []byte) (*File, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil, &Error{problemsOf(err)}
	}
	if root.Kind == 0 || len(root.Content) == 0 {
		return nil, &Error{[]Problem{{Text: "the strategy is empty"}}}
	}
	plain(root.Content[0])
	// Encoded and read again: only a Decoder refuses keys that it does not know.
	whole, err := yaml.Marshal(&root)
	if err != nil {
		return nil, &Error{problemsOf(err)}
	}
	var s File
	dec := yaml.NewDecoder(bytes.NewReader(whole))
	dec.KnownFields(true)
	err = dec.Decode(&s)
	lines := linesOf(root.Content[0])
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, &Error{relocated(problemsOf(err), &root, whole)}
	}
	problems := s.Problems()
	if len(problems) == 0 {
		return &s, nil
	}
	for i := range problems {
		problems[i].Line = lines.at(problems[i].Path)
	}
	return nil, &Error{problems}
}

// plain turns the short form of a wave, "5", into the long one, "size: 5".
func plain(root *yaml.Node) {
	for i := 0; root.Kind == yaml.MappingNode && i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i].Value, root.Content[i+1]
		switch {
		case key == "canary" && value.Kind == yaml.ScalarNode:
			root.Content[i+1] = sized(value)
		case key == "waves" && value.Kind == yaml.SequenceNode:
			for j, w := range value.Content {
				if w.Kind == yaml.ScalarNode {
					value.Content[j] = sized(w)
				}
			}
		}
	}
}

func sized(size *yaml.Node) *yaml.Node {
	key := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: "size", Line: size.Line}
	return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: size.Line, Content: []*yaml.Node{key, size}}
}

var (
	yamlLine    = regexp.MustCompile(`^(?:yaml: )?line (\d+): (.*)$`)
	yamlUnknown = regexp.MustCompile(`^field (\S+) not found in type .*$`)
	yamlWrong   = regexp.MustCompile("^cannot unmarshal (\\S+)(?: `([^`]*)`)? into (.*)$")
)

// problemsOf takes the decoder's error apart.
func problemsOf(err error) []Problem {
	texts := []string{err.Error()}
	var all *yaml.TypeError
	if errors.As(err, &all) {
		texts = all.Errors
	}
	var out []Problem
	for _, text := range texts {
		p := Problem{Text: strings.TrimPrefix(text, "yaml: ")}
		if m := yamlLine.FindStringSubmatch(text); m != nil {
			p.Line, _ = strconv.Atoi(m[1])
			p.Text = m[2]
		}
		if m := yamlUnknown.FindStringSubmatch(p.Text); m != nil {
			p.Text = "unknown key " + strconv.Quote(m[1]) + ": see `tms upgrade schema`"
		}
		if m := yamlWrong.FindStringSubmatch(p.Text); m != nil {
			p.Text = strconv.Quote(m[2]) + " is of the wrong type (" + strings.TrimPrefix(m[1], "!!") + "): see `tms upgrade schema`"
		}
		out = append(out, p)
	}
	return out
}

// relocated puts lines of the text as it was in place of those of the text as
// it was read: the same node stands at both.
func relocated(problems []Problem, was *yaml.Node, whole []byte) []Problem {
	var is yaml.Node
	if yaml.Unmarshal(whole, &is) != nil {
		return problems
	}
	lines := map[int]int{}
	pair(was, &is, lines)
	for i := range problems {
		if line, ok := lines[problems[i].Line]; ok {
			problems[i].Line = line
		}
	}
	return problems
}

func pair(was, is *yaml.Node, lines map[int]int) {
	if _, ok := lines[is.Line]; !ok {
		lines[is.Line] = was.Line
	}
	for i := range min(len(was.Content), len(is.Content)) {
		pair(was.Content[i], is.Content[i], lines)
	}
}

// lineIndex is the line of every path.
type lineIndex map[string]int

func linesOf(root *yaml.Node) lineIndex {
	out := lineIndex{}
	out.add("", root)
	return out
}

func (l lineIndex) add(path string, n *yaml.Node) {
	l[path] = n.Line
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			below := strings.TrimPrefix(path+"."+n.Content[i].Value, ".")
			l.add(below, n.Content[i+1])
			l[below] = n.Content[i].Line
		}
	case yaml.SequenceNode:
		for i, c := range n.Content {
			l.add(path+"["+strconv.Itoa(i)+"]", c)
		}
	}
}

// at is the line of a path, or of what it lies below.
func (l lineIndex) at(path string) int {
	for path != "" {
		if line, ok := l[path]; ok {
			return line
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return l[""]
}

// JSON is the strategy as an API sends it.
func (s *File) JSON() ([]byte, error) { return json.Marshal(s) }
