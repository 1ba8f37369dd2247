package server

import (
	"context"
	"time"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/tenants"
)

type keyService struct{ keys Keys }

func (s *keyService) Create(ctx context.Context, r *tmsv1.CreateApiKeyRequest) (*tmsv1.ApiKeySecret, error) {
	k, secret, err := s.keys.Create(ctx, callerOf(ctx), tenants.KeyRequest{
		Name: r.GetDisplayName(), Role: tenants.Role(r.GetRole()), TTL: r.GetTtl().AsDuration(), Tenants: r.GetTenants(),
	})
	if err != nil {
		return nil, err
	}
	return &tmsv1.ApiKeySecret{ApiKey: keyToProto(k), Secret: secret}, nil
}

func (s *keyService) List(ctx context.Context, r *tmsv1.ListApiKeysRequest) (*tmsv1.ListApiKeysResponse, error) {
	ks, next, err := s.keys.List(ctx, pageSize(r.GetPageSize(), defaultPageSize), r.GetPageToken())
	if err != nil {
		return nil, err
	}
	out := &tmsv1.ListApiKeysResponse{NextPageToken: next}
	for _, k := range ks {
		out.ApiKeys = append(out.ApiKeys, keyToProto(k))
	}
	return out, nil
}

func (s *keyService) Rotate(ctx context.Context, r *tmsv1.RotateApiKeyRequest) (*tmsv1.ApiKeySecret, error) {
	overlap := tenants.DefaultOverlap
	if r.GetOverlap() != nil {
		overlap = r.GetOverlap().AsDuration()
	}
	k, secret, err := s.keys.Rotate(ctx, callerOf(ctx), r.GetId(), overlap)
	if err != nil {
		return nil, err
	}
	return &tmsv1.ApiKeySecret{ApiKey: keyToProto(k), Secret: secret}, nil
}

func (s *keyService) Revoke(ctx context.Context, r *tmsv1.RevokeApiKeyRequest) (*tmsv1.ApiKey, error) {
	k, err := s.keys.Revoke(ctx, callerOf(ctx), r.GetId())
	if err != nil {
		return nil, err
	}
	return keyToProto(k), nil
}

func keyToProto(k *tenants.APIKey) *tmsv1.ApiKey {
	return &tmsv1.ApiKey{
		Id: k.ID, DisplayName: k.DisplayName, Role: string(k.Role), State: k.StateAt(time.Now()),
		CreateTime: stamp(k.CreatedAt), ExpireTime: stamp(k.ExpiresAt), RevokeTime: stamp(k.RevokedAt), LastUseTime: stamp(k.LastUsedAt),
		SuccessorId: k.SuccessorID, CreatedBy: k.CreatedBy, Tenants: k.Tenants,
	}
}
