package adoption

import (
	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader/naming"
)

// sheet puts the two sides of one tenant together.
func sheet(c Catalogue, cluster string, h *Holding, e *Entry) *Sheet {
	out := &Sheet{ID: h.Tenant, Entry: e}
	var shown *releases.Release
	if e != nil {
		if r, err := c.Get(e.Release); err == nil {
			shown = r
		}
	}
	if len(h.Indices) > 0 {
		f := found(c, h, e)
		out.Found = &f
		if f.Force.Release != nil {
			shown = f.Force.Release
		}
	}
	if e == nil || e.Rollout == "" {
		out.Findings = judge(c, cluster, e, h)
	}
	if shown == nil || out.Found == nil {
		return out
	}
	for _, res := range shown.Resources {
		for _, m := range naming.ModesOf(res) {
			out.Rows = append(out.Rows, row(shown, h, res, m))
		}
	}
	return out
}

func row(r *releases.Release, h *Holding, res releases.Resource, m naming.Mode) Row {
	n := naming.IndexName{Mode: m, Prefix: r.Prefix, Tenant: h.naming().In(r.Prefix), Base: res.Base}
	out := Row{Resource: res.Key, Mode: modeName(m), Alias: n.Alias(), Leads: h.Aliases[n.Alias()]}
	for _, ix := range h.of(r.Prefix) {
		if ix.Mode == m && ix.Base == res.Base {
			out.Indices = append(out.Indices, ix)
		}
	}
	if res.Partitioning == releases.Unpartitioned {
		return out
	}
	switch t, ok := h.template(n.TemplateIn(r)); {
	case !ok:
		out.Template = "missing"
	case !t.Aliased:
		out.Template = "without alias"
	default:
		out.Template = "present"
	}
	return out
}
