package strategy

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Every tenant is in exactly one wave, and none is empty.
func TestAssignProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var ts []Tenant
		for i := range rapid.IntRange(0, 40).Draw(t, "tenants") {
			ts = append(ts, Tenant{ID: fmt.Sprintf("t%02d", i), Docs: rapid.Int64Range(0, 5).Draw(t, "docs"), Labels: map[string]string{"tier": rapid.SampledFrom([]string{"1", "2", "x"}).Draw(t, "tier")}})
		}
		s := &File{PriorityLabel: rapid.SampledFrom([]string{"", "tier"}).Draw(t, "priority")}
		size := rapid.SampledFrom([]string{"1", "3", "10%", "50%"})
		if rapid.Bool().Draw(t, "canary") {
			s.Canary = &Wave{Size: size.Draw(t, "canary size")}
		}
		for range rapid.IntRange(0, 4).Draw(t, "waves") {
			s.Waves = append(s.Waves, Wave{Size: size.Draw(t, "size")})
		}
		require.Empty(t, s.Problems())
		groups, objections := Assign(s, ts)
		require.Empty(t, objections)
		seen := map[string]bool{}
		for _, g := range groups {
			require.NotEmpty(t, g.Tenants)
			for _, id := range g.Tenants {
				require.False(t, seen[id], "a tenant has one place")
				seen[id] = true
			}
		}
		require.Len(t, seen, len(ts))
	})
}

func TestAssign(t *testing.T) {
	t.Parallel()
	ts := []Tenant{
		{ID: "big", Docs: 1000}, {ID: "mid", Docs: 100, Labels: map[string]string{"tier": "test"}}, {ID: "small", Docs: 1}, {ID: "tiny", Docs: 0, Labels: map[string]string{"rank": "1"}},
	}
	names := func(groups []Group) (out []string) {
		for _, g := range groups {
			out = append(out, fmt.Sprintf("%s:%d", g.Name, len(g.Tenants)))
		}
		return out
	}
	for _, c := range []struct {
		name string
		s    *File
		want []string
		code string
	}{
		{"no strategy", nil, []string{"all:4"}, ""},
		{"canary by count takes the smallest", &File{Canary: &Wave{Size: "1"}}, []string{"canary:1", "rest:3"}, ""},
		{"percent is rounded up", &File{Waves: []Wave{{Size: "30%"}, {Size: "rest"}}}, []string{"wave 1:2", "wave 2:2"}, ""},
		{"by label", &File{Canary: &Wave{Label: "tier=test"}}, []string{"canary:1", "rest:3"}, ""},
		{"a label that nobody has", &File{Canary: &Wave{Label: "tier=gold"}}, []string{"all:4"}, "wave_empty"},
		{"a name that is not there", &File{Canary: &Wave{Tenants: []string{"big", "gone"}}}, []string{"canary:1", "rest:3"}, "wave_tenant"},
		{"sizes beyond the fleet are dropped", &File{Waves: []Wave{{Size: "10"}, {Size: "10"}}}, []string{"wave 1:4"}, ""},
	} {
		groups, objections := Assign(c.s, ts)
		require.Equal(t, c.want, names(groups), c.name)
		if c.code == "" {
			require.Empty(t, objections, c.name)
		} else {
			require.Equal(t, c.code, objections[0].Code, c.name)
		}
	}
	first := func(s *File) string {
		groups, _ := Assign(s, ts)
		return groups[0].Tenants[0]
	}
	require.Equal(t, "big", first(nil), "large first is the default")
	require.Equal(t, "tiny", first(&File{Order: OrderSmallFirst}))
	require.Equal(t, "tiny", first(&File{PriorityLabel: "rank"}))
}
