package server

import (
	"context"
	"fmt"
	"slices"

	"github.com/tracardi/tms/backups"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/tenants"
)

// Backups keeps repositories, snapshots and restores, *backups.Service.
type Backups interface {
	PutRepository(context.Context, tenants.Caller, backups.Repository) (*backups.Repository, error)
	VerifyRepository(ctx context.Context, c tenants.Caller, name string) (*backups.Repository, error)
	Repositories(context.Context) ([]backups.Repository, error)
	RemoveRepository(ctx context.Context, c tenants.Caller, name string) error
	Import(ctx context.Context, c tenants.Caller, repository string) ([]string, error)
	Create(context.Context, tenants.Caller, backups.SnapshotOrder) (*backups.Run, error)
	Run(ctx context.Context, kind backups.RunKind, id string) (*backups.Run, error)
	Runs(context.Context, backups.Filter) ([]*backups.Run, error)
	Manifests(ctx context.Context, snapshot string, only ...string) ([]backups.Manifest, error)
	Delete(ctx context.Context, c tenants.Caller, id string) (*backups.Run, error)
	Plan(context.Context, backups.RestoreOrder) (*backups.Restore, []backups.Refusal, error)
	Restore(context.Context, tenants.Caller, backups.RestoreOrder) (*backups.Run, error)
	RemoveRestore(ctx context.Context, c tenants.Caller, id string) (*backups.Run, error)
	Drill(context.Context, tenants.Caller, backups.DrillOrder) (*backups.Run, error)
	BackupPolicies
}

// What page tokens of the lists are good for.
const (
	snapshotsQuery = "backup snapshots"
	restoresQuery  = "backup restores"
)

type backupService struct {
	backups Backups
	pages   *tenants.Pages
}

func (s *backupService) PutRepository(ctx context.Context, r *tmsv1.PutBackupRepositoryRequest) (*tmsv1.BackupRepository, error) {
	p := r.GetRepository()
	return answerRepository(s.backups.PutRepository(ctx, callerOf(ctx), backups.Repository{
		Name: p.GetName(), Cluster: p.GetCluster(), Kind: backups.Kind(p.GetKind()), Settings: p.GetSettings(), ReadOnly: p.GetReadOnly(),
	}))
}

func (s *backupService) VerifyRepository(ctx context.Context, r *tmsv1.VerifyBackupRepositoryRequest) (*tmsv1.BackupRepository, error) {
	return answerRepository(s.backups.VerifyRepository(ctx, callerOf(ctx), r.GetName()))
}

func answerRepository(r *backups.Repository, err error) (*tmsv1.BackupRepository, error) {
	if err != nil {
		return nil, err
	}
	return repositoryToProto(*r), nil
}

func (s *backupService) ListRepositories(ctx context.Context, _ *tmsv1.ListBackupRepositoriesRequest) (*tmsv1.ListBackupRepositoriesResponse, error) {
	all, err := s.backups.Repositories(ctx)
	if err != nil {
		return nil, err
	}
	out := &tmsv1.ListBackupRepositoriesResponse{}
	for _, r := range all {
		out.Repositories = append(out.Repositories, repositoryToProto(r))
	}
	return out, nil
}

func (s *backupService) RemoveRepository(ctx context.Context, r *tmsv1.RemoveBackupRepositoryRequest) (*tmsv1.RemoveBackupRepositoryResponse, error) {
	if err := s.backups.RemoveRepository(ctx, callerOf(ctx), r.GetName()); err != nil {
		return nil, err
	}
	return &tmsv1.RemoveBackupRepositoryResponse{}, nil
}

func (s *backupService) ImportRepository(ctx context.Context, r *tmsv1.ImportBackupRepositoryRequest) (*tmsv1.ImportBackupRepositoryResponse, error) {
	found, err := s.backups.Import(ctx, callerOf(ctx), r.GetName())
	if err != nil {
		return nil, err
	}
	return &tmsv1.ImportBackupRepositoryResponse{Snapshots: found}, nil
}

func (s *backupService) CreateSnapshot(ctx context.Context, r *tmsv1.CreateBackupSnapshotRequest) (*tmsv1.BackupSnapshot, error) {
	sel := r.GetSelection()
	return answerSnapshot(s.backups.Create(ctx, callerOf(ctx), backups.SnapshotOrder{
		Repository: r.GetRepository(), Digest: r.GetDigest(), RequestID: r.GetRequestId(),
		Selection: backups.Selection{All: sel.GetAll(), Tenants: sel.GetTenants(), Labels: sel.GetLabels(), Rollout: sel.GetRollout()},
	}))
}

func answerSnapshot(r *backups.Run, err error) (*tmsv1.BackupSnapshot, error) {
	if err != nil {
		return nil, err
	}
	return snapshotToProto(r), nil
}

// snapshot returns one that the caller may see: all of its tenants.
func (s *backupService) visible(ctx context.Context, kind backups.RunKind, id string) (*backups.Run, error) {
	run, err := s.backups.Run(ctx, kind, id)
	if err != nil {
		return nil, err
	}
	p := callOf(ctx).principal
	for _, t := range run.Tenants {
		if !p.MayTouch(t) {
			return nil, tenants.RestrictedError(p, string(kind)+" "+id)
		}
	}
	return run, nil
}

func (s *backupService) GetSnapshot(ctx context.Context, r *tmsv1.GetBackupSnapshotRequest) (*tmsv1.BackupSnapshot, error) {
	run, err := s.visible(ctx, backups.RunSnapshot, r.GetId())
	if err != nil {
		return nil, err
	}
	out := snapshotToProto(run)
	if !r.GetContents() {
		return out, nil
	}
	manifests, err := s.backups.Manifests(ctx, run.ID, r.GetTenants()...)
	if err != nil {
		return nil, err
	}
	for i := range manifests {
		out.Contents = append(out.Contents, manifestToProto(&manifests[i]))
	}
	return out, nil
}

func (s *backupService) ListSnapshots(ctx context.Context, r *tmsv1.ListBackupSnapshotsRequest) (*tmsv1.ListBackupSnapshotsResponse, error) {
	f := backups.Filter{Kind: backups.RunSnapshot, Repository: r.GetRepository(), Tenant: r.GetTenantId(), Visible: callOf(ctx).principal.Tenants}
	if r.GetState() != "" {
		f.States = []backups.State{backups.State(r.GetState())}
	}
	found, next, err := s.page(ctx, f, snapshotsQuery+r.GetRepository()+"/"+r.GetTenantId()+"/"+r.GetState(), r.GetPageSize(), r.GetPageToken())
	if err != nil {
		return nil, err
	}
	out := &tmsv1.ListBackupSnapshotsResponse{NextPageToken: next}
	for _, run := range found {
		out.Snapshots = append(out.Snapshots, snapshotToProto(run))
	}
	return out, nil
}

// page reads a page of runs and the token of the next one.
func (s *backupService) page(ctx context.Context, f backups.Filter, query string, size int32, token string) ([]*backups.Run, string, error) {
	if err := s.pages.Read(token, query, &f.Before); err != nil {
		return nil, "", err
	}
	limit := pageSize(size, defaultPageSize)
	f.Limit = limit + 1
	found, err := s.backups.Runs(ctx, f)
	if err != nil || len(found) <= limit {
		return found, "", err
	}
	found = slices.Clip(found[:limit])
	return found, s.pages.Token(query, found[limit-1].ID), nil
}

func (s *backupService) DeleteSnapshot(ctx context.Context, r *tmsv1.DeleteBackupSnapshotRequest) (*tmsv1.BackupSnapshot, error) {
	return answerSnapshot(s.backups.Delete(ctx, callerOf(ctx), r.GetId()))
}

func restoreOrder(r *tmsv1.StartBackupRestoreRequest) backups.RestoreOrder {
	return backups.RestoreOrder{
		Snapshot: r.GetSnapshot(), Tenant: r.GetTenantId(), Beside: r.GetBeside(), Replace: r.GetReplace(), Resources: r.GetResources(),
		NoRehearsal: r.GetNoRehearsal(), Remove: r.GetRemove(), RequestID: r.GetRequestId(),
	}
}

func (s *backupService) PlanRestore(ctx context.Context, r *tmsv1.StartBackupRestoreRequest) (*tmsv1.BackupRestorePlan, error) {
	planned, refusals, err := s.backups.Plan(ctx, restoreOrder(r))
	if err != nil {
		return nil, err
	}
	out := restorePlanToProto(planned.Plan)
	for _, one := range refusals {
		out.Refusals = append(out.Refusals, &tmsv1.Refusal{Code: one.Code, TenantId: one.TenantID, Message: one.Message, Remedy: one.Remedy})
	}
	return out, nil
}

func (s *backupService) StartRestore(ctx context.Context, r *tmsv1.StartBackupRestoreRequest) (*tmsv1.BackupRestore, error) {
	return answerRestore(s.backups.Restore(ctx, callerOf(ctx), restoreOrder(r)))
}

func answerRestore(r *backups.Run, err error) (*tmsv1.BackupRestore, error) {
	if err != nil {
		return nil, err
	}
	return restoreToProto(r), nil
}

func (s *backupService) GetRestore(ctx context.Context, r *tmsv1.GetBackupRestoreRequest) (*tmsv1.BackupRestore, error) {
	return answerRestore(s.visible(ctx, backups.RunRestore, r.GetId()))
}

func (s *backupService) ListRestores(ctx context.Context, r *tmsv1.ListBackupRestoresRequest) (*tmsv1.ListBackupRestoresResponse, error) {
	f := backups.Filter{Kind: backups.RunRestore, Tenant: r.GetTenantId(), Drills: r.GetDrills(), Visible: callOf(ctx).principal.Tenants}
	found, next, err := s.page(ctx, f, fmt.Sprint(restoresQuery, r.GetTenantId(), r.GetDrills()), r.GetPageSize(), r.GetPageToken())
	if err != nil {
		return nil, err
	}
	out := &tmsv1.ListBackupRestoresResponse{NextPageToken: next}
	for _, run := range found {
		out.Restores = append(out.Restores, restoreToProto(run))
	}
	return out, nil
}

func (s *backupService) RemoveRestore(ctx context.Context, r *tmsv1.RemoveBackupRestoreRequest) (*tmsv1.BackupRestore, error) {
	if _, err := s.visible(ctx, backups.RunRestore, r.GetId()); err != nil {
		return nil, err
	}
	return answerRestore(s.backups.RemoveRestore(ctx, callerOf(ctx), r.GetId()))
}
