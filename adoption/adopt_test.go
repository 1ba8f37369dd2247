package adoption_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/adoption"
	"github.com/tracardi/tms/internal/devstack/devtest"
	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/tenants"
)

// A single-tenant installation is found under its code name, becomes a tenant,
// and is as it should be from then on.
func TestAdopt(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	p := newPlace(t)
	builtin, err := releases.Builtin()
	require.NoError(t, err)
	id := devtest.Prefix(t)
	code := id + "_x"
	one, err := fleet.New(fleet.Config{URL: devtest.Engine(t), Catalogue: builtin, Release: "0.7.4", Tenant: id, CodeName: code, Seed: 1, Only: resources})
	require.NoError(t, err)
	require.NoError(t, one.Install(ctx))

	dry := adoption.AdoptRequest{CodeName: code, ID: id, ValidateOnly: true}
	got, err := p.service.Adopt(ctx, tenants.Caller{}, dry)
	require.NoError(t, err)
	require.Equal(t, adoption.Imported{ID: id, Release: "0.7.4"}, got)
	require.Empty(t, p.registry.all)
	for _, already := range []bool{false, true} {
		got, err = p.service.Adopt(ctx, tenants.Caller{}, adoption.AdoptRequest{CodeName: code, ID: id})
		require.NoError(t, err)
		require.Equal(t, adoption.Imported{ID: id, Release: "0.7.4", Already: already}, got)
	}
	require.Equal(t, "074."+code, p.registry.all[id].AdoptedFrom)

	require.Empty(t, p.drift(ctx, id))
	require.Empty(t, p.drift(ctx, code))
	f := p.found(ctx, id)
	require.Equal(t, "0.7.4", f.Force.Release.Version)
	require.Equal(t, []string{"staging"}, f.Modes)
	sheet, err := p.service.Show(ctx, id)
	require.NoError(t, err)
	require.Empty(t, sheet.Findings)
	require.NotEmpty(t, sheet.Rows)
	for _, r := range sheet.Rows {
		require.Equal(t, "staging", r.Mode)
		require.Equal(t, code, r.Indices[0].Tenant)
		require.Len(t, r.Leads, 1, r.Alias)
		if r.Resource == "event" {
			require.Equal(t, "present", r.Template)
		}
	}
	require.NoError(t, p.engine.DeleteTemplate(ctx, "template."+code+".tracardi-event"))
	require.Equal(t, []adoption.Code{adoption.CodeTemplateMissing}, p.drift(ctx, id))

	_, err = p.registry.Create(ctx, tenants.Caller{}, tenants.CreateRequest{Tenant: &tenants.Tenant{ID: "registered"}})
	require.NoError(t, err)
	for name, r := range map[string]adoption.AdoptRequest{
		"nothing there":             {CodeName: "nosuchcode", ID: "someone"},
		"another has it":            {CodeName: "registered", ID: "someone"},
		"the id belongs to another": {CodeName: code, ID: "registered"},
	} {
		got, err := p.service.Adopt(ctx, tenants.Caller{}, r)
		require.NoError(t, err, name)
		require.NotEmpty(t, got.Refused, name)
	}
	for field, r := range map[string]adoption.AdoptRequest{
		"adopt_as":  {CodeName: code, ID: "No"},
		"code_name": {CodeName: "a*", ID: id},
	} {
		_, err := p.service.Adopt(ctx, tenants.Caller{}, r)
		require.ErrorContains(t, err, field)
	}
	for _, reserved := range []string{"08x", "tms", "template"} {
		_, err := p.service.Adopt(ctx, tenants.Caller{}, adoption.AdoptRequest{CodeName: reserved, ID: id})
		require.ErrorContains(t, err, "names of others", reserved)
	}
}
