package cleanup

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/tenants"
)

// named are clusters without engines.
type named []string

func (n named) Names(context.Context) ([]string, error)        { return n, nil }
func (n named) Engine(context.Context, string) (Engine, error) { return nil, nil }
func (n named) AllTenants(context.Context) ([]*tenants.Tenant, error) {
	gone := time.Now()
	return []*tenants.Tenant{{ID: "acme", Cluster: "default"}, {ID: "beta", Cluster: "eu"}, {ID: "gamma", Cluster: "eu"}, {ID: "gone", Cluster: "eu", PurgedAt: gone}}, nil
}

// A cleanup is of one cluster, and nobody has to guess which.
func TestWhereTo(t *testing.T) {
	t.Parallel()
	several, one := named{"default", "eu"}, named{"default"}
	for name, c := range map[string]struct {
		clusters named
		ask      Request
		want     string
		why      string
	}{
		"there is one":                   {one, Request{}, "default", ""},
		"there are several":              {several, Request{}, "", "name one of default, eu"},
		"it is named":                    {several, Request{Cluster: "eu"}, "eu", ""},
		"it is unknown":                  {several, Request{Cluster: "us"}, "", `"us" is not registered`},
		"that of the tenants":            {several, Request{Tenants: []string{"beta", "gamma"}}, "eu", ""},
		"tenants of several":             {several, Request{Tenants: []string{"acme", "gamma"}}, "", "the tenants live in several: default, eu"},
		"tenants that nobody knows":      {several, Request{Tenants: []string{"nobody"}}, "", "name one of"},
		"a purged one does not say":      {several, Request{Tenants: []string{"gone"}}, "", "name one of"},
		"the cluster before the tenants": {several, Request{Cluster: "eu", Tenants: []string{"acme"}}, "eu", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := NewService(Config{Clusters: c.clusters, Registry: c.clusters}).whereTo(t.Context(), c.ask)
			require.Equal(t, c.want, got)
			if c.why == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.why)
		})
	}
}
