package clusters

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/tenants"
)

func TestChoose(t *testing.T) {
	t.Parallel()
	room := func(name string, with, fits, there int) Capacity {
		return Capacity{Cluster: name, FitsDuringUpgrade: with, Fits: fits, Usage: Usage{Tenants: there}, Advice: "advice of " + name}
	}
	down := Capacity{Cluster: "down", Problem: "connection refused"}
	for name, c := range map[string]struct {
		all  []Capacity
		want string
		why  []string
	}{
		"most room with a wave":         {[]Capacity{room("default", 3, 90, 1), room("eu", 5, 9, 9)}, "eu", nil},
		"then most room":                {[]Capacity{room("default", 0, 3, 1), room("eu", 0, 4, 9)}, "eu", nil},
		"then the emptier one":          {[]Capacity{room("default", 5, 9, 2), room("eu", 5, 9, 1)}, "eu", nil},
		"then by name":                  {[]Capacity{room("us", 5, 9, 1), room("eu", 5, 9, 1)}, "eu", nil},
		"one that is down is left out":  {[]Capacity{down, room("eu", 0, 1, 9)}, "eu", nil},
		"all are full":                  {[]Capacity{room("default", 0, 0, 9), room("eu", 0, 0, 9)}, "", []string{"advice of default", "advice of eu"}},
		"one is full, the other's down": {[]Capacity{room("default", 0, 0, 9), down}, "", []string{"cluster default: advice of default", "cluster down: does not answer"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := choose(c.all)
			require.Equal(t, c.want, got)
			if c.want == "" {
				require.True(t, tenants.HasReason(err, ReasonFull))
			}
			for _, why := range c.why {
				require.ErrorContains(t, err, why)
			}
		})
	}
}
