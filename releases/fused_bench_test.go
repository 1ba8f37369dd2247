package releases_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/releases"
)

// benchDocs are copied in every round.
const benchDocs = 5000

// BenchmarkFused copies profiles from 0.8.0 to 0.8.2 in one pass, and in two
// with an index of 0.8.1 in between. Metric: documents per second.
func BenchmarkFused(b *testing.B) {
	c, err := releases.Builtin()
	require.NoError(b, err)
	path, err := c.Path("0.8.0", "0.8.2")
	require.NoError(b, err)
	first, err := c.Get("0.8.0")
	require.NoError(b, err)
	e, prefix := newEngine(b), newPrefix(b)
	source, _ := first.Resource("profile")
	from := prefix + "-from"
	e.create(b, from, source.Mapping, source.Settings)
	rng := rand.New(rand.NewPCG(1, 2))
	ids, docs := number("p", benchDocs), make([][]byte, benchDocs)
	for i := range docs {
		docs[i], err = releases.EncodeDoc(genMapped(rng, source.Mapping, 0))
		require.NoError(b, err)
	}
	for i, problem := range e.index(b, from, ids, docs) {
		require.Empty(b, problem, string(docs[i]))
	}
	transform := func(r *releases.Release) releases.Transform { return r.Migration.Steps["profile"].Transform }
	round := 0
	target := func(r *releases.Release) string {
		round++
		res, _ := r.Resource("profile")
		name := fmt.Sprintf("%s-%d", prefix, round)
		e.create(b, name, res.Mapping, res.Settings)
		return name
	}
	for name, run := range map[string]func(){
		"fused": func() {
			e.reindex(b, from, target(path[1]), ids, transform(path[0]).Then(transform(path[1])))
		},
		"stepwise": func() {
			between := target(path[0])
			e.reindex(b, from, between, ids, transform(path[0]))
			e.reindex(b, between, target(path[1]), ids, transform(path[1]))
		},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				run()
			}
			b.ReportMetric(float64(benchDocs*b.N)/b.Elapsed().Seconds(), "docs/s")
		})
	}
}
