package upgrader_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader"
)

func TestForesee(t *testing.T) {
	t.Parallel()
	c, err := releases.Builtin()
	require.NoError(t, err)
	found, err := upgrader.Foresee(c, "0.8.1", "0.8.2")
	require.NoError(t, err)
	to, err := c.Get("0.8.2")
	require.NoError(t, err)
	methods, moved := map[upgrader.Method]int{}, 0
	for _, r := range to.Resources {
		if !r.Static {
			moved++
		}
	}
	require.Len(t, found, moved)
	for _, x := range found {
		methods[x.Method]++
		require.NotEmpty(t, x.Why, x.Resource)
	}
	require.Positive(t, methods[upgrader.MethodReindex])
	require.Positive(t, methods[upgrader.MethodCreate], "what is new there")
	_, err = upgrader.Foresee(c, "0.8.2", "0.8.1")
	require.Error(t, err, "no way leads back")
}
