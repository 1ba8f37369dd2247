package stream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tracardi/tms/upgrader/stream"
)

// shelf is an index of one shard whose sequence numbers may have gaps.
type shelf []stream.Doc

func (s shelf) Page(_ context.Context, p stream.PageRequest) ([]stream.Doc, error) {
	into := p.Into
	if into == nil {
		into = &stream.Buffer{}
	}
	out := into.Docs[:0]
	for _, d := range s {
		if d.SeqNo > p.From && d.SeqNo <= p.To && len(out) < p.Size {
			out = append(out, d)
		}
	}
	into.Docs = out
	return out, nil
}

// Whatever was updated and deleted meanwhile, each document that is left is read
// once, in order, and nothing beyond what was asked for; ahead or not.
func TestReadsEachOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var docs shelf
		seq := int64(-1)
		for range rapid.IntRange(0, 6).Draw(t, "stretches") {
			gap := rapid.SampledFrom([]int64{1, 1, 3, 5_000}).Draw(t, "gap")
			for range rapid.IntRange(0, 1_500).Draw(t, "run") {
				seq += gap
				docs = append(docs, stream.Doc{ID: fmt.Sprint(seq), SeqNo: seq})
			}
		}
		from := rapid.Int64Range(-1, seq).Draw(t, "from")
		to := rapid.Int64Range(from, seq+10).Draw(t, "to")
		want, _ := docs.Page(t.Context(), stream.PageRequest{From: from, To: to, Size: len(docs) + 1})
		for _, ahead := range []bool{false, true} {
			var got []stream.Doc
			last := from
			note := func(page []stream.Doc, read int64) error {
				if len(page) == 0 || read < page[len(page)-1].SeqNo || read <= last || read > to {
					return fmt.Errorf("%d documents, read %d after %d", len(page), read, last)
				}
				got, last = append(got, page...), read
				return nil
			}
			var err error
			if ahead {
				err = stream.ReadAhead(t.Context(), docs, "x", 0, from, to, note)
			} else {
				err = stream.ReadShard(t.Context(), docs, "x", 0, from, to, true, note)
			}
			if err != nil || !slices.EqualFunc(want, got, func(a, b stream.Doc) bool { return a.SeqNo == b.SeqNo }) {
				t.Fatalf("ahead %v: %d documents instead of %d, %v", ahead, len(got), len(want), err)
			}
		}
	})
}

// The reader that is ahead ends when the one behind it has had enough.
func TestReadAheadEnds(t *testing.T) {
	t.Parallel()
	var docs shelf
	for n := range int64(10 * stream.PageSize) {
		docs = append(docs, stream.Doc{SeqNo: n})
	}
	enough := errors.New("enough")
	pages := 0
	err := stream.ReadAhead(t.Context(), docs, "x", 0, -1, int64(len(docs)), func([]stream.Doc, int64) error {
		if pages++; pages == 2 {
			return enough
		}
		return nil
	})
	require.ErrorIs(t, err, enough)
	require.Equal(t, 2, pages)
}

func TestCheckpoint(t *testing.T) {
	t.Parallel()
	at := stream.Checkpoint{0: 4, 1: -1}
	require.Equal(t, []int64{4, -1, -1}, []int64{at.At(0), at.At(1), at.At(2)})
	for name, one := range map[string]struct {
		now    map[int]int64
		beyond bool
	}{
		"the same":           {map[int]int64{0: 4, 1: -1}, false},
		"behind":             {map[int]int64{0: 3}, false},
		"one more":           {map[int]int64{0: 5, 1: -1}, true},
		"the first":          {map[int]int64{0: 4, 1: 0}, true},
		"another shard":      {map[int]int64{2: 0}, true},
		"an empty new shard": {map[int]int64{2: -1}, false},
	} {
		require.Equal(t, one.beyond, stream.Beyond(at, one.now), name)
	}
	require.True(t, stream.Never(map[int]int64{0: -1, 1: -1}))
	require.False(t, stream.Never(at))
	require.EqualValues(t, 5, stream.Writes(at))
	own := stream.CheckpointOf(at)
	own[0] = 9
	require.EqualValues(t, 4, at[0])
}

func TestIDSet(t *testing.T) {
	t.Parallel()
	one := stream.NewIDSet()
	one.Add("a")
	other := stream.NewIDSetLike(one)
	other.Add("b")
	require.False(t, one.Has("b"))
	one.Merge(other)
	require.True(t, one.Has("a") && one.Has("b"))
	require.False(t, one.Has("c"))
}
