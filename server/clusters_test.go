package server_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/tracardi/tms/clusters"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/capacity"
)

// paperEngines are clusters whose identity is the first label of their host:
// http://eu-1:9200 and http://eu-2:9200 are the same. "down" does not answer.
type paperEngines struct{}

func (paperEngines) Reach(context.Context, string) (clusters.Engine, error) {
	return paperEngine{host: "home"}, nil
}

func (paperEngines) Try(_ context.Context, c *clusters.Cluster) (clusters.Engine, func(), error) {
	u, err := url.Parse(c.URLs[0])
	if err != nil {
		return nil, nil, err
	}
	return paperEngine{host: u.Hostname(), password: c.Secret}, func() {}, nil
}

type paperEngine struct{ host, password string }

func (e paperEngine) Info(context.Context) (upgrader.EngineInfo, error) {
	if e.host == "down" || e.password == "wrong" {
		return upgrader.EngineInfo{}, errors.New("connection refused")
	}
	return upgrader.EngineInfo{Product: "elasticsearch", Version: "8.15.0", ClusterUUID: "uuid-" + e.host[:2], ClusterName: e.host[:2]}, nil
}

func (e paperEngine) Shards(context.Context) (capacity.Shards, error) {
	return capacity.Shards{Open: 100, MaxPerNode: 1000, DataNodes: 3, SettingsFrom: "default"}, nil
}

func (e paperEngine) Stats(context.Context, ...string) (map[string]upgrader.IndexStats, error) {
	return nil, nil
}

func (e paperEngine) Disk(context.Context) (capacity.Disk, error) {
	return capacity.Disk{}, nil
}

// paperPlaces hold something of a tenant that is called occupant.
type paperPlaces struct{ *clusters.Service }

func (p paperPlaces) Cluster(ctx context.Context, name string) (tenants.Cluster, error) {
	if name != tenants.DefaultCluster {
		if _, err := p.Get(ctx, name); err != nil {
			return nil, err
		}
	}
	return &occupied{}, nil
}

type occupied struct{ emptyCluster }

func (occupied) Indices(_ context.Context, patterns ...string) ([]string, error) {
	if slices.Contains(patterns, "08x.occupant.*") {
		return []string{"08x.occupant.tracardi-event-2024-1"}, nil
	}
	return nil, nil
}

// The registry may be corrected, and a tenant is never moved; without a choice
// a new one goes where most room is.
func TestClusterOfTenants(t *testing.T) {
	t.Parallel()
	b := setup(t)
	api := tmsv1.NewClusterServiceClient(b.conn)
	require.Equal(t, "default", b.create("first").GetCluster())
	_, err := api.Add(b.admin(), &tmsv1.AddClusterRequest{Cluster: &tmsv1.Cluster{Name: "eu", Urls: []string{"http://eu-1:9200"}}})
	require.NoError(t, err)
	require.Equal(t, "eu", b.create("second").GetCluster(), "the emptier one of two alike")
	require.Equal(t, "default", b.create("third").GetCluster())
	b.create("occupant")
	move := func(id, to string) error {
		_, err := b.tenants.Update(b.admin(), &tmsv1.UpdateTenantRequest{
			Tenant: &tmsv1.Tenant{Id: id, Cluster: to, Etag: tenants.AnyEtag}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"cluster"}},
		})
		return err
	}
	require.NoError(t, move("first", "eu"), "nothing is there yet")
	refused(t, move("first", "nowhere"), codes.NotFound, "CLUSTER_NOT_FOUND")
	_, err = b.tenants.Update(b.admin(), &tmsv1.UpdateTenantRequest{
		Tenant: &tmsv1.Tenant{Id: "first", Cluster: "eu", Etag: tenants.AnyEtag}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"cluster"}},
	})
	require.NoError(t, err, "no change")
	occupant, err := b.tenants.Get(b.admin(), &tmsv1.GetTenantRequest{Id: "occupant"})
	require.NoError(t, err)
	other := map[string]string{"default": "eu", "eu": "default"}[occupant.GetCluster()]
	err = move("occupant", other)
	refused(t, err, codes.FailedPrecondition, "TENANT_NOT_MOVED")
	require.ErrorContains(t, err, "TMS does not move tenants between clusters")
}

// A cluster is named after it has answered, is never shown with its secret,
// and stays while a tenant lives there.
func TestClusters(t *testing.T) {
	t.Parallel()
	b := setup(t)
	api := tmsv1.NewClusterServiceClient(b.conn)
	add := func(name, url, password string) (*tmsv1.Cluster, error) {
		return api.Add(b.admin(), &tmsv1.AddClusterRequest{Cluster: &tmsv1.Cluster{Name: name, Urls: []string{url}, Username: "tms"}, Password: password})
	}
	eu, err := add("eu", "https://eu-1:9200/", "hidden-password")
	require.NoError(t, err)
	require.Equal(t, []string{"https://eu-1:9200"}, eu.GetUrls())
	require.Equal(t, "uuid-eu", eu.GetClusterUuid())
	require.Equal(t, "password", eu.GetAuth())
	for name, c := range map[string]struct {
		name, url, password string
		code                codes.Code
		reason              string
	}{
		"the name is taken":        {"eu", "https://us-1:9200", "x", codes.AlreadyExists, "CLUSTER_EXISTS"},
		"the cluster has a name":   {"eu2", "https://eu-2:9200", "x", codes.AlreadyExists, "CLUSTER_EXISTS"},
		"it is the default one":    {"other", "https://ho-2:9200", "x", codes.AlreadyExists, "CLUSTER_EXISTS"},
		"it does not answer":       {"us", "https://down:9200", "x", codes.FailedPrecondition, "CLUSTER_UNREACHABLE"},
		"the password is wrong":    {"us", "https://us-1:9200", "wrong", codes.FailedPrecondition, "CLUSTER_UNREACHABLE"},
		"credentials in the url":   {"us", "https://tms:hidden-password@us-1:9200", "x", codes.InvalidArgument, "INVALID_FIELD"},
		"no password":              {"us", "https://us-1:9200", "", codes.InvalidArgument, "INVALID_FIELD"},
		"the name is no name":      {"Us", "https://us-1:9200", "x", codes.InvalidArgument, "INVALID_FIELD"},
		"the name is the settings": {"default", "https://us-1:9200", "x", codes.InvalidArgument, "INVALID_FIELD"},
	} {
		_, err := add(c.name, c.url, c.password)
		t.Log(name)
		refused(t, err, c.code, c.reason)
		require.NotContains(t, err.Error(), "hidden-password")
	}
	list := b.http("GET", "/v1/clusters", adminKey, "")
	require.Equal(t, 200, list.code, list.body)
	require.NotContains(t, list.body, "hidden-password")
	require.Contains(t, list.body, `"default"`)

	tenant, err := b.tenants.Create(b.admin(), &tmsv1.CreateTenantRequest{Tenant: &tmsv1.Tenant{Id: "acme", Release: "0.8.1", Cluster: "eu"}})
	require.NoError(t, err)
	require.Equal(t, "eu", tenant.GetCluster())
	_, err = b.tenants.Create(b.admin(), &tmsv1.CreateTenantRequest{Tenant: &tmsv1.Tenant{Id: "beta", Release: "0.8.1", Cluster: "nowhere"}})
	refused(t, err, codes.NotFound, "CLUSTER_NOT_FOUND")

	_, err = api.Remove(b.admin(), &tmsv1.RemoveClusterRequest{Name: "eu"})
	refused(t, err, codes.FailedPrecondition, "CLUSTER_IN_USE")
	require.ErrorContains(t, err, "1 tenants live there")
	update := func(url string) error {
		_, err := api.Update(b.admin(), &tmsv1.UpdateClusterRequest{
			Cluster: &tmsv1.Cluster{Name: "eu", Urls: []string{url}, Etag: tenants.AnyEtag}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"urls"}},
		})
		return err
	}
	refused(t, update("https://us-1:9200"), codes.FailedPrecondition, "CLUSTER_DIFFERS")
	require.NoError(t, update("https://eu-2:9200"))
	_, err = api.Update(b.admin(), &tmsv1.UpdateClusterRequest{
		Cluster: &tmsv1.Cluster{Name: "eu", Etag: eu.GetEtag()}, Password: "other", UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"password"}},
	})
	refused(t, err, codes.Aborted, "ETAG_MISMATCH")

	capacity, err := api.Capacity(b.admin(), &tmsv1.GetCapacityRequest{})
	require.NoError(t, err)
	require.Len(t, capacity.GetClusters(), 2)
	require.Equal(t, int64(1), capacity.GetClusters()[1].GetPending())
	_, err = api.Capacity(b.admin(), &tmsv1.GetCapacityRequest{Clusters: []string{"nowhere"}})
	refused(t, err, codes.NotFound, "CLUSTER_NOT_FOUND")

	verified, err := api.Verify(b.admin(), &tmsv1.VerifyClusterRequest{Name: "eu"})
	require.NoError(t, err)
	require.Empty(t, verified.GetProblem())
	us, err := add("us", "https://us-1:9200", "x")
	require.NoError(t, err)
	require.NotEqual(t, eu.GetEtag(), us.GetEtag())
	_, err = api.Remove(b.admin(), &tmsv1.RemoveClusterRequest{Name: "us"})
	require.NoError(t, err)
	_, err = api.Get(b.admin(), &tmsv1.GetClusterRequest{Name: "us"})
	refused(t, err, codes.NotFound, "CLUSTER_NOT_FOUND")
	require.NotContains(t, b.log.String(), "hidden-password")
}
