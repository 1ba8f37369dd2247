package upgrader

import (
	"context"
	"time"
)

// stats reads the figures of indices once all of their primaries are active:
// a shard that is still being allocated has no sequence numbers, and would
// look as if it never held a document.
func (s *session) stats(ctx context.Context, patterns ...string) (map[string]IndexStats, error) {
	wait := newPoller(s.r.limits.Poll)
	for deadline := time.Now().Add(activeTimeout); ; {
		stats, err := s.engine.Stats(ctx, patterns...)
		if err != nil {
			return nil, err
		}
		inactive := ""
		for name, st := range stats {
			if len(st.MaxSeqNo) < st.Primaries || len(st.Checkpoints) < st.Primaries {
				inactive = name
			}
		}
		if inactive == "" {
			return stats, nil
		}
		if time.Now().After(deadline) {
			return nil, &EngineError{Op: "read statistics of " + inactive, Status: 503, Type: "primary_not_active", Reason: "a primary shard is not active"}
		}
		if err := wait.pause(ctx); err != nil {
			return nil, err
		}
	}
}

// activeTimeout is how long a step waits for primaries before it is tried
// again later, which lets the operator see what it waits for.
const activeTimeout = 20 * time.Second
