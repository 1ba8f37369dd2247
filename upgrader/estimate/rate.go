package estimate

import (
	"slices"
	"time"
)

// Rate is measured over the latest upgraded tenants, from the first step
// to the switch, without those that had to wait for an operator.
type Rate struct {
	Tenants int // that were measured; 0 for none
	// Rehearsed says that these were rehearsals: no tenant was upgraded yet.
	Rehearsed bool
	// Typical is the median time of a tenant.
	Typical time.Duration
	// PerSecond is documents per second and tenant, over all of them together.
	PerSecond float64
	// Model is the line through them.
	Model Model
}

// RateOf sums samples up; none is a Rate without Tenants.
func RateOf(samples []Sample) Rate {
	if len(samples) == 0 {
		return Rate{}
	}
	var docs int64
	var took time.Duration
	each := make([]float64, len(samples))
	for i, s := range samples {
		docs, took, each[i] = docs+s.Docs, took+s.Took, s.Took.Seconds()
	}
	slices.Sort(each)
	return Rate{Tenants: len(samples), Typical: toDuration(quantile(each, 0.5)), PerSecond: float64(docs) / took.Seconds(), Model: Fit(samples)}
}

// Each is how long a tenant with so many documents takes; 0 when nothing was
// measured.
func (r Rate) Each(docs int64) time.Duration {
	switch {
	case r.Tenants == 0:
		return 0
	case r.Model.Known():
		return toDuration(r.Model.Seconds(docs))
	case r.PerSecond > 0:
		return max(r.Typical, toDuration(float64(docs)/r.PerSecond))
	}
	return r.Typical
}

// Together is how long tenants take that take so long each, so many of them at
// a time: at least as long as the one that takes longest.
func Together(each []time.Duration, atOnce int) time.Duration {
	var sum, longest time.Duration
	for _, one := range each {
		sum += one
		longest = max(longest, one)
	}
	return max(longest, sum/time.Duration(max(1, min(atOnce, len(each)))))
}
