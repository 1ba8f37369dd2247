package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// strike is one fault on the schedule of a round.
type strike struct {
	At    time.Duration `json:"at"`  // since the round began
	For   time.Duration `json:"for"` // until it is healed
	Fault string        `json:"fault"`
	// Target is the number of the process or node that it hits.
	Target int `json:"target"`
	// Draw is a random number for choices within the fault.
	Draw uint64 `json:"draw"`
}

func (s strike) String() string {
	return fmt.Sprintf("%s on %d for %s", s.Fault, s.Target, s.For.Round(time.Millisecond))
}

// schedule derives the strikes of a round from seed and number of the round:
// the same arguments give the same schedule. What hits the same thing (see
// fault.hits) comes one after the other; at most one engine node is down.
func schedule(seed uint64, round int, length time.Duration, faults []string, processes, nodes int) []strike {
	rng := rand.New(rand.NewPCG(seed, uint64(round)))
	pool, weights := chosen(faults)
	if weights == 0 {
		return nil
	}
	var strikes []strike
	busy := map[string]time.Duration{} // until when a thing is hit
	for at := between(rng, 100*time.Millisecond, time.Second); at < length; at += between(rng, 100*time.Millisecond, 1500*time.Millisecond) {
		f := draw(rng, pool, weights)
		s := strike{At: at, For: between(rng, f.shortest, f.longest), Fault: f.name, Draw: rng.Uint64()}
		switch f.hits {
		case hitsProcess, hitsLink:
			s.Target = rng.IntN(processes)
		case hitsNode:
			s.Target = rng.IntN(nodes)
		}
		thing := f.thing(s.Target)
		if busy[thing] > at {
			continue
		}
		busy[thing] = at + s.For + 500*time.Millisecond
		strikes = append(strikes, s)
	}
	slices.SortStableFunc(strikes, func(a, b strike) int { return cmp.Compare(a.At, b.At) })
	return strikes
}

func chosen(names []string) (pool []fault, weights int) {
	for _, f := range catalogue {
		if slices.Contains(names, f.name) {
			pool = append(pool, f)
			weights += f.weight
		}
	}
	return pool, weights
}

func draw(rng *rand.Rand, pool []fault, weights int) fault {
	n := rng.IntN(weights)
	for _, f := range pool {
		if n -= f.weight; n < 0 {
			return f
		}
	}
	return pool[len(pool)-1]
}

func between(rng *rand.Rand, least, most time.Duration) time.Duration {
	if most <= least {
		return least
	}
	return least + time.Duration(rng.Int64N(int64(most-least)))
}
