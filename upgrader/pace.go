package upgrader

import (
	"math"
	"time"
)

// An engine counts no writes that a block refuses: neither index statistics
// nor those of nodes show them. What can be said is how many writes a second
// came in before the fence, by the sequence numbers that they took, and so how
// many would have come in behind it.

// pace is the sum of the sequence numbers of the old version at a moment.
type pace struct {
	at  time.Time
	sum int64
}

const (
	// paceOver is how far back the pace is looked at, paceLeast the shortest
	// time that says anything.
	paceOver  = 30 * time.Second
	paceLeast = 250 * time.Millisecond
)

// notePace remembers how far the old version is.
func (s *session) notePace(stats map[string]IndexStats) {
	now := pace{at: s.r.now()}
	for _, st := range stats {
		for _, n := range st.MaxSeqNo {
			now.sum += n
		}
	}
	for len(s.paces) > 1 && now.at.Sub(s.paces[1].at) > paceOver {
		s.paces = s.paces[1:]
	}
	s.paces = append(s.paces, now)
}

// refused estimates the writes that a fence of the given length has refused;
// nil when the pace before it is not known.
func (s *session) refused(fence time.Duration) *int64 {
	if len(s.paces) < 2 {
		return nil
	}
	first, last := s.paces[0], s.paces[len(s.paces)-1]
	span := last.at.Sub(first.at)
	if span < paceLeast || last.sum < first.sum {
		return nil
	}
	n := int64(math.Ceil(float64(last.sum-first.sum) / span.Seconds() * fence.Seconds()))
	return &n
}

// laps tell where the time behind a fence went. The zero value is ready; it is
// used by one goroutine.
type laps struct {
	last  time.Time
	parts []any // for a log
}

// start begins to measure anew.
func (l *laps) start(now time.Time) { l.last, l.parts = now, nil }

// lap notes the time since the last one, in milliseconds.
func (l *laps) lap(name string, now time.Time) {
	l.parts = append(l.parts, name+"_ms", now.Sub(l.last).Milliseconds())
	l.last = now
}
