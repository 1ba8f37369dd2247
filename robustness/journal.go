package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// entry is one line of the record of a run.
type entry struct {
	At   time.Duration  `json:"at"` // since the run began, nanoseconds
	What string         `json:"what"`
	With map[string]any `json:"with,omitempty"`
}

// journal records what was done to the installation and what came of it. It
// prints every line as well, and is safe for concurrent use.
type journal struct {
	began time.Time

	mu      sync.Mutex
	out     io.Writer
	entries []entry
}

func newJournal(out io.Writer) *journal { return &journal{began: time.Now(), out: out} }

// note adds a line; pairs are names and values.
func (j *journal) note(what string, pairs ...any) {
	e := entry{At: time.Since(j.began), What: what, With: map[string]any{}}
	var text strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		value := pairs[i+1]
		if err, ok := value.(error); ok {
			value = err.Error()
		}
		e.With[fmt.Sprint(pairs[i])] = value
		fmt.Fprintf(&text, " %v=%v", pairs[i], value)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, e)
	_, _ = fmt.Fprintf(j.out, "%8.3f %s%s\n", e.At.Seconds(), what, text.String())
}

// write stores the record, a JSON object per line.
func (j *journal) write(out io.Writer) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	enc := json.NewEncoder(out)
	for _, e := range j.entries {
		if err := enc.Encode(e); err != nil {
			return err
		}
	}
	return nil
}
