package tenants

import (
	"context"
	"path"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// names is a cluster that is a list of names.
type names struct {
	indices, templates []string
	aliases            map[string][]string
}

func matching(all []string, patterns ...string) []string {
	var out []string
	for _, n := range all {
		if slices.ContainsFunc(patterns, func(p string) bool { ok, _ := path.Match(p, n); return ok }) {
			out = append(out, n)
		}
	}
	return out
}

func (c *names) Indices(_ context.Context, patterns ...string) ([]string, error) {
	return matching(c.indices, patterns...), nil
}

func (c *names) Templates(_ context.Context, pattern string) ([]string, error) {
	return matching(c.templates, pattern), nil
}

func (c *names) Aliases(_ context.Context, patterns ...string) (map[string][]string, error) {
	out := map[string][]string{}
	for a, on := range c.aliases {
		if len(matching([]string{a}, patterns...)) > 0 {
			out[a] = on
		}
	}
	return out, nil
}

func (c *names) DeleteIndices(_ context.Context, gone ...string) error {
	c.indices = slices.DeleteFunc(c.indices, func(n string) bool { return slices.Contains(gone, n) })
	for a, on := range c.aliases {
		if c.aliases[a] = slices.DeleteFunc(on, func(n string) bool { return slices.Contains(gone, n) }); len(c.aliases[a]) == 0 {
			delete(c.aliases, a)
		}
	}
	return nil
}

func (c *names) DeleteTemplate(_ context.Context, name string) error {
	c.templates = slices.DeleteFunc(c.templates, func(n string) bool { return n == name })
	return nil
}

func (c *names) RemoveAliases(_ context.Context, gone map[string][]string) error {
	for a := range gone {
		delete(c.aliases, a)
	}
	return nil
}

// Everything of the tenant goes, whatever its version and environment, and
// nothing else, however similar its name.
func TestTerritory(t *testing.T) {
	t.Parallel()
	for id, others := range map[string]string{"acme": "acme2", "08x": "acme"} {
		theirs := []string{
			"08x." + others + ".tracardi-event-2026-1", "prod-0820." + others + ".tracardi-profile", others + ".tracardi-event",
			"0820.acmeplus.tracardi-profile", "09y." + id + ".tracardi-profile", "x08x." + id + ".y",
		}
		c := &names{
			indices: append([]string{
				"08x." + id + ".tracardi-event-2026-1", "prod-08x." + id + ".tracardi-event-2026-1", "static-0820." + id + ".tracardi-flow",
			}, theirs...),
			templates: []string{"template.08x." + id + ".tracardi-event", "prod-template.0820." + id + ".tracardi-event", "template.08x." + others + ".tracardi-event"},
			aliases: map[string][]string{
				id + ".tracardi-event":          {"08x." + id + ".tracardi-event-2026-1"},
				"prod-" + id + ".tracardi-flow": {"somebody-elses"},
				others + ".tracardi-event":      {"08x." + others + ".tracardi-event-2026-1"},
			},
		}
		if id == "acme" {
			c.indices = append(c.indices, id+".tracardi-wreck")
		}
		land := territory{id: id, prefixes: []string{"080", "08x", "0820"}}
		found, err := land.survey(t.Context(), c)
		require.NoError(t, err)
		require.NotEmpty(t, found.String())
		var done PurgeResult
		require.NoError(t, land.clear(t.Context(), c, found, &done))
		require.Equal(t, theirs, c.indices, id)
		require.Equal(t, []string{"template.08x." + others + ".tracardi-event"}, c.templates)
		require.Len(t, c.aliases, 1)
		require.Equal(t, 2, done.Templates)
		require.Equal(t, 2, done.Aliases)
		found, err = land.survey(t.Context(), c)
		require.NoError(t, err)
		require.Empty(t, found.String())
	}
}

// An adopted installation has its code name in the version it was adopted in,
// and before its first upgrade nowhere else; others may have that as their id.
func TestTerritoryOfAnAdoptedTenant(t *testing.T) {
	t.Parallel()
	theirs := []string{"0820.4a7d1.tracardi-event-2026-1", "074.4a7d12.tracardi-profile", "074.other.tracardi-profile"}
	c := &names{
		indices:   append([]string{"074.4a7d1.tracardi-event-2023-1", "static-074.4a7d1.tracardi-flow", "0820.acme.tracardi-profile"}, theirs...),
		templates: []string{"template.4a7d1.tracardi-event", "template.074.4a7d1.tracardi-event", "template.0820.acme.tracardi-event", "template.4a7d12.tracardi-event"},
		aliases:   map[string][]string{"4a7d1.tracardi-event": {"074.4a7d1.tracardi-event-2023-1"}, "acme.tracardi-profile": {"0820.acme.tracardi-profile"}, "4a7d12.tracardi-profile": {"074.4a7d12.tracardi-profile"}},
	}
	land := territory{id: "acme", adopted: "074.4a7d1", prefixes: []string{"074", "08x", "0820"}}
	found, err := land.survey(t.Context(), c)
	require.NoError(t, err)
	var done PurgeResult
	require.NoError(t, land.clear(t.Context(), c, found, &done))
	require.Equal(t, theirs, c.indices)
	require.Equal(t, []string{"template.4a7d12.tracardi-event"}, c.templates)
	require.Equal(t, map[string][]string{"4a7d12.tracardi-profile": {"074.4a7d12.tracardi-profile"}}, c.aliases)
	found, err = land.survey(t.Context(), c)
	require.NoError(t, err)
	require.Empty(t, found.String())
}
