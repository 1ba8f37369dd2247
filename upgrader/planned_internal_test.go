package upgrader

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/upgrader/naming"
)

// What a plan keeps small begins as what was planned.
func TestPlannedMovesBeginWhole(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]Move{
		"merge of a month and what goes by its date": {
			Target: "prod-0820.acme.tracardi-profile-2026-q4", Resource: "profile", Mode: naming.Production, Partition: "2026-q4", Method: MethodMerge,
			Why: "2 months", State: MovePlanned, Light: true, Replicas: 2, Copies: []Copy{
				{Source: "prod-08x.acme.tracardi-profile-2026-10", Resource: "profile", State: CopyPlanned, Docs: 1, Bytes: 2, Shards: 3, Planned: 4},
				{Source: "prod-08x.acme.tracardi-profile-2026-11", Resource: "profile", State: CopyPlanned, Foreign: true},
			},
		},
		"static": {Target: "static-0820.acme.tracardi-bridge", Resource: "bridge", Mode: naming.Static, Method: MethodCreate, Why: "new", State: MovePlanned},
	} {
		require.Equal(t, []Move{m}, BeginMoves([]PlannedMove{m.planned()}), name)
	}
}
