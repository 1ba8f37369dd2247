package estimate

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Whatever is measured, an estimate is a range around what comes of a line
// through it, and tenants that follow the line exactly are predicted.
func TestEstimator(t *testing.T) {
	t.Parallel()
	require.False(t, Fit(nil).Known())
	require.Nil(t, Fit(nil).Span(10, 1))
	rapid.Check(t, func(t *rapid.T) {
		base, per := rapid.Float64Range(0.5, 60).Draw(t, "base"), rapid.Float64Range(0, 0.01).Draw(t, "per")
		n := rapid.IntRange(1, 40).Draw(t, "n")
		var samples []Sample
		for i := range n {
			docs := rapid.Int64Range(0, 1_000_000).Draw(t, fmt.Sprint("docs", i))
			samples = append(samples, Sample{Docs: docs, Took: toDuration(base + per*float64(docs))})
		}
		e := Fit(samples)
		for _, s := range samples {
			got := e.Seconds(s.Docs)
			if math.Abs(got-s.Took.Seconds()) > 0.02*s.Took.Seconds()+0.01 {
				t.Fatalf("%d documents: %f s, measured %s by %+v", s.Docs, got, s.Took, e)
			}
			span := e.Span(got, 1)
			if span.Low > s.Took || span.High < s.Took || span.Low < 0 {
				t.Fatalf("%s is outside %+v", s.Took, span)
			}
			if many := e.Span(got, 100); many.High-many.Low > span.High-span.Low {
				t.Fatalf("many are known worse than one: %+v, %+v", many, span)
			}
		}
	})
	// Its own tenants say more about a rollout than those of earlier ones.
	var samples []Sample
	for range 100 {
		samples = append(samples, Sample{Docs: 10, Took: time.Second})
	}
	require.InDelta(t, 1, Fit(samples).Seconds(10), 0.01)
	for range enoughOwn {
		samples = append(samples, Sample{Docs: 10, Took: time.Minute, Own: true})
	}
	require.InDelta(t, 60, Fit(samples).Seconds(10), 0.01)
}

func TestDuration(t *testing.T) {
	t.Parallel()
	docs := []int64{100, 100, 10_000}
	whole := func(r Rate, atOnce int, docs ...int64) time.Duration {
		each := make([]time.Duration, len(docs))
		for i, n := range docs {
			each[i] = r.Each(n)
		}
		return Together(each, atOnce)
	}
	require.Zero(t, whole(Rate{}, 4, docs...), "nothing was measured")
	r := Rate{Tenants: 5, Typical: 10 * time.Second, PerSecond: 100}
	require.Zero(t, whole(r, 4), "nobody has anything to do")
	require.Equal(t, 100*time.Second, whole(r, 4, docs...), "the longest decides")
	require.Equal(t, 120*time.Second, whole(r, 1, docs...), "one after the other")

	// Small tenants take their time for indices, not for documents.
	var small []Sample
	for range 6 {
		small = append(small, Sample{Docs: 300, Took: 6 * time.Second})
	}
	r = RateOf(small)
	require.Equal(t, 6*time.Second, r.Typical)
	require.InDelta(t, 6, r.Each(100).Seconds(), 0.1)
	require.InDelta(t, 6+3700*guessedPerDoc, r.Each(4000).Seconds(), 0.1)
	require.InDelta(t, 6+guessedPerDoc*1e6, r.Each(1_000_300).Seconds(), 0.1, "what is far larger is not taken for small")
	r = RateOf(append(small, Sample{Docs: 100, Took: 5 * time.Second}))
	require.Less(t, r.Each(4000).Seconds(), 8.0, "what comes of chance is not carried on")
	r = RateOf(append(small, Sample{Docs: 100_300, Took: 106 * time.Second}))
	require.InDelta(t, 56, r.Each(50_300).Seconds(), 1, "along the line")
	require.InDelta(t, 206, r.Each(200_300).Seconds(), 4, "and past its end")
}
