package elastic_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/upgrader"
)

// testAliasSwap moves an alias to and fro while readers count behind it: they
// must see one index or the other, never both and never none.
func testAliasSwap(b *bench) {
	one, two, alias := b.create("one", 1, nil), b.create("two", 1, nil), b.prefix+".alias"
	b.fill(one, 1)
	b.fill(two, 2)
	require.NoError(b.t, b.UpdateAliases(b.ctx, []upgrader.AliasAction{{Index: one, Alias: alias}}))

	var stop atomic.Bool
	var readers sync.WaitGroup
	seen := make(chan string, 4)
	for range 4 {
		readers.Go(func() {
			for !stop.Load() {
				n, err := b.Count(b.ctx, alias)
				if err != nil || n[alias] != 1 && n[alias] != 2 {
					seen <- fmt.Sprintf("count %v, error %v", n, err)
					return
				}
			}
		})
	}
	for range 10 {
		require.NoError(b.t, b.UpdateAliases(b.ctx, []upgrader.AliasAction{
			{Remove: true, Index: one, Alias: alias}, {Index: two, Alias: alias},
		}))
		require.NoError(b.t, b.UpdateAliases(b.ctx, []upgrader.AliasAction{
			{Remove: true, Index: two, Alias: alias}, {Index: one, Alias: alias},
		}))
	}
	stop.Store(true)
	readers.Wait()
	close(seen)
	for s := range seen {
		b.t.Error(s)
	}
	aliases, err := b.Aliases(b.ctx, alias, b.prefix+".missing")
	require.NoError(b.t, err)
	require.Equal(b.t, map[string][]string{alias: {one}}, aliases)
}

func testAliasRepeat(b *bench) {
	one, two, alias := b.create("one", 1, nil), b.create("two", 1, nil), b.prefix+".alias"
	swap := []upgrader.AliasAction{{Remove: true, Index: one, Alias: alias}, {Index: two, Alias: alias}}
	for range 2 {
		require.NoError(b.t, b.UpdateAliases(b.ctx, swap))
		require.NoError(b.t, b.UpdateAliases(b.ctx, swap[:1]), "only removals of what is not there")
	}
	require.NoError(b.t, b.UpdateAliases(b.ctx, nil))

	// One missing index, and nothing of the whole request happens.
	err := b.UpdateAliases(b.ctx, []upgrader.AliasAction{
		{Index: one, Alias: alias}, {Index: b.prefix + ".missing", Alias: alias},
	})
	require.ErrorIs(b.t, err, upgrader.ErrNotFound)
	aliases, err := b.Aliases(b.ctx, alias)
	require.NoError(b.t, err)
	require.Equal(b.t, []string{two}, aliases[alias])
}

// testWriteBlock has twelve writers at work when the block comes. What the
// index holds when BlockWrites has answered is final, and it is exactly what
// was acknowledged, before or after the answer arrived here.
func testWriteBlock(b *bench) {
	index := b.create("a", 3, nil)
	const writers = 12
	var acknowledged atomic.Int64
	busy := make(chan struct{}, writers)
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := 0; b.ctx.Err() == nil; i++ {
				res, err := b.Bulk(b.ctx, []upgrader.BulkOp{{
					Index: index, ID: fmt.Sprintf("%d-%d", w, i), Source: json.RawMessage(`{}`),
				}})
				if err != nil || !res[0].OK {
					if err != nil || res[0].Type != "cluster_block_exception" {
						b.t.Errorf("writer %d: %v %+v", w, err, res)
					}
					return
				}
				acknowledged.Add(1)
				if i == 5 {
					busy <- struct{}{}
				}
			}
		})
	}
	for range writers {
		select {
		case <-busy:
		case <-b.ctx.Done():
			b.t.Fatal("the writers did not get going")
		}
	}
	start := time.Now()
	blocked, err := b.BlockWrites(b.ctx, b.prefix+".*")
	require.NoError(b.t, err)
	require.Equal(b.t, []string{index}, blocked)
	b.t.Logf("block took %v with %d documents acknowledged", time.Since(start), acknowledged.Load())
	require.NoError(b.t, b.Refresh(b.ctx, index))
	atAnswer := b.count(index)
	all.Wait()
	require.NoError(b.t, b.Refresh(b.ctx, index))
	require.Equal(b.t, atAnswer, b.count(index), "a write came through after the answer")
	require.Equal(b.t, atAnswer, acknowledged.Load())
}

func testBlockNames(b *bench) {
	one, two, other := b.create("x.one", 1, nil), b.create("x.two", 2, nil), b.create("y", 1, nil)
	for range 2 { // a block on blocked indices is as good
		blocked, err := b.BlockWrites(b.ctx, b.prefix+".x.*", one)
		require.NoError(b.t, err)
		require.Equal(b.t, []string{one, two}, blocked)
	}
	list, err := b.Indices(b.ctx, b.prefix+".*")
	require.NoError(b.t, err)
	require.Len(b.t, list, 3)
	for _, i := range list {
		require.Equal(b.t, i.Name != other, i.WriteBlocked, i.Name)
	}
	refused, err := b.Bulk(b.ctx, []upgrader.BulkOp{
		{Index: one, ID: "1", Source: json.RawMessage(`{}`)}, {Index: other, ID: "1", Source: json.RawMessage(`{}`)},
	})
	require.NoError(b.t, err)
	require.False(b.t, refused[0].OK)
	require.Equal(b.t, "cluster_block_exception", refused[0].Type)
	require.True(b.t, refused[1].OK)

	require.NoError(b.t, b.UnblockWrites(b.ctx, one, b.prefix+".missing", two))
	b.bulk(upgrader.BulkOp{Index: one, ID: "1", Source: json.RawMessage(`{}`)},
		upgrader.BulkOp{Index: two, ID: "1", Source: json.RawMessage(`{}`)})
	list, err = b.Indices(b.ctx, one)
	require.NoError(b.t, err)
	require.False(b.t, list[0].WriteBlocked)
}

func testAwaitQuiet(b *bench) {
	require.NoError(b.t, b.AwaitQuiet(b.ctx, time.Minute))
	// While indices are created, a moment does not suffice; that is no error.
	g, ctx := errgroup.WithContext(b.ctx)
	for i := range 8 {
		g.Go(func() error {
			return b.CreateIndex(ctx, fmt.Sprintf("%s.quiet-%d", b.prefix, i), upgrader.IndexBody{Settings: map[string]any{"number_of_replicas": 0}})
		})
	}
	for range 8 {
		require.NoError(b.t, b.AwaitQuiet(b.ctx, time.Millisecond))
	}
	require.NoError(b.t, g.Wait())
	require.NoError(b.t, b.AwaitQuiet(b.ctx, time.Minute))
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	require.ErrorIs(b.t, b.AwaitQuiet(ctx, time.Minute), context.Canceled)
}
