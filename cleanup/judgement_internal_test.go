package cleanup

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/naming"
)

func codes(p *Plan) []string {
	var out []string
	for _, r := range p.Refusals {
		out = append(out, r.Code+" "+r.TenantID)
	}
	return out
}

// Who keeps a version, one row each. acme is on 0.8.2 and holds one index of
// 0.8.1 unless a row says otherwise.
func TestJudge(t *testing.T) {
	t.Parallel()
	catalogue, err := releases.Builtin()
	require.NoError(t, err)
	const old, static, new = "08x.acme.tracardi-rule", "static-08x.acme.tracardi-bridge", "static-0820.acme.tracardi-bridge"
	for name, one := range map[string]struct {
		release  string
		indices  []Index
		statics  map[string][]string
		claims   []Claim
		only     []string
		purged   bool
		stranger bool
		refused  []string
		doomed   int
		correct  int
	}{
		"nobody":                           {doomed: 1},
		"on the version":                   {release: "0.8.1", refused: []string{"version_in_use acme"}},
		"on a minor release of it":         {release: "0.8.1.2", refused: []string{"version_in_use acme"}},
		"on an unknown release":            {release: "7", refused: []string{"release_unknown acme"}},
		"an alias":                         {indices: []Index{{Name: old, Aliases: []string{"acme.tracardi-rule"}}}, refused: []string{"alias_in_use acme"}},
		"somebody's own alias":             {indices: []Index{{Name: old, Aliases: []string{"report"}}}, refused: []string{"alias_in_use acme"}},
		"a foreign alias on a static":      {indices: []Index{{Name: static, Aliases: []string{"report"}}}, refused: []string{"alias_in_use acme"}},
		"a rollout at work":                {claims: []Claim{{Tenant: "acme", Kind: ClaimWorking, By: "r", From: "0.8.2", To: "0.9"}}, refused: []string{"rollout_active acme"}},
		"a rollout of others":              {claims: []Claim{{Tenant: "globex", Kind: ClaimWorking, By: "r", From: "0.8.1", To: "0.8.2"}}, doomed: 1},
		"a way back":                       {claims: []Claim{{Tenant: "acme", Kind: ClaimSwitched, By: "r", From: "0.8.1", To: "0.8.2"}}, refused: []string{"way_back acme"}},
		"a way back to another version":    {claims: []Claim{{Tenant: "acme", Kind: ClaimSwitched, By: "r", From: "0.8.0", To: "0.8.2"}}, doomed: 1},
		"a rollout that may be retried":    {claims: []Claim{{Tenant: "acme", Kind: ClaimFailed, By: "r", From: "0.8.2", To: "0.8.1"}}, refused: []string{"rollout_failed acme"}},
		"a restore":                        {claims: []Claim{{Tenant: "acme", Kind: ClaimRestore, By: "r", From: "", To: ""}}, refused: []string{"restore_active acme"}},
		"a static alias without successor": {indices: []Index{{Name: static, Aliases: []string{"static-acme.tracardi-bridge"}}}, refused: []string{"static_missing acme"}},
		"a static alias to correct":        {indices: []Index{{Name: static, Aliases: []string{"static-acme.tracardi-bridge"}}}, statics: map[string][]string{new: nil}, doomed: 1, correct: 1},
		"a static alias that leads on":     {indices: []Index{{Name: static, Aliases: []string{"static-acme.tracardi-bridge"}}}, statics: map[string][]string{new: {"static-acme.tracardi-bridge"}}, doomed: 1},
		"not registered":                   {stranger: true},
		"purged":                           {purged: true},
		"not registered, and in use":       {stranger: true, indices: []Index{{Name: old, Aliases: []string{"acme.tracardi-rule"}}}, refused: []string{"alias_in_use acme"}},
		"others are asked for":             {only: []string{"globex"}, refused: []string{"tenant_unknown globex"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			release, err := catalogue.Get("0.8.1")
			require.NoError(t, err)
			if one.indices == nil {
				one.indices = []Index{{Name: old, UUID: "u"}}
			}
			v := &view{catalogue: catalogue, release: release, land: settle(release, nil, one.indices, nil), statics: one.statics, claims: one.claims, entries: map[string]*tenants.Tenant{}}
			acme := &tenants.Tenant{ID: "acme", Release: "0.8.2"}
			if one.release != "" {
				acme.Release = one.release
			}
			if one.purged {
				acme.PurgedAt = time.Now()
			}
			if !one.stranger && !one.purged {
				v.entries["acme"] = acme
			}
			p := v.judge(tenants.DefaultCluster, one.only)
			require.Equal(t, one.refused, codes(p))
			doomed, correct := 0, 0
			for _, part := range p.Tenants {
				doomed += len(part.Indices)
				correct += len(part.Corrections)
			}
			require.Equal(t, one.doomed, doomed)
			require.Equal(t, one.correct, correct)
			require.Equal(t, doomed > 0, p.Digest != "")
			if one.stranger || one.purged {
				require.Equal(t, []string{"acme"}, p.LeftAlone)
			}
		})
	}
}

// Every exact name is in the digest, and nothing else.
func TestDigest(t *testing.T) {
	t.Parallel()
	make := func(change func(*Plan)) string {
		p := &Plan{Prefix: "08x", Tenants: []Part{{
			Tenant: "acme", Indices: []Doomed{{"a", "1"}, {"b", "2"}}, Templates: []string{"t"}, Corrections: []Correction{{"x", "y"}},
		}}}
		change(p)
		p.seal()
		return p.Digest
	}
	base := make(func(*Plan) {})
	require.Len(t, base, digestLength)
	for name, one := range map[string]struct {
		change func(*Plan)
		same   bool
	}{
		"other uuid":       {change: func(p *Plan) { p.Tenants[0].Indices[1].UUID = "3" }},
		"one index less":   {change: func(p *Plan) { p.Tenants[0].Indices = p.Tenants[0].Indices[:1] }},
		"one template":     {change: func(p *Plan) { p.Tenants[0].Templates = nil }},
		"one alias":        {change: func(p *Plan) { p.Tenants[0].Corrections = nil }},
		"other version":    {change: func(p *Plan) { p.Prefix = "080" }},
		"more documents":   {change: func(p *Plan) { p.Tenants[0].Docs = 7 }, same: true},
		"another snapshot": {change: func(p *Plan) { p.Tenants[0].Snapshot = "s" }, same: true},
	} {
		require.Equal(t, one.same, make(one.change) == base, name)
	}
}

// "acme" never matches "acme2", and a tenant may be named like a prefix.
func TestSettle(t *testing.T) {
	t.Parallel()
	l := settle(&releases.Release{Prefix: "08x"}, nil, []Index{{Name: "08x.acme.a"}, {Name: "prod-08x.acme2.a"}, {Name: "08x.08x.a-2023-1"}, {Name: "08x.odd"}}, []upgrader.Template{
		{Name: "template.08x.acme.a"}, {Name: "prod-template.08x.acme.a"}, {Name: "template.080.acme.a"},
		{Name: "template.08x.acme.tms-frozen-08x"}, {Name: "template.08x.acme.tracardi-event"},
	})
	require.Len(t, l, 3)
	require.Equal(t, []string{"prod-template.08x.acme.a", "template.08x.acme.a", "template.08x.acme.tracardi-event", "template.08x.acme.tms-frozen-08x"}, l["acme"].templates,
		"what keeps the version closed goes last")
	require.Len(t, l["acme"].indices, 1)
	require.Len(t, l["08x"].indices, 1)
	// Up to 0.7.4 names of templates carry no version, and an adopted
	// installation has its code name there.
	l = settle(&releases.Release{Prefix: "074", PlainTemplates: true}, []naming.Tenant{{ID: "acme", AdoptedFrom: "074.code"}},
		[]Index{{Name: "074.code.a-2023-1"}}, []upgrader.Template{
			{Name: "template.code.a", Patterns: []string{"074.code.a-*-*"}}, {Name: "template.code.b", Patterns: []string{"073.code.b-*-*"}},
			{Name: "template.code.tms-frozen-074", Patterns: []string{"074.code.a-*-*", "074.code.c-*-*"}}, {Name: "template.code.tms-frozen-073", Patterns: []string{"073.code.b-*-*"}},
		})
	require.Len(t, l, 1)
	require.Equal(t, []string{"template.code.a", "template.code.tms-frozen-074"}, l["acme"].templates)
	require.Len(t, l["acme"].indices, 1)
	require.Equal(t, []string{"08x.acme.*", "prod-08x.acme.*", "static-08x.acme.*"}, patterns("08x", "acme", allModes...))
	require.Equal(t, []string{"08x.*"}, patterns("08x", "", naming.Staging))
}

func TestPauses(t *testing.T) {
	t.Parallel()
	require.Equal(t, 2*time.Second, failurePause(0))
	require.Equal(t, 4*time.Second, failurePause(2))
	require.Equal(t, maxFailurePause, failurePause(30))
	require.GreaterOrEqual(t, turnLease, standardPause, "after the death of a worker")
	require.Less(t, standardTurn, 500, "cluster.indices.tombstones.size")
}
