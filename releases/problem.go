package releases

import (
	"fmt"
	"sort"
	"strings"
)

// Problem is one thing that is wrong in a bundle.
type Problem struct {
	File string // path below the bundles' root
	Line int    // 1-based; 0 when the file as a whole is meant
	Text string
}

func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

// BundleError lists everything that is wrong with a set of bundles, sorted by
// file and line.
type BundleError struct{ Problems []Problem }

func (e *BundleError) Error() string {
	lines := make([]string, 0, len(e.Problems))
	for _, p := range e.Problems {
		lines = append(lines, p.String())
	}
	if len(lines) == 1 {
		return "release bundle refused: " + lines[0]
	}
	return fmt.Sprintf("release bundles refused, %d problems:\n%s", len(lines), strings.Join(lines, "\n"))
}

// problems collects what a loader finds; reading goes on after each.
type problems struct{ list []Problem }

func (p *problems) add(file string, line int, format string, args ...any) {
	p.list = append(p.list, Problem{File: file, Line: line, Text: fmt.Sprintf(format, args...)})
}

func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	sort.SliceStable(p.list, func(i, j int) bool {
		a, b := p.list[i], p.list[j]
		if a.File != b.File {
			return a.File < b.File
		}
		return a.Line < b.Line
	})
	return &BundleError{Problems: p.list}
}
