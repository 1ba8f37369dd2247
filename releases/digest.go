package releases

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Digest stands for a set of documents, whatever the order they come in: two
// sets are taken as equal when their digests are. Each document contributes
// two 64-bit words of SHA-256 over its id, a zero byte and its canonical form;
// the words are summed. A copy that lacks, doubles or alters a document goes
// unnoticed with a probability of 2^-128; the digest is meant to find faults,
// not to withstand somebody who forges documents.
//
// The zero value is the digest of nothing. It is a value: copies are
// independent; concurrent use of one needs a lock (or one each, and Merge).
type Digest struct {
	Count int64
	A, B  uint64
}

func lanes(id string, canonical []byte) (a, b uint64) {
	// One contiguous input is quicker than a streaming hash for the usual
	// document; bigger ones are copied too, which costs less than hashing.
	buf := make([]byte, 0, 4096)
	buf = append(append(append(buf, id...), 0), canonical...)
	sum := sha256.Sum256(buf)
	return binary.BigEndian.Uint64(sum[:8]), binary.BigEndian.Uint64(sum[8:16])
}

// Add adds one document, given its canonical form.
func (d *Digest) Add(id string, canonical []byte) {
	a, b := lanes(id, canonical)
	d.Count, d.A, d.B = d.Count+1, d.A+a, d.B+b
}

// Remove takes back one Add.
func (d *Digest) Remove(id string, canonical []byte) {
	a, b := lanes(id, canonical)
	d.Count, d.A, d.B = d.Count-1, d.A-a, d.B-b
}

// Merge adds all documents of another set.
func (d *Digest) Merge(o Digest) {
	d.Count, d.A, d.B = d.Count+o.Count, d.A+o.A, d.B+o.B
}

// Equal tells whether both stand for the same set.
func (d Digest) Equal(o Digest) bool { return d == o }

// String is the count, a colon and 32 hex digits: "120000:0123…cdef".
func (d Digest) String() string { return fmt.Sprintf("%d:%016x%016x", d.Count, d.A, d.B) }

// MarshalText is String.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Digest) UnmarshalText(text []byte) error {
	var o Digest
	n, err := fmt.Sscanf(string(text), "%d:%16x%16x", &o.Count, &o.A, &o.B)
	if err != nil || n != 3 || o.String() != string(text) {
		return fmt.Errorf("digest %q is not of the form count:32 hex digits", text)
	}
	*d = o
	return nil
}
