package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/tracardi/tms/adoption"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/tenants"
)

type releaseService struct {
	catalogue Catalogue
	library   Library
	fleet     Fleet
}

func (s *releaseService) List(context.Context, *tmsv1.ListReleasesRequest) (*tmsv1.ListReleasesResponse, error) {
	out := &tmsv1.ListReleasesResponse{}
	for _, r := range s.catalogue.List() {
		out.Releases = append(out.Releases, releaseSummary(r))
	}
	return out, nil
}

func (s *releaseService) Get(_ context.Context, req *tmsv1.GetReleaseRequest) (*tmsv1.Release, error) {
	r, err := s.catalogue.Get(req.GetVersion())
	if err != nil {
		return nil, noRelease(err)
	}
	return releaseInFull(r)
}

func (s *releaseService) Export(ctx context.Context, req *tmsv1.ExportReleaseRequest) (*tmsv1.ExportReleaseResponse, error) {
	r, bundle, err := s.library.Export(ctx, req.GetVersion())
	if err != nil {
		return nil, noRelease(err)
	}
	return &tmsv1.ExportReleaseResponse{Version: r.Version, Digest: r.Digest, Bundle: bundle}, nil
}

// noRelease makes of an unknown version what callers are told.
func noRelease(err error) error {
	var unknown *releases.UnknownReleaseError
	if errors.As(err, &unknown) {
		return &tenants.Error{Code: tenants.CodeNotFound, Reason: tenants.ReasonUnknownRelease, Field: "version", Message: err.Error(), Remedy: "see `tms release list`", Err: err}
	}
	return err
}

func (s *releaseService) Save(ctx context.Context, req *tmsv1.SaveReleaseRequest) (*tmsv1.Release, error) {
	r, err := s.library.Save(ctx, req.GetBundle(), req.GetOrigin(), callerOf(ctx).KeyID)
	if err != nil {
		return nil, err
	}
	return releaseSummary(r), nil
}

func (s *releaseService) Capture(ctx context.Context, req *tmsv1.CaptureReleaseRequest) (*tmsv1.CaptureReleaseResponse, error) {
	found, err := s.fleet.Capture(ctx, adoption.CaptureRequest{Version: req.GetVersion(), Prefix: req.GetPrefix(), Tenant: req.GetTenant(), Cluster: req.GetCluster()})
	if err != nil {
		return nil, err
	}
	files, err := found.Draft.Files()
	if err != nil {
		return nil, err
	}
	out := &tmsv1.CaptureReleaseResponse{Notes: found.Notes}
	if out.Bundle, err = releases.Pack(files, found.Draft.Version); err != nil {
		return nil, err
	}
	if found.Draft.Previous != nil {
		out.Previous = found.Draft.Previous.Version
	}
	return out, nil
}

func (s *releaseService) Remove(ctx context.Context, req *tmsv1.RemoveReleaseRequest) (*tmsv1.RemoveReleaseResponse, error) {
	if err := s.library.Remove(ctx, req.GetVersion(), callerOf(ctx).KeyID); err != nil {
		return nil, noRelease(err)
	}
	return &tmsv1.RemoveReleaseResponse{}, nil
}

func releaseSummary(r *releases.Release) *tmsv1.Release {
	return &tmsv1.Release{Version: r.Version, Prefix: r.Prefix, Previous: r.Previous, ResourceCount: int32(len(r.Resources)), Digest: r.Digest}
}

func releaseInFull(r *releases.Release) (*tmsv1.Release, error) {
	out := releaseSummary(r)
	for _, res := range r.Resources {
		settings, err := structpb.NewStruct(res.Settings)
		if err != nil {
			return nil, fmt.Errorf("release %s, settings of %s: %w", r.Version, res.Key, err)
		}
		mapping, err := structpb.NewStruct(res.Mapping)
		if err != nil {
			return nil, fmt.Errorf("release %s, mapping of %s: %w", r.Version, res.Key, err)
		}
		out.Resources = append(out.Resources, &tmsv1.Resource{
			Key: res.Key, Base: res.Base, Static: res.Static, Partitioning: string(res.Partitioning), Settings: settings, Mapping: mapping,
		})
	}
	if r.Migration == nil {
		return out, nil
	}
	out.Gone = r.Migration.Gone
	for _, to := range slices.Sorted(maps.Keys(r.Migration.Steps)) {
		step := r.Migration.Steps[to]
		p := &tmsv1.MigrationStep{To: to, From: step.From, Transformed: !step.Transform.Empty()}
		for _, d := range step.Drops {
			p.Drops = append(p.Drops, &tmsv1.DroppedField{Field: d.Field, Reason: d.Reason})
		}
		out.Steps = append(out.Steps, p)
	}
	return out, nil
}
