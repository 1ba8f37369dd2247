package releases

import (
	"errors"
	"slices"
)

// Transform is an ordered list of declarative operations on one document. The
// zero value changes nothing. It runs as Painless in the engine and in Go in
// the verifier, with the same result.
type Transform struct {
	Ops []Op
}

// ErrDropped is returned by Apply for a document that the transform drops.
var ErrDropped = errors.New("dropped by the transform")

// ErrOpaque is returned by Apply for a transform with raw Painless: only the
// engine knows what comes of a document.
var ErrOpaque = errors.New("raw Painless cannot be performed outside of the engine")

// Opaque says that Apply cannot perform the transform.
func (t Transform) Opaque() bool {
	return slices.ContainsFunc(t.Ops, func(o Op) bool { return o.Kind == OpPainless })
}

// In returns what is done in one mode, InStaging or InProduction.
func (t Transform) In(mode string) Transform {
	other := func(o Op) bool { return o.Mode != "" && o.Mode != mode }
	if !slices.ContainsFunc(t.Ops, other) {
		return t
	}
	return Transform{Ops: slices.DeleteFunc(slices.Clone(t.Ops), other)}
}

// Empty says that the transform changes nothing.
func (t Transform) Empty() bool { return len(t.Ops) == 0 }

// Then returns the transform that does t and then u.
func (t Transform) Then(u Transform) Transform {
	return Transform{Ops: append(append([]Op{}, t.Ops...), u.Ops...)}
}
