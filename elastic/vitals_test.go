package elastic_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/upgrader"
)

// testRethrottle lets a sliced copy go that would take hours, and slows down
// one that goes.
func testRethrottle(b *bench) {
	source, target := b.create("a", 2, nil), b.create("b", 1, nil)
	b.fill(source, 60)
	start := func(rate float64) string {
		task, err := b.StartReindex(b.ctx, upgrader.Reindex{Source: source, Target: target, Slices: 2, Batch: 1, RPS: rate, OpaqueID: b.prefix})
		require.NoError(b.t, err)
		return task
	}
	task := start(0.01)
	require.NoError(b.t, b.Rethrottle(b.ctx, task, 0))
	require.EqualValues(b.t, 60, b.finished(task).Created)
	if err := b.Rethrottle(b.ctx, task, 5); err != nil {
		require.ErrorIs(b.t, err, upgrader.ErrNotFound, "it has ended")
	}

	task = start(20)
	b.eventually("it goes", func() bool {
		got, err := b.ReindexTask(b.ctx, task)
		require.NoError(b.t, err)
		return got.Updated > 0
	})
	require.NoError(b.t, b.Rethrottle(b.ctx, task, 0.01))
	// Each slice may finish the page that it is at, and then waits for minutes.
	at := func() int64 {
		got, err := b.ReindexTask(b.ctx, task)
		require.NoError(b.t, err)
		require.False(b.t, got.Completed)
		return got.Updated
	}
	last, same := at(), time.Now()
	b.eventually("it rests", func() bool {
		if now := at(); now != last {
			last, same = now, time.Now()
		}
		return time.Since(same) > time.Second
	})
	require.Less(b.t, last, int64(60))
	require.NoError(b.t, b.Rethrottle(b.ctx, task, 0))
	require.EqualValues(b.t, 60, b.finished(task).Updated, "it goes on where it rested")

	node, _, _ := strings.Cut(task, ":")
	require.ErrorIs(b.t, b.Rethrottle(b.ctx, node+":999999999", 5), upgrader.ErrNotFound)
	require.Error(b.t, b.Rethrottle(b.ctx, "nonsense", 5))
}

// testVitals looks at a cluster that is well.
func testVitals(b *bench) {
	index := b.create("a", 1, nil)
	for i := range 20 {
		b.bulk(upgrader.BulkOp{Index: index, ID: strconv.Itoa(i), Source: json.RawMessage(`{"n":1}`)})
	}
	require.NoError(b.t, b.Refresh(b.ctx, index))
	v, err := b.ClusterVitals(b.ctx, index)
	require.NoError(b.t, err)
	require.Positive(b.t, v.HeapPercent)
	require.NotEmpty(b.t, v.HeapNode)
	require.Positive(b.t, v.Search)
	require.WithinDuration(b.t, time.Now(), v.At, time.Minute)
	require.GreaterOrEqual(b.t, v.DiskLimit, int64(0))
	if v.DiskLimit > 0 {
		require.Positive(b.t, v.DiskUsed)
	}
	v, err = b.ClusterVitals(b.ctx, b.prefix+".missing")
	require.NoError(b.t, err)
	require.Zero(b.t, v.Search, "nothing was searched")
}
