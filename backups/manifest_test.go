package backups_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/backups"
	"github.com/tracardi/tms/upgrader"
)

func at(docs int64, mapping string, seq ...int64) backups.Mark {
	m := backups.Mark{Docs: docs, Mapping: mapping, MaxSeqNo: map[int]int64{}}
	for shard, n := range seq {
		m.MaxSeqNo[shard] = n
	}
	return m
}

func TestCompareWithRecord(t *testing.T) {
	t.Parallel()
	quiet := backups.IndexRecord{Before: at(10, "m", 9, 4), After: at(10, "m", 9, 4)}
	moving := backups.IndexRecord{Before: at(10, "m", 9, 4), After: at(13, "n", 11, 5)}
	gone := backups.IndexRecord{Before: at(10, "m", 9, 4), After: at(10, "m", 9, 4), Gone: true}
	unsure := gone
	unsure.Moving = true
	for _, c := range []struct {
		name   string
		record backups.IndexRecord
		is     backups.Mark
		want   string
	}{
		{"equal", quiet, at(10, "m", 9, 4), ""},
		{"a document less", quiet, at(9, "m", 9, 4), "9 documents"},
		{"a write more", quiet, at(10, "m", 10, 4), "sequence numbers"},
		{"another mapping", quiet, at(10, "x", 9, 4), "mapping"},
		{"between", moving, at(11, "n", 10, 4), ""},
		{"as before", moving, at(10, "m", 9, 4), ""},
		{"as after", moving, at(13, "n", 11, 5), ""},
		{"mapping in between", moving, at(12, "k", 10, 5), ""},
		{"too early", moving, at(10, "m", 8, 4), "shard 0 ends at write 8"},
		{"too late", moving, at(13, "n", 11, 6), "shard 1 ends at write 6"},
		{"too many documents", moving, at(17, "n", 11, 5), "17 documents"},
		{"too few documents", moving, at(9, "m", 9, 4), "9 documents"},
		{"another shape", moving, at(10, "m", 9), "has 1 shards"},
		{"gone, as recorded", gone, at(10, "m", 9, 4), ""},
		{"gone, fewer", gone, at(9, "m", 9, 4), "9 documents"},
		{"gone, other mapping", gone, at(10, "x", 9, 4), "mapping"},
		{"gone, later", gone, at(20, "x", 19, 4), ""},
		{"gone, earlier", gone, at(10, "m", 9, 3), "shard 1 ends at write 3"},
		{"gone, written to while read", unsure, at(9, "m", 9, 4), ""},
	} {
		got := c.record.Compare(c.is)
		if c.want == "" {
			require.Empty(t, got, c.name)
		} else {
			require.Contains(t, got, c.want, c.name)
		}
	}
}

func TestCovers(t *testing.T) {
	t.Parallel()
	now := time.Now()
	m := backups.Manifest{TakenAt: now, Indices: []backups.IndexRecord{
		{Name: "a", UUID: "1", Before: at(1, "m", 3), After: at(1, "m", 3)},
		{Name: "b", UUID: "2", Before: at(1, "m", 3), After: at(2, "m", 4)},
	}}
	stats := map[string]upgrader.IndexStats{"a": {MaxSeqNo: map[int]int64{0: 3}}, "b": {MaxSeqNo: map[int]int64{0: 4}}}
	a, b := upgrader.Index{Name: "a", UUID: "1"}, upgrader.Index{Name: "b", UUID: "2"}
	require.Empty(t, m.Covers([]upgrader.Index{a}, stats, time.Time{}))
	require.Contains(t, m.Covers([]upgrader.Index{b}, stats, time.Time{}), "written to", "while it was taken")
	require.Empty(t, m.Covers([]upgrader.Index{a, b}, stats, now.Add(-time.Minute)), "taken after the deletion")
	require.Contains(t, m.Covers([]upgrader.Index{b}, stats, now.Add(time.Minute)), "written to")
	require.Contains(t, m.Covers([]upgrader.Index{{Name: "a", UUID: "9"}}, stats, time.Time{}), "made anew")
	require.Contains(t, m.Covers([]upgrader.Index{{Name: "c", UUID: "3"}}, stats, time.Time{}), "not in it")
}
