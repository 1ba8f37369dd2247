package stream

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// Pager reads pages: an engine, or what stands in front of one. Safe for
// concurrent use.
type Pager interface {
	// Page reads documents of one shard in the order of their sequence
	// numbers: those with From < _seq_no <= To. It sees what was refreshed.
	Page(ctx context.Context, p PageRequest) ([]Doc, error)
}

// Documents are read in windows of sequence numbers, which makes every read
// stateless and resumable: no scroll context is held open on the engine, and
// a document that changes meanwhile is not missed but moves behind the window.
const (
	// PageSize documents are asked for at once: at Tracardi's 1–4 KB a
	// document that is a response of a few megabytes.
	PageSize = 2_000
	// maxWindow bounds the growth of a window over sparse sequence numbers
	// (documents that were updated often leave gaps).
	maxWindow = 1 << 20
)

// ReadShard calls fn for every document of one shard with from < seq <= to,
// in ascending order. Pages are never empty. read tells the highest sequence
// number that is certainly passed when fn returns. The first error of the Pager
// or of fn ends it.
func ReadShard(ctx context.Context, e Pager, index string, shard int, from, to int64, idsOnly bool, fn func(docs []Doc, read int64) error) error {
	return readInto(ctx, e, PageRequest{Index: index, Shard: shard, From: from, To: to, IDsOnly: idsOnly}, func() *Buffer { return nil }, fn)
}

// readInto is ReadShard with the memory of each page given.
func readInto(ctx context.Context, e Pager, all PageRequest, memory func() *Buffer, fn func(docs []Doc, read int64) error) error {
	window := int64(PageSize)
	for from, to := all.From, all.To; from < to; {
		hi := min(to, from+window)
		page := all
		page.From, page.To, page.Size, page.Into = from, hi, PageSize, memory()
		docs, err := e.Page(ctx, page)
		if err != nil {
			return err
		}
		if len(docs) == PageSize {
			hi = docs[len(docs)-1].SeqNo
			window = max(window/2, PageSize)
		} else if len(docs) < PageSize/2 {
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

// ReadAhead is ReadShard with the next page under way while fn works on one, which a
// goroutine of its own does, one page at a time. What fn got is overwritten once it has
// returned: a page is megabytes, and to make each anew costs as much as to read it.
func ReadAhead(ctx context.Context, e Pager, index string, shard int, from, to int64, fn func(docs []Doc, read int64) error) error {
	type page struct {
		docs []Doc
		read int64
	}
	g, gctx := errgroup.WithContext(ctx)
	pages := make(chan page)
	// fn is done with a page when it takes the next one: two take turns.
	var turns [2]Buffer
	turn := 0
	memory := func() *Buffer { return &turns[turn] }
	all := PageRequest{Index: index, Shard: shard, From: from, To: to}
	g.Go(func() error {
		defer close(pages)
		return readInto(gctx, e, all, memory, func(docs []Doc, read int64) error {
			select {
			case pages <- page{docs, read}:
				turn = 1 - turn
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

// ReadAll calls fn for every document of an index up to the given sequence
// numbers.
func ReadAll(ctx context.Context, e Pager, index string, to map[int]int64, idsOnly bool, fn func(docs []Doc) error) error {
	for _, shard := range ShardsIn(to) {
		err := ReadShard(ctx, e, index, shard, -1, to[shard], idsOnly, func(docs []Doc, _ int64) error { return fn(docs) })
		if err != nil {
			return err
		}
	}
	return nil
}
