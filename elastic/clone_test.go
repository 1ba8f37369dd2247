package elastic_test

import (
	"encoding/json"
	"fmt"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/stream"
)

// testClone clones an index whose block is lifted the moment the engine has
// taken the clone on, as the upgrade does it, and goes on writing to both.
func testClone(b *bench) {
	source, target := b.prefix+".a", b.prefix+".b"
	mapping := object(b.t, `{"dynamic":"strict","_meta":{"version":"08x"},"properties":{"n":{"type":"long"},"free":{"type":"object","dynamic":"true"}}}`)
	require.NoError(b.t, b.CreateIndex(b.ctx, source, upgrader.IndexBody{
		Settings: map[string]any{"number_of_shards": 2, "number_of_replicas": 0, "refresh_interval": "30s", "max_result_window": 20000},
		Mappings: mapping, Aliases: map[string]struct{}{b.prefix + ".alias": {}},
	}))
	b.fill(source, 60)
	b.bulk(upgrader.BulkOp{Index: source, ID: "3", Delete: true}, upgrader.BulkOp{Index: source, ID: "4", Source: json.RawMessage(`{"n":4,"free":{"learned":1}}`)})
	settings := map[string]any{"blocks.write": nil, "max_result_window": nil, "refresh_interval": "3s", "number_of_replicas": 0}
	err := b.Clone(b.ctx, source, target, settings)
	require.Error(b.t, err, "the engine clones only what refuses writes")

	_, err = b.BlockWrites(b.ctx, source)
	require.NoError(b.t, err)
	at, err := b.Stats(b.ctx, source)
	require.NoError(b.t, err)
	require.NoError(b.t, b.Clone(b.ctx, source, target, settings))
	require.NoError(b.t, b.UnblockWrites(b.ctx, source))
	require.ErrorIs(b.t, b.Clone(b.ctx, source, target, settings), upgrader.ErrAlreadyExists)
	b.bulk(upgrader.BulkOp{Index: source, ID: "later", Source: json.RawMessage(`{"n":100}`)}, upgrader.BulkOp{Index: source, ID: "5", Source: json.RawMessage(`{"n":500}`)})

	b.clonedLike(b.started(target), source, at[source])
	added := object(b.t, `{"dynamic":"strict","_meta":{"version":"0820"},"properties":{"n":{"type":"long"},"more":{"type":"keyword"},"free":{"type":"object","dynamic":"true"}}}`)
	require.NoError(b.t, b.PutMapping(b.ctx, added, target))
	list, err := b.Indices(b.ctx, target)
	require.NoError(b.t, err)
	require.Equal(b.t, map[string]any{"version": "0820"}, list[0].Mapping["_meta"])
	require.Contains(b.t, list[0].Mapping["properties"], "more")
	err = b.PutMapping(b.ctx, object(b.t, `{"properties":{"n":{"type":"keyword"}}}`), target)
	require.Error(b.t, err, "what is there keeps its type")
}

// clonedLike demands what the upgrade relies on: every document at the place
// in its shard that it had in the source, settings as asked for, no alias, no
// block, and sequence numbers that go on.
func (b *bench) clonedLike(target, source string, at upgrader.IndexStats) {
	list, err := b.Indices(b.ctx, target)
	require.NoError(b.t, err)
	require.Empty(b.t, list[0].Aliases)
	require.False(b.t, list[0].WriteBlocked)
	require.Equal(b.t, "3s", list[0].Settings["refresh_interval"])
	require.NotContains(b.t, list[0].Settings, "max_result_window")
	sources, err := b.Indices(b.ctx, source)
	require.NoError(b.t, err)
	from, _ := list[0].Settings["resize"].(map[string]any)
	require.Equal(b.t, map[string]any{"name": source, "uuid": sources[0].UUID}, from["source"])

	require.NoError(b.t, b.Refresh(b.ctx, source, target))
	for shard, to := range at.MaxSeqNo {
		docs, err := b.Page(b.ctx, stream.PageRequest{Index: target, Shard: shard, From: -1, To: to, Size: 1000})
		require.NoError(b.t, err)
		for _, d := range docs {
			same, err := b.Page(b.ctx, stream.PageRequest{Index: source, Shard: shard, From: d.SeqNo - 1, To: d.SeqNo, Size: 1})
			require.NoError(b.t, err)
			if d.ID != "5" { // written again since
				require.Equal(b.t, d.ID, same[0].ID)
				require.Equal(b.t, string(d.Source), string(same[0].Source))
			}
		}
	}
	docs, err := b.Get(b.ctx, target, []string{"3", "4", "59"})
	require.NoError(b.t, err)
	require.NotContains(b.t, docs, "3")
	require.JSONEq(b.t, `{"n":4,"free":{"learned":1}}`, string(docs["4"].Source))
	require.Contains(b.t, docs, "59")

	var ops []upgrader.BulkOp
	for i := range 20 {
		ops = append(ops, upgrader.BulkOp{Index: target, ID: fmt.Sprint("t", i), Source: json.RawMessage(`{"n":1}`)})
	}
	b.bulk(ops...)
	now, err := b.Stats(b.ctx, target)
	require.NoError(b.t, err)
	var before, after int64
	for shard, n := range now[target].MaxSeqNo {
		require.GreaterOrEqual(b.t, n, at.MaxSeqNo[shard])
		before, after = before+at.MaxSeqNo[shard], after+n
	}
	require.GreaterOrEqual(b.t, after-before, int64(20))
}
