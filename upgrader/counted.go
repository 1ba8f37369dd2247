package upgrader

import (
	"context"
	"maps"

	"github.com/tracardi/tms/upgrader/stream"
)

// Behind a fence only what has changed since shortly before it is counted
// again. Every operation on an index takes a sequence number, a deletion as
// well; an index that was refreshed and counted after its sequence numbers
// were read, and has the same ones now, holds as many documents as it did.

// counted is the number of documents of an index as of its sequence numbers.
type counted struct {
	docs int64
	at   stream.Checkpoint
}

// still says whether nothing has happened to an index since.
func (c counted) still(now map[int]int64) bool { return c.at != nil && maps.Equal(c.at, now) }

// countAhead counts indices while writers go on, so that few of them have to
// be counted behind the fence.
func (s *session) countAhead(ctx context.Context, names []string) error {
	s.counted = nil
	if len(names) == 0 {
		return nil
	}
	stats, err := s.stats(ctx, names...)
	if err != nil {
		return err
	}
	if err := s.engine.Refresh(ctx, names...); err != nil {
		return err
	}
	n, err := s.engine.Count(ctx, names...)
	if err != nil {
		return err
	}
	ahead := make(map[string]counted, len(names))
	for name, docs := range n {
		if st, ok := stats[name]; ok {
			ahead[name] = counted{docs, stream.CheckpointOf(st.MaxSeqNo)}
		}
	}
	s.counted = ahead
	return nil
}

// changed lists those of the indices that something has happened to since they
// were counted ahead; all of them when they were not.
func (s *session) changed(names []string, now map[string]IndexStats) []string {
	var out []string
	for _, name := range names {
		if st, ok := now[name]; !ok || !s.counted[name].still(st.MaxSeqNo) {
			out = append(out, name)
		}
	}
	return out
}

// count gives the number of documents of each index. now are the sequence
// numbers of indices that nobody writes to any more; nil counts all anew. What
// has changed must have been refreshed.
func (s *session) count(ctx context.Context, names []string, now map[string]IndexStats) (map[string]int64, error) {
	anew := s.changed(names, now)
	out := make(map[string]int64, len(names))
	for _, name := range names {
		out[name] = s.counted[name].docs
	}
	if len(anew) == 0 {
		return out, nil
	}
	n, err := s.engine.Count(ctx, anew...)
	maps.Copy(out, n)
	return out, err
}
