package server

import (
	"context"

	"github.com/tracardi/tms/clusters"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/tenants"
)

// Clusters names search clusters and tells how full they are,
// *clusters.Service.
type Clusters interface {
	Add(ctx context.Context, caller tenants.Caller, c *clusters.Cluster, dry bool) (*clusters.Cluster, error)
	Get(ctx context.Context, name string) (*clusters.Cluster, error)
	List(ctx context.Context) ([]*clusters.Cluster, error)
	Update(ctx context.Context, caller tenants.Caller, u clusters.Update) (*clusters.Cluster, error)
	Remove(ctx context.Context, caller tenants.Caller, name string) error
	Verify(ctx context.Context, name string) (*clusters.Cluster, error)
	Capacity(ctx context.Context, r clusters.CapacityRequest) ([]clusters.Capacity, error)
}

type clusterService struct{ clusters Clusters }

func (s *clusterService) Add(ctx context.Context, r *tmsv1.AddClusterRequest) (*tmsv1.Cluster, error) {
	c := clusterFromProto(r.GetCluster(), r.GetPassword(), r.GetApiKey())
	return clusterAnswer(s.clusters.Add(ctx, callerOf(ctx), c, r.GetValidateOnly()))
}

func (s *clusterService) Get(ctx context.Context, r *tmsv1.GetClusterRequest) (*tmsv1.Cluster, error) {
	return clusterAnswer(s.clusters.Get(ctx, r.GetName()))
}

func (s *clusterService) List(ctx context.Context, _ *tmsv1.ListClustersRequest) (*tmsv1.ListClustersResponse, error) {
	all, err := s.clusters.List(ctx)
	if err != nil {
		return nil, err
	}
	out := &tmsv1.ListClustersResponse{}
	for _, c := range all {
		out.Clusters = append(out.Clusters, clusterToProto(c))
	}
	return out, nil
}

func (s *clusterService) Update(ctx context.Context, r *tmsv1.UpdateClusterRequest) (*tmsv1.Cluster, error) {
	return clusterAnswer(s.clusters.Update(ctx, callerOf(ctx), clusters.Update{
		Cluster: clusterFromProto(r.GetCluster(), r.GetPassword(), r.GetApiKey()),
		Etag:    r.GetCluster().GetEtag(), Mask: r.GetUpdateMask().GetPaths(),
	}))
}

func (s *clusterService) Remove(ctx context.Context, r *tmsv1.RemoveClusterRequest) (*tmsv1.RemoveClusterResponse, error) {
	return &tmsv1.RemoveClusterResponse{}, s.clusters.Remove(ctx, callerOf(ctx), r.GetName())
}

func (s *clusterService) Verify(ctx context.Context, r *tmsv1.VerifyClusterRequest) (*tmsv1.Cluster, error) {
	return clusterAnswer(s.clusters.Verify(ctx, r.GetName()))
}

func (s *clusterService) Capacity(ctx context.Context, r *tmsv1.GetCapacityRequest) (*tmsv1.GetCapacityResponse, error) {
	all, err := s.clusters.Capacity(ctx, clusters.CapacityRequest{Clusters: r.GetClusters(), Wave: int(r.GetWave())})
	if err != nil {
		return nil, err
	}
	out := &tmsv1.GetCapacityResponse{}
	for i := range all {
		out.Clusters = append(out.Clusters, capacityToProto(&all[i]))
	}
	return out, nil
}

func clusterFromProto(p *tmsv1.Cluster, password, key string) *clusters.Cluster {
	c := &clusters.Cluster{Name: p.GetName(), URLs: p.GetUrls(), Username: p.GetUsername(), Secret: password, CACert: p.GetCaCert(), Fingerprint: p.GetFingerprint()}
	if key != "" {
		c.Secret, c.APIKey = key, true
	}
	return c
}

func clusterAnswer(c *clusters.Cluster, err error) (*tmsv1.Cluster, error) {
	if err != nil {
		return nil, err
	}
	return clusterToProto(c), nil
}

// clusterToProto leaves out the secret.
func clusterToProto(c *clusters.Cluster) *tmsv1.Cluster {
	out := &tmsv1.Cluster{
		Name: c.Name, Urls: c.URLs, Username: c.Username, Auth: c.Auth(), CaCert: c.CACert, Fingerprint: c.Fingerprint,
		Product: c.Product, Version: c.Version, ClusterName: c.ClusterName, ClusterUuid: c.ClusterUUID,
		VerifyTime: stamp(c.VerifiedAt), Problem: c.Problem, Tenants: int64(c.Tenants), Builtin: c.Builtin,
		CreateTime: stamp(c.CreatedAt), UpdateTime: stamp(c.UpdatedAt), CreatedBy: c.CreatedBy,
	}
	if !c.Builtin {
		out.Etag = c.Etag()
	}
	return out
}

func capacityToProto(c *clusters.Capacity) *tmsv1.ClusterCapacity {
	return &tmsv1.ClusterCapacity{
		Cluster: c.Cluster, Problem: c.Problem, Product: c.Info.Product, Version: c.Info.Version, DataNodes: int32(c.Shards.DataNodes),
		Tenants: int64(c.Tenants), Pending: int64(c.Pending),
		ShardsOpen: int64(c.Shards.Open), ShardsLimit: int64(c.Shards.Limit()), MaxShardsPerNode: int64(c.Shards.MaxPerNode),
		DiskUsed: c.Disk.Used, DiskTotal: c.Disk.Total, DiskLimit: c.Disk.Limit, Watermark: c.Disk.Watermark,
		Need: &tmsv1.TenantNeed{
			Measured: int64(c.Measured), Shards: int64(c.Typical.Shards), LargestShards: int64(c.Largest.Shards), Bytes: c.Typical.Bytes, LargestBytes: c.Largest.Bytes,
		},
		Fits: int64(c.Fits), FitsDuringUpgrade: int64(c.FitsDuringUpgrade), Wave: int32(c.Wave), UpgradeFits: c.UpgradeFits, Bound: c.Bound, Advice: c.Advice,
	}
}
