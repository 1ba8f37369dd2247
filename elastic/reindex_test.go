package elastic_test

import (
	"encoding/json"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/upgrader"
)

func testReindex(b *bench) {
	source, target := b.create("a", 2, nil), b.create("b", 1, nil)
	b.fill(source, 60)
	task, err := b.StartReindex(b.ctx, upgrader.Reindex{
		Source: source, Target: target, Slices: 2, Batch: 10, OpaqueID: b.prefix,
		Script: "ctx._source.n += params.by", Params: map[string]any{"by": 1000},
	})
	require.NoError(b.t, err)
	got := b.finished(task)
	require.Equal(b.t, upgrader.ReindexTask{
		ID: task, OpaqueID: b.prefix, Completed: true, Total: 60, Created: 60,
	}, got)
	docs, err := b.Get(b.ctx, target, []string{"7"})
	require.NoError(b.t, err)
	require.JSONEq(b.t, `{"n":1007}`, string(docs["7"].Source))

	again, err := b.StartReindex(b.ctx, upgrader.Reindex{Source: source, Target: target})
	require.NoError(b.t, err)
	got = b.finished(again)
	require.EqualValues(b.t, 60, got.Updated)
	require.Zero(b.t, got.Created)
}

func testReindexRefused(b *bench) {
	source := b.create("a", 1, object(b.t, `{"enabled":false}`))
	target := b.create("b", 1, object(b.t, `{"properties":{"n":{"type":"integer"}}}`))
	b.bulk(upgrader.BulkOp{Index: source, ID: "good", Source: json.RawMessage(`{"n":1}`)},
		upgrader.BulkOp{Index: source, ID: "bad", Source: json.RawMessage(`{"n":1.5e300}`)})
	require.NoError(b.t, b.Refresh(b.ctx, source))
	task, err := b.StartReindex(b.ctx, upgrader.Reindex{Source: source, Target: target, Slices: 1})
	require.NoError(b.t, err)
	got := b.finished(task)
	require.Len(b.t, got.Failures, 1)
	require.Equal(b.t, "bad", got.Failures[0].ID)
	require.Equal(b.t, target, got.Failures[0].Index)
	require.NotEmpty(b.t, got.Failures[0].Type)
	require.NotEmpty(b.t, got.Failures[0].Reason)
	require.EqualValues(b.t, 2, got.Total)
	require.EqualValues(b.t, 1, got.Created)
	require.Empty(b.t, got.Err)
	require.False(b.t, got.Cancelled)
}

func testReindexBadScript(b *bench) {
	source, target := b.create("a", 2, nil), b.create("b", 1, nil)
	b.fill(source, 10)
	for _, slices := range []int{1, 2} {
		task, err := b.StartReindex(b.ctx, upgrader.Reindex{
			Source: source, Target: target, Script: "ctx._source.n = nowhere", Slices: slices,
		})
		require.NoError(b.t, err, "the engine accepts it")
		got := b.finished(task)
		require.Contains(b.t, got.Err, "nowhere", "with %d slices", slices)
		require.Zero(b.t, got.Created)
	}
	task, err := b.StartReindex(b.ctx, upgrader.Reindex{Source: b.prefix + ".missing", Target: target})
	if err == nil {
		require.Contains(b.t, b.finished(task).Err, "index_not_found_exception")
	} else {
		require.ErrorIs(b.t, err, upgrader.ErrNotFound)
	}
}

// testReindexAdopt starts a copy that would take an hour, finds it as another
// worker would, and cancels it while it is throttled.
func testReindexAdopt(b *bench) {
	source, target := b.create("a", 2, nil), b.create("b", 1, nil)
	b.fill(source, 60)
	opaque := b.prefix + "/move-1"
	task, err := b.StartReindex(b.ctx, upgrader.Reindex{
		Source: source, Target: target, Slices: 2, Batch: 1, RPS: 0.02, OpaqueID: opaque,
	})
	require.NoError(b.t, err)
	list, err := b.ReindexTasks(b.ctx, b.prefix+"/")
	require.NoError(b.t, err)
	require.Len(b.t, list, 1, "the task, and none of its slices")
	require.Equal(b.t, task, list[0].ID)
	require.Equal(b.t, opaque, list[0].OpaqueID)
	require.False(b.t, list[0].Completed)
	none, err := b.ReindexTasks(b.ctx, b.prefix+"/move-2")
	require.NoError(b.t, err)
	require.Empty(b.t, none)

	require.NoError(b.t, b.CancelTask(b.ctx, task))
	got := b.finished(task)
	require.True(b.t, got.Cancelled, "%+v", got)
	require.Empty(b.t, got.Err)
	require.Less(b.t, got.Created, int64(60))
	require.NoError(b.t, b.CancelTask(b.ctx, task), "it has ended already")
	list, err = b.ReindexTasks(b.ctx, b.prefix)
	require.NoError(b.t, err)
	require.Empty(b.t, list)
}

// testReindexSlices: the parent's own figures are zero while slices run.
func testReindexSlices(b *bench) {
	source, target := b.create("a", 2, nil), b.create("b", 1, nil)
	b.fill(source, 40)
	task, err := b.StartReindex(b.ctx, upgrader.Reindex{
		Source: source, Target: target, Slices: 2, Batch: 1, RPS: 0.5, OpaqueID: b.prefix,
	})
	require.NoError(b.t, err)
	b.eventually("both slices show", func() bool {
		got, err := b.ReindexTask(b.ctx, task)
		require.NoError(b.t, err)
		require.False(b.t, got.Completed)
		return got.Total == 40 && got.Created >= 2
	})
	list, err := b.ReindexTasks(b.ctx, b.prefix)
	require.NoError(b.t, err)
	require.Len(b.t, list, 1)
	require.EqualValues(b.t, 40, list[0].Total)
	require.NoError(b.t, b.CancelTask(b.ctx, task))
	require.True(b.t, b.finished(task).Cancelled)
}

func testUnknownTask(b *bench) {
	_, err := b.ReindexTask(b.ctx, "nosuchnode:17")
	require.ErrorIs(b.t, err, upgrader.ErrNotFound)
	require.NoError(b.t, b.CancelTask(b.ctx, "nosuchnode:17"))
	_, err = b.ReindexTask(b.ctx, "../_search")
	require.ErrorContains(b.t, err, "node:number")

	source := b.create("a", 1, nil)
	task, err := b.StartReindex(b.ctx, upgrader.Reindex{Source: source, Target: b.create("b", 1, nil)})
	require.NoError(b.t, err)
	b.finished(task)
	_, err = b.ReindexTask(b.ctx, strings.Split(task, ":")[0]+":99999999")
	require.ErrorIs(b.t, err, upgrader.ErrNotFound)
}

func testCheckScript(b *bench) {
	good := "/* " + b.prefix + " */ if (ctx._source.a == null) { ctx._source.a = params.a } else { ctx.op = 'noop' }"
	for range 2 {
		require.NoError(b.t, b.CheckScript(b.ctx, good, map[string]any{"a": 1}))
	}
	err := b.CheckScript(b.ctx, "ctx._source.a = nowhere", nil)
	e := engineError(b.t, err)
	require.Equal(b.t, "script_exception", e.Type)
	require.Contains(b.t, e.Reason, "nowhere")
	require.Contains(b.t, e.Reason, "compile error")
}
