package naming_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader/naming"
)

func TestParseIndexName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]naming.IndexName{
		"08x.acme.tracardi-event-2023-2":                    {Prefix: "08x", Tenant: "acme", Base: "tracardi-event", Partition: "2023-2"},
		"prod-0820.acme.tracardi-profile-2023-q1":           {Mode: naming.Production, Prefix: "0820", Tenant: "acme", Base: "tracardi-profile", Partition: "2023-q1"},
		"0820.acme.tracardi-item-2023-year":                 {Prefix: "0820", Tenant: "acme", Base: "tracardi-item", Partition: "2023-year"},
		"static-08x.acme.tracardi-bridge":                   {Mode: naming.Static, Prefix: "08x", Tenant: "acme", Base: "tracardi-bridge"},
		"08x.acme.tracardi-event-management":                {Prefix: "08x", Tenant: "acme", Base: "tracardi-event-management"},
		"08x.acme.tracardi-event_to_profile":                {Prefix: "08x", Tenant: "acme", Base: "tracardi-event_to_profile"},
		"prod-08x.acme.tracardi-flow-action-plugins-2023-9": {Mode: naming.Production, Prefix: "08x", Tenant: "acme", Base: "tracardi-flow-action-plugins", Partition: "2023-9"},
		"08x.acme.tracardi-event-2023-q5":                   {Prefix: "08x", Tenant: "acme", Base: "tracardi-event-2023-q5"},
		"08x.acme.tracardi-event-23-1":                      {Prefix: "08x", Tenant: "acme", Base: "tracardi-event-23-1"},
	} {
		got, ok := naming.Parse(name)
		require.True(t, ok, name)
		require.Equal(t, want, got, name)
		require.Equal(t, name, got.String())
	}
	for _, name := range []string{"", "acme", "08x.acme", ".acme.x", "08x..x", "08x.acme.", "prod-", ".tasks"} {
		_, ok := naming.Parse(name)
		require.False(t, ok, "%q", name)
	}
}

func TestNamesOfOneIndex(t *testing.T) {
	t.Parallel()
	n := naming.IndexName{Mode: naming.Production, Prefix: "0820", Tenant: "acme", Base: "tracardi-event", Partition: "2023-2"}
	require.Equal(t, "prod-acme.tracardi-event", n.Alias())
	require.Equal(t, "prod-template.0820.acme.tracardi-event", n.Template())
	require.Equal(t, "prod-0820.acme.tracardi-event-*-*", n.TemplatePattern())
}

func TestFreezingTemplate(t *testing.T) {
	t.Parallel()
	for want, r := range map[string]*releases.Release{
		"template.08x.acme.tms-frozen-08x": {Prefix: "08x"},
		"template.acme.tms-frozen-074":     {Prefix: "074", PlainTemplates: true},
	} {
		require.Equal(t, want, naming.FreezingTemplate(r, "acme"))
		require.True(t, naming.Freezes(want))
	}
	require.False(t, naming.Freezes("template.08x.tms-frozen-0.tracardi-event"), "a tenant may be named so")
}

// What is put together comes apart the same way, for every release's bases.
func TestIndexNameRoundTrip(t *testing.T) {
	t.Parallel()
	c, err := releases.Builtin()
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		r := rapid.SampledFrom(c.List()).Draw(t, "release")
		res := rapid.SampledFrom(r.Resources).Draw(t, "resource")
		at := time.Unix(rapid.Int64Range(1e9, 4e9).Draw(t, "at"), 0)
		n := naming.IndexName{
			Mode:      rapid.SampledFrom([]naming.Mode{naming.Staging, naming.Production, naming.Static}).Draw(t, "mode"),
			Prefix:    r.Prefix,
			Tenant:    rapid.StringMatching(`[a-z][a-z0-9]{2,62}`).Draw(t, "tenant"),
			Base:      res.Base,
			Partition: naming.PartitionAt(rapid.SampledFrom([]releases.Partitioning{"", releases.Monthly, releases.Quarterly, releases.Yearly}).Draw(t, "partitioning"), at),
		}
		got, ok := naming.Parse(n.String())
		if !ok || got != n {
			t.Fatalf("%q came back as %+v", n.String(), got)
		}
	})
}

func TestTargetPartition(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		source string
		p      releases.Partitioning
		want   string
	}{
		{"2023-2", releases.Monthly, "2023-2"},
		{"2023-12", releases.Monthly, "2023-12"},
		{"2023-1", releases.Quarterly, "2023-q1"},
		{"2023-3", releases.Quarterly, "2023-q1"},
		{"2023-4", releases.Quarterly, "2023-q2"},
		{"2022-11", releases.Quarterly, "2022-q4"},
		{"2022-12", releases.Yearly, "2022-year"},
		{"2022-q3", releases.Yearly, "2022-year"},
		{"2022-q3", releases.Monthly, "2022-q3"}, // coarser than the target: keeps its own
		{"2022-q3", releases.Quarterly, "2022-q3"},
		{"2022-year", releases.Monthly, "2022-year"},
		{"2022-year", releases.Quarterly, "2022-year"},
		{"", releases.Monthly, "2026-11"},
		{"", releases.Quarterly, "2026-q4"},
		{"", releases.Yearly, "2026-year"},
		{"", releases.Unpartitioned, ""},
		{"2023-2", releases.Unpartitioned, ""},
	} {
		got, err := naming.TargetPartition(c.source, c.p, now)
		require.NoError(t, err)
		require.Equal(t, c.want, got, "%s by %s", c.source, c.p)
	}
	for _, bad := range []string{"2023-0", "2023-13", "2023-99"} {
		_, err := naming.TargetPartition(bad, releases.Quarterly, now)
		require.ErrorContains(t, err, bad)
	}
}

// A point in time belongs into the partition that its month belongs into.
func TestPartitionsAgree(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "at"), 0)
		month := naming.PartitionAt(releases.Monthly, at)
		if strings.Contains(month, "-0") {
			t.Fatalf("%s is zero-padded", month)
		}
		for _, p := range []releases.Partitioning{releases.Monthly, releases.Quarterly, releases.Yearly} {
			got, err := naming.TargetPartition(month, p, time.Time{})
			if err != nil || got != naming.PartitionAt(p, at) {
				t.Fatalf("month %s goes to %s %s (%v), the day to %s", month, p, got, err, naming.PartitionAt(p, at))
			}
		}
	})
}

func FuzzParseIndexName(f *testing.F) {
	for _, s := range []string{"08x.acme.tracardi-event-2023-2", "prod-0820.a.b-2023-q1", "static-...", "-.-.-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, ok := naming.Parse(s); ok && n.String() != s {
			t.Fatalf("%q came back as %q", s, n.String())
		}
	})
}
