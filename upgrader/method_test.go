package upgrader

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// planLogs plans a tenant whose logs of October are large, with what given
// changes.
func planLogs(t *testing.T, given func(*planCase)) (PlannedMove, *Plan) {
	t.Helper()
	const source, target = "08x.acme.tracardi-log-2026-10", "0820.acme.tracardi-log-2026-10"
	pc := newPlanCase(t)
	pc.docs(source, 200_000)
	if given != nil {
		given(pc)
	}
	p := pc.plan(t)
	for _, m := range p.Tenants[0].Moves {
		if m.Target == target {
			return m, p
		}
	}
	t.Fatalf("no move to %s", target)
	return PlannedMove{}, nil
}

func (c *planCase) docs(index string, n int64) {
	st := c.view.OldStats[index]
	st.Docs = n
	c.view.OldStats[index] = st
}

// change gives an index of the old version other settings and another mapping.
func (c *planCase) change(index string, settings, mapping map[string]any) {
	for i, ix := range c.view.Old {
		if ix.Name == index {
			c.view.Old[i].Settings = maps.Clone(ix.Settings)
			maps.Copy(c.view.Old[i].Settings, settings)
			if mapping != nil {
				c.view.Old[i].Mapping = mapping
			}
		}
	}
}

// One row per reason for or against a clone, and per choice of the operator.
func TestChooseMethod(t *testing.T) {
	t.Parallel()
	const logs = "08x.acme.tracardi-log-2026-10"
	all := func(key string, m Method) func(*planCase) {
		return func(c *planCase) { c.options.Methods = map[string]Method{key: m} }
	}
	for name, c := range map[string]struct {
		given   func(*planCase)
		method  Method
		why     string
		refused string
	}{
		"a large index of a past month":   {nil, MethodClone, "its period is over", ""},
		"a small one":                     {func(c *planCase) { c.docs(logs, 4_999) }, MethodReindex, "below 5000 documents", ""},
		"an empty one":                    {func(c *planCase) { c.docs(logs, 0) }, MethodCreate, "the source is empty", ""},
		"the month is not over":           {func(c *planCase) { c.cluster.Now = time.Date(2026, 10, 31, 23, 0, 0, 0, time.UTC) }, MethodReindex, "2026-10 is not over", ""},
		"a held switch":                   {func(c *planCase) { c.options.HoldSwitch = true }, MethodReindex, "with a held switch", ""},
		"other shards":                    {func(c *planCase) { c.change(logs, map[string]any{"number_of_shards": "1"}, nil) }, MethodReindex, `number_of_shards is "1", wanted "3"`, ""},
		"a setting that stays":            {func(c *planCase) { c.change(logs, map[string]any{"codec": "best_compression"}, nil) }, MethodReindex, "setting codec", ""},
		"a setting that can be taken off": {func(c *planCase) { c.change(logs, map[string]any{"max_result_window": "7"}, nil) }, MethodClone, "", ""},
		"another mapping":                 {func(c *planCase) { c.change(logs, nil, map[string]any{"dynamic": "false"}) }, MethodReindex, "dynamic is false", ""},
		"copied by choice":                {all("log", MethodReindex), MethodReindex, "asked for; otherwise clone", ""},
		"merge is reindex on one source":  {all("log", MethodMerge), MethodReindex, "asked for", ""},
		"empty by choice":                 {all("log", MethodCreate), MethodClone, "", "hold 200000 documents"},
		"cloned by choice, with a hold": {func(c *planCase) {
			c.options.HoldSwitch = true
			c.options.Methods = map[string]Method{AllResources: MethodClone}
		}, MethodClone, "asked for", ""},
		"a choice for others":        {all("rule", MethodReindex), MethodClone, "its period is over", ""},
		"what is transformed":        {all("profile", MethodClone), MethodClone, "", "its documents are transformed"},
		"what is merged":             {all("session", MethodClone), MethodClone, "", "it has several sources"},
		"one beats all":              {func(c *planCase) { c.options.Methods = map[string]Method{"log": MethodReindex, "*": MethodClone} }, MethodReindex, "asked for", ""},
		"all of them, where it goes": {all(AllResources, MethodClone), MethodClone, "", ""},
	} {
		m, p := planLogs(t, c.given)
		require.Equal(t, c.method, m.Method, name)
		require.Contains(t, m.Why, c.why, name)
		if c.refused == "" {
			require.Empty(t, p.Refusals, name)
			continue
		}
		require.Equal(t, "method_impossible", p.Refusals[0].Code, name)
		require.True(t, slices.ContainsFunc(p.Refusals, func(r Refusal) bool { return strings.Contains(r.Message, c.refused) }), "%s: %+v", name, p.Refusals)
		require.NotEmpty(t, p.Refusals[0].Remedy, name)
	}
}

// A choice for all resources says in the plan where it does not apply.
func TestChoiceThatDoesNotApply(t *testing.T) {
	t.Parallel()
	_, p := planLogs(t, func(c *planCase) { c.options.Methods = map[string]Method{AllResources: MethodClone} })
	for _, m := range p.Tenants[0].Moves {
		if m.Resource == "profile" && len(m.Copies) > 0 {
			require.NotEqual(t, MethodClone, m.Method)
			require.Contains(t, m.Why, "clone was asked for, but")
		}
		require.NotEmpty(t, m.Why)
	}
}

func TestChoicesThatMeanNothing(t *testing.T) {
	t.Parallel()
	pc := newPlanCase(t)
	target, err := pc.catalogue.Get("0.8.2")
	require.NoError(t, err)
	require.NoError(t, checkMethods(map[string]Method{"log": MethodClone, AllResources: MethodReindex}, target))
	for key, c := range map[string]struct {
		method Method
		says   string
	}{
		"log":    {"split", `"split" is not a method`},
		"nobody": {MethodClone, `no resource "nobody"`},
		"bridge": {MethodCreate, `"bridge" is static`},
	} {
		require.ErrorContains(t, checkMethods(map[string]Method{key: c.method}, target), c.says)
	}
}

// Cold before hot, large before small.
func TestWorkOrder(t *testing.T) {
	t.Parallel()
	copyOf := func(source string, docs int64) Copy { return Copy{Source: source, Docs: docs, State: CopyPlanned} }
	moves := []*Move{
		{Method: MethodMerge, Copies: []Copy{copyOf("08x.a.tracardi-event-2026-11", 900), copyOf("08x.a.tracardi-event-2026-10", 10)}},
		{Method: MethodReindex, Copies: []Copy{copyOf("08x.a.tracardi-rule", 5)}},
		{Method: MethodReindex, Copies: []Copy{copyOf("08x.a.tracardi-event-2026-9", 500)}},
		{Method: MethodReindex, Copies: []Copy{{Source: "08x.a.tracardi-log-2026-9", State: CopyDone}}},
		{Method: MethodClone, Copies: []Copy{copyOf("08x.a.tracardi-log-2026-8", 1e6)}},
	}
	var got []string
	for _, j := range workOrder(moves, planDay) {
		got = append(got, j.c.Source)
	}
	require.Equal(t, []string{"08x.a.tracardi-event-2026-9", "08x.a.tracardi-event-2026-10", "08x.a.tracardi-rule", "08x.a.tracardi-event-2026-11"}, got)
}
