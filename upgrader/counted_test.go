package upgrader

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/upgrader/stream"
)

func TestChanged(t *testing.T) {
	at := func(seq ...int64) map[int]int64 {
		out := map[int]int64{}
		for shard, n := range seq {
			out[shard] = n
		}
		return out
	}
	s := &session{counted: map[string]counted{"a": {5, stream.Checkpoint(at(9))}, "two": {5, stream.Checkpoint(at(9, -1))}}}
	for name, c := range map[string]struct {
		index string
		now   map[string]IndexStats
		want  bool
	}{
		"as it was":                 {"a", map[string]IndexStats{"a": {MaxSeqNo: at(9)}}, false},
		"one more operation":        {"a", map[string]IndexStats{"a": {MaxSeqNo: at(10)}}, true},
		"fewer: another index":      {"a", map[string]IndexStats{"a": {MaxSeqNo: at(3)}}, true},
		"a shard more":              {"a", map[string]IndexStats{"a": {MaxSeqNo: at(9, -1)}}, true},
		"first write to a shard":    {"two", map[string]IndexStats{"two": {MaxSeqNo: at(9, 0)}}, true},
		"not counted ahead":         {"b", map[string]IndexStats{"b": {MaxSeqNo: at(9)}}, true},
		"its numbers are not known": {"a", map[string]IndexStats{}, true},
		"nothing is known":          {"a", nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, len(s.changed([]string{c.index}, c.now)) == 1)
		})
	}
}
