//go:build !cgo

package source

import "errors"

// python needs the parser, which is written in C.
type python struct{}

func parsePython([]byte) (*python, error) {
	return nil, errors.New("this binary was built without cgo and cannot read Python: use one that was built with a C compiler (CGO_ENABLED=1)")
}

func (*python) close()                                          {}
func (*python) fallback(string) (string, bool)                  { return "", false }
func (*python) table(string, string) ([]row, error)             { return nil, nil }
func (*python) texts(string) []string                           { return nil }
func (*python) literalInterpolation() int                       { return 0 }
func (*python) chosenFor(string, string, string) (string, bool) { return "", false }
func (*python) keyword(string, string) (string, bool)           { return "", false }
