package upgrader

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader/naming"
)

type object = map[string]any

// What leads from one release to another.
func TestWayBetween(t *testing.T) {
	t.Parallel()
	c, err := releases.Builtin()
	require.NoError(t, err)
	for _, row := range []struct {
		from, to string
		kind     Kind
		fails    string
	}{
		{"0.8.1", "0.8.1", KindNone, ""},
		{"0.8.1", "0.8.1.4", KindMinor, ""},
		{"0.8.1.2", "0.8.1.4", KindMinor, ""},
		{"0.8.1.4", "0.8.1.4", KindNone, ""},
		{"0.8.1.4", "0.8.1.2", "", "older"},
		{"0.8.1.4", "0.8.1", "", "older"},
		{"0.8.1.4", "0.8.2", KindMajor, ""},
		{"0.8.0", "0.8.1.4", KindMajor, ""},
		{"0.8.2", "0.8.1.4", "", "older"},
		{"0.8.1", "9.9", "", "unknown release"},
	} {
		kind, err := wayBetween(c, row.from, row.to)
		if row.fails != "" {
			require.ErrorContains(t, err, row.fails, "%+v", row)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, row.kind, kind, "%+v", row)
	}
}

// A major upgrade keeps the further numbers of both ends.
func TestPlanKeepsFurtherNumbers(t *testing.T) {
	t.Parallel()
	c := newPlanCase(t)
	c.fleet[0].Release, c.to = "0.8.1.3", "0.8.2.1"
	p := c.plan(t)
	require.Empty(t, p.Refusals)
	require.Equal(t, "0.8.1.3", p.Tenants[0].FromRelease)
	require.Equal(t, []string{"0.8.1.3", "0.8.2.1"}, p.Tenants[0].Path)
	require.Equal(t, KindMajor, p.Tenants[0].Kind())
}

// The plan of a minor upgrade: nothing moves, what is missing is told, what
// cannot be added is refused.
func TestPlanOfAMinorUpgrade(t *testing.T) {
	t.Parallel()
	planned := func(change func(*planCase)) *Plan {
		c := newPlanCase(t)
		c.to = "0.8.1.4"
		r, err := c.catalogue.Get("0.8.1")
		require.NoError(t, err)
		l, err := newLayout(c.catalogue, "0.8.1", "0.8.1.4")
		require.NoError(t, err)
		c.view.Templates = l.templates("acme", replicasIn(c.view.Old))
		require.Equal(t, r.Prefix, l.to.Prefix)
		if change != nil {
			change(c)
		}
		return c.plan(t)
	}
	p := planned(nil)
	require.Empty(t, p.Refusals)
	require.Equal(t, KindMinor, p.Tenants[0].Kind())
	require.Equal(t, []string{"0.8.1", "0.8.1.4"}, p.Tenants[0].Path)
	require.Empty(t, p.Tenants[0].Moves)
	require.Equal(t, []string{"minor upgrade: no data moves"}, p.Tenants[0].Notes)
	require.Positive(t, p.Tenants[0].Record.Minor.Indices)

	without := func(drop string) func(*planCase) {
		return func(c *planCase) {
			for i := range c.view.Old {
				n, _ := naming.Parse(c.view.Old[i].Name)
				if n.Base != "tracardi-rule" {
					continue
				}
				have := object{"dynamic": "strict", "properties": object{}}
				for k, v := range c.view.Old[i].Mapping["properties"].(object) {
					if k != drop {
						have["properties"].(object)[k] = v
					} else if n.Mode == naming.Production {
						have["properties"].(object)[k] = object{"type": "binary"}
					}
				}
				c.view.Old[i].Mapping = have
			}
			c.view.Templates = c.view.Templates[1:]
		}
	}
	p = planned(without("description"))
	require.Contains(t, p.Tenants[0].Notes, "1 indices get fields: rule: description")
	require.Contains(t, p.Tenants[0].Notes, "1 templates are put")
	require.Len(t, p.Refusals, 1)
	require.Equal(t, "schema_conflict", p.Refusals[0].Code)
	require.Contains(t, p.Refusals[0].Message, "index prod-08x.acme.tracardi-rule of resource rule: field description: type is binary, wanted text")
}
