package upgrader

import (
	"context"
	"sort"
	"time"

	"golang.org/x/sync/errgroup"
)

// Documents are read in windows of sequence numbers, which makes every read
// stateless and resumable: no scroll context is held open on the engine, and
// a document that changes meanwhile is not missed but moves behind the window.
const (
	// pageSize documents are asked for at once: at Tracardi's 1–4 KB a
	// document that is a response of a few megabytes.
	pageSize = 2_000
	// maxWindow bounds the growth of a window over sparse sequence numbers
	// (documents that were updated often leave gaps).
	maxWindow = 1 << 20
)

// readShard calls fn for every document of one shard with from < seq <= to,
// in ascending order. Pages are never empty. read tells the highest sequence
// number that is certainly passed when fn returns.
func readShard(ctx context.Context, e Engine, index string, shard int, from, to int64, idsOnly bool, fn func(docs []Doc, read int64) error) error {
	window := int64(pageSize)
	for from < to {
		hi := min(to, from+window)
		docs, err := e.Page(ctx, PageRequest{Index: index, Shard: shard, From: from, To: hi, Size: pageSize, IDsOnly: idsOnly})
		if err != nil {
			return err
		}
		if len(docs) == pageSize {
			hi = docs[len(docs)-1].SeqNo
			window = max(window/2, pageSize)
		} else if len(docs) < pageSize/2 {
			window = min(window*2, maxWindow)
		}
		if len(docs) > 0 {
			if err := fn(docs, hi); err != nil {
				return err
			}
		}
		from = hi
	}
	return nil
}

// readAhead is readShard with the next page under way while fn works on one.
func readAhead(ctx context.Context, e Engine, index string, shard int, from, to int64, fn func(docs []Doc, read int64) error) error {
	type page struct {
		docs []Doc
		read int64
	}
	g, gctx := errgroup.WithContext(ctx)
	pages := make(chan page)
	g.Go(func() error {
		defer close(pages)
		return readShard(gctx, e, index, shard, from, to, false, func(docs []Doc, read int64) error {
			select {
			case pages <- page{docs, read}:
				return nil
			case <-gctx.Done():
				return context.Cause(gctx)
			}
		})
	})
	g.Go(func() error {
		for p := range pages {
			if err := fn(p.docs, p.read); err != nil {
				return err
			}
		}
		return nil
	})
	return g.Wait()
}

// readAll calls fn for every document of an index up to the given sequence
// numbers.
func readAll(ctx context.Context, e Engine, index string, to map[int]int64, idsOnly bool, fn func(docs []Doc) error) error {
	for _, shard := range shardsIn(to) {
		err := readShard(ctx, e, index, shard, -1, to[shard], idsOnly, func(docs []Doc, _ int64) error { return fn(docs) })
		if err != nil {
			return err
		}
	}
	return nil
}

// stats reads the figures of indices once all of their primaries are active:
// a shard that is still being allocated has no sequence numbers, and would
// look as if it never held a document.
func (s *session) stats(ctx context.Context, patterns ...string) (map[string]IndexStats, error) {
	wait := newPoller(s.r.limits.Poll)
	for deadline := time.Now().Add(activeTimeout); ; {
		stats, err := s.engine.Stats(ctx, patterns...)
		if err != nil {
			return nil, err
		}
		inactive := ""
		for name, st := range stats {
			if len(st.MaxSeqNo) < st.Primaries || len(st.Checkpoints) < st.Primaries {
				inactive = name
			}
		}
		if inactive == "" {
			return stats, nil
		}
		if time.Now().After(deadline) {
			return nil, &EngineError{Op: "read statistics of " + inactive, Status: 503, Type: "primary_not_active", Reason: "a primary shard is not active"}
		}
		if err := wait.pause(ctx); err != nil {
			return nil, err
		}
	}
}

// activeTimeout is how long a step waits for primaries before it is tried
// again later, which lets the operator see what it waits for.
const activeTimeout = 20 * time.Second

func shardsIn(m map[int]int64) []int {
	out := make([]int, 0, len(m))
	for s := range m {
		out = append(out, s)
	}
	sort.Ints(out)
	return out
}

func idsOf(docs []Doc) []string {
	out := make([]string, len(docs))
	for i, d := range docs {
		out[i] = d.ID
	}
	return out
}

// never says that an index has never seen a write.
func never(seq map[int]int64) bool {
	for _, n := range seq {
		if n >= 0 {
			return false
		}
	}
	return true
}

// writes is the number of operations that the shards of an index have taken.
func writes(seq map[int]int64) (n int64) {
	for _, last := range seq {
		n += last + 1
	}
	return n
}

// beyond says whether now is past the checkpoint in any shard.
func beyond(checkpoint Checkpoint, now map[int]int64) bool {
	for shard, n := range now {
		c, ok := checkpoint[shard]
		if !ok {
			c = -1
		}
		if n > c {
			return true
		}
	}
	return false
}

// at is the checkpoint of a shard, -1 when there is none.
func (c Checkpoint) at(shard int) int64 {
	if n, ok := c[shard]; ok {
		return n
	}
	return -1
}

func checkpointOf(m map[int]int64) Checkpoint {
	out := make(Checkpoint, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}
