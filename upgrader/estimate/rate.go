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
}

// RateOf sums samples of rehearsals up; none is a Rate without Tenants.
func RateOf(rehearsed []Sample) Rate {
	if len(rehearsed) == 0 {
		return Rate{}
	}
	var docs int64
	var took time.Duration
	each := make([]float64, len(rehearsed))
	for i, s := range rehearsed {
		docs, took, each[i] = docs+s.Docs, took+s.Took, s.Took.Seconds()
	}
	slices.Sort(each)
	return Rate{Tenants: len(rehearsed), Rehearsed: true, Typical: toDuration(quantile(each, 0.5)), PerSecond: float64(docs) / took.Seconds()}
}

// Duration is how long tenants with so many documents each take, so many of
// them at a time: at least as long as the one that takes longest. 0 when
// nothing was measured, or nobody has anything to do.
func (r Rate) Duration(docs []int64, atOnce int) time.Duration {
	if r.Tenants == 0 || len(docs) == 0 {
		return 0
	}
	var sum, longest time.Duration
	for _, n := range docs {
		one := r.Typical
		if r.PerSecond > 0 {
			one = max(one, time.Duration(float64(n)/r.PerSecond*float64(time.Second)))
		}
		sum += one
		longest = max(longest, one)
	}
	return max(longest, sum/time.Duration(max(1, min(atOnce, len(docs)))))
}
