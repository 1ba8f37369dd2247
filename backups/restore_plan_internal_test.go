package backups

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/capacity"
)

// sample is a tenant with two resources of 0.8.1 in a snapshot.
func sample() *Manifest {
	return &Manifest{
		Tenant: "acme", Release: "0.8.1",
		Indices: []IndexRecord{
			{Name: "08x.acme.tracardi-event-2026-1", Resource: "event", Shards: 3, After: Mark{Docs: 5}},
			{Name: "08x.acme.tracardi-rule", Resource: "rule", Shards: 1, After: Mark{Docs: 2}},
		},
		Aliases: map[string][]string{
			"acme.tracardi-event": {"08x.acme.tracardi-event-2026-1"},
			"acme.tracardi-rule":  {"08x.acme.tracardi-rule"},
		},
		Templates: []TemplateRecord{{Name: "template.08x.acme.tracardi-event"}},
	}
}

func upgraded() standing {
	return standing{
		indices: []upgrader.Index{{Name: "0820.acme.tracardi-event-2026-q1"}, {Name: "0820.acme.tracardi-rule"}, {Name: "08x.acme.tracardi-rule", WriteBlocked: true}},
		stats:   map[string]upgrader.IndexStats{"08x.acme.tracardi-rule": {Docs: 9}},
		aliases: map[string][]string{
			"acme.tracardi-event": {"0820.acme.tracardi-event-2026-q1"}, "acme.tracardi-rule": {"0820.acme.tracardi-rule"},
		},
		templates: []upgrader.Template{{Name: "template.0820.acme.tracardi-event"}, {Name: "template.08x.acme.tracardi-event"}},
	}
}

func TestPlanRestore(t *testing.T) {
	t.Parallel()
	p := planRestore(Restore{Tenant: "acme"}, sample(), upgraded())
	require.Equal(t, []string{"08x.acme.tracardi-rule"}, p.replaced())
	require.True(t, p.Indices[1].WasBlocked)
	require.EqualValues(t, 9, p.Indices[1].ReplacedDocs)
	require.Equal(t, []string{"0820.acme.tracardi-event-2026-q1", "0820.acme.tracardi-rule"}, p.Aside)
	require.Equal(t, []string{"template.0820.acme.tracardi-event"}, p.TemplatesRemoved)
	require.Equal(t, []upgrader.AliasAction{
		{Remove: true, Index: "0820.acme.tracardi-event-2026-q1", Alias: "acme.tracardi-event"},
		{Remove: true, Index: "0820.acme.tracardi-rule", Alias: "acme.tracardi-rule"},
		{Index: "08x.acme.tracardi-event-2026-1", Alias: "acme.tracardi-event"},
		{Index: "08x.acme.tracardi-rule", Alias: "acme.tracardi-rule"},
	}, p.aliasActions(Restore{}, upgraded().aliases))

	// One resource leaves the others alone.
	one := Restore{Tenant: "acme", Resources: []string{"rule"}}
	p = planRestore(one, sample(), upgraded())
	require.Len(t, p.Indices, 1)
	require.Equal(t, []string{"0820.acme.tracardi-rule"}, p.Aside)
	require.Empty(t, p.Templates)
	require.Empty(t, p.TemplatesRemoved)
	require.Equal(t, []upgrader.AliasAction{
		{Remove: true, Index: "0820.acme.tracardi-rule", Alias: "acme.tracardi-rule"},
		{Index: "08x.acme.tracardi-rule", Alias: "acme.tracardi-rule"},
	}, p.aliasActions(one, upgraded().aliases))

	// Beside, nothing of the tenant is touched.
	p = planRestore(Restore{Tenant: "acme", Beside: "look"}, sample(), upgraded())
	require.Equal(t, "look.08x.acme.tracardi-rule", p.Indices[1].As)
	require.Empty(t, p.replaced())
	require.Empty(t, p.Aside)
	require.Empty(t, p.Aliases)
}

func TestRestoreRefusals(t *testing.T) {
	t.Parallel()
	plenty := capacity.Shards{Open: 10, MaxPerNode: 1000, DataNodes: 1}
	tight := capacity.Shards{Open: 10, MaxPerNode: 16, DataNodes: 1}
	known := &Tenant{ID: "acme", Release: "0.8.2"}
	for _, c := range []struct {
		name   string
		r      Restore
		t      *Tenant
		budget capacity.Shards
		want   []string
	}{
		{"replace", Restore{Replace: true}, known, plenty, nil},
		{"existing", Restore{}, known, plenty, []string{"index_exists"}},
		{"beside", Restore{Beside: "look"}, nil, plenty, nil},
		{"unknown tenant", Restore{Replace: true}, nil, plenty, []string{"tenant_unknown"}},
		{"in a rollout", Restore{Replace: true}, &Tenant{Release: "0.8.1", Rollout: "r1"}, plenty, []string{"rollout_running"}},
		{"no room for the rehearsal", Restore{Replace: true}, known, tight, []string{"shard_limit"}},
		{"room without it", Restore{Replace: true, NoRehearsal: true}, known, tight, nil},
		{"one resource of another release", Restore{Replace: true, Resources: []string{"rule"}}, known, plenty, []string{"release_differs"}},
		{"nothing", Restore{Resources: []string{"flow"}, Beside: "look"}, known, plenty, []string{"nothing_to_restore"}},
		{"all at once", Restore{}, nil, capacity.Shards{MaxPerNode: 1, DataNodes: 1}, []string{"index_exists", "shard_limit", "tenant_unknown"}},
	} {
		var got []string
		for _, x := range planRestore(c.r, sample(), upgraded()).refusals(c.r, c.t, c.budget) {
			require.NotEmpty(t, x.Message, c.name)
			require.NotEmpty(t, x.Remedy, c.name)
			got = append(got, x.Code)
		}
		require.Equal(t, c.want, got, c.name)
	}
}

// After the alias call readers see exactly what they saw at the snapshot,
// whatever they see now.
func TestAliasActionsLeadToThePlan(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		aliases := rapid.MapOf(rapid.SampledFrom([]string{"acme.a", "acme.b", "prod-acme.a"}),
			rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"i1", "i2", "i3"}), 1, 3, rapid.ID))
		now, wanted := aliases.Draw(t, "now"), aliases.Draw(t, "wanted")
		have := map[string]map[string]bool{}
		for alias, on := range now {
			have[alias] = map[string]bool{}
			for _, ix := range on {
				have[alias][ix] = true
			}
		}
		for _, a := range (RestorePlan{Aliases: wanted}).aliasActions(Restore{}, now) {
			if a.Remove {
				delete(have[a.Alias], a.Index)
				continue
			}
			if have[a.Alias] == nil {
				have[a.Alias] = map[string]bool{}
			}
			have[a.Alias][a.Index] = true
		}
		for alias, on := range have {
			require.Len(t, on, len(wanted[alias]), alias)
		}
		for alias, on := range wanted {
			for _, ix := range on {
				require.True(t, have[alias][ix], "%s on %s", alias, ix)
			}
		}
	})
}

func TestSnapshotNamesSortByTime(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Int64Range(1e9, 4e9).Draw(t, "a"), rapid.Int64Range(1e9, 4e9).Draw(t, "b")
		x, y := NewSnapshotName(unix(a)), NewSnapshotName(unix(b))
		require.True(t, IsSnapshotName(x))
		if a != b {
			require.Equal(t, a < b, x < y)
		}
	})
}

func unix(seconds int64) time.Time { return time.Unix(seconds, 0) }
