package adoption

import (
	"context"
	"errors"
	"path"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
)

// paperEngine holds what installers have made.
type paperEngine struct {
	catalogue *releases.Catalogue
	held      []*Holding
}

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { ok, _ := path.Match(p, name); return ok })
}

func (e paperEngine) Indices(_ context.Context, patterns ...string) ([]upgrader.Index, error) {
	var out []upgrader.Index
	for _, h := range e.held {
		for _, ix := range h.Indices {
			r, err := e.catalogue.Get(ix.Version)
			if err != nil {
				return nil, err
			}
			i := slices.IndexFunc(r.Resources, func(res releases.Resource) bool { return res.Base == ix.Base })
			if matches(patterns, ix.Name) {
				out = append(out, upgrader.Index{Name: ix.Name, Aliases: ix.Aliases, Mapping: r.Resources[i].Mapping})
			}
		}
	}
	return out, nil
}

func (e paperEngine) Stats(_ context.Context, patterns ...string) (map[string]upgrader.IndexStats, error) {
	out := map[string]upgrader.IndexStats{}
	for _, h := range e.held {
		for _, ix := range h.Indices {
			if matches(patterns, ix.Name) {
				out[ix.Name] = upgrader.IndexStats{Docs: ix.Docs, Bytes: ix.Bytes, Primaries: 1}
			}
		}
	}
	return out, nil
}

func (e paperEngine) Aliases(_ context.Context, patterns ...string) (map[string][]string, error) {
	out := map[string][]string{}
	for _, h := range e.held {
		for alias, on := range h.Aliases {
			if matches(patterns, alias) {
				out[alias] = on
			}
		}
	}
	return out, nil
}

func (paperEngine) Templates(context.Context, string) ([]upgrader.Template, error) { return nil, nil }

// silence is a cluster that is down.
type silence struct{ Engine }

var errDown = errors.New("connection refused")

func (silence) Stats(context.Context, ...string) (map[string]upgrader.IndexStats, error) {
	return nil, errDown
}

func (silence) Indices(context.Context, ...string) ([]upgrader.Index, error) { return nil, errDown }

// paper are named clusters, and a registry.
type paper struct {
	engines map[string]Engine
	known   []*tenants.Tenant
}

func (p *paper) Names(context.Context) ([]string, error) {
	return append([]string{tenants.DefaultCluster}, slices.DeleteFunc(sortedKeys(p.engines), func(n string) bool { return n == tenants.DefaultCluster })...), nil
}
func (p *paper) Engine(_ context.Context, name string) (Engine, error) { return p.engines[name], nil }
func (p *paper) AllTenants(context.Context) ([]*tenants.Tenant, error) { return p.known, nil }
func (p *paper) Create(_ context.Context, _ tenants.Caller, r tenants.CreateRequest) (*tenants.Tenant, error) {
	p.known = append(p.known, r.Tenant)
	return r.Tenant, nil
}
func (p *paper) Fleet(context.Context, []string) ([]upgrader.FleetTenant, error) { return nil, nil }

// Each tenant is compared with its own cluster, once; a cluster that is down,
// or that nobody knows, is said and hides nothing else.
func TestFleetOfSeveralClusters(t *testing.T) {
	t.Parallel()
	c := catalogue(t)
	holding := func(ids ...string) paperEngine {
		e := paperEngine{catalogue: c}
		for _, id := range ids {
			h := &Holding{Tenant: id}
			install(t, h, "0.8.1", true)
			e.held = append(e.held, h)
		}
		return e
	}
	at := func(id, cluster string) *tenants.Tenant {
		return &tenants.Tenant{ID: id, Release: "0.8.1", Cluster: cluster, CreatedAt: time.Now()}
	}
	p := &paper{
		engines: map[string]Engine{"default": holding("acme", "twice"), "eu": holding("beta", "gamma", "twice"), "us": silence{}},
		known:   []*tenants.Tenant{at("acme", "default"), at("beta", "eu"), at("far", "us"), at("lost", "nowhere"), at("wrong", "eu")},
	}
	fleet := NewFleet(Config{Registry: p, Rollouts: p, Catalogue: c}, p)

	d, err := fleet.Discover(t.Context())
	require.NoError(t, err)
	var found []string
	for _, one := range d.Tenants {
		found = append(found, one.ID+"@"+one.Cluster)
	}
	require.Equal(t, []string{"acme@default", "beta@eu", "gamma@eu", "twice@default", "twice@eu"}, found)
	require.Len(t, d.Unseen, 1)
	require.Contains(t, d.Unseen[0], "cluster us: ")

	report, err := fleet.Drift(t.Context())
	require.NoError(t, err)
	codes := map[string][]Code{}
	for _, f := range report.Findings {
		if f.Code != CodeTemplateMissing {
			codes[f.Tenant] = append(codes[f.Tenant], f.Code)
		}
	}
	require.Equal(t, map[string][]Code{
		"":      {CodeClusterUnavailable},
		"gamma": {CodeTenantUnknown}, "twice": {CodeTenantUnknown, CodeTenantUnknown},
		"lost": {CodeClusterUnknown}, "wrong": {CodeTenantWithoutIndices},
	}, codes)
	require.Equal(t, 7, report.Compared, "acme, beta, wrong, lost, gamma, and twice twice; far was not seen")

	imported, err := fleet.Import(t.Context(), tenants.Caller{}, ImportRequest{Tenants: []string{"gamma", "twice", "acme", "nobody"}})
	require.NoError(t, err)
	outcomes := map[string]Imported{}
	for _, one := range imported {
		outcomes[one.ID] = one
	}
	require.True(t, outcomes["acme"].Already)
	require.Empty(t, outcomes["gamma"].Refused)
	require.Equal(t, "eu", p.known[len(p.known)-1].Cluster)
	require.Contains(t, outcomes["twice"].Refused, "default and eu")
	require.Contains(t, outcomes["nobody"].Refused, "not every cluster was seen: cluster us: ")

	sheet, err := fleet.Show(t.Context(), "beta")
	require.NoError(t, err)
	require.NotNil(t, sheet.Found)
	_, err = fleet.Show(t.Context(), "far")
	require.ErrorIs(t, err, errDown)
	_, err = fleet.Show(t.Context(), "nobody")
	require.ErrorIs(t, err, errDown, "it may live in the cluster that is down")
}
