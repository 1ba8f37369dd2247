package estimate

import (
	"math"
	"slices"
	"time"
)

// Sample is what one tenant took, from the first step to its proof.
type Sample struct {
	Docs int64 // copied
	Took time.Duration
	// Own samples are of the rollout that is being estimated.
	Own bool
}

// Span is an estimate: in four of five cases it takes between Low and High.
type Span struct {
	Low, High time.Duration
	// Samples it was made from, 0 for a guess about nothing.
	Samples int
}

// Mid is the middle of a span.
func (s Span) Mid() time.Duration { return (s.Low + s.High) / 2 }

const (
	// enoughOwn samples of a rollout say more about it than all earlier ones:
	// the same hour, the same load, the same throttle.
	enoughOwn = 8
	// fewSamples or fewer do not show their own spread; it is then taken to be
	// a factor of wideSpread.
	fewSamples = 4
	wideSpread = 2.0
	// leastSpread is kept even when all samples agree, because the next hour
	// need not be like the last.
	leastSpread = 0.1
)

// Model predicts what a tenant takes from what others took: a time that
// every tenant takes, for its indices, templates and fence, and one for each
// document. It is immutable.
type Model struct {
	base, perDoc float64 // seconds
	low, high    float64 // factors
	most         int64   // documents of the largest sample
	n            int
}

// Fit fits samples; of a rollout with enough of its own only those
// count.
func Fit(samples []Sample) Model {
	var own []Sample
	for _, s := range samples {
		if s.Own {
			own = append(own, s)
		}
	}
	if len(own) >= enoughOwn {
		samples = own
	}
	samples = slices.DeleteFunc(slices.Clone(samples), func(s Sample) bool { return s.Took <= 0 })
	if len(samples) == 0 {
		return Model{}
	}
	e := line(samples)
	e.n = len(samples)
	for _, s := range samples {
		e.most = max(e.most, s.Docs)
	}
	ratios := make([]float64, len(samples))
	for i, s := range samples {
		ratios[i] = s.Took.Seconds() / e.Seconds(s.Docs)
	}
	slices.Sort(ratios)
	e.low, e.high = min(quantile(ratios, 0.1), 1-leastSpread), max(quantile(ratios, 0.9), 1+leastSpread)
	if len(samples) <= fewSamples {
		e.low, e.high = min(e.low, 1/wideSpread), max(e.high, wideSpread)
	}
	return e
}

// line is the line through the samples with the least squares of relative
// errors: being wrong by a minute is little for an hour and much for a second.
// Neither part of it is negative.
func line(samples []Sample) Model {
	var w, wd, wdd, wt, wdt float64
	for _, s := range samples {
		t, d := s.Took.Seconds(), float64(s.Docs)
		k := 1 / (t * t)
		w, wd, wdd, wt, wdt = w+k, wd+k*d, wdd+k*d*d, wt+k*t, wdt+k*d*t
	}
	e := Model{base: wt / w}
	if det := w*wdd - wd*wd; det > 1e-9*w*wdd {
		e.base, e.perDoc = (wdd*wt-wd*wdt)/det, (w*wdt-wd*wt)/det
	}
	switch {
	case e.perDoc < 0:
		e = Model{base: wt / w}
	case e.base < 0:
		e = Model{perDoc: wdt / wdd}
	}
	return e
}

func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// Known says whether there is anything to estimate from.
func (e Model) Known() bool { return e.n > 0 }

// Where nothing was measured, tenants are weighed against each other by these:
// seconds for each, and for a document. Alone they are never shown as a time;
// documents past those of the largest sample take as long at least.
const guessedBase, guessedPerDoc = 3, 1.0 / 5_000

// Seconds that a tenant of so many documents takes, at least a millisecond.
func (e Model) Seconds(docs int64) float64 {
	if !e.Known() {
		return guessedBase + guessedPerDoc*float64(docs)
	}
	// Where only small tenants were measured, whose documents hardly count beside
	// their indices, the line says nothing of large ones: its slope is noise.
	beyond, slope := max(0, docs-e.most), guessedPerDoc
	if e.perDoc*float64(e.most) > e.base {
		slope = max(slope, e.perDoc)
	}
	return max(e.base+e.perDoc*float64(docs-beyond)+slope*float64(beyond), 0.001)
}

// Span widens an expectation to a range. What several tenants take together is
// known better than what each takes: its spread shrinks with their number, but
// not below leastSpread, because they may all be slower than the samples.
func (e Model) Span(seconds float64, tenants int) *Span {
	if !e.Known() {
		return nil
	}
	shrink := 1 / math.Sqrt(float64(max(1, tenants)))
	low, high := 1-max((1-e.low)*shrink, leastSpread), 1+max((e.high-1)*shrink, leastSpread)
	return &Span{Low: toDuration(seconds * max(low, 0)), High: toDuration(seconds * high), Samples: e.n}
}

func toDuration(seconds float64) time.Duration {
	return time.Duration(math.Round(seconds * float64(time.Second)))
}
