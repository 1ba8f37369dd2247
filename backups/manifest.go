package backups

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/naming"
)

// Manifest is everything about one tenant in a snapshot that the engine's
// snapshot does not tell.
type Manifest struct {
	Snapshot string `json:"snapshot"`
	Tenant   string `json:"tenant"`
	Release  string `json:"release"` // in force, as registered
	// AdoptedFrom is the tenant's of the registry, see naming.Tenant.
	AdoptedFrom string            `json:"adopted_from,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Indices     []IndexRecord     `json:"indices"` // sorted by name
	// Aliases is alias -> indices, sorted.
	Aliases map[string][]string `json:"aliases"`
	// Templates as the engine rendered them.
	Templates []TemplateRecord `json:"templates"`
	TakenAt   time.Time        `json:"taken_at"` // when it was recorded, before the snapshot
}

func (m *Manifest) naming() naming.Tenant {
	return naming.Tenant{ID: m.Tenant, AdoptedFrom: m.AdoptedFrom}
}

// TemplateRecord is a template, byte for byte.
type TemplateRecord struct {
	Name string          `json:"name"`
	Raw  json.RawMessage `json:"raw"`
}

// IndexRecord is one index at the time of the snapshot. An index that was
// written to meanwhile lies between Before and After.
type IndexRecord struct {
	Name     string `json:"name"`
	UUID     string `json:"uuid"`
	Resource string `json:"resource,omitempty"` // key in its release, "" when unknown
	Release  string `json:"release,omitempty"`  // version by its prefix
	Shards   int    `json:"shards"`
	Bytes    int64  `json:"bytes"`
	Blocked  bool   `json:"blocked,omitempty"` // writes were blocked
	Before   Mark   `json:"before"`
	After    Mark   `json:"after"`
	// Gone: the index was no longer there after the snapshot, so that After
	// says nothing.
	Gone bool `json:"gone,omitempty"`
	// Moving: writes came while Before was read, so that its count may lack
	// some.
	Moving bool `json:"moving,omitempty"`
	// Digest over all documents as of Before; "" when none was asked for.
	Digest string `json:"digest,omitempty"`
}

// Mark is where an index stands.
type Mark struct {
	Docs int64 `json:"docs"`
	// MaxSeqNo per shard, -1 for a shard that never saw a write.
	MaxSeqNo map[int]int64 `json:"max_seq_no"`
	Mapping  string        `json:"mapping"` // hash
}

// Quiet says whether nothing was written while the snapshot was taken. Counts
// are read after a refresh, so that with equal sequence numbers After's is
// exact.
func (r IndexRecord) Quiet() bool {
	return !r.Gone && maps.Equal(r.Before.MaxSeqNo, r.After.MaxSeqNo)
}

// MappingHash stands for a canonical mapping.
func MappingHash(mapping map[string]any) string {
	sum := sha256.Sum256(releases.Canonical(nil, mapping))
	return hex.EncodeToString(sum[:16])
}

// mark reads a Mark from what the engine says of an index.
func mark(ix upgrader.Index, st upgrader.IndexStats) Mark {
	return Mark{Docs: st.Docs, MaxSeqNo: st.MaxSeqNo, Mapping: MappingHash(ix.Mapping)}
}

// index finds a record.
func (m *Manifest) index(name string) *IndexRecord {
	i, ok := slices.BinarySearchFunc(m.Indices, name, func(r IndexRecord, n string) int {
		switch {
		case r.Name < n:
			return -1
		case r.Name > n:
			return 1
		}
		return 0
	})
	if !ok {
		return nil
	}
	return &m.Indices[i]
}

// Docs is the number of documents as recorded.
func (m *Manifest) Docs() (n int64) {
	for _, r := range m.Indices {
		n += r.After.Docs
	}
	return n
}

// Bytes is the size as recorded.
func (m *Manifest) Bytes() (n int64) {
	for _, r := range m.Indices {
		n += r.Bytes
	}
	return n
}

// Compare says how a restored index differs from its record, "" for not at
// all. An index that nobody wrote to must agree exactly. One that was written
// to must hold, in every shard, a sequence number between those read before
// and after, and its mapping may have grown.
func (r IndexRecord) Compare(is Mark) string {
	if r.Quiet() {
		switch {
		case is.Docs != r.After.Docs:
			return fmt.Sprintf("holds %d documents, the snapshot's record says %d", is.Docs, r.After.Docs)
		case !maps.Equal(is.MaxSeqNo, r.Before.MaxSeqNo):
			return "its sequence numbers are not those of the snapshot's record"
		case is.Mapping != r.Before.Mapping && is.Mapping != r.After.Mapping:
			return "its mapping is not that of the snapshot's record"
		}
		return ""
	}
	return r.bounds(is)
}

// bounds compares with what was read before and after.
func (r IndexRecord) bounds(is Mark) string {
	if len(is.MaxSeqNo) != len(r.Before.MaxSeqNo) {
		return fmt.Sprintf("has %d shards, the snapshot's record says %d", len(is.MaxSeqNo), len(r.Before.MaxSeqNo))
	}
	var writes int64 // at most, while the snapshot was taken
	for shard, n := range is.MaxSeqNo {
		low, high := r.Before.MaxSeqNo[shard], r.After.MaxSeqNo[shard]
		if n < low || !r.Gone && n > high {
			return fmt.Sprintf("shard %d ends at write %d, the snapshot was taken between %d and %d", shard, n, low, high)
		}
		writes += high - low
	}
	if r.Gone {
		return r.asBefore(is)
	}
	// A write changes the number of documents by one at most.
	if is.Docs < r.After.Docs-writes || is.Docs > r.After.Docs+writes {
		return fmt.Sprintf("holds %d documents, the snapshot's record says %d, with %d writes meanwhile", is.Docs, r.After.Docs, writes)
	}
	if r.Before.Mapping == r.After.Mapping && is.Mapping != r.Before.Mapping {
		return "its mapping is not that of the snapshot's record"
	}
	return ""
}

// asBefore compares with what was read before the snapshot, as far as the
// restored index ends at the same write.
func (r IndexRecord) asBefore(is Mark) string {
	switch {
	case r.Moving || !maps.Equal(is.MaxSeqNo, r.Before.MaxSeqNo):
		return ""
	case is.Docs != r.Before.Docs:
		return fmt.Sprintf("holds %d documents, the snapshot's record says %d", is.Docs, r.Before.Docs)
	case is.Mapping != r.Before.Mapping:
		return "its mapping is not that of the snapshot's record"
	}
	return ""
}

// Covers says what of the indices that stand the manifest does not hold as
// they are now, "" when it holds all: same index, nothing written since.
// Indices that were written to after `since` do not matter, when it is not
// zero and the snapshot was taken later.
func (m *Manifest) Covers(indices []upgrader.Index, stats map[string]upgrader.IndexStats, since time.Time) string {
	later := !since.IsZero() && m.TakenAt.After(since)
	for _, ix := range indices {
		r := m.index(ix.Name)
		switch {
		case r == nil:
			return "index " + ix.Name + " is not in it"
		case r.UUID != ix.UUID:
			return "index " + ix.Name + " was made anew since"
		case later:
		case !r.Quiet() || !maps.Equal(r.After.MaxSeqNo, stats[ix.Name].MaxSeqNo):
			return "index " + ix.Name + " was written to since"
		}
	}
	return ""
}
