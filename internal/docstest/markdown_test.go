package docstest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// document is a Markdown file, taken apart as far as the tests need.
type document struct {
	path   string // from the root of the tree
	blocks []block
	spans  []span // inline code and link targets, outside of blocks
	links  []span
}

// block is a fenced block, or a comment <!--sh … --> that holds what a reader
// has done elsewhere.
type block struct {
	line int // of its first line of text
	lang string
	text string
}

// span is a piece of a line.
type span struct {
	line int
	text string
}

var (
	fence    = regexp.MustCompile("^\\s*```\\s*([a-z]*)\\s*$")
	hidden   = regexp.MustCompile(`^<!--(sh)\s*$`)
	codeSpan = regexp.MustCompile("`([^`]+)`")
	linkSpan = regexp.MustCompile(`\]\(([^)\s]+)\)`)
)

// documents reads README.md, CHANGELOG.md and everything below docs/.
func documents(t *testing.T) []document {
	t.Helper()
	paths := []string{"README.md", "CHANGELOG.md"}
	for _, pattern := range []string{"docs/*.md", "docs/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		require.NoError(t, err)
		for _, path := range found {
			rel, err := filepath.Rel(root, path)
			require.NoError(t, err)
			paths = append(paths, rel)
		}
	}
	require.Greater(t, len(paths), 5, "where are the documents?")
	slices.Sort(paths[2:])
	all := make([]document, 0, len(paths))
	for _, path := range paths {
		text, err := os.ReadFile(filepath.Join(root, path))
		require.NoError(t, err)
		all = append(all, parse(t, path, string(text)))
	}
	return all
}

func parse(t *testing.T, path, text string) document {
	t.Helper()
	d := document{path: path}
	var open *block
	end := fence
	for i, line := range strings.Split(text, "\n") {
		switch {
		case open != nil && end.MatchString(line):
			d.blocks, open = append(d.blocks, *open), nil
		case open != nil:
			open.text += line + "\n"
		case fence.MatchString(line):
			open, end = &block{line: i + 2, lang: fence.FindStringSubmatch(line)[1]}, fence
		case hidden.MatchString(line):
			open, end = &block{line: i + 2, lang: "sh"}, regexp.MustCompile(`^-->\s*$`)
		default:
			for _, m := range codeSpan.FindAllStringSubmatch(line, -1) {
				d.spans = append(d.spans, span{i + 1, m[1]})
			}
			for _, m := range linkSpan.FindAllStringSubmatch(line, -1) {
				d.links = append(d.links, span{i + 1, m[1]})
			}
		}
	}
	require.Nil(t, open, "%s: a block does not end", path)
	return d
}

func TestParse(t *testing.T) {
	t.Parallel()
	d := parse(t, "x.md", "see `tms serve` and [there](a.md)\n```sh\ntms `x`\n```\n<!--sh\nid=1\n-->\n```text\nno\n```\n")
	require.Equal(t, []block{{3, "sh", "tms `x`\n"}, {6, "sh", "id=1\n"}, {9, "text", "no\n"}}, d.blocks)
	require.Equal(t, []span{{1, "tms serve"}}, d.spans)
	require.Equal(t, []span{{1, "a.md"}}, d.links)
}
