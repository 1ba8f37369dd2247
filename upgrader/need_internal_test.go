package upgrader

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/releases"
)

// What stands under a target's name is among the open shards already.
func TestNeed(t *testing.T) {
	t.Parallel()
	catalogue, err := releases.Builtin()
	require.NoError(t, err)
	l, err := newLayout(catalogue, "0.8.1", "0.8.2")
	require.NoError(t, err)
	one := Move{Target: "0820.acme.tracardi-event-2026-1", Resource: "event", State: MovePlanned, Replicas: 1}
	two := one
	two.Target = "0820.acme.tracardi-event-2026-2"
	made := one
	made.Target, made.State = "0820.acme.tracardi-event-2026-3", MoveCreated
	s := &session{l: l, moves: []*Move{&one, &two, &made}}
	each := shardsOf(l.resource("event")) * 2
	require.Positive(t, each)
	require.Equal(t, 2*each, s.need(nil).Shards)
	require.Equal(t, each, s.need([]Index{{Name: one.Target}, {Name: made.Target}, {Name: "0820.acme.tracardi-rule"}}).Shards)
	require.Zero(t, s.need([]Index{{Name: one.Target}, {Name: two.Target}}).Shards)
}
