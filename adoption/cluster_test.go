package adoption_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/adoption"
	"github.com/tracardi/tms/elastic"
	"github.com/tracardi/tms/internal/devstack/devtest"
	"github.com/tracardi/tms/internal/fleet"
	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
)

func TestMain(m *testing.M) { os.Exit(devtest.Main(m)) }

// registry is in memory: what Postgres adds is tested with the service.
type registry struct {
	mu  sync.Mutex
	all map[string]*tenants.Tenant
}

func (r *registry) AllTenants(context.Context) ([]*tenants.Tenant, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*tenants.Tenant
	for _, t := range r.all {
		out = append(out, t.Clone())
	}
	return out, nil
}

func (r *registry) Create(_ context.Context, _ tenants.Caller, q tenants.CreateRequest) (*tenants.Tenant, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all[q.Tenant.ID] != nil {
		return nil, tenants.ExistsError(q.Tenant.ID)
	}
	if !q.ValidateOnly {
		r.all[q.Tenant.ID] = q.Tenant.Clone()
	}
	return q.Tenant, nil
}

// Fleet implements adoption.Rollouts: nothing is on its way.
func (r *registry) Fleet(context.Context, []string) ([]upgrader.FleetTenant, error) { return nil, nil }

// resources are one of every kind.
var resources = []string{"event", "rule", "bridge"}

// place is a cluster with tenants in it, and who looks at it.
type place struct {
	*testing.T
	engine   *elastic.Client
	registry *registry
	service  *adoption.Service
}

func newPlace(t *testing.T) *place {
	t.Helper()
	engine, err := elastic.New(t.Context(), elastic.Config{URLs: []string{devtest.Engine(t)}})
	require.NoError(t, err)
	t.Cleanup(engine.Close)
	builtin, err := releases.Builtin()
	require.NoError(t, err)
	r := &registry{all: map[string]*tenants.Tenant{}}
	return &place{T: t, engine: engine, registry: r, service: adoption.NewService(adoption.Config{
		Engine: engine, Registry: r, Rollouts: r, Catalogue: builtin.Restrict(resources...),
	})}
}

// tenant installs one with documents and returns its id.
func (p *place) tenant(ctx context.Context, release string) string {
	p.Helper()
	builtin, err := releases.Builtin()
	require.NoError(p, err)
	one, err := fleet.New(fleet.Config{URL: devtest.Engine(p), Catalogue: builtin, Release: release, Tenant: devtest.Prefix(p), Seed: 1, Only: resources})
	require.NoError(p, err)
	require.NoError(p, one.Install(ctx))
	require.NoError(p, one.Fill(ctx, 20))
	return one.Name()
}

func (p *place) found(ctx context.Context, id string) adoption.Found {
	p.Helper()
	d, err := p.service.Discover(ctx)
	require.NoError(p, err)
	for _, f := range d.Tenants {
		if f.ID == id {
			return f
		}
	}
	p.Fatalf("tenant %s is not found", id)
	return adoption.Found{}
}

// drift of one tenant: other tests use the same engine.
func (p *place) drift(ctx context.Context, id string) []adoption.Code {
	p.Helper()
	r, err := p.service.Drift(ctx)
	require.NoError(p, err)
	var out []adoption.Code
	for _, f := range r.Findings {
		if f.Tenant == id {
			out = append(out, f.Code)
		}
	}
	return out
}

func TestAdoptionOfAClusterInUse(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	p := newPlace(t)
	id := p.tenant(ctx, "0.8.1")
	require.NoError(t, p.engine.Refresh(ctx, "08x."+id+".*", "prod-08x."+id+".*", "static-08x."+id+".*"))

	f := p.found(ctx, id)
	require.Nil(t, f.Entry)
	require.NotNil(t, f.Force.Release, f.Force.Why)
	require.Equal(t, "0.8.1", f.Force.Release.Version)
	require.Equal(t, []string{"staging", "production", "static"}, f.Modes)
	require.Empty(t, f.Wrecks)
	require.Equal(t, 5, f.Total.Indices)
	require.GreaterOrEqual(t, f.Total.Docs, int64(20))
	require.Positive(t, f.Total.Bytes)
	require.Len(t, f.Versions, 1)
	require.Equal(t, 5, f.Versions[0].Aliased)
	require.Equal(t, []adoption.Code{adoption.CodeTenantUnknown}, p.drift(ctx, id))

	dry, err := p.service.Import(ctx, tenants.Caller{}, adoption.ImportRequest{Tenants: []string{id}, ValidateOnly: true})
	require.NoError(t, err)
	require.Equal(t, []adoption.Imported{{ID: id, Release: "0.8.1"}}, dry)
	require.Empty(t, p.registry.all)
	for _, already := range []bool{false, true} {
		done, err := p.service.Import(ctx, tenants.Caller{}, adoption.ImportRequest{Tenants: []string{id, "nosuchtenant"}})
		require.NoError(t, err)
		require.Len(t, done, 2)
		require.Equal(t, "nosuchtenant", done[0].ID)
		require.NotEmpty(t, done[0].Refused)
		require.Equal(t, adoption.Imported{ID: id, Release: "0.8.1", Already: already}, done[1])
	}
	require.Empty(t, p.drift(ctx, id))

	p.wreck(ctx, id)
}

// wreck harms an adopted tenant and looks whether all of it is seen.
func (p *place) wreck(ctx context.Context, id string) {
	p.Helper()
	wreck := "0820." + id + ".tracardi-rule"
	require.NoError(p, p.engine.CreateIndex(ctx, wreck, upgrader.IndexBody{}))
	_, err := p.engine.BlockWrites(ctx, "prod-08x."+id+".tracardi-rule")
	require.NoError(p, err)
	require.NoError(p, p.engine.UpdateAliases(ctx, []upgrader.AliasAction{{Remove: true, Index: "08x." + id + ".tracardi-rule", Alias: id + ".tracardi-rule"}}))
	require.NoError(p, p.engine.DeleteTemplate(ctx, "template.08x."+id+".tracardi-event"))
	require.ElementsMatch(p, []adoption.Code{
		adoption.CodeIndexWreck, adoption.CodeWriteBlocked, adoption.CodeIndexHidden, adoption.CodeAliasMissing, adoption.CodeTemplateMissing,
	}, p.drift(ctx, id))

	sheet, err := p.service.Show(ctx, id)
	require.NoError(p, err)
	require.Len(p, sheet.Findings, 5)
	require.Len(p, sheet.Found.Wrecks, 1)
	require.Equal(p, wreck, sheet.Found.Wrecks[0].Name)
	require.True(p, strings.HasPrefix(sheet.Found.Wrecks[0].Fault, "made by a write"), sheet.Found.Wrecks[0].Fault)
	require.Len(p, sheet.Rows, 5)
	seen := map[string]string{}
	for _, r := range sheet.Rows {
		seen[r.Resource+" "+r.Mode] = fmt.Sprint(len(r.Indices), len(r.Leads), " ", r.Template)
	}
	require.Equal(p, map[string]string{
		"event staging": "1 1 missing", "event production": "1 1 present", "rule staging": "1 0 ", "rule production": "1 1 ", "bridge static": "1 1 ",
	}, seen)

	require.NoError(p, p.engine.UpdateAliases(ctx, []upgrader.AliasAction{{Index: wreck, Alias: id + ".tracardi-rule"}}))
	require.Contains(p, p.drift(ctx, id), adoption.CodeTwoVersions)
	delete(p.registry.all, id)
	refused, err := p.service.Import(ctx, tenants.Caller{}, adoption.ImportRequest{Tenants: []string{id}})
	require.NoError(p, err)
	require.Contains(p, refused[0].Refused, "0.8.1 and 0.8.2")
	require.Empty(p, p.registry.all)
}

func TestShowOfNobody(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	_, err := p.service.Show(t.Context(), "nosuchtenant")
	require.True(t, tenants.HasReason(err, tenants.ReasonTenantNotFound), err)
	_, err = p.service.Show(t.Context(), "no*body")
	require.True(t, tenants.HasReason(err, tenants.ReasonInvalidField), err)
}
