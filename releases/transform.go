package releases

import "errors"

// Transform is an ordered list of declarative operations on one document. The
// zero value changes nothing. It runs as Painless in the engine and in Go in
// the verifier, with the same result.
type Transform struct {
	Ops []Op
}

// ErrDropped is returned by Apply for a document that the transform drops.
var ErrDropped = errors.New("dropped by the transform")

// Empty says that the transform changes nothing.
func (t Transform) Empty() bool { return len(t.Ops) == 0 }

// Then returns the transform that does t and then u.
func (t Transform) Then(u Transform) Transform {
	return Transform{Ops: append(append([]Op{}, t.Ops...), u.Ops...)}
}
