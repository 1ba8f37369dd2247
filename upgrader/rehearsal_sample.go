package upgrader

import (
	"context"
	"math"

	"github.com/tracardi/tms/upgrader/stream"
)

// sampleWindows is how many stretches a sample of an index is taken from, so
// that old and new documents are in it.
const sampleWindows = 8

// span are the sequence numbers from < seq <= to.
type span struct{ from, to int64 }

// sampled is an engine that shows only a part of some indices to those who read
// them in the order of their sequence numbers. By id everything is there.
type sampled struct {
	Engine
	spans map[string]map[int][]span // by index and shard; others are whole
	docs  map[string]int64          // most that are shown of each
}

// sampleOf chooses at most n documents of each index that holds more.
func sampleOf(e Engine, stats map[string]IndexStats, n int) *sampled {
	s := &sampled{Engine: e, spans: map[string]map[int][]span{}, docs: map[string]int64{}}
	for name, st := range stats {
		if n == 0 || st.Docs <= int64(n) {
			continue
		}
		s.docs[name], s.spans[name] = int64(n), map[int][]span{}
		for shard, last := range st.MaxSeqNo {
			s.spans[name][shard] = spansOf(last, float64(n)/float64(st.Docs))
		}
	}
	return s
}

// spansOf covers a share of the numbers 0..last evenly, in stretches of at
// least one number.
func spansOf(last int64, share float64) []span {
	all := last + 1
	want := int64(math.Ceil(float64(all) * share))
	if all <= 0 || want <= 0 {
		return nil
	}
	k := min(int64(sampleWindows), want)
	var out []span
	for i := range k {
		// The first begins at the beginning, the last ends at the end.
		width := want*(i+1)/k - want*i/k
		at := int64(0)
		if k > 1 {
			at = (all - width) * i / (k - 1)
		}
		from := at - 1
		if len(out) > 0 {
			from = max(from, out[len(out)-1].to)
		}
		out = append(out, span{from, min(at+width-1, last)})
	}
	return out
}

// Stats implements Engine.
func (s *sampled) Stats(ctx context.Context, patterns ...string) (map[string]IndexStats, error) {
	stats, err := s.Engine.Stats(ctx, patterns...)
	for name, most := range s.docs {
		if st, ok := stats[name]; ok {
			st.Docs = min(st.Docs, most)
			stats[name] = st
		}
	}
	return stats, err
}

// Page implements Engine.
func (s *sampled) Page(ctx context.Context, p stream.PageRequest) ([]stream.Doc, error) {
	shards, part := s.spans[p.Index]
	if !part {
		return s.Engine.Page(ctx, p)
	}
	var out []stream.Doc
	for _, w := range shards[p.Shard] {
		q := p
		q.Into = nil // several pages become one
		q.From, q.To, q.Size = max(p.From, w.from), min(p.To, w.to), p.Size-len(out)
		if q.From >= q.To {
			continue
		}
		docs, err := s.Engine.Page(ctx, q)
		if err != nil {
			return nil, err
		}
		if out = append(out, docs...); len(out) >= p.Size {
			break
		}
	}
	return out, nil
}

// Fetch implements Engine.
func (s *sampled) Fetch(ctx context.Context, shard, most int, indices ...string) ([]stream.Doc, bool, error) {
	docs, whole, err := s.Engine.Fetch(ctx, shard, most, indices...)
	if err != nil {
		return nil, false, err
	}
	kept := docs[:0]
	for _, d := range docs {
		if shards, part := s.spans[d.Index]; !part || within(shards[shard], d.SeqNo) {
			kept = append(kept, d)
		}
	}
	return kept, whole, nil
}

func within(spans []span, seq int64) bool {
	for _, w := range spans {
		if seq > w.from && seq <= w.to {
			return true
		}
	}
	return false
}
