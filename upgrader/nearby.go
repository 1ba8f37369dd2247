package upgrader

import (
	"cmp"
	"context"
	"slices"
	"sort"

	"github.com/tracardi/tms/upgrader/stream"
)

// Most indices of a tenant hold a handful of documents. Reading and writing
// them one by one costs the engine, and two cores, more in requests than in
// documents; so small ones are read many at a time, in one request per shard
// number, and written in one.
const (
	// sweepDocs and sweepBytes bound what is planned to be read at once,
	// sweepIndices the fan-out of one request: an engine looks into each of up
	// to 128 shards without a round of its own to choose among them.
	sweepDocs    = 2_000
	sweepBytes   = 4 << 20
	sweepIndices = 100
	// sweepParallel requests are under way for one tenant.
	sweepParallel = 2
)

// bundled puts things together whose weight is known into groups within the
// bounds of one request.
func bundled[T any](all []T, weigh func(T) (docs, bytes int64)) [][]T {
	var out [][]T
	var docs, bytes int64
	for _, x := range all {
		d, b := weigh(x)
		if n := len(out); n == 0 || docs+d > sweepDocs || bytes+b > sweepBytes || len(out[n-1]) >= sweepIndices {
			out, docs, bytes = append(out, nil), 0, 0
		}
		docs, bytes = docs+d, bytes+b
		out[len(out)-1] = append(out[len(out)-1], x)
	}
	return out
}

// nearby is an engine that has the documents of some indices in memory, as of
// the moment in which they were read.
type nearby struct {
	Engine
	docs map[string]map[int][]stream.Doc // by index and shard, ascending
}

// Page implements Engine.
func (n *nearby) Page(ctx context.Context, p stream.PageRequest) ([]stream.Doc, error) {
	shards, here := n.docs[p.Index]
	if !here {
		return n.Engine.Page(ctx, p)
	}
	docs := shards[p.Shard]
	from := sort.Search(len(docs), func(i int) bool { return docs[i].SeqNo > p.From })
	to := sort.Search(len(docs), func(i int) bool { return docs[i].SeqNo > p.To })
	return docs[from:min(to, from+p.Size)], nil
}

// upTo are the documents of an index up to a checkpoint.
func (n *nearby) upTo(index string, at stream.Checkpoint) []stream.Doc {
	var out []stream.Doc
	for _, shard := range stream.ShardsIn(at) {
		for _, d := range n.docs[index][shard] {
			if d.SeqNo <= at[shard] {
				out = append(out, d)
			}
		}
	}
	return out
}

// near reads indices as a whole, given the shards of each; nil when they hold
// more than was thought.
func (s *session) near(ctx context.Context, indices map[string]stream.Checkpoint) (*nearby, error) {
	n := &nearby{Engine: s.engine, docs: map[string]map[int][]stream.Doc{}}
	byShard := map[int][]string{}
	for _, name := range sortedKeys(indices) {
		n.docs[name] = map[int][]stream.Doc{}
		for shard := range indices[name] {
			byShard[shard] = append(byShard[shard], name)
		}
	}
	for shard, names := range byShard {
		docs, whole, err := s.engine.Fetch(ctx, shard, 2*sweepDocs, names...)
		if err != nil || !whole {
			return nil, err
		}
		for _, d := range docs {
			n.docs[d.Index][shard] = append(n.docs[d.Index][shard], d)
		}
	}
	for _, shards := range n.docs {
		for _, docs := range shards {
			slices.SortFunc(docs, func(a, b stream.Doc) int { return cmp.Compare(a.SeqNo, b.SeqNo) })
		}
	}
	return n, nil
}
