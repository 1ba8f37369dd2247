package elastic_test

import (
	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/upgrader"
)

func testSeqNoCounts(b *bench) {
	index := b.create("h", 1, nil)
	b.fill(index, 25)
	b.bulk(upgrader.BulkOp{Index: index, ID: "3", Delete: true}, upgrader.BulkOp{Index: index, ID: "12", Source: []byte(`{"n":0}`)})
	require.NoError(b.t, b.Refresh(b.ctx, index))
	got, err := b.SeqNoCounts(b.ctx, index, 0, 30, 10)
	require.NoError(b.t, err)
	// 25 documents took 0–24, the deletion 25, the update 26.
	require.Equal(b.t, map[int64]int64{0: 9, 10: 9, 20: 6}, got)
	got, err = b.SeqNoCounts(b.ctx, index, 0, 25, 10)
	require.NoError(b.t, err)
	require.Equal(b.t, map[int64]int64{0: 9, 10: 9, 20: 5}, got)
	none, err := b.SeqNoCounts(b.ctx, b.started(b.create("empty", 1, nil)), 0, 30, 10)
	require.NoError(b.t, err)
	require.Empty(b.t, none)
	_, err = b.SeqNoCounts(b.ctx, index, 7, 30, 10)
	require.Error(b.t, err, "there is no such shard")
}
