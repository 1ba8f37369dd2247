package adoption

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/naming"
)

// catalogue has one resource of every kind: partitioned, plain and static.
func catalogue(t testing.TB) *releases.Catalogue {
	t.Helper()
	c, err := releases.Builtin()
	require.NoError(t, err)
	return c.Restrict("event", "rule", "bridge")
}

// install adds a version of a tenant as its installer leaves it.
func install(t testing.TB, h *Holding, version string, aliased bool) {
	t.Helper()
	r, err := catalogue(t).Get(version)
	require.NoError(t, err)
	for _, res := range r.Resources {
		for _, m := range naming.ModesOf(res) {
			n := naming.IndexName{Mode: m, Prefix: r.Prefix, Tenant: h.Tenant, Base: res.Base}
			if res.Partitioning != releases.Unpartitioned {
				h.Templates = append(h.Templates, Template{IndexName: n, Name: n.Template(), Aliased: aliased})
				n.Partition = "2026-q4"
			}
			put(h, Index{IndexName: n, Name: n.String(), Version: version, Docs: 5, Bytes: 100, Shards: 1}, aliased)
		}
	}
}

func put(h *Holding, ix Index, aliased bool) {
	if aliased {
		ix.Aliases = []string{ix.Alias()}
		if h.Aliases == nil {
			h.Aliases = map[string][]string{}
		}
		h.Aliases[ix.Alias()] = append(h.Aliases[ix.Alias()], ix.Name)
	}
	h.Indices = append(h.Indices, ix)
	sortIndices(h.Indices)
}

// change alters the index with the name.
func change(t testing.TB, h *Holding, name string, f func(*Index)) {
	t.Helper()
	i := slices.IndexFunc(h.Indices, func(ix Index) bool { return ix.Name == name })
	require.GreaterOrEqual(t, i, 0, name)
	f(&h.Indices[i])
}

const (
	ruleIndex  = "08x.acme.tracardi-rule"
	eventIndex = "prod-08x.acme.tracardi-event-2026-q4"
	eventTpl   = "prod-template.08x.acme.tracardi-event"
)

// One row per kind of disagreement, and one per state that is none.
func TestJudge(t *testing.T) {
	t.Parallel()
	registered := Entry{ID: "acme", Release: "0.8.1", Cluster: "default", State: tenants.StateActive}
	with := func(f func(*Entry)) *Entry { e := registered; f(&e); return &e }
	for name, row := range map[string]struct {
		entry *Entry
		hold  func(t *testing.T, h *Holding)
		want  []Code
		says  string // somewhere in the first finding
	}{
		"in order":                  {&registered, func(t *testing.T, h *Holding) { install(t, h, "0.8.1", true) }, nil, ""},
		"a patch of the release":    {with(func(e *Entry) { e.Release = "0.8.1.4" }), func(t *testing.T, h *Holding) { install(t, h, "0.8.1", true) }, nil, ""},
		"deleted, nothing is left":  {with(func(e *Entry) { e.State = tenants.StateDeleted }), func(*testing.T, *Holding) {}, nil, ""},
		"elsewhere, nothing here":   {with(func(e *Entry) { e.Cluster = "second" }), func(*testing.T, *Holding) {}, nil, ""},
		"suspended, but in order":   {with(func(e *Entry) { e.State = tenants.StateSuspended }), func(t *testing.T, h *Holding) { install(t, h, "0.8.1", true) }, nil, ""},
		"left behind by a rollback": {&registered, func(t *testing.T, h *Holding) { install(t, h, "0.8.1", true); install(t, h, "0.8.2", false) }, nil, ""},
		"old version closed after the switch (docs/adr/0004)": {with(func(e *Entry) { e.Release = "0.8.2" }), func(t *testing.T, h *Holding) {
			install(t, h, "0.8.1", false)
			for i := range h.Indices {
				h.Indices[i].WriteBlocked = true
			}
			install(t, h, "0.8.2", true)
		}, nil, ""},
		"static alias on both versions": {&registered, func(t *testing.T, h *Holding) {
			install(t, h, "0.8.1", true)
			n := naming.IndexName{Mode: naming.Static, Prefix: "0820", Tenant: "acme", Base: "tracardi-bridge"}
			put(h, Index{IndexName: n, Name: n.String(), Version: "0.8.2"}, true)
		}, nil, ""},

		"release differs": {with(func(e *Entry) { e.Release = "0.8.0" }), func(t *testing.T, h *Holding) { install(t, h, "0.8.1", true) }, []Code{CodeReleaseDiffers}, "--release 0.8.1"},
		"release unknown": {with(func(e *Entry) { e.Release = "9.9" }), func(t *testing.T, h *Holding) { install(t, h, "0.8.1", true) }, []Code{CodeReleaseUnknown}, "9.9"},
		"two versions": {&registered, func(t *testing.T, h *Holding) {
			install(t, h, "0.8.1", true)
			n := naming.IndexName{Mode: naming.Production, Prefix: "0820", Tenant: "acme", Base: "tracardi-rule"}
			put(h, Index{IndexName: n, Name: n.String(), Version: "0.8.2"}, true)
		}, []Code{CodeTwoVersions}, "0.8.1 and 0.8.2"},
		"alias missing": {&registered, func(t *testing.T, h *Holding) {
			install(t, h, "0.8.1", true)
			h.Indices = slices.DeleteFunc(h.Indices, func(ix Index) bool { return ix.Name == ruleIndex })
			delete(h.Aliases, "acme.tracardi-rule")
		}, []Code{CodeAliasMissing}, "rule, staging"},
		"no alias at all": {&registered, func(t *testing.T, h *Holding) { install(t, h, "0.8.1", false) },
			[]Code{CodeAliasMissing, CodeAliasMissing, CodeAliasMissing, CodeAliasMissing, CodeAliasMissing, CodeTemplateNoAlias, CodeTemplateNoAlias}, "leads to no index"},
		"alias on another tenant's index": {&registered, func(t *testing.T, h *Holding) {
			install(t, h, "0.8.1", true)
			h.Aliases["acme.tracardi-rule"] = append(h.Aliases["acme.tracardi-rule"], "08x.globex.tracardi-rule")
		}, []Code{CodeAliasForeign}, "globex"},
		"alias on a wreck": {&registered, func(t *testing.T, h *Holding) {
			install(t, h, "0.8.1", true)
			change(t, h, ruleIndex, func(ix *Index) { ix.Fault = "mapping differs: root" })
		}, []Code{CodeAliasOnWreck}, "mapping differs"},
		"hidden partition": {&registered, func(t *testing.T, h *Holding) {
			install(t, h, "0.8.1", true)
			n := naming.IndexName{Mode: naming.Production, Prefix: "08x", Tenant: "acme", Base: "tracardi-event", Partition: "2026-q3"}
			put(h, Index{IndexName: n, Name: n.String(), Version: "0.8.1"}, false)
		}, []Code{CodeIndexHidden}, "2026-q3"},
		"wreck": {&registered, func(t *testing.T, h *Holding) {
			install(t, h, "0.8.1", true)
			n := naming.IndexName{Prefix: "0820", Tenant: "acme", Base: "tracardi-rule"}
			put(h, Index{IndexName: n, Name: n.String(), Version: "0.8.2", Fault: "mapping differs: x", Docs: 3}, false)
		}, []Code{CodeIndexWreck}, "3 documents"},
		"a month that refused the write that made it": {&registered, func(t *testing.T, h *Holding) {
			install(t, h, "0.8.1", true)
			n := naming.IndexName{Prefix: "0820", Tenant: "acme", Base: "tracardi-event", Partition: "2026-12"}
			put(h, Index{IndexName: n, Name: n.String(), Version: "0.8.2", Fault: "mapping differs: root", WriteBlocked: true}, false)
		}, nil, ""},
		"unknown tenant":            {nil, func(t *testing.T, h *Holding) { install(t, h, "0.8.1", true) }, []Code{CodeTenantUnknown}, "--import"},
		"registered, not installed": {&registered, func(*testing.T, *Holding) {}, []Code{CodeTenantWithoutIndices}, "install"},
		"indices of a deleted one":  {with(func(e *Entry) { e.State = tenants.StateDeleted }), func(t *testing.T, h *Holding) { install(t, h, "0.8.1", true) }, []Code{CodeTenantDeleted}, "purge"},
		"indices of a purged one":   {with(func(e *Entry) { e.State = tenants.StatePurged }), func(t *testing.T, h *Holding) { install(t, h, "0.8.1", true) }, []Code{CodeTenantDeleted}, "container"},
		"registered elsewhere":      {with(func(e *Entry) { e.Cluster = "second" }), func(t *testing.T, h *Holding) { install(t, h, "0.8.1", true) }, []Code{CodeClusterDiffers}, "cluster second"},
		"template missing": {&registered, func(t *testing.T, h *Holding) {
			install(t, h, "0.8.1", true)
			h.Templates = slices.DeleteFunc(h.Templates, func(x Template) bool { return x.Name == eventTpl })
		}, []Code{CodeTemplateMissing}, eventTpl},
		"template without alias": {&registered, func(t *testing.T, h *Holding) {
			install(t, h, "0.8.1", true)
			h.Templates[0].Aliased = false
		}, []Code{CodeTemplateNoAlias}, "does not hang"},
		"orphaned template": {&registered, func(t *testing.T, h *Holding) {
			install(t, h, "0.8.1", true)
			h.Templates = append(h.Templates, Template{IndexName: naming.IndexName{Prefix: "080"}, Name: "template.080.acme.tracardi-event"})
		}, []Code{CodeTemplateOrphaned}, "080"},
		"orphaned template of nobody": {nil, func(_ *testing.T, h *Holding) {
			h.Templates = append(h.Templates, Template{IndexName: naming.IndexName{Prefix: "080"}, Name: "template.080.acme.tracardi-event"})
		}, []Code{CodeTemplateOrphaned}, "080"},
		"block left behind": {&registered, func(t *testing.T, h *Holding) {
			install(t, h, "0.8.1", true)
			change(t, h, eventIndex, func(ix *Index) { ix.WriteBlocked = true })
		}, []Code{CodeWriteBlocked}, "1 index"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &Holding{Tenant: "acme"}
			row.hold(t, h)
			var codes []Code
			got := judge(catalogue(t), "default", row.entry, h)
			for _, f := range got {
				codes = append(codes, f.Code)
				require.Equal(t, "acme", f.Tenant)
				require.NotEmpty(t, f.Registry)
				require.NotEmpty(t, f.Cluster)
				require.NotEmpty(t, f.Remedy)
			}
			require.Equal(t, row.want, codes, "%+v", got)
			if row.says != "" {
				require.Contains(t, got[0].Registry+" "+got[0].Cluster+" "+got[0].Remedy, row.says)
			}
		})
	}
}

func TestNamesThatAreNoTenants(t *testing.T) {
	t.Parallel()
	h := &Holding{Tenant: "12345"}
	install(t, h, "0.8.0", true)
	v := &view{holdings: map[string]*Holding{"12345": h}}
	got := drift(catalogue(t), "default", v).Findings
	require.Len(t, got, 1)
	require.Equal(t, CodeNameInvalid, got[0].Code)
	d := discover(catalogue(t), v)
	require.Empty(t, d.Tenants)
	require.Len(t, d.Strangers, 1)
	require.Contains(t, d.Strangers[0].Reason, "is a number")
	require.Equal(t, 5, d.Strangers[0].Indices)
}

// A tenant on its way is named, and not judged.
func TestMovingTenantsAreNotJudged(t *testing.T) {
	t.Parallel()
	h := &Holding{Tenant: "acme"}
	install(t, h, "0.8.1", false)
	r := drift(catalogue(t), "default", &view{
		holdings: map[string]*Holding{"acme": h},
		entries:  map[string]Entry{"acme": {ID: "acme", Release: "0.8.1", Cluster: "default", State: tenants.StateActive, Rollout: "r1"}},
	})
	require.Empty(t, r.Findings)
	require.Equal(t, []Moving{{"acme", "r1"}}, r.Moving)
	require.Zero(t, r.Compared)
}

// An installer that was started too early makes what is new in its release,
// with aliases; the tenant stays where the shared resources are.
func TestResourcesOfOneReleaseDoNotDecide(t *testing.T) {
	t.Parallel()
	c, err := releases.Builtin()
	require.NoError(t, err)
	old, err := c.Get("0.8.1")
	require.NoError(t, err)
	later, err := c.Get("0.8.2")
	require.NoError(t, err)
	h := &Holding{Tenant: "acme"}
	install(t, h, "0.8.1", true)
	i := slices.IndexFunc(later.Resources, func(r releases.Resource) bool {
		return !r.Static && !inAll([]*releases.Release{old}, r.Base)
	})
	require.GreaterOrEqual(t, i, 0, "0.8.2 has resources of its own")
	n := naming.IndexName{Prefix: "0820", Tenant: "acme", Base: later.Resources[i].Base}
	put(h, Index{IndexName: n, Name: n.String(), Version: "0.8.2"}, true)

	f := inForce(c, h)
	require.NotNil(t, f.Release)
	require.Equal(t, "0.8.1", f.Release.Version)
	require.Equal(t, []string{"0.8.1", "0.8.2"}, f.Versions)
	got := judge(c, "default", &Entry{ID: "acme", Release: "0.8.1", Cluster: "default", State: tenants.StateActive}, h)
	require.True(t, slices.ContainsFunc(got, func(f Finding) bool { return f.Code == CodeAliasOther }), "%+v", got)
}

func TestTemplateNames(t *testing.T) {
	t.Parallel()
	got, ok := newTemplate(catalogue(t), upgrader.Template{Name: eventTpl, Body: upgrader.IndexBody{Aliases: map[string]struct{}{"prod-acme.tracardi-event": {}}}})
	require.True(t, ok)
	require.Equal(t, naming.IndexName{Mode: naming.Production, Prefix: "08x", Tenant: "acme", Base: "tracardi-event"}, got.IndexName)
	require.True(t, got.Aliased)
	for _, name := range []string{"", "logs", "template.08x", "template.08x.acme", "08x.acme.tracardi-event"} {
		_, ok := newTemplate(catalogue(t), upgrader.Template{Name: name})
		require.False(t, ok, name)
	}
}
