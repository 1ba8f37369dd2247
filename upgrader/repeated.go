package upgrader

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// repeated returns the rollout that an earlier Start with the same request id
// made, nil when there was none. The id with another wish is refused: whoever
// sends it believes to have started what was never started (AIP-155).
func (s *Service) repeated(ctx context.Context, req Request) (*Rollout, error) {
	if req.RequestID == "" {
		return nil, nil
	}
	r, err := s.store.RolloutByRequest(ctx, req.RequestID)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	wanted, stored := wishOf(req.Options), wishOf(r.Options)
	if req.ToRelease != r.ToRelease || !bytes.Equal(wanted, stored) {
		return nil, &ServiceError{
			Reason: ReasonRequestReused, Field: "request_id",
			Message: fmt.Sprintf("was used to start rollout %s with other values", r.ID), Remedy: "use a new request_id for every new rollout",
		}
	}
	return r, nil
}

// wishOf is what two requests for the same have in common. Where a snapshot
// went was chosen at the start, commands may have changed the quarantine and
// the hold since, and tenants and clusters are sets.
func wishOf(o Options) []byte {
	o = o.WithDefaults()
	o.SnapshotRepositories, o.SnapshotName, o.Snapshots, o.AllowQuarantine, o.HoldSwitch = nil, "", nil, 0, false
	o.Tenants = slices.Sorted(slices.Values(o.Tenants))
	o.Clusters = slices.Sorted(slices.Values(o.Clusters))
	b, _ := json.Marshal(o) // numbers, strings and maps of them: cannot fail
	return b
}
