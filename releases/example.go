package releases

import (
	"bytes"
	"errors"
	"fmt"
)

// ExampleResult is what became of an example.
type ExampleResult struct {
	Resource string `json:"resource"`
	Name     string `json:"name"`
	Mode     string `json:"mode"`
	Line     int    `json:"line"`
	// Skipped says that only an engine can tell: raw Painless.
	Skipped bool   `json:"skipped,omitempty"`
	Fault   string `json:"fault,omitempty"` // "" for as stated
}

// Modes in which an example is tried.
func (x Example) Modes() []string {
	if x.Mode != "" {
		return []string{x.Mode}
	}
	return []string{InStaging, InProduction}
}

// Try performs every example of a migration here, sorted by resource.
func (m *Migration) Try() []ExampleResult {
	var out []ExampleResult
	for _, key := range m.sorted() {
		step := m.Steps[key]
		for _, x := range step.Examples {
			for _, mode := range x.Modes() {
				r := ExampleResult{Resource: key, Name: x.Name, Mode: mode, Line: x.Line}
				doc, _ := dup(x.In).(map[string]any)
				err := step.Transform.In(mode).Apply(doc)
				switch {
				case errors.Is(err, ErrOpaque):
					r.Skipped = true
				case errors.Is(err, ErrElsewhere) != x.Routed:
					r.Fault = "stays in the resource"
					if !x.Routed {
						r.Fault = "is routed to another resource"
					}
				case err != nil:
					doc = nil
					fallthrough
				default:
					r.Fault = x.Fault(doc)
				}
				out = append(out, r)
			}
		}
	}
	return out
}

// Fault says how a document differs from the one that is stated; nil is a
// dropped one, "" is no difference.
func (x Example) Fault(got map[string]any) string {
	switch {
	case x.Out == nil && got == nil:
		return ""
	case x.Out == nil:
		return fmt.Sprintf("should leave the resource, becomes %s", Canonical(nil, got))
	case got == nil:
		return "is dropped"
	}
	want, have := Canonical(nil, x.Out), Canonical(nil, got)
	if bytes.Equal(want, have) {
		return ""
	}
	return fmt.Sprintf("becomes %s, stated is %s", have, want)
}
