package upgrader

import (
	"slices"
	"time"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader/naming"
)

// Foreseen is by which method the documents of one resource would get into a
// release, by the rules of a plan.
type Foreseen struct {
	Resource string `json:"resource"` // key in the target release
	Method   Method `json:"method"`
	Why      string `json:"why"`
}

// Foresee says for every resource of a release that is migrated by which method
// a tenant's documents would get there: those of a period that is over, in
// indices as the first release has them, and enough of them for a clone to pay.
// The error says that no way leads from one release to the other.
func Foresee(c *releases.Catalogue, from, to string) ([]Foreseen, error) {
	l, err := newLayout(c, from, to)
	if err != nil {
		return nil, err
	}
	// A year that is over for every partitioning.
	year := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	f := facts{l: l, now: year.AddDate(5, 0, 0), source: func(name string) (Index, bool) {
		n, _ := naming.Parse(name)
		res, ok := l.sourceOf(n)
		return Index{Name: name, Mapping: res.Mapping, Settings: res.Settings}, ok
	}}
	var out []Foreseen
	for _, r := range l.to.Resources {
		if r.Static {
			continue
		}
		m := &Move{Resource: r.Key, Mode: naming.Staging, Partition: naming.PartitionAt(r.Partitioning, year)}
		if line, ok := l.lineages[r.Key]; ok {
			source, _ := l.from.Resource(line.source)
			m.Copies = sourcesOf(l.from, source, r, m.Partition, year)
		}
		own := f.natural(m)
		out = append(out, Foreseen{Resource: r.Key, Method: own.method, Why: own.why})
	}
	return out, nil
}

// sourcesOf are the indices of a year that feed one partition of a target.
func sourcesOf(from *releases.Release, source, target releases.Resource, partition string, year time.Time) []Copy {
	var out []Copy
	for month := range 12 {
		n := naming.IndexName{Mode: naming.Staging, Prefix: from.Prefix, Tenant: "tenant", Base: source.Base, Partition: naming.PartitionAt(source.Partitioning, year.AddDate(0, month, 0))}
		into, err := naming.TargetPartition(n.Partition, target.Partitioning, year)
		known := slices.ContainsFunc(out, func(c Copy) bool { return c.Source == n.String() })
		// A source that is coarser than the target keeps its partition: it is
		// the only one that feeds it.
		if err == nil && !known && (into == partition || len(out) == 0) {
			out = append(out, Copy{Source: n.String(), Resource: source.Key, Docs: worthCloning})
		}
	}
	return out
}
