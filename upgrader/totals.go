package upgrader

import (
	"time"

	"github.com/tracardi/tms/upgrader/estimate"
)

// totals add tenants up to the progress of a wave or of the fleet.
type totals struct {
	PartProgress
	left, longest float64 // seconds of work of tenants that are not done
	expected      float64 // seconds of work as a whole
	behind        float64 // seconds of it that are behind
	open          int     // tenants that are not done
	took          float64 // seconds that those took that are
	done          int     // tenants that did work here and are done
	first         time.Time
	last          time.Time
	estimator     estimate.Model     // of any cluster that is known
	owed          map[string]float64 // documents by cluster, see owed
}

func newTotals(wave int) *totals {
	return &totals{PartProgress: PartProgress{Wave: wave, States: map[TenantState]int{}}, owed: map[string]float64{}}
}

func (s *totals) count(r *Rollout, t *RolloutTenant, tp TenantProgress, e estimate.Model, left, expected float64) {
	s.owed[t.Cluster] += owed(r, t, tp.Amount)
	s.Tenants++
	s.States[t.State]++
	s.add(tp.Amount)
	if tp.Stalled != "" {
		s.Stalled++
	}
	s.expected += expected
	s.behind += expected * tp.Share
	if !t.State.Ended() && !t.State.Returning() {
		s.open++
		s.left += left
		s.longest = max(s.longest, left)
		if e.Known() {
			s.estimator = e
		}
	}
	if t.Indices == 0 || t.StartedAt.IsZero() {
		return
	}
	if s.first.IsZero() || t.StartedAt.Before(s.first) {
		s.first = t.StartedAt
	}
	if t.State == TenantSwitched && !t.FinishedAt.IsZero() {
		s.done++
		s.took += t.FinishedAt.Sub(t.StartedAt).Seconds()
		if t.FinishedAt.After(s.last) {
			s.last = t.FinishedAt
		}
	}
}

// enoughDone tenants show how many are really upgraded at a time.
const enoughDone = 3

// part is the sum.
func (s *totals) part(r *Rollout, m measures) PartProgress {
	p := s.PartProgress
	if p.Share = 1; s.expected > 0 {
		p.Share = s.behind / s.expected
	}
	if s.open == 0 || !s.estimator.Known() || m.stopped {
		return p
	}
	atOnce := float64(max(1, min(s.open, r.Options.MaxTenants)))
	// Fewer may be under way than allowed: gates, slots, too few processes.
	if wall := s.last.Sub(s.first).Seconds(); s.done >= enoughDone && wall > 0 {
		atOnce = min(atOnce, max(1, s.took/wall))
	}
	left := max(s.longest, s.left/atOnce)
	for cluster, limit := range m.limits { // clusters work side by side
		left = max(left, s.owed[cluster]/limit)
	}
	p.Left = s.estimator.Span(left, s.open)
	return p
}
