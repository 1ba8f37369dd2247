package fleet

import (
	"fmt"
	"strings"
	"sync"
)

// Fault is a kind of discrepancy.
type Fault string

// What can be wrong with a tenant.
const (
	Missing     Fault = "missing"     // acknowledged, and not there
	Stale       Fault = "stale"       // there, in another version than the last acknowledged
	Resurrected Fault = "resurrected" // its deletion was acknowledged, and it is there
	Duplicate   Fault = "duplicate"   // there more than once under its alias
	Misplaced   Fault = "misplaced"   // in an index that it does not belong to
	Stray       Fault = "stray"       // nobody wrote it
	Quarantine  Fault = "quarantine"  // quarantine and index contradict each other
	Alias       Fault = "alias"
	Index       Fault = "index"
	Mapping     Fault = "mapping"
	Settings    Fault = "settings"
	Template    Fault = "template"
)

// Discrepancy is one finding of Judge, Watcher or Writer.
type Discrepancy struct {
	Fault Fault  `json:"fault"`
	Index string `json:"index"`        // index, alias or template
	ID    string `json:"id,omitempty"` // document
	What  string `json:"what"`
}

func (d Discrepancy) String() string {
	name := d.Index
	if d.ID != "" {
		name += "/" + d.ID
	}
	return fmt.Sprintf("%s: %s: %s", d.Fault, name, d.What)
}

// mostFindings bounds a report: a hundred names are enough to see a pattern.
const mostFindings = 100

// findings collects discrepancies, the first ones by name and all of them by
// number. It is safe for concurrent use.
type findings struct {
	mu    sync.Mutex
	named []Discrepancy
	total int
}

func (f *findings) add(d Discrepancy) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.total++
	if len(f.named) < mostFindings {
		f.named = append(f.named, d)
	}
}

func (f *findings) list() ([]Discrepancy, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Discrepancy(nil), f.named...), f.total
}

// note records what a writer noticed; the next report shows it.
func (t *Tenant) note(d Discrepancy) { t.found.add(d) }

// Report is the judgement over one tenant.
type Report struct {
	Tenant  string `json:"tenant"`
	Release string `json:"release"`
	// Documents counts those that were found under the aliases and are right.
	Documents int `json:"documents"`
	// Quarantined counts acknowledged documents that only the quarantine has.
	Quarantined int `json:"quarantined"`
	// Deleted counts documents whose deletion was acknowledged and that are
	// not there.
	Deleted int `json:"deleted"`
	// Uncertain counts documents with a write that was never answered; they
	// were found in one of their possible states.
	Uncertain int `json:"uncertain"`
	Aliases   int `json:"aliases"`
	Indices   int `json:"indices"`
	// Discrepancies names the first hundred; Found is how many there are.
	Discrepancies []Discrepancy `json:"discrepancies,omitempty"`
	Found         int           `json:"found"`
}

// OK says that nothing is wrong.
func (r *Report) OK() bool { return r.Found == 0 }

// String is the verdict in words, one line per named discrepancy.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "tenant %s on %s: %d documents, %d quarantined, %d deleted, %d aliases, %d indices, %d discrepancies",
		r.Tenant, r.Release, r.Documents, r.Quarantined, r.Deleted, r.Aliases, r.Indices, r.Found)
	for _, d := range r.Discrepancies {
		b.WriteString("\n  " + d.String())
	}
	return b.String()
}
