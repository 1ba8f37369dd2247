package elastic_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/stream"
)

// awkward are documents whose spelling must survive.
var awkward = []string{
	`{"a":1.0,"b":12345678901234567890,"c":1e5,"d":-0.0,"e":0.10}`,
	`{"s":"é\u00e9\n\"\\ 😀 \ud83d\ude00","empty":"","z":null}`,
	`{ "b" : [ ] ,  "a":{}, "a.b.c":[[1],[null]]}`,
	`{"twice":true,"html":"<b>&</b>\u2028"}`,
}

func testDocumentBytes(b *bench) {
	index := b.create("a", 1, object(b.t, `{"enabled":false}`))
	var ops []upgrader.BulkOp
	var ids []string
	want := map[string]string{}
	for i, s := range awkward {
		id := fmt.Sprintf(`id "%d" ü/,*`, i)
		ids = append(ids, id)
		want[id] = s
		ops = append(ops, upgrader.BulkOp{Index: index, ID: id, Source: json.RawMessage(s)})
	}
	pretty := upgrader.BulkOp{Index: index, ID: "pretty", Source: json.RawMessage("{\n\t\"a\": 1.0,\r\n\t\"b\": \"x\\n\"\n}")}
	want["pretty"] = "{ \t\"a\": 1.0,\r \t\"b\": \"x\\n\" }"
	b.bulk(append(ops, pretty)...)

	got, err := b.Get(b.ctx, index, append(ids, "pretty", "missing"))
	require.NoError(b.t, err)
	require.Len(b.t, got, len(want), "read before any refresh")
	require.NoError(b.t, b.Refresh(b.ctx, index))
	page, err := b.Page(b.ctx, stream.PageRequest{Index: index, From: -1, To: 100, Size: 100})
	require.NoError(b.t, err)
	require.Len(b.t, page, len(want))
	for _, d := range page {
		require.Equal(b.t, want[d.ID], string(d.Source))
		require.Equal(b.t, want[d.ID], string(got[d.ID].Source))
		require.Equal(b.t, d.SeqNo, got[d.ID].SeqNo)
		require.Equal(b.t, index, d.Index)
	}
}

func testPages(b *bench) {
	index := b.create("a", 2, nil)
	const n = 250
	b.fill(index, n)
	b.bulk(upgrader.BulkOp{Index: index, ID: "3", Delete: true},
		upgrader.BulkOp{Index: index, ID: "4", Source: json.RawMessage(`{"n":-4}`)},
		upgrader.BulkOp{Index: index, ID: "routed", Routing: "r", Source: json.RawMessage(`{}`)})
	require.NoError(b.t, b.Refresh(b.ctx, index))
	stats, err := b.Stats(b.ctx, index)
	require.NoError(b.t, err)

	found := map[string]stream.Doc{}
	for shard := range 2 {
		top := stats[index].Checkpoints[shard]
		last := int64(-1)
		for {
			page, err := b.Page(b.ctx, stream.PageRequest{Index: index, Shard: shard, From: last, To: top, Size: 30})
			require.NoError(b.t, err)
			for _, d := range page {
				require.Greater(b.t, d.SeqNo, last)
				require.Equal(b.t, shard, d.Shard)
				require.NotContains(b.t, found, d.ID)
				found[d.ID], last = d, d.SeqNo
			}
			if len(page) < 30 {
				break
			}
		}
		// Below the first and above the last number there is nothing.
		for _, p := range []stream.PageRequest{{From: top, To: top + 10}, {From: -1, To: -1}} {
			p.Index, p.Shard, p.Size = index, shard, 10
			page, err := b.Page(b.ctx, p)
			require.NoError(b.t, err)
			require.Empty(b.t, page)
		}
	}
	require.Len(b.t, found, n)
	require.NotContains(b.t, found, "3")
	require.Equal(b.t, "r", found["routed"].Routing)
	require.JSONEq(b.t, `{"n":-4}`, string(found["4"].Source))

	ids, err := b.Page(b.ctx, stream.PageRequest{Index: index, From: -1, To: 1000, Size: 1000, IDsOnly: true})
	require.NoError(b.t, err)
	require.NotEmpty(b.t, ids)
	require.Nil(b.t, ids[0].Source)

	_, err = b.Page(b.ctx, stream.PageRequest{Index: index, Shard: 2, From: -1, To: 10, Size: 10})
	require.Error(b.t, err, "there is no third shard")
	_, err = b.Page(b.ctx, stream.PageRequest{Index: index, To: 10, Size: 10001})
	require.ErrorContains(b.t, err, "10001")
}

func testStats(b *bench) {
	index, empty := b.create("a", 3, nil), b.create("b", 1, nil)
	b.fill(index, 100)
	stats, err := b.Stats(b.ctx, b.prefix+".*", index)
	require.NoError(b.t, err)
	require.Len(b.t, stats, 2)
	s := stats[index]
	require.EqualValues(b.t, 100, s.Docs)
	require.Positive(b.t, s.Bytes)
	require.Equal(b.t, 3, s.Primaries)
	require.Equal(b.t, 0, s.Replicas)
	require.Equal(b.t, s.MaxSeqNo, s.Checkpoints)
	var writes int64
	for _, n := range s.MaxSeqNo {
		writes += n + 1
	}
	require.EqualValues(b.t, 100, writes)
	b.eventually("empty shard started", func() bool {
		stats, err := b.Stats(b.ctx, empty)
		require.NoError(b.t, err)
		return len(stats[empty].Checkpoints) == 1
	})
	stats, err = b.Stats(b.ctx, empty)
	require.NoError(b.t, err)
	require.Equal(b.t, map[int]int64{0: -1}, stats[empty].Checkpoints)
}

func testUnassigned(b *bench) {
	index := b.prefix + ".a"
	require.NoError(b.t, b.CreateIndex(b.ctx, index, upgrader.IndexBody{Settings: map[string]any{
		"number_of_shards": 2, "number_of_replicas": 1, "routing.allocation.require._name": "nowhere",
	}}), "creation does not wait for shards")
	stats, err := b.Stats(b.ctx, index)
	require.NoError(b.t, err)
	require.Equal(b.t, 2, stats[index].Primaries)
	require.Equal(b.t, 1, stats[index].Replicas)
	require.Empty(b.t, stats[index].Checkpoints)
	for name, call := range map[string]func() error{
		"count": func() error { _, err := b.Count(b.ctx, index); return err },
		"find":  func() error { _, err := b.FindIDs(b.ctx, []string{index}, []string{"1"}); return err },
	} {
		err := call()
		require.GreaterOrEqual(b.t, engineError(b.t, err).Status, http.StatusInternalServerError, name)
	}
}

func testCount(b *bench) {
	a, c := b.create("a", 2, nil), b.started(b.create("b", 1, nil))
	b.fill(a, 120)
	b.bulk(upgrader.BulkOp{Index: a, ID: "late", Source: json.RawMessage(`{}`)})
	n, err := b.Count(b.ctx, a, c)
	require.NoError(b.t, err)
	require.Equal(b.t, map[string]int64{a: 120, c: 0}, n, "as far as refreshed")
	require.NoError(b.t, b.Refresh(b.ctx, a))
	require.EqualValues(b.t, 121, b.count(a))
	n, err = b.Count(b.ctx)
	require.NoError(b.t, err)
	require.Empty(b.t, n)
}

func testFindIDs(b *bench) {
	a, c := b.create("a", 2, nil), b.create("b", 1, nil)
	b.fill(a, 1500)
	b.fill(c, 10)
	ids := []string{"missing"}
	for i := 5; i < 2000; i++ {
		ids = append(ids, fmt.Sprint(i))
	}
	found, err := b.FindIDs(b.ctx, []string{a, c}, ids)
	require.NoError(b.t, err)
	require.Len(b.t, found[a], 1495)
	slices.Sort(found[c])
	require.Equal(b.t, []string{"5", "6", "7", "8", "9"}, found[c])
	found, err = b.FindIDs(b.ctx, nil, ids)
	require.NoError(b.t, err)
	require.Empty(b.t, found)
	_, err = b.FindIDs(b.ctx, []string{a, b.prefix + ".missing"}, ids)
	require.ErrorIs(b.t, err, upgrader.ErrNotFound)
}

func testBulk(b *bench) {
	index := b.create("a", 1, object(b.t, `{"dynamic":"strict","properties":{"n":{"type":"integer"}}}`))
	results, err := b.Bulk(b.ctx, []upgrader.BulkOp{
		{Index: index, ID: "1", Source: json.RawMessage(`{"n":1}`)},
		{Index: index, ID: "2", Source: json.RawMessage(`{"n":"x"}`)},
		{Index: index, ID: "3", Source: json.RawMessage(`{"unknown":1}`)},
		{Index: index, ID: "4", Delete: true},
		{Index: index, ID: "1", Delete: true},
	})
	require.NoError(b.t, err)
	require.Len(b.t, results, 5)
	for i, ok := range []bool{true, false, false, true, true} {
		require.Equal(b.t, ok, results[i].OK, "%d: %+v", i, results[i])
		require.False(b.t, results[i].Retryable())
	}
	require.Equal(b.t, http.StatusBadRequest, results[1].Status)
	require.Contains(b.t, results[1].Type, "parsing_exception")
	require.Contains(b.t, results[1].Reason, "x")
	require.Contains(b.t, results[2].Reason, "unknown")

	results, err = b.Bulk(b.ctx, nil)
	require.NoError(b.t, err)
	require.Empty(b.t, results)
	for _, bad := range []upgrader.BulkOp{
		{Index: b.prefix + "*", ID: "1", Delete: true}, {Index: index, Delete: true},
		{Index: index, ID: "1"}, {Index: index, ID: "1", Delete: true, Source: json.RawMessage(`{}`)},
	} {
		_, err := b.Bulk(b.ctx, []upgrader.BulkOp{bad})
		require.Error(b.t, err)
	}
	require.NoError(b.t, b.Refresh(b.ctx, index))
	require.Zero(b.t, b.count(index))
}

func testFetch(b *bench) {
	a, c := b.create("a", 3, nil), b.create("b", 1, nil)
	empty := b.started(b.create("empty", 1, nil))
	b.fill(a, 30)
	b.bulk(upgrader.BulkOp{Index: c, ID: "x", Routing: "r", Source: json.RawMessage(`{"n" : 1.50}`)})
	require.NoError(b.t, b.Refresh(b.ctx, c))
	docs, whole, err := b.Fetch(b.ctx, 0, 31, a, empty, c)
	require.NoError(b.t, err)
	require.True(b.t, whole)
	at := slices.IndexFunc(docs, func(d stream.Doc) bool { return d.Index == c })
	require.Equal(b.t, stream.Doc{Index: c, ID: "x", Routing: "r", SeqNo: 0, Term: 1, Source: json.RawMessage(`{"n" : 1.50}`)}, docs[at])
	n := len(docs) - 1
	for shard := range 3 {
		page, err := b.Page(b.ctx, stream.PageRequest{Index: a, Shard: shard, From: -1, To: 100, Size: 100})
		require.NoError(b.t, err)
		docs, _, err := b.Fetch(b.ctx, shard, 31, a)
		require.NoError(b.t, err)
		require.ElementsMatch(b.t, page, docs)
	}
	docs, whole, err = b.Fetch(b.ctx, 0, n, a, c)
	require.NoError(b.t, err)
	require.False(b.t, whole, "one is missing")
	require.Len(b.t, docs, n)
	_, _, err = b.Fetch(b.ctx, 0, 30, a, b.prefix+".missing")
	require.Error(b.t, err, "nothing may be missing unseen")
	_, _, err = b.Fetch(b.ctx, 1, 30, a, c)
	require.Error(b.t, err, "one has no such shard")
	_, _, err = b.Fetch(b.ctx, 0, 10_000, a)
	require.Error(b.t, err)
}
