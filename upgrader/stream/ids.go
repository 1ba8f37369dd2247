package stream

import "hash/maphash"

// IDSet is a set of document ids in 16 bytes each: two independent 64-bit
// hashes with seeds of its own. Of a billion documents two are taken for one
// with a chance of one to 10^20. Not safe for concurrent use.
type IDSet struct {
	a, b maphash.Seed
	ids  map[[2]uint64]struct{}
}

// NewIDSet is an empty set.
func NewIDSet() *IDSet {
	return &IDSet{a: maphash.MakeSeed(), b: maphash.MakeSeed(), ids: map[[2]uint64]struct{}{}}
}

// NewIDSetLike is an empty set that can be merged into another one.
func NewIDSetLike(o *IDSet) *IDSet {
	return &IDSet{a: o.a, b: o.b, ids: map[[2]uint64]struct{}{}}
}

func (s *IDSet) key(id string) [2]uint64 {
	return [2]uint64{maphash.String(s.a, id), maphash.String(s.b, id)}
}

// Add puts an id into the set.
func (s *IDSet) Add(id string) { s.ids[s.key(id)] = struct{}{} }

// Has says whether an id is in the set.
func (s *IDSet) Has(id string) bool { _, ok := s.ids[s.key(id)]; return ok }

// Merge adds all ids of a set that NewIDSetLike has made like this one, or like
// which this one was made.
func (s *IDSet) Merge(o *IDSet) {
	for k := range o.ids {
		s.ids[k] = struct{}{}
	}
}
